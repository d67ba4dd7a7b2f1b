// SPDX-License-Identifier: BSD-3-Clause
#include "device_choice.hpp"

#include <algorithm>

#include "options.hpp"
#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/cublas_library.hpp"
#include "voxgrad/cuda/cudnn_library.hpp"

namespace voxgrad::app {

namespace {

std::string device_text(const cuda::DeviceInfo& d) {
  return text("cuda:", d.index, " ", d.name, ", compute capability ", d.sm / 10, ".", d.sm % 10, ", ", d.multiprocessors, " multiprocessors, ",
              cuda::memory_text(d.free), " of ", cuda::memory_text(d.memory), " free", d.not_covered.empty() ? "" : "; not usable: " + d.not_covered);
}

/// An optional library: "version, path" or why it cannot be used.
struct Found {
  std::string version, path, reason;
  std::string line() const { return reason.empty() ? version + ", " + path : "not usable: " + reason; }
  Fields fields() const {
    if (!reason.empty()) return {{"usable", false}, {"reason", reason}};
    return {{"usable", true}, {"version", version}, {"path", path}};
  }
};

Found find_cudnn() {
  try {
    const cuda::CudnnLibrary& library = cuda::cudnn_library();
    return {cuda::cudnn_version_text(library.version), library.path, ""};
  } catch (const DeviceError& error) {
    return {"", "", error.what()};
  }
}
Found find_cublas() {
  try {
    const cuda::CublasLibrary& library = cuda::cublas_library();
    return {text(library.version[0], ".", library.version[1], ".", library.version[2]), library.path, ""};
  } catch (const DeviceError& error) {
    return {"", "", error.what()};
  }
}

int index_of(const std::string& wanted) {
  if (wanted == "cuda") return 0;
  if (wanted.rfind("cuda:", 0) != 0) return -1;
  return int(std::clamp<std::int64_t>(parse_integer(wanted.substr(5)).value_or(-1), -1, 1 << 20));
}

}  // namespace

Cards cards_here() {
  const cuda::Availability& there = cuda::availability();
  return {there.devices, there.reason, [](int index) { return cuda::device_info(index); }};
}

/// The kernels have run on the CPU only, thread by thread. When docs/gpu-results.md has been measured, the paths in it are proven.
GpuPath gpu_path(const std::string& command) {
  for (const char* known : {"train", "optimize", "predict", "prior", "bench"})
    if (command == known) return GpuPath::unproven;
  return GpuPath::none;
}

DeviceChoice choose_device(const std::string& wanted, const std::string& where, const std::string& command, GpuPath path, const Cards& cards) {
  const int index = index_of(wanted);
  check<UsageError>(index >= 0 || wanted == "auto" || wanted == "cpu", where, wanted, ": unknown device (expected auto, cpu, cuda or cuda:N).");
  if (wanted == "cpu") return {"cpu", "as asked"};
  if (wanted == "auto") {
    if (cards.count == 0) return {"cpu", cards.reason};
    const cuda::DeviceInfo first = cards.info(0);
    if (!first.not_covered.empty()) return {"cpu", first.name + ": " + first.not_covered};
    if (path == GpuPath::none) return {"cpu", text(command, " computes on the CPU only in this version; ", first.name, " stays idle"), true};
    if (path == GpuPath::unproven)
      return {"cpu", text("no run of ", command, " on a GPU is on record in this version, so ", first.name, " is taken by --device cuda only"), true};
    return {"cuda:0", first.name};
  }
  check<DeviceError>(cards.count > 0, where, wanted, ": ", cards.reason, ". Use --device cpu.");
  check<DeviceError>(index < cards.count, where, wanted, ": this machine shows ", cards.count, cards.count == 1 ? " CUDA device" : " CUDA devices",
                     ". Use cuda:0", cards.count > 1 ? text(" to cuda:", cards.count - 1) : std::string(), ".");
  const cuda::DeviceInfo info = cards.info(index);
  check<DeviceError>(info.not_covered.empty(), where, wanted, ": ", info.name, ": ", info.not_covered, ", or use --device cpu.");
  check<DeviceError>(path != GpuPath::none, where, wanted, ": ", command, " computes on the CPU only in this version. Use --device cpu.");
  return {text("cuda:", index), info.name};
}

std::vector<std::pair<std::string, std::string>> gpu_rows() {
  if (!cuda::built()) return {{"CUDA", "not built"}};
  std::vector<std::pair<std::string, std::string>> rows;
  rows.emplace_back("CUDA", text("built, kernels for compute capability ", cuda::built_archs(), ", runtime ", cuda::cuda_version_text(cuda::runtime_version())));
  const int driver = cuda::driver_version();
  rows.emplace_back("driver", driver == 0 ? "none" : "for CUDA " + cuda::cuda_version_text(driver));
  const cuda::Availability& there = cuda::availability();
  if (there.devices == 0) rows.emplace_back("devices", "none: " + there.reason);
  for (int i = 0; i < there.devices; ++i) try {
      rows.emplace_back(i == 0 ? "devices" : "", device_text(cuda::device_info(i)));
    } catch (const DeviceError& error) {
      rows.emplace_back(i == 0 ? "devices" : "", text("cuda:", i, " ", error.what()));
    }
  rows.emplace_back("cuDNN", find_cudnn().line());
  rows.emplace_back("cuBLAS", find_cublas().line());
  return rows;
}

Fields gpu_fields() {
  Fields out = {{"cuda_built", cuda::built()}};
  if (!cuda::built()) return out;
  out.emplace_back("cuda_kernels", cuda::built_archs());
  out.emplace_back("cuda_runtime", cuda::cuda_version_text(cuda::runtime_version()));
  out.emplace_back("cuda_driver", cuda::driver_version() == 0 ? JsonValue::null() : JsonValue(cuda::cuda_version_text(cuda::driver_version())));
  const cuda::Availability& there = cuda::availability();
  std::vector<JsonValue> devices;
  for (int i = 0; i < there.devices; ++i) try {
      const cuda::DeviceInfo d = cuda::device_info(i);
      Fields fields = {{"device", text("cuda:", i)}, {"name", d.name}, {"compute_capability", d.sm}, {"multiprocessors", d.multiprocessors},
                       {"memory", d.memory}, {"free", d.free}, {"usable", d.not_covered.empty()}};
      if (!d.not_covered.empty()) fields.emplace_back("reason", d.not_covered);
      devices.emplace_back(fields);
    } catch (const DeviceError& error) {
      devices.emplace_back(Fields{{"device", text("cuda:", i)}, {"usable", false}, {"reason", error.what()}});
    }
  out.emplace_back("cuda_devices", devices);
  if (there.devices == 0) out.emplace_back("cuda_reason", there.reason);
  out.emplace_back("cudnn", find_cudnn().fields());
  out.emplace_back("cublas", find_cublas().fields());
  return out;
}

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
// What is said of a card that cannot be used: every answer of the runtime in words, and the answers that a machine without
// a GPU really gets.

#include "voxgrad/cuda/runtime.hpp"

#include <cstdio>
#include <filesystem>

#include "catch.hpp"
#include "child_case.hpp"
#include "message.hpp"
#include "scratch_folder.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using cuda::test::ScratchFolder;

TEST_CASE("why a device cannot be used, for every answer of the runtime") {
  DeviceAnswer a;
  a.driver = 12020;
  a.runtime = 13000;
  const auto said = [&a](int status, int count = 0) {
    a.status = status;
    a.count = count;
    return why_unusable(a);
  };
  CHECK(said(0, 2) == "");
  CHECK(said(0) == "no CUDA device found (driver for CUDA 12.2 present, 0 devices visible)");
  CHECK(said(100) == "no CUDA device found (driver for CUDA 12.2 present, 0 devices visible)");
  a.visible_set = true;
  CHECK(said(100) == "no CUDA device found (driver for CUDA 12.2 present, 0 devices visible; CUDA_VISIBLE_DEVICES is '')");
  a.visible = "7";
  CHECK(said(100) == "no CUDA device found (driver for CUDA 12.2 present, 0 devices visible; CUDA_VISIBLE_DEVICES is '7')");
  CHECK(said(35) == "the NVIDIA driver is too old (it supports CUDA 12.2, this program needs 13.0). Update the driver, or build with an older CUDA toolkit");
  a.driver = 0;
  CHECK(said(35) == "no NVIDIA driver (libcuda.so.1 was not found)");
  CHECK(said(34) == "the CUDA toolkit's stub was found in the place of the driver's libcuda.so.1. Take the folder 'stubs' out of LD_LIBRARY_PATH");
  CHECK(said(46) == "every CUDA device is busy or kept by another process (cudaErrorDevicesUnavailable)");
  CHECK(said(802) == "the devices are not ready (cudaErrorSystemNotReady): is the fabric manager running?");
  CHECK(said(803).find("differ in version (cudaErrorSystemDriverMismatch)") != std::string::npos);
  CHECK(said(804).find("(cudaErrorCompatNotSupportedOnDevice)") != std::string::npos);
  a.status_text = "initialization error";
  CHECK(said(3) == "cudaGetDeviceCount: initialization error (3)");
}

TEST_CASE("which cards a build has kernels for") {
  const std::vector<int> archs = parse_archs("75 80 90 120");
  CHECK(archs == std::vector<int>{75, 80, 90, 120});
  for (const int sm : {75, 80, 86, 89, 90, 100, 103, 120, 121, 130}) CHECK(why_not_covered(sm, archs) == "");  // 100: from 90's intermediate code
  CHECK(why_not_covered(70, archs) ==
        "this program has no kernels for compute capability 7.0 (it has 75, 80, 90, 120). Build it with -Dgpu_archs=70");
  CHECK(why_not_covered(90, {80}) == "");
  CHECK(why_not_covered(90, {80, 120}) != "");
  CHECK(why_not_covered(80, {86}) != "");
}

TEST_CASE("out of memory: needed, free, and what would fit") {
  const OutOfDeviceMemory error("cuda:1", std::size_t(3) << 30, std::size_t(310) << 20, std::size_t(80) << 30);
  CHECK(std::string(error.what()) == "cuda:1: out of memory: 3 GiB needed, 310 MiB of 80 GiB free.");
  CHECK(std::string(advise(error, std::size_t(5) << 30, "batch 128", "Batch 64 fits: use --batch-size 64.").what()) ==
        "cuda:1: out of memory: 5 GiB needed for batch 128, 310 MiB of 80 GiB free. Batch 64 fits: use --batch-size 64.");
  CHECK(memory_text(100) == "100 bytes");
  CHECK(memory_text((std::size_t(1) << 30) + (std::size_t(256) << 20)) == "1.2 GiB");
}

TEST_CASE("without a device every call that needs one throws the reason") {
  if (available()) {
    std::printf("skipped: calls without a device (there is one)\n");
    return;
  }
  const std::string reason = availability().reason;
  CHECK(availability().devices == 0);
  CHECK(reason != "");
  CHECK((runtime_version() == 0) == !built());
  CHECK(voxgrad::test::message<DeviceError>([] { device_info(0); }) == reason);
  CHECK(voxgrad::test::message<DeviceError>([] { use_device(0); }) == reason);
  CHECK(voxgrad::test::message<DeviceError>([] { DeviceMemory memory(16); }) != "no error");
  CHECK(voxgrad::test::message<DeviceError>([] { PinnedMemory memory(16); }) != "no error");
  CHECK(voxgrad::test::message<DeviceError>([] { Stream stream; }) != "no error");
  CHECK(voxgrad::test::message<DeviceError>([] { Event event(Event::Timing::on); }) != "no error");
  CHECK(voxgrad::test::message<DeviceError>([] { Graph::capture(nullptr, [] {}); }) != "no error");
  CHECK(voxgrad::test::message<DeviceError>([] { copy_to_device(nullptr, nullptr, 1, nullptr); }) != "no error");
  if (built()) {
    const std::string said = voxgrad::test::message<DeviceError>([] { Stream stream; });
    CHECK(said.rfind("cudaStreamCreate: ", 0) == 0);
    CHECK(said.find("run again with CUDA_LAUNCH_BLOCKING=1.") != std::string::npos);
  } else {
    CHECK(reason == "this program was built without CUDA");
  }
}

// Run by the cases below in a process of its own: the answer is asked for once.
TEST_CASE("prints why there is no device", "[.]") { std::printf("reason: %s\n", availability().reason.c_str()); }

namespace {

std::string reason_with(const std::string& environment) {
  return cuda::test::line_after(cuda::test::output_of_case(environment, "prints why there is no device"), "reason: ");
}

}  // namespace

TEST_CASE("a machine without a driver, and one where the toolkit's stub is found") {
  if (!built() || available() || driver_version() != 0) {
    std::printf("skipped: no driver, and a stub of it (%s)\n", built() ? "there is a driver" : "built without CUDA");
    return;
  }
  CHECK(reason_with("LD_LIBRARY_PATH=") == "no NVIDIA driver (libcuda.so.1 was not found)");
  if (!std::filesystem::exists(CUDA_STUBS "/libcuda.so")) {
    std::printf("skipped: a stub of the driver (no libcuda.so in the toolkit's stubs)\n");
    return;
  }
  const ScratchFolder scratch;
  std::filesystem::create_symlink(CUDA_STUBS "/libcuda.so", scratch / "libcuda.so.1");
  CHECK(reason_with("LD_LIBRARY_PATH=" + scratch.path()) ==
        "the CUDA toolkit's stub was found in the place of the driver's libcuda.so.1. Take the folder 'stubs' out of LD_LIBRARY_PATH");
}

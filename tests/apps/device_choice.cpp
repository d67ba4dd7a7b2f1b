// SPDX-License-Identifier: BSD-3-Clause
// Where a subcommand computes, on machines that are made up.

#include "common/device_choice.hpp"

#include "apps/throws.hpp"
#include "catch.hpp"
#include "voxgrad/core/error.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

Cards cards(int count, const std::string& reason = "", const std::string& not_covered = "") {
  return {count, reason, [not_covered](int index) {
            cuda::DeviceInfo info;
            info.index = index;
            info.name = "NVIDIA H200";
            info.not_covered = not_covered;
            return info;
          }};
}
std::string refused(const std::string& wanted, GpuPath path, const Cards& there) {
  return message_of<Error>([&] { choose_device(wanted, "--device ", "train", path, there); });
}

}  // namespace

TEST_CASE("auto takes the first usable card and says why it takes the processor instead") {
  const auto automatic = [](GpuPath path, const Cards& there) {
    const DeviceChoice choice = choose_device("auto", "--device ", "train", path, there);
    return choice.device + ": " + choice.reason + (choice.surprising ? " !" : "");
  };
  CHECK(automatic(GpuPath::proven, cards(2)) == "cuda:0: NVIDIA H200");
  CHECK(automatic(GpuPath::proven, cards(0, "no NVIDIA driver")) == "cpu: no NVIDIA driver");
  CHECK(automatic(GpuPath::proven, cards(1, "", "no kernels for it")) == "cpu: NVIDIA H200: no kernels for it");
  CHECK(automatic(GpuPath::none, cards(1)) == "cpu: train computes on the CPU only in this version; NVIDIA H200 stays idle !");
}

TEST_CASE("auto leaves a card alone on which no run is on record, and says so; by name it is taken") {
  const DeviceChoice choice = choose_device("auto", "--device ", "train", GpuPath::unproven, cards(1));
  CHECK(choice.device == "cpu");
  CHECK(choice.surprising);
  CHECK(choice.reason == "no run of train on a GPU is on record in this version, so NVIDIA H200 is taken by --device cuda only");
  CHECK_FALSE(choose_device("auto", "--device ", "train", GpuPath::unproven, cards(0, "no NVIDIA driver")).surprising);
  CHECK(choose_device("cuda", "--device ", "train", GpuPath::unproven, cards(1)).device == "cuda:0");
  for (const char* command : {"train", "optimize", "predict", "prior", "bench"}) CHECK(gpu_path(command) == GpuPath::unproven);
  CHECK(gpu_path("evaluate") == GpuPath::none);
}

TEST_CASE("cuda that cannot be had is an error with the reason, never the processor") {
  CHECK(choose_device("cuda", "--device ", "train", GpuPath::proven, cards(1)).device == "cuda:0");
  CHECK(choose_device("cuda:1", "--device ", "train", GpuPath::proven, cards(2)).device == "cuda:1");
  const std::string none = refused("cuda", GpuPath::proven, cards(0, "no NVIDIA driver (libcuda.so.1 was not found)"));
  CHECK(none == "--device cuda: no NVIDIA driver (libcuda.so.1 was not found). Use --device cpu.");
  CHECK(refused("cuda:2", GpuPath::proven, cards(2)) == "--device cuda:2: this machine shows 2 CUDA devices. Use cuda:0 to cuda:1.");
  CHECK(refused("cuda:1", GpuPath::proven, cards(1)) == "--device cuda:1: this machine shows 1 CUDA device. Use cuda:0.");
  CHECK(refused("cuda", GpuPath::proven, cards(1, "", "no kernels for it")) == "--device cuda: NVIDIA H200: no kernels for it, or use --device cpu.");
  CHECK(refused("cuda", GpuPath::none, cards(1)) == "--device cuda: train computes on the CPU only in this version. Use --device cpu.");
  CHECK(message_of<DeviceError>([] { choose_device("cuda", "VOXGRAD_DEVICE=", "train", GpuPath::none, cards(1)); }).rfind("VOXGRAD_DEVICE=cuda: ", 0) == 0);
}

TEST_CASE("other words are refused, and cpu is as asked") {
  CHECK(choose_device("cpu", "--device ", "train", GpuPath::proven, cards(1)).device == "cpu");
  for (const std::string word : {"gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:1x", "CUDA", ""})
    CHECK(message_of<UsageError>([&] { choose_device(word, "--device ", "train", GpuPath::proven, cards(1)); }) ==
          "--device " + word + ": unknown device (expected auto, cpu, cuda or cuda:N).");
}

TEST_CASE("the rows of the GPU's side name every part") {
  std::string names;
  for (const auto& [name, line] : gpu_rows()) {
    names += name + " ";
    CHECK_FALSE(line.empty());
  }
  if (cuda::built()) CHECK(names.rfind("CUDA driver devices ", 0) == 0);
  else CHECK(names == "CUDA ");
}

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What the CUDA runtime's answers mean for a user, in words. Pure functions, so that every case is tested without a card.

#include <string>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::cuda {

/// 13000 -> "13.0"
inline std::string cuda_version_text(int version) { return text(version / 1000, ".", version % 1000 / 10); }

/// What cudaGetDeviceCount and its surroundings said.
struct DeviceAnswer {
  int status = 0;                ///< a cudaError_t
  std::string status_text = {};  ///< its text
  int count = 0;
  int driver = 0;                ///< cudaDriverGetVersion, 0 when there is no driver
  int runtime = 0;               ///< cudaRuntimeGetVersion
  bool visible_set = false;      ///< whether CUDA_VISIBLE_DEVICES is set
  std::string visible = {};      ///< and to what
};

/// Why no card can be used, with what to do; "" when one can.
inline std::string why_unusable(const DeviceAnswer& a) {
  const auto no_device = [&] {
    return text("no CUDA device found (driver for CUDA ", cuda_version_text(a.driver), " present, 0 devices visible",
                a.visible_set ? "; CUDA_VISIBLE_DEVICES is '" + a.visible + "'" : std::string(), ")");
  };
  switch (a.status) {
    case 0: return a.count > 0 ? "" : no_device();
    case 100: return no_device();
    case 35:
      if (a.driver == 0) return "no NVIDIA driver (libcuda.so.1 was not found)";
      return text("the NVIDIA driver is too old (it supports CUDA ", cuda_version_text(a.driver), ", this program needs ",
                  cuda_version_text(a.runtime), "). Update the driver, or build with an older CUDA toolkit");
    case 34:
      return "the CUDA toolkit's stub was found in the place of the driver's libcuda.so.1. Take the folder 'stubs' out of LD_LIBRARY_PATH";
    case 46: return "every CUDA device is busy or kept by another process (cudaErrorDevicesUnavailable)";
    case 802: return "the devices are not ready (cudaErrorSystemNotReady): is the fabric manager running?";
    case 803: return "the driver in the kernel and its library differ in version (cudaErrorSystemDriverMismatch). Restart the machine or reload the driver";
    case 804: return "CUDA's forward-compatibility package does not support this card (cudaErrorCompatNotSupportedOnDevice). Take it out of LD_LIBRARY_PATH or update the driver";
    default: return text("cudaGetDeviceCount: ", a.status_text, " (", a.status, ")");
  }
}

/// "75 80 90 120" -> numbers
inline std::vector<int> parse_archs(const std::string& list) {
  std::vector<int> out;
  for (std::size_t i = 0; i < list.size();) {
    int arch = 0;
    for (; i < list.size() && list[i] >= '0' && list[i] <= '9'; ++i) arch = 10 * arch + (list[i] - '0');
    if (arch > 0) out.push_back(arch);
    while (i < list.size() && (list[i] < '0' || list[i] > '9')) ++i;
  }
  return out;
}

/// Why a program built for `archs` has no kernels for a card of compute capability `sm` (89 for 8.9), "" when it has.
/// Machine code serves its own major version from its minor on; 90 and the last one are there as intermediate code too,
/// which the driver compiles for any later card.
inline std::string why_not_covered(int sm, const std::vector<int>& archs) {
  std::string all;
  for (const int arch : archs) {
    const bool intermediate = arch == 90 || arch == archs.back();
    if (arch <= sm && (arch / 10 == sm / 10 || intermediate)) return "";
    all += (all.empty() ? "" : ", ") + std::to_string(arch);
  }
  return text("this program has no kernels for compute capability ", sm / 10, ".", sm % 10, " (it has ", all,
              "). Build it with -Dgpu_archs=", sm);
}

/// "11.2 GiB", "310 MiB"
inline std::string memory_text(std::size_t bytes) {
  const double mib = double(bytes) / (1 << 20);
  if (mib >= 1024) return text(double(int64_t(mib / 102.4)) / 10, " GiB");
  return bytes < (1 << 20) ? text(bytes, " bytes") : text(int64_t(mib), " MiB");
}

/// The card has less free than a run needs. A caller that knows what would fit adds it with `advise`.
struct OutOfDeviceMemory : DeviceError {
  OutOfDeviceMemory(const std::string& device, std::size_t asked, std::size_t left, std::size_t all, const std::string& what = "",
                    const std::string& advice = "")
      : DeviceError(text(device, ": out of memory: ", memory_text(asked), " needed", what.empty() ? "" : " for " + what, ", ",
                         memory_text(left), " of ", memory_text(all), " free.", advice.empty() ? "" : " " + advice)),
        card(device),
        needed(asked),
        free(left),
        total(all) {}
  std::string card;
  std::size_t needed, free, total;
};

/// The same error for the whole of what was needed, with the batch or tile that would fit.
inline OutOfDeviceMemory advise(const OutOfDeviceMemory& error, std::size_t needed, const std::string& what, const std::string& advice) {
  return {error.card, needed, error.free, error.total, what, advice};
}

}  // namespace voxgrad::cuda

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The device that only counts: a program is planned on it to learn how much memory it would take. Nothing can run.

#include <cstddef>
#include <cstdint>

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/conv_spec.hpp"

namespace voxgrad::cuda {

class MeasuringDevice {
 public:
  /// Places that differ, which nobody may read or write.
  void* allocate(size_t bytes) {
    void* const place = reinterpret_cast<void*>(next_);
    next_ += (bytes + granularity - 1) / granularity * granularity;
    bytes_ += bytes;
    return place;
  }
  void release(void*) {}
  void clear(void*, size_t) {}
  void upload(void*, const void*, size_t) {}
  void download(void*, const void*, size_t) { fail(); }
  template <class K>
  void launch(const typename K::Args&) {
    fail();
  }
  size_t conv_workspace(const ConvSpec&) { return 0; }
  void convolve(const ConvSpec&, const void*, const void*, void*, void*) { fail(); }
  template <class Program>
  void run(Program&, int, int) {
    fail();
  }
  void forget(uint64_t) {}
  void synchronize() {}

  /// All that was taken.
  size_t bytes() const { return bytes_; }

 private:
  static constexpr uintptr_t granularity = 512;  ///< of CUDA's allocations
  static void fail() { throw DeviceError("programs cannot run on the device that only measures them"); }
  uintptr_t next_ = granularity;
  size_t bytes_ = 0;
};

}  // namespace voxgrad::cuda

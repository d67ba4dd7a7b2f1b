// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Storage: one aligned, counted buffer. Freed CPU buffers wait in a cache by size, so that a training step
// that repeats the same shapes allocates nothing after its first run.

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "voxgrad/core/device.hpp"

namespace voxgrad {

/// How a device gives and takes memory. A backend fills its own hook before main.
struct Allocator {
  void* (*allocate)(size_t bytes, int index) = nullptr;
  void (*release)(void* memory, size_t bytes, int index) = nullptr;
  void (*copy)(void* to, const void* from, size_t bytes) = nullptr;  ///< to, from or within the device
};

/// The CPU's cached allocator and its counters, which tests use to show that a steady state allocates nothing.
class CpuMemory {
 public:
  static CpuMemory& instance() {
    static CpuMemory* memory = new CpuMemory;  // never destroyed: tensors in static objects may outlive it
    return *memory;
  }

  void* take(size_t bytes) {
    bytes = rounded(bytes);
    {
      std::lock_guard lock(mutex_);
      if (auto it = free_.find(bytes); it != free_.end() && !it->second.empty()) {
        void* memory = it->second.back();
        it->second.pop_back();
        cached_ -= bytes;
        return memory;
      }
    }
    void* memory = std::aligned_alloc(alignment, bytes);
    if (memory == nullptr) {
      trim();
      memory = std::aligned_alloc(alignment, bytes);
    }
    check(memory != nullptr, "out of memory: ", bytes >> 20, " MiB more were asked for");
    ++system_allocations_;
    return memory;
  }

  void give(void* memory, size_t bytes) {
    std::lock_guard lock(mutex_);
    free_[rounded(bytes)].push_back(memory);
    cached_ += rounded(bytes);
  }

  /// Returns all cached buffers to the system.
  void trim() {
    std::lock_guard lock(mutex_);
    for (auto& [bytes, list] : free_)
      for (void* memory : list) std::free(memory);
    free_.clear();
    cached_ = 0;
  }

  int64_t system_allocations() const { return system_allocations_; }
  size_t cached_bytes() const { return cached_; }

  static constexpr size_t alignment = 64;

 private:
  /// Power-of-two steps with four divisions in between: at most 25 % waste, few distinct sizes.
  static size_t rounded(size_t bytes) {
    size_t step = alignment;
    while (step * 8 < bytes) step *= 2;
    return bytes == 0 ? alignment : (bytes + step - 1) / step * step;
  }

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  size_t cached_ = 0;
  std::atomic<int64_t> system_allocations_{0};
};

inline Allocator& allocator(DeviceKind kind) {
  static Allocator hooks[device_kinds] = {
      {[](size_t bytes, int) { return CpuMemory::instance().take(bytes); },
       [](void* memory, size_t bytes, int) { CpuMemory::instance().give(memory, bytes); }, nullptr},
      {}};
  return hooks[int(kind)];
}

class Storage {
 public:
  Storage(size_t bytes, Device device) : bytes_(bytes), device_(device) {
    const Allocator& hook = allocator(device.kind);
    check<DeviceError>(hook.allocate != nullptr, "device ", name(device), ": this program has no such backend");
    data_ = hook.allocate(bytes, device.index);
  }
  ~Storage() { allocator(device_.kind).release(data_, bytes_, device_.index); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  /// A stamp of the contents, unlike that of any other storage: it changes with every in-place write, so that what was
  /// computed from a value can tell that it is still the same one.
  uint64_t version() const { return version_; }
  void bump() { version_ = stamp(); }

 private:
  static uint64_t stamp() {
    static std::atomic<uint64_t> counter{0};
    return counter.fetch_add(1, std::memory_order_relaxed);
  }

  void* data_ = nullptr;
  size_t bytes_;
  Device device_;
  uint64_t version_ = stamp();
};

/// CPU memory for the duration of a kernel call, from the cache: it must not live longer than the call.
class Workspace {
 public:
  explicit Workspace(size_t bytes) : bytes_(bytes), data_(CpuMemory::instance().take(bytes)) {}
  ~Workspace() { CpuMemory::instance().give(data_, bytes_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  size_t bytes_;
  void* data_;
};

}  // namespace voxgrad

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The same kernel tests on a card: with VOXGRAD_TEST_CARD set (test suite gpu), memory of the tests is memory that CPU and
// card share, and run() (emulated.hpp) also starts every kernel on the card. Without a usable card the program then ends
// with 77, skipped.

#include <cstddef>
#include <vector>

namespace voxgrad::cuda::test {

/// Whether kernels run on the card as well.
bool on_card();
/// Memory for kernels, at a multiple of 256 bytes on a card; throws std::bad_alloc.
void* kernel_memory(size_t bytes);
void free_kernel_memory(void* p) noexcept;
/// Waits for the kernels started on the default stream; DeviceError with the kernel's name when one failed.
void wait_for_card(const char* kernel);

template <class T>
struct KernelAllocator {
  using value_type = T;
  KernelAllocator() = default;
  template <class U>
  KernelAllocator(const KernelAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(kernel_memory(n * sizeof(T))); }
  void deallocate(T* p, size_t) noexcept { free_kernel_memory(p); }
  friend bool operator==(const KernelAllocator&, const KernelAllocator&) { return true; }
};

/// What a kernel's arguments may point to, besides Guarded: anything else is out of a card's reach.
template <class T>
using Vector = std::vector<T, KernelAllocator<T>>;

}  // namespace voxgrad::cuda::test

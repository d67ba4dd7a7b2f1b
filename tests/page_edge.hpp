// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Memory that ends exactly where readable memory ends: a read or write one byte beyond it stops the program. In front lies
// an unreadable page too, at some distance.

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>
#include <vector>

/// `bytes` of memory whose last byte is the last of its page; the pages around cannot be touched.
inline void* page_edge_allocate(size_t bytes) {
  const size_t page = size_t(sysconf(_SC_PAGESIZE)), inside = (bytes + page - 1) / page * page;
  void* all = mmap(nullptr, inside + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) throw std::bad_alloc();
  char* begin = static_cast<char*>(all) + page;
  if (inside > 0 && mprotect(begin, inside, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  return begin + inside - bytes;
}

inline void page_edge_release(void* memory, size_t bytes) {
  const size_t page = size_t(sysconf(_SC_PAGESIZE)), inside = (bytes + page - 1) / page * page;
  munmap(static_cast<char*>(memory) - (inside - bytes) - page, inside + 2 * page);
}

/// For containers: std::vector<float, PageEdge<float>>(n) ends at the edge.
template <class T>
struct PageEdge {
  using value_type = T;
  PageEdge() = default;
  template <class U>
  PageEdge(const PageEdge<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(page_edge_allocate(n * sizeof(T))); }
  void deallocate(T* memory, size_t n) { page_edge_release(memory, n * sizeof(T)); }
  friend bool operator==(const PageEdge&, const PageEdge&) { return true; }
};

template <class T>
using EdgeVector = std::vector<T, PageEdge<T>>;

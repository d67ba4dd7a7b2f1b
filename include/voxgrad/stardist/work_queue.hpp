// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Work whose items differ much in size: objects crowd some slices and leave others empty.

#include <atomic>
#include <cstdint>

#include "voxgrad/core/parallel.hpp"

namespace voxgrad::stardist {

/// Calls body(i) for every i in [0, n), each thread taking the next free one. An item must not read what another writes.
template <class Body>
void for_each_item(int64_t n, Body&& body) {
  std::atomic<int64_t> next{0};
  parallel_for(threads(), 1, [&](int64_t, int64_t) {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) body(i);
  });
}

}  // namespace voxgrad::stardist

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where tensors of known lifetimes lie in one slab: two that live at the same time never overlap, others share memory.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace voxgrad::cuda {

/// Bytes needed from the step `first` to the step `last`, both included.
struct Lifetime {
  int64_t bytes;
  int first, last;
};

struct ArenaPlan {
  std::vector<int64_t> offset;  ///< of each lifetime
  int64_t bytes = 0;            ///< of the slab
};

/// In the given order, each at the lowest place that is free during its whole life.
inline ArenaPlan place_in_order(const std::vector<Lifetime>& lifetimes, const std::vector<size_t>& order, int64_t alignment) {
  const auto rounded = [alignment](int64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; };
  ArenaPlan plan;
  plan.offset.assign(lifetimes.size(), 0);
  std::vector<size_t> placed;  // by offset
  for (const size_t i : order) {
    const Lifetime& wanted = lifetimes[i];
    int64_t at = 0;
    for (const size_t j : placed) {
      const Lifetime& other = lifetimes[j];
      if (other.last < wanted.first || wanted.last < other.first) continue;
      if (at + rounded(wanted.bytes) <= plan.offset[j]) break;  // fits into the gap before it
      at = std::max(at, plan.offset[j] + rounded(other.bytes));
    }
    plan.offset[i] = at;
    plan.bytes = std::max(plan.bytes, at + rounded(wanted.bytes));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i, [&](size_t a, size_t b) { return plan.offset[a] < plan.offset[b]; }), i);
  }
  return plan;
}

/// A small slab: the best of three orders (large first, long-lived first, bytes times life). Offsets are multiples of
/// `alignment`.
inline ArenaPlan plan_arena(const std::vector<Lifetime>& lifetimes, int64_t alignment = 256) {
  const auto life = [](const Lifetime& l) { return int64_t(l.last - l.first + 1); };
  const auto larger = [](const Lifetime& l) { return std::pair(l.bytes, int64_t(0)); };
  const auto longer = [&](const Lifetime& l) { return std::pair(life(l), l.bytes); };
  const auto heavier = [&](const Lifetime& l) { return std::pair(life(l) * l.bytes, l.bytes); };
  ArenaPlan best;
  const auto attempt = [&](const auto& key) {
    std::vector<size_t> order(lifetimes.size());
    std::iota(order.begin(), order.end(), size_t(0));
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return key(lifetimes[a]) > key(lifetimes[b]); });
    ArenaPlan plan = place_in_order(lifetimes, order, alignment);
    if (best.offset.empty() || plan.bytes < best.bytes) best = std::move(plan);
  };
  attempt(larger);
  attempt(longer);
  attempt(heavier);
  return best;
}

/// No slab can be smaller: the most bytes alive at one step.
inline int64_t most_alive(const std::vector<Lifetime>& lifetimes, int64_t alignment = 256) {
  int64_t most = 0;
  for (const Lifetime& at : lifetimes) {  // the maximum lies where some lifetime begins
    int64_t alive = 0;
    for (const Lifetime& l : lifetimes)
      if (l.first <= at.first && at.first <= l.last) alive += (l.bytes + alignment - 1) / alignment * alignment;
    most = std::max(most, alive);
  }
  return most;
}

}  // namespace voxgrad::cuda

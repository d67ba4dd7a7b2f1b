// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Runs a kernel on the CPU in both thread orders and checks that the order does not matter: outputs are given as memory
// that both runs start from alike.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "catch.hpp"
#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda::test {

/// Elements between two rows of sentinels, at a 16-byte boundary. Outputs start as NaN or as all bits set.
template <class T>
class Guarded {
 public:
  explicit Guarded(size_t n) : n_(n), bytes_(2 * guard + n * sizeof(T) + 16, 0xff) {
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    start_ = size_t((16 - address % 16) % 16) + guard;
    std::memset(bytes_.data() + start_ - guard, 0x5c, guard);
    std::memset(bytes_.data() + start_ + n * sizeof(T), 0x5c, guard);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  T* data() { return reinterpret_cast<T*>(bytes_.data() + start_); }
  T& operator[](size_t i) { return data()[i]; }
  size_t size() const { return n_; }
  std::span<T> span() { return {data(), n_}; }
  bool intact() const {
    const auto is_guard = [](unsigned char c) { return c == 0x5c; };
    const auto before = bytes_.begin() + std::ptrdiff_t(start_ - guard);
    const auto after = bytes_.begin() + std::ptrdiff_t(start_ + n_ * sizeof(T));
    return std::all_of(before, before + guard, is_guard) && std::all_of(after, after + guard, is_guard);
  }

 private:
  static constexpr std::ptrdiff_t guard = 64;
  size_t n_, start_;
  std::vector<unsigned char> bytes_;
};

/// emulate() in both orders; `outputs` are compared bit by bit and put back to their first contents in between.
template <class K, class... Outputs>
void run(const typename K::Args& args, Outputs&... outputs) {
  const auto bytes = [](auto& o) {
    const auto* p = reinterpret_cast<const unsigned char*>(o.data());
    return std::vector<unsigned char>(p, p + o.size() * sizeof(*o.data()));
  };
  const std::vector<std::vector<unsigned char>> before{bytes(outputs)...};
  emulate<K>(args, ThreadOrder::descending);
  const std::vector<std::vector<unsigned char>> descending{bytes(outputs)...};
  size_t i = 0;
  const auto put_back = [&](auto& o) {
    if (!before[i].empty()) std::memcpy(static_cast<void*>(o.data()), before[i].data(), before[i].size());
    ++i;
  };
  (put_back(outputs), ...);
  emulate<K>(args, ThreadOrder::ascending);
  const std::vector<std::vector<unsigned char>> ascending{bytes(outputs)...};
  INFO(K::name << ": the result depends on the order of threads");
  REQUIRE(ascending == descending);
  REQUIRE((outputs.intact() && ...));
}

}  // namespace voxgrad::cuda::test

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Runs a kernel on the CPU in both thread orders and checks that the order does not matter: outputs are given as memory
// that both runs start from alike. In the test suite gpu a third run is on the card, with the same result but for rounding.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "card.hpp"
#include "catch.hpp"
#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/phases.hpp"

#ifdef VOXGRAD_CUDA
#include "voxgrad/cuda/kernel_list.hpp"
#include "voxgrad/cuda/launch.hpp"
#endif

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
  Vector<unsigned char> bytes_;
};

/// As what an output's elements are compared between CPU and card: numbers may differ by rounding, all else not at all. Structs
/// of numbers are `mixed`: each is judged by its own size, not by that of the largest.
template <class T>
struct Numbered {
  static constexpr bool mixed = false;
  using type = std::conditional_t<std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, bf16> || std::is_same_v<T, f16>, T,
                                  unsigned char>;
};

/// Of a number's size: a few roundings of its type, and what exp and log of a card may differ by.
template <class T>
constexpr double card_tolerance = std::is_same_v<T, bf16> ? 8e-3 : std::is_same_v<T, f16> ? 1e-3 : 1e-5;

template <class T, bool mixed>
bool agree(const unsigned char* cpu, const unsigned char* card, size_t bytes) {
  if constexpr (std::is_same_v<T, unsigned char>) {
    return std::equal(cpu, cpu + bytes, card);
  } else {
    std::vector<T> a(bytes / sizeof(T)), b(a.size());
    std::memcpy(static_cast<void*>(a.data()), cpu, bytes);
    std::memcpy(static_cast<void*>(b.data()), card, bytes);
    double largest = 0;
    for (const T v : a)
      if (std::isfinite(double(v))) largest = std::max(largest, std::abs(double(v)));
    for (size_t i = 0; i < a.size(); ++i) {
      const double x = double(a[i]), y = double(b[i]);
      if (std::memcmp(&a[i], &b[i], sizeof(T)) == 0 || (std::isnan(x) && std::isnan(y)) || x == y) continue;
      if (!(std::abs(x - y) <= card_tolerance<T> * (mixed ? std::abs(x) : largest))) {
        UNSCOPED_INFO("element " << i << ": " << x << " on the CPU, " << y << " on the card");
        return false;
      }
    }
    return true;
  }
}

#ifdef VOXGRAD_CUDA
template <class K, class List>
constexpr bool listed = false;
template <class K, class... Ks>
constexpr bool listed<K, Kernels<Ks...>> = (std::is_same_v<K, Ks> || ...);
#endif

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
#ifdef VOXGRAD_CUDA
  if constexpr (listed<K, KernelList>) {
    if (!on_card()) return;
    i = 0;
    (put_back(outputs), ...);
    launch<K>(args, nullptr);
    wait_for_card(K::name);
    i = 0;
    const auto same = [&](auto& o) {
      using N = Numbered<std::remove_cvref_t<decltype(*o.data())>>;
      INFO(K::name << ": output " << i << " on the card");
      REQUIRE(agree<typename N::type, N::mixed>(ascending[i].data(), reinterpret_cast<const unsigned char*>(o.data()), ascending[i].size()));
      if (!ascending[i].empty()) std::memcpy(static_cast<void*>(o.data()), ascending[i].data(), ascending[i].size());
      ++i;
    };
    (same(outputs), ...);
    REQUIRE((outputs.intact() && ...));
  }
#endif
}

}  // namespace voxgrad::cuda::test

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The same kernel on the card and, emulated, on the CPU: a Both<T> is memory of both, a kernel's arguments are made twice,
// once with each side's addresses. Results may differ by the rounding of fused multiply-adds and of the card's functions.

#include <cmath>
#include <cstring>
#include <vector>

#include "catch.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/cuda/cuda_device.hpp"
#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda::test {

inline CudaDevice& card() {
  static CudaDevice device(0, {.time_plans = false, .verify_plans = true, .graphs = true});
  return device;
}

enum class Side { host, card };

/// n elements on either side, with a row of sentinels after them on the card's.
template <class T>
class Both {
 public:
  /// What kernels write: NaN in floating types.
  explicit Both(int64_t n) : host_(size_t(n)), n_(n) {
    std::memset(static_cast<void*>(host_.data()), 0xff, host_.size() * sizeof(T));
    make();
  }
  /// What they read: numbers in [low, high).
  Both(int64_t n, uint64_t stream, double low = -1, double high = 1) : host_(size_t(n)), n_(n) {
    Random random(17, stream);
    for (T& v : host_) v = T(float(random.uniform(low, high)));
    make();
  }
  explicit Both(std::vector<T> values) : host_(std::move(values)), n_(int64_t(host_.size())) { make(); }
  ~Both() { card().release(device_); }
  Both(const Both&) = delete;
  Both& operator=(const Both&) = delete;

  T* at(Side side) { return side == Side::host ? host_.data() : static_cast<T*>(device_); }
  std::vector<T>& host() { return host_; }
  std::vector<T> card_values() {
    std::vector<T> v(host_.size());
    card().download(v.data(), device_, v.size() * sizeof(T));
    return v;
  }
  bool intact() {
    std::vector<unsigned char> after(guard);
    card().download(after.data(), static_cast<char*>(device_) + host_.size() * sizeof(T), guard);
    for (unsigned char c : after)
      if (c != 0x5c) return false;
    return true;
  }
  /// ||card - host|| / ||host||, infinite where one of them is not finite and the other is.
  double difference() {
    const std::vector<T> v = card_values();
    double d = 0, size = 0;
    for (size_t i = 0; i < v.size(); ++i) {
      const double a = double(float(v[i])), b = double(float(host_[i]));
      if (std::isfinite(a) != std::isfinite(b)) return INFINITY;
      if (!std::isfinite(a)) continue;
      d += (a - b) * (a - b);
      size += b * b;
    }
    return std::sqrt(d / std::max(size, 1e-30));
  }

 private:
  static constexpr size_t guard = 64;
  void make() {
    const size_t bytes = host_.size() * sizeof(T);
    device_ = card().allocate(bytes + guard);
    const std::vector<unsigned char> sentinels(guard, 0x5c);
    if (bytes > 0) card().upload(device_, host_.data(), bytes);
    card().upload(static_cast<char*>(device_) + bytes, sentinels.data(), guard);
  }
  std::vector<T> host_;
  int64_t n_;
  void* device_ = nullptr;
};

/// Runs K on both sides; make(side) gives its arguments. The card runs twice and must give the same bits.
template <class K, class Make, class... Outputs>
void compare(double tolerance, const Make& make, Outputs&... outputs) {
  INFO(K::name);
  const auto bits = [](auto& o) {
    const auto v = o.card_values();
    const auto* p = reinterpret_cast<const unsigned char*>(v.data());
    return std::vector<unsigned char>(p, p + v.size() * sizeof(v[0]));
  };
  card().launch<K>(make(Side::card));
  const std::vector<std::vector<unsigned char>> first{bits(outputs)...};
  card().launch<K>(make(Side::card));
  const std::vector<std::vector<unsigned char>> second{bits(outputs)...};
  CHECK(first == second);
  emulate<K>(make(Side::host));
  CHECK(((outputs.difference() <= tolerance) && ...));
  CHECK((outputs.intact() && ...));
}

}  // namespace voxgrad::cuda::test

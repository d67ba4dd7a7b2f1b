// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Counter-based random numbers (Philox 4x32-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011). A number depends on (seed, stream, position) only: the same on any device and thread count.

#include <array>
#include <cmath>
#include <cstdint>

namespace voxgrad {

/// Four 32-bit words for a 128-bit counter and a 64-bit key.
constexpr std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53u) * c[0], b = uint64_t(0xCD9E8D57u) * c[2];
    c = {uint32_t(b >> 32) ^ c[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ c[3] ^ k1, uint32_t(a)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// A sequence of random numbers. Usable as a standard uniform random bit generator.
/// Its whole state is (seed, stream, position), so that a run can be resumed bit for bit.
class Random {
 public:
  using result_type = uint64_t;
  explicit constexpr Random(uint64_t seed = 0, uint64_t stream = 0, uint64_t position = 0)
      : seed_(seed), stream_(stream), position_(position) {}

  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~uint64_t(0); }

  /// 64 uniform random bits.
  constexpr uint64_t operator()() {
    const auto w = philox({uint32_t(position_), uint32_t(position_ >> 32), uint32_t(stream_), uint32_t(stream_ >> 32)},
                          uint32_t(seed_), uint32_t(seed_ >> 32));
    ++position_;
    return uint64_t(w[1]) << 32 | w[0];
  }

  /// Uniform in [0, 1), 53 bits.
  constexpr double uniform() { return double((*this)() >> 11) * 0x1.0p-53; }
  constexpr double uniform(double low, double high) { return low + (high - low) * uniform(); }

  /// Uniform integer in [0, n); the multiply-shift bias is below n / 2^64.
  constexpr uint64_t below(uint64_t n) {
    __extension__ using Wide = unsigned __int128;
    return uint64_t(Wide((*this)()) * n >> 64);
  }

  /// Standard normal (Box-Muller; two draws each, nothing cached, so positions stay predictable).
  double normal() {
    const double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

  uint64_t seed() const { return seed_; }
  uint64_t stream() const { return stream_; }
  uint64_t position() const { return position_; }

 private:
  uint64_t seed_, stream_, position_;
};

}  // namespace voxgrad

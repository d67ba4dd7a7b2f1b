// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What the tests of the convolution kernels share: buffers between walls, problems, settings that come back.

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/kernels/conv_method.hpp"
#include "voxgrad/kernels/conv_transpose3d.hpp"
#include "voxgrad/simd/isa.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "settings.hpp"
#include "page_edge.hpp"

namespace conv_case {

using namespace voxgrad;
using namespace voxgrad::kernels;
using test::Settings;

inline const Device host{};
inline constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
inline constexpr int64_t wall = 64;

struct Random {
  uint64_t state;
  uint32_t next() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return uint32_t(state >> 33);
  }
  template <size_t n>
  int64_t pick(const int64_t (&list)[n]) {
    return list[next() % n];
  }
};

/// `size` floats between a wall of NaN and the end of readable memory.
class Walled {
 public:
  explicit Walled(int64_t size) : size_(size), data_(size_t(size + wall), nan_value) {}
  Walled(int64_t size, uint64_t seed) : Walled(size) {
    Random r{seed};
    for (int64_t i = 0; i < size; ++i) data()[i] = float(int(r.next() % 9) - 4) / 4;
  }
  float* data() { return data_.data() + wall; }
  bool walls_stand() const {
    for (int64_t i = 0; i < wall; ++i)
      if (!std::isnan(data_[size_t(i)])) return false;
    return true;
  }
  /// The largest difference from `want`, relative to the largest of `want`; NaN counts as infinite.
  double error(const std::vector<double>& want) {
    double worst = 0, largest = 1e-30;
    for (int64_t i = 0; i < size_; ++i) {
      const double difference = std::abs(double(data()[i]) - want[size_t(i)]);
      worst = difference <= worst      ? worst
              : std::isnan(difference) ? std::numeric_limits<double>::infinity()
                                       : difference;
      largest = std::max(largest, std::abs(want[size_t(i)]));
    }
    return worst / largest;
  }
  std::vector<double> as_double() { return std::vector<double>(data(), data() + size_); }
  int64_t equal_to(const std::vector<double>& want) {
    int64_t count = 0;
    for (int64_t i = 0; i < size_; ++i) count += double(data()[i]) == want[size_t(i)];
    return count;
  }
  bool same_bits(Walled& other) {
    return std::memcmp(data(), other.data(), size_t(size_) * sizeof(float)) == 0;
  }

 private:
  int64_t size_;
  EdgeVector<float> data_;
};

inline std::string describe(const Conv3dProblem& p) {
  std::ostringstream s;
  s << "N " << p.N << " in " << p.in[0] << 'x' << p.in[1] << 'x' << p.in[2] << " Ci " << p.Ci << " Co "
    << p.Co;
  for (int a = 0; a < 3; ++a)
    s << " | k " << p.kernel[a] << " s " << p.stride[a] << " p " << p.padding[a] << " d " << p.dilation[a];
  return s.str();
}

inline std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512})
    if (supported(isa)) all.push_back(isa);
  return all;
}

inline Conv3dProblem cube(int64_t N, int64_t D, int64_t H, int64_t W, int64_t Ci, int64_t Co, int64_t k,
                          int64_t s, int64_t pad, int64_t dil) {
  Conv3dProblem p{};
  p.N = N, p.Ci = Ci, p.Co = Co;
  const int64_t extents[3] = {D, H, W};
  for (int a = 0; a < 3; ++a) {
    p.in[a] = extents[a], p.kernel[a] = k, p.stride[a] = s, p.padding[a] = pad, p.dilation[a] = dil;
  }
  return p;
}
}  // namespace conv_case

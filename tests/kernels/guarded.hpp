// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Helpers of the kernel tests: buffers that show missed and stray writes, noise, and runs over instruction sets and
// thread counts.

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "page_edge.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/kernels/pointwise.hpp"
#include "voxgrad/simd/isa.hpp"

/// n numbers that start as NaN between a fence and the end of writable memory; intact() says whether the fence still stands.
template <class T>
class Guarded {
 public:
  explicit Guarded(int64_t n) : n_(n), data_(size_t(n + fence), T(-12345)) { reset(); }
  T* data() { return data_.data() + fence; }
  T& operator[](int64_t i) { return data()[i]; }
  int64_t size() const { return n_; }
  void reset() {
    for (int64_t i = 0; i < n_; ++i) data()[i] = std::numeric_limits<T>::quiet_NaN();
  }
  bool intact() {
    for (int64_t i = 0; i < fence; ++i)
      if (data_[size_t(i)] != T(-12345)) return false;
    return true;
  }
  std::vector<T> copy() { return {data(), data() + n_}; }

 private:
  static constexpr int64_t fence = 17;  // odd, so that the data is not aligned to vectors
  int64_t n_;
  EdgeVector<T> data_;
};

/// Uniform numbers in [-1, 1), the same for the same (i, seed).
inline double noise(int64_t i, uint64_t seed = 0) {
  uint64_t h = (uint64_t(i) + 1) * 0x9e3779b97f4a7c15u + seed * 0xd1b54a32d192ed03u;
  h = (h ^ (h >> 31)) * 0xbf58476d1ce4e5b9u;
  h = (h ^ (h >> 29)) * 0x94d049bb133111ebu;
  return double((h ^ (h >> 32)) >> 11) * 0x1p-52 - 1;
}
/// n of them, up to the end of readable memory.
template <class T>
EdgeVector<T> noise_vector(int64_t n, uint64_t seed = 0, double scale = 1, double offset = 0) {
  EdgeVector<T> v(size_t(n), T(0));
  for (int64_t i = 0; i < n; ++i) v[size_t(i)] = T(offset + scale * noise(i, seed));
  return v;
}

/// Calls f() for every instruction set that this machine has.
template <class F>
void on_every_isa(F&& f) {
  const voxgrad::Isa before = voxgrad::current_isa();
  for (auto isa : {voxgrad::Isa::scalar, voxgrad::Isa::avx2, voxgrad::Isa::avx512}) {
    if (!voxgrad::supported(isa)) continue;
    voxgrad::set_isa(isa);
    INFO("isa " << voxgrad::name(isa));
    f();
  }
  voxgrad::set_isa(before);
}

/// f() fills `out`; its bits must not depend on the thread count.
template <class T, class F>
void same_bits_on_threads(Guarded<T>& out, F&& f) {
  const int before = voxgrad::threads();
  std::vector<T> first;
  for (int threads : {1, 2, 3, 4, 5, 6, 7}) {
    voxgrad::set_threads(threads);
    out.reset();
    f();
    INFO("threads " << threads);
    CHECK(out.intact());
    if (first.empty()) first = out.copy();
    else CHECK(std::memcmp(first.data(), out.data(), first.size() * sizeof(T)) == 0);
  }
  voxgrad::set_threads(before);
}

/// offset + scale * noise, the same numbers in both precisions.
template <class T>
Guarded<T> noise_values(int64_t n, uint64_t seed, double scale, double offset = 0) {
  Guarded<T> v(n);
  for (int64_t i = 0; i < n; ++i) v[i] = T(float(offset + scale * noise(i, seed)));
  return v;
}

/// Largest |got - want(i)| / (|want(i)| + floor).
template <class T, class Want>
double worst(Guarded<T>& got, double floor, Want&& want) {
  double most = 0;
  for (int64_t i = 0; i < got.size(); ++i) {
    const double w = want(i), e = std::fabs(double(got[i]) - w) / (std::fabs(w) + floor);
    if (!(e <= most)) most = std::isnan(e) ? 1e300 : e;
  }
  return most;
}

inline const voxgrad::Device host{};
inline const int64_t odd_sizes[] = {0, 1, 7, 8, 9, 17, 33, 100003};

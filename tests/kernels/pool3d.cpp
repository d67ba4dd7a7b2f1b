// SPDX-License-Identifier: BSD-3-Clause
// Max-pooling against plain loops.

#include "voxgrad/kernels/pool3d.hpp"

#include "guarded.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {

Pool3dProblem pool(DType dtype, int64_t N, int64_t D, int64_t H, int64_t W, int64_t C, int64_t kernel, int64_t stride) {
  const auto out = [&](int64_t in) { return (in - kernel) / stride + 1; };
  return {dtype, N, {D, H, W}, {out(D), out(H), out(W)}, C, {kernel, kernel, kernel}, {stride, stride, stride}};
}

template <class T>
void check_pool(const Pool3dProblem& p, EdgeVector<T> x) {
  INFO("in " << p.in[0] << "x" << p.in[1] << "x" << p.in[2] << " C " << p.C << " kernel " << p.kernel[0]);
  const int64_t outputs = p.N * p.out[0] * p.out[1] * p.out[2] * p.C;
  const EdgeVector<T> dy = noise_vector<T>(outputs, 9);
  std::vector<double> y(size_t(outputs), 0.0), dx(x.size(), 0.0);
  for (int64_t o = 0; o < outputs; ++o) {
    const int64_t c = o % p.C, ow = o / p.C % p.out[2], oh = o / p.C / p.out[2] % p.out[1];
    const int64_t od = o / p.C / p.out[2] / p.out[1] % p.out[0], n = o / p.C / p.out[2] / p.out[1] / p.out[0];
    int64_t best = -1;
    for (int64_t k = 0; k < p.kernel[0] * p.kernel[1] * p.kernel[2]; ++k) {
      const int64_t z = od * p.stride[0] + k / p.kernel[2] / p.kernel[1];
      const int64_t h = oh * p.stride[1] + k / p.kernel[2] % p.kernel[1], w = ow * p.stride[2] + k % p.kernel[2];
      const int64_t i = (((n * p.in[0] + z) * p.in[1] + h) * p.in[2] + w) * p.C + c;
      if (best < 0 || x[size_t(i)] > x[size_t(best)]) best = i;
    }
    y[size_t(o)] = double(x[size_t(best)]);
    dx[size_t(best)] += double(dy[size_t(o)]);
  }
  Guarded<T> got(outputs), gradient(int64_t(x.size()));
  max_pool3d.at(host).forward(p, x.data(), got.data());
  max_pool3d.at(host).backward(p, x.data(), dy.data(), gradient.data());
  CHECK((got.intact() && gradient.intact()));
  CHECK(worst(got, 1, [&](int64_t i) { return y[size_t(i)]; }) == 0);
  CHECK(worst(gradient, 1, [&](int64_t i) { return dx[size_t(i)]; }) < 1e-6);
}

template <class T>
void check_sizes(int64_t kernel, int64_t stride) {
  for (int64_t C : {1, 3, 7, 8, 9, 16, 17, 24})
    for (const Shape& s : {Shape{1, 2, 2, 2}, Shape{2, 5, 4, 7}, Shape{3, 4, 9, 3}, Shape{0, 4, 4, 4}}) {
      if (s[3] < kernel || s[1] < kernel) continue;
      const Pool3dProblem p = pool(DTypeOf<T>::value, s[0], s[1], s[2], s[3], C, kernel, stride);
      check_pool(p, noise_vector<T>(s.size() * C, 1));
      EdgeVector<T> ties = noise_vector<T>(s.size() * C, 2, 2);  // few distinct values: the first maximum must win
      for (T& v : ties) v = std::round(v);
      check_pool(p, ties);
    }
}

}  // namespace

TEST_CASE("max pooling by two, odd extents and ties included") {
  on_every_isa([] { check_sizes<float>(2, 2); });
  check_sizes<double>(2, 2);
}

TEST_CASE("max pooling of windows side by side that differ per axis") {
  on_every_isa([] {
    for (const auto& k : {std::array<int64_t, 3>{1, 2, 2}, {2, 2, 1}, {3, 1, 2}, {4, 4, 4}, {1, 1, 1}, {5, 4, 4}})
      for (int64_t C : {1, 3, 8, 24}) {
        Pool3dProblem p{DType::f32, 2, {5, 9, 14}, {}, C, {k[0], k[1], k[2]}, {k[0], k[1], k[2]}};
        for (int a = 0; a < 3; ++a) p.out[a] = p.in[a] / k[size_t(a)];
        EdgeVector<float> x = noise_vector<float>(2 * 5 * 9 * 14 * C, 3);
        check_pool(p, x);
        for (float& v : x) v = std::round(2 * v);
        check_pool(p, x);
      }
  });
}

TEST_CASE("max pooling of other windows, overlapping ones included") {
  check_sizes<float>(3, 1);
  check_sizes<float>(2, 1);
  check_sizes<double>(1, 2);
}

TEST_CASE("max pooling: NaN wins, infinities count, any number of threads gives the same bits") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  on_every_isa([&] {
    for (int64_t C : {1, 8}) {
      std::vector<float> x(size_t(8 * C), -inf), y(size_t(C), 0.f), dx(x.size(), nan);
      const std::vector<float> dy(size_t(C), 3.f);
      const Pool3dProblem p = pool(DType::f32, 1, 2, 2, 2, C, 2, 2);
      max_pool3d.at(host).forward(p, x.data(), y.data());
      max_pool3d.at(host).backward(p, x.data(), dy.data(), dx.data());
      CHECK(y[0] == -inf);
      CHECK(dx[0] == 3);
      x[size_t(2 * C)] = nan;
      x[size_t(3 * C)] = inf;
      max_pool3d.at(host).forward(p, x.data(), y.data());
      max_pool3d.at(host).backward(p, x.data(), dy.data(), dx.data());
      CHECK(std::isnan(y[0]));
      for (int64_t k = 0; k < 8; ++k) CHECK(dx[size_t(k * C)] == (k == 2 ? 3 : 0));
    }
  });
  const Pool3dProblem p = pool(DType::f32, 3, 17, 18, 33, 8, 2, 2);
  const EdgeVector<float> x = noise_vector<float>(3 * 17 * 18 * 33 * 8, 1), dy = noise_vector<float>(3 * 8 * 9 * 16 * 8, 2);
  Guarded<float> dx(int64_t(x.size())), y(int64_t(dy.size()));
  same_bits_on_threads(y, [&] { max_pool3d.at(host).forward(p, x.data(), y.data()); });
  same_bits_on_threads(dx, [&] { max_pool3d.at(host).backward(p, x.data(), dy.data(), dx.data()); });
}

// SPDX-License-Identifier: BSD-3-Clause
// Nearest-neighbour up-sampling against its index formula.

#include "voxgrad/kernels/upsample3d.hpp"

#include "guarded.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {

template <class T>
void check_upsample(const Upsample3dProblem& p) {
  INFO(p.N << "x" << p.in[0] << "x" << p.in[1] << "x" << p.in[2] << "x" << p.C << " by " << p.factor[0] << "," << p.factor[1] << "," << p.factor[2]);
  int64_t out[3];
  for (int i = 0; i < 3; ++i) out[i] = p.in[i] * p.factor[i];
  const int64_t inputs = p.N * p.in[0] * p.in[1] * p.in[2] * p.C, outputs = p.N * out[0] * out[1] * out[2] * p.C;
  const auto source = [&](int64_t o) {  // element of x behind element o of y
    const int64_t c = o % p.C, w = o / p.C % out[2], h = o / p.C / out[2] % out[1], dn = o / p.C / out[2] / out[1];
    const int64_t n = dn / out[0], d = dn % out[0];
    return (((n * p.in[0] + d / p.factor[0]) * p.in[1] + h / p.factor[1]) * p.in[2] + w / p.factor[2]) * p.C + c;
  };
  const EdgeVector<T> x = noise_vector<T>(inputs, 1), dy = noise_vector<T>(outputs, 2);
  Guarded<T> y(outputs), dx(inputs);
  upsample3d.at(host).forward(p, x.data(), y.data());
  upsample3d.at(host).backward(p, dy.data(), dx.data());
  CHECK((y.intact() && dx.intact()));
  CHECK(worst(y, 1, [&](int64_t o) { return double(x[size_t(source(o))]); }) == 0);
  std::vector<double> want(size_t(inputs), 0.0);
  for (int64_t o = 0; o < outputs; ++o) want[size_t(source(o))] += double(dy[size_t(o)]);
  CHECK(worst(dx, 1, [&](int64_t i) { return want[size_t(i)]; }) < (sizeof(T) == 4 ? 2e-6 : 1e-14));
}

template <class T>
void check_sizes() {
  for (int64_t C : {1, 3, 8, 17})
    for (const auto& in : {std::array<int64_t, 4>{1, 1, 1, 1}, {2, 3, 1, 7}, {3, 2, 5, 4}, {0, 2, 2, 2}})
      for (const auto& f : {std::array<int64_t, 3>{2, 2, 2}, {1, 2, 2}, {3, 1, 2}, {1, 1, 1}})
        check_upsample<T>({DTypeOf<T>::value, in[0], {in[1], in[2], in[3]}, C, {f[0], f[1], f[2]}});
}

}  // namespace

TEST_CASE("nearest-neighbour up-sampling repeats voxels and sums their gradients") {
  check_sizes<float>();
  check_sizes<double>();
}

TEST_CASE("nearest-neighbour up-sampling: any number of threads gives the same bits") {
  const Upsample3dProblem p{DType::f32, 2, {9, 17, 16}, 8, {2, 2, 2}};
  const EdgeVector<float> x = noise_vector<float>(2 * 9 * 17 * 16 * 8, 1), dy = noise_vector<float>(8 * int64_t(x.size()), 2);
  Guarded<float> dx(int64_t(x.size())), y(int64_t(dy.size()));
  same_bits_on_threads(y, [&] { upsample3d.at(host).forward(p, x.data(), y.data()); });
  same_bits_on_threads(dx, [&] { upsample3d.at(host).backward(p, dy.data(), dx.data()); });
}

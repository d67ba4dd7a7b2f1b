// SPDX-License-Identifier: BSD-3-Clause
// The matrix product against plain loops in double.

#include "voxgrad/kernels/matmul.hpp"

#include "guarded.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {
template <class T>
void check_matmul(int64_t M, int64_t N, int64_t K, bool ta, bool tb, double tolerance) {
  INFO(M << "x" << N << "x" << K << " transposed " << ta << tb);
  const EdgeVector<T> a = noise_vector<T>(M * K, 1), b = noise_vector<T>(K * N, 2);
  Guarded<T> c(M * N);
  matmul.at(host).forward({DTypeOf<T>::value, M, N, K, ta, tb}, a.data(), b.data(), c.data());
  CHECK(c.intact());
  CHECK(worst(c, 1 + std::sqrt(double(K)), [&](int64_t i) {
    double sum = 0;
    for (int64_t k = 0; k < K; ++k)
      sum += double(a[size_t(ta ? k * M + i / N : i / N * K + k)]) * double(b[size_t(tb ? i % N * K + k : k * N + i % N)]);
    return sum;
  }) < tolerance);
}
}  // namespace

TEST_CASE("matrix products of odd sizes, transposed or not") {
  on_every_isa([] {
    for (bool ta : {false, true})
      for (bool tb : {false, true}) {
        for (int64_t M : {0, 1, 5, 6, 7, 17})
          for (int64_t N : {0, 1, 8, 31, 33})
            for (int64_t K : {0, 1, 9, 64}) check_matmul<float>(M, N, K, ta, tb, 1e-6);
        check_matmul<float>(61, 67, 301, ta, tb, 2e-6);
        check_matmul<double>(17, 9, 33, ta, tb, 1e-14);
      }
  });
}

TEST_CASE("a matrix product gives the same bits on any number of threads") {
  const EdgeVector<float> a = noise_vector<float>(70 * 90, 1), b = noise_vector<float>(90 * 110, 2);
  Guarded<float> c(70 * 110);
  same_bits_on_threads(c, [&] { matmul.at(host).forward({DType::f32, 70, 110, 90, false, false}, a.data(), b.data(), c.data()); });
}

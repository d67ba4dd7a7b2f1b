// SPDX-License-Identifier: BSD-3-Clause
// The definition of the convolutions, against sums worked by hand.

#include "voxgrad/kernels/conv3d.hpp"
#include "voxgrad/kernels/conv_transpose3d.hpp"

#include <vector>

#include "catch.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {
const Device host{};

/// A row of W points, a kernel of three: padding 1, stride 2.
template <class Problem>
Problem row_problem(DType t, int64_t in, int64_t out) {
  Problem p{};
  p.dtype = t;
  p.N = p.Ci = p.Co = 1;
  for (int a = 0; a < 3; ++a) {
    p.in[a] = p.out[a] = p.kernel[a] = p.stride[a] = p.dilation[a] = 1;
    p.padding[a] = 0;
  }
  p.in[2] = in, p.out[2] = out, p.kernel[2] = 3, p.stride[2] = 2, p.padding[2] = 1;
  return p;
}

template <class T>
void check_row(DType t) {
  const auto p = row_problem<Conv3dProblem>(t, 4, 2);
  const T x[4] = {1, 2, 3, 4}, w[3] = {10, 100, 1000}, bias[1] = {5}, dy[2] = {1, 2};
  T y[2], dx[4], dw[3], db[1];
  conv3d.at(host).forward(p, x, w, bias, y);
  CHECK(y[0] == 5 + 100 + 2000);
  CHECK(y[1] == 5 + 20 + 300 + 4000);
  conv3d.at(host).backward_data(p, dy, w, dx);
  CHECK(dx[0] == 100);
  CHECK(dx[1] == 1000 + 20);
  CHECK(dx[2] == 200);
  CHECK(dx[3] == 2000);
  conv3d.at(host).backward_weight(p, x, dy, dw, db);
  CHECK(dw[0] == 2 * 2);
  CHECK(dw[1] == 1 + 2 * 3);
  CHECK(dw[2] == 2 + 2 * 4);
  CHECK(db[0] == 3);

  // The transposed convolution scatters the same taps: x at 2 points, y at 4.
  const auto q = row_problem<ConvTranspose3dProblem>(t, 2, 4);
  T z[4], dz[4] = {1, 2, 3, 4}, du[2];
  conv_transpose3d.at(host).forward(q, dy, w, bias, z);
  CHECK(z[0] == 5 + 100);
  CHECK(z[1] == 5 + 1000 + 20);
  CHECK(z[2] == 5 + 200);
  CHECK(z[3] == 5 + 2000);
  conv_transpose3d.at(host).backward_data(q, dz, w, du);
  CHECK(du[0] == 100 + 2000);
  CHECK(du[1] == 20 + 300 + 4000);
  conv_transpose3d.at(host).backward_weight(q, dy, dz, dw, db);
  CHECK(dw[0] == 2 * 2);
  CHECK(dw[1] == 1 + 2 * 3);
  CHECK(dw[2] == 2 + 2 * 4);
  CHECK(db[0] == 10);
}
}  // namespace

TEST_CASE("convolutions of a row, by hand") {
  check_row<float>(DType::f32);
  check_row<double>(DType::f64);
}

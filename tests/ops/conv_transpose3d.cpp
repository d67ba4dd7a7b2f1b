// SPDX-License-Identifier: BSD-3-Clause
// Transposed 3-D convolution.

#include <cmath>

#include "catch.hpp"
#include "op_case.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/ops/conv3d.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;

OpCase ct(const char* name, const char* torch, const Shape& x, const Shape& w, const ConvTranspose3dOptions& o = {}, bool bias = true) {
  const double f = 2 / std::sqrt(double(w.size() / w[4]));
  OpCase c{name, torch, {{x}, {w, -f, f}}, {}, {0, 1}};
  if (bias) {
    c.inputs.push_back({{w[4]}});
    c.linear.push_back(2);
  }
  c.call = [o, bias](In in) { return conv_transpose3d(in[0], in[1], bias ? in[2] : Tensor(), o); };
  return c;
}

const ConvTranspose3dOptions twice{{2, 2, 2}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}};

std::vector<OpCase> cases() {
  return {
      ct("conv_transpose3d_double", "conv_t(a, b, c, stride=2, padding=1, output_padding=1)", {2, 2, 3, 4, 4}, {3, 3, 3, 4, 2}, twice),
      ct("conv_transpose3d_plain", "conv_t(a, b, c)", {1, 2, 3, 4, 2}, {3, 3, 3, 2, 3}),
      ct("conv_transpose3d_no_bias", "conv_t(a, b, stride=2)", {1, 2, 3, 2, 2}, {2, 2, 2, 2, 3},
         {{2, 2, 2}, {0, 0, 0}, {0, 0, 0}, {1, 1, 1}}, false),
      ct("conv_transpose3d_stride3", "conv_t(a, b, c, stride=3, output_padding=2)", {1, 2, 3, 2, 2}, {3, 3, 3, 2, 2},
         {{3, 3, 3}, {0, 0, 0}, {2, 2, 2}, {1, 1, 1}}),
      ct("conv_transpose3d_dilation", "conv_t(a, b, c, stride=2, padding=1, output_padding=1, dilation=2)", {1, 3, 2, 3, 2},
         {3, 3, 3, 2, 3}, {{2, 2, 2}, {1, 1, 1}, {1, 1, 1}, {2, 2, 2}}),
      ct("conv_transpose3d_axes",
         "conv_t(a, b, c, stride=(1, 2, 3), padding=(1, 0, 1), output_padding=(1, 0, 2), dilation=(2, 1, 1))", {1, 3, 2, 3, 2},
         {2, 3, 3, 2, 3}, {{1, 2, 3}, {1, 0, 1}, {1, 0, 2}, {2, 1, 1}}),
      ct("conv_transpose3d_one_input", "conv_t(a, b, c, stride=2, padding=1, output_padding=1)", {1, 2, 2, 5, 1}, {3, 3, 3, 1, 3}, twice),
      ct("conv_transpose3d_one_output", "conv_t(a, b, c, stride=2, padding=1, output_padding=1)", {1, 2, 3, 2, 5}, {3, 3, 3, 5, 1}, twice),
      ct("conv_transpose3d_eight", "conv_t(a, b, c, stride=2, padding=1, output_padding=1)", {1, 2, 2, 5, 16}, {3, 3, 3, 16, 8}, twice),
  };
}

std::vector<OpCase> layers() {
  return {
      ct("conv_transpose3d 16 to 8, long rows", "", {2, 3, 4, 17, 16}, {3, 3, 3, 16, 8}, twice),
      ct("conv_transpose3d 32 to 16", "", {1, 3, 3, 5, 32}, {3, 3, 3, 32, 16}, twice),
      ct("conv_transpose3d 64 to 32, one voxel", "", {3, 1, 1, 1, 64}, {3, 3, 3, 64, 32}, twice),
      ct("conv_transpose3d 24 to 12", "", {1, 2, 3, 7, 24}, {3, 3, 3, 24, 12}, twice),
      ct("conv_transpose3d 9 to 17", "", {1, 2, 3, 4, 9}, {3, 3, 3, 9, 17}, twice),
  };
}
}  // namespace

TEST_CASE("conv_transpose3d") { run_cases(cases()); }
TEST_CASE("conv_transpose3d, layers") { run_cases(layers()); }

TEST_CASE("conv_transpose3d is the data gradient of conv3d with the weight's channels exchanged") {
  Random random(8);
  const Tensor x = random_normal({1, 2, 3, 4, 5}, random, DType::f64), w = random_normal({3, 3, 3, 5, 3}, random, DType::f64);
  Tensor exchanged({3, 3, 3, 3, 5}, DType::f64);
  for (size_t k = 0; k < 27; ++k)
    for (size_t a = 0; a < 5; ++a)
      for (size_t b = 0; b < 3; ++b)
        exchanged.mutable_span<double>()[(k * 3 + b) * 5 + a] = w.span<double>()[(k * 5 + a) * 3 + b];
  Tensor y = Tensor::zeros({1, 4, 6, 8, 3}, DType::f64);
  y.set_requires_grad();
  backward(conv3d(y, exchanged, Tensor(), {{2, 2, 2}, {1, 1, 1}, {1, 1, 1}}), x);
  CHECK(relative_difference(conv_transpose3d(x, w, Tensor(), twice), y.grad()) < 1e-14);
}

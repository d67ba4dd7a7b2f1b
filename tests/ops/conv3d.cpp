// SPDX-License-Identifier: BSD-3-Clause
// 3-D convolution: every option, odd sizes, and the channel counts of real layers.

#include "voxgrad/ops/conv3d.hpp"

#include <cmath>

#include "catch.hpp"
#include "op_case.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;

OpCase cv(const char* name, const char* torch, const Shape& x, const Shape& w, const Conv3dOptions& o = {}, bool bias = true) {
  const double f = 2 / std::sqrt(double(w.size() / w[4]));
  OpCase c{name, torch, {{x}, {w, -f, f}}, {}, {0, 1}};
  if (bias) {
    c.inputs.push_back({{w[4]}});
    c.linear.push_back(2);
  }
  c.call = [o, bias](In in) { return conv3d(in[0], in[1], bias ? in[2] : Tensor(), o); };
  return c;
}

Conv3dOptions padding(int64_t p) { return {{1, 1, 1}, {p, p, p}, {1, 1, 1}}; }

std::vector<OpCase> cases() {
  return {
      cv("conv3d_valid", "conv(a, b, c)", {1, 4, 5, 6, 2}, {3, 3, 3, 2, 3}),
      cv("conv3d_same", "conv(a, b, c, padding=1)", {2, 3, 4, 5, 2}, {3, 3, 3, 2, 3}, padding(1)),
      cv("conv3d_no_bias", "conv(a, b, padding=1)", {1, 3, 4, 5, 2}, {3, 3, 3, 2, 3}, padding(1), false),
      cv("conv3d_stride", "conv(a, b, c, stride=2, padding=1)", {2, 5, 7, 6, 3}, {3, 3, 3, 3, 4}, {{2, 2, 2}, {1, 1, 1}, {1, 1, 1}}),
      cv("conv3d_dilation", "conv(a, b, c, padding=2, dilation=2)", {1, 5, 4, 7, 2}, {3, 3, 3, 2, 3}, {{1, 1, 1}, {2, 2, 2}, {2, 2, 2}}),
      cv("conv3d_axes", "conv(a, b, c, stride=(1, 2, 3), padding=(0, 1, 2), dilation=(1, 2, 1))", {1, 4, 7, 8, 2},
         {3, 2, 3, 2, 3}, {{1, 2, 3}, {0, 1, 2}, {1, 2, 1}}),
      cv("conv3d_same_stride", "conv(F.pad(a, (0, 0, 0, 1, 0, 1, 0, 1)), b, c, stride=2)", {2, 4, 6, 8, 3}, {3, 3, 3, 3, 4},
         {{2, 2, 2}, {0, 0, 0}, {1, 1, 1}, {1, 1, 1}}),
      cv("conv3d_even_end", "conv(F.pad(a, (0, 0, 0, 1, 1, 2, 0, 1)), b, c)", {1, 3, 5, 6, 2}, {2, 4, 2, 2, 3},
         {{1, 1, 1}, {0, 1, 0}, {1, 1, 1}, {1, 1, 1}}),
      cv("conv3d_point", "conv(a, b, c)", {2, 3, 3, 3, 8}, {1, 1, 1, 8, 1}),
      cv("conv3d_one_input", "conv(a, b, c, padding=1)", {1, 4, 3, 9, 1}, {3, 3, 3, 1, 8}, padding(1)),
      cv("conv3d_one_output", "conv(a, b, c, padding=1)", {1, 3, 3, 4, 7}, {3, 3, 3, 7, 1}, padding(1)),
      cv("conv3d_five", "conv(a, b, c, padding=2)", {1, 5, 3, 6, 1}, {5, 5, 5, 1, 4}, padding(2)),
      cv("conv3d_flat", "conv(a, b, c, padding=(0, 1, 2))", {1, 2, 4, 6, 3}, {1, 3, 5, 3, 2}, {{1, 1, 1}, {0, 1, 2}, {1, 1, 1}}),
      cv("conv3d_eight", "conv(a, b, c, padding=1)", {1, 3, 4, 9, 8}, {3, 3, 3, 8, 8}, padding(1)),
      cv("conv3d_nine_seventeen", "conv(a, b, c)", {1, 2, 2, 5, 9}, {1, 1, 3, 9, 17}),
      cv("conv3d_much_padding", "conv(a, b, c, padding=2)", {1, 2, 1, 3, 2}, {2, 2, 2, 2, 2}, padding(2)),
      cv("conv3d_one_voxel", "conv(a, b, c, padding=1)", {3, 1, 1, 1, 4}, {3, 3, 3, 4, 5}, padding(1)),
  };
}

/// Layers as the network has them, and awkward neighbours: f32 against f64 only.
std::vector<OpCase> layers() {
  return {
      cv("conv3d 1 to 8", "", {2, 5, 6, 32, 1}, {3, 3, 3, 1, 8}, padding(1)),
      cv("conv3d 8 to 8, long rows", "", {1, 4, 5, 33, 8}, {3, 3, 3, 8, 8}, padding(1)),
      cv("conv3d 16 to 16", "", {1, 4, 5, 17, 16}, {3, 3, 3, 16, 16}, padding(1)),
      cv("conv3d 16 to 32", "", {2, 3, 4, 8, 16}, {3, 3, 3, 16, 32}, padding(1)),
      cv("conv3d 24 to 40", "", {1, 3, 3, 7, 24}, {3, 3, 3, 24, 40}, padding(1)),
      cv("conv3d 31 to 33", "", {1, 3, 4, 5, 31}, {3, 3, 3, 31, 33}, padding(1)),
      cv("conv3d 64 to 64, two voxels", "", {2, 2, 2, 2, 64}, {3, 3, 3, 64, 64}, padding(1)),
      cv("conv3d 128 to 64, one voxel", "", {3, 1, 1, 1, 128}, {3, 3, 3, 128, 64}, padding(1)),
      cv("conv3d 8 to 1, a point", "", {2, 5, 6, 7, 8}, {1, 1, 1, 8, 1}),
      cv("conv3d 16 to 16, dilation 3", "", {1, 7, 7, 9, 16}, {3, 3, 3, 16, 16}, {{1, 1, 1}, {3, 3, 3}, {3, 3, 3}}),
      cv("conv3d 16 to 8, stride 2", "", {1, 7, 8, 9, 16}, {3, 3, 3, 16, 8}, {{2, 2, 2}, {1, 1, 1}, {1, 1, 1}}),
      cv("conv3d 16 to 16, stride 2, zeros at the end", "", {1, 6, 8, 18, 16}, {3, 3, 3, 16, 16}, {{1, 2, 2}, {1, 0, 0}, {1, 1, 1}, {0, 1, 1}}),
      cv("conv3d 8 to 8, even kernel", "", {1, 5, 6, 17, 8}, {2, 4, 3, 8, 8}, {{1, 1, 1}, {0, 1, 1}, {1, 1, 1}, {1, 1, 0}}),
      cv("conv3d 16 to 32, more zeros at the end", "", {1, 5, 6, 19, 16}, {3, 3, 3, 16, 32}, {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}}),
      cv("conv3d 8 to 8, kernel 5", "", {1, 6, 7, 9, 8}, {5, 5, 5, 8, 8}, padding(2)),
  };
}
}  // namespace

TEST_CASE("conv3d") { run_cases(cases()); }
TEST_CASE("conv3d, layers") { run_cases(layers()); }

TEST_CASE("padding same: extents, and where the odd zero goes") {
  const auto same = [](int64_t in, int64_t kernel, int64_t stride) {
    const Conv3dOptions o = same_padding({1, in, in, in, 1}, {kernel, kernel, kernel}, {stride, stride, stride});
    const Tensor y = conv3d(Tensor::zeros({1, in, in, in, 1}), Tensor::zeros({kernel, kernel, kernel, 1, 1}), Tensor(), o);
    CHECK(y.shape()[3] == (in + stride - 1) / stride);
    return std::pair{o.padding[0], o.extra_end[0]};
  };
  CHECK(same(8, 3, 1) == std::pair<int64_t, int64_t>{1, 0});
  CHECK(same(8, 4, 1) == std::pair<int64_t, int64_t>{1, 1});
  CHECK(same(8, 3, 2) == std::pair<int64_t, int64_t>{0, 1});  // nothing before, one after
  CHECK(same(7, 3, 2) == std::pair<int64_t, int64_t>{1, 0});
  CHECK(same(9, 1, 2) == std::pair<int64_t, int64_t>{0, 0});
  CHECK(same(5, 7, 4) == std::pair<int64_t, int64_t>{3, 0});
  CHECK(same(1, 6, 3) == std::pair<int64_t, int64_t>{2, 1});
}

TEST_CASE("conv3d of an empty batch is empty") {
  const Tensor y = conv3d(Tensor({0, 3, 3, 3, 2}), Tensor::zeros({3, 3, 3, 2, 4}), Tensor::zeros({4}), padding(1));
  CHECK(y.shape() == Shape{0, 3, 3, 3, 4});
}

TEST_CASE("conv3d is the same for each sample of a batch, in any order") {
  Random random(5);
  const Tensor x = random_normal({3, 4, 5, 9, 8}, random), w = random_normal({3, 3, 3, 8, 16}, random);
  const Tensor y = conv3d(x, w, Tensor(), padding(1));
  const int64_t n = x.size() / 3, m = y.size() / 3;
  for (int64_t i = 0; i < 3; ++i) {
    const Tensor one = conv3d(x.view({1, 4, 5, 9, 8}, i * n), w, Tensor(), padding(1));
    CHECK(std::memcmp(one.raw(), y.span<float>().data() + i * m, size_t(m) * 4) == 0);
  }
}

TEST_CASE("conv3d moves with its input") {
  Random random(6);
  const Tensor w = random_normal({3, 3, 3, 2, 8}, random);
  Tensor a = Tensor::zeros({1, 7, 8, 21, 2}), b = Tensor::zeros({1, 7, 8, 21, 2});
  const auto at = [](int64_t z, int64_t y, int64_t x, int64_t C) { return size_t(((z * 8 + y) * 21 + x) * C); };
  a.mutable_span<float>()[at(2, 3, 4, 2)] = 1;
  b.mutable_span<float>()[at(4, 4, 16, 2)] = 1;
  const Tensor ya = conv3d(a, w, Tensor(), padding(1)), yb = conv3d(b, w, Tensor(), padding(1));
  for (int64_t z = -1; z <= 1; ++z)
    for (int64_t y = -1; y <= 1; ++y)
      for (int64_t x = -1; x <= 1; ++x)
        for (size_t c = 0; c < 8; ++c)
          CHECK(ya.span<float>()[at(2 + z, 3 + y, 4 + x, 8) + c] == yb.span<float>()[at(4 + z, 4 + y, 16 + x, 8) + c]);
}

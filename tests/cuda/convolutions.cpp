// SPDX-License-Identifier: BSD-3-Clause
// The GPU's own convolutions against the CPU's definition, in double.
#include "matrices.hpp"
#include "voxgrad/cpu/conv3d_ref.hpp"
#include "voxgrad/cuda/kernels/direct_conv.hpp"
#include "voxgrad/cuda/kernels/first_conv.hpp"
#include "voxgrad/cuda/kernels/first_conv_weight.hpp"

using namespace voxgrad::cuda;
using namespace voxgrad::cuda::test;

namespace {

/// A convolution with inputs, and its results as the CPU defines them.
template <class E>
struct Case {
  ConvShape s;
  Matrix<E> x, dy;
  Guarded<E> w;       ///< [Co, taps, Ci]
  Guarded<float> wf;  ///< the same in f32, as far as E goes
  Guarded<float> bias;

  Case(const ConvShape& shape, Numbers& numbers)
      : s(with_outputs(shape)), x(s.rows_in(), s.Ci, numbers), dy(s.rows_out(), s.Co, numbers), w(size_t(s.Co * s.taps() * s.Ci)), wf(w.size()),
        bias(size_t(s.Co)) {
    fill(w, numbers), fill(bias, numbers);
    for (size_t i = 0; i < w.size(); ++i) wf[i] = float(w[i]);
  }
  static ConvShape with_outputs(ConvShape s) {
    for (int i = 0; i < 3; ++i) s.out[i] = (s.in[i] + 2 * s.padding[i] - s.dilation[i] * (s.kernel[i] - 1) - 1) / s.stride[i] + 1;
    return s;
  }
  voxgrad::kernels::Conv3dProblem problem() const {
    voxgrad::kernels::Conv3dProblem p{voxgrad::DType::f64, s.N, {}, s.Ci, {}, s.Co, {}, {}, {}, {}};
    for (int i = 0; i < 3; ++i)
      p.in[i] = s.in[i], p.out[i] = s.out[i], p.kernel[i] = s.kernel[i], p.stride[i] = s.stride[i], p.padding[i] = s.padding[i], p.dilation[i] = s.dilation[i];
    return p;
  }
  template <class T>
  static std::vector<double> doubles(T& values) {
    std::vector<double> d;
    for (size_t i = 0; i < values.size(); ++i) d.push_back(double(values[i]));
    return d;
  }
  /// Weights in the engine's order [taps, Ci, Co].
  std::vector<double> engine_weights() {
    std::vector<double> e(w.size());
    for (int64_t co = 0; co < s.Co; ++co)
      for (int64_t k = 0; k < s.taps(); ++k)
        for (int64_t ci = 0; ci < s.Ci; ++ci) e[size_t((k * s.Ci + ci) * s.Co + co)] = double(w[size_t((co * s.taps() + k) * s.Ci + ci)]);
    return e;
  }
  std::vector<double> y(bool biased) {
    std::vector<double> out(size_t(s.rows_out() * s.Co));
    const std::vector<double> in = doubles(x.all), weights = engine_weights(), b = doubles(bias);
    voxgrad::cpu::conv3d_forward_ref(problem(), in.data(), weights.data(), biased ? b.data() : nullptr, out.data());
    return out;
  }
  std::vector<double> dx() {
    std::vector<double> out(x.all.size());
    const std::vector<double> g = doubles(dy.all), weights = engine_weights();
    voxgrad::cpu::conv3d_backward_data_ref(problem(), g.data(), weights.data(), out.data());
    return out;
  }
  /// [Co, taps, Ci], then the bias gradient.
  std::pair<std::vector<double>, std::vector<double>> dw() {
    const std::vector<double> in = doubles(x.all), g = doubles(dy.all);
    std::vector<double> engine(w.size()), db(static_cast<size_t>(s.Co)), out(w.size());
    voxgrad::cpu::conv3d_backward_weight_ref(problem(), in.data(), g.data(), engine.data(), db.data());
    for (int64_t co = 0; co < s.Co; ++co)
      for (int64_t k = 0; k < s.taps(); ++k)
        for (int64_t ci = 0; ci < s.Ci; ++ci) out[size_t((co * s.taps() + k) * s.Ci + ci)] = engine[size_t((k * s.Ci + ci) * s.Co + co)];
    return {out, db};
  }
};

const ConvShape shapes[] = {
    {2, {3, 4, 5}, 3, {}, 5, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},    {1, {5, 7, 6}, 8, {}, 4, {3, 3, 3}, {2, 2, 2}, {1, 1, 1}, {1, 1, 1}},
    {1, {4, 4, 4}, 1, {}, 1, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}},    {1, {9, 5, 8}, 2, {}, 3, {3, 2, 1}, {1, 3, 2}, {0, 1, 0}, {2, 1, 1}},
    {1, {1, 1, 1}, 16, {}, 24, {3, 3, 3}, {1, 1, 1}, {4, 4, 4}, {4, 4, 4}},
};

}  // namespace

TEMPLATE_TEST_CASE("direct convolutions are the definition", "", bf16, f16, float) {
  using E = TestType;
  for (const ConvShape& shape : shapes) {
    Numbers numbers(uint32_t(shape.Ci));
    Case<E> c(shape, numbers);
    const ConvShape& s = c.s;
    CAPTURE(s.Ci, s.Co, s.kernel[0], s.stride[0]);
    const double slack = 2e-7 * double(s.taps() * std::max(s.Ci, s.Co)) + 1e-6;
    for (const bool biased : {false, true}) {
      Matrix<E> y(s.rows_out(), s.Co, s.Co + 3, 2);
      test::run<DirectConv<E>>({s, c.x.read(), c.w.data(), biased ? c.bias.data() : nullptr, y.slice()}, y.all);
      REQUIRE(y.beside_untouched());
      const std::vector<double> expected = c.y(biased);
      for (int64_t i = 0; i < int64_t(expected.size()); ++i) require_near<E>(y(i / s.Co, i % s.Co), expected[size_t(i)], slack);
    }
    Matrix<E> dx(s.rows_in(), s.Ci, s.Ci + 1);
    test::run<DirectConvBackwardData<E>>({s, c.dy.read(), c.w.data(), dx.slice()}, dx.all);
    REQUIRE(dx.beside_untouched());
    const std::vector<double> expected = c.dx();
    for (int64_t i = 0; i < int64_t(expected.size()); ++i) require_near<E>(dx(i / s.Ci, i % s.Ci), expected[size_t(i)], slack);

    Guarded<float> dw(c.w.size());
    test::run<DirectConvBackwardWeight<E>>({s, c.x.read(), c.dy.read(), dw.data()}, dw);
    const std::vector<double> weights = c.dw().first;
    for (size_t i = 0; i < weights.size(); ++i) require_near<float>(dw[i], weights[i], 1e-5);
  }
}

namespace {

struct First {
  int64_t N, D, H, W, Ci, Co, kernel[3];
};
/// Tiles that are full, cut on every side, one voxel; channels that fill no group of 8; kernels that are staged in one to 12
/// parts, one whose halo and one whose weights do not fit shared memory.
const First firsts[] = {{1, 4, 8, 32, 1, 8, {3, 3, 3}}, {2, 5, 9, 33, 1, 8, {3, 3, 3}}, {1, 1, 1, 1, 1, 3, {3, 3, 3}},   {1, 3, 10, 7, 2, 12, {3, 3, 3}},
                        {1, 6, 5, 40, 1, 8, {7, 5, 3}}, {1, 4, 6, 8, 4, 16, {1, 3, 1}}, {1, 5, 4, 9, 3, 8, {5, 7, 9}}, {1, 3, 4, 5, 2, 1, {7, 7, 7}}};

ConvShape conv_shape(const First& f) {
  ConvShape s{f.N, {f.D, f.H, f.W}, f.Ci, {}, f.Co, {}, {1, 1, 1}, {}, {1, 1, 1}};
  for (int i = 0; i < 3; ++i) s.kernel[i] = f.kernel[i], s.padding[i] = f.kernel[i] / 2;
  return s;
}

}  // namespace

TEMPLATE_TEST_CASE("the first convolution and its gradients are the definition", "", bf16, f16, float) {
  using E = TestType;
  for (const First& f : firsts) {
    CAPTURE(f.D, f.H, f.W, f.Ci, f.Co, f.kernel[0], f.kernel[1], f.kernel[2]);
    Numbers numbers(uint32_t(f.W));
    Case<E> c(conv_shape(f), numbers);
    const FirstConvShape s{f.N, {f.D, f.H, f.W}, f.Ci, f.Co, {f.kernel[0], f.kernel[1], f.kernel[2]}};
    for (const bool biased : {false, true})
      for (const int64_t beside : {0, 8, 5}) {
        const float slope = biased ? 0.2f : 1.0f;
        Matrix<E> y(s.rows(), f.Co, f.Co + beside, beside);
        test::run<FirstConv<E>>({s, c.x.all.data(), c.wf.data(), biased ? c.bias.data() : nullptr, slope, y.slice()}, y.all);
        REQUIRE(y.beside_untouched());
        const std::vector<double> expected = c.y(biased);
        for (int64_t i = 0; i < int64_t(expected.size()); ++i) {
          const double v = expected[size_t(i)];
          require_near<E>(y(i / f.Co, i % f.Co), v > 0 ? v : double(slope) * v, 1e-6 * double(s.taps() * f.Ci) / 10 + 1e-6);
        }
      }
    Guarded<float> partials(size_t(FirstConvWeight<E>::workspace(s)) / sizeof(float)), dw(c.w.size()), db(size_t(f.Co));
    test::run<FirstConvWeight<E>>({s, c.x.all.data(), c.dy.read(), partials.data()}, partials);
    test::run<FinishFirstConvWeight>({s, partials.data(), dw.data(), db.data()}, dw, db);
    const auto [weights, bias] = c.dw();
    const double slack = 2e-6 * std::sqrt(double(s.rows()));
    for (size_t i = 0; i < weights.size(); ++i) require_near<float>(dw[i], weights[i], slack);
    for (size_t i = 0; i < bias.size(); ++i) require_near<float>(db[i], bias[i], slack);
  }
}

TEST_CASE("the first convolution refuses what it is not made for") {
  FirstConv<float>::Args a{};
  a.shape = {1, {1, 1, 1}, 5, 8, {3, 3, 3}};
  REQUIRE_THROWS_WITH(FirstConv<float>::blocks(a), "first_conv: 5 input channels (expected 1 to 4)");
  a.shape = {1, {1, 1, 1}, 1, 8, {3, 2, 3}};
  REQUIRE_THROWS_WITH(FirstConv<float>::blocks(a), "first_conv: a kernel of 2 (expected an odd number)");
  DirectConv<float>::Args d{};
  d.shape.N = int64_t(1) << 31;
  d.shape.in[0] = d.shape.in[1] = d.shape.in[2] = 1;
  REQUIRE_THROWS_WITH(DirectConv<float>::blocks(d), "direct_conv: 2147483648 voxels to 0 (expected less than 2^31)");
}

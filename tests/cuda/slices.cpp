// SPDX-License-Identifier: BSD-3-Clause
// Kernels that move: slices, bias and activation, pooling, up-sampling; and the division they find coordinates with.
#include "matrices.hpp"
#include "voxgrad/cpu/pool3d_ref.hpp"
#include "voxgrad/cpu/upsample3d_ref.hpp"
#include "voxgrad/cuda/kernels/bias_act.hpp"
#include "voxgrad/cuda/kernels/copy_slice.hpp"
#include "voxgrad/cuda/kernels/divider.hpp"
#include "voxgrad/cuda/kernels/max_pool.hpp"
#include "voxgrad/cuda/kernels/upsample.hpp"

using namespace voxgrad::cuda;
using namespace voxgrad::cuda::test;
using voxgrad::DType;

TEST_CASE("a divider divides every number below 2^31") {
  Numbers numbers(1);
  for (const int64_t d : {1, 2, 3, 5, 7, 32, 33, 97, 255, 256, 65535, 65536, 1000003, 0x7fffffff})
    for (int i = 0; i < 3000; ++i) {
      const auto random = uint32_t(double(numbers(0, 1)) * 2147483647.0);
      const auto multiple = uint32_t(random / uint32_t(d) * uint32_t(d));
      for (const uint32_t n : {random, multiple, multiple == 0 ? 0u : multiple - 1, 0x7fffffffu, uint32_t(i)}) {
        uint32_t q = n;
        const uint32_t r = Divider(d).split(q);
        if (q != n / uint32_t(d) || r != n % uint32_t(d)) {
          CAPTURE(n, d);
          REQUIRE(q == n / uint32_t(d));
          REQUIRE(r == n % uint32_t(d));
        }
      }
    }
}

TEMPLATE_TEST_CASE("slices are copied and added in place, and nothing beside them", "", bf16, f16, float) {
  using E = TestType;
  for (const auto [rows, C] : awkward)
    for (const int64_t beside : {0, 8, 5}) {
      CAPTURE(rows, C, beside);
      Numbers numbers(7);
      Matrix<E> from(rows, C, C + 8, 8), to(rows, C, C + beside, beside);
      fill(from.all, numbers);
      test::run<CopySlice<E>>({rows, C, from.read(), to.slice()}, to.all);
      REQUIRE(to.beside_untouched());
      REQUIRE(to.values() == from.values());
      Matrix<E> more(rows, C, numbers);
      test::run<AddInto<E>>({rows, C, more.read(), to.slice()}, to.all);
      REQUIRE(to.beside_untouched());
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < C; ++c) REQUIRE(to(r, c) == float(E(from(r, c) + more(r, c))));
    }
}

namespace {

struct Named {
  const char* name;
  Activation activation;
  double (*f)(double);
};
double clamped(double v) { return std::min(std::max(v, 0.0), 6.0); }
const Named activations[] = {
    {"none", {}, [](double v) { return v; }},
    {"leaky_relu", leaky_relu(0.25), [](double v) { return v > 0 ? v : 0.25 * v; }},
    {"relu6", {ActivationKind::clamp, 0, 6}, clamped},
    {"elu", {ActivationKind::elu, 1, 1}, [](double v) { return v > 0 ? v : std::expm1(v); }},
    {"selu", {ActivationKind::elu, 1.6732632f, 1.050701f}, [](double v) { return 1.050701 * (v > 0 ? v : 1.6732632 * std::expm1(v)); }},
    {"sigmoid", {ActivationKind::sigmoid, 0, 0}, [](double v) { return 1 / (1 + std::exp(-v)); }},
    {"tanh", {ActivationKind::tanh, 0, 0}, [](double v) { return std::tanh(v); }},
    {"softplus", {ActivationKind::softplus, 0, 0}, [](double v) { return std::log1p(std::exp(v)); }},
    {"softsign", {ActivationKind::softsign, 0, 0}, [](double v) { return v / (1 + std::abs(v)); }},
    {"swish", {ActivationKind::swish, 0, 0}, [](double v) { return v / (1 + std::exp(-v)); }},
    {"exponential", {ActivationKind::exponential, 0, 0}, [](double v) { return std::exp(v); }},
    {"gelu", {ActivationKind::gelu, 0, 0}, [](double v) { return 0.5 * v * std::erfc(-v / std::sqrt(2.0)); }},
    {"hard_sigmoid", {ActivationKind::hard_sigmoid, 0.2f, 0.5f}, [](double v) { return std::min(std::max(0.2 * v + 0.5, 0.0), 1.0); }},
};

}  // namespace

TEMPLATE_TEST_CASE("bias_act adds what is there and applies every activation", "", bf16, f16, float) {
  using E = TestType;
  for (const Named& named : activations)
    for (const auto [rows, C] : {Rows{1, 1}, Rows{333, 24}, Rows{70, 97}, Rows{513, 8}})
      for (const int what : {0, 1, 2, 4, 7}) {  // bits: scale, bias, second
        CAPTURE(named.name, rows, C, what);
        Numbers numbers(uint32_t(rows + what));
        Matrix<E> z(rows, C, numbers, -4, 8), second(rows, C, numbers), y(rows, C, 2 * C, C);
        Guarded<float> scale(static_cast<size_t>(C)), bias(static_cast<size_t>(C));
        fill(scale, numbers), fill(bias, numbers);
        test::run<BiasAct<E>>({rows, C, z.read(), what & 1 ? scale.data() : nullptr, what & 2 ? bias.data() : nullptr,
                               what & 4 ? second.read() : Slice<const E>{}, named.activation, y.slice()},
                              y.all);
        REQUIRE(y.beside_untouched());
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < C; ++c) {
            double v = double(z(r, c));
            if (what & 1) v *= double(scale[size_t(c)]);
            if (what & 2) v += double(bias[size_t(c)]);
            if (what & 4) v += double(second(r, c));
            require_near<E>(y(r, c), named.f(v), 3e-6 * (1 + std::abs(named.f(v))));
          }
      }
}

namespace {

const PoolShape pools[] = {{2, {4, 6, 2}, 8, {2, 2, 2}, {2, 2, 2}}, {1, {5, 7, 6}, 3, {3, 2, 1}, {2, 2, 1}}, {1, {6, 6, 6}, 16, {3, 3, 3}, {1, 2, 1}},
                           {3, {1, 1, 1}, 1, {1, 1, 1}, {1, 1, 1}}, {2, {5, 4, 4}, 24, {1, 2, 2}, {1, 2, 2}}, {1, {3, 9, 5}, 8, {2, 2, 2}, {3, 4, 1}}};

voxgrad::kernels::Pool3dProblem problem(const PoolShape& s) {
  return {DType::f32, s.N, {s.in[0], s.in[1], s.in[2]}, {s.out(0), s.out(1), s.out(2)}, s.C, {s.kernel[0], s.kernel[1], s.kernel[2]},
          {s.stride[0], s.stride[1], s.stride[2]}};
}

}  // namespace

TEMPLATE_TEST_CASE("max_pool and its gradient agree with the definition for any window and stride", "", bf16, f16, float) {
  using E = TestType;
  for (const PoolShape& s : pools) {
    CAPTURE(s.in[0], s.kernel[0], s.kernel[1], s.kernel[2], s.C);
    Numbers numbers(21);
    Matrix<E> x(s.rows_in(), s.C, numbers), y(s.rows_out(), s.C, s.C + 8, 8), dy(s.rows_out(), s.C, numbers), dx(s.rows_in(), s.C, 2 * s.C, s.C);
    for (size_t i = 0; i < x.all.size(); i += 4) x.all[i] = E(0.75f);  // equal maxima
    Guarded<uint8_t> argmax(size_t(s.rows_out() * s.C));
    test::run<MaxPool<E>>({s, x.read(), y.slice(), argmax.data()}, y.all, argmax);
    REQUIRE(y.beside_untouched());
    const auto p = problem(s);
    const std::vector<float> in = x.values(), g = dy.values();
    std::vector<float> out(size_t(s.rows_out() * s.C)), back(in.size());
    voxgrad::cpu::max_pool3d_forward_ref(p, in.data(), out.data(), 0, s.N);
    REQUIRE(y.values() == out);
    test::run<MaxPoolBackward<E>>({s, dy.read(), argmax.data(), dx.slice()}, dx.all);
    REQUIRE(dx.beside_untouched());
    voxgrad::cpu::max_pool3d_backward_ref(p, in.data(), g.data(), back.data(), 0, s.N);
    for (int64_t i = 0; i < int64_t(back.size()); ++i) require_near<E>(dx(i / s.C, i % s.C), back[size_t(i)], 1e-6);
    test::run<MaxPool<E>>({s, x.read(), y.slice(), nullptr}, y.all);
    REQUIRE(y.values() == out);
  }
}

TEST_CASE("in max_pool a NaN wins over every number") {
  const PoolShape s{1, {1, 1, 4}, 8, {1, 1, 4}, {1, 1, 4}};
  Matrix<float> x(4, 8), y(1, 8);
  for (size_t i = 0; i < 32; ++i) x.all[i] = 1;
  for (size_t c = 0; c < 8; ++c) x.all[8 + c] = std::nanf("");
  Guarded<uint8_t> argmax(8);
  test::run<MaxPool<float>>({s, x.read(), y.slice(), argmax.data()}, y.all, argmax);
  for (size_t c = 0; c < 8; ++c) {
    REQUIRE(std::isnan(y.all[c]));
    REQUIRE(argmax[c] == 1);
  }
}

TEST_CASE("max_pool refuses windows whose positions do not fit a byte") {
  MaxPool<float>::Args a{};
  a.shape = {1, {7, 7, 7}, 1, {7, 7, 7}, {1, 1, 1}};
  REQUIRE_THROWS_WITH(MaxPool<float>::blocks(a), "max_pool: a window of 7x7x7 (expected at most 256 voxels, whose positions fit a byte)");
}

TEMPLATE_TEST_CASE("upsample repeats voxels and its gradient sums the copies", "", bf16, f16, float) {
  using E = TestType;
  const UpsampleShape shapes[] = {{2, {3, 2, 5}, 8, {2, 2, 2}}, {1, {1, 1, 1}, 3, {1, 2, 3}}, {1, {4, 3, 2}, 24, {1, 2, 2}}, {3, {2, 2, 2}, 1, {3, 1, 1}}};
  for (const UpsampleShape& s : shapes) {
    CAPTURE(s.in[0], s.factor[0], s.C);
    Numbers numbers(31);
    Matrix<E> x(s.rows_in(), s.C, numbers), y(s.rows_out(), s.C, 2 * s.C, s.C), dy(s.rows_out(), s.C, numbers), dx(s.rows_in(), s.C, s.C + 8);
    test::run<Upsample<E>>({s, x.read(), y.slice()}, y.all);
    REQUIRE(y.beside_untouched());
    const voxgrad::kernels::Upsample3dProblem p{DType::f32, s.N, {s.in[0], s.in[1], s.in[2]}, s.C, {s.factor[0], s.factor[1], s.factor[2]}};
    const std::vector<float> in = x.values(), g = dy.values();
    std::vector<float> out(size_t(s.rows_out() * s.C)), back(in.size());
    voxgrad::cpu::upsample3d_forward_ref(p, in.data(), out.data(), 0, s.N * s.in[0] * s.in[1]);
    REQUIRE(y.values() == out);
    test::run<UpsampleBackward<E>>({s, dy.read(), dx.slice()}, dx.all);
    REQUIRE(dx.beside_untouched());
    voxgrad::cpu::upsample3d_backward_ref(p, g.data(), back.data(), 0, s.N * s.in[0] * s.in[1]);
    for (int64_t i = 0; i < int64_t(back.size()); ++i) require_near<E>(dx(i / s.C, i % s.C), back[size_t(i)], 1e-6);
  }
}

// SPDX-License-Identifier: BSD-3-Clause
// Plain ops against the CPU's definitions: pointwise with broadcasting, sums over axes, softmax, dropout, random numbers.
#include "emulated.hpp"
#include "numbers.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/cpu/pointwise_ref.hpp"
#include "voxgrad/cpu/reduce_ref.hpp"
#include "voxgrad/cuda/kernels/dropout.hpp"
#include "voxgrad/cuda/kernels/pointwise.hpp"
#include "voxgrad/cuda/kernels/reduce.hpp"
#include "voxgrad/cuda/kernels/softmax.hpp"
#include "voxgrad/ops/dropout.hpp"
#include "voxgrad/ops/reduce.hpp"
#include "voxgrad/ops/softmax.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using test::Guarded;

namespace {

template <class F>
void check_unary(size_t n) {
  CAPTURE(F::name, n);
  test::Numbers numbers(n);
  const bool positive = std::is_same_v<F, kernels::Log> || std::is_same_v<F, kernels::Sqrt>;
  const kernels::Params p{0.3, 1.25};
  Guarded<float> x(n), dy(n), y(n), dx(n), none(0);
  std::vector<float> want(n);
  for (size_t i = 0; i < n; ++i) x[i] = positive ? numbers.between(0.01, 5) : numbers.between(-5, 5), dy[i] = numbers.between(-1, 1);
  test::run<Unary<F, float>>({int64_t(n), p, x.data(), y.data()}, y);
  cpu::unary_forward_ref<F>(int64_t(n), p, x.data(), want.data());
  for (size_t i = 0; i < n; ++i) REQUIRE(y[i] == want[i]);
  const bool reads_x = F::reads == kernels::Reads::x, reads_y = F::reads == kernels::Reads::y;
  test::run<UnaryBackward<F, float>>({int64_t(n), p, reads_x ? x.data() : nullptr, reads_y ? y.data() : nullptr, dy.data(), dx.data()}, dx);
  cpu::unary_backward_ref<F>(int64_t(n), p, x.data(), y.data(), dy.data(), want.data());
  for (size_t i = 0; i < n; ++i) REQUIRE(dx[i] == want[i]);
}
template <class... Fs>
void check_all_unary(kernels::List<Fs...>) {
  for (const size_t n : {size_t(0), size_t(1), size_t(8), size_t(2047), size_t(2056), size_t(4100)}) (check_unary<Fs>(n), ...);
}

/// y by NumPy's rule, from the ends of the shapes.
template <class F>
void check_binary(const Shape& a, const Shape& b) {
  const Shape out = broadcast(a, b, "test");
  INFO(F::name << " " << a << " " << b);
  kernels::BinaryProblem p{DType::f32, out, {}, {}, a == b};
  const auto strides = [&](const Shape& of, int64_t* to) {
    int64_t step = 1;
    for (int i = 1; i <= out.rank(); ++i) {
      const int64_t extent = i <= of.rank() ? of[-i] : 1;
      to[out.rank() - i] = extent == 1 ? 0 : step;
      step *= extent;
    }
  };
  strides(a, p.a_stride);
  strides(b, p.b_stride);
  test::Numbers numbers(size_t(out.size()));
  Guarded<float> va(size_t(a.size())), vb(size_t(b.size())), y(size_t(out.size()));
  for (float& v : va.span()) v = numbers.between(-2, 2);
  for (float& v : vb.span()) v = numbers.between(1, 2);
  test::run<Binary<F>>(Binary<F>::args(p, va.data(), vb.data(), y.data()), y);
  for (int64_t i = 0; i < out.size(); ++i) {
    int64_t rest = i, of_a = 0, of_b = 0, step_a = 1, step_b = 1;
    for (int k = 1; k <= out.rank(); ++k) {
      const int64_t place = rest % out[-k];
      rest /= out[-k];
      if (k <= a.rank()) of_a += (a[-k] == 1 ? 0 : place) * step_a, step_a *= a[-k];
      if (k <= b.rank()) of_b += (b[-k] == 1 ? 0 : place) * step_b, step_b *= b[-k];
    }
    REQUIRE(y[size_t(i)] == F::f(va[size_t(of_a)], vb[size_t(of_b)]));
  }
}
template <class... Fs>
void check_all_binary(kernels::List<Fs...>) {
  const auto one = [](const Shape& a, const Shape& b) { (check_binary<Fs>(a, b), ...); };
  one({5, 7}, {5, 7});
  one({300}, {});
  one({}, {});
  one({2, 3, 4, 5, 6, 7}, {1, 3, 1, 5, 1, 7});
  one({4, 1, 3}, {5, 1});
  one({0, 3}, {3});
}

void check_sum(const Shape& shape, unsigned axes) {
  INFO(shape << " axes " << axes);
  kernels::ReduceProblem p{DType::f32, shape, {}};
  int64_t kept = 1;
  for (int i = 0; i < shape.rank(); ++i) p.reduced[i] = (axes >> i & 1) != 0, kept *= p.reduced[i] ? 1 : shape[i];
  test::Numbers numbers(size_t(shape.size()));
  Guarded<float> x(size_t(shape.size())), y{size_t(kept)};
  for (float& v : x.span()) v = numbers.between(-1, 2);
  std::vector<float> want(size_t(kept), 0.0f);
  cpu::sum_ref<float>(p, x.data(), want.data());
  const ReduceAxes a = reduce_axes(p);
  REQUIRE(a.kept.size == kept);
  Guarded<double> partial(size_t(ReduceSum::workspace_bytes(a)) / sizeof(double));
  test::run<ReduceSum>({a, x.data(), partial.data()}, partial);
  test::run<ReduceFinish>({a, partial.data(), y.data()}, y);
  for (int64_t i = 0; i < kept; ++i) REQUIRE(y[size_t(i)] == Approx(want[size_t(i)]).epsilon(1e-6).margin(1e-6));
}

}  // namespace

TEST_CASE("pointwise ops on the GPU: every unary op, forward and backward") { check_all_unary(kernels::UnaryList{}); }
TEST_CASE("pointwise ops on the GPU: every binary op, broadcast") { check_all_binary(kernels::BinaryList{}); }

TEMPLATE_TEST_CASE("pointwise ops on the GPU: fill and axpy", "", float, bf16, f16) {
  for (const size_t n : {size_t(1), size_t(2048), size_t(2049), size_t(3007)}) {
    Guarded<TestType> x(n), y(n);
    test::run<Fill<TestType>>({int64_t(n), 0.3f, y.data()}, y);
    for (size_t i = 0; i < n; ++i) {
      REQUIRE(float(y[i]) == float(TestType(0.3f)));
      x[i] = TestType(float(i) / 100);
    }
    test::run<Axpy<TestType>>({int64_t(n), -2, x.data(), y.data()}, y);
    for (size_t i = 0; i < n; ++i) REQUIRE(float(y[i]) == float(TestType(float(TestType(0.3f)) - 2 * float(x[i]))));
  }
}

TEST_CASE("sums on the GPU over any axes") {
  for (unsigned axes = 0; axes < 64; ++axes) check_sum({2, 3, 1, 4, 2, 3}, axes);
  for (const unsigned axes : {0u, 1u, 2u, 3u}) {
    check_sum({300, 7}, axes);
    check_sum({3, 5000}, axes);
    check_sum({70000, 2}, axes);
    check_sum({0, 3}, axes);
  }
  check_sum({}, 0);
}

TEST_CASE("softmax on the GPU: both directions") {
  for (const int64_t C : {int64_t(1), int64_t(2), int64_t(9)})
    for (const int64_t rows : {int64_t(1), int64_t(127), int64_t(129)}) {
      test::Numbers numbers(size_t(rows * C));
      Tensor x = Tensor::zeros({rows, C}), dy = Tensor::zeros({rows, C});
      for (float& v : x.mutable_span<float>()) v = numbers.between(-90, 90);
      for (float& v : dy.mutable_span<float>()) v = numbers.between(-1, 1);
      Guarded<float> y(size_t(rows * C)), dx(y.size());
      const test::Vector<float> from(x.span<float>().begin(), x.span<float>().end()), slopes(dy.span<float>().begin(), dy.span<float>().end());
      x.set_requires_grad();
      const Tensor want = softmax(x);
      backward(sum(want * dy));
      test::run<Softmax>({rows, C, from.data(), y.data()}, y);
      test::run<SoftmaxBackward>({rows, C, y.data(), slopes.data(), dx.data()}, dx);
      for (size_t i = 0; i < y.size(); ++i) {
        REQUIRE(y[i] == want.span<float>()[i]);
        REQUIRE(dx[i] == x.grad().span<float>()[i]);
      }
    }
}

TEST_CASE("dropout on the GPU drops what the CPU drops") {
  const Random random(9, 3, 1000000007);
  Tensor x = Tensor::zeros({5003});
  test::Numbers numbers(1);
  for (float& v : x.mutable_span<float>()) v = numbers.between(-2, 2);
  const Tensor want = dropout(x, 0.3, random);
  Guarded<float> y(5003);
  Guarded<bf16> low_x(5003), low(5003);
  const test::Vector<uint64_t> advance(1, 1000000000);
  const test::Vector<float> from(x.span<float>().begin(), x.span<float>().end());
  test::run<Dropout<float>>({5003, 9, 3, 7, advance.data(), 0.3, from.data(), y.data()}, y);
  for (size_t i = 0; i < y.size(); ++i) {
    REQUIRE(y[i] == want.span<float>()[i]);
    low_x[i] = bf16(x.span<float>()[i]);
  }
  test::run<Dropout<bf16>>({5003, 9, 3, 1000000007, nullptr, 0.3, low_x.data(), low.data()}, low);
  for (size_t i = 0; i < y.size(); ++i) REQUIRE((float(low[i]) == 0) == (want.span<float>()[i] == 0));
}

TEST_CASE("random numbers on the GPU are those of the CPU's generator, which are the published ones") {
  // Known answers of Philox 4x32-10 (Random123, kat_vectors): counter and key of zeros, of ones, and digits of pi.
  REQUIRE(philox({0, 0, 0, 0}, 0, 0) == std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const uint32_t f = 0xffffffff;
  REQUIRE(philox({f, f, f, f}, f, f) == std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  REQUIRE(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) ==
          std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  const int64_t n = 1000;
  Guarded<uint64_t> bits{size_t(n)}, integers{size_t(n)};
  Guarded<double> uniform{size_t(n)};
  const uint64_t seed = 0x123456789abcdef, stream = 0xfedcba987, position = 0xfffffffe, below = 1000003;
  test::run<DrawNumbers>({n, seed, stream, position, below, bits.data(), integers.data(), uniform.data()}, bits, integers, uniform);
  Random a(seed, stream, position), b = a, c = a;
  for (size_t i = 0; i < size_t(n); ++i) {
    REQUIRE(bits[i] == a());
    REQUIRE(integers[i] == b.below(below));
    REQUIRE(uniform[i] == c.uniform());
  }
}

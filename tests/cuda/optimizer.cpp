// SPDX-License-Identifier: BSD-3-Clause
// Adam and SGD over one arena against the CPU's optimisers, several steps; loss scale and skipped steps.
#include "voxgrad/cuda/kernels/adam.hpp"

#include <limits>

#include "emulated.hpp"
#include "numbers.hpp"
#include "voxgrad/cuda/kernels/advance_step.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/ops/reduce.hpp"
#include "voxgrad/ops/pointwise.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/optim/sgd.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using test::Guarded;

namespace voxgrad::cuda::test {
/// Counts and settings stay as they are, bit by bit; bias corrections need the card's pow.
template <>
struct Numbered<OptimizerState> {
  using type = float;
  static constexpr bool mixed = true;
};
}  // namespace voxgrad::cuda::test

namespace {

/// A parameter on the CPU that optim:: steps, and its twin in arenas.
template <class E, class G>
struct Twins {
  explicit Twins(size_t n) : numbers(n + 1), w(n), m(n), v(n), g(n), e(n) {
    std::vector<float> start(n);
    for (size_t i = 0; i < n; ++i) start[i] = w[i] = numbers.between(-1, 1), m[i] = v[i] = 0;
    parameter = Tensor::from(start, {int64_t(n)});
    parameter.set_requires_grad();
  }
  /// New gradients, the card's times `scale`.
  void draw(float scale) {
    Tensor grad = Tensor::zeros(parameter.shape());
    for (size_t i = 0; i < w.size(); ++i) {
      g[i] = G(numbers.between(-1, 1) * scale);
      grad.mutable_span<float>()[i] = float(g[i]) / scale;
    }
    backward(sum(parameter * grad));
  }
  void compare(double tolerance) {
    for (size_t i = 0; i < w.size(); ++i) {
      REQUIRE(w[i] == Approx(parameter.span<float>()[i]).epsilon(tolerance).margin(tolerance));
      REQUIRE(float(e[i]) == float(E(w[i])));
    }
  }
  test::Numbers numbers;
  Tensor parameter;
  Guarded<float> w, m, v;
  Guarded<G> g;
  Guarded<E> e;
};

void advance(OptimizerState& state) {
  Guarded<OptimizerState> twin(1);
  twin[0] = state;
  test::run<AdvanceStep>({twin.data()}, twin);
  state = twin[0];
}

template <class E, class G>
void check_adam(size_t n, const optim::AdamOptions& o) {
  CAPTURE(n, o.decoupled, o.epsilon_hat);
  Twins<E, G> twins(n);
  optim::Adam adam({{"w", &twins.parameter, true}}, o);
  OptimizerSettings settings;
  settings.lr = o.lr, settings.beta1 = o.beta1, settings.beta2 = o.beta2, settings.eps = o.eps, settings.weight_decay = o.weight_decay;
  settings.decoupled = o.decoupled, settings.epsilon_hat = o.epsilon_hat;
  settings.dynamic_scale = std::is_same_v<E, f16>;
  test::Vector<OptimizerState> state(1, optimizer_state(settings));
  for (int step = 0; step < 5; ++step) {
    twins.draw(settings.dynamic_scale ? 1024 : 1);
    state[0].loss_scale = settings.dynamic_scale ? 1024 : 1;
    adam.step();
    advance(state[0]);
    test::run<AdamArena<E, G>>({int64_t(n), twins.w.data(), twins.g.data(), twins.m.data(), twins.v.data(), twins.e.data(), state.data()}, twins.w,
                               twins.m, twins.v, twins.e);
    twins.compare(2e-6);
    for (size_t i = 0; i < n; ++i) {
      REQUIRE(twins.m[i] == Approx(adam.first_moment(0).template span<float>()[i]).epsilon(1e-5).margin(1e-7));
      REQUIRE(twins.v[i] == Approx(adam.second_moment(0).template span<float>()[i]).epsilon(1e-5).margin(1e-9));
    }
  }
  REQUIRE(state[0].step == 5);
}

template <class E, class G>
void check_sgd(size_t n, const optim::SgdOptions& o) {
  CAPTURE(n, o.momentum, o.nesterov);
  Twins<E, G> twins(n);
  optim::Sgd sgd({{"w", &twins.parameter, true}}, o);
  OptimizerSettings settings;
  settings.lr = o.lr, settings.momentum = o.momentum, settings.weight_decay = o.weight_decay, settings.nesterov = o.nesterov;
  test::Vector<OptimizerState> state(1, optimizer_state(settings));
  Guarded<float> buffer(n);  // NaN: the first step must not read it
  for (int step = 0; step < 5; ++step) {
    twins.draw(1);
    sgd.step();
    advance(state[0]);
    test::run<SgdArena<E, G>>({int64_t(n), twins.w.data(), twins.g.data(), o.momentum == 0 ? nullptr : buffer.data(), twins.e.data(), state.data()},
                              twins.w, buffer, twins.e);
    twins.compare(2e-6);
  }
}

template <class E, class G>
void check_all() {
  for (const size_t n : {size_t(1), size_t(3), size_t(4), size_t(1023), size_t(1025), size_t(3000)}) {
    check_adam<E, G>(n, {});
    check_adam<E, G>(n, {1e-2, 0.8, 0.99, 1e-6, 0.1, false, true});
    check_adam<E, G>(n, {1e-2, 0.9, 0.999, 1e-8, 0.1, true, false});
    check_sgd<E, G>(n, {});
    check_sgd<E, G>(n, {0.1, 0.9, 0.01, false});
    check_sgd<E, G>(n, {0.1, 0.9, 0, true});
  }
}

}  // namespace

TEST_CASE("optimisers on the GPU take the CPU's steps: f32") { check_all<float, float>(); }
TEST_CASE("optimisers on the GPU take the CPU's steps: bf16 copies") { check_all<bf16, float>(); }
TEST_CASE("optimisers on the GPU take the CPU's steps: bf16 gradients") { check_all<bf16, bf16>(); }
TEST_CASE("optimisers on the GPU take the CPU's steps: f16 gradients of a scaled loss") { check_all<f16, f16>(); }

TEMPLATE_TEST_CASE("non-finite gradients anywhere are found", "", float, bf16, f16) {
  for (const size_t n : {size_t(1), size_t(8), size_t(2049)})
    for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(), std::nanf("")})
      for (const size_t at : {size_t(0), n / 2, n - 1}) {
        Guarded<TestType> g(n);
        for (size_t i = 0; i < n; ++i) g[i] = TestType(float(i) - 1000);
        Guarded<OptimizerState> state(1);
        state[0] = optimizer_state({});
        test::run<NonFiniteCheck<TestType>>({int64_t(n), g.data(), state.data()}, state);
        REQUIRE(state[0].nonfinite == 0);
        g[at] = TestType(bad);
        test::run<NonFiniteCheck<TestType>>({int64_t(n), g.data(), state.data()}, state);
        REQUIRE(state[0].nonfinite == 1);
      }
}

TEST_CASE("loss scale: halved with a skipped step, doubled after many clean ones, within its bounds") {
  OptimizerSettings settings;
  settings.dynamic_scale = 1;
  settings.growth_interval = 3;
  OptimizerState s = optimizer_state(settings);
  REQUIRE(s.loss_scale == 65536);
  advance(s);
  REQUIRE((s.step == 1 && s.skip == 0 && s.loss_scale == 65536 && s.inverse_scale == 1.0f / 65536));
  s.nonfinite = 1;
  advance(s);  // clean steps start anew
  REQUIRE((s.step == 1 && s.iteration == 2 && s.skipped == 1 && s.skip == 1 && s.nonfinite == 0 && s.loss_scale == 32768));
  REQUIRE(s.inverse_scale == 1.0f / 65536);  // of the gradients that were computed with the old scale
  for (int i = 0; i < 2; ++i) advance(s);
  REQUIRE((s.loss_scale == 32768 && s.inverse_scale == 1.0f / 32768));
  advance(s);
  REQUIRE((s.loss_scale == 65536 && s.step == 4));
  for (int i = 0; i < 100; ++i) advance(s);
  REQUIRE(s.loss_scale == largest_loss_scale);
  for (int i = 0; i < 100; ++i) s.nonfinite = 1, advance(s);
  REQUIRE((s.loss_scale == smallest_loss_scale && s.skipped == 101));
}

TEST_CASE("a skipped step changes no parameter and no moment") {
  Twins<f16, f16> t(50);
  test::Vector<OptimizerState> state(1, optimizer_state({}));
  OptimizerState& s = state[0];
  s.nonfinite = 1;
  advance(s);
  REQUIRE(s.loss_scale == 1);  // without dynamic_scale it stays
  t.draw(1);
  t.g[7] = f16(std::nanf(""));
  const std::vector<float> before(t.w.data(), t.w.data() + t.w.size());
  test::run<AdamArena<f16, f16>>({50, t.w.data(), t.g.data(), t.m.data(), t.v.data(), t.e.data(), state.data()}, t.w, t.m, t.v, t.e);
  test::run<SgdArena<f16, f16>>({50, t.w.data(), t.g.data(), nullptr, t.e.data(), state.data()}, t.w, t.e);
  for (size_t i = 0; i < 50; ++i) REQUIRE((t.w[i] == before[i] && t.m[i] == 0 && t.v[i] == 0 && t.e[i].bits == 0xffff));
}

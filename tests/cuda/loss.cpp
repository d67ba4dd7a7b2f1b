// SPDX-License-Identifier: BSD-3-Clause
// Pointwise losses of logits: sum, gradient, ring.
#include "voxgrad/cuda/kernels/loss.hpp"

#include "emulated.hpp"
#include "numbers.hpp"
#include "voxgrad/cpu/reduce_ref.hpp"
#include "voxgrad/cuda/kernels/finish_sum.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using test::Guarded;

namespace {

template <class F, class Target>
void check_loss(size_t n, bool weighted, float loss_scale) {
  CAPTURE(F::name, n, weighted);
  using K = LossForward<F, Target>;
  test::Numbers numbers(n);
  Guarded<float> z(n), w(n), dz(n), ring(3);
  Guarded<Target> t(n);
  std::vector<double> z64(n), t64(n), dz64(n);
  double want = 0;
  for (size_t i = 0; i < n; ++i) {
    z[i] = numbers.between(-9, 9);
    t[i] = Target(numbers.between(0, 2));
    w[i] = numbers.between(0, 2);
    z64[i] = double(z[i]), t64[i] = double(t[i]);
    want += (weighted ? double(w[i]) : 1) * F::f(z64[i], t64[i]);
  }
  cpu::loss_backward_ref<F, double>(int64_t(n), double(loss_scale) / double(n), z64.data(), t64.data(), dz64.data());
  test::Vector<OptimizerState> state(1, optimizer_state({}));
  state[0].loss_scale = loss_scale;
  state[0].iteration = 4;  // 4 % 3 = 1
  Guarded<double> partial(size_t(K::workspace_bytes(int64_t(n))) / sizeof(double));
  test::run<K>({int64_t(n), z.data(), t.data(), weighted ? w.data() : nullptr, dz.data(), partial.data(), 1 / double(n), state.data()}, dz, partial);
  test::run<FinishSum>({int64_t(partial.size()), partial.data(), 1 / double(n), {ring.data(), 3, state.data()}}, ring);
  REQUIRE(ring[1] == Approx(want / double(n)).epsilon(1e-6));
  REQUIRE((std::isnan(ring[0]) && std::isnan(ring[2])));
  for (size_t i = 0; i < n; ++i)
    REQUIRE(dz[i] == Approx((weighted ? double(w[i]) : 1) * dz64[i]).epsilon(1e-5).margin(double(loss_scale) * 5e-7 / double(n)));

  Guarded<double> alone(partial.size());  // no gradient, no state: the same sums, in the ring's first place
  test::run<K>({int64_t(n), z.data(), t.data(), weighted ? w.data() : nullptr, nullptr, alone.data(), 1, nullptr}, alone);
  for (size_t i = 0; i < partial.size(); ++i) REQUIRE(alone[i] == partial[i]);
  test::run<FinishSum>({int64_t(alone.size()), alone.data(), 1, {ring.data(), 3, nullptr}}, ring);
  REQUIRE(ring[0] == Approx(want).epsilon(1e-6));
}

}  // namespace

TEMPLATE_TEST_CASE("losses on the GPU: mean, gradient and ring", "", kernels::MseWithLogits, kernels::BceWithLogits) {
  for (const size_t n : {size_t(1), size_t(7), size_t(8), size_t(2047), size_t(2048), size_t(2049), size_t(70001)})
    for (const bool weighted : {false, true}) {
      check_loss<TestType, float>(n, weighted, 1);
      check_loss<TestType, uint8_t>(n, weighted, 1024);
    }
}

TEST_CASE("losses on the GPU: no voxels, nothing written") {
  using K = LossForward<kernels::MseWithLogits, float>;
  REQUIRE(K::workspace_bytes(0) == 0);
  REQUIRE(K::blocks({}) == 0);
}

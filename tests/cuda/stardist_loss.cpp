// SPDX-License-Identifier: BSD-3-Clause
// StarDist's losses against the CPU engine: distances, object probability, classes.
#include "emulated.hpp"
#include "numbers.hpp"
#include "voxgrad/cuda/kernels/class_loss.hpp"
#include "voxgrad/cuda/kernels/object_loss.hpp"
#include "voxgrad/cuda/kernels/ray_loss.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/models/stardist3d_loss.hpp"
#include "voxgrad/ops/softmax.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using test::Guarded;

namespace voxgrad::cuda::test {
template <>
struct Numbered<RayLossResult> {
  using type = double;
  static constexpr bool mixed = true;
};
template <>
struct Numbered<ObjectLossResult> {
  using type = double;
  static constexpr bool mixed = true;
};
}  // namespace voxgrad::cuda::test

namespace {

template <class E>
void check_rays(int64_t voxels, int64_t rays, kernels::RayError kind) {
  CAPTURE(voxels, rays, int(kind));
  const size_t n = size_t(voxels), all = size_t(voxels * rays);
  test::Numbers numbers(all);
  Guarded<E> dist(all), ddist(all);
  Guarded<float> target(all), mask(n), ring(2);
  Tensor x = Tensor::zeros({voxels, rays}), d = Tensor::zeros({voxels, rays}), m = Tensor::zeros({voxels, 1});
  for (size_t i = 0; i < all; ++i) {
    dist[i] = E(numbers.below(9) == 0 ? 0.0f : numbers.between(-1, 6));
    target[i] = numbers.below(8) == 0 ? float(dist[i]) : numbers.between(0, 6);  // ties too
    if (target[i] < 0) target[i] = 0;
    x.mutable_span<float>()[i] = float(dist[i]);
    d.mutable_span<float>()[i] = target[i];
  }
  for (size_t i = 0; i < n; ++i) m.mutable_span<float>()[i] = mask[i] = float(numbers.below(4) - 1) * 0.75f;  // below 0 to above 1
  const double background = 0.25, factor = 0.5;
  Guarded<double> partial(size_t(RayLossForward<E>::workspace_bytes(voxels)) / sizeof(double));
  Guarded<RayLossResult> result(1);
  test::Vector<OptimizerState> state(1, optimizer_state({}));
  state[0].loss_scale = 4;
  test::run<RayLossForward<E>>({voxels, rays, kind, dist.data(), target.data(), mask.data(), partial.data()}, partial);
  test::run<RayLossFinish>({voxels, partial.data(), background, result.data(), {ring.data(), 2, nullptr}}, result, ring);
  if (kind == kernels::RayError::overlap) {
    REQUIRE(result[0].error / (result[0].mask + double(voxels) * 1e-7) == Approx(masked_ray_error(x, d, m, kind)).epsilon(1e-6));
    return;
  }
  x.set_requires_grad();
  const Tensor loss = ray_loss(x, d, m, kind, background);
  backward(loss * (factor * 4));
  REQUIRE(double(ring[0]) == Approx(loss.item()).epsilon(1e-6));
  test::run<RayLossBackward<E>>(
      {voxels, rays, kind, dist.data(), target.data(), mask.data(), result.data(), background, factor, state.data(), ddist.data()}, ddist);
  const double rounding = std::is_same_v<E, float> ? 1e-5 : std::is_same_v<E, f16> ? 1e-3 : 8e-3;
  for (size_t i = 0; i < all; ++i) {
    const float want = x.grad().span<float>()[i];
    if (std::isinf(float(E(want)))) REQUIRE(float(ddist[i]) == float(E(want)));  // more than f16 holds: intersection and union of 0
    else REQUIRE(float(ddist[i]) == Approx(want).epsilon(rounding).margin(std::is_same_v<E, f16> ? 1e-7 : 1e-9));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("ray loss on the GPU: sums, loss and gradient of each error", "", float, bf16, f16) {
  for (const auto kind : {kernels::RayError::mae, kernels::RayError::mse, kernels::RayError::iou, kernels::RayError::overlap})
    for (const int64_t rays : {int64_t(1), int64_t(7), int64_t(8), int64_t(33)})
      for (const int64_t voxels : {int64_t(1), int64_t(31), int64_t(32), int64_t(33), int64_t(300)}) check_rays<TestType>(voxels, rays, kind);
}

TEST_CASE("object loss on the GPU: masked cross-entropy of clipped probabilities") {
  for (const size_t n : {size_t(1), size_t(255), size_t(1024), size_t(1025), size_t(5000)})
    for (const bool any : {true, false}) {
      CAPTURE(n, any);
      test::Numbers numbers(n);
      Guarded<float> z(n), t(n), dz(n), ring(1);
      Tensor x = Tensor::zeros({int64_t(n)}), target = Tensor::zeros({int64_t(n)});
      for (size_t i = 0; i < n; ++i) {
        z[i] = numbers.between(-25, 25);  // clipped ones too
        const int64_t what = numbers.below(4);
        t[i] = !any || what == 0 ? -1.0f : what == 1 ? 0.0f : what == 2 ? 1.0f : numbers.between(0, 1);
        x.mutable_span<float>()[i] = z[i];
        target.mutable_span<float>()[i] = t[i];
      }
      Guarded<double> partial(size_t(ObjectLossForward::workspace_bytes(int64_t(n))) / sizeof(double));
      Guarded<ObjectLossResult> result(1);
      test::Vector<OptimizerState> state(1, optimizer_state({}));
      state[0].loss_scale = 16;
      test::run<ObjectLossForward>({int64_t(n), z.data(), t.data(), partial.data()}, partial);
      test::run<ObjectLossFinish>({int64_t(n), partial.data(), result.data(), {ring.data(), 1, state.data()}}, result, ring);
      test::run<ObjectLossBackward>({int64_t(n), z.data(), t.data(), result.data(), 0.5, state.data(), dz.data()}, dz);
      x.set_requires_grad();
      const Tensor loss = models::stardist_prob_loss(sigmoid(x), target);
      backward(loss * 8.0);
      REQUIRE(double(ring[0]) == Approx(loss.item()).epsilon(1e-5).margin(1e-9));
      for (size_t i = 0; i < n; ++i) REQUIRE(dz[i] == Approx(double(x.grad().span<float>()[i])).epsilon(1e-4).margin(1e-9));
    }
}

TEST_CASE("class loss on the GPU: softmax and weighted cross-entropy") {
  for (const size_t classes : {size_t(2), size_t(3), size_t(6)})
    for (const size_t voxels : {size_t(1), size_t(255), size_t(256), size_t(700)})
      for (const bool weighted : {false, true}) {
        CAPTURE(classes, voxels, weighted);
        const size_t n = classes * voxels;
        test::Numbers numbers(n);
        Guarded<float> z(n), t(n), w(classes), dz(n), ring(1);
        Tensor x = Tensor::zeros({int64_t(voxels), int64_t(classes)}), target = Tensor::zeros({int64_t(voxels), int64_t(classes)});
        std::vector<double> weights;
        for (size_t c = 0; c < classes; ++c) w[c] = numbers.between(0.5, 2), weights.push_back(double(w[c]));
        for (size_t v = 0; v < voxels; ++v) {
          const auto hot = size_t(numbers.below(int64_t(classes) + 1));  // one more: left out
          for (size_t c = 0; c < classes; ++c) {
            const size_t i = v * classes + c;
            x.mutable_span<float>()[i] = z[i] = numbers.between(-15, 15);
            target.mutable_span<float>()[i] = t[i] = hot == classes ? -1.0f : float(hot == c);
          }
        }
        Guarded<double> partial(size_t(ClassLoss::workspace_bytes(int64_t(voxels))) / sizeof(double));
        test::Vector<OptimizerState> state(1, optimizer_state({}));
        state[0].loss_scale = 16;
        test::run<ClassLoss>({int64_t(voxels), int64_t(classes), z.data(), t.data(), weighted ? w.data() : nullptr, 0.5, state.data(), dz.data(), partial.data()}, dz, partial);
        test::run<FinishSum>({int64_t(partial.size()), partial.data(), 1 / double(voxels), {ring.data(), 1, nullptr}}, ring);
        x.set_requires_grad();
        const Tensor loss = models::stardist_class_loss(softmax(x), target, weighted ? weights : std::vector<double>{});
        backward(loss * 8.0);
        REQUIRE(double(ring[0]) == Approx(loss.item()).epsilon(1e-5));
        for (size_t i = 0; i < n; ++i)
          REQUIRE(dz[i] == Approx(double(x.grad().span<float>()[i])).epsilon(1e-4).margin(1e-6 / double(voxels)));
      }
}

// SPDX-License-Identifier: BSD-3-Clause
// StarDist's losses: gradients by differences, special cases, errors, and vectors of the Python package if they are there.

#include "voxgrad/models/stardist3d_loss.hpp"

#include "catch.hpp"
#include "message.hpp"
#include "op_case.hpp"
#include "voxgrad/autograd/gradcheck.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {

Tensor drawn(const Shape& shape, uint64_t seed, double low, double high) {
  Random random(seed);
  return random_uniform(shape, random, low, high, DType::f64);
}

}  // namespace

TEST_CASE("the ray loss's gradient is its difference quotient, for every error and on both sides of 0") {
  const Tensor target = drawn({2, 3, 9}, 1, 0.2, 6), mask = drawn({2, 3, 1}, 2, -0.4, 1.3);
  for (const RayError kind : {RayError::mae, RayError::mse, RayError::iou}) {
    const auto result = gradcheck([&](const std::vector<Tensor>& v) { return ray_loss(v[0], target, mask, kind, 0.3); },
                                  {drawn({2, 3, 9}, 3, -2, 8)});
    INFO(result.message);
    CHECK(result.ok);
  }
}

TEST_CASE("the ray loss is the same for any thread count, and in f32 nearly that of f64") {
  const Tensor dist = drawn({1, 7, 11, 13, 19}, 4, -1, 8), target = drawn(dist.shape(), 5, 0, 7), mask = drawn({1, 7, 11, 13, 1}, 6, 0, 1);
  for (const RayError kind : {RayError::mae, RayError::mse, RayError::iou}) {
    const double want = ray_loss(dist, target, mask, kind, 0.1).item();
    double first = 0;
    for_each_isa_and_threads([&](const char*, int threads) {
      const double found = ray_loss(dist.to(DType::f32), target.to(DType::f32), mask.to(DType::f32), kind, 0.1).item();
      if (threads == 1) first = found;
      CHECK(found == first);
      CHECK(std::abs(found - want) < 1e-5 * want);
    });
  }
}

TEST_CASE("the class loss: gradient, weights, left-out voxels, errors") {
  Tensor target = Tensor::zeros({2, 3, 4}, DType::f64);
  const auto t = target.mutable_span<double>();
  for (size_t v = 0; v < 6; ++v) t[4 * v + v % 4] = 1;
  std::fill(t.begin(), t.begin() + 4, -1.0);  // the first voxel is left out
  const std::vector<double> weights{1, 2, 0.5, 3};
  const auto result = gradcheck([&](const std::vector<Tensor>& v) { return models::stardist_class_loss(v[0], target, weights); },
                                {drawn({2, 3, 4}, 7, 0.1, 0.9)});
  INFO(result.message);
  CHECK(result.ok);
  const Tensor even = Tensor::full({2, 3, 4}, 0.25, DType::f64);
  CHECK(std::abs(models::stardist_class_loss(even, target, {}).item() - 5 * std::log(4.0) / 6) < 1e-5);
  CHECK(message<ShapeError>([&] { models::stardist_class_loss(even, target, {1, 2}); }) ==
        "stardist_class_loss: 2 class weights for 4 classes, background counted");
  CHECK(message<ShapeError>([&] { models::stardist_class_loss(even, Tensor(), {}); }) ==
        "stardist_class_loss: the network or the targets have no classes");
  CHECK(message<ShapeError>([&] { models::stardist_class_loss(even, Tensor::zeros({2, 3, 5}, DType::f64), {}); }) ==
        "stardist_class_loss: prob is 2x3x4, target is 2x3x5");
}

TEST_CASE("measures of a perfect prediction, and of nothing to measure") {
  const Tensor prob = drawn({1, 2, 3, 4, 1}, 8, 0.1, 0.9), dist = drawn({1, 2, 3, 4, 5}, 9, 1, 6);
  const models::StarDistMeasures m = models::stardist_measures({prob, dist}, models::StarDistMaps{prob, dist});
  CHECK(std::abs(m.prob_kld) < 1e-12);
  CHECK(m.dist_relevant_mae == 0);
  CHECK(m.dist_relevant_mse == 0);
  CHECK(std::abs(m.dist_iou - 1) < 1e-6);
  const Tensor none = Tensor::full(prob.shape(), -1, DType::f64);
  const models::StarDistMeasures n = models::stardist_measures({prob, dist}, models::StarDistMaps{none, dist});
  CHECK(n.prob_kld == 0);
  CHECK(n.dist_iou == 0);
  CHECK(message<UsageError>([&] { ray_loss(dist, dist, prob, RayError::overlap, 0); }) ==
        "ray_loss: overlap is a measure, not a loss");
  CHECK(message<DTypeError>([&] { ray_loss(dist, dist, prob.to(DType::f32), RayError::mae, 0); }) ==
        "ray_loss: dist is f64, target is f64, mask is f32");
}

// SPDX-License-Identifier: BSD-3-Clause
// Batch normalisation, alone and with the activation behind it.

#include "voxgrad/ops/norm.hpp"

#include "catch.hpp"
#include "op_case.hpp"
#include "voxgrad/ops/concat.hpp"
#include "voxgrad/ops/pointwise.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;

Call call(bool training, double slope) {
  return [=](In x) {
    BatchNormOptions options;
    options.training = training;
    options.slope = slope;
    return batch_norm(x[0], x[1], x[2], x[3].clone(), x[4].clone(), options);
  };
}

OpCase bn(const char* name, const char* torch, const Shape& x, Call f) {
  const Shape c{x[-1]};
  return {name, torch, {{x, -2, 3}, {c, 0.5, 1.5}, {c, -0.5, 0.5}, {c, -0.5, 0.5}, {c, 0.5, 2}}, std::move(f), {}, {3, 4}};
}

std::vector<OpCase> cases() {
  const Shape V{2, 3, 4, 5, 3};
  std::vector<OpCase> all = {
      bn("batch_norm_training", "norm(a, b, c, d, e, True, 1)", V, call(true, 1)),
      bn("batch_norm_training_leaky", "norm(a, b, c, d, e, True, 0.2)", V, call(true, 0.2)),
      bn("batch_norm_training_relu", "norm(a, b, c, d, e, True, 0)", V, call(true, 0)),
      bn("batch_norm_eval", "norm(a, b, c, d, e, False, 1)", V, call(false, 1)),
      bn("batch_norm_eval_leaky", "norm(a, b, c, d, e, False, 0.2)", V, call(false, 0.2)),
      bn("batch_norm_eval_relu", "norm(a, b, c, d, e, False, 0)", V, call(false, 0)),
      bn("batch_norm_rows", "norm(a, b, c, d, e, True)", {12, 5}, call(true, 1)),
      bn("batch_norm_one_channel", "norm(a, b, c, d, e, True)", {2, 2, 3, 1, 1}, call(true, 1)),
      bn("batch_norm_wide", "norm(a, b, c, d, e, True, 0.2)", {7, 17}, call(true, 0.2)),
      bn("batch_norm_stateless", "norm(a, b, c, None, None, True)", {4, 3, 5},
         [](In x) { return batch_norm(x[0], x[1], x[2], Tensor(), Tensor()); }),
      bn("batch_norm_large", "", {3, 8, 9, 11, 16}, call(true, 0.2)),
  };
  for (OpCase& c : all) c.linear = c.name.find("relu") == std::string::npos && c.name.find("leaky") == std::string::npos &&
                                           c.name.find("wide") == std::string::npos && c.name.find("large") == std::string::npos
                                       ? std::vector<size_t>{1, 2}
                                       : std::vector<size_t>{};
  const Shape c5{5};
  all.push_back({"batch_norm_running", "running(a, b, c, 0.3)", {{{2, 3, 2, 2, 5}, -2, 3}, {c5}, {c5, 0.5, 2}},
                 [](In x) {
                   Tensor mean = x[1].clone(), var = x[2].clone();
                   BatchNormOptions options;
                   options.momentum = 0.3;
                   batch_norm(x[0], Tensor::full({5}, 1, x[0].dtype()), Tensor::zeros({5}, x[0].dtype()), mean, var, options);
                   return concat({mean, var}, 0);
                 }, {}, {0, 1, 2}});
  return all;
}
}  // namespace

TEST_CASE("batch_norm") { run_cases(cases()); }

TEST_CASE("batch_norm with a slope is batch_norm, then leaky_relu") {
  Random random(3);
  const Tensor x = random_normal({3, 4, 5, 6, 9}, random), g = random_normal({9}, random), b = random_normal({9}, random);
  BatchNormOptions options;
  const Tensor plain = leaky_relu(batch_norm(x, g, b, Tensor(), Tensor(), options), 0.2);
  options.slope = 0.2;
  CHECK(relative_difference(batch_norm(x, g, b, Tensor(), Tensor(), options), plain) < 1e-6);
}

TEST_CASE("evaluation leaves the running statistics alone") {
  Tensor mean = Tensor::full({2}, 0.5), var = Tensor::full({2}, 2);
  BatchNormOptions options;
  options.training = false;
  batch_norm(Tensor::full({3, 2}, 1), Tensor::full({2}, 1), Tensor::zeros({2}), mean, var, options);
  CHECK(mean.span<float>()[0] == 0.5f);
  CHECK(var.span<float>()[1] == 2);
}

TEST_CASE("batch statistics of f32 values far from zero are accurate") {
  Random random(4);
  Tensor x = random_normal({4000, 3}, random);
  for (float& v : x.mutable_span<float>()) v += 1000;  // the naive E[x^2] - E[x]^2 in f32 would lose the variance
  const Tensor one = Tensor::full({3}, 1), zero = Tensor::zeros({3});
  const Tensor want = batch_norm(x.to(DType::f64), one.to(DType::f64), zero.to(DType::f64), Tensor(), Tensor());
  CHECK(relative_difference(batch_norm(x, one, zero, Tensor(), Tensor()), want) < 1e-4);
}

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// gradcheck(): compares a function's backward with central differences, in double precision.

#include <cmath>
#include <functional>
#include <string>

#include "voxgrad/autograd/backward.hpp"

namespace voxgrad {

struct GradcheckOptions {
  double step = 1e-6;       ///< of the central difference
  double tolerance = 1e-6;  ///< on |analytic - numeric| / max(1, |numeric|)
  int projections = 3;      ///< random directions per input; tiny inputs get their full Jacobian row by row as well
  int64_t full_below = 32;  ///< inputs with at most so many elements are checked element by element
  uint64_t seed = 1;
};

struct GradcheckResult {
  bool ok = true;
  double worst = 0;     ///< largest relative error seen
  std::string message;  ///< which input, which direction, both values
  explicit operator bool() const { return ok; }
};

/// Checks d f / d inputs for a function of f64 tensors with a random incoming gradient (a constant one hides errors).
/// Stay away from kinks; f must be deterministic.
inline GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& f, std::vector<Tensor> inputs,
                                 const GradcheckOptions& options = {}) {
  Random random(options.seed, 0x67726164);
  for (Tensor& t : inputs) {
    check<DTypeError>(t.dtype() == DType::f64, "gradcheck: inputs must be f64, got ", name(t.dtype()));
    t = t.clone();
    t.set_requires_grad();
  }
  Tensor cotangent;
  {
    const Tensor y = f(inputs);
    cotangent = random_normal(y.shape(), random, DType::f64);
    backward(y, cotangent.clone());
  }
  const auto value = [&] {  // <cotangent, f(inputs)>
    NoGrad no_grad;
    const Tensor y = f(inputs);
    double sum = 0;
    for (int64_t i = 0; i < y.size(); ++i) sum += cotangent.span<double>()[size_t(i)] * y.span<double>()[size_t(i)];
    return sum;
  };

  GradcheckResult result;
  const auto probe = [&](size_t input, const Tensor& direction) {
    Tensor& x = inputs[input];
    const Tensor at = x.clone();
    const auto shift = [&](double by) {
      auto e = x.mutable_span<double>();
      for (size_t i = 0; i < e.size(); ++i) e[i] = at.span<double>()[i] + by * direction.span<double>()[i];
    };
    shift(options.step);
    const double plus = value();
    shift(-options.step);
    const double minus = value();
    shift(0);
    double analytic = 0;
    if (x.grad().defined())
      for (size_t i = 0; i < size_t(x.size()); ++i) analytic += x.grad().span<double>()[i] * direction.span<double>()[i];
    const double numeric = (plus - minus) / (2 * options.step);
    const double error = std::abs(analytic - numeric) / std::max(1.0, std::abs(numeric));
    if (!(error <= result.worst)) result.worst = error;
    if (!(error <= options.tolerance) && result.ok) {
      result.ok = false;
      result.message = text("input ", input, " (", x.shape(), "): analytic ", analytic, ", numeric ", numeric);
    }
  };

  for (size_t k = 0; k < inputs.size(); ++k) {
    for (int p = 0; p < options.projections; ++p) probe(k, random_normal(inputs[k].shape(), random, DType::f64));
    if (inputs[k].size() <= options.full_below)
      for (int64_t i = 0; i < inputs[k].size(); ++i) {
        Tensor unit = Tensor::zeros(inputs[k].shape(), DType::f64);
        unit.mutable_span<double>()[size_t(i)] = 1;
        probe(k, unit);
      }
  }
  return result;
}

}  // namespace voxgrad

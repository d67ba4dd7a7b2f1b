// SPDX-License-Identifier: BSD-3-Clause
// The checks behind run_cases().

#include "op_case.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "catch.hpp"
#include "npy.hpp"
#include "settings.hpp"
#include "voxgrad/autograd/gradcheck.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/simd/isa.hpp"

namespace voxgrad::test {
namespace {

/// 64-bit FNV-1a.
uint64_t seed_of(const std::string& name) {
  uint64_t h = 14695981039346656037u;
  for (char c : name) h = (h ^ uint8_t(c)) * 1099511628211u;
  return h;
}

Tensor draw(const std::string& name, uint64_t stream, const Input& input) {
  Random random(seed_of(name), stream);
  Tensor t = random_uniform(input.shape, random, input.low, input.high, DType::f64);
  if (input.gap != 0)
    for (double& e : t.mutable_span<double>()) e += e < 0 ? -input.gap : input.gap;
  return t;
}

bool is_in(const std::vector<size_t>& list, size_t k) { return std::find(list.begin(), list.end(), k) != list.end(); }

/// Output and gradients of one run; undefined where no gradient is wanted.
struct Result {
  Tensor y;
  std::vector<Tensor> gradients;
};

std::vector<Tensor> fresh_inputs(const OpCase& c, DType dtype, bool rounded) {
  std::vector<Tensor> inputs;
  for (size_t k = 0; k < c.inputs.size(); ++k) {
    Tensor t = drawn_input(c, k);
    if (rounded) t = t.to(DType::f32);
    inputs.push_back(t.to(dtype));
    if (!is_in(c.constant, k)) inputs.back().set_requires_grad();
  }
  return inputs;
}

Tensor cotangent(const OpCase& c, const Tensor& y) { return draw(c.name, 100, {y.shape()}).to(DType::f32).to(y.dtype()); }

Result run(const OpCase& c, std::vector<Tensor> inputs, const Tensor& dy) {
  Result r;
  r.y = c.call(inputs);
  if (r.y.requires_grad()) backward(r.y, (dy.defined() ? dy : cotangent(c, r.y)).clone());
  for (const Tensor& t : inputs) r.gradients.push_back(t.grad());
  return r;
}

void check_golden(const OpCase& c) {
  if (c.torch.empty()) return;
  INFO(c.torch);
  const std::vector<Tensor> inputs = fresh_inputs(c, DType::f64, false);
  const Tensor y = c.call(inputs);
  const Result r = run(c, inputs, draw(c.name, 100, {y.shape()}));
  std::vector<Tensor> parts{r.y};
  for (const Tensor& g : r.gradients)
    if (g.defined()) parts.push_back(g);
  const std::vector<double> want = read_npy(golden("ops/" + c.name + ".npy")).values;
  int64_t total = 0;
  for (const Tensor& t : parts) total += t.size();
  REQUIRE(total == int64_t(want.size()));
  const double* at = want.data();
  for (const Tensor& t : parts) {
    CHECK(relative_difference(t, Tensor::from(std::span<const double>(at, size_t(t.size())), t.shape())) < 1e-12);
    at += t.size();
  }
}

void check_gradients(const OpCase& c) {
  std::vector<Tensor> variables;
  for (size_t k = 0; k < c.inputs.size(); ++k)
    if (!is_in(c.constant, k)) variables.push_back(drawn_input(c, k));
  if (variables.empty()) return;
  const auto result = gradcheck(
      [&](const std::vector<Tensor>& v) {
        std::vector<Tensor> all;
        for (size_t k = 0, next = 0; k < c.inputs.size(); ++k) all.push_back(is_in(c.constant, k) ? drawn_input(c, k) : v[next++]);
        return c.call(all);
      },
      variables);
  INFO(result.message);
  CHECK(result.ok);
}

void check_precisions(const OpCase& c) {
  const Result want = run(c, fresh_inputs(c, DType::f64, true), Tensor());
  std::vector<Tensor> first;  // of this instruction set
  for_each_isa_and_threads([&](const char* isa, int threads) {
    INFO(isa << ", " << threads << " threads");
    const Result r = run(c, fresh_inputs(c, DType::f32, true), Tensor());
    std::vector<Tensor> parts{r.y};
    CHECK(relative_difference(r.y, want.y) < c.tolerance);
    for (size_t k = 0; k < r.gradients.size(); ++k) {
      INFO("gradient of input " << k);
      REQUIRE(r.gradients[k].defined() == want.gradients[k].defined());
      if (!r.gradients[k].defined()) continue;
      CHECK(relative_difference(r.gradients[k], want.gradients[k]) < c.tolerance);
      parts.push_back(r.gradients[k]);
    }
    if (threads == 1) first = parts;
    for (size_t i = 0; i < parts.size(); ++i)
      CHECK(std::memcmp(parts[i].raw(), first[i].raw(), size_t(parts[i].size()) * 4) == 0);
  });
}

double dot(const Tensor& a, const Tensor& b, double* size) {
  const Tensor x = a.to(DType::f64), y = b.to(DType::f64);
  double sum = 0;
  for (size_t i = 0; i < size_t(x.size()); ++i) {
    sum += x.span<double>()[i] * y.span<double>()[i];
    *size += std::abs(x.span<double>()[i] * y.span<double>()[i]);
  }
  return sum;
}

/// <dy, f(v) - f(0)> = <gradient, v> for every input in which f is affine.
void check_adjoint(const OpCase& c, DType dtype) {
  const std::vector<Tensor> inputs = fresh_inputs(c, dtype, true);
  const Result at = run(c, inputs, Tensor());
  for (size_t k : c.linear) {
    INFO("input " << k << " in " << name(dtype));
    std::vector<Tensor> zeroed = inputs;
    zeroed[k] = Tensor::zeros(inputs[k].shape(), dtype);
    const Tensor dy = cotangent(c, at.y);
    double size = 1e-30;
    const double rises = dot(dy, at.y, &size) - dot(dy, c.call(zeroed), &size);
    const double along = dot(at.gradients[k], inputs[k], &size);
    CHECK(std::abs(rises - along) / size < (dtype == DType::f64 ? 1e-13 : 1e-6));
  }
}

}  // namespace

Tensor drawn_input(const OpCase& c, size_t k) { return draw(c.name, k, c.inputs[k]); }

double relative_difference(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape())) return std::numeric_limits<double>::infinity();
  const Tensor x = a.to(DType::f64), y = b.to(DType::f64);
  double worst = 0, largest = 0;
  for (size_t i = 0; i < size_t(x.size()); ++i) {
    const double d = std::abs(x.span<double>()[i] - y.span<double>()[i]);
    if (!std::isfinite(d)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, d);
    largest = std::max(largest, std::abs(y.span<double>()[i]));
  }
  return worst == 0 ? 0 : worst / largest;
}

void for_each_isa_and_threads(const std::function<void(const char*, int)>& body) {
  const Settings restore;
  for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (!supported(isa)) {
      WARN("skipped: this CPU does not support " << name(isa));
      continue;
    }
    set_isa(isa);
    for (int count : {1, 2, 3}) {
      set_threads(count);
      body(name(isa), count);
    }
  }
}

void run_cases(const std::vector<OpCase>& cases) {
  const auto each = [&](const std::function<void(const OpCase&)>& check_one) {
    for (const OpCase& c : cases) {
      INFO("case " << c.name);
      check_one(c);
    }
  };
  SECTION("values and gradients are PyTorch's") { each(check_golden); }
  SECTION("gradients are difference quotients") { each(check_gradients); }
  SECTION("f32 agrees with f64 on every instruction set, the same for any thread count") { each(check_precisions); }
  SECTION("linear ops: backward is the adjoint") {
    each([](const OpCase& c) {
      check_adjoint(c, DType::f32);
      check_adjoint(c, DType::f64);
    });
  }
}

}  // namespace voxgrad::test

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Surrogate losses and other functions of a logit: those the kernels know, and the caller's own.

#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/kernels/set_mean.hpp"
#include "voxgrad/pu/jet.hpp"

namespace voxgrad::pu {

/// A function of a logit: a built-in one, or any callable from Dual to Dual (it is asked for values and derivatives at once).
/// A surrogate is the cost of calling a voxel positive; neg(f), the same function at -z, that of calling it negative.
class Function {
 public:
  constexpr Function(kernels::SetFunction kind, double a = 0) : kind_(kind), a_(a) {}
  template <class F>
    requires(std::is_invocable_r_v<Dual, const F&, const Dual&> && !std::is_convertible_v<F, kernels::SetFunction>)
  Function(F f) : own_(std::make_shared<Own<F>>(std::move(f))) {}  // NOLINT: a lambda is a function

  friend Function neg(Function f);
  /// True when both are known to be the same; a false "no" only costs a sweep.
  bool same(const Function& o) const {
    if (negated_ != o.negated_ || (own_ == nullptr) != (o.own_ == nullptr)) return false;
    if (!own_) return kind_ == o.kind_ && a_ == o.a_;
    return own_ == o.own_ || own_->same(*o.own_);
  }

  kernels::SetTerm term(uint8_t set) const {
    return {kind_, negated_, set, a_, nullptr, own_ ? &own_->function : nullptr};
  }
  bool built_in() const { return own_ == nullptr; }
  kernels::SetFunction kind() const { return kind_; }
  double parameter() const { return a_; }

 private:
  struct OwnBase {
    kernels::OwnFunction function;
    size_t bytes = 0;  ///< of captures that can be compared
    virtual ~OwnBase() = default;
    bool same(const OwnBase& o) const {
      return function.evaluate == o.function.evaluate && bytes == o.bytes && bytes > 0 &&
             std::memcmp(function.self, o.function.self, bytes) == 0;
    }
  };
  template <class F>
  struct Own : OwnBase {
    F f;
    explicit Own(F g) : f(std::move(g)) {
      function = {[](const void* self, int64_t n, const double* z, double* y, double* dy) {
                    const F& call = *static_cast<const F*>(self);
                    for (int64_t i = 0; i < n; ++i) {
                      const Dual v = call(Dual::variable(z[i]));
                      y[i] = v.v;
                      dy[i] = v.d[0];
                    }
                  },
                  &f};
      if (std::is_empty_v<F> || std::is_trivially_copyable_v<F>) bytes = sizeof(F);
    }
  };

  kernels::SetFunction kind_ = kernels::SetFunction::sigmoid;
  double a_ = 0;
  bool negated_ = false;
  std::shared_ptr<const OwnBase> own_;
};

/// f(-z).
inline Function neg(Function f) {
  f.negated_ = !f.negated_;
  return f;
}

// Losses: formula, range, symmetry and whether a minimiser is a probability are in surrogates() below.
inline const Function sigmoid_loss(kernels::SetFunction::sigmoid);
inline const Function ramp_loss(kernels::SetFunction::ramp);
inline const Function zero_one_loss(kernels::SetFunction::zero_one);
inline const Function logistic_loss(kernels::SetFunction::logistic);
inline const Function squared_loss(kernels::SetFunction::squared);
inline const Function double_hinge_loss(kernels::SetFunction::double_hinge);
inline const Function hinge_loss(kernels::SetFunction::hinge);
inline const Function brier_loss(kernels::SetFunction::brier);
inline const Function savage_loss(kernels::SetFunction::savage);
/// sigmoid(-z)^exponent softplus(-z). Errors: UsageError for a negative exponent.
inline Function focal_loss(double exponent = 2) {
  check<UsageError>(exponent >= 0, "focal_loss: exponent is ", exponent, " (expected 0 or above)");
  return {kernels::SetFunction::focal, exponent};
}
// Other functions: s = sigmoid(z), s (1 - s), the entropy of s, and z itself.
inline const Function score(kernels::SetFunction::score);
inline const Function score_variance(kernels::SetFunction::score_variance);
inline const Function entropy(kernels::SetFunction::entropy);
inline const Function logit(kernels::SetFunction::logit);

/// What theory says of a surrogate l.
struct SurrogateFacts {
  const char* name;
  kernels::SetFunction kind;
  const char* formula;
  double infimum, supremum;  ///< of l; an unbounded one needs a correction of the risk
  bool symmetric;            ///< l(z) + l(-z) = 1: the unbiased risk is then a weighted ordinary one
  double odd;                ///< k where l(z) - l(-z) = -k z (the unbiased risk is convex in z), else 0
  bool proper;               ///< sigmoid(z) of a minimiser is a probability (savage: sigmoid(2z))
};
inline const std::vector<SurrogateFacts>& surrogates() {
  using F = kernels::SetFunction;
  constexpr double inf = std::numeric_limits<double>::infinity();
  static const std::vector<SurrogateFacts> all{
      {"sigmoid", F::sigmoid, "sigmoid(-z)", 0, 1, true, 0, false},
      {"ramp", F::ramp, "clip(1 - z, 0, 2) / 2", 0, 1, true, 0, false},
      {"zero_one", F::zero_one, "(1 - sign z) / 2", 0, 1, true, 0, false},
      {"logistic", F::logistic, "log(1 + exp(-z))", 0, inf, false, 1, true},
      {"squared", F::squared, "(z - 1)^2 / 4", 0, inf, false, 1, false},
      {"double_hinge", F::double_hinge, "max(-z, max(0, (1 - z) / 2))", 0, inf, false, 1, false},
      {"hinge", F::hinge, "max(0, 1 - z)", 0, inf, false, 0, false},
      {"brier", F::brier, "sigmoid(-z)^2", 0, 1, false, 0, true},
      {"savage", F::savage, "sigmoid(-2z)^2", 0, 1, false, 0, true},
      {"focal", F::focal, "sigmoid(-z)^a log(1 + exp(-z))", 0, inf, false, 0, false},
  };
  return all;
}

/// A surrogate by name: those of surrogates(), and focal with its exponent as in "focal2" or "focal0.5" ("focal" is focal2).
/// Errors: UsageError lists the names.
inline Function surrogate_by_name(const std::string& name) {
  std::string names;
  for (const SurrogateFacts& s : surrogates()) {
    if (name == s.name && s.kind != kernels::SetFunction::focal) return Function(s.kind);
    names += names.empty() ? s.name : std::string(", ") + s.name;
  }
  if (name == "focal") return focal_loss();
  if (name.rfind("focal", 0) == 0) {
    size_t used = 0;
    double exponent = -1;
    try {
      exponent = std::stod(name.substr(5), &used);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used > 0 && used + 5 == name.size()) return focal_loss(exponent);
  }
  throw UsageError(text("surrogate '", name, "' is not one of ", names, " (focal takes its exponent, as in focal2)"));
}

/// Cost and slope of a function at one logit, for tables and plots.
inline Dual evaluate(const Function& f, double z) {
  const kernels::SetTerm t = f.term(1);
  const double at = t.negated ? -z : z, sign = t.negated ? -1 : 1;
  Dual y;
  if (t.own) {
    t.own->evaluate(t.own->self, 1, &at, &y.v, &y.d[0]);
  } else {
    const auto try_all = [&]<class... Fs>(kernels::List<Fs...>) {
      int i = 0;
      ((int(t.function) == i++ ? (y.v = Fs::f(at, t.a), y.d[0] = Fs::df(at, t.a), 0) : 0), ...);
    };
    try_all(kernels::SetFunctionList{});
  }
  y.d[0] *= sign;
  return y;
}

}  // namespace voxgrad::pu

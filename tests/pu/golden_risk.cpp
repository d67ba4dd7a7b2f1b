// SPDX-License-Identifier: BSD-3-Clause
// Every objective against values and gradients of an independent implementation, in double and in float.

#include "golden_risk.hpp"

#include <cstdio>
#include <filesystem>

#include "../npy.hpp"
#include "catch.hpp"
#include "op_case.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/optim/sgd.hpp"
#include "voxgrad/pu/accumulation.hpp"
#include "voxgrad/pu/expectation.hpp"
#include "voxgrad/pu/extra_labels.hpp"
#include "voxgrad/pu/mixup.hpp"
#include "voxgrad/pu/overlap.hpp"
#include "voxgrad/pu/variational.hpp"

namespace voxgrad::test {
namespace {

using namespace voxgrad::pu;

struct Tolerance {
  double relative, absolute;
  bool holds(double found, double expected) const { return std::abs(found - expected) <= absolute + relative * std::abs(expected); }
};
Tolerance tolerance_of(DType t) { return t == DType::f64 ? Tolerance{1e-9, 1e-12} : Tolerance{1e-5, 1e-7}; }

void check_near(const std::string& what, double found, double expected, const Tolerance& t) {
  INFO(what << ": found " << found << ", expected " << expected);
  CHECK(t.holds(found, expected));
}
void check_near(const std::string& what, const Tensor& found, const std::vector<double>& expected, const Tolerance& t) {
  REQUIRE(found.defined());
  const Tensor f = found.to(DType::f64);
  REQUIRE(size_t(f.size()) == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) check_near(text(what, "[", i, "]"), f.span<double>()[i], expected[i], t);
}

Correction correction_of(const std::string& name) {
  if (name == "none") return Correction::none;
  if (name == "clamp") return Correction::clamp;
  if (name == "abs") return Correction::abs;
  if (name == "leaky") return Correction::leaky;
  REQUIRE(name == "kiryo");
  return Correction::kiryo;
}

RiskOptions options_of(const Json& p) {
  RiskOptions o;
  o.prior = p.get("prior", 0.5);
  o.surrogate = surrogate_by_name(p.get("surrogate", std::string("sigmoid")));
  o.correction = correction_of(p.get("correction", std::string("kiryo")));
  o.beta = p.get("beta", 0);
  o.gamma = p.get("gamma", 1);
  o.leak = p.get("leak", 1);
  if (const double prime = p.get("prior_prime", 0); prime > 0) o.prior_prime = prime;
  o.scenario = p.get("scenario", std::string("cc")) == "ss" ? Scenario::single_set : Scenario::case_control;
  o.positive_denominator = p.get("den_p", 0);
  o.unlabeled_denominator = p.get("den_u", 0);
  return o;
}

Tensor tensor(const std::vector<double>& v, const Shape& shape, DType t) { return Tensor::from(v, shape).to(t); }

Objective objective_of(const Json& c, const Tensor& z, const ObjectiveOptions& how) {
  const Json& p = c["params"];
  const std::string method = c["method"].text_value;
  const Tensor e = c.has("propensity") ? tensor(c["propensity"].numbers(), z.shape(), z.dtype()) : Tensor();
  const double prior = p.get("prior", 0.5);
  if (method == "pu_risk") return pu_risk(options_of(p), how);
  if (method == "pn") return pn(options_of(p), how);
  if (method == "naive_mse") return naive(brier_loss, how);
  if (method == "naive_bce") return naive(logistic_loss, how);
  if (method == "naive_balanced") return naive_balanced(prior, options_of(p).surrogate, how);
  if (method == "pnu") return pnu(options_of(p), p["eta"].value, how);
  if (method == "pubn") return pubn(options_of(p), p["rho"].value, e, p["threshold"].value, how);
  if (method == "sar") return propensity_risk(e, options_of(p), 0.05, how);
  if (method == "dist_pu") return dist_pu(prior, p["entropy"].value, how);
  if (method == "ge_kl") return ge_kl(prior, p["slack"].value, how);
  if (method == "ge_binomial") return ge_binomial(prior, p["slack"].value, how);
  if (method == "vpu") return vpu(p["union"].value != 0, how);
  if (method == "taylor_vpu") return taylor_vpu(int(p["order"].value), how);
  if (method == "pu_dice")
    return pu_dice({prior, correction_of(p["correction"].text_value), p["union"].value != 0 ? Scenario::single_set : Scenario::case_control,
                    p["eps"].value}, how);
  if (method == "pu_tversky") return pu_tversky({.prior = prior, .eps = p["eps"].value}, p["alpha"].value, p["beta"].value, how);
  if (method == "cvir") return cvir(how);
  FAIL("no objective for method " << method);
  return vpu();
}

/// Value, notes, branch and gradient of one case.
void check_case(const Json& c, DType dtype) {
  const Json& e = c["expected"];
  const std::vector<double> z = c["z"].numbers();
  const Shape shape{int64_t(z.size())};
  const Tolerance t = tolerance_of(dtype);
  Tensor logits = tensor(z, shape, dtype);
  logits.set_requires_grad();
  Labels labels(c["label"].numbers(), shape);
  labels = labels.weighted(tensor(c["weight"].numbers(), shape, dtype));
  if (c["method"].text_value == "cvir") {
    labels = without_highest(logits, labels, c["params"]["alpha"].value);
    for (size_t i = 0; i < z.size(); ++i) CHECK(labels.has(int64_t(i), U) == (e["kept"].items[i].value != 0));
  }
  ObjectiveOptions how;
  how.allow_all_ignored = true;
  const Result r = objective_of(c, logits, how)(logits, labels);
  check_near("reported", r.reported, e["reported"].value, t);
  check_near("loss", r.loss.item(), e["reported"].value, t);
  if (e.has("objective")) check_near("objective", r.objective, e["objective"].value, t);
  if (e.has("branch")) CHECK(r.corrected() == (e["branch"].text_value == "corrected"));
  for (const Noted& n : r.outcomes[0].notes)
    if (e.has(n.name)) check_near(n.name, n.value, e[n.name].value, t);
  backward(r.loss);
  check_near("grad", logits.grad(), e["grad"].numbers(), t);
  if (e.has("gaussian_grad")) {
    logits.clear_grad();
    const Result g = ge_gaussian(c["params"]["prior"].value, c["params"]["slack"].value)(logits, labels);
    check_near("gaussian", g.reported, e["gaussian_reported"].value, t);
    check_near("gaussian penalty", g["penalty"], e["gaussian_penalty"].value, t);
    backward(g.loss);
    check_near("gaussian grad", logits.grad(), e["gaussian_grad"].numbers(), t);
  }
}

void check_mixup(const Json& c, DType dtype) {
  const Shape shape{int64_t(c["z_mixed"].items.size())};
  const Tolerance t = tolerance_of(dtype);
  for (bool through : {false, true}) {
    Tensor mixed = tensor(c["z_mixed"].numbers(), shape, dtype), u = tensor(c["z_unlabeled"].numbers(), shape, dtype);
    mixed.set_requires_grad();
    u.set_requires_grad();
    const Tensor loss = vpu_mixup(mixed, u, c["params"]["lam"].value, through);
    check_near("reported", loss.item(), c["expected"]["reported"].value, t);
    backward(loss);
    check_near("grad_mix", mixed.grad(), c["expected"]["grad_mix"].numbers(), t);
    if (!through) {  // the dense form: a volume of unlabeled voxels that meets one of labelled voxels
      const Shape both{2, shape[0]};
      std::vector<double> z = c["z_unlabeled"].numbers(), m = c["z_mixed"].numbers();
      std::vector<int> codes(z.size(), 0);
      z.resize(2 * z.size()), m.resize(2 * m.size()), codes.resize(z.size(), 1);
      const MixedTargets targets = vpu_targets(tensor(z, both, dtype), Labels(codes, both), {c["params"]["lam"].value, {1, 0}});
      Tensor dense = tensor(m, both, dtype);
      dense.set_requires_grad();
      const Result r = vpu_mixup(targets, 1)(dense, targets.labels());
      check_near("dense reported", r.reported, c["expected"]["reported"].value, t);
      backward(r.loss);
      check_near("dense grad_mix", dense.grad().view(shape), c["expected"]["grad_mix"].numbers(), t);
    }
    if (through) check_near("grad_target", u.grad(), c["expected"]["grad_target_not_detached"].numbers(), t);
    else CHECK_FALSE(u.grad().defined());
  }
}

void check_surrogates(const Json& table, const Tolerance& t) {
  for (const Json& s : table.items) {
    INFO("surrogate " << s["name"].text_value);
    const Function f = surrogate_by_name(s["name"].text_value);
    for (size_t i = 0; i < s["z"].items.size(); ++i) {
      const Dual v = evaluate(f, s["z"].items[i].value), n = evaluate(neg(f), -s["z"].items[i].value);
      check_near(text("loss at ", s["z"].items[i].value), v.v, s["loss"].items[i].value, t);
      check_near(text("slope at ", s["z"].items[i].value), v.d[0], s["dloss"].items[i].value, t);
      CHECK(n.v == v.v);
      CHECK(n.d[0] == -v.d[0]);
    }
  }
}

void check_dense(const Json& d, DType dtype) {
  const Tolerance t = tolerance_of(dtype);
  const std::vector<double> extents = d["shape"].numbers();
  const Shape shape{int64_t(extents[0]), int64_t(extents[2]), int64_t(extents[3]), int64_t(extents[4]), int64_t(extents[1])};
  RiskOptions o{.prior = d["prior"].value, .surrogate = surrogate_by_name(d["surrogate"].text_value)};
  for (const Json& c : d["cases"].items) {
    INFO(c["id"].text_value);
    const Json& e = c["expected"];
    const std::string kind = c["reduction"].text_value;
    if (kind == "accumulate") {  // two parts, each with its own backward pass
      const std::vector<double> z = c["z"].numbers(), label = c["label"].numbers();
      const auto split = std::ptrdiff_t(c["split"].value);
      Accumulation whole(nnpu({.prior = c["prior"].value, .surrogate = o.surrogate}));
      std::vector<Tensor> parts;
      std::vector<Labels> labels;
      for (auto [from, to] : {std::pair{std::ptrdiff_t(0), split}, std::pair{split, std::ptrdiff_t(z.size())}}) {
        parts.push_back(tensor({z.begin() + from, z.begin() + to}, {int64_t(to - from)}, dtype));
        parts.back().set_requires_grad();
        labels.emplace_back(std::vector<double>(label.begin() + from, label.begin() + to), Shape{int64_t(to - from)});
        whole.add(parts.back(), labels.back());
      }
      check_near("r", whole.total()["r"], e["exact"]["r"].value, t);
      const std::vector<double> grad = e["exact"]["grad"].numbers();
      for (size_t i : {size_t(0), size_t(1)}) {
        const Tensor loss = whole.loss(parts[i], labels[i]);
        check_near("reported", loss.item(), e["exact"]["reported"].value, t);
        backward(loss);
        const auto begin = grad.begin() + (i == 0 ? 0 : split), end = i == 0 ? grad.begin() + split : grad.end();
        check_near("grad", parts[i].grad(), {begin, end}, t);
      }
      continue;
    }
    Tensor z = tensor(d["z"].numbers(), shape, dtype);
    z.set_requires_grad();
    RiskOptions here = o;
    ObjectiveOptions how;
    if (kind != "batch") {
      how.reduction = Reduction::volume;
      here.priors = c["priors"].numbers();
    }
    const Result r = nnpu(here, how)(z, Labels(d["label"].numbers(), shape));
    check_near("reported", r.reported, e["reported"].value, t);
    for (size_t v = 0; v < r.outcomes.size(); ++v) {
      const bool many = e["r"].kind == Json::array;
      check_near("r", r.outcomes[v]["r"], many ? e["r"].items[v].value : e["r"].value, t);
      CHECK(r.outcomes[v].corrected == ((many ? e["branch"].items[v] : e["branch"]).text_value == "corrected"));
    }
    backward(r.loss);
    check_near("grad", z.grad(), e["grad"].numbers(), t);
  }
}

/// The corrected step of a linear model with a quarter of its length: as published (the rate), and as common code has it (the loss).
void check_optimizer_step(const Json& c) {
  const std::vector<double> theta = c["theta"].numbers();
  const size_t n = c["x"].items.size();
  std::vector<double> flat;
  for (const Json& row : c["x"].items)
    for (const Json& v : row.items) flat.push_back(v.value);
  const auto updated = [&](const std::string& optimizer, GammaMode mode) {
    Tensor w = Tensor::from(theta, {2});
    w.set_requires_grad();
    const Tensor z = sum(Tensor::from(flat, {int64_t(n), 2}) * w, {1});
    const Result r = nnpu({.prior = 0.6, .gamma = 0.25, .gamma_mode = mode})(z, Labels(c["label"].numbers(), z.shape()));
    CHECK(r.corrected());
    check_near("r", r["r"], c["r"].value, {1e-12, 0});
    backward(r.loss);
    std::vector<nn::Named> parameters{{"w", &w, true}};
    if (optimizer == "sgd") {
      optim::Sgd sgd(parameters, {.lr = 0.1 * r.rate});
      sgd.step();
    } else {
      optim::Adam adam(parameters, {.lr = 0.1 * r.rate});
      adam.step();
    }
    return w;
  };
  for (GammaMode m : {GammaMode::loss, GammaMode::step})
    check_near("sgd", updated("sgd", m), c["sgd_theta"].numbers(), {1e-12, 0});
  check_near("adam, shorter step", updated("adam", GammaMode::step), c["adam_step_scaled_theta"].numbers(), {1e-12, 0});
  check_near("adam, smaller loss", updated("adam", GammaMode::loss), c["adam_loss_scaled_theta"].numbers(), {1e-12, 0});
}

/// Two million voxels, defined by a formula.
void check_procedural(const Json& c) {
  const int64_t n = int64_t(c["n"].value), every = int64_t(c["positive_every"].value), ignored = int64_t(c["ignore_every"].value);
  std::vector<float> z(static_cast<size_t>(n));
  std::vector<uint8_t> label(z.size());
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t h = uint32_t(uint64_t(i) * uint64_t(c["multiplier"].value) + uint64_t(c["shift"].value));
    z[size_t(i)] = float(c["scale"].value * (double(h) / 4294967296.0) + c["offset"].value);
    label[size_t(i)] = i % every == 0 ? 1 : i % ignored == 0 ? 255 : 0;
  }
  const Json& e = c["expected"];
  Tensor logits = Tensor::from(z, {2, n / 2});
  logits.set_requires_grad();
  const Result r = pu_risk(options_of(c))(logits, Labels(label, logits.shape()));
  const Tolerance t{1e-6, 1e-9};
  for (const char* name : {"Rp_pos", "Rp_neg", "Ru_neg", "r"}) check_near(name, r[name], e[name].value, t);
  check_near("reported", r.reported, e["reported"].value, t);
  CHECK(r.corrected() == (e["branch"].text_value == "corrected"));
  backward(r.loss);
  const auto g = logits.grad().span<float>();
  for (size_t k = 0; k < e["index"].items.size(); ++k)
    check_near("grad", double(g[size_t(e["index"].items[k].value)]), e["grad"].items[k].value, {2e-6, 1e-16});
  double sum = 0, absolute = 0;
  for (float v : g) {
    sum += double(v);
    absolute += std::abs(double(v));
  }
  check_near("sum of the gradient", sum, e["grad_sum"].value, {2e-6, 1e-9});
  check_near("its absolute sum", absolute, e["grad_abs_sum"].value, t);
}

}  // namespace

void check_risk_tables(const Json& tables) {
  size_t checked = 0;
  Tolerance surrogate{1e-12, 1e-300};
  if (tables.has("surrogate_tolerance"))
    surrogate = {tables["surrogate_tolerance"].items[0].value, tables["surrogate_tolerance"].items[1].value};
  check_surrogates(tables["surrogates"], surrogate);
  for (DType dtype : {DType::f64, DType::f32}) {
    for (const Json& c : tables["risks"].items) {
      INFO("case " << c["id"].text_value << " in " << name(dtype));
      c["method"].text_value == "vpu_mixup" ? check_mixup(c, dtype) : check_case(c, dtype);
      ++checked;
    }
    if (tables.has("dense")) check_dense(tables["dense"], dtype);
  }
  if (tables.has("optimizer_step")) check_optimizer_step(tables["optimizer_step"]);
  if (tables.has("procedural"))
    for (const Json& c : tables["procedural"].items) {
      INFO(c["id"].text_value);
      check_procedural(c);
    }
  CHECK(checked > 20);
}

std::string shared_tables(const char* what) {
  const char* set = std::getenv("VOXGRAD_SHARED");
  const std::string path = (set && *set ? set : std::string(VOXGRAD_SOURCE_DIR) + "/../shared") + "/data/golden/pu/pu_risk.json";
  if (std::filesystem::exists(path)) return path;
  std::printf("skipped: %s (no data/golden/pu/pu_risk.json in VOXGRAD_SHARED or ../shared)\n", what);
  return "";
}

}  // namespace voxgrad::test

TEST_CASE("risks, their terms and gradients are PyTorch's") {
  voxgrad::test::check_risk_tables(voxgrad::test::JsonReader(voxgrad::test::golden("pu/pu.json")).read());
}

TEST_CASE("risks of the shared tables") {
  const std::string path = voxgrad::test::shared_tables("risks of the shared tables");
  if (path.empty()) return;
  voxgrad::test::check_risk_tables(voxgrad::test::JsonReader(path).read());
}

// SPDX-License-Identifier: BSD-3-Clause
// Prior estimators, measures and thresholds against an independent implementation.

#include "../npy.hpp"
#include "catch.hpp"
#include "golden_risk.hpp"
#include "voxgrad/pu/evaluation.hpp"
#include "voxgrad/pu/prior.hpp"

namespace voxgrad::test {

using namespace voxgrad::pu;

namespace {
void check_close(const std::string& what, double found, double expected) {
  INFO(what << ": found " << found << ", expected " << expected);
  CHECK(std::abs(found - expected) <= 1e-12 + 1e-9 * std::abs(expected));
}

void check_bbe(const ScoreTable& t, const Json& e) {
  std::vector<BbePoint> curve;
  const BbeOptions o{.effective_positives = e.get("n_eff_p", 0), .effective_unlabeled = e.get("n_eff_u", 0)};
  const PriorEstimate b = bbe(t, o, &curve);
  check_close("bbe", b.prior, e["prior"].value);
  check_close("bbe threshold", b.threshold, e["threshold"].value);
  check_close("bbe bound", b.high, std::min(1.0, e["ucb"].value));
  check_close("bbe low", b.low, std::max(0.0, 2 * b.raw - e["ucb"].value));
  REQUIRE(curve.size() == e["curve"].items.size());
  for (size_t i = 0; i < curve.size(); ++i) {
    check_close("candidate", curve[i].threshold, e["curve"].items[i].items[0].value);
    check_close("ratio", curve[i].ratio, e["curve"].items[i].items[1].value);
    check_close("bound", curve[i].bound, e["curve"].items[i].items[2].value);
  }
}
}  // namespace

void check_prior_table(const Json& e) {
  const ScoreTable t = score_table(e["scores_p"].numbers(), e["scores_u"].numbers());
  check_bbe(t, e["bbe"]);
  check_bbe(t, e["bbe_effective"]);
  const ElkanNoto n = elkan_noto(t);
  const Json& en = e["elkan_noto"];
  check_close("c1", n.c1, en["c_e1"].value);
  check_close("c2", n.c2, en["c_e2"].value);
  check_close("c3", n.c3, en["c_e3"].value);
  check_close("prior1", n.prior1, en["prior_e1"].value);
  check_close("prior2", n.prior2, en["prior_e2"].value);
  check_close("prior3", n.prior3, en["prior_e3"].value);
  check_close("prior_u", n.prior_u, en["prior_u_ratio"].value);
  const Tice c = tice(t);
  check_close("tice delta", c.delta, e["tice_1d"]["delta"].value);
  check_close("tice c", c.c, e["tice_1d"]["c"].value);
  check_close("tice", c.prior, e["tice_1d"]["prior"].value);
  const ShiftedPrior s = shift_prior(t, e["em_shift"]["prior0"].value);
  check_close("shifted prior", s.prior, e["em_shift"]["prior"].value);
  CHECK(s.converged);
  CHECK(s.iterations == int(e["em_shift"]["iterations"].value));
  if (e.has("pen_l1")) {
    const Json& p = e["pen_l1"];
    const PeL1 l = pe_l1(t, p["centers"].numbers(), p["sigma"].value, p["lam"].value);
    check_close("pe_l1", l.prior, p["prior"].value);
    REQUIRE(l.objective.size() == p["objective"].items.size());
    for (size_t i = 0; i < l.objective.size(); ++i) check_close("pe_l1 objective", l.objective[i], p["objective"].items[i].value);
  }
  if (e.has("ratio")) check_close("ratio", ratio_prior(e["ratio"].numbers(), e["ratio_quantile"]["q"].value), e["ratio_quantile"]["prior"].value);
}

void check_metric_tables(const Json& tables) {
  CHECK(tables.items.size() == 2);
  for (const Json& c : tables.items) {
    const ScoreTable t = score_table(c["scores_p"].numbers(), c["scores_u"].numbers());
    const double prior = c["prior"].value;
    const Scenario scenario = c["scenario"].text_value == "ss" ? Scenario::single_set : Scenario::case_control;
    const Json& e = c["expected"];
    const std::vector<PuMeasures> curve = pu_curve(t, prior, scenario);
    REQUIRE(curve.size() == e["rows"].items.size());
    for (size_t i = 0; i < curve.size(); ++i) {
      const Json& row = e["rows"].items[i];
      const PuMeasures& m = curve[i];
      INFO("threshold " << m.threshold);
      for (auto [name, value] : {std::pair{"t", m.threshold}, {"recall", m.recall}, {"rate", m.rate}, {"precision_raw", m.precision_raw},
                                 {"precision", m.precision}, {"f1", m.f1}, {"lee_liu", m.lee_liu}, {"iou", m.iou}, {"fpr", m.fpr},
                                 {"zero_one", m.zero_one}})
        check_close(name, value, row[name].value);
      check_close("proxy accuracy", m.proxy_accuracy, 2 * prior * m.recall + 1 - m.rate);
    }
    CHECK(max_f1(curve).threshold == e["t_f1"].value);
    CHECK(max_lee_liu(curve).threshold == e["t_lee_liu"].value);
    CHECK(quantile_threshold(curve, prior).value().threshold == e["t_quantile"].value);
    const PuRanking r = pu_ranking(t, prior, scenario);
    check_close("auc_pu", r.auc_pu, e["auc_pu"].value);
    check_close("auc", r.auc, e["auc"].value);
    check_close("average precision", r.average_precision, e["average_precision"].value);
  }
}

}  // namespace voxgrad::test

TEST_CASE("priors, measures and thresholds of our tables") {
  const voxgrad::test::Json tables = voxgrad::test::JsonReader(voxgrad::test::golden("pu/pu.json")).read();
  voxgrad::test::check_prior_table(tables["priors"]);
  voxgrad::test::check_metric_tables(tables["metrics"]);
}

TEST_CASE("priors, measures and thresholds of the shared tables") {
  const std::string path = voxgrad::test::shared_tables("priors and measures of the shared tables");
  if (path.empty()) return;
  const voxgrad::test::Json tables = voxgrad::test::JsonReader(path).read();
  voxgrad::test::check_prior_table(tables["priors"]);
  voxgrad::test::check_metric_tables(tables["metrics"]);
}

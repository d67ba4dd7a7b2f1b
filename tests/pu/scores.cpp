// SPDX-License-Identifier: BSD-3-Clause
// Priors and measures: streams against plain lists, cases whose prior is known, intervals, and what is refused.

#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/pu/evaluation.hpp"
#include "voxgrad/pu/prior.hpp"

using namespace voxgrad;
using namespace voxgrad::pu;
using voxgrad::test::message;

namespace {

double probability(double z) { return 1 / (1 + std::exp(-z)); }

/// Held-out positives N(2.5, 1), and U of which a share `prior` is positive, the rest N(-2.5, 1). With equal variances 5 z is the log ratio
/// of densities: scores are calibrated for prior 1/2 when 5 z is the logit.
struct Drawn {
  std::vector<double> p, u;  // logits
  Drawn(size_t n_p, size_t n_u, double prior, uint64_t seed) {
    Random random(seed);
    for (size_t i = 0; i < n_p; ++i) p.push_back(5 * (random.normal() + 2.5));
    for (size_t i = 0; i < n_u; ++i) u.push_back(5 * (random.normal() + (random.uniform() < prior ? 2.5 : -2.5)));
  }
  ScoreTable table() const {
    std::vector<double> sp, su;
    for (double z : p) sp.push_back(probability(z));
    for (double z : u) su.push_back(probability(z));
    return score_table(sp, su);
  }
  ScoreHistogram histogram() const {  // in two parts, as a stream comes
    ScoreHistogram h, second;
    const Labels lp(std::vector<int>(p.size(), 1), {int64_t(p.size())}), lu(std::vector<int>(u.size(), 0), {int64_t(u.size())});
    h.add(Tensor::from(p, lp.shape()), lp);
    second.add(Tensor::from(u, lu.shape()).to(DType::f32), lu);
    h.add(second);
    return h;
  }
};

}  // namespace

TEST_CASE("estimators find a known prior within a tenth of it") {
  for (double prior : {0.02, 0.1, 0.4}) {
    const Drawn d(20000, 400000, prior, 7);
    const ScoreTable t = d.table(), stream = d.histogram().table();
    INFO("prior " << prior);
    for (const ScoreTable& table : {t, stream}) {
      const PriorEstimate b = bbe(table);
      CHECK(b.prior == Approx(prior).epsilon(0.1));
      CHECK(b.low < prior);
      CHECK(b.high > prior);
      CHECK(shift_prior(table, 0.5).prior == Approx(prior).epsilon(0.1));
    }
    CHECK(bbe(stream).prior == Approx(bbe(t).prior).epsilon(0.01));
    CHECK(stream.mean_positive() == Approx(t.mean_positive()).epsilon(1e-6));
    CHECK(stream.mean_unlabeled() == Approx(t.mean_unlabeled()).epsilon(1e-6));
  }
}

TEST_CASE("the label frequency of one set: Elkan-Noto and TIcE give alpha / c") {
  // One set, prior 0.3, half of the positives labelled: g = P(labelled | x) = P(positive | x) / 2.
  Random random(4);
  std::vector<double> p, u;
  for (int i = 0; i < 200000; ++i) {
    const bool positive = random.uniform() < 0.3;
    const double x = random.normal() + (positive ? 2.5 : -2.5), g = 0.5 * probability(5 * x + std::log(0.3 / 0.7));
    (positive && random.uniform() < 0.5 ? p : u).push_back(g);
  }
  const ScoreTable t = score_table(p, u);
  const ElkanNoto e = elkan_noto(t);
  CHECK(e.c1 == Approx(0.5).epsilon(0.02));
  CHECK(e.prior1 == Approx(0.3).epsilon(0.02));
  CHECK_FALSE(e.clipped);
  const Tice c = tice(t);
  CHECK(c.c < 0.505);  // a lower bound
  CHECK(c.prior == Approx(0.3).epsilon(0.1));
  CHECK(tice(t, 100).c < c.c);  // fewer independent values, a lower bound that is lower
}

TEST_CASE("effective numbers keep best-bin estimation out of the top bins") {
  const Drawn d(3000, 60000, 0.05, 9);
  const ScoreTable t = d.table();
  const PriorEstimate raw = bbe(t), effective = bbe(t, {.effective_positives = 30, .effective_unlabeled = 600});
  CHECK(effective.threshold <= raw.threshold);
  CHECK(effective.high - effective.low > raw.high - raw.low);
  CHECK(effective.prior == Approx(0.05).epsilon(0.15));
}

TEST_CASE("bootstrap intervals over events and crops cover the truth, and those over voxels would be too narrow") {
  // Each event of 100 voxels is found or missed as a whole, with probability 0.8; crops have the rate 0.05.
  Random random(21);
  int covered = 0;
  double width = 0;
  const auto recall = [](const UnitCount& p, const UnitCount&) { return p.above / p.total; };
  for (int trial = 0; trial < 100; ++trial) {
    std::vector<UnitCount> events, crops;
    for (int i = 0; i < 40; ++i) events.push_back({random.uniform() < 0.8 ? 100.0 : 0.0, 100});
    for (int i = 0; i < 50; ++i) crops.push_back({std::floor(100 * random.uniform()), 1000});
    const Interval r = bootstrap(events, crops, recall, uint64_t(trial), 400);
    covered += r.low <= 0.8 && 0.8 <= r.high;
    width += (r.high - r.low) / 100;
  }
  CHECK(covered >= 85);
  CHECK(width == Approx(2 * 1.96 * std::sqrt(0.16 / 40)).epsilon(0.15));  // 4000 voxels would give a tenth
}

TEST_CASE("measures without negatives agree with the true ones") {
  Random random(17);
  const double prior = 0.2;
  std::vector<double> p, u, negatives, positives;
  for (int i = 0; i < 20000; ++i) p.push_back(probability(random.normal() + 1));
  for (int i = 0; i < 100000; ++i) {
    const bool positive = random.uniform() < prior;
    u.push_back(probability(random.normal() + (positive ? 1 : -1)));
    (positive ? positives : negatives).push_back(u.back());
  }
  const ScoreTable t = score_table(p, u);
  const auto share = [](const std::vector<double>& s, double at) {
    double n = 0;
    for (double v : s) n += v >= at;
    return n / double(s.size());
  };
  const std::vector<PuMeasures> curve = pu_curve(t, prior, Scenario::case_control);
  const PuMeasures best = max_f1(curve);
  const double recall = share(positives, best.threshold), fpr = share(negatives, best.threshold);
  const double precision = prior * recall / (prior * recall + (1 - prior) * fpr);
  CHECK(best.recall == Approx(recall).epsilon(0.03));
  CHECK(best.precision == Approx(precision).epsilon(0.03));
  CHECK(best.f1 == Approx(2 * precision * recall / (precision + recall)).epsilon(0.03));
  CHECK(best.fpr == Approx(fpr).epsilon(0.1));
  CHECK(best.zero_one == Approx(prior * (1 - recall) + (1 - prior) * fpr).epsilon(0.05));
  CHECK(pu_ranking(t, prior, Scenario::case_control).auc == Approx(0.5 * std::erfc(-1.0)).epsilon(0.01));  // Phi(sqrt 2)
  CHECK(quantile_threshold(curve, prior)->rate <= prior);
  CHECK(quantile_threshold(curve, prior)->rate == Approx(prior).epsilon(1e-3));
}

TEST_CASE("a random score has AUC 1/2 and the precision of its prior") {
  Random random(5);
  std::vector<double> p, u;
  for (int i = 0; i < 20000; ++i) p.push_back(random.uniform()), u.push_back(random.uniform());
  const ScoreTable t = score_table(p, u);
  CHECK(pu_ranking(t, 0.1, Scenario::case_control).auc == Approx(0.5).margin(0.01));
  CHECK(pu_curve(t, 0.1, Scenario::case_control).back().precision == Approx(0.1));
  CHECK(score_table({0.5, 0.5}, {0.5, 0.5}).rows.size() == 1);
  CHECK(pu_ranking(score_table({0.5, 0.5}, {0.5}), 0.1, Scenario::case_control).auc_pu == 0.5);
}

TEST_CASE("priors of everything, of the unlabeled, and of mixtures of crops") {
  CHECK(prior_of_unlabeled(0.02, 0.01) == Approx(0.01 / 0.99));
  CHECK(prior_of_everything(prior_of_unlabeled(0.02, 0.013), 0.013) == Approx(0.02));
  for (auto [ratio, expected] : {std::pair{0.0, 0.0183}, {1.0, 0.01015}, {8.0, 0.0038111}, {64.0, 0.0022508}, {256.0, 0.0020634}})
    CHECK(mixture_prior(ratio, 0.0183, 0.002) == Approx(expected).epsilon(1e-4));
  const PriorEstimate a = audited_prior(std::vector<double>(25, 400.0), 1e6);
  CHECK(a.prior == Approx(0.01));
  CHECK(a.high - a.prior == Approx(2 * 0.002));  // 20 % standard error
  const DoubleAnnotation d = double_annotation(80, 60, 40);
  CHECK(d.events == Approx(81.0 * 61 / 41 - 1));
  CHECK(d.frequency == Approx(80 / d.events));
  CHECK(corrected_probability(corrected_probability(0.3, 0.5, 0.01), 0.01, 0.5) == Approx(0.3));
  CHECK(corrected_probability(0.5, 0.5, 0.01) == Approx(0.01));
  CHECK(event_precision(50, 0.8, 100) == Approx(0.4));
}

TEST_CASE("a histogram skips what is ignored and knows a network that says the same everywhere") {
  ScoreHistogram h;
  const Labels l(std::vector<int>{1, 0, 255, 2, 0}, {5});
  h.add(Tensor::from<double>({1, 1, std::nan(""), 5, 1}, {5}), l);
  CHECK(h.table().positive == 1);
  CHECK(h.table().unlabeled == 2);
  CHECK(h.deviation() < 1e-6);
  h.add(Tensor::from<double>({900, -900, 0, 0, -900}, {5}), l.weighted(Tensor::from<double>({2, 1, 1, 1, 0.5}, {5})));
  CHECK(h.table().positive == 3);
  CHECK(h.table().unlabeled == 3.5);
  CHECK(h.table().rows.back().threshold == 0);  // the lowest bin takes in everything below
  CHECK(h.deviation() > 100);
}

TEST_CASE("units are counted in one sweep and read at any threshold") {
  UnitScores units;
  for (double z : {-3.0, 0.5, 2.0}) units.add(7, z);
  for (double z : {-30.0, 30.0}) units.add(2, z);
  REQUIRE(units.size() == 2);
  const std::vector<UnitCount> c = units.counts(probability(1));
  CHECK((c[0].above == 1 && c[0].total == 2 && c[1].above == 1 && c[1].total == 3));  // in order of the unit
  CHECK(units.counts(0)[1].above == 3);
  CHECK(units.counts(probability(-3))[1].above == 3);
  CHECK(units.counts(1)[0].above == 1);
}

TEST_CASE("estimates from nothing are refused by name") {
  const ScoreTable none = score_table({}, {0.5}), only = score_table({0.5}, {});
  CHECK(message<UsageError>([&] { bbe(none); }) == "bbe: scores: no labelled voxel (needs held-out labelled events)");
  CHECK(message<UsageError>([&] { elkan_noto(only); }) == "elkan_noto: scores: no unlabeled voxel");
  CHECK(message<UsageError>([&] { bbe(score_table({0.9}, {0.1})); }) ==
        "bbe: no threshold has two labelled and two unlabeled voxels at or above it");
  CHECK(message<UsageError>([&] { score_table({0.1, std::nan("")}, {}); }) == "score_table: positive: score 1 is nan");
  CHECK(message<UsageError>([&] { tice(score_table({0.9}, {0.1})); }) ==
        "tice: scores: no tail of ten values says that any positive is labelled (too few, or not separated)");
  CHECK(message<UsageError>([&] { shift_prior(only, 0.5); }) == "shift_prior: scores: no unlabeled voxel");
  CHECK(message<UsageError>([&] { shift_prior(score_table({}, {0.5, 1.5}), 0.5); }) ==
        "shift_prior: scores: from 0.5 to 1.5 (expected probabilities)");
  CHECK(message<UsageError>([&] { pu_curve(none, 0.1, Scenario::case_control); }) ==
        "pu_curve: scores: no labelled voxel (needs held-out labelled events)");
  CHECK(message<UsageError>([&] { pu_curve(score_table({0.5}, {0.5}), 1, Scenario::case_control); }) ==
        "pu_measures: prior is 1 (expected above 0 and below 1)");
  CHECK(message<UsageError>([&] { prior_of_unlabeled(0.01, 0.02); }) ==
        "prior_of_unlabeled: prior is 0.01, alpha is 0.02 (expected 0 <= alpha <= prior < 1: labelled voxels are positive)");
  CHECK(message<UsageError>([&] { ScoreHistogram().add(Tensor::from<float>({0, INFINITY}, {2}), Labels(std::vector<int>{0, 1}, {2})); }) ==
        "ScoreHistogram: logits: the value at voxel 1 of 2 is inf");
  CHECK(message<UsageError>([&] { bootstrap({}, {{1, 2}}, [](auto, auto) { return 1.0; }); }) ==
        "bootstrap: needs at least one event and one crop, got 0 and 1");
  CHECK(message<UsageError>([&] { double_annotation(5, 3, 4); }) ==
        "double_annotation: 5 and 3 events with 4 in common (expected no more than either)");
}

TEST_CASE("rare positives and few events: relative bounds find the prior where uniform ones do not") {
  // One voxel in 200 is positive; one negative in 30 looks half like a positive, as dim structures do. 60 events, 20000 independent rests.
  Random random(11);
  std::vector<double> p, u;
  for (int i = 0; i < 6000; ++i) p.push_back(probability(5 * (random.normal() + 2.5)));
  for (int i = 0; i < 400000; ++i) {
    const double middle = random.uniform() < 0.005 ? 2.5 : random.uniform() < 1.0 / 30 ? -0.5 : -2.5;
    u.push_back(probability(5 * (random.normal() + middle)));
  }
  const ScoreTable t = score_table(p, u);
  BbeOptions o{.effective_positives = 60, .effective_unlabeled = 20000};
  CHECK(bbe(t, o).prior > 0.009);  // the published bound pays 0.18 at every threshold, so it takes the lowest
  o.bound = BbeBound::relative;
  const PriorEstimate e = bbe(t, o);
  CHECK(e.prior == Approx(0.005).epsilon(0.3));
  CHECK(e.low < 0.005);
  CHECK(e.high > 0.005);
  o.effective_positives = o.effective_unlabeled = 0;  // with every voxel independent both agree
  CHECK(bbe(t, o).prior == Approx(0.005).epsilon(0.15));
}

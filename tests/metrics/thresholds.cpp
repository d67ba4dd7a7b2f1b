// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "draws.hpp"
#include "voxgrad/metrics/detection_threshold.hpp"
#include "voxgrad/metrics/pr_threshold.hpp"
#include "voxgrad/metrics/segmentation.hpp"

using namespace voxgrad;
using data::Volume;
using metrics::Point;
using metrics_test::draws;
using metrics_test::message_of;

namespace {

constexpr int64_t ten = 10;
const float vector_scores[ten] = {.05f, .2f, .9f, .55f, .6f, .7f, .1f, .2f, .4f, .3f};
const uint8_t vector_labels[ten] = {0, 0, 1, 1, 0, 1, 0, 1, 0, 0};

// A smooth random score movie: blobs of several heights over a noisy floor, so that components grow and
// merge.
Volume<float> blobs(const data::Extent3& e, uint32_t seed, std::vector<Point>& centres) {
  Volume<float> v(e);
  const auto d = draws(seed, 100 + v.size());
  for (size_t b = 0; b < 12; ++b)
    centres.push_back({double(d[4 * b] % e[0]), double(d[4 * b + 1] % e[1]), double(d[4 * b + 2] % e[2])});
  for (int64_t t = 0; t < e[0]; ++t)
    for (int64_t y = 0; y < e[1]; ++y)
      for (int64_t x = 0; x < e[2]; ++x) {
        float& s = v.at(t, y, x);
        s = float(d[size_t(100 + (t * e[1] + y) * e[2] + x)]) / 65536 * 0.08f;
        for (size_t b = 0; b < 12; ++b) {
          const double r = metrics::distance(centres[b], {double(t), double(y), double(x)});
          s = std::max(s, float(double(20 + d[4 * b + 3] % 80) / 100 * std::exp(-r * r / 12)));
        }
      }
  return v;
}

// Every threshold by labelling the movie anew: the definition.
std::vector<double> f1_by_relabelling(const Volume<float>& scores, const std::vector<Point>& truth) {
  std::vector<double> f1;
  for (const float threshold : metrics::detection_thresholds()) {
    metrics::Components c = metrics::label_above(scores, threshold);
    if (c.count == 0) {
      f1.push_back(0);
      continue;
    }
    metrics::remove_small(c, metrics::min_event_size);
    const Volume<uint8_t> ones(scores.extent, 1);
    const auto predicted = metrics::centroids(metrics::measure_regions(c.labels, ones), false);
    f1.push_back(metrics::match_points(truth, predicted, metrics::Matcher::nearest).scores.f1());
  }
  return f1;
}

}  // namespace

TEST_CASE("segmentation threshold: conformance vector 12.4") {
  const auto curve = metrics::precision_recall_curve(vector_scores, vector_labels, ten);
  const double thresholds[] = {.05, .1, .2, .3, .4, .55, .6, .7, .9};
  const double distances[] = {.6, .5555556, .5, .5590170, .4716991, .3535534, .6009252, .5, .75};
  REQUIRE(curve.size() == 9);
  for (size_t i = 0; i < 9; ++i) {
    CHECK(curve[i].threshold == Approx(thresholds[i]).epsilon(1e-6));
    CHECK(metrics::distance_to_ideal(curve[i], 4) == Approx(distances[i]).epsilon(1e-6));
  }
  CHECK(*metrics::best_pr_threshold(vector_scores, vector_labels, ten) == Approx(0.55).epsilon(1e-6));
}

TEST_CASE("segmentation threshold: the lowest of equal ones, empty crops skipped, mean over crops") {
  // Points (P, R): 0.2 -> (1/2, 1), 0.8 -> (1, 1/2): equally far from (1, 1).
  const float scores[] = {0.2f, 0.8f, 0.2f, 0.2f};
  const uint8_t labels[] = {1, 1, 0, 0}, none[] = {0, 0, 0, 0};
  CHECK(*metrics::best_pr_threshold(scores, labels, 4) == Approx(0.2));
  CHECK_FALSE(metrics::best_pr_threshold(scores, none, 4).has_value());
  metrics::SegmentationThreshold mean;
  CHECK(message_of([&] { mean.value(); }) ==
        "0 of 0 validation crops contain no event: no threshold can be chosen");
  mean.add_crop(scores, none, 4);
  CHECK(message_of([&] { mean.value(); }) ==
        "1 of 1 validation crops contain no event: no threshold can be chosen");
  mean.add_crop(scores, labels, 4);
  mean.add_crop(vector_scores, vector_labels, ten);
  CHECK(mean.value() == Approx((0.2 + 0.55) / 2).epsilon(1e-6));
  CHECK((mean.crops() == 3 && mean.used() == 2));
  const float bad[] = {0.1f, std::nanf("")};
  CHECK(message_of([&] { metrics::best_pr_threshold(bad, labels, 2); }) ==
        "precision-recall curve: score 1 is not a number");
}

TEST_CASE("curves equal scikit-learn's, ties included") {
  std::ifstream in = metrics_test::golden("curves.txt");
  int cases = 0;
  uint32_t seed = 0;
  int64_t n = 0, steps = 0, per_mille = 0;
  double threshold = 0, ap = 0, auc = 0;
  for (; in >> seed >> n >> steps >> per_mille >> threshold >> ap >> auc; ++cases) {
    const auto a = draws(seed, n), b = draws(seed + 100, n);
    std::vector<float> scores(static_cast<size_t>(n));
    std::vector<uint8_t> labels(static_cast<size_t>(n));
    for (size_t i = 0; i < scores.size(); ++i) {
      scores[i] = float(double(a[i] % steps) / double(steps));
      labels[i] = float(b[i] % 1000) < float(per_mille) * (0.5f + scores[i]);
    }
    const auto curve = metrics::precision_recall_curve(scores.data(), labels.data(), n);
    CHECK(*metrics::best_pr_threshold(scores.data(), labels.data(), n) == Approx(threshold).epsilon(1e-10));
    CHECK(metrics::average_precision(curve) == Approx(ap).epsilon(1e-10));
    CHECK(metrics::roc_auc(curve) == Approx(auc).epsilon(1e-10));
  }
  CHECK(cases == 7);
}

TEST_CASE("detection threshold: the flood equals labelling the movie at each of the 100 thresholds") {
  for (uint32_t seed : {3u, 4u, 5u}) {
    std::vector<Point> centres;
    const Volume<float> scores = blobs({13, 24, 31}, seed, centres);
    const auto table = metrics::score_thresholds(scores, centres);
    const auto expected = f1_by_relabelling(scores, centres);
    REQUIRE(table.size() == 100);
    double highest = 0;
    for (size_t k = 0; k < 100; ++k) {
      CHECK(table[k].f1 == expected[k]);
      highest = std::max(highest, expected[k]);
    }
    CHECK(highest > 0.5);
    size_t last_best = 0;
    for (size_t k = 0; k < 100; ++k)
      if (expected[k] >= expected[last_best]) last_best = k;
    CHECK(metrics::best_detection_threshold(table) == metrics::detection_thresholds()[last_best]);
  }
}

TEST_CASE("detection threshold: components of the flood equal labelled ones, edges and strict > included") {
  Volume<float> scores({3, 5, 6});
  const auto d = draws(9, scores.size());
  for (size_t i = 0; i < d.size(); ++i)
    scores.voxels[i] = float(d[i] % 12) / 10;  // many exactly at a threshold
  scores.voxels[7] = std::nanf("");
  metrics::DescendingFlood flood(scores, {0.0f, 0.1f, 0.3f, 0.5f, 0.9f});
  int steps = 0;
  for (; flood.next(); ++steps) {
    const auto c = metrics::label_above(scores, flood.threshold());
    const auto boxes = metrics::bounding_boxes(c);
    const auto regions = metrics::measure_regions(c.labels, Volume<uint8_t>(scores.extent, 1));
    const auto found = flood.components({0, 0, 0});
    REQUIRE(found.size() == c.count);
    for (size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i].area == regions[i].area);
      CHECK(found[i].box.begin == boxes[i].begin);
      CHECK(found[i].box.end == boxes[i].end);
      CHECK(found[i].centroid() == regions[i].centroid);
    }
  }
  CHECK(steps == 5);
}

TEST_CASE("detection threshold: without truth or without any hit it is 1.00; equal F1 goes to the highest") {
  const Volume<float> empty({4, 8, 8});
  CHECK(metrics::best_detection_threshold(metrics::score_thresholds(empty, {{1, 1, 1}})) == 1.0f);
  std::vector<Point> centres;
  const Volume<float> scores = blobs({8, 16, 16}, 3, centres);
  CHECK(metrics::best_detection_threshold(metrics::score_thresholds(scores, {})) == 1.0f);

  Volume<float> one({3, 8, 8});
  for (int64_t t = 0; t < 3; ++t)
    for (int64_t y = 2; y < 6; ++y)
      for (int64_t x = 2; x < 6; ++x) one.at(t, y, x) = 0.75f;
  CHECK(metrics::best_detection_threshold(metrics::score_thresholds(one, {{1, 3.5, 3.5}})) == 0.74f);
  CHECK(message_of([] { metrics::best_detection_threshold({}); }) ==
        "detection threshold: no thresholds were scored");
}

TEST_CASE("detection threshold: small predictions are dropped, small truth is kept") {
  Volume<float> scores({4, 8, 8});
  scores.at(1, 2, 2) = scores.at(1, 2, 3) = 0.9f;
  Volume<uint8_t> truth({4, 8, 8});
  truth.at(1, 2, 2) = truth.at(1, 2, 3) = 1;
  const auto points = metrics::truth_centroids(truth);
  REQUIRE(points.size() == 1);
  CHECK(points[0] == Point{1, 2, 2.5});
  const auto table = metrics::score_thresholds(scores, points);
  CHECK(table[10].predicted == 0);
  CHECK(table[10].scores.fn == 1);
  metrics::DetectionRule any;
  any.min_size = {1, 1, 1};
  CHECK(metrics::score_thresholds(scores, points, any)[10].scores.tp == 1);
}

TEST_CASE("segmentation scores: formulas and empty cases") {
  const uint8_t p[] = {1, 1, 1, 0, 0, 0, 0, 0}, t[] = {2, 2, 0, 2, 2, 2, 0, 0}, zero[8] = {};
  const auto s = metrics::compare_masks(p, t, 8);
  CHECK((s.tp == 2 && s.fp == 1 && s.fn == 3 && s.tn == 2));
  CHECK(s.dice() == Approx(4.0 / 8));
  CHECK(s.iou() == Approx(2.0 / 6));
  CHECK(s.precision() == Approx(2.0 / 3));
  CHECK(s.recall() == Approx(2.0 / 5));
  CHECK(s.accuracy() == Approx(0.5));
  const auto none = metrics::compare_masks(zero, zero, 8);
  CHECK((none.dice() == 1 && none.iou() == 1 && none.accuracy() == 1));
  CHECK(std::isnan(none.precision()));
  CHECK(metrics::compare_masks(zero, t, 8).dice() == 0);
  const auto no_positive = metrics::precision_recall_curve(vector_scores, zero, 8);
  CHECK(std::isnan(metrics::average_precision(no_positive)));
  CHECK(std::isnan(metrics::roc_auc(no_positive)));
}

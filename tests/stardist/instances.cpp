// SPDX-License-Identifier: BSD-3-Clause
// Matching of objects and the scores that follow: against the Python package, and against all possible pairings.

#include "voxgrad/metrics/instances.hpp"

#include <cmath>
#include <numeric>

#include "../catch.hpp"
#include "../message.hpp"
#include "golden.hpp"
#include "volumes.hpp"

using namespace voxgrad;
using namespace voxgrad::metrics;
using data::Volume;
using test::ellipsoids;
using test::message;

namespace {

constexpr double thresholds[] = {0.1, 0.3, 0.5, 0.7};

std::vector<double> numbers(const InstanceScores& s) {
  return {double(s.tp), double(s.fp), double(s.fn), double(s.n_true), double(s.n_pred), s.precision, s.recall, s.accuracy, s.f1,
          s.mean_matched_score, s.mean_true_score, s.panoptic_quality};
}

void check_row(const InstanceScores& s, const std::vector<double>& rows, size_t row) {
  const std::vector<double> found = numbers(s);
  for (size_t c = 0; c < found.size(); ++c) CHECK(found[c] == Approx(rows[row * found.size() + c]).margin(1e-6));
}

/// Most pairs at or above the threshold, then the highest sum, over all injections of the smaller side.
std::pair<int, double> best(const Volume<uint8_t>& a, const Volume<uint8_t>& b, double thresh) {
  const ObjectOverlap o = object_overlap(a, b);
  const bool swap = o.true_ids.size() > o.pred_ids.size();
  const size_t small = std::min(o.true_ids.size(), o.pred_ids.size());
  std::vector<int64_t> order(std::max(o.true_ids.size(), o.pred_ids.size()));
  std::iota(order.begin(), order.end(), 0);
  std::pair<int, double> most{0, 0};
  double best_value = -1;
  do {
    int matches = 0;
    double accepted = 0, total = 0;
    for (size_t i = 0; i < small; ++i) {
      const size_t k = swap ? o.find(order[i], int64_t(i)) : o.find(int64_t(i), order[i]);
      const float s = k < o.cells.size() ? o.score(k, Criterion::iou) : 0;
      total += double(s);
      if (s >= float(thresh)) ++matches, accepted += double(s);
    }
    const double value = double(matches) + total / double(2 * small);
    if (value > best_value + 1e-6) best_value = value, most = {matches, accepted};
  } while (std::next_permutation(order.begin(), order.end()));
  return most;
}

}  // namespace

TEST_CASE("instances: scores as in the Python package, one volume and a data set") {
  const auto truth = test::volume_of<uint16_t>(test::geometry_golden("instances_truth"));
  const auto predicted = test::volume_of<int32_t>(test::geometry_golden("instances_predicted"));
  const Volume<uint16_t> empty(truth.extent);
  for (const Criterion criterion : {Criterion::iou, Criterion::iot, Criterion::iop}) {
    INFO(name(criterion));
    const test::Npy golden = test::geometry_golden(std::string("instances_") + name(criterion));
    for (size_t t = 0; t < 4; ++t) check_row(match_instances(truth, predicted, thresholds[t], criterion).scores, golden.values, t);
  }
  for (const bool by_image : {false, true}) {
    const test::Npy golden = test::geometry_golden(by_image ? "instances_dataset_1" : "instances_dataset_0");
    for (size_t t = 0; t < 4; ++t) {
      const double at = thresholds[t];
      check_row(dataset_scores({match_instances(truth, predicted, at).scores, match_instances(truth, empty, at).scores,
                                match_instances(empty, empty, at).scores, match_instances(empty, predicted, at).scores}, by_image),
                golden.values, t);
    }
  }
}

TEST_CASE("instances: the best of all pairings") {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    const auto truth = ellipsoids<uint8_t>({3, 8, 8}, 6, 3, seed), predicted = ellipsoids<uint8_t>({3, 8, 8}, 7, 3, seed + 100);
    for (const double thresh : {0.0, 0.05, 0.2, 0.4}) {
      INFO("seed " << seed << " threshold " << thresh);
      const auto [matches, sum] = best(truth, predicted, thresh);
      const InstanceScores s = match_instances(truth, predicted, thresh).scores;
      CHECK(s.tp == matches);
      CHECK(s.mean_matched_score * double(s.tp) == Approx(sum).margin(1e-5));
    }
  }
}

TEST_CASE("instances: pairs carry the original ids, and those without contact come along") {
  Volume<uint8_t> truth({1, 1, 12});
  Volume<int32_t> predicted({1, 1, 12});
  for (int64_t x = 0; x < 4; ++x) truth.at(0, 0, x) = 200, predicted.at(0, 0, x + 1) = 100000;
  truth.at(0, 0, 10) = 7, predicted.at(0, 0, 8) = 5;
  const InstanceMatching m = match_instances(truth, predicted, 0.6);
  REQUIRE(m.pairs.size() == 2);
  CHECK((m.pairs[0].true_id == 7 && m.pairs[0].pred_id == 5 && m.pairs[0].score == 0 && !m.pairs[0].accepted));
  CHECK((m.pairs[1].true_id == 200 && m.pairs[1].pred_id == 100000 && m.pairs[1].score == 0.6f && m.pairs[1].accepted));
  CHECK(m.scores.tp == 1);  // 3 / 5 reaches 0.6 in float32
  CHECK(match_instances(truth, predicted, 0.0).scores.tp == 2);
}

TEST_CASE("instances: perfect, empty, more than 65535 objects") {
  Volume<int32_t> many({50, 50, 60});
  for (size_t i = 0; i < many.voxels.size(); ++i) many.voxels[i] = int32_t(3 * (i / 2) + 1);  // 75000 objects
  const InstanceScores s = match_instances(many, many, 1.0).scores;
  CHECK(s.tp == 75000);
  CHECK(s.accuracy == 1);
  CHECK(s.panoptic_quality == 1);
  const Volume<uint8_t> empty({2, 2, 2});
  const InstanceScores none = match_instances(empty, empty).scores;
  CHECK(none.accuracy == 0);
  CHECK(none.panoptic_quality == 0);
  CHECK(none.n_true + none.n_pred + none.tp + none.fp + none.fn == 0);
}

TEST_CASE("instances: frames keep the ids of matching objects") {
  const test::Npy golden = test::geometry_golden("instances_grouped");
  const auto all = test::volume_of<int32_t>(golden);
  const auto truth = test::volume_of<uint16_t>(test::geometry_golden("instances_truth"));
  const auto predicted = test::volume_of<uint16_t>(test::geometry_golden("instances_predicted"));
  auto moved = truth;
  for (int64_t row = 0; row < 10 * 24; ++row)
    for (int64_t x = 0; x < 25; ++x) moved.voxels[size_t(row * 25 + (x + 2) % 25)] = truth.voxels[size_t(row * 25 + x)];
  const auto grouped = group_matching_labels<uint16_t>({truth, predicted, moved});
  REQUIRE(grouped.size() == 3);
  for (size_t f = 0; f < 3; ++f)
    CHECK(std::equal(grouped[f].voxels.begin(), grouped[f].voxels.end(), all.voxels.begin() + std::ptrdiff_t(f * truth.voxels.size())));
}

TEST_CASE("relabel: objects in order of their ids; background and negative ids stay") {
  Volume<int32_t> labels({1, 2, 4});
  labels.voxels = {0, 900000, 5, 5, -1, 17, 0, 900000};
  const auto r = data::relabel_sequential(labels);
  CHECK(r.labels.voxels == std::vector<int32_t>{0, 3, 1, 1, -1, 2, 0, 3});
  CHECK(r.ids == std::vector<int32_t>{5, 17, 900000});
  CHECK(data::relabel_sequential(labels, 10).labels.voxels[1] == 12);
  CHECK(data::relabel_sequential(Volume<uint8_t>({2, 2, 2})).ids.empty());
  CHECK(message<UsageError>([&] { (void)data::relabel_sequential(labels, 0); }) == "relabel: the first number is 0 (expected 1 or more)");
  CHECK(message<ShapeError>([&] { (void)data::relabel_sequential(labels, 0x7ffffffe); }) ==
        "relabel: 3 objects from 2147483646 on do not fit into 32-bit labels");
}

TEST_CASE("instances: bad arguments are named") {
  const Volume<int16_t> a({2, 2, 2}, 1), b({2, 2, 3}, 1), negative({2, 2, 2}, -4);
  CHECK(message<ShapeError>([&] { (void)match_instances(a, b); }) ==
        "instances: the true labels are 2x2x2, the predicted ones 2x2x3 voxels");
  CHECK(message<UsageError>([&] { (void)match_instances(a, negative); }) ==
        "instances: the predicted labels hold -4 (expected 0 or more)");
  CHECK(message<UsageError>([&] { (void)match_instances(a, a, 1.5); }) == "instances: threshold 1.5 (expected 0 to 1)");
  CHECK(message<UsageError>([&] { (void)criterion_named("dice"); }) == "instances: unknown criterion 'dice' (expected iou, iot or iop)");
  CHECK(criterion_named("iop") == Criterion::iop);
  CHECK(message<UsageError>([&] { (void)dataset_scores({}); }) == "instances: scores of no volumes at all");
  CHECK(message<UsageError>([&] {
          (void)dataset_scores({match_instances(a, a, 0.5).scores, match_instances(a, a, 0.25).scores});
        }) == "instances: volumes are scored by iou at 0.5 and by iou at 0.25");
  CHECK(message<UsageError>([&] { (void)group_matching_labels<int16_t>({a}); }) == "group labels: 1 frames (expected at least 2)");
  CHECK(message<UsageError>([&] { (void)group_matching_labels<int16_t>({negative, a}); }).find("hold -4") != std::string::npos);
  const Volume<uint32_t> large({1, 1, 2}, 3000000000u);
  CHECK(match_instances(large, large).pairs[0].true_id == 3000000000);
  CHECK(message<UsageError>([&] { (void)group_matching_labels<uint32_t>({large, large}); }) ==
        "group labels: id 3000000000 is too large for 32-bit labels. Renumber the objects first.");
}

TEST_CASE("instances: the large golden set") {
  const std::string path = test::shared_golden("matching.h5", "instance scores of seven pairs of volumes");
  if (path.empty()) return;
  const io::H5File file(path);
  // thresh,fp,tp,fn,precision,recall,accuracy,f1,n_true,n_pred,mean_true_score,mean_matched_score,panoptic_quality
  const auto compare = [](const InstanceScores& s, const std::vector<double>& all, size_t row) {
    const double found[] = {s.thresh, double(s.fp), double(s.tp), double(s.fn), s.precision, s.recall, s.accuracy, s.f1,
                            double(s.n_true), double(s.n_pred), s.mean_true_score, s.mean_matched_score, s.panoptic_quality};
    for (size_t c = 0; c < 13; ++c) CHECK(found[c] == Approx(all[row * 13 + c]).margin(1e-6));
  };
  std::vector<std::vector<InstanceScores>> by_threshold(8);
  for (int pair = 0; pair < 7; ++pair) {
    INFO("pair " << pair);
    const std::string group = "/pair_" + std::to_string(pair);
    const auto truth = test::volume_of<int32_t>(file, group + "/y_true"), predicted = test::volume_of<int32_t>(file, group + "/y_pred");
    const auto at = file.read<double>(group + "/thresholds");
    for (const Criterion criterion : {Criterion::iou, Criterion::iot, Criterion::iop})
      for (size_t t = 0; t < at.size(); ++t) {
        const InstanceScores s = match_instances(truth, predicted, at[t], criterion).scores;
        compare(s, file.read<double>(group + "/metrics_" + name(criterion)), t);
        if (criterion == Criterion::iou) by_threshold[t].push_back(s);
      }
    if (!file.is_dataset(group + "/matched_pairs_0.5")) continue;
    const auto pairs = file.read<int64_t>(group + "/matched_pairs_0.5");
    const auto scores = file.read<float>(group + "/matched_scores_0.5");
    std::vector<std::tuple<int64_t, int64_t, float>> expected, found;  // those without contact are paired at will
    for (size_t i = 0; i < scores.size(); ++i)
      if (scores[i] > 0) expected.emplace_back(pairs[2 * i], pairs[2 * i + 1], scores[i]);
    const InstanceMatching m = match_instances(truth, predicted, 0.5);
    CHECK(m.pairs.size() == scores.size());
    for (const MatchedPair& p : m.pairs)
      if (p.score > 0) found.emplace_back(p.true_id, p.pred_id, p.score);
    CHECK(found == expected);
  }
  for (size_t t = 0; t < 8; ++t) {
    compare(dataset_scores(by_threshold[t], false), file.read<double>("/dataset_by_image_0"), t);
    compare(dataset_scores(by_threshold[t], true), file.read<double>("/dataset_by_image_1"), t);
  }
  const auto shape = file.info("/group_matching_labels/input").shape;
  const auto in = file.read<uint16_t>("/group_matching_labels/input"), out = file.read<uint16_t>("/group_matching_labels/output");
  std::vector<Volume<uint16_t>> frames(static_cast<size_t>(shape[0]), Volume<uint16_t>({shape[1], shape[2], shape[3]}));
  for (size_t i = 0; i < in.size(); ++i) frames[i / frames[0].voxels.size()].voxels[i % frames[0].voxels.size()] = in[i];
  const auto grouped = group_matching_labels(frames);
  size_t different = 0;
  for (size_t i = 0; i < out.size(); ++i) different += grouped[i / frames[0].voxels.size()].voxels[i % frames[0].voxels.size()] != out[i];
  CHECK(different == 0);
  const auto field = test::volume_of<int32_t>(file, "/relabel_sequential/input");
  CHECK(data::relabel_sequential(field).labels.voxels == file.read<int32_t>("/relabel_sequential/output"));
  CHECK(data::relabel_sequential(field, 7).labels.voxels == file.read<int32_t>("/relabel_sequential/output_offset7"));
}

// SPDX-License-Identifier: BSD-3-Clause
#include "pu_report.hpp"

#include <sys/stat.h>

#include <algorithm>

#include <fmt/format.h>

#include "tables.hpp"

namespace voxgrad::app {
namespace {

/// What is called positive at `threshold` and above: the last point of the curve that is not below it.
pu::PuMeasures measures_at(const std::vector<pu::PuMeasures>& curve, double threshold, double prior) {
  pu::PuMeasures found = pu::pu_measures(threshold, 0, 0, prior);
  for (const pu::PuMeasures& m : curve)
    if (m.threshold >= threshold) found = m;
  found.threshold = threshold;
  return found;
}

PuRow row(const std::string& criterion, const pu::PuMeasures& at, const MovieScores& scores, const PuReport& report) {
  const auto events = scores.events().counts(at.threshold);
  auto blocks = scores.blocks().counts(at.threshold);
  const std::vector<pu::UnitCount> one{{0, 1}};
  PuRow r{criterion, at, {}, {}, 0, 0};
  r.recall = pu::bootstrap(events, one, [](const pu::UnitCount& p, const pu::UnitCount&) { return p.above / p.total; });
  // Everything is labelled and unlabeled voxels: the labelled ones add what they are, whatever block they lie in.
  pu::UnitCount labelled;
  for (const pu::UnitCount& e : events) labelled.above += e.above, labelled.total += e.total;
  r.rate = pu::bootstrap(one, blocks, [&](const pu::UnitCount&, const pu::UnitCount& u) {
    return (u.above + labelled.above) / (u.total + labelled.total);
  });
  r.precision_low = pu::pu_measures(at.threshold, at.recall, at.rate, report.low).precision;
  r.precision_high = pu::pu_measures(at.threshold, at.recall, at.rate, report.high).precision;
  return r;
}

void find_signs(PuReport& r, const pu::ScoreTable& table) {
  const auto warn = [&](std::string s) { r.warnings.push_back(std::move(s)); };
  if (r.deviation < 1e-3) warn("the scores are the same everywhere: these numbers mean nothing.");
  if (r.rate_at_half < r.prior / 2 || r.rate_at_half > r.prior * 2)
    warn(fmt::format("{:.4g} of all voxels score 1/2 and above, which is not within a factor of two of the prior {:.4g}: scores are no probabilities "
                     "for it (a threshold of 1/2 is wrong).",
                     r.rate_at_half, r.prior));
  for (const PuRow& row : r.rows) {
    if (row.at.recall == 0) warn("at the threshold of " + row.criterion + " no labelled voxel is found.");
    if (row.at.precision_raw > 1.1)  // a little more is chance
      warn(fmt::format("at the threshold of {} the precision would be {:.3g}: the prior {:.4g} is too high for these scores, or labelled voxels "
                       "score too well.",
                       row.criterion, row.at.precision_raw, r.prior));
  }
  if (table.alpha() > r.prior * 0.999 && !r.estimated) warn("the prior is the labelled share: every positive voxel would be labelled.");
}

}  // namespace

const PuRow* PuReport::find(const std::string& criterion) const {
  for (const PuRow& r : rows)
    if (r.criterion == criterion) return &r;
  return nullptr;
}

PuReport pu_report(const MovieScores& scores, std::optional<double> prior, const std::vector<std::pair<std::string, double>>& own) {
  const pu::ScoreTable table = scores.all().table();
  pu::check_scores("measures without negatives", table);
  PuReport r{};
  r.estimated = !prior;
  if (prior) {
    pu::check_open("measures without negatives", "prior", *prior);
    check<UsageError>(*prior >= table.alpha(), "the prior is ", *prior, ", but ", fmt::format("{:.6g}", table.alpha()),
                      " of the voxels are labelled positive: it is at least that.");
    r.prior = *prior;
    r.low = std::max(table.alpha(), *prior / 2);
    r.high = std::min(1 - 1e-9, *prior * 2);
  } else {
    const MoviePrior e = estimate_prior(scores);
    const auto open = [](double v) { return std::clamp(v, 1e-9, 1 - 1e-9); };
    r.prior = open(e.prior), r.low = open(e.low), r.high = open(e.high);
  }
  const std::vector<pu::PuMeasures> curve = pu::pu_curve(table, r.prior, pu::Scenario::single_set);
  for (const auto& [name, threshold] : own) r.rows.push_back(row(name, measures_at(curve, threshold, r.prior), scores, r));
  r.rows.push_back(row("pu_f1", pu::max_f1(curve), scores, r));
  r.rows.push_back(row("lee_liu", pu::max_lee_liu(curve), scores, r));
  if (const auto q = pu::quantile_threshold(curve, r.prior)) r.rows.push_back(row("quantile", *q, scores, r));
  r.ranking = pu::pu_ranking(table, r.prior, pu::Scenario::single_set);
  r.rate_at_half = measures_at(curve, 0.5, r.prior).rate;
  r.deviation = scores.all().deviation();
  r.events = double(scores.events().size());
  r.voxels_per_event = table.positive / r.events;
  r.true_events = r.prior * (table.positive + table.unlabeled) / r.voxels_per_event;
  find_signs(r, table);
  return r;
}

std::vector<std::string> training_signs(const std::string& model_folder) {
  const std::string path = model_folder + "/risk.csv";
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return {};
  const CsvTable t = CsvTable::read(path);
  const size_t first = t.rows() > 1000 ? t.rows() - 1000 : 0;
  double corrected = 0, sum = 0;
  bool has_r = true;
  for (size_t i = first; i < t.rows(); ++i) {
    corrected += t.number(i, "corrected");
    has_r = has_r && t.has("r");
    if (has_r) sum += t.number(i, "r");
  }
  const double n = double(t.rows() - first);
  if (n == 0) return {};
  std::vector<std::string> lines{fmt::format("training: {:.1f} % of the last {} steps were corrected{}", 100 * corrected / n, t.rows() - first,
                                             has_r ? fmt::format(", mean r {:.4g}", sum / n) : "")};
  if (corrected / n > 0.5) lines.push_back("more than half: the network has learnt the labelled voxels by heart, or the prior is too high.");
  return lines;
}

void print_report(const PuReport& r, Session& session) {
  session.print(fmt::format("without negatives: prior {:.6g} ({}, {:.4g} to {:.4g}); AUC {:.4f}, average precision {:.4f}", r.prior,
                            r.estimated ? "estimated" : "given", r.low, r.high, r.ranking.auc, r.ranking.average_precision));
  session.print("criterion  threshold  recall  (95 %)            rate       (95 %)                precision  (by prior)        F1      IoU     Lee-Liu  proxy accuracy");
  for (const PuRow& w : r.rows)
    session.print(fmt::format("{:<10} {:<9.6f}  {:.4f}  {:.4f} to {:.4f}  {:.7f}  {:.7f} to {:.7f}  {:.4f}     {:.4f} to {:.4f}  {:.4f}  {:.4f}  {:<7.4g}  {:.4f}",
                              w.criterion, w.at.threshold, w.at.recall, w.recall.low, w.recall.high, w.at.rate, w.rate.low, w.rate.high,
                              w.at.precision, w.precision_low, w.precision_high, w.at.f1, w.at.iou, w.at.lee_liu, w.at.proxy_accuracy));
  if (!r.find("quantile")) session.print("quantile   none: even the highest score is that of more voxels than the prior says");
  session.print(fmt::format("checks: rate at 1/2 {:.4g} (prior {:.4g}), spread of logits {:.3g}, {} labelled events of {:.0f} voxels, {:.0f} true ones expected",
                            r.rate_at_half, r.prior, r.deviation, r.events, r.voxels_per_event, r.true_events));
  for (const std::string& w : r.warnings) session.warn(w);
}

std::string report_csv(const PuReport& r) {
  std::string out = "criterion,threshold,recall,recall-low,recall-high,rate,rate-low,rate-high,precision,precision-raw,precision-low,precision-high,"
                    "f1,iou,lee-liu,fpr,zero-one,proxy-accuracy,prior\n";
  for (const PuRow& w : r.rows) {
    std::vector<std::string> cells{w.criterion};
    for (double v : {w.at.threshold, w.at.recall, w.recall.low, w.recall.high, w.at.rate, w.rate.low, w.rate.high, w.at.precision,
                     w.at.precision_raw, w.precision_low, w.precision_high, w.at.f1, w.at.iou, w.at.lee_liu, w.at.fpr, w.at.zero_one,
                     w.at.proxy_accuracy, r.prior})
      cells.push_back(csv_number(v));
    out += csv_line(cells);
  }
  return out;
}

Fields report_fields(const PuReport& r) {
  Fields f{{"prior", r.prior}, {"prior-low", r.low}, {"prior-high", r.high}, {"prior-estimated", r.estimated}, {"auc", r.ranking.auc},
           {"auc-pu", r.ranking.auc_pu}, {"average-precision", r.ranking.average_precision}, {"rate-at-half", r.rate_at_half},
           {"logit-deviation", r.deviation}, {"true-events", r.true_events}};
  for (const PuRow& w : r.rows) {
    f.emplace_back(w.criterion + "-threshold", w.at.threshold);
    f.emplace_back(w.criterion + "-recall", w.at.recall);
    f.emplace_back(w.criterion + "-precision", w.at.precision);
    f.emplace_back(w.criterion + "-f1", w.at.f1);
  }
  return f;
}

}  // namespace voxgrad::app

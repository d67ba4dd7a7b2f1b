// SPDX-License-Identifier: BSD-3-Clause
#include "evaluation_tables.hpp"

#include <fmt/format.h>

namespace voxgrad::app {
namespace {

/// A row of metrics.csv and an object of metrics.json: the same names, undefined values absent.
Fields detection_fields(const metrics::DetectionScores& s) {
  return {{"truth", s.tp + s.fn},
          {"predicted", s.tp + s.fp},
          {"tp", s.tp},
          {"fp", s.fp},
          {"fn", s.fn},
          {"det-precision", s.precision()},
          {"det-recall", s.recall()},
          {"det-f1-score", s.f1()},
          {"det-accuracy", s.accuracy()},
          {"det-jaccard", s.jaccard()},
          {"det-average-precision", s.average_precision()}};
}
Fields segmentation_fields(const metrics::SegmentationScores& s) {
  return {{"seg-dice", s.dice()},
          {"seg-iou", s.iou()},
          {"seg-precision", s.precision()},
          {"seg-recall", s.recall()},
          {"seg-accuracy", s.accuracy()}};
}
Fields& append(Fields& fields, const Fields& more) {
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}
Fields movie_fields(const MovieEvaluation& m) {
  Fields f = {{"predicted-from", m.predicted_from}, {"truth-from", m.truth_from}};
  if (m.matching)
    append(f, detection_fields(m.matching->scores)).emplace_back("mean-distance", m.mean_distance());
  if (m.segmentation) append(f, segmentation_fields(*m.segmentation));
  return f;
}

const std::vector<std::string> columns = {"predicted-from",
                                          "truth-from",
                                          "det-precision",
                                          "det-recall",
                                          "det-f1-score",
                                          "truth",
                                          "predicted",
                                          "tp",
                                          "fp",
                                          "fn",
                                          "det-accuracy",
                                          "det-jaccard",
                                          "det-average-precision",
                                          "mean-distance",
                                          "seg-dice",
                                          "seg-iou",
                                          "seg-precision",
                                          "seg-recall",
                                          "seg-accuracy"};

std::string table_row(const std::string& name, const Fields& fields) {
  std::vector<std::string> cells = {csv_text(name)};
  for (const std::string& column : columns) {
    std::string cell;
    for (const auto& [key, value] : fields)
      if (key == column) cell = value.text();
    if (cell == "null") cell.clear();
    if (cell.size() >= 2 && cell.front() == '"')
      cell = cell.substr(1, cell.size() - 2);  // our own words, nothing to escape
    cells.push_back(cell);
  }
  return csv_line(cells);
}

}  // namespace

void EvaluationTotals::add(const MovieEvaluation& m) {
  if (m.matching) {
    const metrics::DetectionScores& s = m.matching->scores;
    detection.add(s);
    ++scored;
    precision += s.precision(), recall += s.recall(), f1 += s.f1();
  }
  if (m.segmentation) {
    segmentation.add(*m.segmentation);
    ++segmented;
    dice += m.segmentation->dice(), iou += m.segmentation->iou();
  }
}

Fields EvaluationTotals::total() const {
  Fields f;
  if (scored > 0) append(f, detection_fields(detection));
  if (segmented > 0) append(f, segmentation_fields(segmentation));
  return f;
}

Fields EvaluationTotals::mean() const {
  Fields f;
  const double n = double(scored), s = double(segmented);
  if (scored > 0) append(f, {{"det-precision", precision / n}, {"det-recall", recall / n}, {"det-f1-score", f1 / n}});
  if (segmented > 0) append(f, {{"seg-dice", dice / s}, {"seg-iou", iou / s}});
  return f;
}

std::string metrics_csv(const std::vector<MovieEvaluation>& movies, const EvaluationTotals& totals) {
  std::vector<std::string> header = {"movie"};
  header.insert(header.end(), columns.begin(), columns.end());
  std::string content = csv_line(header);
  for (const MovieEvaluation& m : movies) content += table_row(m.name, movie_fields(m));
  return content + table_row("mean", totals.mean()) + table_row("total", totals.total());
}

std::string metrics_json(const std::vector<MovieEvaluation>& movies, const EvaluationTotals& totals, const Fields& settings) {
  std::vector<JsonValue> rows;
  for (const MovieEvaluation& m : movies) {
    Fields f = {{"movie", m.name}};
    rows.push_back(append(f, movie_fields(m)));
  }
  return json_object({{"settings", settings},
                      {"movies", rows},
                      {"mean", totals.mean()},
                      {"total", totals.total()}}) +
         "\n";
}

std::string matches_csv(const std::vector<MovieEvaluation>& movies) {
  std::string content = "movie,kind,label,t,y,x,truth-t,truth-y,truth-x,distance\n";
  const auto row = [&](const std::string& name, const char* kind, const std::string& label,
                       const metrics::Point* predicted, const metrics::Point* truth) {
    std::vector<std::string> cells = {csv_text(name), kind, label};
    for (const metrics::Point* p : {predicted, truth})
      for (size_t a = 0; a < 3; ++a) cells.push_back(p ? csv_number((*p)[a]) : "");
    cells.push_back(predicted && truth ? csv_number(metrics::distance(*predicted, *truth)) : "");
    content += csv_line(cells);
  };
  for (const MovieEvaluation& m : movies) {
    if (!m.matching) continue;
    const auto label = [&](int64_t j) { return std::to_string(m.labels[size_t(j)]); };
    for (const auto& [i, j] : m.matching->pairs)
      row(m.name, "hit", label(j), &m.predicted[size_t(j)], &m.truth[size_t(i)]);
    for (const int64_t i : m.matching->false_negatives)
      row(m.name, "missed", "", nullptr, &m.truth[size_t(i)]);
    for (const int64_t j : m.matching->false_positives)
      row(m.name, "false alarm", label(j), &m.predicted[size_t(j)], nullptr);
  }
  return content;
}

void print_table(Session& session, const std::vector<MovieEvaluation>& movies, const EvaluationTotals& totals) {
  size_t width = 5;
  for (const MovieEvaluation& m : movies) width = std::max(width, m.name.size());
  session.print(
      fmt::format("{:<{}}  truth  pred.     TP     FP     FN  precision  recall      F1    Dice     IoU",
                  "movie", width));
  const auto line = [&](const std::string& name, const metrics::DetectionScores* d,
                        const metrics::SegmentationScores* s) {
    std::string row = fmt::format("{:<{}}", name, width);
    row += d ? fmt::format("  {:>5}  {:>5}  {:>5}  {:>5}  {:>5}     {:.4f}  {:.4f}  {:.4f}", d->tp + d->fn,
                           d->tp + d->fp, d->tp, d->fp, d->fn, d->precision(), d->recall(), d->f1())
             : fmt::format("{:>62}", "(no expert file, no true mask)");
    if (s) row += fmt::format("  {:.4f}  {:.4f}", s->dice(), s->iou());
    session.print(row);
  };
  for (const MovieEvaluation& m : movies)
    line(m.name, m.matching ? &m.matching->scores : nullptr, m.segmentation ? &*m.segmentation : nullptr);
  if (movies.size() > 1)
    line("total", totals.scored > 0 ? &totals.detection : nullptr,
         totals.segmented > 0 ? &totals.segmentation : nullptr);
}

}  // namespace voxgrad::app

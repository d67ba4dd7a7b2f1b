// SPDX-License-Identifier: BSD-3-Clause
#include "report.hpp"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "files.hpp"
#include "options.hpp"
#include "report_page.hpp"
#include "tables.hpp"
#include "voxgrad/version.hpp"

namespace voxgrad::app {

bool has_file(const std::string& path) {
  std::error_code none;
  return std::filesystem::is_regular_file(path, none);
}

std::string software_text(bool stardist) {
  return fmt::format("Computed with voxgrad {}. Method: Quantitative Analysis of Miniature Synaptic Calcium Transients Using Positive Unlabeled Deep Learning, "
                     "Digital Discovery (2025), DOI 10.1039/D4DD00197D{}.",
                     version, stardist ? "; StarDist-3D: Weigert et al., WACV (2020), DOI 10.1109/WACV45572.2020.9093435" : "");
}

NumberTable::NumberTable(const std::string& path) {
  if (!has_file(path)) return;
  const CsvTable table = CsvTable::read(path);
  header_ = table.header();
  rows_ = table.rows();
  for (const std::string& name : header_) {
    std::vector<double>& column = columns_.emplace_back(rows_, metrics::undefined);
    for (std::size_t r = 0; r < rows_; ++r) {
      column[r] = parse_real(table.cell(r, name)).value_or(metrics::undefined);
    }
  }
}

bool NumberTable::has(const std::string& column) const { return std::count(header_.begin(), header_.end(), column) > 0; }

std::vector<double> NumberTable::operator[](const std::string& column) const {
  const auto at = std::find(header_.begin(), header_.end(), column);
  return at == header_.end() ? std::vector<double>{} : columns_[std::size_t(at - header_.begin())];
}

chart::Series thinned(const std::string& name, const std::vector<double>& x, const std::vector<double>& y, std::size_t points) {
  chart::Series s{name, {}, {}};
  const std::size_t group = std::max<std::size_t>(1, (y.size() + points - 1) / points);
  for (std::size_t i = 0; i < y.size(); i += group) {
    double sum_x = 0, sum_y = 0, n = 0;
    for (std::size_t k = i; k < std::min(i + group, y.size()); ++k)
      if (std::isfinite(y[k])) sum_x += x[k], sum_y += y[k], n += 1;
    if (n > 0) s.x.push_back(sum_x / n), s.y.push_back(sum_y / n);
  }
  return s;
}

chart::Series histogram(const std::string& name, std::vector<double> values) {
  std::erase_if(values, [](double v) { return !std::isfinite(v); });
  chart::Series s{name, {}, {}, chart::Mark::bars};
  if (values.empty()) return s;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double step = *high > *low ? chart::tick_step((*high - *low) / 5) : 1;
  const double first = std::floor(*low / step) * step;
  const std::size_t bins = std::size_t((*high - first) / step) + 1;
  for (std::size_t b = 0; b <= bins; ++b) s.x.push_back(first + double(b) * step);
  s.y.assign(bins, 0);
  for (const double v : values) s.y[std::min(bins - 1, std::size_t((v - first) / step))] += 1;
  return s;
}

std::string short_number(double value) { return std::isfinite(value) ? fmt::format("{:.4g}", value) : ""; }

std::vector<chart::Panel> loss_panels(const std::string& folder) {
  const NumberTable train(folder + "/train.csv"), valid(folder + "/valid.csv");
  std::vector<chart::Series> lines{thinned("training", train["step"], train["loss"])};
  chart::Series held_out = thinned("validation", valid["step"], valid["loss"], valid.rows() + 1);
  if (valid.has("std-loss")) {
    const std::vector<double> mean = valid["loss"], deviation = valid["std-loss"];
    if (held_out.y.size() == mean.size())
      for (std::size_t i = 0; i < mean.size(); ++i) {
        held_out.low.push_back(mean[i] - deviation[i]);
        held_out.high.push_back(mean[i] + deviation[i]);
      }
  }
  double best = NAN;
  if (const auto at = std::min_element(held_out.y.begin(), held_out.y.end()); at != held_out.y.end())
    best = held_out.x[std::size_t(at - held_out.y.begin())];
  lines.push_back(std::move(held_out));
  std::vector<chart::Panel> panels;
  for (const bool log : {false, true}) {
    chart::Panel p{log ? "loss, logarithmic" : "loss", "step", lines};
    p.log_y = log;
    p.marked_x = best;
    p.marked = "best";
    if (chart::drawable(p)) panels.push_back(std::move(p));
  }
  return panels;
}

void write_progress(const std::string& folder) {
  const std::vector<chart::Panel> panels = loss_panels(folder);
  if (!panels.empty()) write_file(folder + "/progress.svg", chart::svg(panels));
}

ReportKind report_kind(const std::string& folder) {
  std::error_code none;
  check<FileError>(std::filesystem::is_directory(folder, none), folder, ": is no folder. A report is made of a model, result or evaluation folder.");
  if (has_file(folder + "/metrics.json") && has_file(folder + "/metrics.csv")) return ReportKind::evaluation;
  if (has_file(folder + "/summary.csv")) return ReportKind::results;
  if (has_file(folder + "/config.yaml") || has_file(folder + "/config.json")) return ReportKind::model;
  throw FileError(folder + ": holds nothing that a report is made of. Expected config.yaml or config.json (a model folder), summary.csv (results of " +
                  "predict) or metrics.json (of evaluate).");
}

std::string report_html(const std::string& folder) {
  switch (report_kind(folder)) {
    case ReportKind::model: return model_report(folder).html();
    case ReportKind::results: return results_report(folder).html();
    case ReportKind::evaluation: return evaluation_report(folder).html();
  }
  return "";
}

std::string write_report(const std::string& folder) {
  const std::string path = folder + "/report.html";
  write_file(path, report_html(folder));
  return path;
}

}  // namespace voxgrad::app

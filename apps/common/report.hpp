// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Reports of what a folder holds: how a model was trained, what was predicted, how it was judged. Everything is read from the files of
// the folder, so a report can be written again at any time and an interrupted run has one too.

#include <string>
#include <vector>

#include "chart.hpp"

namespace voxgrad::app {

enum class ReportKind { model, results, evaluation };

/// What the folder holds. FileError: nothing that a report is made of; says what was looked for.
ReportKind report_kind(const std::string& folder);

/// The HTML page.
std::string report_html(const std::string& folder);
/// Writes it as report.html into the folder; returns its path.
std::string write_report(const std::string& folder);

/// Loss curves of a model folder, linear and logarithmic: training thinned to means, validation with its band, the best step marked.
std::vector<chart::Panel> loss_panels(const std::string& folder);
/// Writes them as progress.svg; nothing while there is nothing to draw.
void write_progress(const std::string& folder);

// One kind each; files report_<kind>.cpp.
class ReportPage;
ReportPage model_report(const std::string& folder);
ReportPage results_report(const std::string& folder);
ReportPage evaluation_report(const std::string& folder);

bool has_file(const std::string& path);
/// What to cite, in a sentence or two.
std::string software_text(bool stardist);

/// Columns of a CSV file as numbers, NaN where a cell is none; no rows when the file is absent. FileError as CsvTable.
class NumberTable {
 public:
  explicit NumberTable(const std::string& path);
  bool has(const std::string& column) const;
  std::vector<double> operator[](const std::string& column) const;  ///< empty if absent
  std::size_t rows() const { return rows_; }
  const std::vector<std::string>& header() const { return header_; }

 private:
  std::size_t rows_ = 0;
  std::vector<std::string> header_;
  std::vector<std::vector<double>> columns_;
};

/// A line of at most `points` values: means of neighbours at the means of their x.
chart::Series thinned(const std::string& name, const std::vector<double>& x, const std::vector<double>& y, std::size_t points = 400);
/// Counts of the finite values in about 30 bins of round width.
chart::Series histogram(const std::string& name, std::vector<double> values);
/// A number for people: about four digits.
std::string short_number(double value);

}  // namespace voxgrad::app

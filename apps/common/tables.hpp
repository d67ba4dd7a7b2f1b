// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Tables as comma-separated text: reading what experts and ImageJ write, writing events (docs/metrics.md).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "voxgrad/data/volume.hpp"
#include "voxgrad/metrics/regions.hpp"

namespace voxgrad::app {

/// A table with named columns; cells are text. The separator (comma, tab or semicolon) is seen from the
/// header.
class CsvTable {
 public:
  /// Quoted fields, doubled quotes, line breaks inside quotes, CR LF, a byte order mark and empty lines are
  /// understood. FileError naming the line for unbalanced quotes and rows with more cells than the header;
  /// shorter rows get empty cells.
  static CsvTable parse(const std::string& path, std::string_view content);
  static CsvTable read(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<std::string>& header() const { return header_; }
  std::size_t rows() const { return rows_.size(); }
  bool has(const std::string& column) const;
  /// The cell as text. FileError if there is no such column.
  const std::string& cell(std::size_t row, const std::string& column) const;
  /// The cell as a finite number, decimal point whatever the locale. FileError: "FILE:LINE: column 'X' is
  /// 'abc' (expected a number)".
  double number(std::size_t row, const std::string& column) const;
  /// The same, nothing for an empty cell.
  std::optional<double> maybe_number(std::size_t row, const std::string& column) const;

 private:
  std::size_t column(const std::string& name) const;
  std::string path_;
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> lines_;  // where each row starts in the file
};

/// How the coordinates of an expert file are meant.
struct ExpertOptions {
  bool micron = false;            ///< X and Y are in micrometres, not pixels
  double y_um = 0, x_um = 0;      ///< pixel size, needed with `micron`
  std::int64_t slice_offset = 0;  ///< t = Slice - slice_offset: 0 as published, 1 for ImageJ's count from 1
  data::Extent3 extent{0, 0, 0};  ///< of the movie, to warn about points outside; 0 when unknown
};

/// Event positions (t, y, x) of an expert file, 0-based voxels.
struct ExpertPoints {
  std::vector<metrics::Point> points;
  std::vector<std::string> warnings;  ///< what a user should know, one sentence each
};

/// Reads an ImageJ results table (columns Slice, X and Y by name, others ignored; Frame stands in for a Slice
/// that is absent or always 1), or a table with columns axis-0, axis-1 and axis-2 (napari points,
/// events.csv), which are taken as they are. FileError names what is missing and what was found.
ExpertPoints read_expert(const std::string& path, const ExpertOptions& options = {});

/// A number for a cell: shortest text that reads back exactly, empty if it is not finite.
std::string csv_number(double value);
/// A text for a cell, quoted where it must be.
std::string csv_text(std::string_view value);
/// One line of cells, with its line end.
std::string csv_line(const std::vector<std::string>& cells);

/// The content of an events.csv: one row per region, in the given order. Calibrated columns stay empty where
/// the spacing is unknown; dff_max has one value per region or is empty.
std::string events_csv(const std::vector<metrics::Region>& regions, const data::Spacing& spacing = {},
                       const std::vector<double>& dff_max = {});

/// What evaluation needs of one row of an events.csv.
struct EventRow {
  std::int64_t label = 0;
  metrics::Point point{};  ///< axis-0, axis-1, axis-2
  metrics::Box box;
  double score = metrics::undefined;
};
/// Reads an events.csv. FileError as CsvTable, and for absent columns.
std::vector<EventRow> read_events(const std::string& path);

}  // namespace voxgrad::app

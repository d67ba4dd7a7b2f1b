// SPDX-License-Identifier: BSD-3-Clause
#include "tables.hpp"

#include <algorithm>
#include <cmath>

#include "files.hpp"
#include "json_text.hpp"
#include "options.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {
namespace {

/// Splits CSV text into rows of cells.
class CsvScanner {
 public:
  CsvScanner(const std::string& path, std::string_view content) : path_(path), rest_(content) {
    if (rest_.substr(0, 3) == "\xef\xbb\xbf") rest_.remove_prefix(3);
    separator_ = guess_separator(rest_.substr(0, rest_.find_first_of("\r\n")));
  }
  std::size_t line() const { return row_line_; }

  /// The next row that is not empty; false at the end.
  bool next(std::vector<std::string>& cells) {
    while (!rest_.empty()) {
      row_line_ = line_;
      cells.clear();
      while (cell(cells)) {
      }
      if (cells.size() > 1 || !cells[0].empty()) return true;
    }
    return false;
  }

 private:
  static char guess_separator(std::string_view header) {
    std::size_t count[3] = {0, 0, 0};
    const std::string_view separators = ",\t;";
    bool quoted = false;
    for (const char c : header) {
      if (c == '"') quoted = !quoted;
      const std::size_t k = separators.find(c);
      if (!quoted && k != std::string_view::npos) ++count[k];
    }
    return separators[std::size_t(std::max_element(count, count + 3) - count)];
  }

  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c == '\n' || (c == '\r' && (rest_.empty() || rest_.front() != '\n'))) ++line_;
    return c;
  }

  // One cell; false if it was the last of its row.
  bool cell(std::vector<std::string>& cells) {
    std::string& text = cells.emplace_back();
    if (!rest_.empty() && rest_.front() == '"') quoted(text);
    while (!rest_.empty()) {
      const char c = take();
      if (c == separator_) return true;
      if (c == '\r' && !rest_.empty() && rest_.front() == '\n') take();
      if (c == '\r' || c == '\n') return false;
      text += c;
    }
    return false;
  }

  void quoted(std::string& text) {
    take();
    for (;;) {
      check<FileError>(!rest_.empty(), path_, ":", row_line_, ": a quoted field does not end");
      const char c = take();
      if (c == '"' && (rest_.empty() || rest_.front() != '"')) return;
      if (c == '"') take();
      text += c;
    }
  }

  const std::string& path_;
  std::string_view rest_;
  char separator_ = ',';
  std::size_t line_ = 1, row_line_ = 1;
};

std::string trimmed(const std::string& s) {
  const std::size_t a = s.find_first_not_of(" \t"), b = s.find_last_not_of(" \t");
  return a == std::string::npos ? "" : s.substr(a, b - a + 1);
}

std::string joined(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& n : names)
    if (!n.empty()) all += (all.empty() ? "" : ", ") + n;
  return all.empty() ? "nothing" : all;
}

const std::vector<std::string>& event_columns() {
  static const std::vector<std::string> names = {"index",
                                                 "axis-0",
                                                 "axis-1",
                                                 "axis-2",
                                                 "Slice",
                                                 "X",
                                                 "Y",
                                                 "label",
                                                 "score",
                                                 "t_start",
                                                 "t_end",
                                                 "y_min",
                                                 "y_max",
                                                 "x_min",
                                                 "x_max",
                                                 "area",
                                                 "intensity_mean",
                                                 "intensity_max",
                                                 "duration",
                                                 "major",
                                                 "minor",
                                                 "aspect",
                                                 "spatial-aspect",
                                                 "solidity",
                                                 "integrated_profile_intensity",
                                                 "max_profile_intensity",
                                                 "std_profile_intensity",
                                                 "nn-1",
                                                 "spatial-nn-1",
                                                 "frequency",
                                                 "duration_s",
                                                 "area_um2",
                                                 "dff_max"};
  return names;
}

/// The column with the frame number, which ImageJ calls Slice for stacks and Frame for hyperstacks.
std::string frame_column(const CsvTable& table, std::vector<std::string>& warnings) {
  if (!table.has("Frame")) return "Slice";
  if (!table.has("Slice")) return "Frame";
  bool slice_varies = false, frame_varies = false;
  for (std::size_t r = 0; r < table.rows(); ++r) {
    slice_varies = slice_varies || table.number(r, "Slice") != 1;
    frame_varies = frame_varies || table.number(r, "Frame") != 1;
  }
  if (slice_varies || !frame_varies) return "Slice";
  warnings.push_back(text(table.path(), ": all of Slice is 1, so Frame is taken as the frame number"));
  return "Frame";
}

void warn_outside(const std::string& path, const ExpertOptions& o, ExpertPoints& e) {
  if (o.extent[0] == 0) return;
  const auto outside = std::count_if(e.points.begin(), e.points.end(), [&](const metrics::Point& p) {
    for (std::size_t a = 0; a < 3; ++a)
      if (p[a] < -0.5 || p[a] > double(o.extent[a])) return true;  // ImageJ's last edge is the extent itself
    return false;
  });
  if (outside == 0) return;
  e.warnings.push_back(text(path, ": ", outside, " of ", e.points.size(), " points lie outside the movie (",
                            o.extent[0], "x", o.extent[1], "x", o.extent[2], "). Check --expert-unit (now ",
                            o.micron ? "micron" : "pixel",
                            "), --slice-offset and that the file belongs to this movie."));
}

}  // namespace

CsvTable CsvTable::parse(const std::string& path, std::string_view content) {
  CsvTable table;
  table.path_ = path;
  CsvScanner scanner(path, content);
  check<FileError>(scanner.next(table.header_), path,
                   ": is empty (expected a header line with column names)");
  for (std::string& name : table.header_) name = trimmed(name);
  std::vector<std::string> cells;
  while (scanner.next(cells)) {
    check<FileError>(cells.size() <= table.header_.size(), path, ":", scanner.line(), ": has ", cells.size(),
                     " cells, but the header has ", table.header_.size());
    cells.resize(table.header_.size());
    table.rows_.push_back(cells);
    table.lines_.push_back(scanner.line());
  }
  return table;
}

CsvTable CsvTable::read(const std::string& path) {
  const std::string content = read_file(path);
  check<FileError>(content.find('\0') == std::string::npos, path,
                   ": is not a text file (expected a table in CSV)");
  return parse(path, content);
}

bool CsvTable::has(const std::string& name) const {
  return std::find(header_.begin(), header_.end(), name) != header_.end();
}

std::size_t CsvTable::column(const std::string& name) const {
  const auto at = std::find(header_.begin(), header_.end(), name);
  check<FileError>(at != header_.end(), path_, ": no column '", name, "'. Found: ", joined(header_));
  return std::size_t(at - header_.begin());
}

const std::string& CsvTable::cell(std::size_t row, const std::string& name) const {
  return rows_.at(row)[column(name)];
}

double CsvTable::number(std::size_t row, const std::string& name) const {
  const std::string& value = cell(row, name);
  const auto n = parse_real(trimmed(value));
  check<FileError>(n && std::isfinite(*n), path_, ":", lines_[row], ": column '", name, "' is '", value,
                   "' (expected a number)");
  return *n;
}

std::optional<double> CsvTable::maybe_number(std::size_t row, const std::string& name) const {
  if (trimmed(cell(row, name)).empty()) return std::nullopt;
  return number(row, name);
}

ExpertPoints read_expert(const std::string& path, const ExpertOptions& options) {
  const CsvTable table = CsvTable::read(path);
  ExpertPoints e;
  if (table.has("axis-0") && table.has("axis-1") && table.has("axis-2")) {
    for (std::size_t r = 0; r < table.rows(); ++r)
      e.points.push_back({table.number(r, "axis-0"), table.number(r, "axis-1"), table.number(r, "axis-2")});
    warn_outside(path, options, e);
    return e;
  }
  std::vector<std::string> missing;
  if (!table.has("Slice") && !table.has("Frame")) missing.push_back("Slice");
  for (const char* name : {"X", "Y"})
    if (!table.has(name)) missing.push_back(name);
  check<FileError>(missing.empty(), path, ": no column ", joined(missing),
                   ". Found: ", joined(table.header()),
                   ". Expected an ImageJ results table with Slice, X and Y (Analyze > Set Measurements: "
                   "centroid, stack position).");
  check<UsageError>(
      !options.micron || (options.y_um > 0 && options.x_um > 0), path,
      ": --expert-unit micron needs the pixel size, which the movie does not state. Give --pixel-size.");
  const std::string frame = frame_column(table, e.warnings);
  const double y_unit = options.micron ? options.y_um : 1, x_unit = options.micron ? options.x_um : 1;
  for (std::size_t r = 0; r < table.rows(); ++r)
    e.points.push_back({table.number(r, frame) - double(options.slice_offset), table.number(r, "Y") / y_unit,
                        table.number(r, "X") / x_unit});
  warn_outside(path, options, e);
  return e;
}

std::string csv_number(double value) { return std::isfinite(value) ? number_text(value) : ""; }

std::string csv_text(std::string_view value) {
  if (value.find_first_of(",\"\r\n\t;") == std::string_view::npos) return std::string(value);
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string csv_line(const std::vector<std::string>& cells) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) line += (i ? "," : "") + cells[i];
  return line + "\n";
}

std::string events_csv(const std::vector<metrics::Region>& regions, const data::Spacing& spacing,
                       const std::vector<double>& dff_max) {
  check<Error>(dff_max.empty() || dff_max.size() == regions.size(), "events: ", dff_max.size(),
               " values of dF/F for ", regions.size(), " events");
  std::string content = csv_line(event_columns());
  const double frame_um2 = spacing.y_um * spacing.x_um;
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const metrics::Region& r = regions[i];
    std::vector<std::string> cells = {std::to_string(i)};
    const auto put = [&](double v) { cells.push_back(csv_number(v)); };
    const auto count = [&](std::int64_t v) { cells.push_back(std::to_string(v)); };
    for (const double c : r.weighted_centroid) put(c);
    put(std::nearbyint(r.weighted_centroid[0]) + 1);
    put(r.weighted_centroid[2]);
    put(r.weighted_centroid[1]);
    count(r.label);
    put(r.score);
    for (std::size_t a = 0; a < 3; ++a) count(r.box.begin[a]), count(r.box.end[a]);
    count(r.area);
    put(r.intensity_mean), put(r.intensity_max);
    count(r.duration());
    for (const double v : {r.major, r.minor, r.aspect, r.spatial_aspect, r.solidity, r.integrated_profile,
                           r.max_profile, r.std_profile, r.nn, r.spatial_nn})
      put(v);
    count(r.frequency);
    put(spacing.seconds > 0 ? double(r.duration()) * spacing.seconds : metrics::undefined);
    // An event's area is a volume over time; its mean cross-section is what a square micrometre can measure.
    put(frame_um2 > 0 ? double(r.area) / double(r.duration()) * frame_um2 : metrics::undefined);
    put(dff_max.empty() ? metrics::undefined : dff_max[i]);
    content += csv_line(cells);
  }
  return content;
}

std::vector<EventRow> read_events(const std::string& path) {
  const CsvTable table = CsvTable::read(path);
  std::vector<EventRow> events(table.rows());
  const char* begin[] = {"t_start", "y_min", "x_min"};
  const char* end[] = {"t_end", "y_max", "x_max"};
  const char* axis[] = {"axis-0", "axis-1", "axis-2"};
  for (const char* name :
       {"label", "axis-0", "axis-1", "axis-2", "t_start", "t_end", "y_min", "y_max", "x_min", "x_max"})
    check<FileError>(table.has(name), path, ": no column '", name, "'. Found: ", joined(table.header()),
                     ". Expected an events table as 'voxgrad predict' writes it.");
  for (std::size_t r = 0; r < events.size(); ++r) {
    EventRow& e = events[r];
    e.label = std::int64_t(table.number(r, "label"));
    for (std::size_t a = 0; a < 3; ++a) {
      e.point[a] = table.number(r, axis[a]);
      e.box.begin[a] = std::int64_t(table.number(r, begin[a]));
      e.box.end[a] = std::int64_t(table.number(r, end[a]));
    }
    if (table.has("score")) e.score = table.maybe_number(r, "score").value_or(metrics::undefined);
  }
  return events;
}

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
// Reports of what predict and evaluate wrote: tables, previews, distributions of the events, hits and misses on a map.

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "files.hpp"
#include "options.hpp"
#include "report.hpp"
#include "report_page.hpp"
#include "tables.hpp"

namespace voxgrad::app {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t page_limit = 4500000;  ///< bytes, so that a page with its pictures stays below 5 MB
constexpr std::size_t most_previews = 6;

/// The files below a folder whose names end so, in natural order.
std::vector<std::string> files_ending(const std::string& folder, const std::string& ending) {
  std::vector<std::string> found;
  std::error_code none;
  for (const auto& entry : fs::recursive_directory_iterator(folder, none))
    if (entry.is_regular_file() && has_ending(entry.path().filename().string(), {ending})) found.push_back(entry.path().string());
  std::sort(found.begin(), found.end(), natural_less);
  return found;
}

std::vector<std::vector<std::string>> cells_of(const CsvTable& table, const std::vector<std::string>& columns) {
  std::vector<std::vector<std::string>> rows(table.rows());
  for (std::size_t r = 0; r < table.rows(); ++r)
    for (const std::string& c : columns) {
      const std::string& cell = table.cell(r, c);
      const auto number = cell.find_first_of(".eE") == std::string::npos ? std::nullopt : parse_real(cell);
      rows[r].push_back(number ? short_number(*number) : cell);  // counts stay whole
    }
  return rows;
}

void add_features(ReportPage& page, const std::string& folder) {
  const std::vector<std::pair<std::string, std::string>> features = {
      {"area", "voxels over time and space"}, {"duration", "frames"}, {"duration_s", "duration, s"}, {"intensity_max", "largest intensity, preprocessed movie"},
      {"aspect", "minor / major axis"}, {"solidity", "voxels / voxels of the convex hull"}, {"score", "largest network output"},
      {"dff_max", "largest dF/F"}, {"spatial-nn-1", "distance to the nearest event, pixels"}};
  std::map<std::string, std::vector<double>> values;
  std::size_t events = 0;
  for (const std::string& path : files_ending(folder, "_events.csv")) {
    const NumberTable t(path);
    events += t.rows();
    for (const auto& [name, unit] : features) {
      const std::vector<double> column = t[name];
      values[name].insert(values[name].end(), column.begin(), column.end());
    }
  }
  if (events == 0) return;
  page.section("Events");
  std::vector<chart::Panel> row;
  for (const auto& [name, unit] : features) {
    chart::Panel p{name, unit, {histogram("", values[name])}, "events"};
    if (chart::drawable(p)) row.push_back(std::move(p));
  }
  for (std::size_t i = 0; i < row.size(); i += 2)
    page.chart({row.begin() + std::ptrdiff_t(i), row.begin() + std::ptrdiff_t(std::min(i + 2, row.size()))}, "");
  page.paragraph(fmt::format("{} events of all movies. Numbers: the tables *_events.csv.", events));
}

/// Movies by a score, without those that have none: best, middle, worst. `matches` tells movies from sums over them.
std::vector<std::string> best_middle_worst(const CsvTable& table, const CsvTable& matches, const std::string& score) {
  std::set<std::string> movies;
  for (std::size_t r = 0; r < matches.rows(); ++r) movies.insert(matches.cell(r, "movie"));
  std::vector<std::pair<double, std::string>> order;
  for (std::size_t r = 0; r < table.rows(); ++r)
    if (const auto v = table.maybe_number(r, score); v && movies.contains(table.cell(r, "movie"))) order.emplace_back(*v, table.cell(r, "movie"));
  std::stable_sort(order.begin(), order.end(), [](auto& a, auto& b) { return a.first > b.first; });
  std::vector<std::string> chosen;
  for (const std::size_t i : {std::size_t(0), order.size() / 2, order.size() - 1})
    if (i < order.size() && std::find(chosen.begin(), chosen.end(), order[i].second) == chosen.end()) chosen.push_back(order[i].second);
  return chosen;
}

/// Where events were hit, missed or wrongly found in one movie.
chart::Panel map_of(const CsvTable& matches, const std::string& movie) {
  chart::Panel p{movie, "x, pixels", {{"hit", {}, {}, chart::Mark::points}, {"false alarm", {}, {}, chart::Mark::points}, {"missed", {}, {}, chart::Mark::points}},
                 "y, pixels", false, true, true};
  for (std::size_t r = 0; r < matches.rows(); ++r) {
    if (matches.cell(r, "movie") != movie) continue;
    const bool missed = !matches.maybe_number(r, "x").has_value();
    const auto x = matches.maybe_number(r, missed ? "truth-x" : "x"), y = matches.maybe_number(r, missed ? "truth-y" : "y");
    if (!x || !y) continue;
    chart::Series& s = p.series[missed ? 2 : matches.maybe_number(r, "truth-x") ? 0 : 1];
    s.x.push_back(*x), s.y.push_back(*y);
  }
  return p;
}

}  // namespace

ReportPage results_report(const std::string& folder) {
  ReportPage page("Results " + fs::absolute(folder).lexically_normal().filename().string());
  const CsvTable summary = CsvTable::read(folder + "/summary.csv");
  page.section("Movies");
  std::vector<std::vector<std::string>> rows = cells_of(summary, summary.header());
  for (std::vector<std::string>& row : rows)
    if (!row.empty()) row[0] = fs::path(row[0]).filename().string();
  page.table(summary.header(), rows);
  add_features(page, folder);

  const std::vector<std::string> previews = files_ending(folder, "_preview.png");
  std::size_t shown = 0;
  if (!previews.empty()) page.section("Previews");
  for (const std::string& path : previews) {
    const std::string png = read_file(path);
    if (shown == most_previews || page.size() + png.size() * 4 / 3 > page_limit) break;
    page.picture(png, fs::path(path).filename().string());
    ++shown;
  }
  if (shown < previews.size()) page.paragraph(fmt::format("{} more previews are files beside this page.", previews.size() - shown));
  page.section("Software");
  page.paragraph(software_text(false));
  return page;
}

ReportPage evaluation_report(const std::string& folder) {
  ReportPage page("Evaluation " + fs::absolute(folder).lexically_normal().filename().string());
  const CsvTable table = CsvTable::read(folder + "/metrics.csv");
  const nlohmann::json all = nlohmann::json::parse(read_file(folder + "/metrics.json"), nullptr, false);
  check<FileError>(all.is_object(), folder, "/metrics.json: is not the JSON text that evaluate writes. Evaluate again.");
  const auto values_of = [](const nlohmann::json& object) {
    std::vector<std::vector<std::string>> rows;
    for (const auto& [key, value] : object.items())
      if (!value.is_structured() && !value.is_null())
        rows.push_back({key, value.is_string() ? value.get<std::string>() : value.is_number_float() ? short_number(value.get<double>()) : value.dump()});
    return rows;
  };
  for (const char* part : {"total", "mean", "settings"})
    if (all.contains(part) && all[part].is_object()) {
      page.section(part == std::string("total") ? "All movies together" : part == std::string("mean") ? "Mean over the movies" : "Settings");
      page.table({"measure", "value"}, values_of(all[part]));
    }
  page.section("Movie by movie");
  page.table(table.header(), cells_of(table, table.header()));

  if (has_file(folder + "/matches.csv") && std::count(table.header().begin(), table.header().end(), "det-f1-score") > 0) {
    const CsvTable matches = CsvTable::read(folder + "/matches.csv");
    page.section("Hits, misses and false alarms");
    const std::vector<std::string> movies = best_middle_worst(table, matches, "det-f1-score");
    for (const std::string& movie : movies)
      page.chart({map_of(matches, movie)}, fmt::format("{}: all frames on one map.", movie));
    page.paragraph("The movies with the best, the middle and the worst F1. Numbers: matches.csv.");
    page.chart({{"distance of hits", "voxels (frames and pixels)", {histogram("", NumberTable(folder + "/matches.csv")["distance"])}, "hits"}}, "Numbers: matches.csv.");
  }
  page.section("Software");
  page.paragraph(software_text(false));
  return page;
}

}  // namespace voxgrad::app

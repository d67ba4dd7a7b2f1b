// SPDX-License-Identifier: BSD-3-Clause
#include "movie_outputs.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "files.hpp"
#include "json_text.hpp"
#include "tables.hpp"
#include "voxgrad/io/tiff.hpp"

namespace voxgrad::app {

struct MovieOutputs::Parts {
  std::string stem;
  data::Extent3 extent;
  data::Spacing spacing;
  MovieOutputOptions options;
  std::optional<io::TiffWriter> probability;

  io::TiffWriteOptions tiff(double lowest, double highest) const {
    io::TiffWriteOptions o;
    o.spacing = spacing;
    o.deflate = options.deflate;
    o.lowest = lowest;
    o.highest = highest;
    return o;
  }
};

MovieOutputs::MovieOutputs(const std::string& stem, const data::Extent3& extent, const data::Spacing& spacing,
                           const MovieOutputOptions& options)
    : parts_(new Parts{stem, extent, spacing, options, {}}) {
  const size_t slash = stem.find_last_of('/');
  if (slash != std::string::npos) make_folders(stem.substr(0, slash));
  const uint64_t voxels = uint64_t(data::voxel_count(extent));
  check_space(slash == std::string::npos ? "." : stem.substr(0, slash), voxels * (options.probability ? 4 : 0) + voxels * (options.labels ? 2 : 0));
  std::remove((stem + "_events.csv").c_str());  // a movie without its event table counts as unfinished
  if (options.probability)
    parts_->probability.emplace(stem + "_prediction.tif", extent, io::SampleType::f32, parts_->tiff(0, 1));
}

MovieOutputs::~MovieOutputs() = default;

void MovieOutputs::add_frame(const float* probability, const float*) {
  if (parts_->probability) parts_->probability->write(probability);
}

namespace {

template <class T>
std::vector<std::string> write_labels(io::TiffWriter& writer, const EventFinder& events, int64_t pixels) {
  std::vector<T> frame(static_cast<size_t>(pixels));
  for (int64_t t = 0; t < events.frames(); ++t) {
    events.labels(t, frame.data());
    writer.write(frame.data());
  }
  return writer.close();
}

}  // namespace

MovieSummary MovieOutputs::finish(const EventFinder& events) {
  Parts& p = *parts_;
  MovieSummary summary;
  summary.events = int64_t(events.events().size());
  summary.extent = p.extent;
  summary.spacing = p.spacing;
  const auto add = [&](const std::vector<std::string>& files) { summary.files.insert(summary.files.end(), files.begin(), files.end()); };
  if (p.probability) add(p.probability->close());
  if (p.options.labels) {
    const bool wide = p.options.wide_labels || events.events().size() > std::numeric_limits<uint16_t>::max();
    io::TiffWriter writer(p.stem + "_labels.tif", p.extent, wide ? io::SampleType::u32 : io::SampleType::u16,
                          p.tiff(0, double(std::max<size_t>(1, events.events().size()))));
    const int64_t pixels = p.extent[1] * p.extent[2];
    add(wide ? write_labels<uint32_t>(writer, events, pixels) : write_labels<uint16_t>(writer, events, pixels));
  }
  write_file(p.stem + "_events.csv", events_csv(events.events(), p.spacing));
  add({p.stem + "_events.csv"});
  return summary;
}

bool MovieOutputs::finished(const std::string& stem) {
  struct stat info {};
  return stat((stem + "_events.csv").c_str(), &info) == 0;
}

namespace {
const char* const summary_header = "movie,events,frames,height,width,events_per_minute,threshold,seconds,voxels_per_second";
}

SummaryTable::SummaryTable(const std::string& folder, bool overwrite) : folder_(folder) {
  struct stat info {};
  if (overwrite || stat(path().c_str(), &info) != 0) return;
  const CsvTable old = CsvTable::read(path());
  if (old.header().empty() || old.header()[0] != "movie") return;
  for (size_t r = 0; r < old.rows(); ++r) {
    std::vector<std::string> cells;
    for (const std::string& column : old.header()) cells.push_back(csv_text(old.cell(r, column)));
    rows_.emplace_back(old.cell(r, "movie"), csv_line(cells));
  }
}

void SummaryTable::add(const std::string& movie, const MovieSummary& s, float threshold) {
  const double minutes = double(s.extent[0]) * s.spacing.seconds / 60;
  const std::string row = csv_line({csv_text(movie), std::to_string(s.events), std::to_string(s.extent[0]), std::to_string(s.extent[1]),
                                    std::to_string(s.extent[2]), minutes > 0 ? csv_number(double(s.events) / minutes) : "",
                                    csv_number(double(threshold)), csv_number(s.seconds), csv_number(s.voxels_per_second)});
  std::erase_if(rows_, [&](const auto& r) { return r.first == movie; });
  rows_.emplace_back(movie, row);
}

void SummaryTable::write() const {
  std::string csv = std::string(summary_header) + "\n";
  for (const auto& [movie, row] : rows_) csv += row;
  make_folders(folder_);
  write_file(path(), csv);
  const CsvTable table = CsvTable::parse(path(), csv);
  std::vector<JsonValue> movies;
  for (size_t r = 0; r < table.rows(); ++r) {
    Fields f{{"movie", table.cell(r, "movie")}};
    for (size_t c = 1; c < table.header().size(); ++c) {
      const auto value = table.maybe_number(r, table.header()[c]);
      f.emplace_back(table.header()[c], value ? JsonValue(*value) : JsonValue::null());
    }
    movies.emplace_back(f);
  }
  write_file(folder_ + "/summary.json", json_object({{"movies", JsonValue(movies)}}) + "\n");
}

}  // namespace voxgrad::app

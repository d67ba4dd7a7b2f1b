// SPDX-License-Identifier: BSD-3-Clause
#include "movie_outputs.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>

#include "files.hpp"
#include "imagej_roi.hpp"
#include "json_text.hpp"
#include "preview.hpp"
#include "tables.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/io/tiff.hpp"
#include "voxgrad/metrics/dff.hpp"

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
    o.depth = options.depth;
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
  check_space(slash == std::string::npos ? "." : stem.substr(0, slash), voxels * uint64_t((options.probability ? 4 : 0) + (options.labels ? 2 : 0) + (options.overlay ? 4 : 0)));
  std::remove((stem + "_events.csv").c_str());  // a movie without its event table counts as unfinished
  if (options.probability)
    parts_->probability.emplace(stem + "_prediction.tif", extent, io::SampleType::f32, parts_->tiff(0, 1));
}

MovieOutputs::~MovieOutputs() = default;

void MovieOutputs::add_frame(const float* probability) {
  if (parts_->probability) parts_->probability->write(probability);
}

namespace {

/// Grey values of raw frames as 16 bits: unchanged where they fit, else stretched over the movie's range.
struct GreyScale : GreyRange {
  bool fits() const { return low >= 0 && high <= 65535 && high - low >= 16; }
  void convert(const std::vector<float>& frame, uint16_t* out) const {
    const float scale = fits() ? 1 : 65535 / std::max(high - low, 1e-30f), offset = fits() ? 0 : low;
    for (size_t i = 0; i < frame.size(); ++i) out[i] = uint16_t(std::clamp((frame[i] - offset) * scale + 0.5f, 0.0f, 65535.0f));
  }
};

/// Intensity and dF/F of every event and frame, written event by event: the table of a long movie has gigabytes.
class TraceTable {
 public:
  TraceTable(const std::string& path, double seconds) : path_(path), seconds_(seconds), atomic_(path) {
    file_.reset(std::fopen(atomic_.temporary().c_str(), "wb"));
    check<FileError>(file_ != nullptr, path, ": cannot be written.");
    put("label,frame,time_s,mean,dff\n");
  }
  void add(uint32_t label, const std::vector<double>& trace, const std::vector<double>& dff) {
    std::string rows;
    for (size_t t = 0; t < trace.size(); ++t)
      rows += csv_line({std::to_string(label), std::to_string(t), seconds_ > 0 ? csv_number(double(t) * seconds_) : "",
                        csv_number(trace[t]), csv_number(dff[t])});
    put(rows);
  }
  void close() {
    check<FileError>(std::fclose(file_.release()) == 0, path_, ": could not be written (disk full?).");
    atomic_.commit();
  }

 private:
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  void put(const std::string& text) {
    check<FileError>(std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size(), path_, ": could not be written (disk full?).");
  }

  std::string path_;
  double seconds_;
  AtomicFile atomic_;
  std::unique_ptr<std::FILE, Close> file_;
};

/// 65535 on the rim of every event, 0 elsewhere.
void draw_rims(const std::vector<uint32_t>& labels, int64_t height, int64_t width, uint16_t* out) {
  for (int64_t y = 0, i = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x, ++i) {
      const uint32_t l = labels[size_t(i)];
      const bool rim = l != 0 && (y == 0 || y + 1 == height || x == 0 || x + 1 == width || labels[size_t(i - width)] != l ||
                                  labels[size_t(i + width)] != l || labels[size_t(i - 1)] != l || labels[size_t(i + 1)] != l);
      out[i] = rim ? 65535 : 0;
    }
}

}  // namespace

MovieSummary MovieOutputs::finish(const EventFinder& finder, GreyRange range, const std::function<void(int64_t, float*)>& read) {
  Parts& p = *parts_;
  const std::vector<metrics::Region>& events = finder.events();
  const int64_t height = p.extent[1], width = p.extent[2];
  MovieSummary summary;
  summary.events = int64_t(events.size());
  summary.extent = p.extent;
  summary.spacing = p.spacing;
  const auto add = [&](const std::vector<std::string>& files) { summary.files.insert(summary.files.end(), files.begin(), files.end()); };
  if (p.probability) add(p.probability->close());

  const GreyScale grey{range};
  std::optional<io::TiffWriter> labels, overlay;
  const bool wide = p.options.wide_labels || events.size() > std::numeric_limits<uint16_t>::max();
  if (p.options.labels)
    labels.emplace(p.stem + "_labels.tif", p.extent, wide ? io::SampleType::u32 : io::SampleType::u16,
                   p.tiff(0, double(std::max<size_t>(1, events.size()))));
  if (p.options.overlay) {
    io::TiffWriteOptions o = p.tiff(0, 0);
    o.channels = {io::tiff_channel(grey.fits() ? grey.low : 0, grey.fits() ? grey.high : 65535, {255, 255, 255}),
                  io::tiff_channel(0, 65535, {255, 170, 0})};
    overlay.emplace(p.stem + "_overlay.tif", p.extent, io::SampleType::u16, o);
  }
  Projections projections(p.extent);
  RoiArchive rois;
  metrics::EventTraces traces(metrics::centroids(events), height, width);

  std::mutex reading;
  const auto each_frame = [&](auto&& use) {
    std::vector<float> frame(size_t(height * width));
    std::vector<uint32_t> ids(frame.size());
    std::vector<uint16_t> plane(frame.size());
    for (int64_t t = 0; t < p.extent[0]; ++t) {
      {
        const std::lock_guard lock(reading);
        read(t, frame.data());
      }
      finder.labels(t, ids.data());
      use(t, frame, ids, plane);
    }
  };
  const auto draw_overlay = [&](int64_t, const std::vector<float>& frame, const std::vector<uint32_t>& ids, std::vector<uint16_t>& plane) {
    grey.convert(frame, plane.data());
    overlay->write(plane.data());
    draw_rims(ids, height, width, plane.data());
    overlay->write(plane.data());
  };
  const auto collect = [&](int64_t t, const std::vector<float>& frame, const std::vector<uint32_t>& ids, std::vector<uint16_t>& plane) {
    if (labels && wide) labels->write(ids.data());
    if (labels && !wide) {
      std::copy(ids.begin(), ids.end(), plane.begin());
      labels->write(plane.data());
    }
    if (p.options.rois && RoiArchive::can_write()) rois.add_frame(t, ids.data(), height, width);
    if (p.options.preview) projections.add(t, frame.data(), ids.data());
    traces.add_frame(frame.data());
  };
  // The overlay is about half of the work.
  parallel_for(2, 1, [&](int64_t begin, int64_t end) {
    if (begin == 0) each_frame(collect);
    if (end == 2 && overlay) each_frame(draw_overlay);
  });
  if (labels) add(labels->close());
  if (overlay) add(overlay->close());
  if (rois.size() > 0) {
    rois.write(p.stem + "_rois.zip");
    add({p.stem + "_rois.zip"});
  }
  if (p.options.preview) {
    write_preview(p.stem + "_preview.png", projections, p.spacing, p.stem.substr(p.stem.find_last_of('/') + 1), p.options.depth);
    add({p.stem + "_preview.png"});
  }
  std::vector<double> peaks;
  std::optional<TraceTable> table;
  if (p.options.traces) table.emplace(p.stem + "_traces.csv", p.spacing.seconds);
  for (size_t e = 0; e < events.size(); ++e) {
    const std::vector<double> dff = metrics::delta_f_over_f(traces.traces()[e]);
    peaks.push_back(metrics::dff_max(dff, events[e].box));
    if (table) table->add(events[e].label, traces.traces()[e], dff);
  }
  if (table) {
    table->close();
    add({p.stem + "_traces.csv"});
  }
  write_file(p.stem + "_events.csv", events_csv(events, p.spacing, peaks));
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

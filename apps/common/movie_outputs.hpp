// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The files that predict writes for one movie, and the table over all movies.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "event_finder.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::app {

struct MovieOutputOptions {
  bool probability = true, labels = true, preview = true, overlay = true, rois = true, traces = true;
  bool deflate = false, wide_labels = false;
  bool depth = false;  ///< the first axis is depth, not time
  metrics::Extent3 min_size = metrics::min_event_size;
};

struct MovieSummary {
  int64_t events = 0;
  data::Extent3 extent{0, 0, 0};
  data::Spacing spacing;
  double seconds = 0, voxels_per_second = 0;
  std::vector<std::string> files;
};

/// Smallest and largest value of a raw movie.
struct GreyRange {
  float low, high;
};

/// Takes frames as they are final; files appear under their names when complete, the event table last: it marks a
/// finished movie.
class MovieOutputs {
 public:
  /// Files are named stem + "_prediction.tif", "_labels.tif", "_overlay.tif", "_rois.zip", "_preview.png",
  /// "_traces.csv", "_events.csv".
  MovieOutputs(const std::string& stem, const data::Extent3& extent, const data::Spacing& spacing, const MovieOutputOptions& options);
  ~MovieOutputs();
  void add_frame(const float* probability);
  /// Everything that needs the final events: one more pass over the raw frames, read(t, out [H,W]), and at the same time
  /// another for the overlay. They may run on two threads, `read` never twice at once. `range` is that of the raw movie.
  MovieSummary finish(const EventFinder& events, GreyRange range, const std::function<void(int64_t t, float* out)>& read);

  static bool finished(const std::string& stem);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// summary.csv and summary.json: one row per movie. Rows of movies done before are kept.
class SummaryTable {
 public:
  SummaryTable(const std::string& folder, bool overwrite);
  void add(const std::string& movie, const MovieSummary& summary, float threshold);
  void write() const;
  std::string path() const { return folder_ + "/summary.csv"; }

 private:
  std::string folder_;
  std::vector<std::pair<std::string, std::string>> rows_;  ///< movie, whole row
};

}  // namespace voxgrad::app

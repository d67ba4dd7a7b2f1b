// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What StarDist's network sees of a volume file: every channel normalised, axes turned to the network's, and resized if asked.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "movie_outputs.hpp"
#include "session.hpp"
#include "stardist_objects.hpp"
#include "volume_file.hpp"
#include "voxgrad/data/percentiles.hpp"
#include "voxgrad/data/preprocess.hpp"

namespace voxgrad::app {

struct StarDistInputOptions {
  std::string normalize = "percentile";     ///< study, percentile or none
  std::string network_axes = "ZYX";         ///< order of the network's axes
  std::array<double, 3> scale{1, 1, 1};     ///< samples of the network per voxel along z, y, x, whatever the order
  uint64_t memory = 0;                      ///< bytes that a volume whose axes must be turned may take; 0: no limit
};

/// Planes on demand: in the order of the file for what is written, in the network's for what is predicted. A volume whose axes
/// are turned is held in memory, others are not.
class StarDistInput {
 public:
  /// Reads nothing yet. Errors: UsageError for turned axes with the study's normalisation, which is one of movies, or beyond the memory,
  /// and for a scale that leaves nothing.
  StarDistInput(VolumeFile& file, const StarDistInputOptions& options);
  /// Measures intensities, which takes two passes over the file; before the first plane. Errors: FileError for a constant volume.
  void prepare(Session& session);

  data::Extent3 extent() const { return extent_; }         ///< the network's
  const Placement& placement() const { return placement_; }  ///< of the network's voxels in the file
  GreyRange range() const { return range_; }               ///< of the first channel, as stored
  /// Plane z of the network's input, [H,W,channels].
  void plane(int64_t z, float* out);
  /// Plane z of the file's first channel, normalised.
  void file_plane(int64_t z, float* out) { normalized(z, 0, out); }

 private:
  void measure(Session& session);
  void normalized(int64_t z, int64_t channel, float* out);
  void turned(int64_t z, float* out);
  const std::vector<float>& resized(int64_t z);

  VolumeFile& file_;
  std::string how_;
  std::vector<data::Preprocess> movie_scales_;     // one per channel
  std::vector<data::PercentileScale> scales_;
  GreyRange range_{0, 1};
  Placement placement_;
  std::vector<data::Volume<float>> held_;          // channels in the network's order, where that is another
  data::Extent3 source_{}, extent_{};              // in the network's order, before and after resizing
  std::map<int64_t, std::vector<float>> recent_;   // source planes, resized along y and x
  std::vector<float> channel_;
};

/// SciPy's zoom of order 1 along an axis of n samples to m: where sample i lies between two neighbours.
struct ZoomPosition {
  int64_t at;
  double share;  ///< of the next one
};
ZoomPosition zoom_position(int64_t i, int64_t n, int64_t m);

}  // namespace voxgrad::app

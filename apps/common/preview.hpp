// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The preview of a movie: maximum projections xy and t-x, plain and with the events coloured by their onset.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "canvas.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::app {

/// Collects the projections frame by frame; memory is H*W + T*W values, whatever the length of the movie.
class Projections {
 public:
  explicit Projections(const data::Extent3& extent);  ///< [T,H,W]

  /// Frame t of the movie and of the labels (0: none); both [H,W]. Frames in increasing order.
  void add(std::int64_t t, const float* frame, const std::uint32_t* labels);

  const data::Extent3& extent() const { return extent_; }
  std::int64_t events() const { return std::int64_t(onset_.size()); }
  const std::vector<float>& xy() const { return xy_; }  ///< [H,W] maximum over time
  const std::vector<float>& tx() const { return tx_; }  ///< [T,W] maximum over y
  /// Onset frame of the event that is seen at each pixel, -1 where there is none.
  const std::vector<std::int32_t>& xy_onset() const { return xy_onset_; }
  const std::vector<std::int32_t>& tx_onset() const { return tx_onset_; }

 private:
  data::Extent3 extent_;
  std::vector<float> xy_, tx_, xy_event_, tx_event_;
  std::vector<std::int32_t> xy_onset_, tx_onset_;
  std::unordered_map<std::uint32_t, std::int32_t> onset_;
};

/// Blue, cyan, yellow, orange, red-brown for 0 to 1: told apart with any colour vision, bright enough on grey.
Colour time_colour(double fraction);

/// Draws the preview; `title` is the movie's name, spacing gives seconds and a scale bar where known. With `depth` the frames are
/// planes of a volume, and captions and axis say so.
Canvas draw_preview(const Projections& projections, const data::Spacing& spacing, const std::string& title, bool depth = false);

/// Draws and writes it as PNG. FileError: cannot be written.
void write_preview(const std::string& path, const Projections& projections, const data::Spacing& spacing, const std::string& title, bool depth = false);

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// From a raw movie to what the network sees: (movie - slow baseline of the frame means) / mean foreground.
// Works in two passes over frames that come from anywhere, so the movie need not fit in memory.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/baseline.hpp"
#include "voxgrad/data/triangle.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::data {

/// What preprocessing measures on a raw movie; apply() then turns raw frames into network input.
struct Preprocess {
  float low = 0, high = 0;  ///< range of the raw values
  double threshold = 0;   ///< triangle threshold of all voxels
  double foreground = 1;  ///< F: mean of the voxels above it
  int64_t foreground_voxels = 0;
  std::vector<double> frame_mean;  ///< one per frame, all pixels
  std::vector<double> baseline;    ///< b(t): arPLS of frame_mean, lambda 1000, ratio 1e-6

  /// out = (in - b(t)) / F for n voxels of frame t; in and out may be the same.
  void apply(int64_t t, const float* in, float* out, int64_t n) const {
    const double b = baseline[size_t(t)], f = foreground;
    for (int64_t i = 0; i < n; ++i) out[i] = float((double(in[i]) - b) / f);
  }
};

/// Measures a movie of [T,H,W]. `read_frame(t, float* out)` is called for t = 0..T-1, twice in a row.
/// ShapeError when the movie is empty, constant or holds NaN or infinity.
template <class ReadFrame>
Preprocess measure_movie(const Extent3& extent, ReadFrame&& read_frame) {
  const int64_t frames = extent[0], pixels = extent[1] * extent[2];
  check<ShapeError>(frames > 0 && pixels > 0, "the movie is empty (", extent[0], " frames of ", extent[1],
                    "x", extent[2], " pixels).");
  Preprocess p;
  std::vector<float> frame(static_cast<size_t>(pixels));
  float low = std::numeric_limits<float>::infinity(), high = -low;
  for (int64_t t = 0; t < frames; ++t) {
    read_frame(t, frame.data());
    double sum = 0;
    for (float v : frame) {
      low = std::min(low, v);
      high = std::max(high, v);
      sum += double(v);
    }
    check<ShapeError>(std::isfinite(sum), "frame ", t,
                      " holds values that are not finite (NaN or infinity).");
    p.frame_mean.push_back(sum / double(pixels));
  }
  check<ShapeError>(low < high, "every voxel of the movie is ", low, ": there is nothing to find in it.");
  p.low = low, p.high = high;
  TriangleHistogram histogram(low, high);
  for (int64_t t = 0; t < frames; ++t) {
    read_frame(t, frame.data());
    histogram.add(frame.data(), pixels);
  }
  p.threshold = double(histogram.threshold());
  p.foreground_voxels = histogram.foreground().count;
  p.foreground = histogram.foreground().mean;
  check<ShapeError>(p.foreground != 0,
                    "the mean of the bright voxels is 0, the movie cannot be normalised. "
                    "Was it already preprocessed?");
  p.baseline = arpls_baseline(p.frame_mean, 1000, 1e-6);
  return p;
}

inline Preprocess measure_movie(const Volume<float>& movie) {
  return measure_movie(movie.extent,
                       [&](int64_t t, float* out) { std::copy_n(movie.frame(t), movie.frame_size(), out); });
}

/// Measures and transforms a whole movie in place.
inline Preprocess preprocess(Volume<float>& movie) {
  const Preprocess p = measure_movie(movie);
  for (int64_t t = 0; t < movie.extent[0]; ++t)
    p.apply(t, movie.frame(t), movie.frame(t), movie.frame_size());
  return p;
}

}  // namespace voxgrad::data

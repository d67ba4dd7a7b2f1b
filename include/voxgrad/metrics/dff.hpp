// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Brightness of events as dF/F on the raw movie (reference-pipeline.md 8.2).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/baseline.hpp"
#include "voxgrad/metrics/regions.hpp"

namespace voxgrad::metrics {

/// Mean intensity per frame around event positions: windows of 5x5 pixels centred on (round(y), round(x)),
/// halves to even, cut at the borders. Fed frame by frame; memory for one number per event and frame.
class EventTraces {
 public:
  /// Errors: ShapeError for a position so far outside that its window holds no pixel.
  EventTraces(const std::vector<Point>& events, int64_t height, int64_t width, int64_t half = 2)
      : width_(width) {
    for (const Point& p : events) {
      const auto y = int64_t(std::nearbyint(p[1])), x = int64_t(std::nearbyint(p[2]));
      const Window w{std::max<int64_t>(y - half, 0), std::min(y + half + 1, height),
                     std::max<int64_t>(x - half, 0), std::min(x + half + 1, width)};
      check<ShapeError>(w.y0 < w.y1 && w.x0 < w.x1, "dF/F: no pixel around (y ", p[1], ", x ", p[2],
                        ") in frames of ", height, "x", width);
      windows_.push_back(w);
    }
    traces_.resize(windows_.size());
  }

  /// The next frame of the raw movie, [H,W].
  template <class T>
  void add_frame(const T* raw) {
    for (size_t e = 0; e < windows_.size(); ++e) {
      const Window& w = windows_[e];
      double sum = 0;
      for (int64_t y = w.y0; y < w.y1; ++y)
        for (int64_t x = w.x0; x < w.x1; ++x) sum += double(raw[y * width_ + x]);
      traces_[e].push_back(sum / double((w.y1 - w.y0) * (w.x1 - w.x0)));
    }
  }

  /// One trace per event, in the order given.
  const std::vector<std::vector<double>>& traces() const { return traces_; }

 private:
  struct Window {
    int64_t y0, y1, x0, x1;
  };
  int64_t width_;
  std::vector<Window> windows_;
  std::vector<std::vector<double>> traces_;
};

/// (trace - F0) / F0 for every frame, F0 the trace's baseline with lambda 1e6 and ratio 1e-10. Not a number
/// where F0 is zero or less: the ratio means nothing there.
inline std::vector<double> delta_f_over_f(const std::vector<double>& trace) {
  const std::vector<double> f0 = data::arpls_baseline(trace, 1e6, 1e-10);
  std::vector<double> dff(trace.size());
  for (size_t t = 0; t < trace.size(); ++t) dff[t] = f0[t] > 0 ? (trace[t] - f0[t]) / f0[t] : undefined;
  return dff;
}

/// dF/F at the event's frame round(t), as published; not a number for a frame outside the movie.
inline double dff_at(const std::vector<double>& dff, const Point& event) {
  const double t = std::nearbyint(event[0]);
  return t >= 0 && t < double(dff.size()) ? dff[size_t(t)] : undefined;
}

/// Largest dF/F over the event's frames [begin, end); not a number if none is defined.
inline double dff_max(const std::vector<double>& dff, const Box& box) {
  double most = undefined;
  for (int64_t t = std::max<int64_t>(box.begin[0], 0); t < std::min(box.end[0], int64_t(dff.size())); ++t)
    if (!(dff[size_t(t)] <= most)) most = std::isnan(dff[size_t(t)]) ? most : dff[size_t(t)];
  return most;
}

/// Bins of dF/F: 13 of width 0.5 from 0 to 6.5, the upper end included. -1 for values that the published
/// histograms drop.
inline int64_t dff_bin(double dff) {
  if (!(dff >= 0 && dff <= 6.5)) return -1;
  return std::min<int64_t>(int64_t(dff / 0.5), 12);
}

}  // namespace voxgrad::metrics

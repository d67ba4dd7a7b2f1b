// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// One axis of the exact Euclidean distance transform (Felzenszwalb and Huttenlocher, Theory of Computing 8, 2012).

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace voxgrad::stardist {

/// Turns squared distances within a run of voxels of one object into squared distances that also go along the run's axis.
class DistancePass {
 public:
  /// `longest`: voxels of the longest run; `step`: size of a voxel along the axis.
  DistancePass(int64_t longest, double step)
      : step2_(step * step), site_(size_t(longest + 2)), height_(size_t(longest + 2)), from_(size_t(longest + 2)) {}

  /// values[i * stride], i < n: squared distances so far, infinite where nothing was found. begins, ends: the voxel
  /// before the run, or after it, is no part of the object. Each result is the lowest of the parabolas
  /// values[j] + step^2 (i - j)^2; the ones that are lowest somewhere are found from left to right.
  void run(float* values, int64_t stride, int64_t n, bool begins, bool ends) {
    count_ = 0;
    if (begins) add(-1, 0);
    for (int64_t j = 0; j < n; ++j) add(double(j), double(values[j * stride]) / step2_);
    if (ends) add(double(n), 0);
    if (count_ == 0) return;
    size_t k = 0;
    for (int64_t i = 0; i < n; ++i) {
      while (k + 1 < count_ && from_[k + 1] <= double(i)) ++k;
      const double d = double(i) - site_[k];
      values[i * stride] = float((height_[k] + d * d) * step2_);
    }
  }

 private:
  void add(double site, double height) {
    if (height == std::numeric_limits<double>::infinity()) return;
    double from = -std::numeric_limits<double>::infinity();
    for (; count_ > 0; --count_) {  // where the new parabola gets below the last one
      const double s = site_[count_ - 1];
      from = (height - height_[count_ - 1] + (site - s) * (site + s)) / (2 * (site - s));
      if (from > from_[count_ - 1]) break;
      from = -std::numeric_limits<double>::infinity();
    }
    site_[count_] = site, height_[count_] = height, from_[count_] = from, ++count_;
  }

  double step2_;
  std::vector<double> site_, height_, from_;  // of the lowest parabolas: apex, height there, first position
  size_t count_ = 0;
};

}  // namespace voxgrad::stardist

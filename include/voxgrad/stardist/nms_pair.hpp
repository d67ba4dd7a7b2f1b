// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Whether a polyhedron overlaps a better one too much: five tests from cheap to exact, with the decisions of the
// Python package (stardist 0.9). docs/stardist.md explains them.

#include <cmath>
#include <cstdint>
#include <mutex>
#include <vector>

#include "voxgrad/stardist/overlap_bounds.hpp"
#include "voxgrad/stardist/rasterize.hpp"

namespace voxgrad::stardist {

/// What decided about a pair.
enum class Verdict : uint8_t { kept_apart, kept_hull, kept_count, drop_inner, drop_kernel, drop_count };
inline bool drops(Verdict v) { return v >= Verdict::drop_inner; }

/// Numbers of each polyhedron that all its pairs use.
struct Summary {
  Box box;
  float volume, reach;         ///< reach: radius of the sphere around the centre that holds it, voxels
  float outer, inner;          ///< radii in the stretched space
};

/// Everything about the better polyhedron of a pair; the costly parts are made when first needed.
struct Subject {
  int32_t rank = 0;
  Vec3f centre{};
  std::vector<Vec3f> corners;
  std::vector<HalfSpace> kernel, hull;
  bool has_hull = false;
  Mask mask;
  std::once_flag hull_once, mask_once;
};

/// Scratch of one thread.
struct PairScratch {
  std::vector<Vec3f> corners;
  std::vector<HalfSpace> planes;
  std::vector<Vec3d> dual, nearest;
  std::vector<uint8_t> seen;
  ConvexHull hull;
};

/// The tests for one call of the suppression: threshold t and stretch are fixed.
class PairTest {
 public:
  static constexpr int64_t largest_mask = int64_t(1) << 24;  ///< voxels of a box whose inside is kept for all pairs

  PairTest(const Rays& rays, float threshold, const Vec3f& scale, bool use_bbox, bool corrected)
      : rays_(rays), t_(threshold), scale_(scale), use_bbox_(use_bbox), corrected_(corrected), coarse_(scale), fine_(scale) {}

  /// i: the better polyhedron; j: distances, centre and summary of the other.
  Verdict operator()(Subject& i, const Summary& si, const float* dist, const Vec3f& centre, const Summary& sj,
                     PairScratch& s) const {
    const double m = double(std::fmin(si.volume, sj.volume)) + 1e-10;
    const float upper = std::fmin(shared_spheres(si.outer, i.centre, sj.outer, centre, scale_, corrected_),
                                  shared_boxes(si.box, sj.box));
    if (use_bbox_ && (double(upper) < 1e-10 || float(std::fmin(1.0, double(upper) / m)) <= t_)) return Verdict::kept_apart;
    const float lower = shared_spheres(si.inner, i.centre, sj.inner, centre, scale_, corrected_);
    if (float(std::fmax(0.0, double(lower) / m)) > t_) return Verdict::drop_inner;

    corners(rays_, dist, centre, s.corners);
    const Vec3d middle{.5 * double(i.centre[0] + centre[0]), .5 * double(i.centre[1] + centre[1]),
                       .5 * double(i.centre[2] + centre[2])};
    if (kernels_exceed(i, middle, m, s)) return Verdict::drop_kernel;
    if (hulls_stay_below(i, centre, middle, m, s)) return Verdict::kept_hull;
    return count_exceeds(i, centre, si, sj, m, s) ? Verdict::drop_count : Verdict::kept_count;
  }

 private:
  bool above(double volume, double m) const { return float(double(float(volume)) / m) > t_; }

  // Whether the intersection of the half-spaces of s.dual exceeds t: bounds from below and above first, then in full.
  bool intersection_above(double m, double failed, PairScratch& s) const {
    if (above(coarse_(s.dual), m) || above(fine_(s.dual, &s.nearest), m)) return true;
    if (const auto most = dual_volume(s.nearest, s.hull); most && !above(*most * (1 + 1e-6), m)) return false;
    return above(dual_volume(s.dual, s.hull).value_or(failed), m);
  }

  // Test 3. The value is 0 unless the middle is strictly inside all half-spaces.
  bool kernels_exceed(const Subject& i, const Vec3d& middle, double m, PairScratch& s) const {
    s.dual.clear();
    if (!dual_points(i.kernel, middle, s.dual)) return above(0, m);
    s.planes.clear();
    kernel_half_spaces(rays_, s.corners, s.planes);
    if (!dual_points(s.planes, middle, s.dual)) return above(0, m);
    return intersection_above(m, 0, s);
  }

  // Test 4. Without an inner point or a hull the value is 1e10, which never keeps.
  bool hulls_stay_below(Subject& i, const Vec3f& centre, const Vec3d& middle, double m, PairScratch& s) const {
    constexpr double failed = 1e10;
    std::call_once(i.hull_once, [&] { i.has_hull = hull_half_spaces(i.corners, i.centre, s.hull, i.hull); });
    s.dual.clear();
    if (!i.has_hull || !dual_points(i.hull, middle, s.dual)) return !above(failed, m);
    s.planes.clear();
    if (!hull_half_spaces(s.corners, centre, s.hull, s.planes) || !dual_points(s.planes, middle, s.dual))
      return !above(failed, m);
    return !intersection_above(m, failed, s);
  }

  // Test 5. The package stops counting at the first voxel above t * m.
  bool count_exceeds(Subject& i, const Vec3f& centre, const Summary& si, const Summary& sj, double m,
                     PairScratch& s) const {
    const float limit = float(m * double(t_));
    int64_t count = 0;
    if (si.box.voxels() <= largest_mask) {
      std::call_once(i.mask_once, [&] { i.mask = polyhedron_mask(rays_, i.corners, i.centre, si.box); });
      count = count_shared(i.mask, rays_, s.corners, centre, s.seen);
    } else {  // not to be kept: piece by piece, where the boxes meet
      for_each_tile(intersection(si.box, sj.box), [&](const Box& tile) {
        count += count_shared(polyhedron_mask(rays_, i.corners, i.centre, tile), rays_, s.corners, centre, s.seen);
        return float(count) <= limit;
      });
    }
    const float stopped = float(count) > limit ? std::floor(limit) + 1 : float(count);
    return float(double(stopped) / m) > t_;
  }

  const Rays& rays_;
  float t_;
  Vec3f scale_;
  bool use_bbox_, corrected_;
  CoarseInnerVolume coarse_;
  FineInnerVolume fine_;
};

}  // namespace voxgrad::stardist

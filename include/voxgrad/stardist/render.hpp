// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Polyhedra drawn into a label image: the best score first, and what is drawn stays.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/data/volume.hpp"
#include "voxgrad/stardist/candidates.hpp"
#include "voxgrad/stardist/half_spaces.hpp"
#include "voxgrad/stardist/progress.hpp"
#include "voxgrad/stardist/rasterize.hpp"
#include "voxgrad/stardist/work_queue.hpp"

namespace voxgrad::stardist {

/// Which voxels belong to a polyhedron. full: those inside it; kernel: those that see all of its surface; hull: those in
/// its convex hull; bbox: those in its rounded box; debug: marks with -1 where rounding makes full and kernel disagree.
enum class RenderMode { full, kernel, hull, bbox, debug };

/// Errors: UsageError for any other name.
inline RenderMode render_mode(std::string_view name) {
  constexpr std::string_view names[] = {"full", "kernel", "hull", "bbox", "debug"};
  for (int i = 0; i < 5; ++i)
    if (name == names[i]) return RenderMode(i);
  throw UsageError(text("render: mode '", name, "' (expected full, kernel, hull, bbox or debug)"));
}

struct RenderOptions {
  RenderMode mode = RenderMode::full;
  std::span<const float> scores;           ///< [N] descending order of drawing, equal ones by index; empty: by index
  std::span<const int32_t> labels;         ///< [N] what to write; empty: index + 1
  float threshold = -std::numeric_limits<float>::infinity();  ///< scores below are not drawn
  std::optional<int32_t> overlap_label;    ///< for voxels of several polyhedra; none: the best one's
  Progress progress;
};

struct Rendered {
  data::Volume<int32_t> labels;  ///< [Z, Y, X], 0 is background
  std::vector<int64_t> voxels;   ///< [N] that polyhedron i was the first to label: 0 when hidden, degenerate or left out
};

/// Voxels x0 to x1 of an image row.
struct VoxelRun {
  int32_t z, y, x0, x1;
};

/// Finds the voxels of one polyhedron after another; scratch of one thread.
class PolyhedronRuns {
 public:
  /// The voxels within `image`. None for a polyhedron without volume.
  void find(const Polyhedra& p, int64_t i, RenderMode mode, const Box& image, std::vector<VoxelRun>& runs) {
    runs.clear();
    const Rays& rays = *p.rays;
    const Vec3f centre = p.centre(i);
    const Box box = intersection(bounding_box(rays, p.distances(i), centre), image);
    if (box.voxels() == 0) return;
    corners(rays, p.distances(i), centre, corners_);
    kernel_.clear(), hull_.clear();
    kernel_half_spaces(rays, corners_, kernel_);
    if (!hull_half_spaces(corners_, centre, builder_, hull_)) return;
    const int32_t slices = int32_t(std::clamp<int64_t>(largest_mask / (box.extent(1) * box.extent(2)), 1, box.extent(0)));
    for (int32_t z = box.lo[0]; z <= box.hi[0]; z += slices) {
      Box slab = box;
      slab.lo[0] = z;
      slab.hi[0] = std::min(box.hi[0], z + slices - 1);
      find_in(p, i, mode, slab, runs);
    }
  }

 private:
  void find_in(const Polyhedra& p, int64_t i, RenderMode mode, const Box& box, std::vector<VoxelRun>& runs) {
    const Rays& rays = *p.rays;
    mask_.box = box;
    mask_.inside.assign(size_t(box.voxels()), 0);
    if (mode == RenderMode::full || mode == RenderMode::debug)
      for_each_inside(rays, corners_, p.centre(i), box, [&](int32_t z, int32_t y, int32_t x, float depth) {
        uint8_t& m = mask_.inside[mask_.at(z, y, x)];
        m = std::max(m, depth > sure_depth ? sure : maybe);
      });
    for (int32_t z = box.lo[0]; z <= box.hi[0]; ++z)
      for (int32_t y = box.lo[1]; y <= box.hi[1]; ++y)
        for (int32_t x = box.lo[2]; x <= box.hi[2]; ++x) {
          if (!belongs(mode, rays, z, y, x)) continue;
          if (!runs.empty() && runs.back().z == z && runs.back().y == y && runs.back().x1 == x - 1) runs.back().x1 = x;
          else runs.push_back({z, y, x, x});
        }
  }

  static constexpr int64_t largest_mask = int64_t(1) << 22;
  static constexpr uint8_t maybe = 1, sure = 2;
  static constexpr float sure_depth = 1e-3f;      // this far below the surface no rounding puts a voxel outside the hull
  static constexpr double on_the_hull = 1e-8;     // voxels on a face of the hull are inside

  bool belongs(RenderMode mode, const Rays& rays, int32_t z, int32_t y, int32_t x) const {
    const Vec3d at{double(z), double(y), double(x)};
    switch (mode) {
      case RenderMode::kernel: return inside(kernel_, at);
      case RenderMode::hull: return inside(hull_, at, on_the_hull);
      case RenderMode::bbox: return true;
      case RenderMode::debug: return mask_.inside[mask_.at(z, y, x)] == 0 && before_all_faces(rays, z, y, x);
      case RenderMode::full: break;
    }
    const uint8_t m = mask_.inside[mask_.at(z, y, x)];
    return m == sure || (m == maybe && inside(hull_, at, on_the_hull)) || inside(kernel_, at);
  }

  bool before_all_faces(const Rays& rays, int32_t z, int32_t y, int32_t x) const {
    for (const auto& [a, b, c] : rays.faces)
      if (tetrahedron_det(corners_[size_t(a)], corners_[size_t(b)], corners_[size_t(c)], {float(z), float(y), float(x)}) < 0)
        return false;
    return true;
  }

  std::vector<Vec3f> corners_;
  std::vector<HalfSpace> kernel_, hull_;
  ConvexHull builder_;
  Mask mask_;
};

/// Order in which polyhedra are drawn: those at or above the threshold, best score first, equal ones by index.
inline std::vector<int32_t> drawing_order(int64_t n, const RenderOptions& options) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  if (options.scores.empty()) std::iota(order.begin(), order.end(), 0);
  else order = descending(options.scores);
  std::erase_if(order, [&](int32_t i) { return !options.scores.empty() && options.scores[size_t(i)] < options.threshold; });
  return order;
}

/// Finds the voxels of polyhedra order[0], order[1], ... within the image on all threads and calls draw(index, runs) in that order.
/// Memory: the voxel runs of 32 polyhedra and a mask of 4 MiB per thread. Errors: Interrupted.
template <class Draw>
void for_each_polyhedron(const Polyhedra& polyhedra, std::span<const int32_t> order, RenderMode mode, const Box& image, const Progress& progress,
                         const Draw& draw) {
  const int64_t all = int64_t(order.size()), batch = 32 * int64_t(threads());
  std::vector<std::vector<VoxelRun>> runs(static_cast<size_t>(batch));
  for (int64_t from = 0; from < all; from += batch) {
    const int64_t count = std::min(batch, all - from);
    if (progress && !progress(from, all)) throw Interrupted(text("render: stopped after ", from, " of ", all, " polyhedra"));
    for_each_item(std::min(count, int64_t(threads())), [&](int64_t worker) {  // every thread its own scratch
      PolyhedronRuns finder;
      for (int64_t k = worker; k < count; k += threads()) finder.find(polyhedra, order[size_t(from + k)], mode, image, runs[size_t(k)]);
    });
    for (int64_t k = 0; k < count; ++k) draw(order[size_t(from + k)], runs[size_t(k)]);
  }
}

/// Labels the voxels of a run that have no label yet, and those that have one with `overlap_label` if there is one. Returns the former's
/// number.
inline int64_t paint(int32_t* row, const VoxelRun& run, int32_t label, const std::optional<int32_t>& overlap_label) {
  int64_t painted = 0;
  for (int32_t x = run.x0; x <= run.x1; ++x) {
    if (row[x] == 0) row[x] = label, ++painted;
    else if (overlap_label) row[x] = *overlap_label;
  }
  return painted;
}

/// Draws N polyhedra, centres may be fractional, into an image of the given extent (z, y, x voxels). Label options.labels[i]
/// or i + 1 is polyhedron i's, however many voxels others leave to it. Errors: as check_polyhedra(); ShapeError for lists that do not fit; Interrupted.
inline Rendered render(const Polyhedra& polyhedra, const data::Extent3& extent, const RenderOptions& options = {}) {
  check_polyhedra(polyhedra, "render");
  const int64_t n = polyhedra.size();
  constexpr int64_t most = std::numeric_limits<int32_t>::max() / 2;
  for (const int64_t e : extent)
    check<ShapeError>(e >= 1 && e <= most, "render: the image is ", extent[0], " x ", extent[1], " x ", extent[2], " voxels");
  check<ShapeError>(options.scores.empty() || int64_t(options.scores.size()) == n, "render: ", options.scores.size(),
                    " scores for ", n, " polyhedra");
  check<ShapeError>(options.labels.empty() || int64_t(options.labels.size()) == n, "render: ", options.labels.size(),
                    " labels for ", n, " polyhedra");
  const Box image{{0, 0, 0}, {int32_t(extent[0] - 1), int32_t(extent[1] - 1), int32_t(extent[2] - 1)}};
  const std::vector<int32_t> order = drawing_order(n, options);
  Rendered out{data::Volume<int32_t>(extent), std::vector<int64_t>(size_t(n), 0)};

  for_each_polyhedron(polyhedra, order, options.mode, image, options.progress, [&](int32_t i, const std::vector<VoxelRun>& runs) {
    const int32_t label = options.labels.empty() ? i + 1 : options.labels[size_t(i)];
    for (const VoxelRun& run : runs) {
      int32_t* row = &out.labels.at(run.z, run.y, 0);
      if (options.mode == RenderMode::debug) std::fill(row + run.x0, row + run.x1 + 1, -1);
      else out.voxels[size_t(i)] += paint(row, run, label, options.overlap_label);
    }
  });
  return out;
}

}  // namespace voxgrad::stardist

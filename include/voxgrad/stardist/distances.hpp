// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Training targets: how far each ray goes from a voxel until it leaves the voxel's object.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "voxgrad/stardist/labels.hpp"
#include "voxgrad/stardist/ray_steps.hpp"
#include "voxgrad/stardist/rays.hpp"
#include "voxgrad/stardist/work_queue.hpp"

namespace voxgrad::stardist {

/// Distances [z,y,x,ray] on a grid, in voxels of the full image. Background is never touched, so its memory costs nothing
/// on most systems until somebody writes to it.
struct DistanceMap {
  Extent3 extent{0, 0, 0};
  int64_t rays = 0;

  DistanceMap(const Extent3& e, int64_t r) : extent(e), rays(r) {
    memory_.reset(static_cast<float*>(std::calloc(size_t(size()), sizeof(float))));
    if (!memory_) throw std::bad_alloc();
  }
  int64_t size() const { return data::voxel_count(extent) * rays; }
  float* data() { return memory_.get(); }
  const float* data() const { return memory_.get(); }
  /// The distances of one grid voxel.
  const float* at(int64_t z, int64_t y, int64_t x) const { return data() + ((z * extent[1] + y) * extent[2] + x) * rays; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> memory_;
};

/// Labels rearranged so that the voxels which neighbouring grid voxels of a row meet at one step of a ray lie side by
/// side: a row is split by x modulo grid, with background around each part. Not annotated counts as background.
class SplitLabels {
 public:
  static constexpr int lanes = 16;  ///< grid voxels of a row that walk together

  template <class T>
  SplitLabels(const LabelView<T>& labels, int64_t grid_x)
      : extent_(labels.extent), grid_(grid_x), columns_((labels.extent[2] - 1) / grid_x + 1), part_(columns_ + 2 * lanes) {
    voxels_.resize(size_t(extent_[0] * extent_[1] * grid_ * part_));
    parallel_for(extent_[0] * extent_[1], 64, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* in = labels.voxels + row * extent_[2];
        int32_t* out = voxels_.data() + row * grid_ * part_ + lanes;
        for (int64_t phase = 0; phase < grid_; ++phase, out += part_)
          for (int64_t x = phase, i = 0; x < extent_[2]; x += grid_, ++i) out[i] = in[x] > T(0) ? int32_t(in[x]) : 0;
      }
    });
  }

  int64_t columns() const { return columns_; }  ///< grid voxels per row
  /// The labels of a row at x = 0, grid, 2 grid, ...; readable from -lanes to columns() + lanes.
  const int32_t* row(int64_t z, int64_t y) const { return voxels_.data() + (z * extent_[1] + y) * grid_ * part_ + lanes; }
  int32_t at(int64_t z, int64_t y, int64_t x) const { return row(z, y)[(x % grid_) * part_ + x / grid_]; }
  bool inside(int64_t z, int64_t y, int64_t x) const {
    return z >= 0 && z < extent_[0] && y >= 0 && y < extent_[1] && x >= 0 && x < extent_[2];
  }

  /// A step in this arrangement: `shift` elements from the start's, `dx` grid voxels along the row.
  struct Move {
    int64_t shift;
    int32_t dz, dy, dx;
    bool depends_on_start;
  };
  Move move(const RayStep& step) const {
    const auto [dz, dy, x] = step.offset;
    const int64_t dx = x >= 0 ? x / grid_ : -((-x + grid_ - 1) / grid_), phase = x - dx * grid_;
    return {((int64_t(dz) * extent_[1] + dy) * grid_ + phase) * part_ + dx, dz, dy, int32_t(dx), step.depends_on_start};
  }
  /// Whether any of the lanes from grid voxel i on may still be inside.
  bool reaches(const Move& m, int64_t z, int64_t y, int64_t i) const {
    return uint64_t(z + m.dz) < uint64_t(extent_[0]) && uint64_t(y + m.dy) < uint64_t(extent_[1]) &&
           uint64_t(i + m.dx + lanes - 1) < uint64_t(columns_ + lanes - 1);
  }

 private:
  Extent3 extent_;
  int64_t grid_, columns_, part_;
  std::vector<int32_t> voxels_;
};

/// Walks all rays for rows of grid voxels. For each ray, up to 16 voxels of a row go step by step together: a step is one
/// comparison of neighbouring labels with their own, and a voxel's distance is that of the step after its last match.
class RayWalk {
 public:
  template <class T>
  RayWalk(const LabelView<T>& labels, const Rays& rays, const Grid& grid)
      : grid_(grid), rays_(rays.size()), steps_(rays, labels.extent), labels_(labels, grid[2]) {
    moves_.reserve(steps_.steps.size());
    for (const RayStep& step : steps_.steps) moves_.push_back(labels_.move(step));
  }

  /// Writes the distances of the objects in grid row (z, y) to out [columns, stride], rays first; leaves background alone.
  void row(int64_t z, int64_t y, float* out, int64_t stride) const {
    z *= grid_[0], y *= grid_[1];
    const int32_t* own = labels_.row(z, y);
    const int64_t columns = labels_.columns();
    for (int64_t i = 0; i < columns; ++i) {
      if (own[i] == 0) continue;
      int last = SplitLabels::lanes - 1;
      while (own[i + last] == 0) --last;
      float* to = out + i * stride;
      if (last < 4) walk<4>(z, y, i, own + i, to, stride);
      else if (last < 8) walk<8>(z, y, i, own + i, to, stride);
      else walk<16>(z, y, i, own + i, to, stride);
      i += last;
    }
  }

 private:
  // All rays of the objects among the grid voxels i .. i + n of a row.
  template <int n>
  void walk(int64_t z, int64_t y, int64_t i, const int32_t* own, float* out, int64_t stride) const {
    int objects[n], count = 0;
    for (int k = 0; k < n; ++k)
      if (own[k] != 0) objects[count++] = k;
    for (int64_t r = 0; r < rays_; ++r) {
      int32_t matches[n];
      count_matches<n>(z, y, i, own, r, matches);
      const float* distance = steps_.distance.data() + steps_.first[size_t(r)];
      for (int k = 0; k < count; ++k) out[objects[k] * stride + r] = distance[matches[objects[k]]];
    }
  }

  // Number of steps of ray r that each lane stays in its object.
  template <int n>
  void count_matches(int64_t z, int64_t y, int64_t i, const int32_t* own, int64_t r, int32_t* matches) const {
    constexpr int parts = n / 4;
    Four alive[parts], label[parts], count[parts];  // alive: -1 or 0
    std::memcpy(label, own, sizeof label);
    for (int q = 0; q < parts; ++q) alive[q] = label[q] != 0, count[q] = Four{};
    for (int64_t s = steps_.first[size_t(r)]; s < steps_.first[size_t(r) + 1]; ++s) {
      const SplitLabels::Move& m = moves_[size_t(s)];
      if (m.depends_on_start) [[unlikely]] {
        for (int k = 0; k < n; ++k)
          if (alive[k / 4][k % 4] != 0) alive[k / 4][k % 4] = -exact(steps_.steps[size_t(s)], z, y, i + k, label[k / 4][k % 4]);
      } else {
        if (!labels_.reaches(m, z, y, i)) break;
        Four met[parts];
        std::memcpy(met, own + m.shift, sizeof met);
        for (int q = 0; q < parts; ++q) alive[q] &= met[q] == label[q];
      }
      Four any = alive[0];
      for (int q = 1; q < parts; ++q) any |= alive[q];
      for (int q = 0; q < parts; ++q) count[q] -= alive[q];
      const Two any2 = Two(any);
      if ((any2[0] | any2[1]) == 0) break;
    }
    std::memcpy(matches, count, sizeof count);
  }
  using Four = int32_t __attribute__((vector_size(16)));
  using Two = int64_t __attribute__((vector_size(16)));

  // Whether one voxel is still in its object after a step whose rounding depends on where it starts.
  bool exact(const RayStep& step, int64_t z, int64_t y, int64_t i, int32_t label) const {
    const int64_t tz = step.voxel(0, z), ty = step.voxel(1, y), tx = step.voxel(2, i * grid_[2]);
    return labels_.inside(tz, ty, tx) && labels_.at(tz, ty, tx) == label;
  }

  Grid grid_;
  int64_t rays_;
  RaySteps steps_;
  SplitLabels labels_;
  std::vector<SplitLabels::Move> moves_;
};

/// Ray distances of every grid voxel: the first voxel of ray r outside of the voxel's object or of the volume is
/// distance * rays.vertices[r] away, give or take the rounding to whole voxels; 0 in background and where nothing is
/// annotated. Equal to the Python package's star_dist3D(mode='cpp') bit for bit, for labels up to 65535 that is.
/// Takes 4 bytes per voxel of scratch memory. Errors: ShapeError, UsageError (grid, rays).
template <class T>
DistanceMap star_distances(const LabelView<T>& labels, const Rays& rays, const Grid& grid = {1, 1, 1}) {
  const Extent3 extent = grid_extent(labels.extent, grid);
  DistanceMap map(extent, rays.size());
  const RayWalk walk(labels, rays, grid);
  for_each_item(extent[0] * extent[1], [&](int64_t row) {
    walk.row(row / extent[1], row % extent[1], map.data() + row * extent[2] * rays.size(), rays.size());
  });
  return map;
}
template <class T>
DistanceMap star_distances(const data::Volume<T>& labels, const Rays& rays, const Grid& grid = {1, 1, 1}) {
  return star_distances(LabelView<T>(labels), rays, grid);
}

/// The same into memory of the caller's, [z,y,x,stride] on the grid: rays come first and the rest of each voxel is left
/// alone, as in a batch of training targets with a mask channel. Error: UsageError when the stride is too small.
template <class T>
void star_distances(const LabelView<T>& labels, const Rays& rays, const Grid& grid, float* out, int64_t stride) {
  check<UsageError>(stride >= rays.size(), "star distances: a stride of ", stride, " for ", rays.size(), " rays");
  const Extent3 extent = grid_extent(labels.extent, grid);
  const RayWalk walk(labels, rays, grid);
  for_each_item(extent[0] * extent[1], [&](int64_t row) {
    float* to = out + row * extent[2] * stride;
    for (int64_t x = 0; x < extent[2]; ++x) std::fill_n(to + x * stride, rays.size(), 0.f);
    walk.row(row / extent[1], row % extent[1], to, stride);
  });
}

}  // namespace voxgrad::stardist

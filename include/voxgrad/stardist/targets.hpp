// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What the network learns from one label patch: object probability, ray distances with their mask, classes.

#include <cmath>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "voxgrad/stardist/distances.hpp"
#include "voxgrad/stardist/object_probability.hpp"

namespace voxgrad::stardist {

/// Value of a target that the loss leaves out.
inline constexpr float ignored = -1;

/// prob [z,y,x] and dist [z,y,x,rays + 1] on the grid. The last channel of dist is the probability once more, the weight of
/// a voxel in the distance loss. Where nothing is annotated (labels below 0, at the sampled voxel) prob is `ignored`, but the
/// mask is 0: such voxels count as background in everything else, as in the Python package.
/// Errors: as star_distances and object_probability.
template <class T>
void write_targets(const LabelView<T>& labels, const Rays& rays, const std::optional<Vec3d>& anisotropy, const Grid& grid,
                   float* prob, float* dist) {
  const int64_t channels = rays.size() + 1;
  star_distances(labels, rays, grid, dist, channels);
  object_probability(labels, anisotropy, grid, dist + rays.size(), channels);
  const Extent3 extent = grid_extent(labels.extent, grid);
  for (int64_t i = 0; i < data::voxel_count(extent); ++i) {
    const int64_t z = i / (extent[1] * extent[2]) * grid[0], y = i / extent[2] % extent[1] * grid[1], x = i % extent[2] * grid[2];
    const bool annotated = !(labels.voxels[(z * labels.extent[1] + y) * labels.extent[2] + x] < T(0));
    prob[i] = annotated ? dist[i * channels + rays.size()] : ignored;
  }
}

/// Class of each object: 1 to n_classes, 0 for background, or none to leave the object's voxels out of the loss.
struct ObjectClasses {
  std::unordered_map<int64_t, std::optional<int>> of_label;
  bool same_for_all = false;       ///< every label has `all`
  std::optional<int> all = {};

  std::optional<int> of(int64_t label) const {
    if (same_for_all) return all;
    const auto found = of_label.find(label);
    check<UsageError>(found != of_label.end(), "classes: label ", label, " has no class");
    return found->second;
  }
};

/// Voxel that stands for each of the round(n / g) samples of an axis when a map is shrunk by g: SciPy's zoom with order 0,
/// which spreads the samples from the first to the last voxel. Halves round to even. (Where SciPy's last sample falls off the
/// axis by a rounding error, as for 28 voxels and a grid of 2, the package has zeros; here it is the last voxel.)
inline std::vector<int64_t> shrunk_positions(int64_t n, int64_t g) {
  const int64_t count = std::max<int64_t>(1, int64_t(std::nearbyint(double(n) * (1 / double(g)))));
  const double step = count > 1 ? double(n - 1) / double(count - 1) : 1;
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < count; ++i) positions.push_back(std::min(n - 1, int64_t(std::floor(double(i) * step + 0.5))));
  return positions;
}

/// One-hot classes [z,y,x,n_classes + 1] with background first, on the grid. Objects without a class have `ignored` in all
/// channels but the background's 0; voxels without annotation have it in all. Samples lie where shrunk_positions says,
/// up to half a grid cell from those of prob and dist.
/// Errors: UsageError for classes outside of 0 to n_classes and labels without one; ShapeError for an extent whose
/// rounding by the grid differs from that of prob and dist (multiples of the grid always fit).
template <class T>
void write_class_targets(const LabelView<T>& labels, const ObjectClasses& classes, int n_classes, const Grid& grid, float* out) {
  check<UsageError>(n_classes >= 1, "classes: n_classes is ", n_classes, " (expected 1 or more)");
  const Extent3 extent = grid_extent(labels.extent, grid);
  std::vector<int64_t> at[3];
  for (size_t a = 0; a < 3; ++a) {
    at[a] = shrunk_positions(labels.extent[a], grid[a]);
    check<ShapeError>(int64_t(at[a].size()) == extent[a], "classes: an axis of ", labels.extent[a], " voxels gives ", at[a].size(),
                      " samples on a grid of ", grid[a], ", but ", extent[a], " distances. Use a multiple of the grid.");
  }
  const auto label = [&](int64_t z, int64_t y, int64_t x) { return labels.voxels[(z * labels.extent[1] + y) * labels.extent[2] + x]; };
  std::unordered_map<T, std::optional<int>> known;  // all labels, also those that no sample meets
  for (int64_t i = 0; i < labels.size(); ++i) {
    const T l = labels.voxels[i];
    if (!(l > T(0)) || known.count(l) != 0) continue;
    const std::optional<int> c = known[l] = classes.of(int64_t(l));
    check<UsageError>(!c || (*c >= 0 && *c <= n_classes), "classes: label ", int64_t(l), " has class ", c.value_or(-1), " (expected 0 to ",
                      n_classes, ")");
  }
  for (int64_t z = 0; z < extent[0]; ++z)
    for (int64_t y = 0; y < extent[1]; ++y)
      for (int64_t x = 0; x < extent[2]; ++x, out += n_classes + 1) {
        const T l = label(at[0][size_t(z)], at[1][size_t(y)], at[2][size_t(x)]);
        const std::optional<int> c = l > T(0) ? known[l] : 0;
        std::fill_n(out, n_classes + 1, c ? 0.f : ignored);
        if (c) out[*c] = 1;
        out[0] = l > T(0) ? 0.f : 1.f;
        if (label(z * grid[0], y * grid[1], x * grid[2]) < T(0)) std::fill_n(out, n_classes + 1, ignored);
      }
}

}  // namespace voxgrad::stardist

// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_objects.hpp"

#include <algorithm>

namespace voxgrad::app {
namespace {

StarDistObjects chosen(const stardist::Candidates& from, const std::vector<float>& class_prob, const std::vector<int64_t>& indices, int64_t rays) {
  StarDistObjects out;
  const int64_t channels = class_prob.empty() ? 0 : int64_t(class_prob.size()) / from.size();
  for (const int64_t i : indices) {
    out.list.scores.push_back(from.scores[size_t(i)]);
    out.list.points.insert(out.list.points.end(), from.points.begin() + 3 * i, from.points.begin() + 3 * (i + 1));
    out.list.dist.insert(out.list.dist.end(), from.dist.begin() + rays * i, from.dist.begin() + rays * (i + 1));
    out.class_prob.insert(out.class_prob.end(), class_prob.begin() + channels * i, class_prob.begin() + channels * (i + 1));
  }
  return out;
}

}  // namespace

int64_t StarDistObjects::above(double prob_thresh) const {
  int64_t n = 0;
  while (n < size() && list.scores[size_t(n)] > float(prob_thresh)) ++n;
  return n;
}

int64_t StarDistObjects::class_of(int64_t i) const {
  const auto begin = class_prob.begin() + class_channels() * i;
  return std::max_element(begin, begin + class_channels()) - begin;
}

StarDistObjects suppress_candidates(const StarDistFound& found, const stardist::Rays& rays, double nms_thresh, const stardist::Progress& progress) {
  stardist::NmsOptions options;
  options.threshold = float(nms_thresh);
  options.progress = progress;
  const stardist::Candidates& c = found.candidates;
  const stardist::NmsResult kept = stardist::suppress(c.scores, c.polyhedra(rays), options);
  return chosen(c, found.class_prob, kept.kept, rays.size());
}

StarDistObjects visible_objects(const StarDistObjects& objects, const stardist::Rays& rays, const data::Extent3& extent, uint64_t memory) {
  std::vector<char> seen(size_t(objects.size()), 0);
  draw_objects(objects, rays, objects.size(), extent, memory, [&](int64_t, const int32_t* labels) {
    for (int64_t i = 0; i < extent[1] * extent[2]; ++i)
      if (labels[i] > 0) seen[size_t(labels[i] - 1)] = 1;
  });
  std::vector<int64_t> visible;
  for (size_t i = 0; i < seen.size(); ++i)
    if (seen[i]) visible.push_back(int64_t(i));
  return chosen(objects.list, objects.class_prob, visible, rays.size());
}

void place_objects(StarDistObjects& objects, const Placement& placement) {
  for (size_t i = 0; i < objects.list.points.size(); i += 3) {
    std::array<float, 3> at{};
    for (size_t k = 0; k < 3; ++k) at[placement.order[k]] = float(double(objects.list.points[i + k]) / placement.scale[k]);
    std::copy(at.begin(), at.end(), objects.list.points.begin() + std::ptrdiff_t(i));
  }
}

stardist::Rays placed_rays(const stardist::Rays& rays, const Placement& placement) {
  if (placement.trivial()) return rays;
  return stardist::turned(stardist::scaled(rays, {1 / placement.scale[0], 1 / placement.scale[1], 1 / placement.scale[2]}), placement.order);
}

void draw_objects(const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const data::Extent3& extent, uint64_t memory,
                  const std::function<void(int64_t z, const int32_t* labels)>& write, const std::optional<int32_t>& overlap_label) {
  const stardist::Polyhedra polyhedra = objects.list.polyhedra(rays);
  const int64_t plane = extent[1] * extent[2];
  const int64_t fit = memory == 0 ? extent[0] : int64_t(memory / (sizeof(int32_t) * uint64_t(plane)));
  const int64_t depth = std::clamp<int64_t>(fit, 1, extent[0]);
  std::vector<stardist::Box> boxes;
  for (int64_t i = 0; i < count; ++i) boxes.push_back(stardist::bounding_box(rays, polyhedra.distances(i), polyhedra.centre(i)));
  std::vector<int32_t> labels(size_t(depth * plane));
  for (int64_t first = 0; first < extent[0]; first += depth) {
    const int64_t last = std::min(first + depth, extent[0]) - 1;
    std::fill(labels.begin(), labels.end(), 0);
    const stardist::Box slab{{int32_t(first), 0, 0}, {int32_t(last), int32_t(extent[1] - 1), int32_t(extent[2] - 1)}};
    std::vector<int32_t> here;  // best first
    for (int64_t i = 0; i < count; ++i)
      if (stardist::intersection(boxes[size_t(i)], slab).voxels() > 0) here.push_back(int32_t(i));
    stardist::for_each_polyhedron(polyhedra, here, stardist::RenderMode::full, slab, {}, [&](int32_t i, const std::vector<stardist::VoxelRun>& runs) {
      for (const stardist::VoxelRun& run : runs) stardist::paint(labels.data() + ((run.z - first) * extent[1] + run.y) * extent[2], run, i + 1, overlap_label);
    });
    for (int64_t z = first; z <= last; ++z) write(z, labels.data() + (z - first) * plane);
  }
}

}  // namespace voxgrad::app

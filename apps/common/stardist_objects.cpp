// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_objects.hpp"

#include <algorithm>

namespace voxgrad::app {
namespace {

StarDistObjects chosen(const stardist::Candidates& from, const std::vector<int32_t>& classes, const std::vector<int64_t>& indices, int64_t rays) {
  StarDistObjects out;
  for (const int64_t i : indices) {
    out.list.scores.push_back(from.scores[size_t(i)]);
    out.list.points.insert(out.list.points.end(), from.points.begin() + 3 * i, from.points.begin() + 3 * (i + 1));
    out.list.dist.insert(out.list.dist.end(), from.dist.begin() + rays * i, from.dist.begin() + rays * (i + 1));
    if (!classes.empty()) out.classes.push_back(classes[size_t(i)]);
  }
  return out;
}

}  // namespace

int64_t StarDistObjects::above(double prob_thresh) const {
  int64_t n = 0;
  while (n < size() && list.scores[size_t(n)] > float(prob_thresh)) ++n;
  return n;
}

StarDistObjects suppress_candidates(const StarDistFound& found, const stardist::Rays& rays, double nms_thresh, const stardist::Progress& progress) {
  stardist::NmsOptions options;
  options.threshold = float(nms_thresh);
  options.progress = progress;
  const stardist::Candidates& c = found.candidates;
  const stardist::NmsResult kept = stardist::suppress(c.scores, c.polyhedra(rays), options);
  return chosen(c, found.classes, kept.kept, rays.size());
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
  return chosen(objects.list, objects.classes, visible, rays.size());
}

void draw_objects(const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const data::Extent3& extent, uint64_t memory,
                  const std::function<void(int64_t z, const int32_t* labels)>& write) {
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
    std::vector<int64_t> here;  // best first
    for (int64_t i = 0; i < count; ++i)
      if (stardist::intersection(boxes[size_t(i)], slab).voxels() > 0) here.push_back(i);
    const int64_t batch = 32 * int64_t(threads());
    std::vector<std::vector<stardist::VoxelRun>> runs(static_cast<size_t>(batch));
    for (int64_t from = 0; from < int64_t(here.size()); from += batch) {
      const int64_t n = std::min(batch, int64_t(here.size()) - from);
      stardist::for_each_item(std::min<int64_t>(n, threads()), [&](int64_t worker) {  // every thread its own scratch
        stardist::PolyhedronRuns finder;
        for (int64_t k = worker; k < n; k += threads())
          finder.find(polyhedra, here[size_t(from + k)], stardist::RenderMode::full, slab, runs[size_t(k)]);
      });
      for (int64_t k = 0; k < n; ++k)
        for (const stardist::VoxelRun& run : runs[size_t(k)]) {
          int32_t* row = labels.data() + ((run.z - first) * extent[1] + run.y) * extent[2];
          for (int32_t x = run.x0; x <= run.x1; ++x)
            if (row[x] == 0) row[x] = int32_t(here[size_t(from + k)] + 1);
        }
    }
    for (int64_t z = first; z <= last; ++z) write(z, labels.data() + (z - first) * plane);
  }
}

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
// How much of label volumes survives the way through targets, suppression and rendering, as if a network predicted perfectly:
// stardist_round_trip LABELS.tif... One table row per volume.

#include <cstdio>

#include "voxgrad/data/object_boxes.hpp"
#include "voxgrad/io/tiff.hpp"
#include "voxgrad/metrics/components.hpp"
#include "voxgrad/metrics/instances.hpp"
#include "voxgrad/stardist/nms.hpp"
#include "voxgrad/stardist/render.hpp"
#include "voxgrad/stardist/targets.hpp"

using namespace voxgrad;

namespace {

data::Volume<int32_t> read(const char* path) {
  io::TiffOptions options;
  options.axes = "TYX";
  io::TiffMovie movie(path, options);
  data::Volume<float> values(movie.extent());
  movie.read(0, values.extent[0], values.voxels.data());
  data::Volume<int32_t> labels(values.extent);
  for (size_t i = 0; i < labels.voxels.size(); ++i) labels.voxels[i] = int32_t(values.voxels[i]);
  if (data::object_ids(labels).size() > 1) return labels;
  const metrics::Components parts = metrics::label_components(labels);
  for (size_t i = 0; i < labels.voxels.size(); ++i) labels.voxels[i] = int32_t(parts.labels.voxels[i]);
  return labels;
}

void round_trip(const char* path) {
  const data::Volume<int32_t> labels = read(path);
  const auto extents = data::median_extents<int32_t>({labels});
  const double most = std::max({extents[0], extents[1], extents[2]});
  const stardist::Vec3d anisotropy{most / extents[0], most / extents[1], most / extents[2]};
  const stardist::Rays rays = stardist::make_rays(stardist::GoldenSpiral{96, anisotropy});
  const stardist::LabelView<int32_t> view(labels);
  const stardist::DistanceMap dist = stardist::star_distances(view, rays);
  const data::Volume<float> prob = stardist::object_probability(labels, anisotropy);
  stardist::CandidateRule rule;
  rule.prob_thresh = 0.5f;
  rule.border = stardist::border(0);
  const auto found = stardist::find_candidates(prob.voxels, {dist.data(), size_t(dist.size())}, labels.extent, rays.size(), rule);
  stardist::NmsOptions options;
  options.threshold = 0.4f;
  const auto kept = stardist::suppress(found.scores, found.polyhedra(rays), options).kept;
  stardist::Candidates objects;
  for (const int64_t i : kept) {
    objects.scores.push_back(found.scores[size_t(i)]);
    objects.points.insert(objects.points.end(), found.points.begin() + 3 * i, found.points.begin() + 3 * (i + 1));
    objects.dist.insert(objects.dist.end(), found.dist.begin() + rays.size() * i, found.dist.begin() + rays.size() * (i + 1));
  }
  const auto drawn = stardist::render(objects.polyhedra(rays), labels.extent);
  const auto at = [&](double t) { return metrics::match_instances(labels, drawn.labels, t).scores; };
  const auto half = at(0.5);
  const char* name = path;
  for (const char* c = path; *c != 0; ++c)
    if (*c == '/') name = c + 1;
  std::printf("| %s | %ldx%ldx%ld | %ld | %.2f, %.2f, %.2f | %ld | %ld | %.3f | %.3f | %.3f |\n", name, long(labels.extent[0]), long(labels.extent[1]),
              long(labels.extent[2]), long(half.n_true), anisotropy[0], anisotropy[1], anisotropy[2], long(found.size()), long(half.n_pred), half.f1,
              at(0.7).f1, half.mean_matched_score);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::printf("| labels | voxels | objects | anisotropy | candidates | found | F1 at 0.5 | F1 at 0.7 | mean IoU of pairs |\n|---|---|---|---|---|---|---|---|---|\n");
  for (int i = 1; i < argc; ++i) round_trip(argv[i]);
  return 0;
}

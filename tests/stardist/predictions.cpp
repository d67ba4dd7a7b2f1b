// SPDX-License-Identifier: BSD-3-Clause
// From a network's maps to labels: candidates, suppression and drawing in a row, against the Python package.

#include <algorithm>

#include "../catch.hpp"
#include "suppression_cases.hpp"
#include "voxgrad/stardist/nms.hpp"
#include "voxgrad/stardist/render.hpp"

using namespace voxgrad;
using namespace voxgrad::stardist;

TEST_CASE("instances: from the package's maps to its objects and labels") {
  const std::string path = test::shared_golden("predict.h5", "objects of the Python package");
  if (path.empty()) return;
  const io::H5File file(path);
  const Rays rays = make_rays(GoldenSpiral{32, Vec3d{1.7, 1.08, 1.0}});
  const std::vector<float> prob = file.read<float>("/prob"), stored = file.read<float>("/dist_where_prob_gt_0.05");
  const std::vector<uint8_t> mask = file.read<uint8_t>("/mask_prob_gt_0.05");
  std::vector<float> dist(prob.size() * 32, 1e-3f);
  for (size_t i = 0, from = 0; i < mask.size(); ++i)
    if (mask[i] != 0) std::copy_n(&stored[32 * from++], 32, &dist[32 * i]);
  const float model_prob = float(file.attribute<double>("/", "prob_thresh")[0]), model_nms = float(file.attribute<double>("/", "nms_thresh")[0]);

  struct Run {
    const char* group;
    float prob, nms;
    bool sparse;
    std::optional<int32_t> overlap;
  };
  for (const Run& run : {Run{"dense", model_prob, model_nms, false, {}}, Run{"sparse", model_prob, model_nms, true, {}},
                         Run{"overlap_label_-1", model_prob, model_nms, true, -1}, Run{"prob0.3_nms0.5", 0.3f, 0.5f, true, {}}}) {
    INFO(run.group);
    const std::string g = std::string("/") + run.group;
    CandidateRule rule;
    rule.prob_thresh = run.prob;
    rule.grid = {1, 2, 2};
    // The sparse path leaves its margin on the map of the padded image, 20 x 24 x 20.
    if (run.sparse) rule.border = {{{2, 1}, {2, 1}, {2, 2}}};
    const Candidates found = find_candidates(prob, dist, {19, 23, 20}, 32, rule);
    if (run.sparse && run.prob == model_prob) CHECK(found.points == file.read<float>("/sparse_candidates_points"));
    NmsOptions options;
    options.threshold = run.nms;
    const NmsResult result = suppress(found.scores, found.polyhedra(rays), options);
    Candidates kept;
    for (const int64_t i : result.kept) {
      kept.scores.push_back(found.scores[size_t(i)]);
      kept.points.insert(kept.points.end(), &found.points[size_t(3 * i)], &found.points[size_t(3 * i)] + 3);
      kept.dist.insert(kept.dist.end(), &found.dist[size_t(32 * i)], &found.dist[size_t(32 * i)] + 32);
    }
    CHECK(kept.points == file.read<float>(g + "/points"));
    CHECK(kept.scores == file.read<float>(g + "/prob"));
    CHECK(kept.dist == file.read<float>(g + "/dist"));
    RenderOptions draw;
    draw.scores = kept.scores;
    draw.overlap_label = run.overlap;
    const Rendered image = render(kept.polyhedra(rays), {19, 45, 39}, draw);
    const std::vector<int32_t> want = file.read<int32_t>(g + "/labels");
    int64_t different = 0, labelled = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      different += image.labels.voxels[i] != want[i];
      labelled += want[i] != 0;
    }
    CHECK(labelled > 1000);
    CHECK(different * 2000 <= labelled);
  }
}

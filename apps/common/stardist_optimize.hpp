// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist's thresholds from annotated volumes: for each overlap threshold, the probability threshold with the best accuracy.

#include <functional>
#include <utility>
#include <vector>

#include "stardist_model.hpp"
#include "stardist_objects.hpp"
#include "voxgrad/stardist/generator.hpp"

namespace voxgrad::app {

struct StarDistThresholdSearch {
  std::vector<double> nms_thresh{0.3, 0.4, 0.5}, iou_thresh{0.3, 0.5, 0.7};
  double tolerance = 1e-2;
  int64_t most_iterations = 20;
  int64_t border = 2;
  uint64_t memory = 0;
  std::shared_ptr<StarDistCardInference> card = {};  ///< as in StarDistSearch
};

/// What was tried with one overlap threshold.
struct NmsTrial {
  double nms = 0, prob = 0, score = 0;             ///< the best
  std::vector<std::pair<double, double>> tried;    ///< probability threshold and score, in order, without repetitions
};

struct ChosenThresholds {
  double prob = 0, nms = 0, score = 0;
  float most_probable = 0;
  std::vector<NmsTrial> trials;
};

/// The search of the Python package: golden section in [M/2, M], M the largest probability, for the mean over IoU thresholds of
/// the accuracy over all objects. Volumes are predicted and suppressed once. Ties go to the smaller overlap threshold. `prob` is as the
/// search leaves it; keep it between 0 and 1 before it is stored. `volumes`: indices into the source, which is asked again for a volume
/// each time, so that only candidates stay in memory. Errors: UsageError for no volumes, Error when the candidates of all volumes
/// together outgrow half of search.memory.
ChosenThresholds choose_thresholds(models::StarDist3d& net, const stardist::Rays& rays, const stardist::ExampleSource& source,
                                   const std::vector<int64_t>& volumes, const StarDistThresholdSearch& search, const std::function<void(int64_t)>& progress = {});

}  // namespace voxgrad::app

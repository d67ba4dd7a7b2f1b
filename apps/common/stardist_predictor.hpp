// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist's network over a volume of any size, tile by tile: what stays of its maps are the object candidates.

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "stardist_card_inference.hpp"
#include "voxgrad/data/volume.hpp"
#include "voxgrad/models/stardist3d.hpp"
#include "voxgrad/stardist/candidates.hpp"
#include "voxgrad/stardist/tiles.hpp"

namespace voxgrad::app {

/// Where candidates may lie: `border` grid points from the ends of the volume (dense), or of the volume padded to what the network
/// takes (sparse), as the Python package's two ways to predict have it.
enum class BorderRule { dense, sparse };

struct StarDistSearch {
  double prob_thresh = 0.5;              ///< scores strictly above are candidates
  double share_of_most = 0;              ///< and above this share of the largest score so far, `most_so_far` from before included
  float most_so_far = 0;
  int64_t border = 2;                    ///< grid points without candidates at the ends
  BorderRule rule = BorderRule::sparse;
  data::Extent3 n_tiles{0, 0, 0};        ///< per axis; zeros: what computes least within the memory
  uint64_t memory = 0;                   ///< bytes the search may use; 0: no limit
  std::shared_ptr<StarDistCardInference> card = {};  ///< of this network; none: on the CPU
};

/// How a volume will be worked on.
struct StarDistPlan {
  data::Extent3 extent, padded;
  std::array<std::vector<stardist::AxisTile>, 3> tiles;  ///< along z, y, x; all of an axis are equally long
  bool strips;                                          ///< planes do not fit: they are read again for each strip of tiles, its lines are kept
  uint64_t memory;                                      ///< of a tile in the network and the input held for tiles, an upper estimate; the card's own is none of it
  std::string summary;

  int64_t count() const { return int64_t(tiles[0].size() * tiles[1].size() * tiles[2].size()); }
};

/// Errors: UsageError when not even the smallest tile with the planes it reads fits into half of the memory; DeviceError when it does not fit
/// into the card's.
StarDistPlan plan_stardist(const models::StarDist3d& net, const data::Extent3& extent, const StarDistSearch& search);

struct StarDistFound {
  stardist::Candidates candidates;  ///< in the order of the map, whatever the tiles
  std::vector<float> class_prob;    ///< [N, classes + 1] at the centre, background first; empty without classes
  float most_probable = 0;          ///< largest probability anywhere in the volume
  double seconds = 0;
};

/// Frame z of the network's input, [H,W,channels]. Asked for in rising order, apart from the mirrored end and from strips.
using ReadPlane = std::function<void(int64_t z, float* out)>;

/// Runs the plan. progress(tiles done) may throw to end it. Errors: Error when the candidates outgrow the memory, or the maps hold NaN.
StarDistFound find_stardist_candidates(models::StarDist3d& net, const StarDistPlan& plan, const StarDistSearch& search,
                                       const ReadPlane& read, const std::function<void(int64_t)>& progress = {});

}  // namespace voxgrad::app

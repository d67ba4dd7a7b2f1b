// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A network over a whole movie, tile by tile, in bounded memory: frames come from a reader and leave as they are final.

#include <functional>
#include <string>

#include "voxgrad/data/tiles.hpp"
#include "voxgrad/models/unet3d.hpp"

namespace voxgrad::app {

struct PredictOptions {
  bool fast = false;              ///< larger tiles with an overlap instead of the published 8 windows per voxel
  bool batch_statistics = false;  ///< batch norm on the statistics of each batch of windows, as the published script ran
  int64_t window = 64;            ///< published mode: edge of a window; the step is half of it
  data::Extent3 tile{128, 128, 128};  ///< fast mode: the largest tile
  int64_t halo = 16;              ///< fast mode: voxels of context on each side
  int64_t batch = 0;              ///< tiles per step; 0: 128 with batch statistics, else some 2 million voxels, at most 4 tiles, less where memory asks
  uint64_t memory = 0;            ///< bytes the run may use; 0: no limit
};

/// Bytes that one tile needs while it goes through the network in evaluation mode (an upper estimate).
uint64_t tile_memory(const models::UNet3dOptions& net, const data::Extent3& tile);

/// How a movie will be worked on, for people to read before it starts.
struct PredictPlan {
  data::TilePlan tiles;
  int64_t batch;
  uint64_t memory;       ///< estimated peak, bytes
  std::string summary;   ///< "1620 windows of 64^3, 4 at a time, about 0.4 GB"
};

/// Chooses tile size and batch within the memory limit. UsageError when not even one small tile fits.
PredictPlan plan_prediction(models::UNet3d& net, const data::Extent3& movie, const PredictOptions& options);

/// Frame t of the network's input, [H,W]. Called with rising t, again only for frames near the last one.
using ReadFrame = std::function<void(int64_t t, float* out)>;
/// The finished probabilities of frame t, [H,W]; t rises from 0.
using WriteFrame = std::function<void(int64_t t, const float* probability)>;
/// Called after each batch with the number of tiles done; throwing ends the run.
using TileProgress = std::function<void(int64_t done)>;

/// Runs the plan. The network's training flag is set as the options ask and restored.
void predict_movie(models::UNet3d& net, const PredictPlan& plan, const PredictOptions& options, const ReadFrame& read,
                   const WriteFrame& write, const TileProgress& progress = {});

}  // namespace voxgrad::app

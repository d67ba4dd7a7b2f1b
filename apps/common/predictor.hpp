// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A network over a whole movie, tile by tile, in bounded memory: frames come from a reader and leave as they are final.

#include <functional>
#include <memory>
#include <string>

#include "card_inference.hpp"
#include "voxgrad/data/tiles.hpp"
#include "voxgrad/models/unet3d.hpp"

namespace voxgrad::app {

struct PredictOptions {
  bool fast = false;              ///< larger tiles with an overlap instead of the published 8 windows per voxel
  bool batch_statistics = false;  ///< batch norm on the statistics of each batch of windows, as the published script ran
  int64_t window = 64;            ///< published mode: edge of a window; the step is half of it
  data::Extent3 tile{0, 0, 0};    ///< fast mode: the largest tile; zeros: what computes least, up to 4 million voxels
  int64_t halo = 16;              ///< fast mode: voxels of context on each side
  int64_t batch = 0;              ///< tiles per step; 0: 128 with batch statistics, else as many as keep all threads busy, less where memory asks
  uint64_t memory = 0;            ///< bytes the run may use; 0: no limit. On a card, its free memory is the limit
  std::shared_ptr<CardInference> card = {};  ///< where tiles go through the network; none: the CPU
};

/// Bytes that one tile needs while it goes through the network in evaluation mode (an upper estimate).
uint64_t tile_memory(const models::UNet3dOptions& net, const data::Extent3& tile);

/// How a movie will be worked on, for people to read before it starts.
struct PredictPlan {
  data::TilePlan tiles;
  int64_t batch;         ///< tiles that go through the network as one batch: a step
  int64_t lanes;         ///< steps side by side, each on one thread; 1: one step at a time on all threads
  uint64_t memory;       ///< estimated peak, bytes
  std::string summary;   ///< "1620 windows of 64^3, 4 at a time, about 0.4 GB"
};

/// Chooses tile size and batch within the memory limit. UsageError, or on a card DeviceError, when what was asked for does not fit, or not even
/// one small tile does.
PredictPlan plan_prediction(models::UNet3d& net, const data::Extent3& movie, const PredictOptions& options);

/// Frame t of the network's input, [H,W]. Called once per frame with rising t.
using ReadFrame = std::function<void(int64_t t, float* out)>;
/// The finished probabilities of frame t, [H,W]; t rises from 0.
using WriteFrame = std::function<void(int64_t t, const float* probability)>;
/// Called after each batch with the number of tiles done; throwing ends the run.
using TileProgress = std::function<void(int64_t done)>;

/// Where the time of a prediction went, in seconds; all but `seconds` are sums over the lanes.
struct PredictTimes {
  double seconds = 0;      ///< by the clock, from the first frame read to the last one written
  double network = 0;      ///< whole network; on a card with the copies to and from it
  double convolution = 0;  ///< its convolutions with what is fused to them; 0 on a card
  double input = 0;        ///< frames read, tiles cut out
  double output = 0;       ///< tiles added up, frames handed over
  int64_t lanes = 1;
  /// Part of the lanes' time that went into convolutions, 0 to 1.
  double convolution_share() const { return seconds > 0 ? convolution / (seconds * double(lanes)) : 0; }
};

/// Runs the plan. The network's training flag is set as the options ask and restored. With several lanes the functions are
/// called from any of their threads, each never twice at once, but one may run while another does.
PredictTimes predict_movie(models::UNet3d& net, const PredictPlan& plan, const PredictOptions& options, const ReadFrame& read,
                   const WriteFrame& write, const TileProgress& progress = {});

}  // namespace voxgrad::app

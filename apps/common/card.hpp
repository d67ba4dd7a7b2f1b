// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where the networks of a command run when it is not the CPU: --device and --precision become a maker of engines.

#include <functional>
#include <memory>
#include <string>

#include "card_shapes.hpp"
#include "model_folder.hpp"
#include "session.hpp"
#include "voxgrad/cuda/engines.hpp"
#include "voxgrad/models/unet3d.hpp"

namespace voxgrad::app {

/// Makes the engines of a card; tests make them on a device of their own.
struct Card {
  std::string name;  ///< "cuda:0"
  cuda::Precision precision = cuda::Precision::bf16;
  std::function<uint64_t()> free_memory;  ///< bytes
  std::function<std::unique_ptr<cuda::UNet3dTraining>(const cuda::UNet3dTrainingOptions&)> training;
  std::function<std::unique_ptr<cuda::UNet3dInference>(const cuda::UNet3dShape&, int64_t batch, const cuda::Extent& tile, cuda::NormMode)>
      inference;
  std::function<std::unique_ptr<cuda::StarDist3dTraining>(const cuda::StarDist3dTrainingOptions&)> stardist_training;
  std::function<std::unique_ptr<cuda::StarDist3dInference>(const cuda::StarDist3dShape&, int64_t batch, const cuda::Extent& tile, cuda::NormMode)>
      stardist_inference;
  /// "cuda:0 in bf16"
  std::string description() const { return name + " in " + cuda::name(precision); }
};

/// The session's card in the precision that was asked for, else in bf16, or fp16 on cards older than compute capability 8.0; nullptr on
/// the CPU. Errors: UsageError for a precision that is none, or for another than fp32 on the CPU; DeviceError from the card.
std::shared_ptr<const Card> chosen_card(const Arguments& arguments, const Session& session);

/// "2 threads on the cpu", or the card.
std::string where_text(const Card* card, int threads);

/// The largest number from 0 to `most` for which fits(number) holds; fits must not come back once it is lost.
int64_t most_that_fit(int64_t most, const std::function<bool(int64_t)>& fits);

/// DeviceError with what is needed, what is free and the batch that would fit, unless a training engine fits.
void check_training_memory(const Card& card, cuda::UNet3dTrainingOptions options);

/// Batches that are made ahead of the steps, each on a thread of its own: two beside a network on the CPU, whose threads a card leaves free.
int batches_ahead(const Card* card);

/// Steps whose losses wait on the card: fetching one costs about as much as a small step.
inline constexpr int64_t losses_at_once = 32;

/// The optimiser's tensors "exp_avg/NAME", "exp_avg_sq/NAME", "momentum/NAME" as engines name them.
std::pair<std::string, cuda::Part> moment_of(const std::string& name);

/// What a checkpoint keeps of a training on a card: "device", "precision" and, with a dynamic scale, the numbers of the loss scale where they are known.
Metadata card_metadata(const Card& card, const cuda::OptimizerState* numbers);
/// The loss scale of a checkpoint, if it has one and the numbers are those of a dynamic scale: whether they are. Errors: FileError for a text that is none.
bool restore_loss_scale(const Metadata& metadata, cuda::OptimizerState& numbers);
/// Says so when a checkpoint was made on another device or in another precision than it goes on with.
void note_other_device(const Metadata& checkpoint, const Metadata& now, Session& session);

/// "3.2 GiB"
std::string gib_text(uint64_t bytes);

}  // namespace voxgrad::app

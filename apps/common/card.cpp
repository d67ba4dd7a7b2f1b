// SPDX-License-Identifier: BSD-3-Clause
#include "card.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/cuda/runtime.hpp"

namespace voxgrad::app {

std::shared_ptr<const Card> chosen_card(const Arguments& a, const Session& session) {
  const std::string& device = session.device();
  const bool given = a.given("--precision");
  const cuda::Precision asked = given ? cuda::parse_precision(a.choice("--precision")) : cuda::Precision::bf16;
  if (device == "cpu") {
    check<UsageError>(!given || asked == cuda::Precision::f32, "--precision ", cuda::name(asked),
                      " needs a card, but this run is on the cpu, which computes in fp32. Use --device cuda, or leave it out.");
    return nullptr;
  }
  const auto number = parse_integer(device.substr(device.find(':') + 1));
  check(device.rfind("cuda:", 0) == 0 && number, "device '", device, "' is neither cpu nor cuda:N");
  const int card = int(*number);
  const cuda::Precision precision = given ? asked : cuda::device_info(card).sm >= 80 ? cuda::Precision::bf16 : cuda::Precision::f16;
  return std::make_shared<const Card>(Card{
      .name = device,
      .precision = precision,
      .free_memory = [card] { return uint64_t(cuda::device_info(card).free); },
      .training = [=](const cuda::UNet3dTrainingOptions& options) { return cuda::make_unet3d_training(card, precision, options); },
      .inference =
          [=](const cuda::UNet3dShape& shape, int64_t batch, const cuda::Extent& tile, cuda::NormMode norm) {
            return cuda::make_unet3d_inference(card, precision, shape, batch, tile, norm);
          },
      .stardist_training =
          [=](const cuda::StarDist3dTrainingOptions& options) { return cuda::make_stardist3d_training(card, precision, options); },
      .stardist_inference =
          [=](const cuda::StarDist3dShape& shape, int64_t batch, const cuda::Extent& tile, cuda::NormMode norm) {
            return cuda::make_stardist3d_inference(card, precision, shape, batch, tile, norm);
          },
  });
}

std::string where_text(const Card* card, int threads) {
  return card ? card->description() : text(threads, " threads on the cpu");
}

int64_t most_that_fit(int64_t most, const std::function<bool(int64_t)>& fits) {
  int64_t low = 0, high = most;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

void check_training_memory(const Card& card, cuda::UNet3dTrainingOptions o) {
  const uint64_t free = card.free_memory(), needed = cuda::unet3d_training_bytes(card.precision, o);
  if (needed <= free) return;
  const int64_t batch = o.batch, most = most_that_fit(batch - 1, [&](int64_t n) {
    o.batch = n;
    return cuda::unet3d_training_bytes(card.precision, o) <= free;
  });
  throw DeviceError(text(card.name, ": a training step on ", batch, " crops of ", o.crop[0], "x", o.crop[1], "x", o.crop[2], " needs ",
                         gib_text(needed), " of the card's memory, ", gib_text(free), " is free. ",
                         most > 0 ? text("--batch-size ", most, " fits.") : "Not even one crop fits: use smaller ones (--patch-size), or free the card."));
}

int batches_ahead(const Card* card) { return card ? std::clamp(threads(), 2, 8) : 2; }

std::pair<std::string, cuda::Part> moment_of(const std::string& name) {
  const size_t slash = name.find('/');
  return {name.substr(slash + 1), name.substr(0, slash) == "exp_avg_sq" ? cuda::Part::second_moment : cuda::Part::first_moment};
}

Metadata card_metadata(const Card& card, const cuda::OptimizerState* numbers) {
  Metadata m{{"device", "cuda"}, {"precision", cuda::name(card.precision)}};
  if (card.precision == cuda::Precision::f16 && numbers)
    m["loss_scale"] = text(numbers->loss_scale, " ", numbers->clean, " ", numbers->skipped);
  return m;
}

bool restore_loss_scale(const Metadata& metadata, cuda::OptimizerState& numbers) {
  const auto stored = metadata.find("loss_scale");
  if (!numbers.settings.dynamic_scale || stored == metadata.end()) return false;
  std::istringstream in(stored->second);
  in >> numbers.loss_scale >> numbers.clean >> numbers.skipped;
  check<FileError>(bool(in) && numbers.loss_scale > 0, "a checkpoint's loss_scale is '", stored->second, "' (expected three numbers).");
  return true;
}

void note_other_device(const Metadata& checkpoint, const Metadata& now, Session& session) {
  const auto device_of = [](const Metadata& m) -> std::string {  // "cpu", or "cuda in bf16"
    const auto device = m.find("device"), precision = m.find("precision");
    if (device == m.end() || device->second == "cpu") return "cpu";
    return device->second + (precision == m.end() ? "" : " in " + precision->second);
  };
  if (const std::string then = device_of(checkpoint), here = device_of(now); then != here)
    session.note(text("the checkpoint was made on the ", then, ", this run goes on on the ", here,
                      ": its numbers will not be, bit for bit, those of a run that stayed"));
}

std::string gib_text(uint64_t bytes) {
  const double gib = double(bytes) / double(1 << 30);
  return gib < 0.1 ? fmt::format("{:.1f} MiB", gib * 1024) : fmt::format("{:.1f} GiB", gib);
}

}  // namespace voxgrad::app

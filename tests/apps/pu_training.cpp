// SPDX-License-Identifier: BSD-3-Clause
// Positive-unlabeled risks through the trainer: what is refused, what no step may do, and that nothing that is not finite reaches the weights.

#include <atomic>
#include <cmath>
#include <filesystem>

#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/tables.hpp"
#include "common/trainer.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

struct Run {
  std::string message;               ///< of the error that ended it, "" if none
  std::vector<float> weights;        ///< parameters afterwards
  bool finite = true;
};

/// Gives the crops of another source, until it has given so many.
class Failing : public data::CropSource {
 public:
  Failing(std::shared_ptr<const data::CropSource> from, int crops) : from_(std::move(from)), left_(crops) {}
  int64_t size() const override { return from_->size(); }
  data::Extent3 crop_extent() const override { return from_->crop_extent(); }
  std::shared_ptr<const data::Crop> crop(int64_t index) const override {
    check<FileError>(left_.fetch_sub(1) > 0, "the disk is gone.");
    return from_->crop(index);
  }

 private:
  std::shared_ptr<const data::CropSource> from_;
  mutable std::atomic<int> left_;
};

/// readable: crops that can be read before reading fails, if it ever does.
Run run(const TrainConfig& c, const std::string& folder, std::vector<data::Crop> crops, bool resume = false, int readable = 0) {
  Run r;
  const auto net = make_network(c.model, c.seed);
  std::filesystem::create_directories(folder);
  QuietSession session{{{"--progress", "none"}}};
  const auto source = [](std::vector<data::Crop> from) { return std::make_shared<data::MemorySource>(data::Extent3{12, 12, 12}, std::move(from)); };
  std::vector<data::Crop> valid = tiny_crops(4, 2);
  for (data::Crop& crop : valid) crop.propensity = crops[0].propensity;
  try {
    std::shared_ptr<const data::CropSource> train = source(std::move(crops));
    if (readable > 0) train = std::make_shared<Failing>(train, readable);
    Trainer trainer(c, *net, train, source(std::move(valid)), ModelFolder(folder), session);
    if (resume) trainer.resume();
    trainer.run();
  } catch (const Error& e) {
    r.message = e.what();
  }
  for (const nn::Named& p : net->parameters())
    for (float v : p.tensor->span<float>()) {
      r.weights.push_back(v);
      r.finite = r.finite && std::isfinite(v);
    }
  return r;
}

TrainConfig pu_config(int64_t steps, const std::string& loss = "nnpu") {
  TrainConfig c = tiny_config(steps);
  c.training.loss = loss;
  c.training.pu.prior = 0.05;
  return c;
}

std::vector<data::Crop> with_target(uint8_t code) {
  std::vector<data::Crop> crops = tiny_crops(6, 1);
  for (data::Crop& crop : crops) std::fill(crop.target.begin(), crop.target.end(), code);
  return crops;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("pu training: priors outside (0, 1), whatever their way in") {
  const Scratch dir;
  for (const double prior : {-0.1, 1.0, 1.5, double(NAN), double(INFINITY)}) {
    INFO(prior);
    TrainConfig c = pu_config(2);
    c.training.pu.prior = prior;
    const Run r = run(c, dir.file("m"), tiny_crops(6, 1));
    CHECK((has(r.message, "prior is ") || has(r.message, "needs the class prior")));
    CHECK(r.weights == run(pu_config(0), dir.file("untouched"), tiny_crops(6, 1)).weights);
  }
  Config config;
  for (const char* word : {"1", "-0.01", "nan", "inf", "automatic"})
    CHECK(has(message_of<UsageError>([&] { config.set("training_config.pu.prior", word, "--prior"); }),
              text("--prior: training_config.pu.prior is '", word, "' (expected a number from 0 to 0.999999, or auto).")));
}

TEST_CASE("pu training: labels outside the classes, volumes that are all ignored, numbers that are not finite") {
  const Scratch dir;
  const std::vector<float> start = run(pu_config(0), dir.file("start"), tiny_crops(6, 1)).weights;
  for (const std::string loss : {"nnpu", "abs_pu", "naive", "vpu", "pu_dice", "ge_kl", "dist_pu"}) {
    INFO(loss);
    const Run code = run(pu_config(3, loss), dir.file("m"), with_target(7));
    CHECK(code.message ==
          "step 0: labels: 7 at voxel 0 is none of the declared codes (unlabeled 0, positive 1, negative 2, positive outside the population 3, "
          "ignore 255). The last good checkpoint is kept.");
    CHECK(code.weights == start);
    const Run ignored = run(pu_config(3, loss), dir.file("m"), with_target(255));
    CHECK(ignored.message ==
          "step 0: " + loss + ": labels: all voxels are ignored; there is nothing to learn from. The last good checkpoint is kept.");
    CHECK(ignored.weights == start);
    for (const float value : {std::nanf(""), INFINITY, 3e38f}) {
      std::vector<data::Crop> crops = tiny_crops(6, 1);
      for (data::Crop& crop : crops) std::fill(crop.input.begin(), crop.input.end(), value);
      const Run r = run(pu_config(3, loss), dir.file("bad"), crops);
      INFO(value << " " << r.message);
      CHECK(has(r.message, "step 0: " + loss + ": logits: the value at voxel "));
      CHECK(r.weights == start);
      CHECK_FALSE(std::filesystem::exists(dir.file("bad") + "/checkpoint.safetensors"));
    }
    // Nothing labelled, or nothing but positives: finite all the same.
    for (const uint8_t only : {uint8_t(0), uint8_t(1)}) {
      const Run r = run(pu_config(3, loss), dir.file("m"), with_target(only));
      INFO(int(only) << " " << r.message);
      CHECK(r.message.empty());
      CHECK(r.finite);
    }
  }
}

TEST_CASE("pu training: a batch that is skipped makes no step") {
  const Scratch dir;
  TrainConfig c = pu_config(4);
  const std::vector<float> start = run(pu_config(0), dir.file("start"), tiny_crops(6, 1)).weights;
  CHECK(run(c, dir.file("used"), with_target(0)).weights != start);
  c.training.pu.on_no_positive = "skip";
  CHECK(run(c, dir.file("skipped"), with_target(0)).weights == start);
  const CsvTable t = CsvTable::read(dir.file("skipped") + "/risk.csv");
  CHECK(t.rows() == 4);
  CHECK(t.number(3, "skipped") == 1);
}

TEST_CASE("pu training: gamma as a step shortens Adam's corrected steps, which gamma in the loss hardly does") {
  const Scratch dir;
  TrainConfig c = pu_config(1, "nnpu");
  c.training.pu.prior = 0.9;  // far too high: the first step is a corrected one
  std::vector<data::Crop> crops = tiny_crops(3, 1);
  const std::vector<float> start = run(pu_config(0), dir.file("start"), crops).weights;
  const auto length = [&](double gamma, const std::string& mode) {
    c.training.pu.gamma = gamma;
    c.training.pu.gamma_mode = mode;
    const std::vector<float> end = run(c, dir.file("m"), crops).weights;
    double sum = 0;
    for (size_t i = 0; i < end.size(); ++i) sum += std::abs(double(end[i]) - double(start[i]));
    return sum;
  };
  const double full = length(1, "loss");
  REQUIRE(CsvTable::read(dir.file("m") + "/risk.csv").number(0, "corrected") == 1);
  CHECK(length(0.1, "step") == Approx(0.1 * full).epsilon(1e-3));
  CHECK(length(0.1, "loss") > 0.9 * full);
}

TEST_CASE("pu training: running means, averages and carried terms survive a resume to the byte") {
  const Scratch dir;
  std::vector<data::Crop> crops = tiny_crops(7, 1);
  for (size_t i = 0; i < 5; ++i) std::fill(crops[i].target.begin(), crops[i].target.end(), uint8_t(0));
  for (const std::string loss : {"imbalanced_nnpu", "pu_dice", "ge_kl"}) {
    INFO(loss);
    TrainConfig c = pu_config(8, loss);
    c.training.valid_interval = 5;
    c.training.pu.on_no_positive = "carry";
    c.training.pu.denominator = "fixed";
    c.training.pu.running_means = loss == "imbalanced_nnpu" ? 1 : 0.2;
    run(c, dir.file(loss + "-whole"), crops);
    c.training.num_steps = 5;
    run(c, dir.file(loss + "-parts"), crops);
    c.training.num_steps = 8;
    CHECK(run(c, dir.file(loss + "-parts"), crops, true).message.empty());
    for (const char* file : {"/risk.csv", "/checkpoint.safetensors"})
      CHECK((read_file(dir.file(loss + "-whole") + file) == read_file(dir.file(loss + "-parts") + file)));
  }
}

TEST_CASE("pu training: accumulated steps, mixup and the entropy's ramp survive an interruption to the byte") {
  const Scratch dir;
  const std::vector<data::Crop> crops = tiny_crops(7, 1);
  for (const std::string loss : {"imbalanced_nnpu", "dist_pu", "vpu"}) {
    INFO(loss);
    TrainConfig c = pu_config(14, loss);
    c.training.checkpoint_interval = 5;
    c.training.pu.reduction = "accumulate";
    c.training.pu.micro_batch = 2;
    c.training.pu.mixup = loss == "dist_pu" ? 5 : loss == "vpu" ? 0.1 : 0;
    c.training.pu.entropy_ramp = loss == "dist_pu" ? 0.004 : 0;
    c.training.pu.warmup = loss == "imbalanced_nnpu" ? 0 : 3;
    REQUIRE(run(c, dir.file(loss + "-whole"), crops).message.empty());
    const Run part = run(c, dir.file(loss + "-parts"), crops, false, 26);  // ends between the checkpoints after 5 and 10 steps
    CHECK(has(part.message, "the disk is gone."));
    CHECK(part.weights != run(pu_config(0, loss), dir.file("start"), crops).weights);
    CHECK(run(c, dir.file(loss + "-parts"), crops, true).message.empty());
    for (const char* file : {"/risk.csv", "/train.csv", "/valid.csv", "/checkpoint.safetensors"})
      CHECK((read_file(dir.file(loss + "-whole") + file) == read_file(dir.file(loss + "-parts") + file)));
    if (loss == "imbalanced_nnpu") continue;
    const CsvTable t = CsvTable::read(dir.file(loss + "-whole") + "/risk.csv");
    REQUIRE(t.rows() == 14);
    for (size_t i = 0; i < 14; ++i) {
      CHECK((t.number(i, "lambda") > 0) == (i >= 3));
      if (i < 3) CHECK(t.number(i, "mixup") == 0);
      if (loss == "dist_pu") CHECK((t.number(i, "mixup") > 0) == (i >= 3));  // vpu's pairs may be none: crops paired with themselves
      if (loss == "dist_pu")
        CHECK(t.number(i, "mu") == Approx(i < 3 ? 0.002 : 0.004 * (1 - std::cos(1.5707963267948966 * (double(i) - 3) / 11))).margin(1e-12));
    }
    double mixed = 0;
    for (size_t i = 3; i < 14; ++i) mixed += t.number(i, "mixup");
    CHECK(mixed > 0);
    CHECK(t.number(4, "lambda") != t.number(5, "lambda"));
    // What the step descends is the risk with the weighted term.
    const CsvTable loss_of = CsvTable::read(dir.file(loss + "-whole") + "/train.csv");
    CHECK(loss_of.number(6, "loss") == Approx(t.number(6, "objective")).epsilon(1e-5));
  }
}

TEST_CASE("pu training: one micro-batch is the whole batch, to the byte") {
  const Scratch dir;
  TrainConfig c = pu_config(5, "abs_pu");
  const Run whole = run(c, dir.file("batch"), tiny_crops(6, 1));
  c.training.pu.reduction = "accumulate";
  c.training.pu.micro_batch = 3;
  const Run one = run(c, dir.file("one"), tiny_crops(6, 1));
  CHECK(one.message.empty());
  CHECK(one.weights == whole.weights);
  CHECK((read_file(dir.file("batch") + "/risk.csv") == read_file(dir.file("one") + "/risk.csv")));
  c.training.pu.micro_batch = 1;
  CHECK(run(c, dir.file("three"), tiny_crops(6, 1)).weights != whole.weights);  // batch norm over single crops
}

TEST_CASE("pu training: every risk takes steps that stay finite, with the data it needs, and says what is missing") {
  const Scratch dir;
  TrainConfig first = pu_config(3, "naive");
  REQUIRE(run(first, dir.file("first"), tiny_crops(6, 1)).message.empty());
  write_file(dir.file("first") + "/config.yaml", "model_config:\n  n_layer: 2\n  nbf: 2\ntraining_config:\n  patch_size: 8\n");
  for (const auto& [loss, risk] : pu::risks()) {
    INFO(loss);
    TrainConfig c = pu_config(3, loss);
    std::vector<data::Crop> crops = tiny_crops(6, 1);
    if (risk.needs.negatives) {
      c.training.pu.labels = "codes";
      const Run none = run(c, dir.file("none-" + loss), crops);
      if (loss != "pubn") CHECK(has(none.message, "needs voxels that are known to be negative (label 2), and not one was met in a whole epoch."));
      for (data::Crop& crop : crops) std::fill(crop.target.begin(), crop.target.begin() + 500, uint8_t(2));
    }
    if (risk.needs.propensity)
      for (data::Crop& crop : crops) crop.propensity.assign(crop.target.size(), 0.5f);
    if (loss == "pubn") {
      c.training.pu.negative_share = 0.1;
      c.training.pu.first_stage = dir.file("first");
    }
    if (loss == "ge_binomial") c.training.batch_size = 2;
    const Run r = run(c, dir.file(loss), crops);
    INFO(r.message);
    CHECK(r.message.empty());
    CHECK(r.finite);
  }
}

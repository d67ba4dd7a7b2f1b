// SPDX-License-Identifier: BSD-3-Clause
// A prior that is estimated during training: what it finds, how it moves, that a resumed run is the same, and where it cannot be.

#include "common/auto_prior.hpp"

#include <filesystem>

#include "apps/host_card.hpp"
#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "apps/tiny_dataset.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/tables.hpp"
#include "common/trainer.hpp"
#include "common/training_data.hpp"
#include "voxgrad/io/safetensors.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// tiny_crops in which every second block is not labelled.
std::vector<data::Crop> half_labelled(int count, uint64_t seed) {
  std::vector<data::Crop> crops = tiny_crops(count, seed);
  for (size_t i = 1; i < crops.size(); i += 2) std::fill(crops[i].target.begin(), crops[i].target.end(), uint8_t(0));
  return crops;
}

class Crops : public data::MemorySource {
 public:
  Crops(std::vector<data::Crop> crops, bool centred) : MemorySource({12, 12, 12}, std::move(crops)), centred_(centred) {}
  bool centred(int64_t) const override { return centred_; }

 private:
  bool centred_;
};

TrainConfig auto_config(int64_t steps) {
  TrainConfig c = tiny_config(steps);
  c.training.loss = "abs_pu";
  c.training.batch_size = 4;
  c.training.optimizer.lr = 0.02;
  c.training.pu.prior_auto = true;
  c.training.pu.prior_prime = 0.4;
  c.training.pu.estimate = {.start = 0, .smoothing = 0.5, .lowest = 0, .highest = 0.5, .warmup = 30, .interval = 15, .crops = 40};
  return c;
}

void train(const TrainConfig& c, const std::string& folder, bool resume, std::string* said = nullptr, std::shared_ptr<const Card> card = nullptr) {
  const auto net = make_network(c.model, c.seed);
  std::filesystem::create_directories(folder);
  QuietSession session{{{"--progress", "none"}}};
  Trainer trainer(c, *net, std::make_shared<Crops>(half_labelled(40, 1), false), std::make_shared<Crops>(half_labelled(40, 2), false),
                  ModelFolder(folder), session, {}, std::move(card));
  if (resume) trainer.resume();
  trainer.run();
  if (said) *said = session.err();
}

AutoPrior::Logits logits_of(models::UNet3d& net) {
  net.eval();
  return [&net](const Tensor& x) { return net.logits(x); };
}

std::string refusal(const TrainConfig& c, std::shared_ptr<const data::CropSource> train, std::shared_ptr<const data::CropSource> valid) {
  return message_of<FileError>([&] { AutoPrior(c, train, valid, {}); });
}

}  // namespace

TEST_CASE("auto prior: training finds the events that nobody marked, and resumes to the same bytes") {
  const Scratch dir;
  std::string said;
  train(auto_config(63), dir.file("whole"), false, &said);
  const CsvTable t = CsvTable::read(dir.file("whole") + "/prior.csv");
  REQUIRE(t.rows() == 3);
  CHECK(t.number(0, "step") == 29);
  const double labelled = t.number(2, "labelled"), prior = t.number(2, "prior");
  CHECK(prior > 1.5 * labelled);  // the truth is 2
  CHECK(prior < 2.7 * labelled);
  CHECK(t.number(0, "prior") == Approx(t.number(0, "estimate")));  // the first is taken as it is
  for (size_t i = 1; i < 3; ++i) {
    const double before = t.number(i - 1, "prior"), counted = std::clamp(t.number(i, "estimate"), before / 2, before * 2);
    CHECK(t.number(i, "prior") == Approx(before + 0.5 * (counted - before)));
    CHECK(t.number(i, "low") <= t.number(i, "estimate"));
    CHECK(t.number(i, "high") >= t.number(i, "estimate"));
  }
  CHECK(said.find("step 30: prior 0.") != std::string::npos);
  const CsvTable risk = CsvTable::read(dir.file("whole") + "/risk.csv");
  CHECK(risk.number(59, "prior") == t.number(1, "prior"));  // the estimate after step 59 comes too late for it
  CHECK(risk.number(60, "prior") == t.number(2, "prior"));
  CHECK(risk.number(0, "prior") > 0);
  CHECK(risk.number(0, "prior") < 0.75 * prior);  // the labelled share at first

  train(auto_config(51), dir.file("parts"), false);  // between two estimates
  train(auto_config(63), dir.file("parts"), true);
  for (const char* file : {"/prior.csv", "/risk.csv", "/train.csv", "/valid.csv", "/weights.safetensors", "/checkpoint.safetensors"}) {
    INFO(file);
    CHECK((read_file(dir.file("whole") + file) == read_file(dir.file("parts") + file)));
  }
}

TEST_CASE("auto prior: weights of the last step are validated under the prior that was estimated there") {
  const Scratch dir;
  const TrainConfig c = auto_config(30);  // the first estimate comes with the last step
  const auto net = make_network(c.model, c.seed);
  QuietSession session{{{"--progress", "none"}}};
  Trainer trainer(c, *net, std::make_shared<Crops>(half_labelled(40, 1), false), std::make_shared<Crops>(half_labelled(40, 2), false),
                  ModelFolder(dir.folder()), session);
  trainer.run();
  const CsvTable prior = CsvTable::read(dir.file("prior.csv")), risk = CsvTable::read(dir.file("risk.csv"));
  REQUIRE(prior.rows() == 1);
  REQUIRE(std::abs(prior.number(0, "prior") - risk.number(29, "prior")) > 0.1 * risk.number(29, "prior"));  // so the comparison starts anew
  const CsvTable valid = CsvTable::read(dir.file("valid.csv"));
  CHECK(trainer.best() == valid.number(valid.rows() - 1, "loss"));
  CHECK(trainer.best_step() == 30);
  CHECK(io::SafeTensors(dir.file("weights.safetensors")).metadata().at("step") == "30");
  CHECK(io::SafeTensors(dir.file("checkpoint.safetensors")).metadata().contains("best"));
}

TEST_CASE("auto prior: on a card the network's passes are the card's, a batch at a time, and the estimate is the CPU's") {
  const Scratch dir;
  TrainConfig c = auto_config(31);
  c.training.inference_batch_size = 2 * c.training.batch_size + 1;
  train(c, dir.file("cpu"), false);
  HostCardLog log;
  train(c, dir.file("card"), false, nullptr, host_card(cuda::Precision::f32, uint64_t(1) << 40, &log));
  CHECK(log.inference == 1);
  const CsvTable cpu = CsvTable::read(dir.file("cpu") + "/prior.csv"), card = CsvTable::read(dir.file("card") + "/prior.csv");
  REQUIRE((cpu.rows() == 1 && card.rows() == 1));
  for (const char* name : {"step", "labelled"}) CHECK(card.number(0, name) == cpu.number(0, name));
  for (const char* name : {"estimate", "prior"}) CHECK(card.number(0, name) == Approx(cpu.number(0, name)).epsilon(0.02));
}

TEST_CASE("auto prior: starts at the labelled share, stays inside its bounds, and ignores a network that says nothing") {
  TrainConfig c = auto_config(1);
  c.training.pu.estimate.highest = 0.03;
  const auto train = std::make_shared<Crops>(half_labelled(40, 1), false), valid = std::make_shared<Crops>(half_labelled(40, 2), false);
  AutoPrior a(c, train, valid, {});
  CHECK(a.start() == Approx(48.0 / 1728 / 2));
  CHECK(a.labelled() == a.start());
  CHECK_FALSE(a.due(29));
  CHECK(a.due(30));
  CHECK_FALSE(a.due(50));
  CHECK(a.due(60));
  const auto net = make_network(c.model, 5);
  const auto scale = [&](float by) {
    for (nn::Named& n : net->state())
      if (n.name.find("final_conv") != std::string::npos)
        for (float& v : n.tensor->mutable_span<float>()) v *= by;
  };
  scale(100);
  const PriorUpdate u = a.estimate(logits_of(*net), 40, 0.02);
  CHECK(u.prior <= 0.03);
  CHECK(u.prior >= a.labelled());
  const PriorUpdate same = AutoPrior(c, train, valid, {}).estimate(logits_of(*net), 40, 0.02);
  CHECK(same.estimate == u.estimate);  // drawn by seed and step alone
  scale(0);
  const PriorUpdate constant = a.estimate(logits_of(*net), 60, 0.02);
  CHECK_FALSE(constant.used);
  CHECK(constant.prior == 0.02);
  CHECK(a.used() == 1);
  c.training.pu.estimate = {.start = 0.2, .highest = 0.5};
  CHECK(AutoPrior(c, train, valid, {}).start() == 0.2);
}

TEST_CASE("auto prior: where it cannot be estimated, that is said before training") {
  const TrainConfig c = auto_config(1);
  std::vector<data::Crop> empty = tiny_crops(8, 1);
  for (data::Crop& crop : empty) std::fill(crop.target.begin(), crop.target.end(), uint8_t(0));
  const auto none = std::make_shared<Crops>(empty, false), random = std::make_shared<Crops>(tiny_crops(8, 1), false),
             centred = std::make_shared<Crops>(tiny_crops(8, 2), true);
  CHECK(refusal(c, random, centred) ==
        "training_config.pu.prior is auto, the share of positives in random crops, but all validation crops were cut around events and hold more. "
        "Whole validation movies (data sets input and label) or unlabelled validation crops are needed; or give the prior as a number.");
  CHECK(refusal(c, none, random) ==
        "training_config.pu.prior is auto, and starts at the labelled share of the training crops, but none of those looked at "
        "(training_config.pu.prior_crops, 40) holds a labelled voxel. Look at more, or set training_config.pu.prior_start.");
  CHECK(refusal(c, random, none) ==
        "training_config.pu.prior is auto, but none of the validation crops looked at holds a labelled voxel to compare with. Give the prior as a "
        "number.");
  CHECK_NOTHROW(AutoPrior(c, centred, centred, {}));  // batches of such crops: the prior is theirs
  TrainConfig low = c;
  low.training.pu.estimate.highest = 0.01;
  CHECK(refusal(low, random, random).rfind("training_config.pu.prior_bounds ends at 0.01, but already the labelled share", 0) == 0);
}

TEST_CASE("auto prior: random crops of whole validation movies stand for everything") {
  const Scratch dir;
  write_tiny_dataset(dir.file("d.h5"), {{"train", 2}, {"valid", 2}});
  TrainConfig c = auto_config(1);
  c.training.crop_size = 16;
  const TrainingData data = open_training_data(dir.file("d.h5"), c, 1 << 20);
  REQUIRE(bool(data.held_out));
  const auto crops = data.held_out(50, 3), again = data.held_out(50, 3), others = data.held_out(50, 4);
  REQUIRE(crops->size() == 50);
  CHECK(crops->crop_extent() == data::Extent3{8, 8, 8});
  int same = 0;
  double labelled = 0;
  for (int64_t i = 0; i < 50; ++i) {
    CHECK(crops->crop(i)->input == again->crop(i)->input);
    same += crops->crop(i)->input == others->crop(i)->input;
    CHECK_FALSE(crops->centred(i));
    const auto crop = crops->crop(i);
    for (uint8_t v : crop->target) labelled += v;
  }
  CHECK(same < 3);
  CHECK(labelled > 0);
  CHECK(labelled / (50 * 512) < 0.1);  // two events of 80 voxels in 10560, more often hit in the middle
  TrainConfig plain = c;
  plain.training.pu.prior_auto = false;
  CHECK_FALSE(bool(open_training_data(dir.file("d.h5"), plain, 1 << 20).held_out));
}

TEST_CASE("auto prior: a draw with too few labelled crops leaves the prior as it is") {
  TrainConfig c = auto_config(1);
  c.training.pu.estimate.crops = 1;
  const auto train = std::make_shared<Crops>(tiny_crops(40, 1), false);
  AutoPrior rare(c, train, std::make_shared<Crops>(tiny_crops(40, 2), false), {});
  const auto net = make_network(c.model, 5);
  const PriorUpdate u = rare.estimate(logits_of(*net), 30, 0.02);  // one crop is drawn
  CHECK(u.few);
  CHECK_FALSE(u.used);
  CHECK(u.prior == 0.02);
  CHECK(rare.used() == 0);
}

// SPDX-License-Identifier: BSD-3-Clause
// Training on a card, which here is the CPU running the card's kernels: the same numbers as the CPU's trainer, resume on either.

#include <csignal>
#include <filesystem>
#include <limits>

#include "apps/checkpoints.hpp"
#include "apps/columns.hpp"
#include "apps/host_card.hpp"
#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/trainer.hpp"
#include "voxgrad/core/parallel.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using cuda::Precision;

namespace {

using CardPtr = std::shared_ptr<const Card>;

struct Job {
  Job(const TrainConfig& config, const std::string& folder, CardPtr card, std::vector<data::Crop> crops = tiny_crops(7, 1))
      : net(make_network(config.model, config.seed)),
        trainer(config, *net, std::make_shared<data::MemorySource>(data::Extent3{12, 12, 12}, std::move(crops)), tiny_source(4, 2), ModelFolder(folder),
                session, {}, std::move(card)) {
    std::filesystem::create_directories(folder);
  }
  QuietSession session{{{"--progress", "none"}}};
  std::unique_ptr<models::UNet3d> net;
  Trainer trainer;
};

/// One stage of width 2, batches of 3 of 7 crops: every third step has one crop only.
TrainConfig config(int64_t steps) {
  TrainConfig c = tiny_config(steps);
  c.model.n_layer = 1;
  return c;
}

/// Runs `steps` steps from the folder's checkpoint, or from the start.
void go_on(TrainConfig c, const std::string& folder, const CardPtr& card, int64_t until, std::string* said = nullptr) {
  c.training.num_steps = until;
  Job job(c, folder, card);
  if (ModelFolder(folder).has_checkpoint()) job.trainer.resume();
  job.trainer.run();
  if (said) *said = job.session.err();
}

}  // namespace

TEST_CASE("card: losses, weights and moments are those of the CPU's trainer, whatever the loss and the optimiser") {
  struct Kind {
    std::string loss, optimizer, schedule;
    double momentum, decay;
  };
  const std::vector<Kind> kinds = {{"mse", "adam", "none", 0, 0}, {"bce", "sgd", "cosine", 0.9, 0.01}, {"nnpu", "adam", "step", 0, 0},
                                   {"upu", "sgd", "plateau", 0, 0}, {"mse", "adamw", "none", 0, 0.1}};
  for (const Kind& k : kinds) {
    INFO(k.loss << " with " << k.optimizer);
    TrainConfig c = config(7);
    c.training.loss = k.loss;
    c.training.pu.prior = 0.05;
    c.training.optimizer.name = k.optimizer;
    c.training.optimizer.momentum = k.momentum;
    c.training.optimizer.weight_decay = k.decay;
    c.training.schedule = {.name = k.schedule, .factor = 0.5, .patience = 1, .interval = 2, .min_lr = 1e-4};
    Scratch cpu, card;
    HostCardLog log;
    Job(c, cpu.folder(), nullptr).trainer.run();
    Job(c, card.folder(), host_card(Precision::f32, uint64_t(1) << 40, &log)).trainer.run();
    CHECK(log.batches == std::vector<int64_t>{3, 1});  // each planned once
    CHECK(log.inference == 1);
    CHECK(column(card.file("train.csv"), "step") == column(cpu.file("train.csv"), "step"));
    check_close(column(card.file("train.csv"), "loss"), column(cpu.file("train.csv"), "loss"), 1e-3);
    check_close(column(card.file("valid.csv"), "loss"), column(cpu.file("valid.csv"), "loss"), 1e-3);
    CHECK(checkpoint_distance(card.folder(), cpu.folder()) < 1e-3);
    CHECK((ModelFolder(card.folder()).has_weights() && checkpoint_meta(card.folder(), "step") == "7"));
    if (k.loss == "nnpu") check_close(column(card.file("risk.csv"), "objective"), column(cpu.file("risk.csv"), "objective"), 1e-3);
  }
}

TEST_CASE("card: stopped and resumed on the same card, a run ends with the same bytes, in every precision") {
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::f16}) {
    INFO(cuda::name(precision));
    const TrainConfig c = config(6);
    Scratch whole, parts;
    go_on(c, whole.folder(), host_card(precision), 6);
    std::string said;
    for (const int64_t step : {1, 3, 5, 6}) go_on(c, parts.folder(), host_card(precision), step, &said);
    CHECK(said.find("the checkpoint was made on") == std::string::npos);
    CHECK((read_file(whole.file("checkpoint.safetensors")) == read_file(parts.file("checkpoint.safetensors"))));
    CHECK(read_file(whole.file("train.csv")) == read_file(parts.file("train.csv")));
    CHECK(checkpoint_meta(whole.folder(), "device") == "cuda");
    CHECK(checkpoint_meta(whole.folder(), "precision") == cuda::name(precision));
    CHECK(checkpoint_meta(whole.folder(), "loss_scale").empty() == (precision != Precision::f16));
  }
}

TEST_CASE("card: a training set that fits lies on the card, one that does not is copied batch by batch, to the same bytes; the log says which") {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    INFO(cuda::name(precision));
    TrainConfig c = config(8);
    c.training.flip = c.training.random_crop = true;
    const auto shape = shape_of(make_network(c.model, 1)->options());
    const auto steps = [&](int64_t batch) { return cuda::unet3d_training_bytes(precision, {.net = shape, .batch = batch, .crop = {8, 8, 8}}); };
    const uint64_t beside = steps(3) + steps(1) + cuda::unet3d_inference_bytes(precision, shape, 3, {8, 8, 8}, cuda::NormMode::running_statistics),
                   set = 7 * 12 * 12 * 12 * 5;
    Scratch held, copied, parts;
    std::string said;
    go_on(c, held.folder(), host_card(precision), 8, &said);
    CHECK(said.find(text("the training set, ", gib_text(set), ", lies on cuda:0, where its patches are cut")) != std::string::npos);
    go_on(c, copied.folder(), host_card(precision, (beside + set) * 10 / 9 - 16), 8, &said);
    CHECK(said.find(text("the training set, ", gib_text(set), ", and its steps, ", gib_text(beside), ", are more than nine tenths of the ",
                         gib_text((beside + set) * 10 / 9 - 16), " that are free on cuda:0: patches are cut on the cpu and copied to cuda:0")) != std::string::npos);
    go_on(c, parts.folder(), host_card(precision, (beside + set) * 10 / 9 + 16), 4, &said);  // in the midst of an epoch
    CHECK(said.find("lies on cuda:0") != std::string::npos);
    go_on(c, parts.folder(), host_card(precision), 8);
    for (const char* file : {"checkpoint.safetensors", "train.csv", "valid.csv"}) {
      INFO(file);
      CHECK((read_file(held.file(file)) == read_file(copied.file(file))));
      if (std::string(file) != "valid.csv") CHECK((read_file(held.file(file)) == read_file(parts.file(file))));  // it was validated where it stopped, too
    }
  }
}

TEST_CASE("card: a risk that is computed on the CPU takes its patches from there, and the log says so") {
  TrainConfig c = config(1);
  c.training.loss = "nnpu";
  c.training.pu.prior = 0.05;
  Scratch dir;
  std::string said;
  go_on(c, dir.folder(), host_card(), 1, &said);
  CHECK(said.find("loss nnpu is computed on the cpu: patches are cut on the cpu and copied to cuda:0") != std::string::npos);
}

TEST_CASE("card: beside a card batches are made on the threads that the network leaves free, in the same order") {
  const int before = threads();
  CHECK(batches_ahead(nullptr) == 2);
  std::vector<std::string> tables;
  for (const auto& [count, ahead] : {std::pair{1, 2}, {4, 4}, {16, 8}}) {
    set_threads(count);
    CHECK(batches_ahead(host_card().get()) == ahead);
    TrainConfig c = config(6);
    c.training.loss = "nnpu";  // whose batches are always copied
    c.training.pu.prior = 0.05;
    Scratch dir;
    go_on(c, dir.folder(), host_card(), 6);
    tables.push_back(read_file(dir.file("train.csv")));
  }
  set_threads(before);
  CHECK((tables[0] == tables[1] && tables[0] == tables[2]));
}

TEST_CASE("card: a run that changes between CPU and card goes on with its moments, and says so") {
  for (const std::string optimizer : {"adam", "sgd"}) {
    INFO(optimizer);
    TrainConfig c = config(6);
    c.training.optimizer.name = optimizer;
    c.training.optimizer.momentum = 0.9;
    Scratch whole, first, second;
    go_on(c, whole.folder(), nullptr, 6);
    std::string said;
    go_on(c, first.folder(), nullptr, 4);
    go_on(c, first.folder(), host_card(), 6, &said);
    CHECK(said.find("the checkpoint was made on the cpu, this run goes on on the cuda in fp32: its numbers will not be, bit for bit, those of a run that "
                    "stayed") != std::string::npos);
    CHECK(checkpoint_distance(first.folder(), whole.folder()) < 1e-3);
    go_on(c, second.folder(), host_card(), 4);
    go_on(c, second.folder(), nullptr, 6, &said);
    CHECK(said.find("the checkpoint was made on the cuda in fp32, this run goes on on the cpu") != std::string::npos);
    CHECK(checkpoint_distance(second.folder(), whole.folder()) < 1e-3);
  }
}

TEST_CASE("card: what passes a batch through the network twice is refused by name") {
  TrainingConfig c;
  c.loss = "dist_pu";
  c.pu.mixup = 1;
  CHECK(message_of<UsageError>([&] { check_card_loss(c); }).rfind("training_config.pu.mixup is 1, whose mixed crops pass through the network a second time", 0) == 0);
  c.pu.mixup = 0;
  check_card_loss(c);
  c.pu.reduction = "accumulate";
  CHECK(message_of<UsageError>([&] { check_card_loss(c); }).find("Use --device cpu, or reduction batch with a --batch-size that fits the card.") != std::string::npos);
  c.loss = "mse";  // takes neither
  check_card_loss(c);
}

TEST_CASE("card: 16-bit training follows the CPU's") {
  for (const Precision precision : {Precision::bf16, Precision::f16}) {
    INFO(cuda::name(precision));
    const TrainConfig c = config(6);
    Scratch cpu, card;
    go_on(c, cpu.folder(), nullptr, 6);
    go_on(c, card.folder(), host_card(precision), 6);
    check_close(column(card.file("train.csv"), "loss"), column(cpu.file("train.csv"), "loss"), 0.05);
  }
}

TEST_CASE("card: a loss that is not finite is an error with its step, though it is fetched later") {
  for (const std::string loss : {"mse", "naive"}) {
    TrainConfig c = config(6);
    c.training.loss = loss;
    auto crops = tiny_crops(7, 1);
    const auto order = data::epoch_order(7, c.seed, 0, true);
    std::vector<float>& input = crops[size_t(order[3])].input;  // of step 1
    std::fill(input.begin(), input.end(), std::numeric_limits<float>::quiet_NaN());
    Scratch dir;
    Job job(c, dir.folder(), host_card(), crops);
    const std::string message = message_of<Error>([&] { job.trainer.run(); });
    INFO(message);
    CHECK(message.find(loss == "mse" ? " at step 1. The last good checkpoint is kept" : "step 1: ") != std::string::npos);
    CHECK(column(dir.file("train.csv"), "step") == std::vector<double>{0});
    CHECK_FALSE(ModelFolder(dir.folder()).has_weights());
  }
}

TEST_CASE("card: too little memory is an error with what is needed, what is free and the batch that fits") {
  const TrainConfig c = config(2);
  const auto shape = shape_of(make_network(c.model, 1)->options());
  const auto bytes = [&](int64_t batch) { return cuda::unet3d_training_bytes(Precision::f32, {.net = shape, .batch = batch, .crop = {8, 8, 8}}); };
  CHECK(bytes(3) > bytes(2));
  CHECK(bytes(2) > bytes(1));
  const auto message = [&](uint64_t free) {
    Scratch dir;
    Job job(c, dir.folder(), host_card(Precision::f32, free));
    return message_of<Error>([&] { job.trainer.run(); });
  };
  CHECK(message(bytes(2)) == text("step 0: cuda:0: a training step on 3 crops of 8x8x8 needs ", gib_text(bytes(3)), " of the card's memory, ",
                                  gib_text(bytes(2)), " is free. --batch-size 2 fits. The last good checkpoint is kept."));
  CHECK(message(bytes(1) - 1).find("Not even one crop fits: use smaller ones (--patch-size), or free the card.") != std::string::npos);
}

TEST_CASE("card: 16 bits take less memory than 32, and inference less than training") {
  const cuda::UNet3dShape shape{.layers = 3, .width = 8};
  const cuda::UNet3dTrainingOptions o{.net = shape, .batch = 4, .crop = {32, 32, 32}};
  const auto train = [&](Precision p) { return cuda::unet3d_training_bytes(p, o); };
  const auto infer = [&](Precision p) { return cuda::unet3d_inference_bytes(p, shape, 4, {32, 32, 32}, cuda::NormMode::running_statistics); };
  CHECK(train(Precision::bf16) < train(Precision::f32) * 3 / 4);
  CHECK(train(Precision::bf16) == train(Precision::f16));
  CHECK(train(Precision::tf32) == train(Precision::f32));
  CHECK(infer(Precision::bf16) < train(Precision::bf16) / 2);
}

// SPDX-License-Identifier: BSD-3-Clause
// Training: exact resume, best and latest weights, validation numbers, what happens when the loss is not finite.

#include "common/trainer.hpp"

#include <atomic>
#include <csignal>
#include <cmath>
#include <filesystem>
#include <sstream>

#include "apps/columns.hpp"
#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/tables.hpp"
#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/io/safetensors.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// One process: a network, a trainer, and what it left in its folder.
struct Job {
  Job(const TrainConfig& config, const std::string& folder, std::shared_ptr<const data::CropSource> train = tiny_source(7, 1),
      std::shared_ptr<const data::CropSource> valid = tiny_source(4, 2))
      : net(make_network(config.model, config.seed)), trainer(config, *net, train, valid, ModelFolder(folder), session) {
    std::filesystem::create_directories(folder);
  }
  QuietSession session{{{"--progress", "lines"}}};
  std::unique_ptr<models::UNet3d> net;
  Trainer trainer;
};

/// Runs until the first step is done, then stops as after SIGTERM.
int interrupted_step(Job& job) {
  install_signal_handlers();
  std::raise(SIGTERM);
  int signal = 0;
  try {
    job.trainer.run();
  } catch (const Interrupted& i) {
    signal = i.signal;
  }
  reset_signals();
  return signal;
}

const std::vector<std::string> files = {"checkpoint.safetensors", "weights.safetensors", "train.csv", "valid.csv"};

void check_same_files(const std::string& a, const std::string& b) {
  for (const std::string& name : files) {
    INFO(name);
    CHECK((read_file(a + "/" + name) == read_file(b + "/" + name)));
  }
}

std::string meta(const std::string& file, const std::string& key) { return io::SafeTensors(file).metadata().at(key); }

/// A source that fails after a number of crops, as a disk does.
class Failing : public data::CropSource {
 public:
  Failing(std::shared_ptr<const data::CropSource> from, int calls) : from_(std::move(from)), left_(calls) {}
  int64_t size() const override { return from_->size(); }
  data::Extent3 crop_extent() const override { return from_->crop_extent(); }
  std::shared_ptr<const data::Crop> crop(int64_t index) const override {
    check<FileError>(left_-- > 0, "data.h5: cannot be read.");
    return from_->crop(index);
  }

 private:
  std::shared_ptr<const data::CropSource> from_;
  mutable std::atomic<int> left_;
};

/// Seven crops, of which the one that step `step` of epoch 0 takes is not a number.
std::shared_ptr<const data::CropSource> poisoned(const TrainConfig& config, int64_t step, float value) {
  auto crops = tiny_crops(7, 1);
  const auto order = data::epoch_order(7, config.seed, 0, true);
  std::fill(crops[size_t(order[size_t(step * config.training.batch_size)])].input.begin(),
            crops[size_t(order[size_t(step * config.training.batch_size)])].input.end(), value);
  return std::make_shared<data::MemorySource>(data::Extent3{12, 12, 12}, crops);
}

}  // namespace

TEST_CASE("trainer: stopped after every step and resumed, a run ends with the same bytes as one that was not") {
  struct Kind {
    std::string optimizer, schedule;
    double momentum;
  };
  const std::vector<Kind> kinds = {{"adam", "none", 0}, {"adam", "plateau", 0}, {"adamw", "cosine", 0}, {"sgd", "step", 0.9}, {"sgd", "plateau", 0}};
  for (const Kind& k : kinds) {
    INFO(k.optimizer << " with schedule " << k.schedule);
    TrainConfig c = tiny_config(8);
    c.training.optimizer.name = k.optimizer;
    c.training.optimizer.momentum = k.momentum;
    c.training.optimizer.weight_decay = 0.01;
    c.training.valid_interval = 2;
    c.training.schedule = {.name = k.schedule, .factor = 0.5, .patience = 1, .interval = 3, .warmup = 2, .min_lr = 1e-4};
    c.training.drop_last = k.schedule == "cosine";
    Scratch whole, parts;
    Job(c, whole.folder()).trainer.run();
    for (int64_t step = 0; step < 8; ++step) {
      Job job(c, parts.folder());
      if (step > 0) job.trainer.resume();
      REQUIRE(job.trainer.step() == step);
      REQUIRE(interrupted_step(job) == SIGTERM);
      REQUIRE(job.trainer.step() == step + 1);
    }
    check_same_files(whole.folder(), parts.folder());
    CHECK(column(whole.file("train.csv"), "step") == std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7});
    CHECK(column(whole.file("valid.csv"), "step") == std::vector<double>{1, 3, 5, 7});
  }
}

TEST_CASE("trainer: every schedule changes the course of the training") {
  std::vector<std::string> ends;
  for (const std::string schedule : {"none", "plateau", "cosine", "cosine-warmup", "step"}) {
    TrainConfig c = tiny_config(6);
    c.training.valid_interval = 1;
    c.training.schedule = {.name = schedule.substr(0, schedule.find('-')), .factor = 0.1, .patience = 1, .interval = 2};
    if (schedule == "cosine-warmup") c.training.schedule.warmup = 3;
    // A rate that makes the validation loss rise at times, or plateau would never act.
    c.training.optimizer.lr = 0.3;
    Scratch dir;
    Job(c, dir.folder()).trainer.run();
    ends.push_back(read_file(dir.file("train.csv")));
  }
  for (size_t i = 0; i < ends.size(); ++i)
    for (size_t j = 0; j < i; ++j) {
      INFO(i << " against " << j);
      CHECK((ends[i] != ends[j]));
    }
}

TEST_CASE("trainer: after a crash the run goes on from the last checkpoint; later rows are dropped") {
  TrainConfig c = tiny_config(10);
  c.training.checkpoint_interval = 4;
  Scratch whole, parts;
  Job(c, whole.folder()).trainer.run();
  {
    Job job(c, parts.folder(), std::make_shared<Failing>(tiny_source(7, 1), 14));
    CHECK(message_of<FileError>([&] { job.trainer.run(); }) == "data.h5: cannot be read.");
    REQUIRE(job.trainer.step() >= 5);
    REQUIRE(job.trainer.step() < 8);
  }
  CHECK(meta(parts.file("checkpoint.safetensors"), "step") == "4");
  CHECK(column(parts.file("train.csv"), "step").size() >= 5);
  {  // a row of which the power failure left half
    std::string csv = read_file(parts.file("train.csv"));
    write_file(parts.file("train.csv"), csv + "1");
  }
  Job job(c, parts.folder());
  job.trainer.resume();
  CHECK(job.trainer.step() == 4);
  CHECK(column(parts.file("train.csv"), "step") == std::vector<double>{0, 1, 2, 3});
  CHECK(column(parts.file("valid.csv"), "step") == std::vector<double>{2});
  job.trainer.run();
  check_same_files(whole.folder(), parts.folder());
}

TEST_CASE("trainer: the number of threads does not change a run") {
  // Threads are the process's; the trainer must not depend on them.
  const TrainConfig c = tiny_config(4);
  Scratch one, three;
  set_threads(1);
  Job(c, one.folder()).trainer.run();
  set_threads(3);
  Job(c, three.folder()).trainer.run();
  set_threads(1);
  check_same_files(one.folder(), three.folder());
}

TEST_CASE("trainer: a checkpoint of another configuration is refused") {
  Scratch dir;
  TrainConfig c = tiny_config(2);
  Job(c, dir.folder()).trainer.run();
  const std::string refusal = dir.file("checkpoint.safetensors") +
                              ": was made with another network, seed, batch, crop or optimiser. Resume with its own configuration, or "
                              "start from its weights with --init.";
  const auto resume_as = [&](auto change) {
    TrainConfig other = c;
    change(other);
    Job job(other, dir.folder());
    return message_of<UsageError>([&] { job.trainer.resume(); });
  };
  CHECK(resume_as([](TrainConfig& o) { o.seed = 43; }) == refusal);
  CHECK(resume_as([](TrainConfig& o) { o.training.batch_size = 4; }) == refusal);
  CHECK(resume_as([](TrainConfig& o) { o.training.patch_size = 12; }) == refusal);
  CHECK(resume_as([](TrainConfig& o) { o.training.flip = false; }) == refusal);
  CHECK(resume_as([](TrainConfig& o) { o.training.optimizer.name = "adamw"; }) == refusal);
  CHECK(resume_as([](TrainConfig& o) { o.training.num_steps = 5; }) == "(nothing thrown)");
  // Nothing of the run was touched.
  CHECK(column(dir.file("train.csv"), "step").size() == 2);
}

TEST_CASE("trainer: a weights file is no checkpoint") {
  Scratch dir;
  TrainConfig c = tiny_config(2);
  Job(c, dir.folder()).trainer.run();
  std::filesystem::copy_file(dir.file("weights.safetensors"), dir.file("checkpoint.safetensors"),
                             std::filesystem::copy_options::overwrite_existing);
  {
    Job job(c, dir.folder());
    CHECK(message_of<FileError>([&] { job.trainer.resume(); }) ==
          dir.file("checkpoint.safetensors") + ": holds no 'optimizer/exp_avg/bottleneck.dilated_conv.0.weight'. It cannot be resumed "
          "with this optimiser; start from its weights with --init instead.");
  }
  c.training.optimizer.name = "sgd";  // without momentum there are no tensors to miss
  Job job(c, dir.folder());
  CHECK(message_of<FileError>([&] { job.trainer.resume(); }) ==
        dir.file("checkpoint.safetensors") + ": its metadata lacks 'optimizer_step'. It is not a checkpoint of this program.");
}

TEST_CASE("trainer: a damaged checkpoint is refused with a reason") {
  Scratch dir;
  const TrainConfig c = tiny_config(2);
  Job(c, dir.folder()).trainer.run();
  const std::string path = dir.file("checkpoint.safetensors"), good = read_file(path);
  const auto refusal = [&](const std::string& content) {
    write_file(path, content);
    Job job(c, dir.folder());
    return message_of<FileError>([&] { job.trainer.resume(); });
  };
  for (const size_t length : {size_t(0), size_t(7), size_t(500), good.size() / 2, good.size() - 1}) {
    INFO("cut to " << length);
    CHECK(refusal(good.substr(0, length)).rfind(path + ": ", 0) == 0);
  }
  const auto with = [&](const std::string& from, const std::string& to) {  // of one length, so that the header stays whole
    std::string bad = good;
    REQUIRE(from.size() == to.size());
    REQUIRE(bad.find(from) != std::string::npos);
    return bad.replace(bad.find(from), from.size(), to);
  };
  const std::string not_ours = "'. It is not a checkpoint of this program.";
  CHECK(refusal(with("\"position\"", "\"Position\"")) == path + ": its metadata lacks 'position" + not_ours);
  CHECK(refusal(with("\"optimizer_step\":\"2\"", "\"optimizer_step\":\"x\"")) == path + ": its metadata lacks 'optimizer_step" + not_ours);
  CHECK(refusal(with("optimizer/exp_avg/bottleneck.conv2.bias", "optimizer/exp_avg/bottleneck.conv2.bios")).find(
            "holds no 'optimizer/exp_avg/bottleneck.conv2.bias'. It cannot be resumed with this optimiser") != std::string::npos);
  CHECK(refusal(good) == "(nothing thrown)");
}

TEST_CASE("trainer: validation numbers are those of the definition") {
  TrainConfig c = tiny_config(5);
  c.training.valid_interval = 5;
  Scratch dir;
  Job(c, dir.folder()).trainer.run();
  const auto net = make_network(c.model, 9);
  load_weights(dir.file("checkpoint.safetensors"), *net);
  net->eval();
  // Four crops in batches of three and one, centre patches, no flip, in order.
  const auto crops = tiny_crops(4, 2);
  std::vector<double> losses;
  for (const auto& [begin, end] : {std::pair<size_t, size_t>{0, 3}, {3, 4}}) {
    double sum = 0;
    for (size_t i = begin; i < end; ++i) {
      std::vector<float> input, target;
      for (size_t t = 2; t < 10; ++t)
        for (size_t y = 2; y < 10; ++y)
          for (size_t x = 2; x < 10; ++x) {
            input.push_back(crops[i].input[(t * 12 + y) * 12 + x]);
            target.push_back(crops[i].target[(t * 12 + y) * 12 + x]);
          }
      NoGrad no_grad;
      const Tensor p = (*net)(Tensor::from(input, {1, 8, 8, 8, 1}));
      for (size_t v = 0; v < 512; ++v) sum += std::pow(double(p.span<float>()[v]) - double(target[v]), 2);
    }
    losses.push_back(sum / 512 / double(end - begin));
  }
  const std::string csv = dir.file("valid.csv");
  CHECK(column(csv, "step") == std::vector<double>{4});
  CHECK(column(csv, "loss")[0] == Approx((3 * losses[0] + losses[1]) / 4).epsilon(1e-5));  // by crop, not by batch
  CHECK(column(csv, "min-loss")[0] == Approx(std::min(losses[0], losses[1])).epsilon(1e-5));
  CHECK(column(csv, "max-loss")[0] == Approx(std::max(losses[0], losses[1])).epsilon(1e-5));
  CHECK(column(csv, "std-loss")[0] == Approx((column(csv, "max-loss")[0] - column(csv, "min-loss")[0]) / 2).epsilon(1e-4));
}

TEST_CASE("trainer: the first validation is kept, later ones only when strictly lower") {
  Scratch dir;
  TrainConfig c = tiny_config(4);
  c.model.use_batch_norm = false;  // at rate zero nothing changes then, and neither does the validation loss
  c.training.optimizer.name = "sgd";
  c.training.optimizer.lr = 0;
  c.training.valid_interval = 1;
  Job job(c, dir.folder());
  job.trainer.run();
  const std::vector<double> loss = column(dir.file("valid.csv"), "loss");
  REQUIRE(loss.size() == 4);
  CHECK(loss == std::vector<double>(4, loss[0]));
  CHECK(job.trainer.best_step() == 1);
  CHECK(meta(dir.file("weights.safetensors"), "step") == "1");
  CHECK(meta(dir.file("checkpoint.safetensors"), "step") == "4");
  CHECK(meta(dir.file("checkpoint.safetensors"), "best_step") == "1");
}

TEST_CASE("trainer: the best weights are those of the lowest validation") {
  Scratch dir;
  TrainConfig c = tiny_config(12);
  c.training.optimizer.lr = 0.2;  // restless on purpose
  c.training.valid_interval = 1;
  Job job(c, dir.folder());
  job.trainer.run();
  const std::vector<double> loss = column(dir.file("valid.csv"), "loss");
  const auto best = std::min_element(loss.begin(), loss.end());
  REQUIRE(best + 1 != loss.end());  // else best and latest could not be told apart
  CHECK(job.trainer.best() == *best);
  CHECK(job.trainer.best_step() == best - loss.begin() + 1);
  CHECK(meta(dir.file("weights.safetensors"), "step") == std::to_string(best - loss.begin() + 1));
  // A run that ends there has these weights as its latest.
  Scratch until;
  c.training.num_steps = best - loss.begin() + 1;
  Job(c, until.folder()).trainer.run();
  io::SafeTensors kept(dir.file("weights.safetensors")), latest(until.file("checkpoint.safetensors"));
  for (const std::string& name : kept.names()) CHECK((kept.bytes(name) == latest.bytes(name)));
}

TEST_CASE("trainer: a loss that is not finite stops the run with its step and keeps the last good files") {
  for (const float value : {std::nanf(""), INFINITY}) {
    INFO(value);
    TrainConfig c = tiny_config(6);
    c.training.checkpoint_interval = c.training.valid_interval = 1;
    Scratch dir, good;
    Job job(c, dir.folder(), poisoned(c, 2, value));
    const std::string message = message_of<Error>([&] { job.trainer.run(); });
    CHECK(message.find(" at step 2. The last good checkpoint is kept; try a smaller learning rate, and check the data with: voxgrad inspect") !=
          std::string::npos);
    CHECK((message.rfind("the loss is nan", 0) == 0 || message.rfind("the loss is -nan", 0) == 0 || message.rfind("the loss is inf", 0) == 0));
    CHECK(column(dir.file("train.csv"), "step") == std::vector<double>{0, 1});
    c.training.num_steps = 2;  // the same run up to the last good step
    Job(c, good.folder()).trainer.run();
    check_same_files(good.folder(), dir.folder());
  }
}

TEST_CASE("trainer: a validation loss that is not finite stops the run, no weights are kept") {
  TrainConfig c = tiny_config(6);
  c.training.checkpoint_interval = 2;
  Scratch dir;
  auto crops = tiny_crops(4, 2);
  std::fill(crops[3].input.begin(), crops[3].input.end(), NAN);
  Job job(c, dir.folder(), tiny_source(7, 1), std::make_shared<data::MemorySource>(data::Extent3{12, 12, 12}, crops));
  const std::string message = message_of<Error>([&] { job.trainer.run(); });
  CHECK(message.find("the validation loss is ") == 0);
  CHECK(message.find(" at step 2. The last good checkpoint is kept.") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(dir.file("weights.safetensors")));
  CHECK(meta(dir.file("checkpoint.safetensors"), "step") == "2");
}

TEST_CASE("trainer: USR1 writes a checkpoint and the run goes on") {
  TrainConfig c = tiny_config(6);
  install_signal_handlers();
  for (const bool asked : {false, true}) {
    Scratch dir;
    Job job(c, dir.folder(), poisoned(c, 1, std::nanf("")));  // ends after step 0, before any checkpoint of its own
    if (asked) std::raise(SIGUSR1);
    CHECK_THROWS_AS(job.trainer.run(), Error);
    CHECK(job.trainer.step() == 1);
    CHECK(std::filesystem::exists(dir.file("checkpoint.safetensors")) == asked);
    if (asked) CHECK(meta(dir.file("checkpoint.safetensors"), "step") == "1");
  }
  reset_signals();
}

TEST_CASE("trainer: the last progress line has the last loss and validation") {
  Scratch dir;
  Job job(tiny_config(4), dir.folder());
  job.trainer.run();
  const std::string err = job.session.err();
  const auto short_number = [](double v) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.4g", v);
    return std::string(buffer);
  };
  const size_t last = err.rfind("train  4/4 steps");
  REQUIRE(last != std::string::npos);
  CHECK(err.substr(last).find("loss " + short_number(column(dir.file("train.csv"), "loss").back()) + "  val " +
                              short_number(column(dir.file("valid.csv"), "loss").back()) + "  best ") != std::string::npos);
  CHECK(err.find("null") == std::string::npos);
}

TEST_CASE("trainer: losses and optimisers go by their names") {
  const Tensor z = Tensor::from(std::vector<float>{0.5f, -2, 3}, {3}), t = Tensor::from(std::vector<float>{1, 0, 0}, {3});
  const auto s = [](double v) { return 1 / (1 + std::exp(-v)); };
  const auto value = [&](const std::string& name) {
    TrainingConfig c;
    c.loss = name;
    return make_loss(c)(z, t, {}).loss.item();
  };
  CHECK(value("mse") ==
        Approx((std::pow(s(0.5) - 1, 2) + std::pow(s(-2), 2) + std::pow(s(3), 2)) / 3).epsilon(1e-6));
  CHECK(value("bce") == Approx(-(std::log(s(0.5)) + std::log(1 - s(-2)) + std::log(1 - s(3))) / 3).epsilon(1e-6));
  CHECK(message_of<UsageError>([&] { value("dice"); }).rfind("loss 'dice' is not one of mse, bce, abs_pu,", 0) == 0);
  const auto net = make_network(tiny_config(1).model, 1);
  CHECK(message_of<UsageError>([&] { make_optimizer({.name = "lion"}, *net); }) == "optimizer 'lion' is not one of adam, adamw, sgd.");
  CHECK(make_optimizer({.name = "adam"}, *net)->state().size() == 2 * net->parameters().size());
  CHECK(make_optimizer({.name = "sgd", .momentum = 0.9}, *net)->state().size() == net->parameters().size());
}

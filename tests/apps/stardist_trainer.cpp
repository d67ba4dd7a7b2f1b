// SPDX-License-Identifier: BSD-3-Clause
// StarDist's training: same bytes after interruptions, plateau schedule, risks for the probability, data of every kind.

#include "common/stardist_trainer.hpp"

#include <cmath>
#include <csignal>
#include <filesystem>
#include <set>

#include "apps/columns.hpp"
#include "apps/run_command.hpp"
#include "apps/scratch.hpp"
#include "apps/stardist_tiny.hpp"
#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "apps/tiny_dataset.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/tables.hpp"
#include "common/volume_file.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/data/percentiles.hpp"
#include "voxgrad/data/relabel.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

struct Job {
  Job(const StarDistRun& run, const std::string& folder, const StarDistData& data = tiny_stardist_data(3, 2))
      : net(run.config.network, Random(run.common.seed)), trainer(run, net, data, ModelFolder(folder), session) {
    std::filesystem::create_directories(folder);
  }
  QuietSession session{{{"--progress", "lines"}}};
  models::StarDist3d net;
  StarDistTrainer trainer;
};

int interrupted_step(Job& job) {
  install_signal_handlers();
  std::raise(SIGTERM);
  int signal = 0;
  try {
    job.trainer.run();
  } catch (const app::Interrupted& i) {
    signal = i.signal;
  }
  reset_signals();
  return signal;
}

}  // namespace

TEST_CASE("stardist trainer: stopped after every step and resumed, a run ends with the same bytes as one that was not") {
  const bool with_risk = GENERATE(false, true);
  INFO((with_risk ? "a risk with running means" : "cross-entropy"));
  StarDistRun run = tiny_stardist_run(2, 2);
  run.config.network.unet_dropout = 0.1;
  run.config.train_reduce_lr->patience = 1;
  if (with_risk) {
    run.loss = "nnpu";
    run.common.training.pu.prior = 0.3;
    run.common.training.pu.running_means = 0.2;
  }
  Scratch whole, parts;
  Job(run, whole.folder()).trainer.run();
  for (int64_t step = 0; step < 4; ++step) {
    Job job(run, parts.folder());
    if (step > 0) job.trainer.resume();
    REQUIRE(job.trainer.step() == step);
    REQUIRE(interrupted_step(job) == SIGTERM);
    REQUIRE(job.trainer.step() == step + 1);
  }
  for (const char* name : {"checkpoint.safetensors", "weights.safetensors", "train.csv", "valid.csv"}) {
    INFO(name);
    CHECK((read_file(whole.file(name)) == read_file(parts.file(name))));
  }
  CHECK(column(whole.file("train.csv"), "step") == std::vector<double>{0, 1, 2, 3});
  CHECK(column(whole.file("valid.csv"), "step") == std::vector<double>{1, 3});

  run.common.seed = 8;
  Job other(run, parts.folder());
  CHECK(message_of<UsageError>([&] { other.trainer.resume(); }).find("was made with another network, seed, data") != std::string::npos);
}

TEST_CASE("stardist trainer: the loss falls, and a plateau lowers the learning rate") {
  StarDistRun run = tiny_stardist_run(6, 10);
  Scratch dir;
  Job(run, dir.folder()).trainer.run();
  const std::vector<double> loss = column(dir.file("valid.csv"), "loss");
  REQUIRE(loss.size() == 6);
  CHECK(loss.back() < 0.8 * loss.front());
  CHECK(column(dir.file("valid.csv"), "learning_rate") == std::vector<double>(6, 0.002));

  run = tiny_stardist_run(4, 1);
  run.config.train_reduce_lr = StarDistConfig::ReduceLr{.factor = 0.1, .patience = 1, .min_delta = 1e9};  // nothing is ever better
  Scratch flat;
  Job(run, flat.folder()).trainer.run();
  const std::vector<double> rates = column(flat.file("valid.csv"), "learning_rate");
  CHECK(rates[1] == Approx(0.002));
  CHECK(rates[2] == Approx(0.0002));
  CHECK(rates[3] == Approx(0.00002));
}

TEST_CASE("stardist generator: batches depend on their number only, fixed patches stay, targets fit the labels") {
  const StarDistData data = tiny_stardist_data(3, 2);
  stardist::GeneratorOptions o;
  o.patch = {8, 16, 16};
  o.grid = {1, 2, 2};
  o.batch = 4;
  o.seed = 3;
  o.augmentation = stardist::Augmentation::flips;
  o.foreground_only = 1;
  const stardist::Rays rays = stardist::make_rays(stardist::GoldenSpiral{16, {}});
  const stardist::Generator a(data.train, rays, o), b(data.train, rays, o);
  const auto same = [](const Tensor& x, const Tensor& y) { return std::ranges::equal(x.span<float>(), y.span<float>()); };
  (void)a.training(0);
  const stardist::PatchBatch x = a.training(5), y = b.training(5), other = b.training(6);
  CHECK((same(x.input, y.input) && same(x.prob, y.prob) && same(x.dist, y.dist)));
  CHECK_FALSE(same(x.input, other.input));
  CHECK(x.prob.shape() == Shape({4, 8, 8, 8, 1}));
  CHECK(x.dist.shape() == Shape({4, 8, 8, 8, 16}));
  CHECK(same(a.fixed(2, 1).input, b.fixed(0, 3).input) == false);
  CHECK(same(a.fixed(0, 3).input, b.fixed(0, 3).input));
  // The same patch out of a larger set.
  const auto three = a.fixed(0, 3).prob, one = a.fixed(2, 1).prob;
  CHECK(std::ranges::equal(three.span<float>().subspan(2 * 512), one.span<float>()));
  // Distances are those of objects, and zero exactly in background.
  for (size_t i = 0; i < size_t(x.prob.size()); ++i) CHECK((x.prob.span<float>()[i] > 0) == (x.dist.span<float>()[16 * i] > 0));

  // Voxels that nobody annotated are left out.
  stardist::Example e = tiny_balls(1);
  for (int64_t z = 0; z < 12; ++z)
    for (int64_t i = 0; i < 24 * 12; ++i) e.labels.frame(z)[i] = -1;
  const stardist::Generator c(std::make_shared<stardist::MemoryExamples>(std::vector<stardist::Example>{e}), rays, o);
  const auto prob = c.training(0).prob;
  CHECK(std::ranges::count(prob.span<float>(), -1.f) > 0);
}

TEST_CASE("stardist: augmentation turns patches as it says") {
  data::Volume<int32_t> v({1, 3, 3});
  for (int32_t i = 0; i < 9; ++i) v.voxels[size_t(i)] = i;
  const auto cut = [&](const stardist::PatchChange& c) {
    std::vector<int32_t> out(9);
    stardist::cut_changed(v, {0, 0, 0}, {1, 3, 3}, c, out.data());
    return out;
  };
  CHECK(cut({}) == v.voxels);
  CHECK(cut({.flip_y = true}) == std::vector<int32_t>{6, 7, 8, 3, 4, 5, 0, 1, 2});
  CHECK(cut({.flip_x = true}) == std::vector<int32_t>{2, 1, 0, 5, 4, 3, 8, 7, 6});
  CHECK(cut({.swap_yx = true}) == std::vector<int32_t>{0, 3, 6, 1, 4, 7, 2, 5, 8});
  int flipped[3]{};
  Random random(1);
  for (int i = 0; i < 3000; ++i) {
    const auto c = stardist::draw_change(random, stardist::Augmentation::flips, {8, 8, 8});
    CHECK_FALSE((c.flip_y && c.flip_x));
    ++flipped[c.flip_y ? 1 : c.flip_x ? 2 : 0];
  }
  for (const int n : flipped) CHECK(std::abs(n - 1000) < 120);
}

TEST_CASE("stardist: a risk takes objects as labelled positives, and its gradient reaches the logits") {
  StarDistRun run = tiny_stardist_run(1, 1);
  CHECK_FALSE(make_probability_risk(run));
  run.common.training.pu.prior_auto = true;
  CHECK(message_of<UsageError>([&] { make_probability_risk(run); }) == "loss bce takes no prior, so training_config.pu.prior cannot be auto.");
  run.loss = "nnpu";
  CHECK(make_probability_risk(run));
  run.common.training.pu.prior_auto = false;
  run.common.training.pu.prior = 0.3;
  auto risk = make_probability_risk(run);
  REQUIRE(risk);
  Tensor logits = Tensor::from(std::vector<float>{1.4f, -1.4f, 0.4f, -0.4f}, {1, 1, 1, 4, 1});
  logits.set_requires_grad();
  const Tensor target = Tensor::from(std::vector<float>{0.7f, 0, -1, 0}, {1, 1, 1, 4, 1});
  const LossOutcome outcome = (*risk)(probability_batch(logits, {target, target, target, {false}}), true);
  backward(outcome.loss);
  REQUIRE(logits.grad().defined());
  const auto g = logits.grad().span<float>();
  CHECK(g[0] < 0);      // a labelled positive is to be more probable
  CHECK(g[2] == 0.f);   // nobody annotated it
  CHECK(g[1] != 0.f);
  CHECK_FALSE(outcome.terms.empty());

  Scratch dir;
  Job job(run, dir.folder());
  job.trainer.run();
  CHECK(std::filesystem::exists(dir.file("risk.csv")));
}

TEST_CASE("stardist: a risk moves voxels whose probability is 0 or 1 in single precision") {
  StarDistRun run = tiny_stardist_run(1, 1);
  models::StarDist3d net(run.config.network, Random(1));
  for (const nn::Named& n : net.parameters())
    if (n.name == "prob.bias") n.tensor->mutable_span<float>()[0] = 40;
  const Tensor input = Tensor::zeros({1, 8, 16, 16, 1});
  const models::StarDistMaps maps = net(input);
  CHECK(maps.prob.span<float>()[0] == 1.f);
  REQUIRE(maps.logit.shape() == maps.prob.shape());
  run.loss = "naive";
  run.common.training.pu.surrogate = "logistic";
  auto risk = make_probability_risk(run);
  Tensor target = Tensor::zeros(maps.prob.shape());
  target.mutable_span<float>()[5] = 1;
  backward((*risk)(probability_batch(maps.logit, {input, target, target, {false}}), true).loss);
  for (const nn::Named& n : net.parameters())
    if (n.name == "prob.bias") CHECK(n.tensor->grad().span<float>()[0] > 0.9f);  // nearly all voxels are to be less probable
}

namespace {

/// Volumes of balls of which two of four are annotated. centred: as if cut around an object.
std::shared_ptr<const stardist::ExampleSource> half_annotated(int count, uint64_t seed, bool centred = false) {
  std::vector<stardist::Example> volumes;
  for (int i = 0; i < count; ++i) {
    volumes.push_back(tiny_balls(seed + uint64_t(i)));
    volumes.back().centred = centred;
    for (int32_t& id : volumes.back().labels.voxels)
      if (id == 600 || id == 900) id = 0;
  }
  return std::make_shared<stardist::MemoryExamples>(std::move(volumes));
}

StarDistRun estimating(int64_t epochs) {
  StarDistRun run = tiny_stardist_run(epochs, 30);
  run.loss = "abs_pu";
  run.config.train_foreground_only = 0;
  run.config.train_batch_size = 4;
  run.config.train_learning_rate = 0.01;
  PuConfig& pu = run.common.training.pu;
  pu.prior_auto = true;
  pu.prior_prime = 0.4;
  pu.estimate = {.start = 0, .smoothing = 0.5, .lowest = 0, .highest = 0.5, .warmup = 60, .interval = 20, .crops = 48};
  return run;
}

}  // namespace

TEST_CASE("stardist: a prior that is estimated finds the objects that nobody annotated, and resumes to the same bytes") {
  const StarDistData data{half_annotated(10, 0), half_annotated(8, 100), "half", "percentile"};
  Scratch whole, parts;
  Job job(estimating(5), whole.folder(), data);
  job.trainer.run();
  const CsvTable t = CsvTable::read(whole.file("prior.csv"));
  REQUIRE(t.rows() == 5);  // after 60, 80, ... 140 steps
  CHECK(t.number(0, "step") == 59);
  CHECK(t.number(0, "prior") == Approx(t.number(0, "estimate")));  // the first is taken as it is
  const double labelled = t.number(4, "labelled"), prior = t.number(4, "prior");
  INFO(labelled << " " << prior);
  CHECK(prior > 1.5 * labelled);  // the truth is 2
  CHECK(prior < 2.7 * labelled);
  const CsvTable risk = CsvTable::read(whole.file("risk.csv"));
  CHECK(risk.number(0, "prior") < 0.75 * prior);
  CHECK(risk.number(149, "prior") == prior);

  {
    Job first(estimating(5), parts.folder(), data);
    while (first.trainer.step() < 66) {  // stopped now and then, also between two estimates
      REQUIRE(interrupted_step(first) == SIGTERM);
    }
  }
  Job second(estimating(5), parts.folder(), data);
  second.trainer.resume();
  second.trainer.run();
  for (const char* file : {"prior.csv", "risk.csv", "train.csv", "valid.csv", "weights.safetensors", "checkpoint.safetensors"}) {
    INFO(file);
    CHECK((read_file(whole.file(file)) == read_file(parts.file(file))));
  }
}

TEST_CASE("stardist: weights of the last epoch are validated under the prior that was estimated there") {
  Scratch dir;
  Job job(estimating(2), dir.folder(), {half_annotated(10, 0), half_annotated(8, 100), "half", "percentile"});  // the first estimate comes with the last step
  job.trainer.run();
  const CsvTable prior = CsvTable::read(dir.file("prior.csv")), risk = CsvTable::read(dir.file("risk.csv")), valid = CsvTable::read(dir.file("valid.csv"));
  REQUIRE(prior.rows() == 1);
  REQUIRE(std::abs(prior.number(0, "prior") - risk.number(59, "prior")) > 0.1 * risk.number(59, "prior"));  // so the comparison starts anew
  CHECK(job.trainer.best() == valid.number(1, "loss"));
  CHECK(job.trainer.best_epoch() == 2);
}

TEST_CASE("stardist: where a prior cannot be estimated training says why") {
  const auto refusal = [](const StarDistRun& run, std::shared_ptr<const stardist::ExampleSource> train, std::shared_ptr<const stardist::ExampleSource> valid) {
    Scratch dir;
    return message_of<FileError>([&] { Job(run, dir.folder(), {train, valid, "half", "percentile"}); });
  };
  const auto empty = std::make_shared<stardist::MemoryExamples>([] {
    std::vector<stardist::Example> volumes{tiny_balls(1)};
    std::fill(volumes[0].labels.voxels.begin(), volumes[0].labels.voxels.end(), 0);
    return volumes;
  }());
  StarDistRun run = estimating(1);
  CHECK(refusal(run, empty, half_annotated(1, 2)).rfind("training_config.pu.prior is auto, and starts at the share inside annotated objects, but none", 0) == 0);
  CHECK(refusal(run, half_annotated(2, 0), empty) ==
        "training_config.pu.prior is auto, but none of the validation patches looked at holds an object to compare with. Give the prior as a number.");
  std::vector<stardist::Example> both{tiny_balls(1), tiny_balls(2)};
  both[0].centred = true;
  CHECK(refusal(run, std::make_shared<stardist::MemoryExamples>(both), half_annotated(2, 5, true)) ==
        "training_config.pu.prior is auto, the share of positives in crops that were not cut around events, but all validation crops were. "
        "Unlabelled validation crops are needed; or give the prior as a number.");
  run.common.training.pu.estimate.highest = 0.001;
  CHECK(refusal(run, half_annotated(2, 0), half_annotated(2, 5)).rfind("training_config.pu.prior_bounds ends at 0.001, but already the share inside", 0) == 0);
}

TEST_CASE("stardist: options and risks that need more than objects are refused by name") {
  for (const char* assignment : {"labels=codes", "ignore_border=1", "balance_events=true", "movie_priors=true", "mixup=1", "entropy_ramp=0.004"})
    for (const char* loss : {"nnpu", "bce"}) {
      StarDistRun run = tiny_stardist_run(1, 1);
      Config c;
      for (const std::string& a : {text("training_config.pu.", assignment), std::string("training_config.pu.prior=0.3"), text("training_config.loss=", loss)})
        c.assign(a);
      run.common = train_config(c);
      run.loss = loss;
      const std::string name(assignment, std::string(assignment).find('='));
      INFO(assignment << " " << loss);
      CHECK(message_of<UsageError>([&] { make_probability_risk(run); }).find("training_config.pu." + name + " is set, which only type unet3d has") == 0);
    }
  StarDistRun accumulating = tiny_stardist_run(1, 1);
  accumulating.loss = "bce";
  accumulating.common.training.pu.reduction = "accumulate";
  CHECK(message_of<UsageError>([&] { make_probability_risk(accumulating); }) ==
        "training_config.pu.reduction: accumulate is set, which only type unet3d has. Leave it out.");
  for (const auto& [loss, what] : {std::pair("pn", "known negatives"), {"pnu", "known negatives"}, {"pubn", "known negatives"},
                                   {"propensity", "propensities"}}) {
    StarDistRun run = tiny_stardist_run(1, 1);
    run.loss = loss;
    run.common.training.pu.prior = 0.3;
    CHECK(message_of<UsageError>([&] { make_probability_risk(run); }).find(text("loss ", loss, " needs ", what)) == 0);
  }
}

TEST_CASE("stardist data: folders of volumes keep instances, binary masks fall into components") {
  Scratch dir;
  write_tiny_volumes(dir.file("ids"), 4);
  write_tiny_volumes(dir.file("binary"), 2, true);
  StarDistRun run = tiny_stardist_run(1, 1);
  const StarDistData ids = open_stardist_data(dir.file("ids"), run, 1 << 28);
  CHECK(ids.train->size() == 3);
  CHECK(ids.valid->size() == 1);
  CHECK(ids.normalization == "percentile");
  const auto e = ids.valid->example(0);
  CHECK(data::object_ids(e->labels) == std::vector<int32_t>{300, 600, 900, 1200});
  std::vector<float> sorted = e->image.voxels;
  CHECK(data::percentile(sorted, 1) == Approx(0).margin(1e-5));
  CHECK(data::percentile(sorted, 99.8) == Approx(1).margin(1e-5));
  const StarDistData binary = open_stardist_data(dir.file("binary"), run, 1 << 28);
  CHECK(data::object_ids(binary.train->example(0)->labels) == std::vector<int32_t>{1, 2, 3, 4});

  run.labels = "instances";
  CHECK(data::object_ids(open_stardist_data(dir.file("binary"), run, 1 << 28).train->example(0)->labels) == std::vector<int32_t>{1});
  run.labels = "auto";
  // One object in two pieces, alone in its volume, stays one: the other volumes tell that objects are numbered.
  data::Volume<uint16_t> two({12, 24, 24});
  two.at(3, 4, 5) = two.at(8, 20, 20) = 7;
  for (const int i : {0, 1, 2, 3}) {
    make_folders(dir.file("pieces/images")), make_folders(dir.file("pieces/masks"));
    std::filesystem::copy_file(dir.file(text("ids/images/v", i, ".tif")), dir.file(text("pieces/images/v", i, ".tif")));
    if (i < 3) io::write_tiff_movie(dir.file(text("pieces/masks/v", i, ".tif")), two);
  }
  std::filesystem::copy_file(dir.file("ids/masks/v3.tif"), dir.file("pieces/masks/v3.tif"));
  const auto objects = [&](const char* labels) {
    run.labels = labels;
    const StarDistData d = open_stardist_data(dir.file("pieces"), run, 1 << 28);
    std::multiset<size_t> counts;
    for (const auto* source : {&d.train, &d.valid})
      for (int64_t i = 0; i < (*source)->size(); ++i) counts.insert(data::object_ids((*source)->example(i)->labels).size());
    return counts;
  };
  CHECK(objects("auto") == std::multiset<size_t>{1, 1, 1, 4});
  CHECK(objects("instances") == std::multiset<size_t>{1, 1, 1, 4});
  CHECK(objects("binary") == std::multiset<size_t>{2, 2, 2, 4});
  run.labels = "auto";

  std::filesystem::remove(dir.file("ids/masks/v2.tif"));
  CHECK(message_of<FileError>([&] { open_stardist_data(dir.file("ids"), run, 1 << 28); }).find("images/v2.tif: has no partner of the same name in ") !=
        std::string::npos);
  make_folders(dir.file("none"));
  CHECK(message_of<FileError>([&] { open_stardist_data(dir.file("none"), run, 1 << 28); }).find("has no folder 'images'") != std::string::npos);
}

TEST_CASE("stardist data: labels that int32 does not hold are refused with plane and number") {
  Scratch dir;
  data::Volume<uint32_t> wide({3, 4, 5});
  wide.at(1, 2, 3) = 0x7fffffffu;
  io::write_tiff_movie(dir.file("fits.tif"), wide);
  CHECK(read_label_volume(dir.file("fits.tif")).at(1, 2, 3) == 0x7fffffff);
  wide.at(2, 0, 0) = 3000000000u;
  io::write_tiff_movie(dir.file("wide.tif"), wide);
  CHECK(message_of<FileError>([&] { read_label_volume(dir.file("wide.tif")); }).find("wide.tif: plane 2 holds the label 3000000000 (expected below 2147483648)") !=
        std::string::npos);
}

TEST_CASE("stardist data: volumes without a range to normalise by are refused with both percentiles") {
  Scratch dir;
  write_tiny_volumes(dir.file("v"), 2);
  data::Volume<uint16_t> sparse({12, 24, 24});
  sparse.at(5, 5, 5) = 4000;
  for (const char* name : {"v0.tif", "v1.tif"}) io::write_tiff_movie(dir.file("v/images/") + name, sparse);
  StarDistRun run = tiny_stardist_run(1, 1);
  const std::string refused = message_of<FileError>([&] {
    const StarDistData d = open_stardist_data(dir.file("v"), run, 1 << 28);
    d.train->example(0);
  });
  INFO(refused);
  CHECK(refused.find("tif: percentiles 1 and 99.8 of its intensities are 0 and 0,") != std::string::npos);
  run.normalization = "none";
  CHECK(open_stardist_data(dir.file("v"), run, 1 << 28).train->example(0)->image.size() == sparse.size());
}

TEST_CASE("stardist data: crops of the published layout keep the numbers of their objects") {
  Scratch dir;
  write_tiny_dataset(dir.file("d.h5"), {{"train", 2}, {"valid", 1}});
  StarDistRun run = tiny_stardist_run(1, 1);
  run.common.training.crop_size = 16;
  const StarDistData d = open_stardist_data(dir.file("d.h5"), run, 1 << 28);
  CHECK(d.train->size() == 4);
  CHECK(d.valid->size() == 2);
  CHECK(d.normalization == "study");
  const auto e = d.train->example(0);
  CHECK(e->image.extent == data::Extent3{16, 16, 16});
  CHECK_FALSE(data::object_ids(e->labels).empty());
  CHECK(e->centred);
  run.normalization = "percentile";
  CHECK(message_of<UsageError>([&] { open_stardist_data(dir.file("d.h5"), run, 1 << 28); }).find("normalization 'percentile' would not be that of the training data") !=
        std::string::npos);
  write_tiny_volumes(dir.file("v"), 2);
  run.normalization = "study";
  CHECK(message_of<UsageError>([&] { open_stardist_data(dir.file("v"), run, 1 << 28); }).find("is a folder of volumes") != std::string::npos);
}

TEST_CASE("stardist data: a single volume gives a block for training and one for validation, or says why not") {
  Scratch dir;
  write_tiny_volumes(dir.file("one"), 1);
  StarDistRun run = tiny_stardist_run(1, 1);
  run.config.train_patch_size = {12, 8, 8};
  const StarDistData d = open_stardist_data(dir.file("one"), run, 1 << 28);
  REQUIRE((d.train->size() == 1 && d.valid->size() == 1));
  CHECK(d.summary.find("one volume: y 0 to 15 for training, 16 to 23 for validation; objects at the cut count in both") != std::string::npos);
  const auto a = d.train->example(0), b = d.valid->example(0);
  CHECK(a->image.extent == data::Extent3{12, 16, 24});
  CHECK(b->image.extent == data::Extent3{12, 8, 24});
  StarDistRun whole = run;
  std::filesystem::create_directories(dir.file("two/train"));
  for (const char* part : {"train", "valid"}) std::filesystem::copy(dir.file("one"), dir.file("two/") + part, std::filesystem::copy_options::recursive);
  const auto e = open_stardist_data(dir.file("two"), whole, 1 << 28).train->example(0);
  CHECK(a->image.at(3, 15, 7) == e->image.at(3, 15, 7));
  CHECK(b->image.at(3, 0, 7) == e->image.at(3, 16, 7));
  CHECK(b->labels.at(5, 4, 5) == e->labels.at(5, 20, 5));
  run.config.train_patch_size = {12, 16, 16};
  CHECK(message_of<FileError>([&] { open_stardist_data(dir.file("one"), run, 1 << 28); }).find("no axis has room for two patches of 12x16x16") != std::string::npos);
}

TEST_CASE("stardist data: of a single movie the last events are for validation, apart from all crops of the training, or it says what to do") {
  Scratch dir;
  // 64x16x16 voxels with an event of two frames from each of `starts`.
  const auto write = [](io::H5Writer& w, const std::string& group, const std::vector<int64_t>& starts) {
    std::vector<float> input(64 * 16 * 16);
    std::vector<uint16_t> label(input.size());
    std::vector<int64_t> events;
    for (size_t e = 0; e < starts.size(); ++e) {
      const int64_t id = int64_t(e) + 1, t0 = starts[e];
      for (int64_t t = t0; t < t0 + 2; ++t)
        for (int64_t y = 6; y < 10; ++y)
          for (int64_t x = 6; x < 10; ++x) input[size_t((t * 16 + y) * 16 + x)] = 1, label[size_t((t * 16 + y) * 16 + x)] = uint16_t(id);
      events.insert(events.end(), {id, t0, t0 + 2, 6, 10, 6, 10});
    }
    w.write<float>(group + "/input", {64, 16, 16}, input.data());
    w.write<uint16_t>(group + "/label", {64, 16, 16}, label.data());
    w.write<int64_t>(group + "/events", {int64_t(starts.size()), 7}, events.data());
  };
  const auto file = [&](const std::string& name, const std::vector<std::vector<int64_t>>& movies) {
    io::H5Writer w(dir.file(name));
    for (size_t m = 0; m < movies.size(); ++m) write(w, text("/train/", m + 1), movies[m]);
    w.commit();
    return dir.file(name);
  };
  StarDistRun run = tiny_stardist_run(1, 1);
  run.common.training.crop_size = 16;
  const auto ids = [](const stardist::ExampleSource& source) {
    std::vector<int32_t> all;
    for (int64_t i = 0; i < source.size(); ++i)
      for (const int32_t id : data::object_ids(source.example(i)->labels)) all.push_back(id);
    return all;
  };
  for (const auto& movies : {std::vector<std::vector<int64_t>>{{50, 5, 44, 20, 30}}, {{50, 5, 44, 20, 30}, {}}}) {  // a movie without events is none to set aside
    const StarDistData d = open_stardist_data(file("one.h5", movies), run, 1 << 28);
    CHECK(ids(*d.valid) == std::vector<int32_t>{1, 3});  // the crop around the last event; the one before it reaches into it
    CHECK(ids(*d.train) == std::vector<int32_t>{2, 4, 5});
    INFO(d.summary);
    CHECK(d.summary.find("one movie: validation on its last 1 events (no validation fold); 1 whose crops overlap with those are left out") != std::string::npos);
  }
  run.common.training.valid_folds = {"train"};
  CHECK(open_stardist_data(dir.file("one.h5"), run, 1 << 28).valid->size() == 5);
  run.common.training.valid_folds = {"valid"};

  const auto refusal = [&](const std::string& path) { return message_of<FileError>([&] { open_stardist_data(path, run, 1 << 28); }); };
  const std::string ways = "Add a movie, name a fold with --valid-fold (that of the training validates on what is learnt), or choose a smaller training_config.crop_size.";
  CHECK(refusal(file("close.h5", {{20, 22}})) == dir.file("close.h5") + ": has no validation fold and one movie with events, /train/1, whose 2 events give no crop of 16 voxels "
        "per axis for training that is apart from those for validation. " + ways);
  CHECK(refusal(file("single.h5", {{20}})).find("whose 1 event gives no crop of 16") != std::string::npos);
  CHECK(refusal(file("none.h5", {{}, {}})) == dir.file("none.h5") + ": no movie of group '/train' has an event to train on.");
  io::H5Writer crops(dir.file("crops.h5"));
  const std::vector<float> crop(16 * 16 * 16, 1);
  for (const char* part : {"input", "label"})
    for (const char* key : {"0", "1"}) crops.write<float>(text("/train/1/", part, "/", key), {16, 16, 16}, crop.data());
  crops.commit();
  CHECK(refusal(dir.file("crops.h5")) == dir.file("crops.h5") + ": has no validation fold and one movie, /train/1, as stored crops, of which nothing says how they overlap. " + ways);
}

TEST_CASE("stardist data: labels of HDF5 in floating point are whole, or named") {
  Scratch dir;
  StarDistRun run = tiny_stardist_run(1, 1);
  run.common.training.crop_size = 16;
  for (const float odd : {1.0f, 0.5f}) {
    const std::string path = dir.file(odd == 1 ? "whole.h5" : "half.h5");
    io::H5Writer w(path);
    std::vector<float> crop(16 * 16 * 16, 0);
    std::fill_n(crop.begin() + 2100, 40, odd);
    for (const char* fold : {"train", "valid"})
      for (const char* part : {"input", "label"}) w.write<float>(text("/", fold, "/1/", part, "/0"), {16, 16, 16}, crop.data());
    w.commit();
    const auto read = [&] { open_stardist_data(path, run, 1 << 28).train->example(0); };
    CHECK(message_of<FileError>(read) == (odd == 1 ? "(nothing thrown)" : path + ": /train/1/label/0 holds the label 0.5 (expected whole numbers, one for each event)."));
  }
}

TEST_CASE("stardist training: with a risk, patches are drawn anywhere unless told otherwise") {
  Scratch dir;
  write_tiny_volumes(dir.file("v"), 2);
  const auto share = [&](const std::string& model, std::vector<std::string> more) {
    more.insert(more.begin(), {dir.file("v"), "--type", "stardist3d", "--out", dir.file(model), "--epochs", "1", "--steps-per-epoch", "1", "--batch-size", "1", "--set",
                               "stardist_config.n_rays=16", "--set", "stardist_config.unet_n_depth=1", "--set", "stardist_config.unet_n_filter_base=2", "--set",
                               "stardist_config.net_conv_after_unet=2", "--set", "stardist_config.train_patch_size=[8, 16, 16]"});
    REQUIRE(test::run_command(make_train(), more).code == 0);
    return read_stardist_config(dir.file(model) + "/config.json").config.train_foreground_only;
  };
  CHECK(share("bce", {}) == 0.9);
  CHECK(share("risk", {"--loss", "nnpu", "--prior", "0.2"}) == 0);
  CHECK(share("told", {"--loss", "nnpu", "--prior", "0.2", "--set", "stardist_config.train_foreground_only=0.5"}) == 0.5);
}

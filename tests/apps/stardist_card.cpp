// SPDX-License-Identifier: BSD-3-Clause
// StarDist on a card, which here is the CPU running the card's kernels: training, candidates and thresholds are the CPU's.

#include <cmath>
#include <filesystem>
#include <limits>

#include "apps/checkpoints.hpp"
#include "apps/columns.hpp"
#include "apps/host_card.hpp"
#include "apps/scratch.hpp"
#include "apps/stardist_tiny.hpp"
#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/stardist_optimize.hpp"
#include "common/stardist_trainer.hpp"
#include "voxgrad/autograd/record.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using cuda::Precision;

namespace {

using CardPtr = std::shared_ptr<const Card>;

constexpr uint64_t roomy = uint64_t(1) << 40;

std::shared_ptr<StarDistCardInference> on_card(models::StarDist3d& net, uint64_t free = roomy, HostCardLog* log = nullptr) {
  return std::make_shared<StarDistCardInference>(host_card(Precision::f32, free, log), net);
}

/// 8 rays, grid 1,2,2; running statistics, where there are any, are not those of a batch.
std::unique_ptr<models::StarDist3d> small_network(models::StarDistBackbone backbone, int64_t classes) {
  models::StarDist3dOptions o = tiny_stardist_run(1, 1).config.network;
  o.backbone = backbone;
  o.n_rays = 8, o.n_classes = classes;
  o.unet_n_filter_base = 2, o.net_conv_after_unet = 4;
  o.unet_batch_norm = o.resnet_batch_norm = true;
  o.resnet_n_filter_base = 2, o.net_conv_after_resnet = 4, o.resnet_n_blocks = 1;
  auto net = std::make_unique<models::StarDist3d>(o, Random(11));
  NoGrad no_grad;
  net->train();
  Random random(5);
  for (int i = 0; i < 3; ++i) (*net)(random_uniform({1, 8, 8, 8, 1}, random));
  net->eval();
  return net;
}

StarDistFound find(models::StarDist3d& net, const data::Volume<float>& image, const StarDistSearch& search, StarDistPlan* plan = nullptr) {
  const StarDistPlan p = plan_stardist(net, image.extent, search);
  if (plan) *plan = p;
  return find_stardist_candidates(net, p, search, [&](int64_t z, float* out) { std::copy_n(image.frame(z), image.frame_size(), out); });
}

void check_same(const std::vector<float>& a, const std::vector<float>& b, double epsilon) {
  REQUIRE(a.size() == b.size());
  double farthest = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    farthest = std::max(farthest, std::abs(double(a[i]) - double(b[i])));
    size = std::max(size, std::abs(double(b[i])));
  }
  CHECK(farthest <= epsilon * size);
}

}  // namespace

TEST_CASE("stardist card: candidates with distances and classes are the CPU's, with both backbones, whatever the tiles") {
  const data::Volume<float> image = tiny_balls(3).image;
  for (const auto backbone : {models::StarDistBackbone::unet, models::StarDistBackbone::resnet}) {
    INFO((backbone == models::StarDistBackbone::unet ? "unet" : "resnet"));
    const auto net = small_network(backbone, 2);
    StarDistSearch search;
    search.prob_thresh = 0;  // every point of the grid
    search.n_tiles = {1, 2, 1};
    const StarDistFound cpu = find(*net, image, search);
    REQUIRE(cpu.candidates.size() == (12 - 4) * (12 - 4) * (12 - 4));
    HostCardLog log;
    search.card = on_card(*net, roomy, &log);
    const StarDistFound card = find(*net, image, search);
    CHECK(log.inference == 1);  // one plan for all tiles
    CHECK(card.candidates.points == cpu.candidates.points);
    check_same(card.candidates.scores, cpu.candidates.scores, 1e-5);
    check_same(card.candidates.dist, cpu.candidates.dist, 1e-5);
    check_same(card.class_prob, cpu.class_prob, 1e-5);
    CHECK(card.most_probable == Approx(cpu.most_probable));
  }
}

TEST_CASE("stardist card: weights follow the network, a smaller batch takes the same plan") {
  const auto net = small_network(models::StarDistBackbone::unet, 0);
  HostCardLog log;
  const auto card = on_card(*net, roomy, &log);
  NoGrad no_grad;
  Random random(8);
  const Tensor two = random_uniform({2, 2, 4, 4, 1}, random), one = random_uniform({1, 2, 4, 4, 1}, random);
  const auto same = [&](const Tensor& x) {
    const models::StarDistMaps a = stardist_maps(*net, card.get(), x), b = stardist_maps(*net, nullptr, x);
    double d = 0;
    for (const auto& [u, v] : {std::pair{a.prob, b.prob}, {a.logit, b.logit}, {a.dist, b.dist}})
      for (int64_t i = 0; i < v.size(); ++i) d = std::max(d, std::abs(double(u.span<float>()[size_t(i)]) - double(v.span<float>()[size_t(i)])));
    CHECK_FALSE(a.prob_class.defined());
    return d < 1e-5;
  };
  CHECK(same(two));
  CHECK(same(one));
  CHECK(log.inference == 1);
  for (const nn::Named& n : net->parameters())
    for (float& v : n.tensor->mutable_span<float>()) v *= 0.5f;
  CHECK_FALSE(same(one));
  card->changed();
  CHECK(same(one));
  CHECK(message_of<ShapeError>([&] { (*card)(random_uniform({1, 2, 4, 4, 3}, random)); }).find("stardist3d on a card: input must be [N,D,H,W,1]") != std::string::npos);
}

TEST_CASE("stardist card: tiles fit the card's free memory; what does not is an error with what is needed and what is free") {
  const auto net = small_network(models::StarDistBackbone::unet, 0);
  const data::Extent3 extent{32, 160, 160};
  const auto bytes = [&](int64_t batch, const cuda::Extent& tile) {
    return cuda::stardist3d_inference_bytes(Precision::f32, shape_of(net->options()), batch, tile, cuda::NormMode::running_statistics);
  };
  const auto plan = [&](uint64_t free, data::Extent3 n_tiles = {0, 0, 0}) {
    StarDistSearch search;
    search.card = on_card(*net, free);
    search.n_tiles = n_tiles;
    return plan_stardist(*net, extent, search);
  };
  CHECK(plan(roomy).count() == 1);
  CHECK(plan(roomy).summary.find(text(" and ", gib_text(bytes(1, extent)), " on cuda:0")) != std::string::npos);
  CHECK(plan(bytes(1, extent) * 10 / 8).count() == 1);
  const uint64_t third = bytes(1, extent) / 3;
  const StarDistPlan tiled = plan(third);
  CHECK(tiled.count() > 1);
  const cuda::Extent tile{tiled.tiles[0][0].read.size(), tiled.tiles[1][0].read.size(), tiled.tiles[2][0].read.size()};
  CHECK(bytes(1, tile) <= third);
  CHECK(bytes(1, tile) > third / 4);  // nor much smaller than they must be
  CHECK(message_of<DeviceError>([&] { plan(third, {1, 1, 1}); }).find(
            "cuda:0: tiles of this network have 32x160x160 voxels or more, nine tenths of the card's free memory hold about ") == 0);
  CHECK(message_of<DeviceError>([&] { plan(third, {1, 1, 1}); }).find(". Leave --n-tiles out, or ask for more tiles. Free the card.") != std::string::npos);
  CHECK(message_of<DeviceError>([&] { plan(1000); }).find(" hold about 0. Free the card.") != std::string::npos);

  NoGrad no_grad;
  const cuda::Extent small{8, 32, 32};
  const auto pass = [&](int64_t batch) { return (*on_card(*net, bytes(1, small)))(Tensor::zeros({batch, 8, 32, 32, 1})); };
  CHECK(pass(1).dist.shape() == Shape({1, 8, 16, 16, 8}));
  CHECK(message_of<DeviceError>([&] { pass(2); }) ==
        text("cuda:0: 2 tiles of 8x32x32 need ", gib_text(bytes(2, small)), " of the card's memory, ", gib_text(bytes(1, small)),
             " is free. Use smaller tiles (--n-tiles) or patches, or free the card."));
}

TEST_CASE("stardist card: 16 bits take less memory than 32, and inference less than training") {
  const cuda::StarDist3dShape shape = shape_of(models::StarDist3dOptions{});
  const auto infer = [&](Precision p) { return cuda::stardist3d_inference_bytes(p, shape, 2, {32, 32, 32}, cuda::NormMode::running_statistics); };
  const auto train = [&](Precision p) { return cuda::stardist3d_training_bytes(p, {.net = shape, .batch = 2}); };
  CHECK(train(Precision::bf16) < train(Precision::f32) * 3 / 4);
  CHECK(train(Precision::bf16) == train(Precision::f16));
  CHECK(train(Precision::tf32) == train(Precision::f32));
  CHECK(infer(Precision::bf16) < train(Precision::bf16) / 2);
}

TEST_CASE("stardist card: thresholds chosen on a card are those chosen on the CPU") {
  StarDistRun run = tiny_stardist_run(3, 200);
  run.config.train_learning_rate = 0.01;
  models::StarDist3d net(run.config.network, Random(run.common.seed));
  Scratch dir;
  QuietSession session{{{"--progress", "none"}}};
  StarDistTrainer(run, net, tiny_stardist_data(3, 2), ModelFolder(dir.folder()), session).run();
  net.eval();
  std::vector<stardist::Example> volumes{tiny_balls(100), tiny_balls(101)};
  const stardist::MemoryExamples source(std::move(volumes));
  const stardist::Rays rays = stardist::make_rays(run.config.rays);
  StarDistThresholdSearch search;
  const ChosenThresholds cpu = choose_thresholds(net, rays, source, {0, 1}, search);
  REQUIRE(cpu.score > 0.1);
  HostCardLog log;
  search.card = on_card(net, roomy, &log);
  const ChosenThresholds card = choose_thresholds(net, rays, source, {0, 1}, search);
  CHECK(log.inference == 1);
  CHECK(card.prob == Approx(cpu.prob).epsilon(1e-4));
  CHECK(card.nms == cpu.nms);
  CHECK(card.score == Approx(cpu.score));
  CHECK(card.trials.size() == cpu.trials.size());
}

namespace {

struct Job {
  Job(const StarDistRun& run, const std::string& folder, CardPtr card, const StarDistData& data = tiny_stardist_data(3, 3))
      : net(run.config.network, Random(run.common.seed)), trainer(run, net, data, ModelFolder(folder), session, std::move(card)) {
    std::filesystem::create_directories(folder);
  }
  QuietSession session{{{"--progress", "none"}}};
  models::StarDist3d net;
  StarDistTrainer trainer;
};

/// Patches of 4x8x8, 8 rays, 2 filters: a step takes a fraction of a second on the pretended card.
StarDistRun small_run(int64_t epochs, int64_t steps) {
  StarDistRun run = tiny_stardist_run(epochs, steps);
  run.config.train_patch_size = {4, 8, 8};
  run.config.train_n_val_patches = 3;  // a full batch and a smaller one
  models::StarDist3dOptions& o = run.config.network;
  o.n_rays = 8;
  std::get<stardist::GoldenSpiral>(run.config.rays).n = 8;
  o.unet_n_filter_base = 2, o.net_conv_after_unet = 4, o.resnet_n_filter_base = 2, o.net_conv_after_resnet = 4, o.resnet_n_blocks = 1;
  return run;
}

/// Trains the run's first epochs from the folder's checkpoint, or from the start.
void go_on(StarDistRun run, const std::string& folder, const CardPtr& card, int64_t epochs, std::string* said = nullptr) {
  run.config.train_epochs = epochs;
  Job job(run, folder, card);
  if (ModelFolder(folder).has_checkpoint()) job.trainer.resume();
  job.trainer.run();
  if (said) *said = job.session.err();
}

}  // namespace

TEST_CASE("stardist card: losses, weights, moments and measures are those of the CPU's trainer, whatever the network and the loss") {
  struct Kind {
    std::string backbone, loss, dist_loss;
    bool norm;
    double dropout;
  };
  for (const Kind& k : {Kind{"unet", "bce", "mae", false, 0.1}, {"unet", "nnpu", "mse", true, 0}, {"resnet", "bce", "iou", true, 0}}) {
    INFO(k.backbone << " with " << k.loss << " and " << k.dist_loss);
    StarDistRun run = small_run(2, 3);
    run.config.network.backbone = k.backbone == "unet" ? models::StarDistBackbone::unet : models::StarDistBackbone::resnet;
    run.config.network.unet_batch_norm = run.config.network.resnet_batch_norm = k.norm;
    run.config.network.unet_dropout = k.dropout;
    run.config.train_dist_loss = k.dist_loss;
    run.config.train_reduce_lr->patience = 0;
    run.loss = k.loss;
    run.common.training.pu.prior = 0.3;
    Scratch cpu, card;
    HostCardLog log;
    Job(run, cpu.folder(), nullptr).trainer.run();
    Job(run, card.folder(), host_card(Precision::f32, roomy, &log)).trainer.run();
    CHECK((log.training == 1 && log.inference == 1));  // the smaller validation batch takes the plan of the other
    for (const char* name : {"step", "loss", "prob_loss", "dist_loss"})
      check_close(column(card.file("train.csv"), name), column(cpu.file("train.csv"), name), 1e-3);
    for (const char* name : {"step", "loss", "prob_loss", "dist_loss", "prob_kld", "dist_relevant_mae", "dist_dist_iou_metric", "learning_rate"})
      check_close(column(card.file("valid.csv"), name), column(cpu.file("valid.csv"), name), 1e-3);
    CHECK(checkpoint_distance(card.folder(), cpu.folder()) < 1e-3);
    CHECK((checkpoint_meta(card.folder(), "step") == "6" && checkpoint_meta(card.folder(), "device") == "cuda" && checkpoint_meta(cpu.folder(), "device") == "cpu"));
    if (k.loss == "nnpu") check_close(column(card.file("risk.csv"), "objective"), column(cpu.file("risk.csv"), "objective"), 1e-3);
  }
}

TEST_CASE("stardist card: with classes, the class loss and its accuracy are the CPU's too") {
  StarDistRun run = small_run(1, 3);
  run.config.network.n_classes = 2;
  run.config.train_loss_weights = {1, 0.2, 0.7};
  run.config.train_class_weights = {1, 2, 0.5};
  const auto classed = [](int first, int count) {
    std::vector<stardist::Example> all;
    for (int i = 0; i < count; ++i) {
      all.push_back(tiny_balls(uint64_t(first + i)));
      all.back().classes.of_label = {{300, 1}, {600, 2}, {900, 1}, {1200, 2}};
    }
    return std::make_shared<stardist::MemoryExamples>(std::move(all));
  };
  const StarDistData data{classed(0, 3), classed(100, 2), "tiny", "percentile"};
  Scratch cpu, card;
  Job(run, cpu.folder(), nullptr, data).trainer.run();
  Job(run, card.folder(), host_card(), data).trainer.run();
  check_close(column(card.file("train.csv"), "prob_class_loss"), column(cpu.file("train.csv"), "prob_class_loss"), 1e-3);
  check_close(column(card.file("valid.csv"), "prob_class_accuracy"), column(cpu.file("valid.csv"), "prob_class_accuracy"), 1e-3);
  CHECK(checkpoint_distance(card.folder(), cpu.folder()) < 1e-3);
}

TEST_CASE("stardist card: a prior that is estimated while training is the CPU's") {
  StarDistRun run = small_run(1, 21);
  run.loss = "abs_pu";
  run.config.train_foreground_only = 0;
  PuConfig& pu = run.common.training.pu;
  pu.prior_auto = true;
  pu.prior_prime = 0.4;
  pu.estimate = {.start = 0, .smoothing = 0.5, .lowest = 0, .highest = 0.9, .warmup = 20, .interval = 20, .crops = 9};
  Scratch cpu, card;
  HostCardLog log;
  Job(run, cpu.folder(), nullptr).trainer.run();
  Job(run, card.folder(), host_card(Precision::f32, roomy, &log)).trainer.run();
  CHECK(log.inference == 1);
  REQUIRE(column(cpu.file("prior.csv"), "step") == std::vector<double>{19});
  for (const char* name : {"step", "labelled", "estimate", "prior"}) check_close(column(card.file("prior.csv"), name), column(cpu.file("prior.csv"), name), 0.02);
}

TEST_CASE("stardist card: stopped and resumed on the same card, a run ends with the same bytes, in every precision") {
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::f16}) {
    INFO(cuda::name(precision));
    StarDistRun run = small_run(3, 1);
    run.config.network.unet_dropout = 0.2;
    Scratch whole, parts;
    go_on(run, whole.folder(), host_card(precision), 3);
    std::string said;
    for (const int64_t epoch : {1, 2, 3}) go_on(run, parts.folder(), host_card(precision), epoch, &said);
    CHECK(said.find("the checkpoint was made on") == std::string::npos);
    for (const char* file : {"checkpoint.safetensors", "weights.safetensors", "train.csv", "valid.csv"}) {
      INFO(file);
      CHECK((read_file(whole.file(file)) == read_file(parts.file(file))));
    }
    CHECK(checkpoint_meta(whole.folder(), "precision") == cuda::name(precision));
    CHECK(checkpoint_meta(whole.folder(), "loss_scale").empty() == (precision != Precision::f16));
  }
}

TEST_CASE("stardist card: a run that changes between CPU and card goes on with its moments and its dropout, and says so") {
  StarDistRun run = small_run(2, 2);
  run.config.network.unet_dropout = 0.2;
  Scratch whole, first, second;
  go_on(run, whole.folder(), nullptr, 2);
  std::string said;
  go_on(run, first.folder(), nullptr, 1);
  go_on(run, first.folder(), host_card(), 2, &said);
  CHECK(said.find("the checkpoint was made on the cpu, this run goes on on the cuda in fp32: its numbers will not be, bit for bit, those of a run that "
                  "stayed") != std::string::npos);
  CHECK(checkpoint_distance(first.folder(), whole.folder()) < 1e-3);
  go_on(run, second.folder(), host_card(), 1);
  go_on(run, second.folder(), nullptr, 2, &said);
  CHECK(said.find("the checkpoint was made on the cuda in fp32, this run goes on on the cpu") != std::string::npos);
  CHECK(checkpoint_distance(second.folder(), whole.folder()) < 1e-3);
}

TEST_CASE("stardist card: 16-bit training follows the CPU's") {
  for (const Precision precision : {Precision::bf16, Precision::f16}) {
    INFO(cuda::name(precision));
    const StarDistRun run = small_run(1, 4);
    Scratch cpu, card;
    go_on(run, cpu.folder(), nullptr, 1);
    go_on(run, card.folder(), host_card(precision), 1);
    check_close(column(card.file("train.csv"), "loss"), column(cpu.file("train.csv"), "loss"), 0.05);
  }
}

TEST_CASE("stardist card: a loss that is not finite is an error with its step, though it is fetched later") {
  std::vector<stardist::Example> volumes{tiny_balls(0)};
  std::fill(volumes[0].image.voxels.begin(), volumes[0].image.voxels.end(), std::numeric_limits<float>::quiet_NaN());
  const StarDistData data{std::make_shared<stardist::MemoryExamples>(std::move(volumes)), tiny_stardist_data(1, 1).valid, "tiny", "percentile"};
  Scratch dir;
  Job job(small_run(1, 3), dir.folder(), host_card(), data);
  const std::string message = message_of<Error>([&] { job.trainer.run(); });
  INFO(message);
  CHECK(message.find("the loss is ") == 0);
  CHECK(message.find(" at step 0. The last good checkpoint is kept") != std::string::npos);
  CHECK_FALSE(ModelFolder(dir.folder()).has_weights());
}

TEST_CASE("stardist card: too little memory for a step is an error with what is needed, what is free and the batch that fits") {
  StarDistRun run = small_run(1, 1);
  run.config.train_batch_size = 3;
  const auto bytes = [&](int64_t batch) {
    return cuda::stardist3d_training_bytes(Precision::f32, {.net = shape_of(run.config.network), .batch = batch, .crop = {4, 8, 8}});
  };
  CHECK(bytes(3) > bytes(2));
  const auto message = [&](uint64_t free) {
    Scratch dir;
    return message_of<DeviceError>([&] { Job(run, dir.folder(), host_card(Precision::f32, free)); });
  };
  CHECK(message(bytes(2)) == text("cuda:0: a training step on 3 patches of 4x8x8 needs ", gib_text(bytes(3)), " of the card's memory, ",
                                  gib_text(bytes(2)), " is free. --batch-size 2 fits."));
  CHECK(message(bytes(1) - 1).find("Not even one patch fits: use smaller ones (--patch-size), or free the card.") != std::string::npos);
}

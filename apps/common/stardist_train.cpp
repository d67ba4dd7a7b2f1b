// SPDX-License-Identifier: BSD-3-Clause
// The training command for StarDist-3D: options, model folder, messages.

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>

#include "files.hpp"
#include "model_bundle.hpp"
#include "pu_keys.hpp"
#include "stardist_commands.hpp"
#include "stardist_model.hpp"
#include "stardist_trainer.hpp"
#include "training_report.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/data/object_boxes.hpp"

namespace voxgrad::app {
namespace {

/// Options that set other keys than for a U-Net.
void apply_options(const Arguments& a, Config& config) {
  for (const char* option : {"--steps", "--valid-interval", "--checkpoint-interval"})
    check<UsageError>(!a.given(option), option, " goes with --type unet3d; StarDist trains in epochs: --epochs and --steps-per-epoch, with a "
                      "validation and a checkpoint after each.");
  if (a.given("--batch-size")) config.set("stardist_config.train_batch_size", a.get("--batch-size"), "--batch-size");
  if (a.given("--learning-rate")) config.set("stardist_config.train_learning_rate", a.get("--learning-rate"), "--learning-rate");
  if (const auto p = a.maybe("--patch-size"); p && a.given("--patch-size"))
    config.set("stardist_config.train_patch_size", text("[", *p, ", ", *p, ", ", *p, "]"), "--patch-size");
}

/// A risk takes patches for a fair sample of the volumes, which patches chosen for an object are not: unless told otherwise none is chosen.
void settle_patches(Config& config, Session& session) {
  const std::string loss = config.text("training_config.loss"), key = "stardist_config.train_foreground_only";
  if (!config.given("training_config.loss") || loss == "mse" || loss == "bce") return;
  if (!config.given(key)) {
    config.set(key, "0", "loss " + loss);
    session.note(text("loss ", loss, ": patches are drawn anywhere, so ", key, " is 0"));
  } else if (config.real(key) > 0) {
    session.warn(text(key, " is ", config.text(key), " with loss ", loss, ", which takes patches for a fair sample of the volumes: those chosen for an object ",
                      "hold more of it than the prior says. Set it to 0, or leave it out."));
  }
}

/// Median extents of the boxes of the objects, in voxels; of the first 200 volumes.
std::array<double, 3> object_extents(const stardist::ExampleSource& source) {
  data::MedianExtents extents;
  for (int64_t i = 0; i < std::min<int64_t>(source.size(), 200); ++i) extents.add(source.example(i)->labels);
  check<FileError>(extents.value()[0] > 0, "the training data hold no objects, so their extents cannot be measured. Set stardist_config.anisotropy.");
  return extents.value();
}

/// Fills in what the configuration leaves to the data.
void measure(StarDistRun& run, const StarDistData& data, Session& session) {
  if (!run.measure_anisotropy) return;
  StarDistConfig& c = run.config;
  const std::array<double, 3> e = object_extents(*data.train);
  const double most = std::max({e[0], e[1], e[2]});
  c.anisotropy = {most / e[0], most / e[1], most / e[2]};
  if (auto* spiral = std::get_if<stardist::GoldenSpiral>(&c.rays)) spiral->anisotropy = c.anisotropy;
  if (run.choose_grid)
    for (size_t a = 0; a < 3; ++a) c.network.grid[a] = (*c.anisotropy)[a] > 1.5 ? 1 : 2;
  check_train_patch(c);
  session.note(fmt::format("objects of {}x{}x{} voxels (median): anisotropy {:.3g}, {:.3g}, {:.3g}; grid {},{},{}", e[0], e[1], e[2],
                           (*c.anisotropy)[0], (*c.anisotropy)[1], (*c.anisotropy)[2], c.network.grid[0], c.network.grid[1], c.network.grid[2]));
}

/// Removes what a former run left, files of ours only.
void clear_folder(const std::string& folder) {
  for (const char* file : {"config.yaml", "config.json", "weights.safetensors", "checkpoint.safetensors", "weights_best.h5", "thresholds.json",
                           "train.csv", "valid.csv", "risk.csv", "prior.csv", "train.log", "report.html", "progress.svg"})
    std::remove((folder + "/" + file).c_str());
}

/// --init: the weights of a model folder, a bundle or a file.
void start_from(const std::string& named, models::StarDist3d& net) {
  check<FileError>(std::filesystem::exists(named), named, ": no such file or model folder.");
  const OpenedModel opened(named);
  const std::string& path = opened.path();
  if (has_ending(path, {".h5", ".hdf5"})) return load_keras_weights(path, net);
  if (!std::filesystem::is_directory(path)) return void(load_weights(path, net));
  const StarDistModel model = open_stardist_model(path, false);
  nn::load_state(net, [&](const std::string& name) {
    for (const nn::Named& n : model.net->state())
      if (n.name == name) return *n.tensor;
    return Tensor();
  }, {});
}

void check_patches(const StarDistRun& run, const StarDistData& data) {
  const auto& p = run.config.train_patch_size;
  for (const auto* source : {&data.train, &data.valid})
    for (int64_t i = 0; i < std::min<int64_t>((*source)->size(), 100); ++i) {
      const data::Extent3 e = (*source)->example(i)->image.extent;
      check<UsageError>(p[0] <= e[0] && p[1] <= e[1] && p[2] <= e[2], "stardist_config.train_patch_size is ", p[0], ",", p[1], ",", p[2],
                        ", but ", (*source)->name(i), " has ", e[0], "x", e[1], "x", e[2],
                        " voxels. Choose smaller patches.");
    }
}

}  // namespace

int train_stardist(const Arguments& a, Session& session, const Config& first, const std::function<Config(const std::string&)>& regather) {
  const std::string resume = a.choice("--resume");
  Config full = first;
  apply_options(a, full);
  StarDistRun run;
  std::string named = a.maybe("--out").value_or("");
  if (named.empty()) {
    run = stardist_run(full);
    named = (run.common.root.empty() ? std::string("models") : run.common.root) + "/" + a.maybe("--name").value_or(stardist_model_name(run));
  }
  const ModelFolder folder(named);
  const bool resuming = resume != "no" && folder.has_checkpoint();
  check<UsageError>(resume != "must" || resuming, named, ": holds no checkpoint to resume from.");
  if (resuming) {
    full = regather(named);
    apply_options(a, full);
  }
  full.set("type", "stardist3d", "the model folder");
  settle_patches(full, session);
  run = stardist_run(full);
  const std::shared_ptr<const Card> card = chosen_card(a, session);
  tell_idle_pu_keys(full, run.loss, a.flag("--strict"), session);
  check<UsageError>(!run.common.dataset.empty(), "no data set. Name an HDF5 file or a folder with images and masks, or set 'dataset' in the configuration.");
  if (!resuming && (folder.has_weights() || folder.has_checkpoint()))
    check<UsageError>(a.flag("--overwrite"), named, " already holds a model. Use --resume auto to go on, --overwrite to start again, ",
                      "or another --name.");
  set_threads(session.threads());
  const int64_t cache = int64_t(std::min<uint64_t>(session.memory_limit() / 2, uint64_t(64) << 30));
  const StarDistData data = open_stardist_data(run.common.dataset, run, cache);
  measure(run, data, session);
  check_patches(run, data);
  const StarDistConfig& c = run.config;
  models::StarDist3d net(c.network, Random(run.common.seed, 0x77656967687473));
  if (const auto init = a.maybe("--init"); init && !resuming) start_from(*init, net);

  session.note(data.summary);
  session.note(fmt::format("network: {} parameters, {} rays; batch {} of {}x{}x{} patches, {} epochs of {} steps, loss {} and {}, adam lr {}; {}",
                           net.parameter_count(), c.network.n_rays, c.train_batch_size, c.train_patch_size[0], c.train_patch_size[1],
                           c.train_patch_size[2], c.train_epochs, c.train_steps_per_epoch, run.loss, c.train_dist_loss, c.train_learning_rate, where_text(card.get(), threads())));
  StarDistTrainer trainer(run, net, data, folder, session, card);
  if (session.dry_run()) {
    session.print(text("would train into ", named, " (nothing was written)"));
    return 0;
  }
  make_folders(named);
  if (!resuming) clear_folder(named);
  session.keep_log(named + "/train.log");
  if (resuming) {
    trainer.resume();
    session.note(text("resuming at step ", trainer.step()));
    if (trainer.step() >= trainer.total()) session.note("all epochs are done already; raise --epochs to go on.");
  }
  write_file(folder.config_file(), full.yaml(false));
  write_file(named + "/config.json", stardist_config_json(c));
  {
    const TrainingReport report(folder.path(), session);
    trainer.run();
  }
  load_weights(folder.weights_file(), net);  // as the package, whose folder this is too
  save_keras_weights(named + "/weights_best.h5", net);
  session.print(folder.path());
  session.result("model", folder.path());
  session.result("step", trainer.step());
  session.result("best_valid_loss", trainer.best());
  session.result("best_epoch", trainer.best_epoch());
  return 0;
}

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
// voxgrad train: a U-Net from a configuration and a data set, or on from where a run stopped.

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "commands.hpp"
#include "common/config.hpp"
#include "common/files.hpp"
#include "common/model_bundle.hpp"
#include "common/model_convert.hpp"
#include "common/model_folder.hpp"
#include "common/pu_keys.hpp"
#include "common/stardist_commands.hpp"
#include "common/stardist_model.hpp"
#include "common/torch_model.hpp"
#include "common/trainer.hpp"
#include "common/training_data.hpp"
#include "common/training_report.hpp"
#include "voxgrad/core/parallel.hpp"

namespace voxgrad::app {
namespace {

/// Dedicated options and the configuration keys they set.
struct Shortcut {
  const char *option, *key;
};
constexpr Shortcut shortcuts[] = {
    {"--type", "type"},
    {"--epochs", "stardist_config.train_epochs"},
    {"--steps-per-epoch", "stardist_config.train_steps_per_epoch"},
    {"--steps", "training_config.num_steps"},
    {"--batch-size", "training_config.batch_size"},
    {"--learning-rate", "training_config.optimizer.lr"},
    {"--loss", "training_config.loss"},
    {"--prior", "training_config.pu.prior"},
    {"--prior-prime", "training_config.pu.prior_prime"},
    {"--surrogate", "training_config.pu.surrogate"},
    {"--patch-size", "training_config.patch_size"},
    {"--valid-interval", "training_config.valid_interval"},
    {"--checkpoint-interval", "training_config.checkpoint_interval"},
    {"--samples", "training_config.samples_pu.path"},
};

Config gather_config(const Arguments& a, Session& session, const std::string& resumed_folder) {
  Config config = read_config(a, session);
  if (!resumed_folder.empty() && a.list("--config").empty()) {  // the run's own configuration is the base
    config = ModelFolder(resumed_folder).config();
    for (const std::string& assignment : a.list("--set")) config.assign(assignment);
    if (a.given("--seed")) config.set("seed", a.get("--seed"), "--seed");
  }
  for (const Shortcut& s : shortcuts)
    if (a.given(s.option)) config.set(s.key, a.get(s.option), s.option);
  for (const char* share : {"--prior", "--prior-prime"})  // in a file 0 says that none is given
    if (a.given(share))
      check<UsageError>(parse_real(a.get(share)).value_or(1) > 0, share, " is '", a.get(share), "' (expected a number above 0 and below 1).");
  const auto list_of = [](const std::vector<std::string>& names) {
    std::string yaml = "[";
    for (const std::string& n : names) yaml += (yaml.size() > 1 ? ", " : "") + json_quote(n);
    return yaml + "]";
  };
  if (a.given("--train-fold")) config.set("training_config.train_folds", list_of(a.list("--train-fold")), "--train-fold");
  if (a.given("--valid-fold")) config.set("training_config.valid_folds", list_of(a.list("--valid-fold")), "--valid-fold");
  if (!a.inputs().empty()) config.set("dataset", json_quote(a.inputs()[0]), "the command line");
  return config;
}


/// Removes what a former run left: files of ours only, so that nobody's other data can be lost.
void clear_model(const std::string& folder) {
  for (const char* file : {"config.yaml", "config.json", "weights_best.h5", "weights.safetensors", "checkpoint.safetensors", "thresholds.json", "train.csv",
                           "valid.csv", "risk.csv", "prior.csv", "train.log", "report.html", "progress.svg", "optimized-threshold-segmentation", "optimized-threshold-detection",
                           "reference/config.yaml", "reference/results.pt", "reference/checkpoint.pt", "reference/Quality Control/train-stats.csv",
                           "reference/Quality Control/valid-stats.csv", "reference/Quality Control", "reference"})
    std::remove((folder + "/" + file).c_str());
}

/// --init: the weights of a model folder, a bundle or a file.
void start_from(const std::string& named, nn::Module& net) {
  check<FileError>(std::filesystem::exists(named), named, ": no such file or model folder.");
  const OpenedModel model(named);
  load_weights(std::filesystem::is_directory(model.path()) ? ModelFolder::existing(model.path()).best_file() : model.path(), net);
}

/// --continue: the other model, in our form, becomes the model folder of this run, whose checkpoint is then resumed.
void take_over(const Arguments& a, const std::string& named, Session& session) {
  const std::string from = a.get("--continue");
  check<UsageError>(!a.given("--init"), "--continue and --init exclude each other: the one goes on with the optimiser, the other starts it anew.");
  check<UsageError>(!named.empty(), "--continue needs a folder for the run that goes on: --out DIR");
  check<UsageError>(!session.dry_run(), "--continue cannot be tried with --dry-run; see what a model holds with: voxgrad inspect ", from);
  std::error_code none;
  check<UsageError>(!std::filesystem::exists(named, none) || std::filesystem::is_empty(named, none), named,
                    ": exists already. --continue writes into a new folder; go on in an old one with --resume must.");
  const OpenedModel model(from);
  if (model_form(model.path()) == ModelForm::voxgrad) {
    check<FileError>(ModelFolder(model.path()).has_checkpoint(), from, ": holds weights but no checkpoint to go on from. Start from them with --init.");
    make_folders(named);
    for (const auto& entry : std::filesystem::directory_iterator(model.path()))
      if (entry.is_regular_file()) std::filesystem::copy_file(entry.path(), named + "/" + entry.path().filename().string());
    return;
  }
  check<FileError>(!is_stardist_folder(model.path()), from, ": holds weights of Keras, which keeps no optimiser to go on with. Start from them with --init.");
  check<FileError>(has_torch_optimizer(ModelFolder::existing(model.path()).latest_file()), from, ": holds no optimiser, only weights. Start from them with --init.");
  convert_model(model.path(), named, ModelForm::voxgrad);
}

int run_train(const Arguments& given, Session& session) {
  Arguments a = given;
  if (a.given("--continue")) {
    take_over(a, a.maybe("--out").value_or(""), session);
    a.set("--resume", "must");
  }
  const std::string resume = a.choice("--resume");
  const bool exporting = a.choice("--export") == "reference";
  std::string named = a.maybe("--out").value_or("");
  const Config first = gather_config(a, session, "");
  if (answer_config_questions(a, first, session)) return 0;
  if (first.text("type") == "stardist3d" || (is_stardist_folder(named) && !first.given("type"))) {
    check<UsageError>(!exporting, "--export reference goes with --type unet3d. The folder of a StarDist model opens in the Python package as it is.");
    return train_stardist(a, session, first, [&](const std::string& folder) { return gather_config(a, session, folder); });
  }
  for (const char* option : {"--epochs", "--steps-per-epoch"})
    check<UsageError>(!a.given(option), option, " goes with --type stardist3d.");
  TrainConfig config = train_config(first);
  if (named.empty()) {
    const std::string name = a.maybe("--name").value_or(reference_model_name(config));
    named = (config.root.empty() ? std::string("models") : config.root) + "/" + name;
  }
  const ModelFolder folder(named);
  const bool resuming = resume != "no" && folder.has_checkpoint();
  check<UsageError>(resume != "must" || resuming, named, ": holds no checkpoint to resume from.");
  Config full = first;
  if (resuming) {
    full = gather_config(a, session, named);
    config = train_config(full);
  }
  check<UsageError>(!config.training.weighted_loader, "training_config.weighted_loader is true, which is not supported: crops are drawn as ",
                    "they are listed. Choose their ratio with training_config.samples_pu.unlabeled.");
  const std::shared_ptr<const Card> card = chosen_card(a, session);
  if (card) check_card_loss(config.training);
  make_loss(config.training);  // refuses what does not go together before any data is read
  tell_idle_pu_keys(full, config.training.loss, a.flag("--strict"), session);
  check<UsageError>(!config.dataset.empty(), "no data set. Name an HDF5 file, or set 'dataset' in the configuration.");
  check<UsageError>(!folder.has_torch() || folder.has_weights() || folder.has_checkpoint(), named, ": is a folder of the published pipeline, into which nothing is ",
                    "written. Go on from it in a new one: --continue ", named, " --out DIR");
  if (!resuming && (folder.has_weights() || folder.has_checkpoint()))
    check<UsageError>(a.flag("--overwrite"), named, " already holds a model. Use --resume auto to go on, --overwrite to start again, ",
                      "or another --name.");

  set_threads(session.threads());
  auto net = make_network(config.model, config.seed);
  check<UsageError>(config.training.patch_size % net->multiple() == 0, "patch_size is ", config.training.patch_size,
                    ", but a network of depth ", config.model.n_layer, " needs multiples of ", net->multiple(), ".");
  if (const auto init = a.maybe("--init"); init && !resuming) start_from(*init, *net);
  const int64_t cache = int64_t(std::min<uint64_t>(session.memory_limit() / 2, uint64_t(64) << 30));
  const TrainingData data = open_training_data(config.dataset, config, cache);

  session.note(data.summary);
  session.note(fmt::format("network: {} parameters; batch {} of {}^3 crops, {} steps, loss {}, {} lr {}; {}",
                           net->parameter_count(), config.training.batch_size, config.training.patch_size,
                           config.training.num_steps, config.training.loss, config.training.optimizer.name,
                           config.training.optimizer.lr, where_text(card.get(), threads())));
  if (session.dry_run()) {
    session.print(text("would train into ", named, " (nothing was written)"));
    return 0;
  }

  make_folders(named);
  if (!resuming) clear_model(named);
  session.keep_log(named + "/train.log");
  Trainer trainer(config, *net, data.train, data.valid, folder, session, data.held_out, card);
  if (resuming) {
    trainer.resume();
    session.note(text("resuming at step ", trainer.step()));
    if (trainer.step() >= config.training.num_steps) session.note("all steps are done already; raise --steps to go on.");
  }
  write_file(folder.config_file(), full.yaml(false));  // not before a resume was accepted, which may have more steps now
  {
    const TrainingReport report(folder.path(), session);
    trainer.run();
  }
  if (exporting) {
    const std::string theirs = named + "/reference";
    convert_model(named, theirs, ModelForm::reference);
    session.note("exported for the published pipeline: " + theirs);
    session.result("export", theirs);
  }
  session.print(folder.path());
  session.result("model", folder.path());
  session.result("step", trainer.step());
  session.result("best_valid_loss", trainer.best());
  session.result("best_step", trainer.best_step());
  return 0;
}

std::vector<Option> train_options() {
  std::vector<Option> options = join({{"--samples", "FILE", "", "JSON with lists of positive and unlabelled crops", "Data"},
                                {"--train-fold", "NAME", "", "group to train on (default train)", "Data", {}, true},
                                {"--valid-fold", "NAME", "", "group to validate on (default valid)", "Data", {}, true},
                                {"--type", "unet3d|stardist3d", "", "the kind of network (default unet3d; published StarDist files say so themselves)", "Model"},
                                {"--init", "MODEL", "", "start from the weights of a model folder (ours, the published pipeline's or StarDist's), bundle or weight file", "Model"},
                                {"--continue", "MODEL", "", "go on from the checkpoint of another model folder, also the published pipeline's, in the new folder --out", "Model"},
                                {"--steps", "N", "", "training steps in total (default 100000)", "Training"},
                                {"--epochs", "N", "", "stardist3d: epochs in total (default 400)", "Training"},
                                {"--steps-per-epoch", "N", "", "stardist3d: steps between two validations (default 100)", "Training"},
                                {"--batch-size", "N", "", "crops per step (default 128; stardist3d: 64)", "Training"},
                                {"--learning-rate", "LR", "", "of the optimiser (default 0.0002; stardist3d: 0.0003)", "Training"},
                                {"--loss", "NAME", "", "mse (default), bce, or a positive-unlabeled risk: nnpu, imbalanced_nnpu, abs_pu, upu ... (docs/pu.md)", "Training"},
                                {"--prior", "P|auto", "", "share of voxels that are positive, for a risk; auto: estimated on held-out crops while training", "Training"},
                                {"--prior-prime", "P", "", "train a risk as if that share were P (0.3 to 0.5 for rare events)", "Training"},
                                {"--surrogate", "NAME", "", "surrogate loss of a risk (default brier)", "Training"},
                                {"--patch-size", "N", "", "edge of the network's input in voxels (default 32)", "Training"},
                                {"--valid-interval", "N", "", "steps between validations (default 100)", "Training"},
                                {"--checkpoint-interval", "N", "", "steps between checkpoints (default 100)", "Training"},
                                {"--resume", "no|auto|must", "no", "go on from the checkpoint in the model folder: auto if there is one, must or fail", "Training"},
                                {"--out", "DIR", "", "model folder (default models/NAME)", "Output"},
                                {"--export", "no|reference", "no", "at the end also write DIR/reference, a folder that the published pipeline and PyTorch open (convert does it later)", "Output"},
                                {"--name", "NAME", "", "model name (default made from samples and seed)", "Output"}},
                               {common::overwrite("start again in a folder that holds a model already"), common::dry_run(),
                                common::seed(), common::threads(), common::device(), common::precision(), common::memory()});
  for (const Option& o : config_options()) options.push_back(o);
  return options;
}

}  // namespace

Command make_train() {
  return {.name = "train",
          .summary = "Trains a 3-D U-Net or StarDist-3D on annotated movies or volumes, fine-tunes one, or goes on with an interrupted run.",
          .usage_inputs = "[DATA.h5|FOLDER]",
          .options = train_options(),
          .examples = {{"voxgrad train data.h5 --steps 20000 --batch-size 16 --out models/first", "train on an HDF5 data set"},
                       {"voxgrad train --config subset.yaml --seed 43", "one run of the published study"},
                       {"voxgrad train data.h5 --samples lists.json --loss abs_pu --prior auto --prior-prime 0.4 --out models/pu",
                        "a positive-unlabeled risk that estimates its prior"},
                       {"voxgrad train data.h5 --out models/first --resume auto", "go on after an interruption"},
                       {"voxgrad train data.h5 --out models/first --device cuda --precision bf16", "on a card, and nowhere else (docs/cuda.md)"},
                       {"voxgrad train --config config-stardist3d_complete_1-4.yml --seed 43", "StarDist-3D as published"},
                       {"voxgrad train volumes --type stardist3d --set stardist_config.anisotropy=auto --out models/nuclei", "StarDist-3D on a folder with images and masks (docs/stardist_program.md)"},
                       {"voxgrad train data.h5 --continue unet3D-ZeroCostDL4Mic_complete_1-4_42 --steps 150000 --out models/longer", "go on where a run of the published pipeline stopped"},
                       {"voxgrad train mine.h5 --init models/first --learning-rate 5e-5 --out models/tuned", "fine-tune on own data"}},
          .more = "docs/training.md",
          .run = run_train};
}

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
// The table of keys. Ranges are what makes sense at all, not what is wise.

#include <sstream>

#include "config.hpp"
#include "json_text.hpp"
#include "losses.hpp"
#include "stardist_run.hpp"

namespace voxgrad::app {

namespace {

ConfigKey integer(std::string path, std::string fallback, double lowest, double highest, std::string unit,
                  std::string meaning, bool effect = true) {
  return {std::move(path),
          KeyType::integer,
          std::move(fallback),
          lowest,
          highest,
          {},
          std::move(unit),
          std::move(meaning),
          effect};
}
ConfigKey real(std::string path, std::string fallback, double lowest, double highest, std::string meaning) {
  return {std::move(path),    KeyType::real, std::move(fallback), lowest, highest, {}, {},
          std::move(meaning), true};
}
ConfigKey boolean(std::string path, std::string fallback, std::string meaning) {
  return {std::move(path), KeyType::boolean, std::move(fallback), 0, 0, {}, {}, std::move(meaning), true};
}
ConfigKey plain(std::string path, std::string fallback, std::string meaning, bool effect = true) {
  return {std::move(path), KeyType::text, std::move(fallback), 0, 0, {}, {}, std::move(meaning), effect};
}
ConfigKey word(std::string path, std::vector<std::string> words, std::string meaning) {
  std::string first = words.front();
  return {std::move(path),    KeyType::word, std::move(first), 0, 0, std::move(words), {},
          std::move(meaning), true};
}
/// A number, or a word in its place.
ConfigKey real_or(std::string word, std::string path, std::string fallback, double lowest, double highest, std::string meaning) {
  ConfigKey key = real(std::move(path), std::move(fallback), lowest, highest, std::move(meaning));
  key.words = {std::move(word)};
  return key;
}
ConfigKey reals(std::string path, std::string fallback, double lowest, double highest, std::string meaning) {
  return {std::move(path), KeyType::reals, std::move(fallback), lowest, highest, {}, {}, std::move(meaning), true};
}
ConfigKey texts(std::string path, std::string fallback, std::string meaning) {
  return {std::move(path), KeyType::texts, std::move(fallback), 0, 0, {}, {}, std::move(meaning), true};
}

std::vector<ConfigKey> make_keys() {
  const std::string t = "training_config.", m = "model_config.", o = "training_config.optimizer.";
  return {
      plain("dataset", "", "HDF5 file with the training movies"),
      integer(m + "first_kernel_size", "3", 1, 15, "voxels", "kernel of the very first convolution, odd"),
      integer(m + "inC", "1", 1, 1024, "", "input channels"),
      integer(m + "n_layer", "5", 1, 8, "", "encoder stages, each halving its input"),
      integer(m + "nbf", "8", 1, 1024, "", "filters of the first level, doubled at each level"),
      integer(m + "outC", "1", 1, 1024, "", "output channels"),
      integer(m + "r", "1", 1, 64, "", "parallel convolutions of dilation 1 to r in the bottleneck"),
      boolean(m + "use_batch_norm", "true", "batch normalisation after each convolution"),
      boolean(m + "use_leaky_relu", "true", "leaky ReLU (slope 0.2) in the encoder, else ReLU"),
      plain("project", "", "a name for the record", false),
      plain("root", "", "folder in which models are made, when --out is not given"),
      integer("seed", "42", 0, 9007199254740992.0, "", "fixes every random choice"),
      integer(t + "batch_size", "128", 1, 4096, "crops", "crops per training step"),
      integer(t + "checkpoint_interval", "100", 1, 1e9, "steps", "steps between two checkpoints"),
      integer(t + "crop_size", "64", 8, 1024, "voxels", "edge of the crops cut around events"),
      boolean(t + "drop_last", "false", "leave out the last, smaller batch of an epoch"),
      boolean(t + "flip", "true", "flip along H or W, each with probability 1/3"),
      integer(t + "inference_batch_size", "4", 1, 4096, "tiles", "tiles per step of prediction"),
      word(t + "loss", loss_names(),
           "mean squared error of the sigmoid (published), binary cross-entropy, or a positive-unlabeled risk (docs/pu.md)"),
      integer(t + "num_steps", "100000", 1, 1e12, "steps", "training steps in total"),
      integer(t + "num_workers", "4", 0, 4096, "",
              "loader processes of the reference; here --threads decides", false),
      ConfigKey{o + "betas",
                KeyType::reals,
                "[0.9, 0.999]",
                0,
                0.9999999,
                {},
                "",
                "decay rates of Adam's two moments"},
      real(o + "eps", "1.0e-08", 0, 1, "added to Adam's denominator"),
      real(o + "lr", "0.0002", 0, 1000, "learning rate"),
      real(o + "momentum", "0", 0, 1, "momentum of SGD"),
      word(o + "name", {"adam", "adamw", "sgd"}, "the optimiser"),
      real(o + "weight_decay", "0", 0, 1000, "weight decay (adam, sgd: L2 term; adamw: decoupled)"),
      integer(t + "patch_size", "32", 8, 1024, "voxels", "edge of what the network sees in training"),
      boolean(t + "random_crop", "true", "cut the patch at a random place of the crop, else from its middle"),
      boolean(t + "pu.balance_events", "false", "risk: every labelled event counts the same, whatever its size"),
      real_or("auto", t + "pu.beta", "0", 0, 1e9,
              "risk: how far the negative part may fall below 0 before it is corrected; auto: as far as chance explains"),
      real(t + "pu.beta_deviations", "1", 0.001, 1000, "beta auto: that many standard errors, with events as independent values"),
      word(t + "pu.denominator", {"batch", "fixed"},
           "risk: means divide by the weights of this batch, or by the average ones of all batches so far"),
      real(t + "pu.entropy", "0.002", 0, 1e9, "dist_pu: weight of the unlabelled scores' entropy"),
      real(t + "pu.entropy_ramp", "0", 0, 1e9,
           "dist_pu: after pu.warmup that weight is this times 1 - cos(pi/2 * the part of the steps that is done); 0 keeps pu.entropy (published: 0.004)"),
      real(t + "pu.eta", "0.5", 0, 1, "pnu: share of the unlabelled voxels' risk; the rest is that of known negatives"),
      plain(t + "pu.first_stage", "", "pubn: model folder whose scores tell positives and known negatives from the rest"),
      real(t + "pu.first_stage_threshold", "0.5", 0.000001, 0.999999, "pubn: first-stage score above which labelled voxels stand for unlabelled ones"),
      real(t + "pu.gamma", "1", 0, 1, "risk: length of corrected steps"),
      word(t + "pu.gamma_mode", {"loss", "step"},
           "risk: gamma scales the loss, as in public programs (which adam undoes), or the step, as published"),
      integer(t + "pu.ignore_border", "0", 0, 64, "voxels", "risk: unlabelled voxels that near to an event count for nothing"),
      word(t + "pu.labels", {"instances", "codes"},
           "any label above 0 is an event, or: 0 unlabelled, 1 positive, 2 known negative, 255 ignored"),
      real(t + "pu.leak", "1", 0, 1, "leaky_pu: slope with which the negative part turns back"),
      integer(t + "pu.micro_batch", "1", 1, 65536, "crops", "reduction accumulate: crops that the network sees at a time"),
      real(t + "pu.mixup", "0", 0, 1e9, "dist_pu, vpu: weight of the loss on mixed crops (published: 5 in dist_pu, 0.0001 to 0.3 in vpu); 0 mixes nothing"),
      real(t + "pu.mixup_alpha", "0", 0, 1e9, "mixup: crops are mixed by Beta(alpha, alpha); 0 takes the published 6 in dist_pu, 0.3 in vpu"),
      real(t + "pu.mixup_entropy", "0.04", 0, 1e9, "dist_pu with mixup: weight of the mixed scores' entropy"),
      boolean(t + "pu.movie_priors", "false", "with reduction volume: each crop has the prior of its movie, data set `prior` in the movie's group"),
      real(t + "pu.negative_share", "0", 0, 0.999999, "pubn: share of the population that negatives of the known kind are"),
      word(t + "pu.on_no_positive", {"use", "skip", "carry"},
           "risk of a batch (or volume) without a labelled voxel: as it is, no step, or with means of labelled voxels from earlier batches"),
      word(t + "pu.population", {"random", "batch"},
           "risk: whose voxels are a sample of everything: those of random crops, where a batch has any, or all"),
      real_or("auto", t + "pu.prior", "0", 0, 0.999999,
              "risk: share of positive voxels in the population; 0 is not given; auto: estimated while training"),
      reals(t + "pu.prior_bounds", "[0, 0.5]", 0, 0.999999, "prior auto: never outside; never below the labelled share either"),
      integer(t + "pu.prior_crops", "128", 1, 65536, "crops", "prior auto: held-out crops per estimate"),
      integer(t + "pu.prior_interval", "500", 1, 1e9, "steps", "prior auto: steps between two estimates"),
      real(t + "pu.prior_prime", "0", 0, 0.999999,
           "risk: train as if positives had this share (0.3 to 0.5 for rare ones); 0 leaves it, or takes 0.5 in imbalanced_nnpu"),
      real(t + "pu.prior_smoothing", "0.3", 0.001, 1, "prior auto: weight of a new estimate; 1 takes it as it is"),
      real(t + "pu.prior_start", "0", 0, 0.999999, "prior auto: the prior until the first estimate; 0 is the labelled share"),
      integer(t + "pu.prior_warmup", "1000", 1, 1e9, "steps", "prior auto: steps before the first estimate"),
      word(t + "pu.reduction", {"batch", "volume", "accumulate"},
           "one risk of the whole batch; the mean of those of its crops; or that of the batch, but the network sees pu.micro_batch crops at a time"),
      real(t + "pu.running_means", "1", 0.001, 1,
           "risk: weight of a batch in the running means that it is taken of; 1 takes the batch's own (0.1 for pu_dice, pu_tversky, ge_kl)"),
      word(t + "pu.scenario", {"single_set", "case_control"},
           "risk: everything is labelled and unlabelled voxels together, or unlabelled ones alone"),
      real(t + "pu.slack", "0", 0, 1e9, "ge_kl, ge_gaussian, ge_binomial: weight of the penalty; 0 takes the published 10, 1 and 1"),
      real(t + "pu.spread", "1", 1, 1e9, "ge_gaussian: voxels that make one independent value; voxels per event is a fair value"),
      plain(t + "pu.surrogate", "brier",
            "risk: brier, sigmoid, logistic, savage, ramp, squared, hinge, double_hinge or focal with its exponent, as in focal2"),
      integer(t + "pu.warmup", "0", 0, 1e9, "steps", "dist_pu, vpu: steps before the entropy's weight rises and crops are mixed"),
      plain(t + "samples_pu.path", "", "JSON file with lists of positive and unlabelled crops"),
      plain(t + "samples_pu.positive", "complete", "which set: complete or subset-<fraction>-<repetition>"),
      plain(t + "samples_pu.unlabeled", "0", "unlabelled crops per positive one, or c for a fixed total"),
      real(t + "schedule.factor", "0.5", 0, 1, "plateau, step: what the learning rate is multiplied by"),
      integer(t + "schedule.interval", "30000", 1, 1e12, "steps", "step: steps between two reductions"),
      real(t + "schedule.min_lr", "0", 0, 1000, "plateau, cosine: lowest learning rate"),
      word(t + "schedule.name", {"none", "plateau", "cosine", "step"}, "how the learning rate changes"),
      integer(t + "schedule.patience", "40", 1, 1e9, "validations",
              "plateau: validations without improvement"),
      integer(t + "schedule.warmup", "0", 0, 1e9, "steps",
              "cosine: steps in which the learning rate rises from 0"),
      texts(t + "train_folds", "[train]", "groups of the data set to train on"),
      texts(t + "valid_folds", "[valid]", "groups of the data set to validate on"),
      integer(t + "valid_interval", "100", 1, 1e9, "steps", "steps between two validations"),
      real(t + "valid_proportion", "0.2", 0, 0.9,
           "share for validation, where the data has no validation fold"),
      boolean(t + "weighted_loader", "false", "draw positive and unlabelled crops equally often (true is refused)"),
      word("type", {"unet3d", "stardist3d"}, "the kind of network"),
  };
}

std::string range(double value) {
  if (value >= 1e6 && value == double(std::int64_t(value))) return std::to_string(std::int64_t(value));
  return number_text(value);
}

}  // namespace

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = [] {
    std::vector<ConfigKey> all = make_keys();
    add_stardist_keys(all);
    return all;
  }();
  return keys;
}

const ConfigKey* find_key(const std::string& path) {
  for (const ConfigKey& key : config_keys())
    if (key.path == path) return &key;
  return nullptr;
}

std::string expected_text(const ConfigKey& key) {
  const std::string limits = " from " + range(key.lowest) + " to " + range(key.highest);
  switch (key.type) {
    case KeyType::integer:
      return "an integer" + limits;
    case KeyType::real:
      return "a number" + limits + (key.words.empty() ? "" : ", or " + key.words[0]);
    case KeyType::boolean:
      return "true or false";
    case KeyType::text:
      return "a text";
    case KeyType::texts:
      return "a list of " + (key.words.empty() ? std::string("texts") : key.words[0]);
    case KeyType::reals:
      return "a list of two numbers" + limits;
    case KeyType::word:
      break;
  }
  std::string out = "one of ";
  for (const std::string& allowed : key.words) out += (out.size() > 7 ? ", " : "") + allowed;
  return out;
}

namespace {
std::string shown_default(const ConfigKey& key) { return key.fallback.empty() ? "none" : key.fallback; }
std::string shown_meaning(const ConfigKey& key) {
  return key.meaning + (key.effect ? "" : " (without effect)");
}
}  // namespace

std::string config_help(int width) {
  std::ostringstream out;
  out << "Keys of a configuration file (YAML), with what they take and [default]:\n";
  for (const ConfigKey& key : config_keys()) {
    out << "\n" << key.path << "  [" << shown_default(key) << "]\n";
    const std::string body =
        shown_meaning(key) + "; " + expected_text(key) + (key.unit.empty() ? "" : ", " + key.unit);
    std::istringstream words(body);
    int column = 0;
    for (std::string word; words >> word;) {
      const bool fits = column > 0 && column + 1 + int(word.size()) <= width;
      out << (fits ? " " : column > 0 ? "\n    " : "    ") << word;
      column = (fits ? column + 1 : 4) + int(word.size());
    }
    out << "\n";
  }
  return out.str();
}

std::string config_markdown() {
  std::ostringstream out;
  out << "# Configuration keys\n\nMade by `voxgrad train --help-config --markdown` from the table that reads "
         "the files; do not "
         "edit by hand.\n\nPrecedence, lowest first: defaults, `--config FILE` (several, later wins), `--set "
         "key=value`, "
         "dedicated options.\n`voxgrad train --print-config` shows every value with its origin. The "
         "published files load "
         "unchanged: Python tags\ncount as plain lists, and `optimizer` may be a list (`[adam, {lr: "
         "0.0002}]`) or a map.\n\n"
         "| key | takes | default | unit | meaning |\n|---|---|---|---|---|\n";
  for (const ConfigKey& key : config_keys())
    out << "| `" << key.path << "` | " << expected_text(key) << " | " << shown_default(key) << " | "
        << key.unit << " | " << shown_meaning(key) << " |\n";
  return out.str();
}

}  // namespace voxgrad::app

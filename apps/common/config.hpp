// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The configuration of a training run: one table of keys, values with their origin, and the plain struct made
// of them. Precedence, lowest first: built-in defaults, --config files in order, --set, dedicated options.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "options.hpp"

namespace voxgrad::app {

class Session;

enum class KeyType { integer, real, boolean, text, word, texts, reals };

/// One row of the table that parses, explains and documents the configuration.
struct ConfigKey {
  std::string path = {};  ///< "training_config.batch_size"
  KeyType type = KeyType::text;
  std::string fallback = {};            ///< as YAML text; "" is an empty text or list
  double lowest = 0, highest = 0;       ///< for numbers, both allowed
  std::vector<std::string> words = {};  ///< for word: what is allowed; for texts: what the list holds, in one entry
  std::string unit = {}, meaning = {};
  bool effect = true;  ///< false: read and kept for the record, reported when set
};

const std::vector<ConfigKey>& config_keys();

/// Values by key, each checked when it is set. Every error is a UsageError naming the place, the key, what
/// was found and what is allowed: "experiment.yaml:14: training_config.batch_size is 'auto' (expected an
/// integer from 1 to 4096)."
class Config {
 public:
  Config();  ///< the defaults

  /// YAML as published: Python tags count as plain sequences, `optimizer` as a list or a map.
  void read_file(const std::string& path);
  void read_text(const std::string& yaml, const std::string& name);
  /// One value as YAML text ("8", "true", "[train, more]"); `origin` is shown in errors and by print().
  void set(const std::string& path, const std::string& yaml, const std::string& origin);
  void assign(const std::string& assignment);  ///< "a.b.c=value", for --set

  std::string text(const std::string& path) const;
  std::vector<std::string> texts(const std::string& path) const;
  std::int64_t integer(const std::string& path) const;
  double real(const std::string& path) const;
  std::vector<double> reals(const std::string& path) const;
  bool boolean(const std::string& path) const;
  const std::string& origin(const std::string& path) const {
    return value(path).origin;
  }  ///< "" for a default
  bool given(const std::string& path) const { return !origin(path).empty(); }

  /// One line for each key that was set but has no effect.
  std::vector<std::string> notes() const;
  /// All keys as YAML, sorted, in the reference's layout; with the origin of each value as a comment if
  /// asked.
  std::string yaml(bool with_origins) const;

 private:
  struct Value {
    std::vector<std::string> items;  ///< one for scalars
    std::string origin;
  };
  friend class ConfigReader;  // the part that knows the YAML library (config_read.cpp)
  const Value& value(const std::string& path) const;
  void store(const ConfigKey& key, std::vector<std::string> items, const std::string& origin);
  std::map<std::string, Value> values_;
};

/// The row of `path`, nullptr if there is none.
const ConfigKey* find_key(const std::string& path);
/// "an integer from 1 to 4096", "one of adam, adamw, sgd", ...
std::string expected_text(const ConfigKey& key);

struct ModelConfig {
  int first_kernel_size = 3, in_channels = 1, n_layer = 5, nbf = 8, out_channels = 1, r = 1;
  bool use_batch_norm = true, use_leaky_relu = true;
};

struct OptimizerConfig {
  std::string name = "adam";  ///< adam, adamw or sgd
  double lr = 2e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, momentum = 0;
};

struct ScheduleConfig {
  std::string name = "none";      ///< none, plateau, cosine or step
  double factor = 0.5;            ///< plateau and step: the learning rate is multiplied by this
  std::int64_t patience = 40;     ///< plateau: validations without improvement
  std::int64_t interval = 30000;  ///< step: training steps between two reductions
  std::int64_t warmup = 0;        ///< cosine: steps in which the rate rises
  double min_lr = 0;              ///< plateau and cosine never go below
};

/// When `pu.prior` is `auto`: how the share of positive voxels is estimated while a network is trained.
struct AutoPriorConfig {
  double start = 0;                                           ///< until the first estimate; 0: the labelled share
  double smoothing = 0.3, lowest = 0, highest = 0.5;          ///< weight of a new estimate, and bounds
  std::int64_t warmup = 1000, interval = 500, crops = 128;    ///< steps, steps, held-out crops per estimate
};

/// How voxels count in a positive-unlabeled risk. How crops are drawn is in the samples list.
struct PuConfig {
  double prior = 0;  ///< 0: not given
  bool prior_auto = false, beta_auto = false;
  AutoPriorConfig estimate;
  double prior_prime = 0, beta = 0, beta_deviations = 1, gamma = 1, leak = 1;
  std::string gamma_mode = "loss", surrogate = "brier";
  std::string scenario = "single_set", population = "random";
  std::string reduction = "batch", on_no_positive = "use", denominator = "batch";
  double running_means = 1;       ///< weight of a batch in the means that the risk is taken of
  std::string labels = "instances";
  std::int64_t ignore_border = 0;  ///< voxels around events that count for nothing
  bool balance_events = false, movie_priors = false;
  std::int64_t micro_batch = 1;    ///< reduction accumulate: crops in memory at a time
  double eta = 0.5, negative_share = 0, first_stage_threshold = 0.5, slack = 0, spread = 1;
  double entropy = 0.002, entropy_ramp = 0;                     ///< dist_pu: weight of the entropy, and how far it rises after the warm-up
  double mixup = 0, mixup_alpha = 0, mixup_entropy = 0.04;      ///< dist_pu, vpu: weight; 0 for the published alpha; dist_pu
  std::int64_t warmup = 0;                                      ///< steps before ramp and mixup
  std::string first_stage = {};   ///< a model folder
};

struct TrainingConfig {
  std::int64_t batch_size = 128, inference_batch_size = 4, num_steps = 100000, num_workers = 4;
  std::int64_t valid_interval = 100, checkpoint_interval = 100;
  bool drop_last = false, weighted_loader = false;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  std::vector<std::string> train_folds = {"train"}, valid_folds = {"valid"};
  double valid_proportion = 0.2;  ///< of movies, when the data has no validation fold of its own
  std::int64_t patch_size = 32, crop_size = 64;  ///< voxels along each axis
  bool flip = true, random_crop = true;
  std::string loss = "mse";                                                          ///< mse, bce or a risk
  PuConfig pu;
  std::string samples_path, samples_positive = "complete", samples_unlabeled = "0";  ///< the ratio, or "c"
};

struct TrainConfig {
  std::uint64_t seed = 42;
  std::string type = "unet3d", project, dataset, root;
  ModelConfig model;
  TrainingConfig training;
};

/// The struct, after the checks that concern several keys (patch against depth of the network, crop against
/// patch).
TrainConfig train_config(const Config& config);
/// "complete-1:4": the key in the samples file.
std::string samples_key(const TrainingConfig& training);
/// "unet3D-ZeroCostDL4Mic_complete_1-4_42": the reference's name of a model.
std::string reference_model_name(const TrainConfig& config);

/// --config, --set, --strict, --print-config, --help-config, --markdown.
std::vector<Option> config_options();
/// Reads --config and --set (and --seed if given), reports keys without effect; with --strict those are
/// errors.
Config read_config(const Arguments& arguments, Session& session);
/// Answers --help-config and --print-config on standard output; true if one of them was asked.
bool answer_config_questions(const Arguments& arguments, const Config& config, Session& session);

std::string config_help(int width);
std::string config_markdown();

}  // namespace voxgrad::app

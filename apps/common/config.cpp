// SPDX-License-Identifier: BSD-3-Clause
// Checked values, their YAML form, and the struct made of them.

#include "config.hpp"

#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "json_text.hpp"
#include "machine.hpp"
#include "session.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

namespace {

/// true or false for the spellings of YAML 1.1, which the published files were read with.
std::string boolean_word(std::string value) {
  for (const char* yes : {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
    if (value == yes) return "true";
  for (const char* no : {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
    if (value == no) return "false";
  return "";
}

bool in_range(const ConfigKey& key, const std::string& item) {
  const std::optional<double> number = parse_real(item);
  return number && *number >= key.lowest && *number <= key.highest;
}

bool fits(const ConfigKey& key, const std::string& item) {
  switch (key.type) {
    case KeyType::integer:
      return parse_integer(item).has_value() && in_range(key, item);
    case KeyType::real:
      if (std::find(key.words.begin(), key.words.end(), item) != key.words.end()) return true;
      [[fallthrough]];
    case KeyType::reals:
      return in_range(key, item);
    case KeyType::boolean:
      return !boolean_word(item).empty();
    case KeyType::word:
      return std::find(key.words.begin(), key.words.end(), item) != key.words.end();
    case KeyType::text:
    case KeyType::texts:
      return true;
  }
  return false;
}

bool is_list(const ConfigKey& key) { return key.type == KeyType::texts || key.type == KeyType::reals; }

/// "[a, b]" of the table into its items.
std::vector<std::string> fallback_items(const ConfigKey& key) {
  if (!is_list(key)) return {key.fallback};
  std::string inner = key.fallback;
  std::erase_if(inner, [](char c) { return c == '[' || c == ']' || c == ' '; });
  std::vector<std::string> items;
  std::istringstream in(inner);
  for (std::string item; std::getline(in, item, ',');) items.push_back(item);
  return items;
}

/// A text that YAML reads back as that text. Numbers of text keys (samples_pu.unlabeled) stay bare, as
/// published.
std::string yaml_text(const std::string& value, bool may_be_number) {
  const bool plain = !value.empty() && value.find_first_not_of(
                                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                           "0123456789_-./") == std::string::npos;
  const bool other = !boolean_word(value).empty() || value == "null" || value[0] == '-' || value[0] == '.' ||
                     (!may_be_number && parse_real(value).has_value());
  return plain && !other ? value : json_quote(value);
}

/// "1e-08" as "1.0e-08": YAML 1.1, which the reference reads with, takes the first for a text.
std::string yaml_number(std::string item) {
  const std::size_t e = item.find_first_of("eE");
  if (e != std::string::npos && item.find('.') == std::string::npos) item.insert(e, ".0");
  return item;
}

/// One value as YAML. The ratio of unlabelled crops and lists of numbers or words are texts that may be numbers; they stay bare,
/// the first as published.
std::string yaml_item(const ConfigKey& key, const std::string& item) {
  if (key.type == KeyType::text || key.type == KeyType::texts)
    return yaml_text(item, key.path == "training_config.samples_pu.unlabeled" || key.path.rfind("stardist_config.", 0) == 0);
  return item;
}

}  // namespace

Config::Config() {
  for (const ConfigKey& key : config_keys()) values_[key.path] = {fallback_items(key), ""};
}

void Config::store(const ConfigKey& key, std::vector<std::string> items, const std::string& origin) {
  for (std::string& item : items) {
    check<UsageError>(fits(key, item), origin, ": ", key.path, " is '", item, "' (expected ",
                      expected_text(key), ").",
                      key.type == KeyType::word ? did_you_mean(item, key.words) : "");
    if (key.type == KeyType::boolean) item = boolean_word(item);
    if (key.type == KeyType::real || key.type == KeyType::reals) item = yaml_number(item);
  }
  const bool length = key.type != KeyType::reals || items.size() == 2;
  check<UsageError>(length && (!is_list(key) || !items.empty()), origin, ": ", key.path, " has ",
                    items.size(), " entries (expected ", expected_text(key), ").");
  if (key.path == "training_config.samples_pu.unlabeled") {
    const std::optional<std::int64_t> ratio = parse_integer(items[0]);
    check<UsageError>(items[0] == "c" || (ratio && *ratio >= 0 && *ratio <= 65536), origin, ": ", key.path,
                      " is '", items[0], "' (expected an integer from 0 to 65536, or c).");
  }
  values_[key.path] = {std::move(items), origin};
}

void Config::assign(const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  check<UsageError>(equals != std::string::npos && equals > 0, "--set ", assignment,
                    ": has no '='. Write --set training_config.batch_size=8.");
  set(assignment.substr(0, equals), assignment.substr(equals + 1), "--set " + assignment);
}

const Config::Value& Config::value(const std::string& path) const {
  const auto found = values_.find(path);
  check(found != values_.end(), "configuration key ", path, " is not in the table");
  return found->second;
}

std::string Config::text(const std::string& path) const { return value(path).items.at(0); }
std::vector<std::string> Config::texts(const std::string& path) const { return value(path).items; }
std::int64_t Config::integer(const std::string& path) const { return parse_integer(text(path)).value(); }
double Config::real(const std::string& path) const { return parse_real(text(path)).value(); }
bool Config::boolean(const std::string& path) const { return text(path) == "true"; }

std::vector<double> Config::reals(const std::string& path) const {
  std::vector<double> numbers;
  for (const std::string& item : value(path).items) numbers.push_back(parse_real(item).value());
  return numbers;
}

std::vector<std::string> Config::notes() const {
  std::vector<std::string> lines;
  for (const ConfigKey& key : config_keys())
    if (!key.effect && given(key.path))
      lines.push_back(voxgrad::text(origin(key.path), ": ", key.path,
                                    " is kept for the record and has no effect (", key.meaning, ")."));
  return lines;
}

std::string Config::yaml(bool with_origins) const {
  std::ostringstream out;
  std::vector<std::string> open;               // the sections that the last line stands in
  for (const auto& [path, value] : values_) {  // a map: sorted as the reference's dumper does
    const ConfigKey& key = *find_key(path);
    std::vector<std::string> parts;
    std::istringstream in(path);
    for (std::string part; std::getline(in, part, '.');) parts.push_back(part);
    std::size_t level = 0;
    while (level < open.size() && level + 1 < parts.size() && open[level] == parts[level]) ++level;
    open.resize(level);
    for (; level + 1 < parts.size(); ++level) {
      out << std::string(2 * level, ' ') << parts[level] << ":\n";
      open.push_back(parts[level]);
    }
    std::string body;
    for (const std::string& item : value.items) body += (body.empty() ? "" : ", ") + yaml_item(key, item);
    out << std::string(2 * level, ' ') << parts.back() << ": " << (is_list(key) ? "[" + body + "]" : body);
    if (with_origins) out << "  # " << (value.origin.empty() ? "default" : value.origin);
    out << "\n";
  }
  return out.str();
}

namespace {

ModelConfig model_config(const Config& c) {
  const auto number = [&c](const char* key) { return int(c.integer(std::string("model_config.") + key)); };
  ModelConfig m;
  m.first_kernel_size = number("first_kernel_size");
  m.in_channels = number("inC");
  m.n_layer = number("n_layer");
  m.nbf = number("nbf");
  m.out_channels = number("outC");
  m.r = number("r");
  m.use_batch_norm = c.boolean("model_config.use_batch_norm");
  m.use_leaky_relu = c.boolean("model_config.use_leaky_relu");
  return m;
}

OptimizerConfig optimizer_config(const Config& c) {
  const std::string o = "training_config.optimizer.";
  OptimizerConfig out;
  out.name = c.text(o + "name");
  out.lr = c.real(o + "lr");
  out.beta1 = c.reals(o + "betas")[0];
  out.beta2 = c.reals(o + "betas")[1];
  out.eps = c.real(o + "eps");
  out.weight_decay = c.real(o + "weight_decay");
  out.momentum = c.real(o + "momentum");
  return out;
}

ScheduleConfig schedule_config(const Config& c) {
  const std::string s = "training_config.schedule.";
  ScheduleConfig out;
  out.name = c.text(s + "name");
  out.factor = c.real(s + "factor");
  out.patience = c.integer(s + "patience");
  out.interval = c.integer(s + "interval");
  out.warmup = c.integer(s + "warmup");
  out.min_lr = c.real(s + "min_lr");
  return out;
}

PuConfig pu_config(const Config& c) {
  const std::string p = "training_config.pu.";
  const auto number_or_auto = [&](const char* key, double& number, bool& is_auto) {
    is_auto = c.text(p + key) == "auto";
    number = is_auto ? 0 : c.real(p + key);
  };
  PuConfig out;
  number_or_auto("prior", out.prior, out.prior_auto);
  number_or_auto("beta", out.beta, out.beta_auto);
  out.estimate = {.start = c.real(p + "prior_start"), .smoothing = c.real(p + "prior_smoothing"),
                  .lowest = c.reals(p + "prior_bounds")[0], .highest = c.reals(p + "prior_bounds")[1],
                  .warmup = c.integer(p + "prior_warmup"), .interval = c.integer(p + "prior_interval"),
                  .crops = c.integer(p + "prior_crops")};
  for (auto [key, field] : {std::pair{"prior_prime", &out.prior_prime}, {"beta_deviations", &out.beta_deviations}, {"gamma", &out.gamma},
                            {"leak", &out.leak}, {"running_means", &out.running_means}, {"eta", &out.eta},
                            {"negative_share", &out.negative_share}, {"first_stage_threshold", &out.first_stage_threshold},
                            {"slack", &out.slack}, {"spread", &out.spread}, {"entropy", &out.entropy}, {"entropy_ramp", &out.entropy_ramp},
                            {"mixup", &out.mixup}, {"mixup_alpha", &out.mixup_alpha}, {"mixup_entropy", &out.mixup_entropy}})
    *field = c.real(p + key);
  for (auto [key, field] : {std::pair{"gamma_mode", &out.gamma_mode}, {"surrogate", &out.surrogate}, {"scenario", &out.scenario},
                            {"population", &out.population}, {"reduction", &out.reduction}, {"on_no_positive", &out.on_no_positive},
                            {"denominator", &out.denominator}, {"labels", &out.labels}, {"first_stage", &out.first_stage}})
    *field = c.text(p + key);
  out.ignore_border = c.integer(p + "ignore_border");
  out.micro_batch = c.integer(p + "micro_batch");
  out.warmup = c.integer(p + "warmup");
  out.balance_events = c.boolean(p + "balance_events");
  out.movie_priors = c.boolean(p + "movie_priors");
  return out;
}

TrainingConfig training_config(const Config& c) {
  const std::string t = "training_config.";
  TrainingConfig out;
  out.batch_size = c.integer(t + "batch_size");
  out.inference_batch_size = c.integer(t + "inference_batch_size");
  out.num_steps = c.integer(t + "num_steps");
  out.num_workers = c.integer(t + "num_workers");
  out.valid_interval = c.integer(t + "valid_interval");
  out.checkpoint_interval = c.integer(t + "checkpoint_interval");
  out.drop_last = c.boolean(t + "drop_last");
  out.weighted_loader = c.boolean(t + "weighted_loader");
  out.optimizer = optimizer_config(c);
  out.schedule = schedule_config(c);
  out.train_folds = c.texts(t + "train_folds");
  out.valid_folds = c.texts(t + "valid_folds");
  out.valid_proportion = c.real(t + "valid_proportion");
  out.patch_size = c.integer(t + "patch_size");
  out.crop_size = c.integer(t + "crop_size");
  out.flip = c.boolean(t + "flip");
  out.random_crop = c.boolean(t + "random_crop");
  out.loss = c.text(t + "loss");
  out.pu = pu_config(c);
  out.samples_path = c.text(t + "samples_pu.path");
  out.samples_positive = c.text(t + "samples_pu.positive");
  out.samples_unlabeled = c.text(t + "samples_pu.unlabeled");
  return out;
}

std::string place(const Config& c, const std::string& path) {
  return c.given(path) ? c.origin(path) + ": " + path : path;
}

}  // namespace

TrainConfig train_config(const Config& c) {
  TrainConfig out;
  out.seed = std::uint64_t(c.integer("seed"));
  out.type = c.text("type");
  out.project = c.text("project");
  out.dataset = c.text("dataset");
  out.root = c.text("root");
  out.model = model_config(c);
  out.training = training_config(c);
  const TrainingConfig& t = out.training;
  if (out.type == "stardist3d") return out;  // its network and patches are in stardist_config (stardist_run.hpp)
  check<UsageError>(out.model.first_kernel_size % 2 == 1, place(c, "model_config.first_kernel_size"), " is ",
                    out.model.first_kernel_size, " (expected an odd number).");
  const std::int64_t step = std::int64_t(1) << out.model.n_layer;
  check<UsageError>(t.patch_size % step == 0, place(c, "training_config.patch_size"), " is ", t.patch_size,
                    " (expected a multiple of ", step, ", because the network halves its input ",
                    out.model.n_layer, " times).");
  check<UsageError>(t.crop_size >= t.patch_size, place(c, "training_config.crop_size"), " is ", t.crop_size,
                    " (expected at least patch_size, ", t.patch_size, ").");
  const AutoPriorConfig& e = t.pu.estimate;
  check<UsageError>(e.lowest < e.highest, place(c, "training_config.pu.prior_bounds"), " is [", e.lowest, ", ", e.highest,
                    "] (expected the lower bound first).");
  return out;
}

std::string samples_key(const TrainingConfig& training) {
  return training.samples_positive + "-1:" + training.samples_unlabeled;
}

std::string reference_model_name(const TrainConfig& config) {
  return text("unet3D-ZeroCostDL4Mic_", config.training.samples_positive, "_1-",
              config.training.samples_unlabeled, "_", config.seed);
}

std::vector<Option> config_options() {
  return {
      {.name = "--config",
       .value = "FILE",
       .help = "configuration (YAML); published files load unchanged, later ones win",
       .group = "Training",
       .aliases = {"-c"},
       .repeatable = true},
      {.name = "--set",
       .value = "KEY=VALUE",
       .help = "one configuration value, as training_config.batch_size=8",
       .group = "Training",
       .repeatable = true},
      {.name = "--strict", .help = "a configuration key without effect is an error", .group = "Training"},
      {.name = "--print-config", .help = "show every value with its origin and stop", .group = "Training"},
      {.name = "--help-config", .help = "explain every configuration key and stop", .group = "Training"},
      {.name = "--markdown", .help = "--help-config as a page of the documentation", .group = "Training"},
  };
}

Config read_config(const Arguments& arguments, Session& session) {
  Config config;
  for (const std::string& file : arguments.list("--config")) config.read_file(file);
  for (const std::string& assignment : arguments.list("--set")) config.assign(assignment);
  const auto& table = arguments.table();
  const bool has_seed =
      std::any_of(table.begin(), table.end(), [](const Option& o) { return o.name == "--seed"; });
  if (has_seed && arguments.given("--seed")) config.set("seed", arguments.get("--seed"), "--seed");
  const std::vector<std::string> notes = config.notes();
  check<UsageError>(notes.empty() || !arguments.flag("--strict"), notes.empty() ? "" : notes[0],
                    " Refused because of --strict.");
  for (const std::string& line : notes) session.note(line);
  return config;
}

bool answer_config_questions(const Arguments& arguments, const Config& config, Session& session) {
  std::string answer;
  if (arguments.flag("--help-config"))
    answer = (arguments.flag("--markdown") ? config_markdown()
                                           : config_help(std::min(110, terminal_width(STDOUT_FILENO))));
  else if (arguments.flag("--print-config"))
    answer = config.yaml(true);
  else
    return false;
  answer.pop_back();  // print() ends the line
  session.print(answer);
  return true;
}

}  // namespace voxgrad::app

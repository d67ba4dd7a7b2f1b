// SPDX-License-Identifier: BSD-3-Clause
#include "torch_model.hpp"

#include <array>
#include <cmath>

#include "json_text.hpp"
#include "options.hpp"
#include "voxgrad/nn/torch_state.hpp"
#include "voxgrad/optim/adam.hpp"
#include "weights_fit.hpp"

namespace voxgrad::app {
namespace {

using Scalars = std::map<std::string_view, const io::TorchScalar*>;

/// Whole numbers, also those that PyTorch keeps as a float tensor.
std::optional<double> number_of(const io::TorchScalar& s) {
  if (const auto* i = std::get_if<int64_t>(&s.value)) return double(*i);
  if (const auto* d = std::get_if<double>(&s.value)) return *d;
  return {};
}

/// Number, scalar or one-element tensor of that name.
std::optional<double> number_at(io::TorchArchive& archive, const Scalars& scalars, const std::string& name) {
  if (const auto it = scalars.find(name); it != scalars.end()) return number_of(*it->second);
  const io::TorchTensor* t = archive.find(name);
  if (!t || !t->shape.empty()) return {};
  return archive.tensor(*t).item();
}

/// "optimizer" or "optimizer_state_dict", whichever holds parameter groups.
std::string optimizer_key(const io::TorchArchive& archive, const Scalars& scalars) {
  for (const std::string key : {"optimizer", "optimizer_state_dict"})
    if (scalars.contains(key + ".param_groups.0.lr")) return key;
  throw FileError(text(archive.path(), ": holds no optimiser (param_groups), only weights. Start from them with --init."));
}

/// The number under which each parameter's state stands: the groups list them in the order of the network's parameters.
std::vector<std::string> parameter_numbers(const std::string& key, const Scalars& scalars) {
  std::vector<std::string> all;
  for (int group = 0;; ++group) {
    const std::string prefix = text(key, ".param_groups.", group, ".params.");
    const size_t before = all.size();
    for (int i = 0;; ++i) {
      const auto it = scalars.find(text(prefix, i));
      if (it == scalars.end()) break;
      all.push_back(text(int64_t(number_of(*it->second).value_or(-1))));
    }
    if (all.size() == before) return all;
  }
}

/// The network's parameters in the order of the file's network, which numbers them and may have registered its layers in another order.
std::vector<std::string> parameters_in_order(const io::TorchArchive& archive, nn::Module& net) {
  std::map<const io::TorchTensor*, std::string> learnable;
  const auto tensors = network_tensors(archive);
  for (const nn::Named& n : net.parameters()) learnable.emplace(tensors.at(n.name), n.name);
  std::vector<std::string> all;
  for (const io::TorchTensor& t : archive.tensors())
    if (const auto it = learnable.find(&t); it != learnable.end()) all.push_back(it->second);
  return all;
}

bool is_true(const Scalars& scalars, const std::string& name) {
  const auto it = scalars.find(name);
  return it != scalars.end() && std::holds_alternative<bool>(it->second->value) && std::get<bool>(it->second->value);
}

/// FileError unless `optimizer` is the one that wrote the parameter groups. PyTorch tells AdamW from Adam there only since 2.6.
void check_optimizer(const std::string& path, const std::string& group, const Scalars& scalars, const optim::Optimizer& optimizer) {
  const auto* adam = dynamic_cast<const optim::Adam*>(&optimizer);
  const std::string decoupled = group + "decoupled_weight_decay", here = !adam ? "sgd" : adam->options.decoupled ? "adamw" : "adam";
  std::string there = "one that this program does not have";
  if (scalars.contains(group + "betas.0")) there = !scalars.contains(decoupled) && adam ? here : is_true(scalars, decoupled) ? "adamw" : "adam";
  else if (scalars.contains(group + "dampening")) there = "sgd";
  check<FileError>(there == here, path, ": its optimiser is ", there, ", the configuration's ", here, ", so that it cannot be resumed with this optimiser. ",
                   there.find(' ') == std::string::npos ? "Set training_config.optimizer.name to " + there + ", or start" : "Start", " from its weights with --init.");
  check<FileError>(!is_true(scalars, group + "amsgrad"), path, ": was trained with amsgrad, which this program does not have. Start from its weights with --init.");
  check<FileError>(!is_true(scalars, group + "nesterov"), path, ": was trained with Nesterov's momentum, which this program does not have. Start from its weights with --init.");
}

/// Moments of every parameter; PyTorch has none for those that never had a gradient.
int64_t load_moments(io::TorchArchive& archive, const Scalars& scalars, nn::Module& net, optim::Optimizer& optimizer) {
  const std::string& path = archive.path();
  const std::string key = optimizer_key(archive, scalars);
  const std::vector<std::string> parameters = parameters_in_order(archive, net), numbers = parameter_numbers(key, scalars);
  check<FileError>(numbers.size() == parameters.size(), path, ": its optimiser has ", numbers.size(), " parameters, the network ", parameters.size(), ".");
  check_optimizer(path, key + ".param_groups.0.", scalars, optimizer);
  const bool adam = dynamic_cast<const optim::Adam*>(&optimizer) != nullptr;
  std::map<std::string, size_t> place;
  for (size_t i = 0; i < parameters.size(); ++i) place[parameters[i]] = i;
  int64_t step = 0;
  for (const nn::Named& moment : optimizer.state()) {  // "exp_avg/down_convs.0.convs.0.weight"
    const size_t slash = moment.name.find('/');
    const std::string parameter = moment.name.substr(slash + 1), of = text(key, ".state.", numbers[place.at(parameter)], ".");
    const std::string name = of + torch_state_name(moment.name.substr(0, slash));
    const std::optional<double> count = number_at(archive, scalars, adam ? of + "step" : "step");  // SGD counts no steps, the run does
    if (!(adam && count) && !archive.find(name)) continue;
    check<FileError>(count && archive.find(name), path, ": '", name, "' or its step is missing. It cannot be resumed with this optimiser; start from ",
                     "its weights with --init instead.");
    const Tensor t = nn::from_torch(parameter, archive.tensor(*archive.find(name)));
    check<FileError>(t.shape() == moment.tensor->shape(), path, ": '", name, "' is ", t.shape(), " (expected ", moment.tensor->shape(), ").");
    *moment.tensor = t.to(moment.tensor->dtype());
    check<FileError>(*count >= 0 && *count <= 1e15 && (step == 0 || step == int64_t(*count)), path, ": its parameters have seen ", step, " and ", *count,
                     " steps (expected one number for all).");
    step = int64_t(*count);
  }
  return step;
}

/// stats.train-loss.7.loss and its like as rows of a table; rows without a whole step are left out.
std::string rows_of(const io::TorchArchive& archive, const std::string& list, const std::vector<std::string>& columns) {
  std::string rows, current;
  std::vector<std::string> cells(columns.size());
  const auto finish = [&] {
    if (!current.empty() && !cells[0].empty()) {
      for (size_t i = 0; i < cells.size(); ++i) rows += (i ? "," : "") + cells[i];
      rows += "\n";
    }
    cells.assign(columns.size(), "");
  };
  const std::string prefix = "stats." + list + ".";
  for (const io::TorchScalar& s : archive.scalars()) {
    if (s.name.compare(0, prefix.size(), prefix) != 0) continue;
    const size_t dot = s.name.find('.', prefix.size());
    if (dot == std::string::npos) continue;
    if (const std::string row = s.name.substr(prefix.size(), dot - prefix.size()); row != current) {
      finish();
      current = row;
    }
    for (size_t i = 0; i < columns.size(); ++i)
      if (const auto value = number_of(s); value && s.name.compare(dot + 1, std::string::npos, columns[i]) == 0)
        cells[i] = std::holds_alternative<int64_t>(s.value) ? std::to_string(std::get<int64_t>(s.value)) : number_text(*value);
  }
  finish();
  return rows;
}

/// What save_torch_checkpoint put beside the tensors.
Metadata own_metadata(const io::TorchArchive& archive) {
  const std::string own = "voxgrad.";
  Metadata m;
  for (const io::TorchScalar& s : archive.scalars())
    if (const auto* value = std::get_if<std::string>(&s.value); value && s.name.starts_with(own)) m[s.name.substr(own.size())] = *value;
  return m;
}

/// The shape that from_torch gives.
Shape shape_here(const std::string& path, const std::string& name, const std::vector<int64_t>& extents) {
  check<FileError>(extents.size() <= size_t(Shape::max_rank), path, ": '", name, "' has ", extents.size(), " axes (expected at most ", Shape::max_rank, ").");
  const Shape s(extents.begin(), extents.end());
  if (s.rank() != 5) return s;
  return nn::is_transposed_kernel(name) ? Shape{s[2], s[3], s[4], s[0], s[1]} : Shape{s[2], s[3], s[4], s[1], s[0]};
}

void load_network(io::TorchArchive& archive, nn::Module& net) {
  check_fit(archive.path(), net, network_shapes(archive));
  const auto tensors = network_tensors(archive);
  nn::load_state(net, [&](const std::string& name) { return nn::from_torch(name, archive.tensor(*tensors.at(name))); }, {});
}

}  // namespace

std::map<std::string, const io::TorchTensor*> network_tensors(const io::TorchArchive& archive) {
  std::string dictionary;
  for (const std::string key : {"model.", "model_state_dict.", "state_dict."})
    for (const io::TorchTensor& t : archive.tensors())
      if (dictionary.empty() && t.name.starts_with(key)) dictionary = key;
  std::map<std::string, const io::TorchTensor*> found;
  for (const io::TorchTensor& t : archive.tensors()) {
    if (!t.name.starts_with(dictionary)) continue;
    std::string name = t.name.substr(dictionary.size());
    for (bool more = true; more;) {
      more = false;
      for (const std::string_view wrapper : {"module.", "model."})
        if (name.starts_with(wrapper)) name.erase(0, wrapper.size()), more = true;
    }
    const auto [other, fresh] = found.emplace(name, &t);
    check<FileError>(fresh, archive.path(), ": '", other->second->name, "' and '", t.name, "' are both the network's '", name, "'.");
  }
  return found;
}

std::map<std::string, Shape> network_shapes(const io::TorchArchive& archive) {
  std::map<std::string, Shape> shapes;
  for (const auto& [name, t] : network_tensors(archive)) shapes.emplace(name, shape_here(archive.path(), t->name, t->shape));
  check<FileError>(!shapes.empty(), archive.path(), ": holds no tensors.");
  return shapes;
}

Metadata load_torch_weights(const std::string& path, nn::Module& net) {
  io::TorchArchive archive(path);
  load_network(archive, net);
  Metadata m = own_metadata(archive);
  m.erase("optimizer_step");  // of its checkpoint
  for (const io::TorchScalar& s : archive.scalars())
    if (const auto step = number_of(s); step && s.name == "step") m.emplace("step", std::to_string(int64_t(*step)));
  return m;
}

bool has_torch_optimizer(const std::string& path) {
  const io::TorchArchive archive(path);
  for (const io::TorchTensor& t : archive.tensors())
    if (t.name.starts_with("optimizer.state.") || t.name.starts_with("optimizer_state_dict.state.")) return true;
  bool plain = false, ours = false, stepped = false;  // SGD without momentum keeps no tensors; of ours, only checkpoints say its step
  for (const io::TorchScalar& s : archive.scalars()) {
    plain = plain || (s.name.starts_with("optimizer") && s.name.ends_with(".param_groups.0.momentum") && number_of(s) == 0.0);
    ours = ours || s.name.starts_with("voxgrad.");
    stepped = stepped || s.name == "voxgrad.optimizer_step";
  }
  return plain && (stepped || !ours);
}

TorchRun load_torch_checkpoint(const std::string& path, nn::Module& net, optim::Optimizer& optimizer) {
  io::TorchArchive archive(path);
  load_network(archive, net);
  Scalars scalars;
  for (const io::TorchScalar& s : archive.scalars()) scalars.emplace(s.name, &s);
  TorchRun run;
  int64_t seen = load_moments(archive, scalars, net, optimizer);
  run.metadata["step"] = std::to_string(int64_t(number_at(archive, scalars, "step").value_or(double(seen))));
  for (const auto& [key, value] : own_metadata(archive)) run.metadata[key] = value;
  if (dynamic_cast<const optim::Adam*>(&optimizer) == nullptr) {
    const auto own = run.metadata.find("optimizer_step");
    seen = parse_integer(own == run.metadata.end() ? run.metadata["step"] : own->second).value_or(0);
    run.metadata.erase("optimizer_step");
  }
  optimizer.set_step_count(seen);
  run.train_rows = rows_of(archive, "train-loss", {"step", "loss"});
  run.valid_rows = rows_of(archive, "valid-loss", {"step", "loss", "min-loss", "max-loss", "std-loss"});
  return run;
}

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
// Writing results.pt and checkpoint.pt as the published pipeline does.

#include <sstream>

#include "options.hpp"
#include "torch_model.hpp"
#include "voxgrad/io/torch_write.hpp"
#include "voxgrad/nn/torch_state.hpp"

namespace voxgrad::app {
namespace {

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

/// A table as the list of dictionaries that the statistics are: whole steps, other numbers real, empty cells left out.
void write_rows(io::TorchWriter& w, const std::string& csv) {
  w.begin_list();
  std::istringstream in(csv);
  std::string line;
  std::getline(in, line);
  const std::vector<std::string> columns = cells_of(line);
  while (std::getline(in, line)) {
    const std::vector<std::string> cells = cells_of(line);
    w.begin_dict();
    for (size_t i = 0; i < std::min(cells.size(), columns.size()); ++i) {
      const auto whole = parse_integer(cells[i]);
      const auto real = parse_real(cells[i]);
      if (columns[i] == "step" && whole) w.key("step").value(*whole);
      else if (columns[i] != "step" && real) w.key(columns[i]).value(*real);
    }
    w.end();
  }
  w.end();
}

void write_state(io::TorchWriter& w, nn::Module& net) {
  w.begin_ordered_dict();
  for (const nn::Named& n : net.state()) {
    w.key(n.name);
    if (n.name.ends_with("num_batches_tracked")) {
      const int64_t count = int64_t(n.tensor->item());
      w.tensor("I64", {}, std::string(reinterpret_cast<const char*>(&count), 8));
    } else {
      w.tensor(nn::to_torch(n.name, *n.tensor));
    }
  }
  w.end();
}

/// The keys of PyTorch's own groups. What tells AdamW from Adam there is decoupled_weight_decay, which PyTorch writes since 2.6.
void write_group(io::TorchWriter& w, const OptimizerConfig& c, int64_t parameters) {
  const bool sgd = c.name == "sgd";
  w.begin_dict().key("lr").value(c.lr);
  if (sgd) w.key("momentum").value(c.momentum).key("dampening").value(0.0);
  else w.key("betas").begin_tuple().value(c.beta1).value(c.beta2).end().key("eps").value(c.eps);
  w.key("weight_decay").value(c.weight_decay).key(sgd ? "nesterov" : "amsgrad").value(false).key("maximize").value(false).key("foreach").none();
  if (!sgd) w.key("capturable").value(false).key("decoupled_weight_decay").value(c.name == "adamw");
  w.key("differentiable").value(false).key("fused").none().key("params").begin_list();
  for (int64_t i = 0; i < parameters; ++i) w.value(i);
  w.end().end();
}

/// As torch.optim's state_dict(); `moments` may be absent, as before the first step. SGD keeps nothing before that, nor without momentum.
void write_optimizer(io::TorchWriter& w, nn::Module& net, optim::Optimizer* moments, const OptimizerConfig& c) {
  const std::vector<nn::Named> parameters = net.parameters();
  const bool sgd = c.name == "sgd";
  std::map<std::string, Tensor*> tensors;
  if (moments && !(sgd && moments->step_count() == 0))
    for (const nn::Named& n : moments->state()) tensors[n.name] = n.tensor;
  const std::vector<std::string> kept = sgd ? std::vector<std::string>{"momentum"} : std::vector<std::string>{"exp_avg", "exp_avg_sq"};
  w.begin_dict().key("state").begin_dict();
  for (size_t i = 0; i < parameters.size() && !tensors.empty(); ++i) {
    w.key(int64_t(i)).begin_dict();
    if (!sgd) w.key("step").value(moments->step_count());
    for (const std::string& what : kept)
      w.key(torch_state_name(what)).tensor(nn::to_torch(parameters[i].name, *tensors.at(what + "/" + parameters[i].name)));
    w.end();
  }
  w.end().key("param_groups").begin_list();
  write_group(w, c, int64_t(parameters.size()));
  w.end().end();
}

}  // namespace

void save_torch_checkpoint(const std::string& path, const TorchExport& e) {
  io::TorchWriter w;
  w.begin_dict().key("model");
  write_state(w, e.net);
  w.key("optimizer");
  write_optimizer(w, e.net, e.moments, e.optimizer);
  const auto step = e.metadata.find("step");
  w.key("step").value(step == e.metadata.end() ? int64_t(0) : parse_integer(step->second).value_or(0));
  w.key("stats").begin_dict().key("train-loss");
  write_rows(w, e.train_csv);
  w.key("valid-loss");
  write_rows(w, e.valid_csv);
  w.end().key("voxgrad").begin_dict();
  for (const auto& [key, value] : e.metadata) w.key(key).value(value);
  if (e.moments && e.optimizer.name == "sgd") w.key("optimizer_step").value(std::to_string(e.moments->step_count()));  // Adam's state has it
  w.end().end();
  w.write(path);
}

}  // namespace voxgrad::app

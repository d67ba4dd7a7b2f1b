// SPDX-License-Identifier: BSD-3-Clause
#include "weights_fit.hpp"

namespace voxgrad::app {

void check_fit(const std::string& path, nn::Module& net, const std::map<std::string, Shape>& tensors) {
  std::string misshapen, missing, unknown;
  const auto list = [](std::string& all, const std::string& name) { all += text(all.empty() ? "" : ", ", "'", name, "'"); };
  std::map<std::string, bool> known;
  for (const nn::Named& n : net.state()) {
    known[n.name] = true;
    const auto it = tensors.find(n.name);
    if (it == tensors.end()) list(missing, n.name);
    else if (!(it->second == n.tensor->shape())) misshapen += text("; '", n.name, "' is [", it->second, "], the network needs [", n.tensor->shape(), "]");
  }
  for (const auto& [name, shape] : tensors)
    if (!known.contains(name)) list(unknown, name);
  std::string problems = misshapen;
  if (!missing.empty()) problems += "; missing: " + missing;
  if (!unknown.empty()) problems += "; not part of the network: " + unknown;
  check<FileError>(problems.empty(), path, ": weights do not fit the network: ", problems.empty() ? "" : problems.substr(2),
                   ". Is config.yaml the one these weights were trained with?");
}

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Weights of a layer as files of other programs hold them, between those who read files and those who fill networks.

#include <string>
#include <vector>

#include "voxgrad/core/tensor.hpp"

namespace voxgrad {

/// A layer's name in the file and its tensors in order, each with its short name ("kernel", "bias").
struct LayerWeights {
  struct Weight {
    std::string name;
    Tensor tensor;
  };
  std::string name;
  std::vector<Weight> weights;
};

}  // namespace voxgrad

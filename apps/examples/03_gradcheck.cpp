// SPDX-License-Identifier: BSD-3-Clause
// A gradient check: any function of tensors, in double precision, against central differences.

#include <cstdio>

#include "voxgrad/engine.hpp"

int main() {
  using namespace voxgrad;
  const auto focal = [](const std::vector<Tensor>& in) {  // focal loss with exponent 2 for positive voxels
    const Tensor p = sigmoid(in[0]);
    return mean(square(1 - p) * softplus(-in[0]));
  };
  Random random(7);
  const GradcheckResult result = gradcheck(focal, {random_normal({3, 4, 5}, random, DType::f64)});
  std::printf("%s, largest relative error %.1e\n", result.ok ? "gradients agree" : result.message.c_str(), result.worst);
  return result.ok ? 0 : 1;
}

// SPDX-License-Identifier: BSD-3-Clause
// Forward pass: a U-Net over one random volume.

#include <cstdio>

#include "voxgrad/engine.hpp"

int main() {
  using namespace voxgrad;
  models::UNet3d net({.layers = 3, .width = 8});
  net.eval();

  Random random(1);
  const Tensor movie = random_normal({1, 16, 32, 32, 1}, random);  // [N, T, H, W, C]
  NoGrad no_grad;
  const Tensor probability = net(movie);

  std::printf("%lld parameters; mean probability %.4f over %lld voxels\n", static_cast<long long>(net.parameter_count()),
              mean(probability).item(), static_cast<long long>(probability.size()));
}

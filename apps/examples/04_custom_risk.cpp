// SPDX-License-Identifier: BSD-3-Clause
// A positive-unlabeled risk of one's own: written, checked against difference quotients, and trained. The rule is all there is to write.
//   04_custom_risk [CURVE.svg]     the training curve as a picture, if a name is given

#include <cstdio>

#include "../common/chart.hpp"
#include "write_whole.hpp"
#include "voxgrad/engine.hpp"
#include "voxgrad/pu/registry.hpp"

using namespace voxgrad;

/// nnPU (Kiryo et al. 2017) with a surrogate of one's own, log(1 + e^-z) to the power 3/2.
pu::Objective my_risk(double prior) {
  const pu::Function cost([](const pu::Dual& z) { return pow(softplus(-z), 1.5); });
  return pu::objective("my_risk", [=](pu::Stats& s) {
    const pu::Value rp = s.mean(pu::P, cost), rn = s.mean(pu::P, neg(cost)), ru = s.mean(pu::U, neg(cost));
    const pu::Value r = ru - prior * rn;
    s.note("r", r);
    if (r < 0) return pu::step(prior * rp, -r);  // what to show, what to descend
    return pu::step(prior * rp + r);
  });
}

int main(int count, char** words) {
  Random random(1);
  Tensor x = random_normal({4, 8, 16, 16, 1}, random);
  std::vector<uint8_t> label(size_t(x.size()), 0);
  for (int i = 0; i < 200; ++i) {  // bright voxels are positive; half of them are labelled
    const size_t at = size_t(random.below(uint64_t(x.size())));
    x.mutable_span<float>()[at] += 6;
    if (i % 2 == 0) label[at] = 1;
  }
  const pu::Labels labels(label, x.shape());
  const pu::Objective risk = my_risk(200.0 / double(x.size()));
  const GradcheckResult check = pu::check_gradient(risk);

  models::UNet3d net({.layers = 2, .width = 4}, random);
  optim::Adam adam(net.parameters(), {.lr = 3e-3});
  chart::Series shown{"risk", {}}, rest{"r", {}};
  for (int step = 0; step < 40; ++step) {
    const pu::Result result = risk(net.logits(x), labels);
    shown.y.push_back(result.reported);
    rest.y.push_back(result["r"]);
    if (step % 10 == 0) std::printf("step %2d  risk %.5f  r %.5f\n", step, result.reported, result["r"]);
    backward(result.loss);
    adam.step();
  }
  if (count > 1) examples::write_whole(words[1], chart::svg({{"risk, and its estimate on negatives", "step", {shown, rest}}}));
  std::printf("gradient off by %.1e at most; risk %.5f -> %.5f\n", check.worst, shown.y.front(), shown.y.back());
  return check.ok && shown.y.back() < shown.y.front() ? 0 : 1;
}

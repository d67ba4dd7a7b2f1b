// SPDX-License-Identifier: BSD-3-Clause
// A program of one's own: all of voxgrad, and a risk that `train --loss mine` knows.

#include <voxgrad/app.hpp>
#include <voxgrad/pu/registry.hpp>

using namespace voxgrad;

int main(int argc, char** argv) {
  pu::register_risk("mine", "nnPU with a cost of power 1.5", true, [](const pu::RiskOptions& o, const pu::ObjectiveOptions& how) {
    const pu::Function cost([](const pu::Dual& z) { return pow(softplus(-z), 1.5); });
    return pu::objective("mine", [prior = o.prior, cost](pu::Stats& s) {
      const pu::Value rp = s.mean(pu::P, cost), rn = s.mean(pu::P, neg(cost)), ru = s.mean(pu::population, neg(cost));
      const pu::Value r = ru - prior * rn;
      s.note("r", r);
      return r < 0 ? pu::step(prior * rp, -r) : pu::step(prior * rp + r);
    }, how);
  });
  return app::run_program(argc, argv);
}

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The whole command line as a library (voxgrad_app), for programs that add something of their own to it: docs/custom_loss.md.

namespace voxgrad::app {

/// What the program `voxgrad` does with these words. Returns its exit code: 0, 1 (data, model or machine), 2 (usage) or 128 + signal.
/// Risks that were given to pu::register_risk before are choices of `train --loss` and of configuration files.
int run_program(int argc, const char* const* argv);

}  // namespace voxgrad::app

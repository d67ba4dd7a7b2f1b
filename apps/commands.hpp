// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The subcommands: each file apps/<name>.cpp defines the function of its name.

#include "common/session.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

Command make_demo();
Command make_train();
Command make_optimize();
Command make_prior();
Command make_predict();
Command make_bench();
Command make_convert();
Command make_evaluate();
Command make_inspect();
Command make_report();
Command make_sample();
Command make_simulate();

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How the numbers of a label volume become classes and weights of voxels.

#include "config.hpp"
#include "voxgrad/data/dataset.hpp"

namespace voxgrad::app {

/// The rule of pu.labels, pu.ignore_border and pu.balance_events; none when all are at their defaults (any label above 0 is positive).
/// Its errors are FileErrors that name the data, the voxel and the number found.
data::LabelRule label_rule(const PuConfig& config);

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
// One of two files that include every header; linking them shows a missing `inline`.

#include "all_headers.hpp"
#include "headers/linked.hpp"

linked::Seen linked::first() { return {voxgrad::version, &voxgrad::kernels::conv3d, voxgrad::Shape{1, 2}.rank()}; }

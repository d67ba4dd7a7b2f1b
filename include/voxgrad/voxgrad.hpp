// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The engine with its CPU kernels, for programs of one file. Compiling the kernels takes a while: programs of several
// files include engine.hpp, and this in one of them.

#include "voxgrad/cpu/all.hpp"
#include "voxgrad/engine.hpp"

// SPDX-License-Identifier: BSD-3-Clause
// The one file of the program that compiles the CPU kernels; including them fills their slots before main.

#include "kernels_cpu.hpp"

#include "voxgrad/cpu/all.hpp"

void voxgrad::link_cpu_kernels() {}

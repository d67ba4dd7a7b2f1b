// SPDX-License-Identifier: BSD-3-Clause
// The CPU kernels, compiled once for all test programs; including them fills their slots before main. Linked whole:
// nothing refers to this object by name.

#include "voxgrad/cpu/all.hpp"

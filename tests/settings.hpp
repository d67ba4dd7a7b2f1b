// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a test may change for the whole process, put back when it ends.

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/kernels/conv_method.hpp"
#include "voxgrad/simd/isa.hpp"

namespace voxgrad::test {

/// Restores instruction set, number of threads and method of the convolutions.
struct Settings {
  Isa isa = current_isa();
  int count = threads();
  ConvMethod method = conv_method();
  ~Settings() {
    set_isa(isa);
    set_threads(count);
    set_conv_method(method);
  }
};

}  // namespace voxgrad::test

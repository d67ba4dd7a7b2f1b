// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Sums over the threads of a block, in double and in a fixed order, and the kernel that adds up what blocks left behind.

#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

/// In shared memory: every thread calls put(), after a barrier fold(), after another one any thread may ask for total().
template <int threads, int columns = 1>
struct BlockSum {
  static constexpr int parts = threads / 16;
  double value[columns][threads], part[columns][parts];

  VOXGRAD_HD void put(int thread, double v, int column = 0) { value[column][thread] = v; }
  VOXGRAD_HD void fold(int thread) {
    if (thread >= parts) return;
    for (int c = 0; c < columns; ++c) {
      double sum = 0;
      for (int k = 0; k < threads / parts; ++k) sum += value[c][k * parts + thread];
      part[c][thread] = sum;
    }
  }
  VOXGRAD_HD double total(int column = 0) const {
    double sum = 0;
    for (int k = 0; k < parts; ++k) sum += part[column][k];
    return sum;
  }
};

/// A thread's share of the sum of rows 0, 1, 2, ... of a table of doubles.
VOXGRAD_HD inline double strided_sum(const double* first, int64_t rows, int64_t columns, int thread, int threads) {
  double sum = 0;
  for (int64_t r = thread; r < rows; r += threads) sum += first[r * columns];
  return sum;
}

}  // namespace voxgrad::cuda

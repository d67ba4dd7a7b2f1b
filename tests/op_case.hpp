// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// OpCase: one call of an op on drawn inputs. A list of them runs as golden test against PyTorch, as gradient check,
// as adjoint identity, and as comparison of precisions, instruction sets and thread counts.

#include <functional>
#include <string>
#include <vector>

#include "voxgrad/core/tensor.hpp"

namespace voxgrad::test {

/// Uniform in [low, high), then pushed `gap` away from zero (kinks spoil difference quotients).
struct Input {
  Shape shape;
  double low = -1, high = 1, gap = 0;
};

using Call = std::function<Tensor(const std::vector<Tensor>&)>;

struct OpCase {
  std::string name;   ///< also that of tests/golden/ops/<name>.npy, and the seed of the inputs
  std::string torch;  ///< the PyTorch line behind the golden file (helpers: make_ops.py); empty: there is none
  std::vector<Input> inputs;
  Call call;
  std::vector<size_t> linear = {};    ///< inputs in which the call is affine: the adjoint identity is checked
  std::vector<size_t> constant = {};  ///< inputs that get no gradient: targets, running statistics
  double tolerance = 1e-5;            ///< of f32 against f64, relative to the largest value
};

/// The drawn input k of a case. tests/golden/draws.py draws the same.
Tensor drawn_input(const OpCase& c, size_t k);

/// Runs every check on every case; call it inside a TEST_CASE.
void run_cases(const std::vector<OpCase>& cases);

/// Runs `body` for every instruction set of this machine and for 1, 2 and 3 threads, and restores both.
void for_each_isa_and_threads(const std::function<void(const char* isa, int threads)>& body);

/// Largest |a - b| over largest |b|, 0 when both are zero; infinity when sizes differ or anything is not finite.
double relative_difference(const Tensor& a, const Tensor& b);

}  // namespace voxgrad::test

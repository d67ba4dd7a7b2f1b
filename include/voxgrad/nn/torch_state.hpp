// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A module's state as PyTorch keeps it: the same names in the same order, kernels with their axes in another one.

#include <array>

#include "voxgrad/nn/module.hpp"

namespace voxgrad::nn {

/// Whether a parameter is the kernel of a transposed convolution, by the published networks' name for that layer.
inline bool is_transposed_kernel(std::string_view name) { return name.ends_with("upconv.weight"); }

/// t with axis i of the result taken from axis `order[i]`. t: five axes.
inline Tensor with_axes(const Tensor& t, const std::array<int, 5>& order) {
  std::array<int64_t, 5> stride{}, extent{}, step{};
  int64_t size = 1;
  for (size_t i = 5; i-- > 0;) stride[i] = size, size *= t.shape()[int(i)];
  for (size_t i = 0; i < 5; ++i) extent[i] = t.shape()[order[i]], step[i] = stride[size_t(order[i])];
  Tensor out(Shape(extent.begin(), extent.end()), t.dtype());
  visit(t.dtype(), [&](auto zero) {
    const auto* from = t.span<decltype(zero)>().data();
    auto* to = out.mutable_span<decltype(zero)>().data();
    for (int64_t a = 0; a < extent[0]; ++a)
      for (int64_t b = 0; b < extent[1]; ++b)
        for (int64_t c = 0; c < extent[2]; ++c)
          for (int64_t d = 0; d < extent[3]; ++d)
            for (int64_t e = 0; e < extent[4]; ++e) *to++ = from[a * step[0] + b * step[1] + c * step[2] + d * step[3] + e * step[4]];
  });
  return out;
}

/// PyTorch's tensor of that name as it is here: kernels (out, in, D, H, W), of transposed convolutions (in, out, D, H, W), become
/// (D, H, W, in, out). Others are returned as they are.
inline Tensor from_torch(const std::string& name, const Tensor& t) {
  if (t.shape().rank() != 5) return t;
  return with_axes(t, is_transposed_kernel(name) ? std::array{2, 3, 4, 0, 1} : std::array{2, 3, 4, 1, 0});
}
/// The inverse of from_torch.
inline Tensor to_torch(const std::string& name, const Tensor& t) {
  if (t.shape().rank() != 5) return t;
  return with_axes(t, is_transposed_kernel(name) ? std::array{3, 4, 0, 1, 2} : std::array{4, 3, 0, 1, 2});
}

}  // namespace voxgrad::nn

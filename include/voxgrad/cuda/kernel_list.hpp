// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Every kernel that cuda/voxgrad_cuda.cu compiles. Adding one here is all that the build needs to know of it.

#include "voxgrad/cuda/kernels/convert.hpp"

namespace voxgrad::cuda {

template <class... Ks>
struct Kernels {};

template <class... Lists>
struct Joined;
template <class... A>
struct Joined<Kernels<A...>> {
  using type = Kernels<A...>;
};
template <class... A, class... B, class... Rest>
struct Joined<Kernels<A...>, Kernels<B...>, Rest...> : Joined<Kernels<A..., B...>, Rest...> {};

/// A list of kernels for each element type of activations: Of<E> is a Kernels<...>.
template <template <class> class Of>
using ForEachElement = typename Joined<Of<float>, Of<bf16>, Of<f16>>::type;

using ConvertKernels = Kernels<Convert<float, float>, Convert<float, bf16>, Convert<float, f16>, Convert<bf16, float>, Convert<f16, float>>;

using KernelList = Joined<ConvertKernels>::type;

}  // namespace voxgrad::cuda

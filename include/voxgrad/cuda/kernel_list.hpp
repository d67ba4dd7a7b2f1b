// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Every kernel that cuda/voxgrad_cuda.cu compiles. Adding one here is all that the build needs to know of it.

#include "voxgrad/cuda/kernels/act_backward.hpp"
#include "voxgrad/cuda/kernels/adam.hpp"
#include "voxgrad/cuda/kernels/advance_step.hpp"
#include "voxgrad/cuda/kernels/bias_act.hpp"
#include "voxgrad/cuda/kernels/channel_moments.hpp"
#include "voxgrad/cuda/kernels/class_loss.hpp"
#include "voxgrad/cuda/kernels/convert.hpp"
#include "voxgrad/cuda/kernels/copy_slice.hpp"
#include "voxgrad/cuda/kernels/crops.hpp"
#include "voxgrad/cuda/kernels/direct_conv.hpp"
#include "voxgrad/cuda/kernels/dropout.hpp"
#include "voxgrad/cuda/kernels/finish_norm.hpp"
#include "voxgrad/cuda/kernels/finish_sum.hpp"
#include "voxgrad/cuda/kernels/first_conv.hpp"
#include "voxgrad/cuda/kernels/first_conv_weight.hpp"
#include "voxgrad/cuda/kernels/head_logits.hpp"
#include "voxgrad/cuda/kernels/loss.hpp"
#include "voxgrad/cuda/kernels/max_pool.hpp"
#include "voxgrad/cuda/kernels/norm_act.hpp"
#include "voxgrad/cuda/kernels/norm_act_pool.hpp"
#include "voxgrad/cuda/kernels/norm_backward_apply.hpp"
#include "voxgrad/cuda/kernels/norm_backward_sums.hpp"
#include "voxgrad/cuda/kernels/object_loss.hpp"
#include "voxgrad/cuda/kernels/pointwise.hpp"
#include "voxgrad/cuda/kernels/ray_loss.hpp"
#include "voxgrad/cuda/kernels/reduce.hpp"
#include "voxgrad/cuda/kernels/set_mean.hpp"
#include "voxgrad/cuda/kernels/softmax.hpp"
#include "voxgrad/cuda/kernels/tiles.hpp"
#include "voxgrad/cuda/kernels/upsample.hpp"

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

template <class F>
using LossKernels = Kernels<LossForward<F, float>, LossForward<F, uint8_t>>;
using SetMeanKernels = Kernels<SetMeanForward, SetMeanFinish, SetMeanBackward>;
template <class E>
using RayLossKernels = Kernels<RayLossForward<E>, RayLossBackward<E>>;
using StarDistLossKernels =
    Joined<ForEachElement<RayLossKernels>, Kernels<RayLossFinish, ObjectLossForward, ObjectLossFinish, ObjectLossBackward, ClassLoss>>::type;

template <class E, class G>
using ArenaKernels = Kernels<AdamArena<E, G>, SgdArena<E, G>>;
using OptimizerKernels = Joined<Kernels<AdvanceStep, NonFiniteCheck<float>, NonFiniteCheck<bf16>, NonFiniteCheck<f16>>, ArenaKernels<float, float>,
                                ArenaKernels<bf16, float>, ArenaKernels<bf16, bf16>, ArenaKernels<f16, float>, ArenaKernels<f16, f16>>::type;

template <class E>
using DataKernelsOf = Kernels<GatherCrops<E, float>, GatherCrops<E, uint8_t>, ExtractTile<E>>;
using DataKernels = Joined<ForEachElement<DataKernelsOf>, Kernels<DrawPatches, AdvanceLoader, TileAccumulate, TileFinish>>::type;

template <class List>
struct UnaryKernels;
template <class... Fs>
struct UnaryKernels<kernels::List<Fs...>> {
  using type = Kernels<Unary<Fs, float>..., UnaryBackward<Fs, float>...>;
};
template <class List>
struct BinaryKernels;
template <class... Fs>
struct BinaryKernels<kernels::List<Fs...>> {
  using type = Kernels<Binary<Fs>...>;
};
template <class E>
using FlatKernels = Kernels<Fill<E>, Axpy<E>, Dropout<E>>;
using EagerKernels = Joined<UnaryKernels<kernels::UnaryList>::type, BinaryKernels<kernels::BinaryList>::type, ForEachElement<FlatKernels>,
                            Kernels<ReduceSum, ReduceFinish, Softmax, SoftmaxBackward, DrawNumbers>>::type;

template <class E>
using LayerKernelsOf =
    Kernels<ChannelMoments<E>, NormAct<E>, NormActPool<E>, BiasAct<E>, NormBackwardSums<E>, NormBackwardSums<E, true>, NormBackwardApply<E>,
            ActBackward<E>, ActBackward<E, true>, MaxPool<E>, MaxPoolBackward<E>, Upsample<E>, UpsampleBackward<E>, CopySlice<E>, AddInto<E>,
            FirstConv<E>, FirstConvWeight<E>, HeadLogits<E>, DirectConv<E>, DirectConvBackwardData<E>, DirectConvBackwardWeight<E>>;
using LayerKernels = Joined<ForEachElement<LayerKernelsOf>,
                            Kernels<FinishNorm, RunningNorm, FinishNormBackward, FinishActBackward, FinishFirstConvWeight>>::type;

using KernelList = Joined<ConvertKernels, LossKernels<kernels::MseWithLogits>, LossKernels<kernels::BceWithLogits>, Kernels<FinishSum>, SetMeanKernels,
                          StarDistLossKernels, OptimizerKernels, DataKernels, EagerKernels, LayerKernels>::type;

}  // namespace voxgrad::cuda

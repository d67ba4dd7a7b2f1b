// SPDX-License-Identifier: BSD-3-Clause
// Every kernel that the networks' steps are made of, on the card against the same code on the CPU, at awkward sizes. Kernels
// that change what they read (optimisers) are covered by whole steps.
#include "both.hpp"
#include "voxgrad/cuda/kernels/act_backward.hpp"
#include "voxgrad/cuda/kernels/bias_act.hpp"
#include "voxgrad/cuda/kernels/channel_moments.hpp"
#include "voxgrad/cuda/kernels/convert.hpp"
#include "voxgrad/cuda/kernels/copy_slice.hpp"
#include "voxgrad/cuda/kernels/finish_norm.hpp"
#include "voxgrad/cuda/kernels/finish_sum.hpp"
#include "voxgrad/cuda/kernels/first_conv_weight.hpp"
#include "voxgrad/cuda/kernels/head_logits.hpp"
#include "voxgrad/cuda/kernels/loss.hpp"
#include "voxgrad/cuda/kernels/norm_act.hpp"
#include "voxgrad/cuda/kernels/norm_act_pool.hpp"
#include "voxgrad/cuda/kernels/norm_backward_apply.hpp"
#include "voxgrad/cuda/kernels/norm_backward_sums.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using test::Both;
using test::Side;

namespace {

/// Rounding to E, or the order of fused operations in f32.
template <class E>
constexpr double rounding = std::is_same_v<E, float> ? 2e-6 : std::is_same_v<E, f16> ? 1e-3 : 8e-3;

struct Size {
  int64_t N, D, H, W, C;
  int64_t rows() const { return N * D * H * W; }
};
const Size sizes[] = {{1, 1, 1, 1, 1}, {1, 2, 3, 5, 7}, {2, 4, 6, 8, 8}, {1, 5, 7, 9, 16}, {3, 4, 4, 4, 24}, {1, 8, 16, 32, 32}, {1, 2, 2, 2, 300}};

}  // namespace

TEMPLATE_TEST_CASE("forward kernels", "[kernels]", float, bf16, f16) {
  using E = TestType;
  for (const Size& s : sizes) {
    const int64_t rows = s.rows(), C = s.C, n = rows * C, parts = ChannelMoments<E>::parts(rows, C);
    CAPTURE(rows, C);
    Both<float> x(n, 1);
    Both<E> converted(n);
    test::compare<Convert<float, E>>(0, [&](Side w) { return typename Convert<float, E>::Args{n, x.at(w), converted.at(w), 0.5f}; }, converted);

    Both<E> z(n, 2), a(n), wide(2 * n);
    Both<float> gamma(C, 3, 0.5, 2), beta(C, 4), bias(C, 5), mean(C), inv_std(C), scale(C), shift(C), running_mean(C, 6), running_var(C, 7, 1, 2);
    Both<float> partials(parts * 3 * C);
    test::compare<ChannelMoments<E>>(1e-5, [&](Side w) { return typename ChannelMoments<E>::Args{rows, C, {z.at(w), C}, partials.at(w)}; }, partials);
    test::compare<RunningNorm>(
        1e-6,
        [&](Side w) {
          return RunningNorm::Args{C, gamma.at(w), beta.at(w), bias.at(w), running_mean.at(w), running_var.at(w), 1e-5,
                                   mean.at(w), inv_std.at(w), scale.at(w), shift.at(w)};
        },
        mean, inv_std, scale, shift);
    if (rows > 1)
      test::compare<FinishNorm>(
          1e-5,
          [&](Side w) {
            return FinishNorm::Args{C, parts, partials.at(w), gamma.at(w), beta.at(w), bias.at(w), 1e-5, 0.1, true, nullptr, nullptr,
                                    mean.at(w), inv_std.at(w), scale.at(w), shift.at(w)};
          },
          mean, inv_std, scale, shift);
    test::compare<NormAct<E>>(
        rounding<E>, [&](Side w) { return typename NormAct<E>::Args{rows, C, {z.at(w), C}, scale.at(w), shift.at(w), 0.2f, {a.at(w), C}}; }, a);
    test::compare<BiasAct<E>>(
        rounding<E>,
        [&](Side w) {
          return typename BiasAct<E>::Args{rows, C, {z.at(w), C}, nullptr, bias.at(w), {}, leaky_relu(0), {wide.at(w) + C, 2 * C}};
        },
        wide);
    const int64_t windows = s.N * (s.D / 2) * (s.H / 2) * (s.W / 2);
    Both<E> pooled(windows * C);
    Both<uint8_t> argmax(windows * C);
    test::compare<NormActPool<E>>(
        rounding<E>,
        [&](Side w) {
          typename NormActPool<E>::Args p{};
          p.N = s.N, p.D = s.D, p.H = s.H, p.W = s.W, p.C = C;
          for (auto& k : p.window) k = 2;
          p.z = {z.at(w), C}, p.scale = scale.at(w), p.shift = shift.at(w), p.slope = 0.2f, p.a = {a.at(w), C};
          p.pooled = pooled.at(w), p.argmax = argmax.at(w);
          return p;
        },
        a, pooled);
    Both<float> head(C * 3, 8), head_bias(3, 9), logits(rows * 3), probability(rows * 3);
    test::compare<HeadLogits<E>>(
        1e-5,
        [&](Side w) {
          return typename HeadLogits<E>::Args{rows, C, {z.at(w), C}, scale.at(w), shift.at(w), 0, 3, head.at(w), head_bias.at(w), logits.at(w),
                                              probability.at(w)};
        },
        logits, probability);
    test::compare<CopySlice<E>>(0, [&](Side w) { return typename CopySlice<E>::Args{rows, C, {z.at(w), C}, {wide.at(w), 2 * C}}; }, wide);
  }
}

TEMPLATE_TEST_CASE("backward kernels", "[kernels]", float, bf16, f16) {
  using E = TestType;
  for (const Size& s : sizes) {
    const int64_t rows = s.rows(), C = s.C, n = rows * C;
    CAPTURE(rows, C);
    Both<E> z(n, 1), da(2 * n, 2), dz(n);
    Both<float> scale(C, 3, 0.5, 2), shift(C, 4), mean(C, 5), inv_std(C, 6, 0.5, 2), dlogit(rows, 7), weight(C, 8);
    const auto slices = [&](Side w) {
      GradientSource<E> g;
      g.first = {da.at(w), 2 * C}, g.second = {da.at(w) + C, 2 * C};
      return g;
    };
    const auto outer = [&](Side w) {
      GradientSource<E> g;
      g.head = {dlogit.at(w), weight.at(w), 1};
      return g;
    };
    {
      using K = NormBackwardSums<E>;
      Both<float> partials(K::workspace(rows, C) / 4);
      test::compare<K>(
          1e-4,
          [&](Side w) {
            return typename K::Args{rows, C, {z.at(w), C}, scale.at(w), shift.at(w), mean.at(w), inv_std.at(w), 0.2f, slices(w), partials.at(w)};
          },
          partials);
      Both<float> dgamma(C), dbeta(C), factor(C), offset(C);
      test::compare<FinishNormBackward>(
          1e-4,
          [&](Side w) {
            FinishNormBackward::Args f{};
            f.rows = rows, f.C = C, f.parts = K::parts(rows, C), f.partials = partials.at(w), f.scale = scale.at(w), f.mean = mean.at(w);
            f.inv_std = inv_std.at(w), f.batch_statistics = true, f.dgamma = dgamma.at(w), f.dbeta = dbeta.at(w);
            f.z_factor = factor.at(w), f.offset = offset.at(w);
            return f;
          },
          dgamma, dbeta, factor, offset);
      test::compare<NormBackwardApply<E>>(
          std::max(rounding<E>, 1e-4),
          [&](Side w) {
            return typename NormBackwardApply<E>::Args{rows, C, {z.at(w), C}, scale.at(w), shift.at(w), 0.2f, slices(w), factor.at(w),
                                                       offset.at(w), {dz.at(w), C}};
          },
          dz);
    }
    {
      using K = NormBackwardSums<E, true>;
      Both<float> partials(K::workspace(rows, C, 1) / 4);
      test::compare<K>(
          1e-4,
          [&](Side w) {
            return typename K::Args{rows, C, {z.at(w), C}, scale.at(w), shift.at(w), mean.at(w), inv_std.at(w), 0, outer(w), partials.at(w)};
          },
          partials);
    }
    {
      using K = ActBackward<E>;
      Both<float> partials(K::workspace(rows, C) / 4), bias(C, 9);
      test::compare<K>(
          std::max(rounding<E>, 1e-4),
          [&](Side w) {
            typename K::Args b{};
            b.rows = rows, b.C = C, b.saved = {z.at(w), C}, b.bias = bias.at(w), b.activation = leaky_relu(0.2), b.from = slices(w);
            b.dv = {dz.at(w), C}, b.partials = partials.at(w);
            return b;
          },
          dz, partials);
      Both<float> dbias(C);
      test::compare<FinishActBackward>(
          1e-4, [&](Side w) { return FinishActBackward::Args{C, K::parts(rows, C), partials.at(w), 0, dbias.at(w), nullptr, nullptr}; }, dbias);
    }
  }
}

TEMPLATE_TEST_CASE("the first convolution", "[kernels]", float, bf16, f16) {
  using E = TestType;
  for (const int64_t kernel : {1, 3, 7})
    for (const int64_t Ci : {1, 3}) {
      const FirstConvShape s{2, {5, 9, 33}, Ci, 8, {kernel, kernel, kernel}};
      CAPTURE(kernel, Ci);
      Both<E> x(s.rows() * Ci, 1), dy(s.rows() * 8, 2), y(s.rows() * 8);
      Both<float> w(8 * s.taps() * Ci, 3), dw(8 * s.taps() * Ci), db(8), partials(FirstConvWeight<E>::workspace(s) / 4);
      test::compare<FirstConv<E>>(
          std::max(rounding<E>, 1e-5), [&](Side at) { return typename FirstConv<E>::Args{s, x.at(at), w.at(at), nullptr, 1, {y.at(at), 8}}; }, y);
      test::compare<FirstConvWeight<E>>(
          1e-4, [&](Side at) { return typename FirstConvWeight<E>::Args{s, x.at(at), {dy.at(at), 8}, partials.at(at)}; }, partials);
      test::compare<FinishFirstConvWeight>(
          1e-4, [&](Side at) { return FinishFirstConvWeight::Args{s, partials.at(at), dw.at(at), db.at(at)}; }, dw, db);
    }
}

TEST_CASE("losses and their sums", "[kernels]") {
  for (const int64_t n : {1, 7, 2048, 2049, 100003}) {
    using K = LossForward<kernels::BceWithLogits, float>;
    Both<float> logit(n, 1, -4, 4), target(n, 2, 0, 1), dlogit(n), ring(1);
    Both<double> partials(K::partials(n));
    CAPTURE(n);
    test::compare<K>(
        1e-5, [&](Side w) { return K::Args{n, logit.at(w), target.at(w), nullptr, dlogit.at(w), partials.at(w), 1.0 / double(n), nullptr}; },
        dlogit, partials);
    test::compare<FinishSum>(
        1e-6, [&](Side w) { return FinishSum::Args{K::partials(n), partials.at(w), 1.0 / double(n), {ring.at(w), 1, nullptr}}; }, ring);
  }
}

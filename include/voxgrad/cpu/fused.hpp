// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of the fused convolution. Large layers of f32 read raw values while they fill their rings and meet the
// batch norm's sums slice by slice, in the cache; a narrow 1x1x1 head has a kernel of its own. Everything else (small
// volumes, odd channels, double precision) finishes its sources into a buffer and runs the plain kernels.

#include <optional>

#include "voxgrad/cpu/conv3d.hpp"
#include "voxgrad/cpu/fused_ref.hpp"
#include "voxgrad/cpu/head.hpp"
#include "voxgrad/cpu/pool3d.hpp"

#define VOXGRAD_INL "voxgrad/cpu/fused.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

/// A problem's sources as the convolution kernels read them.
class FusedInput {
 public:
  explicit FusedInput(const FusedConvProblem& p)
      : floats_{PendingFloats(p.source[0]), PendingFloats(p.source[p.sources - 1])},
        input(static_cast<const float*>(p.source[0].x), p.source[0].C) {
    for (int i = 0; i < p.sources; ++i) {
      input.x[i] = static_cast<const float*>(p.source[i].x);
      input.C[i] = p.source[i].C;
      input.act[i] = floats_[i].act;
    }
  }

 private:
  PendingFloats floats_[2];

 public:
  ConvInput input;
};

/// A pending gradient in `pieces` equal pieces.
inline NormBackward norm_backward(const PendingGradient& g, int64_t pieces) {
  return {pieces, {DType::f32, g.rows / pieces, g.C, g.slope}, g.mean, g.inv_std,
          static_cast<const float*>(g.gamma), static_cast<const float*>(g.beta)};
}

inline double batch_share(const PendingGradient& g) { return g.gamma && g.batch_statistics ? 1 / double(g.rows) : 0; }

/// True where channels come in whole blocks of 8 wherever a source is joined, split or unfinished.
inline bool whole_blocks(const FusedConvProblem& p) {
  for (int i = 0; i < p.sources; ++i)
    if ((p.sources > 1 || !p.source[i].plain()) && p.source[i].C % 8 != 0) return false;
  return true;
}
inline bool fused_takes(const FusedConvProblem& p, bool gradient) {
  return p.conv.dtype == DType::f32 && direct_takes(p.conv, gradient) && whole_blocks(p);
}

// ---- finished sources in a buffer

/// y [rows, pitch] = finished values of one source.
template <class T>
void pending_value(int64_t rows, const Pending& p, T* y, int64_t pitch) {
  const PendingFloats floats(p);
  const bool vectors = DTypeOf<T>::value == DType::f32 && floats.act.centre && p.C % 8 == 0;
  auto* run = by_isa(scalar::fused::copy_finished, avx2::fused::copy_finished, avx512::fused::copy_finished);
  parallel_for(rows, 1 + 16384 / p.C, [&](int64_t begin, int64_t end) {
    if constexpr (DTypeOf<T>::value == DType::f32)
      if (vectors) return run(begin, end, p.C, floats.act, static_cast<const float*>(p.x), y, pitch);
    if (!p.plain()) return pending_value_ref(begin, end, p, y, pitch);
    for (int64_t r = begin; r < end; ++r) std::copy_n(static_cast<const T*>(p.x) + r * p.C, p.C, y + r * pitch);
  });
}

/// The joined, finished input of a convolution; the source itself where it is one plain tensor.
template <class T>
class FinishedInput {
 public:
  explicit FinishedInput(const FusedConvProblem& p)
      : plain_(p.sources == 1 && p.source[0].plain()),
        buffer_(plain_ ? 1 : size_t(source_rows(p.conv) * p.conv.Ci) * sizeof(T)),
        data(plain_ ? static_cast<const T*>(p.source[0].x) : buffer_.template as<T>()) {
    if (plain_) return;
    int64_t c = 0;
    for (int i = 0; i < p.sources; ++i) {
      pending_value(source_rows(p.conv), p.source[i], buffer_.template as<T>() + c, p.conv.Ci);
      c += p.source[i].C;
    }
  }

 private:
  bool plain_;
  Workspace buffer_;

 public:
  const T* const data;
};

inline void pending_sums(const PendingGradient& g, const float* da) {
  const NormBackward norm = norm_backward(g, 1);
  norm_backward_sums_f32(norm, static_cast<const float*>(g.z), da, g.sum, g.dot);
}
inline void pending_sums(const PendingGradient& g, const double* da) { pending_sums_ref(g, da); }

inline void pending_gradient(const PendingGradient& g, float* da) {
  const NormBackward norm = norm_backward(g, 1);
  norm.prepare(g.sum, g.dot, batch_share(g));
  parallel_for(norm.blocks.count, 2, [&](int64_t first, int64_t last) {
    norm.data(first, last, static_cast<const float*>(g.z), da, da);
  });
}
inline void pending_gradient(const PendingGradient& g, double* da) { pending_gradient_ref(g, da); }

// ---- forward

/// z of a large layer; each slice's moments are taken while it is in the cache.
inline void fused_forward_rings(const FusedConvProblem& p, const float* w, const float* bias, float* z, double* mean,
                                double* variance) {
  const FusedInput in(p);
  ConvOutput out(z, p.conv.Co);
  const int64_t rows = p.conv.out[1] * p.conv.out[2];
  const NormMoments moments(p.conv.N * p.conv.out[0], {DType::f32, rows, p.conv.Co, 1});
  struct Context {
    const NormMoments& moments;
    const float* z;
    int64_t slice;
  } const context{moments, z, rows * p.conv.Co};
  if (mean)
    out.done = {[](const void* c, int64_t s) {
                  const Context& k = *static_cast<const Context*>(c);
                  k.moments.add(s, k.z + s * k.slice);
                },
                &context};
  conv_planned(direct_plan(p.conv, false), false, in.input, w, bias, out);
  if (mean) moments.finish(mean, variance);
}

template <class T>
void fused_forward(const FusedConvProblem& p, const T* w, const T* bias, T* z, double* mean, double* variance) {
  if constexpr (std::is_same_v<T, float>) {
    if (fused_takes(p, false)) return fused_forward_rings(p, w, bias, z, mean, variance);
    if (head_takes(p) && !mean) return head_forward(p, w, bias, z);
  }
  conv3d_forward(p.conv, FinishedInput<T>(p).data, w, bias, z);
  if (mean) batch_norm_statistics({p.conv.dtype, p.conv.N * p.conv.out[0] * p.conv.out[1] * p.conv.out[2], p.conv.Co, 1}, z, mean, variance);
}

// ---- gradient of the weights

/// dw of a large layer; dz of each slice is formed in place just before it is read.
inline void fused_weight_rings(const FusedConvProblem& p, const PendingGradient* g, float* da, float* dw) {
  const FusedInput in(p);
  const DirectPlan plan = direct_plan(p.conv, false);
  if (!g) return conv_planned_weight(plan, in.input, da, dw, {});
  const int64_t slices = p.conv.N * p.conv.out[0];
  const NormBackward norm = norm_backward(*g, slices);
  norm.prepare(g->sum, g->dot, batch_share(*g));
  struct Context {
    const NormBackward& norm;
    const float* z;
    float* da;
  } const context{norm, static_cast<const float*>(g->z), da};
  const SliceHook finish{[](const void* c, int64_t s) {
                           const Context& k = *static_cast<const Context*>(c);
                           const int64_t at = s * k.norm.blocks.n;
                           k.norm.data(0, k.norm.blocks.count, k.z + at, k.da + at, k.da + at);
                         },
                         &context};
  conv_planned_weight(plan, in.input, da, dw, finish);
}

template <class T>
void fused_backward_weight(const FusedConvProblem& p, const PendingGradient* g, T* da, T* dw, T* db) {
  if constexpr (std::is_same_v<T, float>) {
    if (dw && fused_takes(p, false)) {
      fused_weight_rings(p, g, da, dw);
      if (db) conv_bias(p.conv.N * p.conv.out[0] * p.conv.out[1] * p.conv.out[2], p.conv.Co, da, db);
      return;
    }
    if (dw && head_takes(p) && !g) return head_backward(p, 1, da, nullptr, dw, db, nullptr, nullptr);
  }
  if (g) pending_gradient(*g, da);
  if (dw) conv3d_backward_weight(p.conv, FinishedInput<T>(p).data, da, dw, db);
}

// ---- gradient of the sources

/// The gradient sums of up to two sources, met slice by slice.
class SourceSums {
 public:
  SourceSums(int64_t slices, const PendingGradient* const g[2], float* const da[2]) {
    for (int i = 0; i < 2; ++i)
      if (g[i]) parts_[i].emplace(slices, *g[i], da[i]);
  }
  void add(int64_t slice) const {
    for (const auto& part : parts_)
      if (part) {
        const int64_t at = slice * part->norm.blocks.n;
        part->norm.sums(slice, static_cast<const float*>(part->g.z) + at, part->da + at, part->partial.as<double>());
      }
  }
  SliceHook hook() const {
    if (!parts_[0] && !parts_[1]) return {};
    return {[](const void* c, int64_t s) { static_cast<const SourceSums*>(c)->add(s); }, this};
  }
  void finish() const {
    for (const auto& part : parts_)
      if (part) part->norm.finish(part->partial.as<double>(), part->g.sum, part->g.dot);
  }

 private:
  struct Part {
    Part(int64_t slices, const PendingGradient& gradient, const float* values)
        : g(gradient), da(values), norm(norm_backward(gradient, slices)), partial(norm.partial_bytes()) {}
    const PendingGradient& g;
    const float* da;
    NormBackward norm;
    Workspace partial;
  };
  std::optional<Part> parts_[2];
};

inline void fused_data_rings(const FusedConvProblem& p, const float* dz, const float* w, float* const (&da)[2],
                             const PendingGradient* const g[2]) {
  const SourceSums sums(p.conv.N * p.conv.in[0], g, da);
  ConvOutput out(da[0], p.source[0].C);
  if (p.sources == 2) out.y[1] = da[1], out.C[1] = p.source[1].C;
  out.done = sums.hook();
  conv_planned(direct_plan(p.conv, true), true, {dz, p.conv.Co}, w, nullptr, out);
  sums.finish();
}

template <class T>
void fused_backward_data(const FusedConvProblem& p, const T* dz, const T* w, T* const (&da)[2],
                         const PendingGradient* const g[2]) {
  if constexpr (std::is_same_v<T, float>) {
    if (fused_takes(p, true) && da[0] && (p.sources == 1 || da[1])) return fused_data_rings(p, dz, w, da, g);
    if (head_takes(p)) return head_backward(p, 1, dz, w, nullptr, nullptr, da[0], g[0]);
  }
  const int64_t rows = source_rows(p.conv);
  if (p.sources == 1) {
    conv3d_backward_data(p.conv, dz, w, da[0]);
  } else {
    const Workspace joint(size_t(rows * p.conv.Ci) * sizeof(T));
    conv3d_backward_data(p.conv, dz, w, joint.as<T>());
    parallel_for(rows, 1 + 16384 / p.conv.Ci, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* from = joint.as<T>() + r * p.conv.Ci;
        if (da[0]) std::copy_n(from, p.source[0].C, da[0] + r * p.source[0].C);
        if (da[1]) std::copy_n(from + p.source[0].C, p.source[1].C, da[1] + r * p.source[1].C);
      }
    });
  }
  for (int i = 0; i < p.sources; ++i)
    if (g[i]) pending_sums(*g[i], da[i]);
}

// ---- max-pooling

template <class T>
void fused_max_pool(const kernels::Pool3dProblem& p, const Pending& source, T* y) {
  if constexpr (std::is_same_v<T, float>)
    if (pools_side_by_side(p)) {
      const PendingFloats floats(source);
      return max_pool3d_forward_rows(p, static_cast<const float*>(source.x), y, floats.act);
    }
  const int64_t rows = p.N * p.in[0] * p.in[1] * p.in[2];
  const Workspace finished(size_t(rows * p.C) * sizeof(T));
  pending_value(rows, source, finished.as<T>(), p.C);
  max_pool3d_forward(p, finished.as<T>(), y);
}

template <class T>
void fused_max_pool_backward(const kernels::Pool3dProblem& p, const Pending& source, const T* dy, T* da, bool add) {
  if constexpr (std::is_same_v<T, float>)
    if (pools_side_by_side(p)) {
      const PendingFloats floats(source);
      if (floats.act.centre || !add)
        return max_pool3d_backward_rows(p, static_cast<const float*>(source.x), dy, da, floats.act, add);
    }
  const int64_t rows = p.N * p.in[0] * p.in[1] * p.in[2];
  const Workspace finished(size_t(rows * p.C) * sizeof(T)), routed(add ? size_t(rows * p.C) * sizeof(T) : 1);
  pending_value(rows, source, finished.as<T>(), p.C);
  T* const to = add ? routed.as<T>() : da;
  max_pool3d_backward(p, finished.as<T>(), dy, to);
  for (int64_t i = 0; add && i < rows * p.C; ++i) da[i] += to[i];
}

// ---- the table

inline void fused_conv_forward(const FusedConvProblem& p, const void* w, const void* bias, void* z, double* mean,
                               double* variance) {
  visit(p.conv.dtype, [&](auto zero) {
    using T = decltype(zero);
    fused_forward(p, static_cast<const T*>(w), static_cast<const T*>(bias), static_cast<T*>(z), mean, variance);
  });
}
inline void fused_conv_sums(DType dtype, const PendingGradient& g, const void* da) {
  visit(dtype, [&](auto zero) { pending_sums(g, static_cast<const decltype(zero)*>(da)); });
}
inline void fused_conv_backward_weight(const FusedConvProblem& p, const PendingGradient* g, void* da, void* dw, void* db) {
  visit(p.conv.dtype, [&](auto zero) {
    using T = decltype(zero);
    fused_backward_weight(p, g, static_cast<T*>(da), static_cast<T*>(dw), static_cast<T*>(db));
  });
}
inline void fused_conv_backward_data(const FusedConvProblem& p, const void* dz, const void* w, void* const da[2],
                                     const PendingGradient* const g[2]) {
  visit(p.conv.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const to[2] = {static_cast<T*>(da[0]), static_cast<T*>(da[1])};
    fused_backward_data(p, static_cast<const T*>(dz), static_cast<const T*>(w), to, g);
  });
}
inline void fused_conv_value(DType dtype, int64_t rows, const Pending& p, void* y) {
  visit(dtype, [&](auto zero) { pending_value(rows, p, static_cast<decltype(zero)*>(y), p.C); });
}
inline void fused_conv_max_pool(const kernels::Pool3dProblem& p, const Pending& source, void* y) {
  visit(p.dtype, [&](auto zero) { fused_max_pool(p, source, static_cast<decltype(zero)*>(y)); });
}
inline void fused_conv_max_pool_backward(const kernels::Pool3dProblem& p, const Pending& source, const void* dy, void* da,
                                         bool add) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    fused_max_pool_backward(p, source, static_cast<const T*>(dy), static_cast<T*>(da), add);
  });
}

inline constexpr kernels::FusedConvTable fused_conv_table{
    fused_conv_forward, fused_conv_sums,     fused_conv_backward_weight,  fused_conv_backward_data,
    fused_conv_value,   fused_conv_max_pool, fused_conv_max_pool_backward};
inline const bool fused_conv_filled = kernels::fused_conv.fill(DeviceKind::cpu, &fused_conv_table);

}  // namespace voxgrad::cpu

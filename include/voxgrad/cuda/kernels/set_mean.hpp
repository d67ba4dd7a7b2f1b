// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Weighted sums of functions of a logit over sets of voxels (kernels/set_mean.hpp has the contract) and their gradient from
// one number per sum: positive-unlabeled risks. A block takes one term on one run of voxels, so that the number of terms
// needs no registers; logits stay in the cache from one term to the next.

#include "voxgrad/cuda/kernels/block_sum.hpp"
#include "voxgrad/cuda/kernels/optimizer_state.hpp"
#include "voxgrad/kernels/set_mean.hpp"

namespace voxgrad::cuda {

/// kernels::SetTerm as the card has it. Functions of the caller's own run on the host only.
struct SetTermOnCard {
  const float* factor;  ///< one per voxel; null: 1
  float a;
  kernels::SetFunction function;
  bool negated;
  uint8_t set;
};

struct SetMeanProblem {
  static constexpr int max_terms = 32;
  static constexpr int run = 2048;  ///< voxels of a block
  int64_t groups, size;             ///< every group of `size` consecutive voxels has sums of its own
  int terms;
  SetTermOnCard term[max_terms];
  const uint8_t* classes;  ///< one bit or none per voxel
  const float* weight;     ///< one per voxel; null: 1
  const float* z;

  VOXGRAD_HD int64_t runs() const { return (size + run - 1) / run; }  ///< of a group
};

/// The problem for a card from the contract's: pointers are those of the card's memory. Errors: DTypeError unless f32,
/// UsageError for more than 32 terms or a function of the caller's own.
inline SetMeanProblem set_mean_problem(const kernels::SetMeanProblem& p) {
  check<DTypeError>(p.dtype == DType::f32, "set_mean: logits are ", name(p.dtype), ", the GPU takes f32");
  check<UsageError>(p.terms >= 0 && p.terms <= SetMeanProblem::max_terms, "set_mean: ", p.terms, " terms, the GPU takes up to ",
                    SetMeanProblem::max_terms);
  SetMeanProblem c{p.groups, p.size, p.terms, {}, p.classes, static_cast<const float*>(p.weight), static_cast<const float*>(p.z)};
  for (int k = 0; k < p.terms; ++k) {
    const kernels::SetTerm& t = p.term[k];
    check<UsageError>(t.own == nullptr, "set_mean: term ", k, " is a function of the program's own, which runs on the CPU only");
    c.term[k] = {static_cast<const float*>(t.factor), float(t.a), t.function, t.negated, t.set};
  }
  return c;
}

/// Value (slope: derivative) of the function of that number at z. A switch within the loop over voxels, not around it: a
/// loop per function would be compiled fifteen times.
template <bool slope, class... Fs>
VOXGRAD_HD inline float set_function(kernels::SetFunction f, kernels::List<Fs...>, float z, float a) {
  static_assert(sizeof...(Fs) == size_t(kernels::SetFunction::count));
  int i = 0;
  float y = 0;
  const auto call = [&](auto of) {
    if constexpr (slope) return decltype(of)::df(z, a);
    else return decltype(of)::f(z, a);
  };
  ((i++ == int(f) ? void(y = call(Fs{})) : void()), ...);
  return y;
}

/// The least of a block's indices, -1 being none.
template <int threads>
VOXGRAD_HD inline double first_of(const BlockSum<threads>& s) {
  double first = -1;
  for (int t = 0; t < threads; ++t)
    if (s.value[0][t] >= 0 && (first < 0 || s.value[0][t] < first)) first = s.value[0][t];
  return first;
}

/// A row of terms + 1 doubles per run of voxels: the terms' sums, then the first logit that is not finite, or -1.
struct SetMeanForward {
  static constexpr const char* name = "set_mean";
  static constexpr int threads = 256, phases = 3;
  struct Args {
    SetMeanProblem problem;
    double* partial;  ///< workspace_bytes()
  };
  using Shared = BlockSum<threads>;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return a.problem.groups * a.problem.runs() * (a.problem.terms + 1); }
  static int64_t workspace_bytes(int64_t groups, int64_t size, int terms) {
    return groups * ((size + SetMeanProblem::run - 1) / SetMeanProblem::run) * (terms + 1) * int64_t(sizeof(double));
  }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    const SetMeanProblem& p = a.problem;
    const int column = int(at.block % (p.terms + 1));
    if constexpr (phase == 0) {
      const int64_t row = at.block / (p.terms + 1), in_group = row % p.runs() * SetMeanProblem::run;
      const int64_t begin = row / p.runs() * p.size + in_group;
      const int64_t n = p.size - in_group < SetMeanProblem::run ? p.size - in_group : int64_t(SetMeanProblem::run);
      s.put(at.thread, column == p.terms ? first_bad(p.z + begin, n, begin, at.thread) : share(p, p.term[column], begin, n, at.thread));
    }
    if constexpr (phase == 1) s.fold(at.thread);
    if constexpr (phase == 2) {
      if (at.thread == 0) a.partial[at.block] = column < p.terms ? s.total() : first_of(s);
    }
  }

 private:
  VOXGRAD_HD static double share(const SetMeanProblem& p, const SetTermOnCard& t, int64_t begin, int64_t n, int thread) {
    double sum = 0;
    for (int64_t i = begin + thread; i < begin + n; i += threads) {
      if ((p.classes[i] & t.set) == 0) continue;
      const float scale = (p.weight ? p.weight[i] : 1.0f) * (t.factor ? t.factor[i] : 1.0f);
      sum += double(scale * set_function<false>(t.function, kernels::SetFunctionList{}, t.negated ? -p.z[i] : p.z[i], t.a));
    }
    return sum;
  }
  VOXGRAD_HD static double first_bad(const float* z, int64_t n, int64_t begin, int thread) {
    for (int64_t i = thread; i < n; i += threads)
      if (!(z[i] * 0.0f == 0.0f)) return double(begin + i);
    return -1;
  }
};

/// The partials of SetMeanForward as the contract's results.
struct SetMeanFinish {
  static constexpr const char* name = "set_mean_finish";
  static constexpr int threads = 256, phases = 3;
  struct Args {
    int64_t groups, size;
    int terms;
    const double* partial;
    double* sums;  ///< [groups, terms]
    int64_t* bad;  ///< index of the first logit that is not finite, or -1
  };
  using Shared = BlockSum<threads>;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return a.groups * a.terms + 1; }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    const int64_t runs = (a.size + SetMeanProblem::run - 1) / SetMeanProblem::run, row = a.terms + 1;
    const bool last = at.block + 1 == at.blocks;
    if constexpr (phase == 0) {
      if (last) {
        double least = -1;
        for (int64_t r = at.thread; r < a.groups * runs && least < 0; r += threads) least = a.partial[r * row + a.terms];
        s.put(at.thread, least);
      } else {
        const double* const first = a.partial + at.block / a.terms * runs * row + at.block % a.terms;
        s.put(at.thread, strided_sum(first, runs, row, at.thread, threads));
      }
    }
    if constexpr (phase == 1) s.fold(at.thread);
    if constexpr (phase == 2) {
      if (at.thread != 0) return;
      if (!last) {
        a.sums[at.block] = s.total();
        return;
      }
      *a.bad = int64_t(first_of(s));
    }
  }
};

/// dz = loss scale * weight * (sum over the terms whose set has the voxel: coefficient * factor * slope), written in full.
struct SetMeanBackward {
  static constexpr const char* name = "set_mean_backward";
  static constexpr int threads = 256, phases = 1;
  struct Args {
    SetMeanProblem problem;
    const double* coefficient;    ///< [groups, terms]; terms with 0 cost nothing
    const OptimizerState* state;  ///< its loss scale; null: 1
    float* dz;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return a.problem.groups * a.problem.runs(); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const SetMeanProblem& p = a.problem;
    const int64_t group = at.block / p.runs(), in_group = at.block % p.runs() * SetMeanProblem::run;
    const int64_t begin = group * p.size + in_group;
    const int64_t n = p.size - in_group < SetMeanProblem::run ? p.size - in_group : int64_t(SetMeanProblem::run);
    for (int64_t i = begin + at.thread; i < begin + n; i += threads) a.dz[i] = 0;
    for (int k = 0; k < p.terms; ++k) {
      const SetTermOnCard& t = p.term[k];
      const double scaled = a.coefficient[group * p.terms + k] * double(a.state ? a.state->loss_scale : 1.0f);
      if (scaled == 0) continue;
      const float c = float(t.negated ? -scaled : scaled);
      for (int64_t i = begin + at.thread; i < begin + n; i += threads) {
        if ((p.classes[i] & t.set) == 0) continue;
        const float scale = (p.weight ? p.weight[i] : 1.0f) * (t.factor ? t.factor[i] : 1.0f);
        a.dz[i] += c * scale * set_function<true>(t.function, kernels::SetFunctionList{}, t.negated ? -p.z[i] : p.z[i], t.a);
      }
    }
  }
};

}  // namespace voxgrad::cuda

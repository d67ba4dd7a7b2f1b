// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Suppression of overlapping polyhedra: from the best score down, each survivor drops every later candidate that
// overlaps it by more than a threshold of the smaller volume. Same survivors as the Python package with one thread,
// for any number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/stardist/candidates.hpp"
#include "voxgrad/stardist/neighbors.hpp"
#include "voxgrad/stardist/nms_pair.hpp"
#include "voxgrad/stardist/progress.hpp"
#include "voxgrad/stardist/work_queue.hpp"

namespace voxgrad::stardist {

struct NmsOptions {
  float threshold = 0.4f;      ///< t >= 0: overlap, as a share of the smaller volume, above which a candidate is dropped
  bool use_bbox = true;        ///< false: spheres and boxes that are apart do not settle a pair
  bool corrected = false;      ///< true: the volume of a contained sphere in anisotropic data is what it is
  bool far_pairs = false;      ///< true: count pairs that cannot meet as the package's tree does; same survivors
  std::optional<Vec3f> scale;  ///< stretch along z, y, x; none: from the mean box of all candidates
  Progress progress;
};

/// Pairs per test, named as in the package's verbose output.
struct NmsCounters {
  int64_t apart = 0, inner = 0, kernel = 0, hull = 0, count = 0;  ///< tests made
  int64_t kept_apart = 0, kept_hull = 0;
  int64_t dropped_inner = 0, dropped_kernel = 0, dropped_count = 0;
  bool operator==(const NmsCounters&) const = default;

  void add(Verdict v) {
    ++apart;
    if (v == Verdict::kept_apart) return void(++kept_apart);
    ++inner;
    if (v == Verdict::drop_inner) return void(++dropped_inner);
    ++kernel;
    if (v == Verdict::drop_kernel) return void(++dropped_kernel);
    ++hull;
    if (v == Verdict::kept_hull) return void(++kept_hull);
    ++count;
    dropped_count += v == Verdict::drop_count;
  }
};

struct NmsResult {
  std::vector<int64_t> kept;  ///< indices of the survivors, best score first
  Vec3f scale{};              ///< the stretch that was used
  NmsCounters counters;

  /// How many of `kept` survive a higher score threshold: a better candidate never depends on a worse one, so the
  /// survivors above any threshold come first. Exact for equal `scale`.
  int64_t above(std::span<const float> scores, float prob_thresh) const {
    int64_t n = 0;
    while (n < int64_t(kept.size()) && scores[size_t(kept[size_t(n)])] > prob_thresh) ++n;
    return n;
  }
};

/// One run of the suppression; candidates are called by their rank in descending score.
class Suppression {
 public:
  Suppression(std::span<const float> scores, const Polyhedra& polyhedra, const NmsOptions& options)
      : all_(polyhedra), options_(options), rays_(*polyhedra.rays), order_(descending(scores)), summary_(order_.size()),
        state_(order_.size(), alive) {
    summarize();
  }

  NmsResult run() {
    const PairTest test(rays_, options_.threshold, scale_, options_.use_bbox, options_.corrected);
    const SphereTree tree(int32_t(size()), [&](int32_t i) { return centre(i); },
                          [&](int32_t i) { return summary_[size_t(i)].reach; });
    NmsResult result{{}, scale_, {}};
    for (int32_t next = 0;;) {
      while (next < size() && state_[size_t(next)] != alive) ++next;
      report(next);
      if (next >= size() - 1) break;
      const std::vector<int32_t> batch = independent(next);
      collect(batch, tree);
      decide(test);
      settle(result.counters);
      for (const int32_t i : batch) state_[size_t(i)] = done;
    }
    for (int32_t i = 0; i < size(); ++i)
      if (state_[size_t(i)] != dropped) result.kept.push_back(order_[size_t(i)]);
    return result;
  }

 private:
  enum State : uint8_t { alive, done, dropped };
  static constexpr int64_t batch_masks = int64_t(1) << 28;  // bytes
  struct Pair {
    int32_t subject, other;  // index into subjects_, rank
    Verdict verdict;
  };

  int64_t size() const { return int64_t(order_.size()); }
  Vec3f centre(int32_t rank) const { return all_.centre(order_[size_t(rank)]); }
  const float* dist(int32_t rank) const { return all_.distances(order_[size_t(rank)]); }

  void summarize() {
    float longest = 0;
    for (const Vec3f& v : rays_.vertices) longest = std::max(longest, std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]));
    const float stretch = longest > 1.0001f ? longest : 1.f;  // rays of length 1 leave the distances as they are
    for_each_piece([&](int64_t begin, int64_t end) {
      std::vector<Vec3f> relative;
      for (int32_t i = int32_t(begin); i < end; ++i) {
        Summary& s = summary_[size_t(i)];
        scaled_corners(rays_, dist(i), {1, 1, 1}, relative);
        s.volume = polyhedron_volume(rays_, relative);
        s.box = bounding_box(rays_, dist(i), centre(i));
        s.reach = outer_radius(rays_, dist(i)) * stretch;
      }
    });
    scale_ = options_.scale ? *options_.scale : mean_stretch();
    for_each_piece([&](int64_t begin, int64_t end) {
      std::vector<Vec3f> relative;
      for (int32_t i = int32_t(begin); i < end; ++i) {
        scaled_corners(rays_, dist(i), scale_, relative);
        summary_[size_t(i)].outer = outer_radius(relative);
        summary_[size_t(i)].inner = inner_radius(rays_, relative);
      }
    });
    for (const Summary& s : summary_) farthest_ = std::max(farthest_, s.reach);
  }

  // Candidates in pieces, between which work can be stopped.
  template <class Body>
  void for_each_piece(Body&& body) const {
    constexpr int64_t piece = 1 << 16;
    for (int64_t from = 0; from < size(); from += piece) {
      if (from > 0) report(0);
      parallel_for(std::min(piece, size() - from), 64, [&](int64_t begin, int64_t end) { body(from + begin, from + end); });
    }
  }

  // One float32 sum in order of rank; the package's threads add in any order, so that its result varies.
  Vec3f mean_stretch() const {
    Vec3f mean{0, 0, 0};
    for (const Summary& s : summary_)
      for (size_t k = 0; k < 3; ++k) mean[k] += float(s.box.hi[k] - s.box.lo[k]) / float(size());
    const float most = std::fmax(std::fmax(mean[0], mean[1]), mean[2]);
    return {most / mean[0], most / mean[1], most / mean[2]};
  }

  // Nothing that is inside both spheres can be inside both polyhedra when they are apart, with a margin for rounding.
  bool apart(int32_t i, int32_t j) const {
    const double reach = (double(summary_[size_t(i)].reach) + double(summary_[size_t(j)].reach)) * (1 + 1e-5) + 1e-2;
    return square_distance(i, j) > reach * reach;
  }
  double square_distance(int32_t i, int32_t j) const {
    const Vec3f a = centre(i), b = centre(j);
    double square = 0;
    for (size_t k = 0; k < 3; ++k) square += (double(a[k]) - double(b[k])) * (double(a[k]) - double(b[k]));
    return square;
  }

  // The next candidates, as long as none can drop another of them: all of them survive, whatever the others decide.
  std::vector<int32_t> independent(int32_t next) const {
    const size_t most = threads() == 1 ? 1 : size_t(threads()) * 8;
    std::vector<int32_t> batch;
    int64_t voxels = 0;  // each may keep its inside as a mask until the batch is done
    for (int32_t i = next; i < size() - 1 && batch.size() < most; ++i) {
      if (state_[size_t(i)] != alive) continue;
      for (const int32_t b : batch)
        if (!apart(b, i)) return batch;
      voxels += std::min(summary_[size_t(i)].box.voxels(), PairTest::largest_mask);
      if (voxels > batch_masks && !batch.empty()) return batch;
      batch.push_back(i);
    }
    return batch;
  }

  void collect(const std::vector<int32_t>& batch, const SphereTree& tree) {
    pairs_.clear();
    subjects_.clear();
    for (const int32_t i : batch) {
      subjects_.push_back(std::make_unique<Subject>());
      Subject& s = *subjects_.back();
      s.rank = i;
      s.centre = centre(i);
      const size_t from = pairs_.size();
      const double reach = double(summary_[size_t(i)].reach) + double(farthest_);
      const auto take = [&](int32_t j) {
        if (j <= i || state_[size_t(j)] == dropped) return;
        if (options_.far_pairs ? square_distance(i, j) < reach * reach : state_[size_t(j)] == alive && !apart(i, j))
          pairs_.push_back({int32_t(subjects_.size() - 1), j, {}});
      };
      tree.for_each_near(s.centre, options_.far_pairs ? float(reach) : summary_[size_t(i)].reach + 0.1f, take);
      std::sort(pairs_.begin() + int64_t(from), pairs_.end(), [](const Pair& a, const Pair& b) { return a.other < b.other; });
      if (pairs_.size() == from) continue;
      corners(rays_, dist(i), s.centre, s.corners);
      kernel_half_spaces(rays_, s.corners, s.kernel);
    }
  }

  void decide(const PairTest& test) {
    constexpr int64_t piece = 4;
    const int64_t n = int64_t(pairs_.size());
    for_each_item((n + piece - 1) / piece, [&](int64_t item) {
      thread_local PairScratch scratch;
      for (int64_t p = item * piece; p < std::min(n, (item + 1) * piece); ++p) {
        Pair& pair = pairs_[size_t(p)];
        Subject& s = *subjects_[size_t(pair.subject)];
        const int32_t j = pair.other;
        pair.verdict = test(s, summary_[size_t(s.rank)], dist(j), centre(j), summary_[size_t(j)], scratch);
      }
    });
  }

  // In the order in which one thread would have come by: a candidate that is gone by then was never tested.
  void settle(NmsCounters& counters) {
    for (const Pair& pair : pairs_) {
      if (state_[size_t(pair.other)] == dropped) continue;
      counters.add(pair.verdict);
      if (drops(pair.verdict)) state_[size_t(pair.other)] = dropped;
    }
  }

  void report(int64_t decided) const {
    if (options_.progress && !options_.progress(decided, size()))
      throw Interrupted(text("suppression: stopped after ", decided, " of ", size(), " candidates"));
  }

  const Polyhedra& all_;
  const NmsOptions& options_;
  const Rays& rays_;
  std::vector<int32_t> order_;  // rank -> index
  std::vector<Summary> summary_;
  std::vector<uint8_t> state_;
  std::vector<std::unique_ptr<Subject>> subjects_;
  std::vector<Pair> pairs_;
  Vec3f scale_{1, 1, 1};
  float farthest_ = 0;
};

/// The candidates that survive. scores [N], any finite order; polyhedra [N]. Equal scores: the lower index wins.
/// Needs about 60 bytes per candidate besides its arguments. Errors: UsageError, ShapeError and Error as
/// check_polyhedra() and descending(); UsageError for a negative threshold; Interrupted when `progress` says so.
inline NmsResult suppress(std::span<const float> scores, const Polyhedra& polyhedra, const NmsOptions& options = {}) {
  check<UsageError>(options.threshold >= 0 && std::isfinite(options.threshold), "suppression: threshold is ",
                    options.threshold, " (expected 0 or more; 1 and above keep everything)");
  if (options.scale)
    for (const float s : *options.scale)
      check<UsageError>(s > 0 && std::isfinite(s), "suppression: scale has an entry ", s, " (expected above 0)");
  check_polyhedra(polyhedra, "suppression");
  check<ShapeError>(int64_t(scores.size()) == polyhedra.size(), "suppression: ", scores.size(), " scores for ",
                    polyhedra.size(), " polyhedra");
  if (scores.empty()) return {};
  return Suppression(scores, polyhedra, options).run();
}

}  // namespace voxgrad::stardist

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How a movie is cut into overlapping tiles for a network and put together again, in bounded memory.
//
// A TilePlan is geometry only. Every plan, published or fast, has one form: the result at a voxel is the sum
// of the tiles' outputs times weights, a product of one weight per axis, and the weights of a voxel add up to
// one.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::data {

/// Half-open range of positions on one axis.
struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

/// Where one tile lies on one axis, in positions of the movie (below 0 and from n on, mirrors).
struct TileSpan {
  int64_t start = 0;           ///< first position that the tile reads
  Range out;                   ///< positions of the movie it contributes to; empty for a useless window
  std::vector<float> weights;  ///< one per position of `out`
};

/// Tiles of a movie [T,H,W] as a product of three lists of spans; T is the outermost order.
class TilePlan {
 public:
  TilePlan(const Extent3& movie, const Extent3& tile, std::array<std::vector<TileSpan>, 3> axes)
      : movie_(movie), tile_(tile), axes_(std::move(axes)) {}

  const Extent3& movie() const { return movie_; }
  const Extent3& tile() const { return tile_; }  ///< extent of every tile
  const std::vector<TileSpan>& axis(int a) const { return axes_[size_t(a)]; }
  int64_t rows() const { return int64_t(axes_[0].size()); }                        ///< steps along T
  int64_t row_size() const { return int64_t(axes_[1].size() * axes_[2].size()); }  ///< tiles per step
  int64_t size() const { return rows() * row_size(); }                             ///< all tiles
  int64_t row_of(int64_t i) const { return i / row_size(); }

  /// The three spans of tile i, T-major order.
  std::array<const TileSpan*, 3> spans(int64_t i) const {
    const int64_t w = int64_t(axes_[2].size());
    return {&axes_[0][size_t(row_of(i))], &axes_[1][size_t(i % row_size() / w)], &axes_[2][size_t(i % w)]};
  }

  /// Frames of the movie that the tiles of a row read, mirrors resolved; at most tile()[0] frames.
  Range source_frames(int64_t row) const {
    Range r{movie_[0], 0};
    for (int64_t k = 0; k < tile_[0]; ++k) {
      const int64_t t = mirror_index(axes_[0][size_t(row)].start + k, movie_[0]);
      r = {std::min(r.begin, t), std::max(r.end, t + 1)};
    }
    return r;
  }

  /// Number of leading frames that no row from `row` on touches: they are final once the rows before are
  /// added.
  int64_t final_before(int64_t row) const {
    int64_t first = movie_[0];
    for (int64_t r = row; r < rows(); ++r) {
      const Range out = axes_[0][size_t(r)].out;
      if (out.size() > 0) first = std::min(first, out.begin);
    }
    return first;
  }

 private:
  Extent3 movie_, tile_;
  std::array<std::vector<TileSpan>, 3> axes_;
};

/// Starts of the published sliding window on an axis of n samples padded by `window` on both sides, in padded
/// positions: 0, step, ... below n + window, then n + window (reference-pipeline.md 6.1).
inline std::vector<int64_t> window_starts(int64_t n, int64_t window = 64, int64_t step = 32) {
  std::vector<int64_t> starts;
  for (int64_t s = 0; s < n + window; s += step) starts.push_back(s);
  starts.push_back(n + window);
  return starts;
}

/// The published plan: windows of 64 at steps of 32, every voxel the plain mean of exactly 8 of them.
/// The first and last window of each axis lie in the padding; they are left out unless `all_windows`, which
/// batch statistics over windows need. `window` must be twice `step`.
inline TilePlan sliding_plan(const Extent3& movie, int64_t window = 64, int64_t step = 32,
                             bool all_windows = false) {
  check<UsageError>(step > 0 && window == 2 * step, "sliding window: window ", window,
                    " must be twice the step ", step);
  std::array<std::vector<TileSpan>, 3> axes;
  for (size_t a = 0; a < 3; ++a) {
    const int64_t n = movie[a];
    check<ShapeError>(n > 0, "sliding window: movie is ", movie[0], "x", movie[1], "x", movie[2],
                      ", all extents must be positive");
    for (const int64_t padded : window_starts(n, window, step)) {
      const int64_t start = padded - window;
      const Range out{std::clamp<int64_t>(start, 0, n), std::clamp<int64_t>(start + window, 0, n)};
      // Two windows per axis cover a position; halves are exact, so the sum of eighths is the mean to the
      // bit.
      if (out.size() > 0 || all_windows)
        axes[a].push_back({start, out, std::vector<float>(size_t(out.size()), 0.5f)});
    }
  }
  return TilePlan(movie, {window, window, window}, std::move(axes));
}

/// Tiles that hold an axis of n positions with `halo` of context on each side when their starts lie on a grid of
/// `multiple`. `tile` must be at least 2 halo + multiple, or hold all of it.
inline int64_t tile_count(int64_t n, int64_t tile, int64_t halo, int64_t multiple) {
  const int64_t reach = n + 2 * halo - tile, stride = (tile - 2 * halo) / multiple * multiple;
  return reach <= 0 ? 1 : (reach + stride - 1) / stride + 1;
}

/// The multiple up to `largest` with which the fewest positions are computed; of equal ones the largest.
inline int64_t cheapest_tile(int64_t n, int64_t largest, int64_t halo, int64_t multiple) {
  int64_t best = largest;
  for (int64_t tile = largest - multiple; tile >= 2 * halo + multiple; tile -= multiple)
    if (tile * tile_count(n, tile, halo, multiple) < best * tile_count(n, best, halo, multiple)) best = tile;
  return best;
}

/// The tile that computes the fewest voxels among those for which fits(tile) holds; of equal ones the smallest. All zeros
/// where none fits.
template <class Fits>
Extent3 cheapest_tiles(const Extent3& movie, int64_t halo, int64_t multiple, Fits&& fits) {
  std::array<std::vector<int64_t>, 3> sizes;  // per axis, each computing fewer positions than all smaller ones
  for (size_t a = 0; a < 3; ++a) {
    int64_t fewest = 0, count = 2;
    for (int64_t tile = (2 * halo / multiple + 1) * multiple; count > 1; tile += multiple) {
      count = tile_count(movie[a], tile, halo, multiple);
      if (!sizes[a].empty() && tile * count >= fewest) continue;
      fewest = tile * count;
      sizes[a].push_back(tile);
    }
  }
  Extent3 best{0, 0, 0};
  double least = 0;
  for (int64_t t : sizes[0])
    for (int64_t y : sizes[1])
      for (int64_t x : sizes[2]) {
        const Extent3 tile{t, y, x};
        double work = 1;
        for (size_t a = 0; a < 3; ++a) work *= double(tile[a] * tile_count(movie[a], tile[a], halo, multiple));
        const bool better = best[0] == 0 || work < least || (work == least && voxel_count(tile) < voxel_count(best));
        if (!better || !fits(tile)) continue;
        best = tile;
        least = work;
      }
  return best;
}

/// One axis of a fast plan: the fewest tiles such that every voxel is at least `halo` inside one of them (in mirrored
/// padding at the movie's ends). They start at -halo and whole multiples of `multiple` from there, spread evenly. Neighbours meet in the middle of their overlap, where the
/// weight passes linearly from one to the other over `blend` positions; 0 takes each voxel from one tile.
inline std::vector<TileSpan> fast_axis(int64_t n, int64_t tile, int64_t halo, int64_t blend, int64_t multiple) {
  const int64_t count = tile_count(n, tile, halo, multiple);
  const int64_t steps = std::max<int64_t>(0, n + 2 * halo - tile + multiple - 1) / multiple;  // to the last start
  std::vector<TileSpan> spans(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) spans[size_t(i)].start = -halo + (count == 1 ? 0 : steps * i / (count - 1) * multiple);
  std::vector<double> seam;  // between tile i and i + 1
  for (size_t i = 0; i + 1 < spans.size(); ++i)
    seam.push_back(double(spans[i + 1].start + spans[i].start + tile) / 2);
  const auto ramp = [&](double seam_at, int64_t p) {  // share of the right neighbour at position p's centre
    const double d = double(p) + 0.5 - seam_at;
    return blend > 0 ? std::clamp(d / double(blend) + 0.5, 0.0, 1.0) : (d > 0 ? 1.0 : 0.0);
  };
  for (size_t i = 0; i < spans.size(); ++i) {
    TileSpan& s = spans[i];
    for (int64_t p = std::max<int64_t>(0, s.start); p < std::min(n, s.start + tile); ++p) {
      const double left = i == 0 ? 1.0 : ramp(seam[i - 1], p);
      const double right = i + 1 == spans.size() ? 0.0 : ramp(seam[i], p);
      const double w =
          left - right;  // never negative, as seams are in order; the sum over tiles telescopes to 1
      if (w <= 0) continue;
      if (s.weights.empty()) s.out.begin = p;
      s.out.end = p + 1;
      s.weights.push_back(float(w));
    }
  }
  return spans;
}

/// A plan with larger tiles that overlap by twice `halo`: fewer network voxels per movie voxel than the
/// published plan, results that differ slightly. Extents of `tile` are multiples of `multiple` (what the network's pooling
/// asks); each may shrink to a smaller multiple that computes fewer positions on its axis. Starts are multiples apart, so
/// that every tile pools the same voxels together, as one tile over the whole movie would.
/// Errors: UsageError for extents that are no multiples, or a halo that leaves no centre.
inline TilePlan fast_plan(const Extent3& movie, Extent3 tile = {64, 128, 128}, int64_t halo = 16,
                          int64_t blend = 0, int64_t multiple = 32) {
  std::array<std::vector<TileSpan>, 3> axes;
  for (size_t a = 0; a < 3; ++a) {
    check<ShapeError>(movie[a] > 0, "tiles: movie is ", movie[0], "x", movie[1], "x", movie[2],
                      ", all extents must be positive");
    check<UsageError>(multiple > 0 && tile[a] > 0 && tile[a] % multiple == 0, "tiles: extents ", tile[0], "x",
                      tile[1], "x", tile[2], " must be multiples of ", multiple);
    check<UsageError>(halo >= 0 && tile[a] >= 2 * halo + multiple, "tiles: an overlap of ", halo,
                      " on each side leaves less than ", multiple, " of a tile of ", tile[a]);
    // A wider ramp would reach past the end of a tile, and the weights would not add up to one.
    check<UsageError>(blend >= 0 && blend <= 2 * halo, "tiles: blending over ", blend,
                      " voxels needs an overlap of at least half that on each side, not ", halo);
    tile[a] = cheapest_tile(movie[a], tile[a], halo, multiple);
    axes[a] = fast_axis(movie[a], tile[a], halo, blend, multiple);
  }
  return TilePlan(movie, tile, std::move(axes));
}

/// Network voxels computed per voxel of the movie.
inline double work_factor(const TilePlan& plan) {
  return double(plan.size()) * double(voxel_count(plan.tile())) / double(voxel_count(plan.movie()));
}

/// Copies tile i of the movie into out [tile extent], mirrored beyond the edges. `frame(t)` gives the pixels
/// [H,W] of a real frame t within source_frames(row_of(i)), so a caller may hold a part of the movie only.
template <class T, class FrameOf>
void gather_tile(const TilePlan& plan, int64_t i, FrameOf&& frame, T* out) {
  const auto spans = plan.spans(i);
  const Extent3 n = plan.movie(), tile = plan.tile();
  std::vector<int64_t> columns(static_cast<size_t>(tile[2]));
  for (int64_t x = 0; x < tile[2]; ++x) columns[size_t(x)] = mirror_index(spans[2]->start + x, n[2]);
  const int64_t plane = tile[1] * tile[2];
  parallel_for(tile[0], std::max<int64_t>(1, 65536 / plane), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const auto* pixels = frame(mirror_index(spans[0]->start + t, n[0]));
      T* row_out = out + t * plane;
      for (int64_t y = 0; y < tile[1]; ++y, row_out += tile[2]) {
        const auto* row = pixels + mirror_index(spans[1]->start + y, n[1]) * n[2];
        for (int64_t x = 0; x < tile[2]; ++x) row_out[x] = T(row[columns[size_t(x)]]);
      }
    }
  });
}

/// Adds up tiles into frames, holding only the frames that are not final yet (at most one tile's depth plus
/// what the caller has not taken). Feed the tiles in plan order, take frames whenever some are ready.
class TileSum {
 public:
  explicit TileSum(const TilePlan& plan) : plan_(&plan), frame_size_(plan.movie()[1] * plan.movie()[2]) {}

  /// Adds the network's output for tile i, [tile extent]. Tiles come in order; only useless ones may be left
  /// out.
  void add(int64_t i, const float* tile) {
    bool in_order = i >= next_ && i < plan_->size();
    while (in_order && next_ < i) in_order = useless(next_++);
    check<Error>(in_order, "tile sum: tile ", i, " comes out of order");
    next_ = i + 1;
    const auto spans = plan_->spans(i);
    const Extent3 extent = plan_->tile();
    grow(spans[0]->out.end);
    const Range ts = spans[0]->out;
    const int64_t plane = std::max<int64_t>(1, spans[1]->out.size() * spans[2]->out.size());
    parallel_for(ts.size(), std::max<int64_t>(1, 65536 / plane), [&](int64_t begin, int64_t end) {
      for (int64_t t = ts.begin + begin; t < ts.begin + end; ++t) add_plane(spans, t, tile + (t - spans[0]->start) * extent[1] * extent[2]);
    });
  }

  int64_t first() const { return first_; }  ///< the next frame that take() gives
  /// Frames that can be taken now.
  int64_t ready() const { return plan_->final_before(plan_->row_of(next_)) - first_; }
  /// The next final frame, [H,W]; the sum forgets it.
  std::vector<float> take() {
    check<Error>(ready() > 0, "tile sum: frame ", first_, " is not complete yet");
    std::vector<float> frame = std::move(frames_.front());
    frames_.erase(frames_.begin());  // moves pointers only
    ++first_;
    return frame;
  }

 private:
  /// Adds the plane of a tile that belongs to frame t.
  void add_plane(const std::array<const TileSpan*, 3>& spans, int64_t t, const float* plane) {
    const float wt = spans[0]->weights[size_t(t - spans[0]->out.begin)];
    const Range ys = spans[1]->out, xs = spans[2]->out;
    const float* w = spans[2]->weights.data();
    float* frame = frames_[size_t(t - first_)].data();
    for (int64_t y = ys.begin; y < ys.end; ++y) {
      const float wy = wt * spans[1]->weights[size_t(y - ys.begin)];
      const float* in = plane + (y - spans[1]->start) * plan_->tile()[2] + (xs.begin - spans[2]->start);
      float* sum = frame + y * plan_->movie()[2] + xs.begin;
      for (int64_t x = 0; x < xs.size(); ++x) sum[x] += wy * w[x] * in[x];
    }
  }
  bool useless(int64_t i) const {
    for (const TileSpan* s : plan_->spans(i))
      if (s->out.size() == 0) return true;
    return false;
  }
  void grow(int64_t end) {
    while (first_ + int64_t(frames_.size()) < end) frames_.emplace_back(size_t(frame_size_), 0.0f);
  }

  const TilePlan* plan_;
  int64_t frame_size_, first_ = 0, next_ = 0;
  std::vector<std::vector<float>> frames_;
};

}  // namespace voxgrad::data

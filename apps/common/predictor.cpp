// SPDX-License-Identifier: BSD-3-Clause
#include "predictor.hpp"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/core/trace.hpp"

namespace voxgrad::app {
namespace {

using data::Extent3;

/// Input frames that coming tiles may still read.
class FrameWindow {
 public:
  FrameWindow(int64_t frame_size, const ReadFrame& read) : frame_size_(frame_size), read_(read) {}

  /// Forgets the frames before `begin`.
  void drop_before(int64_t begin) { frames_.erase(frames_.begin(), frames_.lower_bound(begin)); }
  /// Reads what is missing before `end`, at most `most` frames.
  void read_until(int64_t end, int64_t most) {
    for (; next_ < end && most > 0; ++next_, --most) {
      std::vector<float>& frame = frames_[next_];
      frame.resize(size_t(frame_size_));
      read_(next_, frame.data());
    }
  }
  const float* operator()(int64_t t) const { return frames_.at(t).data(); }

 private:
  int64_t frame_size_, next_ = 0;
  const ReadFrame& read_;
  std::map<int64_t, std::vector<float>> frames_;
};

/// Sets the mode of batch norm for a scope. Predictions must not move the running statistics: they are put back.
class BatchNormMode {
 public:
  BatchNormMode(models::UNet3d& net, bool batch_statistics) : net_(net), before_(net.training()) {
    for (const nn::Named& n : net.state())
      if (!n.learnable) saved_.emplace_back(n.tensor, n.tensor->clone());
    net_.train(batch_statistics);
  }
  ~BatchNormMode() {
    for (auto& [to, from] : saved_) *to = from;
    net_.train(before_);
  }
  BatchNormMode(const BatchNormMode&) = delete;
  BatchNormMode& operator=(const BatchNormMode&) = delete;

 private:
  models::UNet3d& net_;
  bool before_;
  std::vector<std::pair<Tensor*, Tensor>> saved_;
};

/// Movie frames alive at once: those that tiles read, those read ahead and those not final yet, each at most a tile deep;
/// and the preview's projection along y.
uint64_t frame_memory(const Extent3& movie, int64_t depth) {
  const uint64_t deep = uint64_t(std::min(movie[0], depth) + 1), ahead = uint64_t(std::min(movie[0] + 1, 2 * depth + 1));
  const uint64_t frames = (deep + ahead) * uint64_t(movie[1] * movie[2]);
  return sizeof(float) * (frames + 3 * uint64_t(movie[0] * movie[2]));
}

/// Program and libraries; the weights and, for wide layers, a transformed copy.
uint64_t fixed_memory(models::UNet3d& net) {
  uint64_t weights = 0;
  for (const nn::Named& n : net.state()) weights += uint64_t(n.tensor->size()) * sizeof(float);
  return (uint64_t(40) << 20) + 2 * weights;
}

/// The largest tile of the fast mode: four times the memory would save a fifth of the voxels.
constexpr int64_t most_voxels = 1 << 22;

/// Tiles of a step that all threads share, by voxels.
constexpr int64_t batch_voxels = 1 << 21;

/// All threads in one step lose about this factor against one step per thread: parts are never even, and some work is not
/// divided.
constexpr double shared_step_cost = 1.15;

/// As many steps as with `batch`, but of nearly equal size.
int64_t even_share(int64_t tiles, int64_t batch) {
  const int64_t steps = (tiles + batch - 1) / batch;
  return (tiles + steps - 1) / steps;
}

/// Steps to run side by side: one per thread where no thread idles for long, else 1.
int64_t choose_lanes(int64_t steps, int64_t most) {
  const int64_t lanes = std::min<int64_t>({steps, most, int64_t(threads())});
  if (lanes <= 1) return 1;
  const double rounds = double((steps + lanes - 1) / lanes), shared = shared_step_cost * double(steps) / threads();
  return rounds <= shared ? lanes : 1;
}

/// Tiles of a step on a card: more do not make it faster.
constexpr int64_t card_batch = 64;

/// On a card, fewer tiles per step or smaller ones may do: says which, unless tiles are free to shrink.
void check_card_batch(const std::string& too_much, int64_t wanted, int64_t fit, const PredictOptions& o) {
  if (o.batch_statistics) {
    check<DeviceError>(fit == 0, too_much, ". Batch statistics of ", wanted, " tiles need them all at once; --batch-size ", fit, " fits, with other results.");
    throw DeviceError(too_much + ". Use --batch-norm running, or free the card.");
  }
  check<DeviceError>(fit == 0, too_much, ". --batch-size ", fit, " fits.");
  check<DeviceError>(o.fast, too_much, ". --mode fast uses smaller tiles where it must; or free the card.");
}

cuda::NormMode norm_mode(const PredictOptions& o) {
  return o.batch_statistics ? cuda::NormMode::batch_statistics : cuda::NormMode::running_statistics;
}

}  // namespace

uint64_t tile_memory(const models::UNet3dOptions& net, const Extent3& tile) {
  // In the last stage skip, upsampled and output are alive, each of one width; buffers of the deeper stages wait in the cache.
  // That makes 4.1 widths, rounded up by a quarter at most. Input and scores come on top.
  const double per_voxel = 4.0 * (4.1 * 1.25 * double(net.width) + 6);
  return uint64_t(per_voxel * double(data::voxel_count(tile)));
}

PredictPlan plan_prediction(models::UNet3d& net, const Extent3& movie, const PredictOptions& o) {
  const int64_t multiple = net.multiple();
  const uint64_t fixed = fixed_memory(net), limit = o.card ? o.card->available() : o.memory;
  const auto needed = [&](const Extent3& tile, int64_t tiles) {
    return o.card ? o.card->needed(tiles, tile, norm_mode(o)) : fixed + frame_memory(movie, tile[0]) + uint64_t(tiles) * tile_memory(net.options(), tile);
  };
  const auto fits = [&](const Extent3& tile, int64_t tiles) { return (limit == 0 && !o.card) || needed(tile, tiles) <= limit; };

  Extent3 tile = o.tile;
  std::string note;
  const int64_t least = o.batch_statistics ? (o.batch > 0 ? o.batch : 128) : std::max<int64_t>(1, o.batch);
  if (!o.fast) tile = {o.window, o.window, o.window};
  else if (tile[0] == 0)
    tile = data::cheapest_tiles(movie, o.halo, multiple, [](const Extent3& t) { return data::voxel_count(t) <= most_voxels; });
  for (int64_t e : tile)
    check<UsageError>(e > 0 && e % multiple == 0, "a tile of ", tile[0], "x", tile[1], "x", tile[2],
                      " does not fit this network: extents must be multiples of ", multiple, ".");
  if (o.fast)
    for (size_t a = 0; a < 3; ++a) tile[a] = data::cheapest_tile(movie[a], tile[a], o.halo, multiple);
  if (!fits(tile, least)) {
    const std::string too_much = fmt::format("needs {:.1f} GB for {}tiles of {}x{}x{}, {} {:.1f} GB", double(needed(tile, least)) / 1e9,
                                             least > 1 ? fmt::format("{} ", least) : "", tile[0], tile[1], tile[2],
                                             o.card ? "free on " + o.card->card().name + ":" : "--memory allows", double(limit) / 1e9);
    if (o.card) check_card_batch(too_much, least, most_that_fit(least - 1, [&](int64_t n) { return fits(tile, n); }), o);
    if (o.fast) tile = data::cheapest_tiles(movie, o.halo, multiple, [&](const Extent3& t) { return data::voxel_count(t) <= most_voxels && fits(t, least); });
    const std::string advice = o.card ? "Free the card" : "Allow more memory";
    check<UsageError>(o.fast && tile[0] > 0, too_much,
                      o.batch_statistics ? ". Batch statistics need the whole batch: allow more memory."
                      : o.fast           ? " and smaller ones do not fit either. " + advice + "."
                                         : ". " + advice + ".");
    note = fmt::format("{}. Using tiles of {}x{}x{} instead; ", too_much, tile[0], tile[1], tile[2]);
  }
  data::TilePlan tiles = o.fast ? data::fast_plan(movie, tile, o.halo, 0, multiple)
                                : data::sliding_plan(movie, o.window, o.window / 2, o.batch_statistics);
  int64_t batch = std::min(least, tiles.size()), lanes = 1;
  if (o.card && !o.batch_statistics && o.batch == 0)
    batch = most_that_fit(std::min(tiles.size(), card_batch), [&](int64_t n) { return needed(tile, n) <= limit / 10 * 9; });
  if (o.card) {
    batch = o.batch_statistics ? batch : even_share(tiles.size(), std::max<int64_t>(1, batch));
  } else if (!o.batch_statistics) {
    batch = even_share(tiles.size(), batch);
    int64_t most = threads();
    while (most > 1 && !fits(tile, most * batch)) --most;
    lanes = choose_lanes((tiles.size() + batch - 1) / batch, most);
    if (lanes == 1 && o.batch == 0) {
      batch = std::clamp<int64_t>(batch_voxels / data::voxel_count(tile), 1, 4);
      while (batch > 1 && !fits(tile, batch)) --batch;
      batch = even_share(tiles.size(), std::min(batch, tiles.size()));
    }
  }
  const uint64_t memory = needed(tile, batch * lanes);
  const std::string where = o.card ? " on " + o.card->card().name : "";
  std::string summary = note + fmt::format("{} tiles of {}x{}x{}, {} at a time, {:.1f} voxels computed per voxel of the movie, about {:.1f} GB{}",
                                    tiles.size(), tile[0], tile[1], tile[2], batch * lanes, data::work_factor(tiles), double(memory) / 1e9, where);
  return {std::move(tiles), batch, lanes, memory, std::move(summary)};
}

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// While alive, adds up the time that the program's kernels report for convolutions; passes their reports on.
class ConvolutionClock {
 public:
  ConvolutionClock() : before_(trace_sink()) {
    trace_sink() = [this](const TraceEvent& e) {
      const std::lock_guard lock(mutex_);
      if (e.flop > 0) ms_ += e.ms;
      if (before_) before_(e);
    };
  }
  ~ConvolutionClock() { trace_sink() = before_; }
  ConvolutionClock(const ConvolutionClock&) = delete;
  ConvolutionClock& operator=(const ConvolutionClock&) = delete;
  double seconds() const { return ms_ / 1000; }

 private:
  std::mutex mutex_;
  double ms_ = 0;
  TraceSink before_;
};

/// Hands out steps in order with their input. Frames are read a few per step, so that a new row of tiles finds its own.
class Feed {
 public:
  struct Step {
    int64_t first, count;
    Tensor input;
  };
  Feed(const PredictPlan& plan, const ReadFrame& read)
      : plan_(plan), frames_(plan.tiles.movie()[1] * plan.tiles.movie()[2], read), needed_(size_t(plan.tiles.rows())) {
    for (int64_t row = plan.tiles.rows(); row-- > 0;) {  // mirrors may send a later row back before an earlier one
      data::Range& r = needed_[size_t(row)] = plan.tiles.source_frames(row);
      if (row + 1 < plan.tiles.rows()) r.begin = std::min(r.begin, needed_[size_t(row) + 1].begin);
    }
  }

  /// The next step; count 0 when there is none. Any thread.
  Step next() {
    const std::lock_guard lock(mutex_);
    const auto start = Clock::now();
    const data::TilePlan& tiles = plan_.tiles;
    const Extent3 e = tiles.tile();
    const int64_t count = stopped_ ? 0 : std::min(plan_.batch, tiles.size() - next_);
    if (count == 0) return {0, 0, {}};
    // Buffers of another size are of no use to these tiles: without this a last, smaller batch would add its own to them.
    if (next_ == 0 || count < plan_.batch) CpuMemory::instance().trim();
    Step step{next_, count, Tensor(Shape{count, e[0], e[1], e[2], 1})};
    auto in = step.input.mutable_span<float>();
    for (int64_t i = 0; i < count; ++i, ++next_) {
      const int64_t row = tiles.row_of(next_);
      const data::Range now = needed_[size_t(row)], then = needed_[size_t(std::min(row + 1, tiles.rows() - 1))];
      frames_.drop_before(now.begin);
      frames_.read_until(now.end, now.end);
      data::gather_tile(tiles, next_, frames_, in.data() + i * data::voxel_count(e));
      frames_.read_until(then.end, (then.end - now.end) / tiles.row_size() + 1);
    }
    seconds_ += seconds_since(start);
    return step;
  }
  /// Ends the run after an error: no more steps.
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  double seconds() const { return seconds_; }

 private:
  const PredictPlan& plan_;
  FrameWindow frames_;
  std::vector<data::Range> needed_;  ///< per row: the frames that it and, from the first on, later rows read
  std::mutex mutex_;
  int64_t next_ = 0;
  bool stopped_ = false;
  double seconds_ = 0;
};

/// Takes the network's outputs, adds them up in the order of the plan and passes finished frames on.
class Drain {
 public:
  Drain(const PredictPlan& plan, const WriteFrame& write, const TileProgress& progress)
      : plan_(plan), write_(write), progress_(progress), sum_(plan.tiles) {}

  /// The output of the step that begins with tile `first`. Any thread: one at a time works here, the others leave their
  /// outputs to it and go on, unless too many wait.
  void put(int64_t first, int64_t count, Tensor output) {
    std::unique_lock lock(mutex_);
    waiting_.emplace(first, Output{count, std::move(output)});
    for (;;) {
      if (stopped_) return;
      if (!busy_ && !waiting_.empty() && waiting_.begin()->first == next_) {
        busy_ = true;
        const Output ours = std::move(waiting_.extract(waiting_.begin()).mapped());
        lock.unlock();
        add(ours);
        lock.lock();
        busy_ = false;
        changed_.notify_all();
      } else if (int64_t(waiting_.size()) <= plan_.lanes) {
        return;
      } else {
        changed_.wait(lock);
      }
    }
  }
  /// Ends the run after an error.
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  double seconds() const { return seconds_; }

 private:
  struct Output {
    int64_t count;
    Tensor tensor;
  };

  void add(const Output& output) {
    const auto start = Clock::now();
    const float* voxels = output.tensor.span<float>().data();
    for (int64_t i = 0; i < output.count; ++i, ++next_) {
      sum_.add(next_, voxels + i * data::voxel_count(plan_.tiles.tile()));
      while (sum_.ready() > 0) {
        const int64_t t = sum_.first();
        write_(t, sum_.take().data());
      }
    }
    seconds_ += seconds_since(start);
    if (progress_) progress_(next_);
  }

  const PredictPlan& plan_;
  const WriteFrame& write_;
  const TileProgress& progress_;
  data::TileSum sum_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int64_t, Output> waiting_;
  int64_t next_ = 0;
  bool busy_ = false, stopped_ = false;
  double seconds_ = 0;
};

}  // namespace

PredictTimes predict_movie(models::UNet3d& net, const PredictPlan& plan, const PredictOptions& options, const ReadFrame& read,
                           const WriteFrame& write, const TileProgress& progress) {
  const auto start = Clock::now();
  const BatchNormMode mode(net, options.batch_statistics);
  if (options.card) options.card->plan(plan.batch, plan.tiles.tile(), norm_mode(options));
  ConvolutionClock convolution;
  Feed feed(plan, read);
  Drain drain(plan, write, progress);
  std::mutex mutex;
  PredictTimes times;
  const auto lane = [&](int64_t begin, int64_t end) {
    const NoGrad no_grad;
    double network = 0;
    try {
      while (begin < end) {
        const Feed::Step step = feed.next();
        if (step.count == 0) break;
        const auto from = Clock::now();
        Tensor output = options.card ? options.card->probability(step.input, norm_mode(options)) : net(step.input);
        network += seconds_since(from);
        drain.put(step.first, step.count, std::move(output));
      }
    } catch (...) {
      feed.stop();
      drain.stop();
      throw;
    }
    const std::lock_guard lock(mutex);
    times.network += network;
  };
  // Within a lane the network's own parallel loops run in place.
  if (plan.lanes > 1) parallel_for(plan.lanes, 1, lane);
  else lane(0, 1);
  times.seconds = seconds_since(start);
  times.convolution = convolution.seconds();
  times.input = feed.seconds();
  times.output = drain.seconds();
  times.lanes = plan.lanes;
  return times;
}

}  // namespace voxgrad::app

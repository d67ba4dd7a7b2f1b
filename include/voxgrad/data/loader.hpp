// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Batches of patches in an order that depends on (seed, epoch, position) only: a run resumes anywhere, and
// the number of batches prepared ahead changes nothing.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <numeric>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/data/crops.hpp"
#include "voxgrad/data/dataset.hpp"

namespace voxgrad::data {

/// Patches of input and target (0/1, or classes), each [count, D, H, W, 1] in float.
struct Batch {
  int64_t count = 0;
  Extent3 patch{0, 0, 0};
  std::vector<float> input, target;
  std::vector<float> weight, propensity;  ///< empty when no crop of the batch has any; 1 where a crop has none
  std::vector<int64_t> indices;  ///< which crop of the source each patch comes from
  int64_t epoch = 0, position = 0;  ///< patches of the epoch before this batch
};

/// Where the next batch starts: `position` patches of epoch `epoch` are done. All there is to store for a
/// resume.
struct LoaderState {
  int64_t epoch = 0, position = 0;
};

struct LoaderOptions {
  int64_t batch = 8;
  Extent3 patch{32, 32, 32};
  bool shuffle = true;  ///< a fresh permutation each epoch, without replacement
  bool augment = true;  ///< false: centre patches, nothing drawn (validation)
  AugmentOptions augmentation;
  bool drop_last = false;  ///< leave out the last, smaller batch of an epoch
  uint64_t seed = 42;
  bool held = false;  ///< full batches are cut by a card that holds all crops: of them the loader tells only which they are
  int prefetch = 2;  ///< batches prepared ahead, each on its own thread; 0 prepares in next()
};

/// The order of one epoch: 0..n-1, permuted (Fisher-Yates) when `shuffle`.
inline std::vector<int64_t> epoch_order(int64_t n, uint64_t seed, int64_t epoch, bool shuffle) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t(0));
  if (!shuffle) return order;
  Random random(seed, uint64_t(epoch) << 8 | 1);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[size_t(random.below(i))]);
  return order;
}

/// Endless batches from a source. next() must be called from one thread at a time.
class Loader {
 public:
  Loader(std::shared_ptr<const CropSource> source, LoaderOptions options, LoaderState start = {})
      : source_(std::move(source)), options_(options), delivered_(start), planned_(start) {
    const Extent3 crop = source_->crop_extent();
    check<UsageError>(options_.batch > 0, "batch size ", options_.batch, " must be at least 1.");
    check<UsageError>(source_->size() > 0, "there are no crops to train on.");
    check<UsageError>(!options_.drop_last || source_->size() >= options_.batch, "drop_last with ",
                      source_->size(), " crops and a batch size of ", options_.batch,
                      " would leave no batch.");
    for (size_t a = 0; a < 3; ++a)
      check<UsageError>(options_.patch[a] > 0 && options_.patch[a] <= crop[a], "patch ", options_.patch[0],
                        "x", options_.patch[1], "x", options_.patch[2], " does not fit crops of ", crop[0],
                        "x", crop[1], "x", crop[2], ".");
    check<UsageError>(start.epoch >= 0 && start.position >= 0 && start.position <= source_->size(),
                      "cannot continue at position ", start.position, " of an epoch of ", source_->size(),
                      " crops.");
  }

  /// Batches in an epoch.
  int64_t batches_per_epoch() const {
    const int64_t n = source_->size();
    return options_.drop_last ? n / options_.batch : (n + options_.batch - 1) / options_.batch;
  }

  /// The state from which a new loader continues with the batch after the last one that next() gave.
  LoaderState state() const { return delivered_; }

  /// Fills `out` with the next batch, reusing its memory; rethrows what reading a crop threw.
  void next(Batch& out) {
    recycle(std::move(out));
    while (int(pending_.size()) < std::max(1, options_.prefetch)) pending_.push_back(start_one());
    Pending front = std::move(pending_.front());
    pending_.pop_front();
    if (options_.prefetch > 0) pending_.push_back(start_one());
    out = front.batch.get();
    delivered_ = front.after;
  }

 private:
  struct Pending {
    std::future<Batch> batch;
    LoaderState after;
  };

  Pending start_one() {
    const int64_t n = source_->size();
    const bool at_end =
        planned_.position >= n || (options_.drop_last && planned_.position + options_.batch > n);
    if (at_end) planned_ = {planned_.epoch + 1, 0};
    if (!order_ || order_epoch_ != planned_.epoch) {
      order_ = std::make_shared<const std::vector<int64_t>>(
          epoch_order(n, options_.seed, planned_.epoch, options_.shuffle));
      order_epoch_ = planned_.epoch;
    }
    const LoaderState at = planned_;
    planned_.position = std::min(n, at.position + options_.batch);
    const auto policy = options_.prefetch > 0 ? std::launch::async : std::launch::deferred;
    return {std::async(policy,
                       [this, at, end = planned_.position, order = order_] { return make(at, end, *order); }),
            planned_};
  }

  Batch make(LoaderState at, int64_t end, const std::vector<int64_t>& order) {
    Batch b = fresh();
    const int64_t voxels = voxel_count(options_.patch);
    b.count = end - at.position;
    b.patch = options_.patch;
    b.epoch = at.epoch;
    b.position = at.position;
    b.indices.clear();
    if (options_.held && b.count == options_.batch) {
      b.indices.assign(order.begin() + at.position, order.begin() + end);
      for (auto* voxels_of : {&b.input, &b.target, &b.weight, &b.propensity}) voxels_of->clear();
      return b;
    }
    b.input.resize(size_t(b.count * voxels));
    b.target.resize(size_t(b.count * voxels));
    b.weight.clear();
    b.propensity.clear();
    const Extent3 size = source_->crop_extent();
    const auto cut_optional = [&](const std::vector<float>& from, const PatchDraw& draw, int64_t i, std::vector<float>& to) {
      if (from.empty()) return;
      if (to.empty()) to.assign(size_t(b.count * voxels), 1.0f);
      cut_patch(from.data(), size, draw, options_.patch, to.data() + i * voxels);
    };
    for (int64_t i = 0; i < b.count; ++i) {
      const int64_t index = order[size_t(at.position + i)];
      const std::shared_ptr<const Crop> crop = source_->crop(index);
      Random random(options_.seed, uint64_t(at.epoch) << 8 | 2, uint64_t(at.position + i) * 4);
      const PatchDraw draw = options_.augment
                                 ? draw_patch(random, size, options_.patch, options_.augmentation)
                                 : centre_patch(size, options_.patch);
      cut_patch(crop->input.data(), size, draw, options_.patch, b.input.data() + i * voxels);
      cut_patch(crop->target.data(), size, draw, options_.patch, b.target.data() + i * voxels);
      cut_optional(crop->weight, draw, i, b.weight);
      cut_optional(crop->propensity, draw, i, b.propensity);
      b.indices.push_back(index);
    }
    return b;
  }

  Batch fresh() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return {};
    Batch b = std::move(free_.back());
    free_.pop_back();
    return b;
  }
  void recycle(Batch&& b) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (b.input.capacity() > 0) free_.push_back(std::move(b));
  }

  std::shared_ptr<const CropSource> source_;
  LoaderOptions options_;
  LoaderState delivered_, planned_;
  std::shared_ptr<const std::vector<int64_t>> order_;
  int64_t order_epoch_ = -1;
  std::mutex mutex_;  // guards free_
  std::vector<Batch> free_;
  std::deque<Pending> pending_;  // last member: destroyed first, so running batches end before the rest goes
};

}  // namespace voxgrad::data

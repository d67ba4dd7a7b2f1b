// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Batches of training patches with their targets. A batch depends on the seed and its number only: any thread may make it,
// and a run that goes on makes the same ones.

#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "voxgrad/core/error.hpp"
#include "voxgrad/core/tensor.hpp"
#include "voxgrad/data/loader.hpp"
#include "voxgrad/stardist/patch_sampler.hpp"
#include "voxgrad/stardist/patches.hpp"
#include "voxgrad/stardist/targets.hpp"

namespace voxgrad::stardist {

/// An image with its objects: 0 is background, below 0 is not annotated.
struct Example {
  data::Volume<float> image;  ///< the first channel
  data::Volume<int32_t> labels;
  bool centred = false;  ///< cut around an object, and so no fair sample of what it was cut from
  std::vector<data::Volume<float>> more = {};  ///< further channels, of the same extent
  ObjectClasses classes = {};                  ///< of the labels, where classes are learnt

  int64_t channels() const { return 1 + int64_t(more.size()); }
  const data::Volume<float>& channel(int64_t c) const { return c == 0 ? image : more.at(size_t(c - 1)); }
  int64_t bytes() const {
    return channels() * int64_t(image.voxels.size() * sizeof(float)) + int64_t(labels.voxels.size() * sizeof(int32_t));
  }
};

/// Annotated volumes by index. Safe to call from several threads.
class ExampleSource {
 public:
  virtual ~ExampleSource() = default;
  virtual int64_t size() const = 0;
  virtual std::shared_ptr<const Example> example(int64_t index) const = 0;
  /// What messages call it.
  virtual std::string name(int64_t index) const { return text("volume ", index); }
};

/// Volumes in memory.
class MemoryExamples : public ExampleSource {
 public:
  explicit MemoryExamples(std::vector<Example> examples) {
    for (Example& e : examples) examples_.push_back(std::make_shared<const Example>(std::move(e)));
  }
  int64_t size() const override { return int64_t(examples_.size()); }
  std::shared_ptr<const Example> example(int64_t index) const override { return examples_.at(size_t(index)); }

 private:
  std::vector<std::shared_ptr<const Example>> examples_;
};

struct GeneratorOptions {
  Extent3 patch{128, 128, 128};
  Grid grid{1, 1, 1};
  std::optional<Vec3d> anisotropy;  ///< of the object probability
  double foreground_only = 0.9;     ///< share of the patches that hold an object for sure
  Augmentation augmentation = Augmentation::none;
  int64_t batch = 1;
  uint64_t seed = 42;
  int64_t channels = 1, n_classes = 0;  ///< of every image; of the objects, 0: none are learnt
};

/// input [N,D,H,W,channels], prob [N,D',H',W',1] and dist [N,D',H',W',rays] on the grid; centred: of each patch's volume;
/// prob_class [N,D',H',W',n_classes + 1], undefined without classes.
struct PatchBatch {
  Tensor input, prob, dist;
  std::vector<bool> centred = {};
  Tensor prob_class = {};
  int64_t count() const { return input.shape()[0]; }
};

class Generator {
 public:
  Generator(std::shared_ptr<const ExampleSource> source, Rays rays, const GeneratorOptions& options)
      : source_(std::move(source)), rays_(std::move(rays)), options_(options) {
    check<UsageError>(source_->size() > 0, "patches: there are no volumes to cut them from");
  }

  const ExampleSource& source() const { return *source_; }
  const GeneratorOptions& options() const { return options_; }

  /// Batch `number` of the training, from 0: entries of an endless chain of permutations of the volumes.
  PatchBatch training(int64_t number) const {
    const int64_t n = source_->size();
    std::vector<int64_t> volumes;
    for (int64_t i = number * options_.batch; i < (number + 1) * options_.batch; ++i)
      volumes.push_back((*order(i / n))[size_t(i % n)]);
    return make(volumes, number * options_.batch, training_stream, options_.augmentation);
  }

  /// Patches first .. first + count of a fixed set: patch i comes from volume i modulo their number, without augmentation.
  PatchBatch fixed(int64_t first, int64_t count) const {
    std::vector<int64_t> volumes;
    for (int64_t i = first; i < first + count; ++i) volumes.push_back(i % source_->size());
    return make(volumes, first, fixed_stream, Augmentation::none);
  }

 private:
  static constexpr uint64_t training_stream = 2, fixed_stream = 3;  // in the lowest byte; 1 is the order's

  PatchBatch make(const std::vector<int64_t>& volumes, int64_t first, uint64_t stream, Augmentation augmentation) const {
    const Extent3 p = options_.patch, e = grid_extent(p, options_.grid);
    const int64_t n = int64_t(volumes.size()), points = data::voxel_count(e), classes = options_.n_classes + 1;
    PatchBatch b{Tensor(Shape{n, p[0], p[1], p[2], options_.channels}), Tensor(Shape{n, e[0], e[1], e[2], 1}),
                 Tensor(Shape{n, e[0], e[1], e[2], rays_.size()})};
    if (options_.n_classes > 0) b.prob_class = Tensor(Shape{n, e[0], e[1], e[2], classes});
    float *prob = b.prob.mutable_span<float>().data(), *dist = b.dist.mutable_span<float>().data(),
          *prob_class = options_.n_classes > 0 ? b.prob_class.mutable_span<float>().data() : nullptr;
    data::Volume<int32_t> labels(p);
    std::vector<float> masked(size_t(points * (rays_.size() + 1)));
    for (int64_t i = 0; i < n; ++i) {
      const auto example = source_->example(volumes[size_t(i)]);
      b.centred.push_back(example->centred);
      Random random(options_.seed, uint64_t(first + i) << 8 | stream);
      const Extent3 start = sampler(volumes[size_t(i)], *example)->draw(random, options_.foreground_only);
      const PatchChange change = draw_change(random, augmentation, p);
      cut_image(*example, volumes[size_t(i)], start, change, b.input.mutable_span<float>().data() + i * data::voxel_count(p) * options_.channels);
      cut_changed(example->labels, start, p, change, labels.voxels.data());
      write_targets(LabelView<int32_t>(labels), rays_, options_.anisotropy, options_.grid, prob + i * points, masked.data());
      for (int64_t k = 0; k < points; ++k)  // without the mask, which is the probability
        std::memcpy(dist + (i * points + k) * rays_.size(), masked.data() + k * (rays_.size() + 1), size_t(rays_.size()) * sizeof(float));
      if (prob_class != nullptr)
        write_class_targets(LabelView<int32_t>(labels), example->classes, int(options_.n_classes), options_.grid, prob_class + i * points * classes);
    }
    return b;
  }

  /// Cuts all channels alike. out: [z,y,x,channels].
  void cut_image(const Example& example, int64_t volume, const Extent3& start, const PatchChange& change, float* out) const {
    const int64_t channels = options_.channels, voxels = data::voxel_count(options_.patch);
    check<ShapeError>(example.channels() == channels, "patches: volume ", volume, " has ", example.channels(), " channels (expected ", channels, ")");
    std::vector<float> apart(channels > 1 ? size_t(voxels) : 0);
    for (int64_t c = 0; c < channels; ++c) {
      float* cut = channels > 1 ? apart.data() : out;
      cut_changed(example.channel(c), start, options_.patch, change, cut);
      if (change.factor != 1 || change.offset != 0)
        for (int64_t k = 0; k < voxels; ++k) cut[k] = cut[k] * change.factor + change.offset;
      for (int64_t k = 0; channels > 1 && k < voxels; ++k) out[k * channels + c] = cut[k];
    }
  }

  /// Where patches of a volume may lie; kept for large volumes, and cheaper to find again for crops.
  std::shared_ptr<const PatchSampler> sampler(int64_t volume, const Example& example) const {
    constexpr int64_t large = int64_t(1) << 21;
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = samplers_.find(volume); found != samplers_.end()) return found->second;
    }
    auto made = std::make_shared<const PatchSampler>(LabelView<int32_t>(example.labels), options_.patch);
    if (example.labels.size() >= large) {
      const std::lock_guard lock(mutex_);
      samplers_.emplace(volume, made);
    }
    return made;
  }

  std::shared_ptr<const std::vector<int64_t>> order(int64_t epoch) const {
    const std::lock_guard lock(mutex_);
    if (!order_ || order_epoch_ != epoch) {
      order_ = std::make_shared<const std::vector<int64_t>>(data::epoch_order(source_->size(), options_.seed, epoch, true));
      order_epoch_ = epoch;
    }
    return order_;
  }

  std::shared_ptr<const ExampleSource> source_;
  Rays rays_;
  GeneratorOptions options_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const std::vector<int64_t>> order_;
  mutable int64_t order_epoch_ = -1;
  mutable std::unordered_map<int64_t, std::shared_ptr<const PatchSampler>> samplers_;
};

}  // namespace voxgrad::stardist

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What training takes crops from: samples, the CropSource interface, and a cache with a byte limit.

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/crops.hpp"

namespace voxgrad::data {

/// One training sample: row `row` of a movie's events, or (row < 0) the unlabelled crop that starts at
/// `coord`.
struct Sample {
  std::string movie;
  int64_t row = -1;
  Extent3 coord{0, 0, 0};
  bool positive() const { return row >= 0; }
};

/// A crop in memory: input and 0/1 mask, [size,size,size] each, padded if the movie's border cut it. With a LabelRule the mask
/// holds classes instead: 0 unlabeled, 1 positive, 2 known negative, 255 ignored.
struct Crop {
  std::vector<float> input = {};
  std::vector<uint8_t> target = {};
  std::vector<float> weight = {};      ///< of each voxel; empty: all 1
  std::vector<float> propensity = {};  ///< probability that a positive voxel was labelled; empty: not known
  int64_t bytes() const {
    return int64_t((input.size() + weight.size() + propensity.size()) * sizeof(float) + target.size());
  }
};

/// Turns the numbers of a label volume into classes and weights of a crop. labels: the numbers as stored, `size` voxels; the crop is
/// the box `inside` of them (the rest is its surroundings, as far as `margin` and the movie reach). Fills target, and weight if any.
/// `where` names the data in errors.
struct LabelRule {
  int64_t margin = 0;
  std::function<void(const std::vector<double>& labels, const Extent3& size, const Box3& inside, const std::string& where, Crop&)> apply;
  explicit operator bool() const { return bool(apply); }
};

/// Crops by index. Safe to call from several threads.
class CropSource {
 public:
  virtual ~CropSource() = default;
  virtual int64_t size() const = 0;         ///< number of crops
  virtual Extent3 crop_extent() const = 0;  ///< the same for all crops
  virtual std::shared_ptr<const Crop> crop(int64_t index) const = 0;
  /// Whether a crop was cut around an annotated event, and so is no fair sample of the movie.
  virtual bool centred(int64_t) const { return false; }
  /// Share of positive voxels in the movie that a crop comes from, where the data says so; 0 if not.
  virtual double prior(int64_t) const { return 0; }
};

/// Keeps the first crops it sees until their bytes reach a limit; later ones are loaded anew each time.
class CropCache {
 public:
  explicit CropCache(int64_t max_bytes) : max_bytes_(max_bytes) {}

  /// The cached crop, or load() of it. Two threads may load the same crop at once; both get the same values.
  template <class Load>
  std::shared_ptr<const Crop> get(int64_t index, Load&& load) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (const auto found = crops_.find(index); found != crops_.end()) return found->second;
    }
    auto crop = std::make_shared<const Crop>(load());
    std::lock_guard<std::mutex> lock(mutex_);
    if (bytes_ + crop->bytes() <= max_bytes_ && crops_.emplace(index, crop).second) bytes_ += crop->bytes();
    return crop;
  }

  int64_t bytes() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return bytes_;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<int64_t, std::shared_ptr<const Crop>> crops_;
  int64_t bytes_ = 0, max_bytes_;
};

/// Crops already in memory: small data sets, demos and tests.
class MemorySource : public CropSource {
 public:
  MemorySource(Extent3 extent, std::vector<Crop> crops) : extent_(extent) {
    for (Crop& c : crops) {
      check<ShapeError>(int64_t(c.input.size()) == voxel_count(extent) && c.input.size() == c.target.size(),
                        "crop ", crops_.size(), " has ", c.input.size(), " input and ", c.target.size(),
                        " target voxels (expected ", voxel_count(extent), ").");
      crops_.push_back(std::make_shared<const Crop>(std::move(c)));
    }
  }
  int64_t size() const override { return int64_t(crops_.size()); }
  Extent3 crop_extent() const override { return extent_; }
  std::shared_ptr<const Crop> crop(int64_t index) const override { return crops_.at(size_t(index)); }

 private:
  Extent3 extent_;
  std::vector<std::shared_ptr<const Crop>> crops_;
};

}  // namespace voxgrad::data

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Training data as two folders of small TIFF volumes with equal file names: crops centred on events, and
// their masks.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "voxgrad/data/dataset.hpp"

namespace voxgrad::app {

/// Crops of the given files. Values are taken as they are (no preprocessing), masks as > 0 or by a rule. A crop smaller
/// than `crop` is padded at the end of each axis by mirroring; a larger one is cut around its middle.
class TiffPairs : public data::CropSource {
 public:
  /// Opens every file once, so that a pair that does not fit is found now. FileError names both files and
  /// shapes.
  TiffPairs(std::string source, std::string target, std::vector<std::string> names, std::int64_t crop,
            std::int64_t cache_bytes, data::LabelRule rule = {});

  std::int64_t size() const override { return std::int64_t(names_.size()); }
  data::Extent3 crop_extent() const override { return {crop_, crop_, crop_}; }
  std::shared_ptr<const data::Crop> crop(std::int64_t index) const override;
  const std::vector<std::string>& names() const { return names_; }

 private:
  data::Crop load(const std::string& name) const;
  std::string source_, target_;
  std::vector<std::string> names_;
  std::int64_t crop_;
  data::LabelRule rule_;
  mutable data::CropCache cache_;
};

struct TiffPairSplit {
  std::shared_ptr<const TiffPairs> train, valid;
};

/// All TIFF files of `source` with their partners in `target`, shuffled by `seed`; the share
/// `valid_proportion` of them (at least one, rounded) is for validation. FileError: files without partner,
/// fewer than two pairs.
TiffPairSplit open_tiff_pairs(const std::string& source, const std::string& target, std::int64_t crop,
                              double valid_proportion, std::uint64_t seed, std::int64_t cache_bytes,
                              const data::LabelRule& rule = {});

}  // namespace voxgrad::app

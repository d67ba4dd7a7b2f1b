// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The examples that StarDist trains on, one source per kind of file. All of them are read when asked for, and kept as far as memory allows.

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "voxgrad/data/hdf5_dataset.hpp"
#include "voxgrad/stardist/generator.hpp"

namespace voxgrad::app {

/// What a network takes of the data, and what is known of the labels.
struct ExampleRule {
  int64_t channels = 1, n_classes = 0;
  bool labels_are_classes = false;
  std::shared_ptr<const bool> masks;  ///< whether labels do not number the objects; settled before the first example is asked for
  int64_t cache_bytes = 0;            ///< what a source keeps at most
};

/// Loads what is asked for and keeps the first until their bytes reach the limit. Any thread may ask.
class CachedExamples : public stardist::ExampleSource {
 public:
  explicit CachedExamples(ExampleRule rule) : rule_(std::move(rule)) {}
  std::shared_ptr<const stardist::Example> example(int64_t index) const override;
  /// As the file has them.
  virtual data::Volume<int32_t> stored_labels(int64_t index) const = 0;

 protected:
  virtual stardist::Example load(int64_t index) const = 0;
  const ExampleRule& rule() const { return rule_; }
  /// Numbers the objects, if the file does not, and says their classes; `read` does where the file has them apart.
  void finish(stardist::Example& e, const std::string& labels_path, const std::function<stardist::ObjectClasses()>& read) const;

 private:
  ExampleRule rule_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<int64_t, std::shared_ptr<const stardist::Example>> kept_;
  mutable int64_t bytes_ = 0;
};

using CachedSource = std::shared_ptr<const CachedExamples>;

/// The listed samples of a fold. FileError for one that the fold does not have.
CachedSource hdf5_examples(std::shared_ptr<const data::Hdf5Fold> fold, const std::vector<data::Sample>& samples, int64_t crop, const ExampleRule& rule);
/// All events of some movies of a fold, or their stored crops where it has no movies.
CachedSource hdf5_examples(std::shared_ptr<const data::Hdf5Fold> fold, const std::vector<const data::MovieEntry*>& movies, int64_t crop, const ExampleRule& rule);

/// Volumes and label volumes of the same names in two folders.
struct TiffFolders {
  std::string images, masks;
  std::string axes;        ///< of the files, slowest first; empty: as they say
  bool normalize = false;  ///< by percentiles
};
CachedSource tiff_examples(const TiffFolders& folders, std::vector<std::string> names, const ExampleRule& rule);

}  // namespace voxgrad::app

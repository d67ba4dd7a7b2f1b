// SPDX-License-Identifier: BSD-3-Clause
#include "training_data.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "label_rule.hpp"
#include "losses.hpp"
#include "samples.hpp"
#include "tiff_pairs.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/data/hdf5_dataset.hpp"

namespace voxgrad::app {
namespace {

/// Several folds as one source.
class JoinedCrops : public data::CropSource {
 public:
  explicit JoinedCrops(std::vector<std::shared_ptr<const data::CropSource>> parts) : parts_(std::move(parts)) {}
  int64_t size() const override {
    int64_t n = 0;
    for (const auto& p : parts_) n += p->size();
    return n;
  }
  data::Extent3 crop_extent() const override { return parts_[0]->crop_extent(); }
  std::shared_ptr<const data::Crop> crop(int64_t index) const override {
    for (const auto& p : parts_) {
      if (index < p->size()) return p->crop(index);
      index -= p->size();
    }
    throw UsageError(text("crop ", index, " does not exist."));
  }
  bool centred(int64_t index) const override {
    for (const auto& p : parts_) {
      if (index < p->size()) return p->centred(index);
      index -= p->size();
    }
    return false;
  }
  double prior(int64_t index) const override {
    for (const auto& p : parts_) {
      if (index < p->size()) return p->prior(index);
      index -= p->size();
    }
    return 0;
  }

 private:
  std::vector<std::shared_ptr<const data::CropSource>> parts_;
};

std::shared_ptr<const data::CropSource> join(std::vector<std::shared_ptr<const data::CropSource>> parts) {
  return parts.size() == 1 ? parts[0] : std::make_shared<JoinedCrops>(std::move(parts));
}

struct Opener {
  const std::string& path;
  const TrainConfig& config;
  data::Hdf5CropOptions options;

  std::shared_ptr<const data::Hdf5Fold> fold(const std::string& name) const {
    return std::make_shared<const data::Hdf5Fold>(path, name);
  }
  std::shared_ptr<const data::CropSource> all(const std::string& name) const {
    return std::make_shared<data::Hdf5Crops>(fold(name), options);
  }
  std::shared_ptr<const data::CropSource> listed(const std::string& name, const std::vector<data::Sample>& samples) const {
    check<FileError>(!samples.empty(), config.training.samples_path, ": set '", samples_key(config.training),
                     "' lists no crops for this fold.");
    return std::make_shared<data::Hdf5Crops>(fold(name), samples, options);
  }
  /// Whether some training movies stand in for a validation fold: the data has none, and no other was asked for.
  bool sets_movies_aside() const {
    const TrainingConfig& t = config.training;
    return t.train_folds.size() == 1 && t.valid_folds == TrainingConfig().valid_folds && !io::H5File(path).is_group("/" + t.valid_folds[0]);
  }
};

/// Sets a share of a fold's movies aside: by movie, never by crop, chosen by the seed.
std::pair<std::vector<data::Sample>, std::vector<data::Sample>> split_movies(const data::Hdf5Fold& fold, double share,
                                                                            uint64_t seed) {
  std::vector<const data::MovieEntry*> movies;
  for (const data::MovieEntry& m : fold.movies())
    if (!m.events.empty()) movies.push_back(&m);
  check<FileError>(movies.size() >= 2, fold.file().path(), ": has no validation fold, and group '/", fold.fold(), "' has ",
                   movies.size(), " movies with events: too few to set some aside. Name one with --valid-fold.");
  Random random(seed, 0x73706c6974);
  for (size_t i = movies.size(); i > 1; --i) std::swap(movies[i - 1], movies[size_t(random.below(i))]);
  const size_t held = std::clamp<size_t>(size_t(share * double(movies.size()) + 0.5), 1, movies.size() - 1);
  std::pair<std::vector<data::Sample>, std::vector<data::Sample>> out;
  for (size_t i = 0; i < movies.size(); ++i)
    for (size_t row = 0; row < movies[i]->events.size(); ++row)
      (i < held ? out.second : out.first).push_back({movies[i]->name, int64_t(row), {}});
  return out;
}

/// Where random crops are cut: movies of a fold.
struct HeldOutMovies {
  std::shared_ptr<const data::Hdf5Fold> fold;
  std::vector<const data::MovieEntry*> movies;
};

/// Crops anywhere in whole movies, each voxel of them as likely as any other; none without whole movies.
RandomCrops random_crops(std::vector<HeldOutMovies> folds, int64_t patch, const TrainConfig& config) {
  std::vector<std::pair<size_t, const data::MovieEntry*>> movies;
  std::vector<int64_t> ends;  // of the movies' voxels, one after the other
  for (size_t f = 0; f < folds.size(); ++f)
    for (const data::MovieEntry* m : folds[f].movies)
      if (!m->crops_only) {
        movies.emplace_back(f, m);
        ends.push_back((ends.empty() ? 0 : ends.back()) + data::voxel_count(m->extent));
      }
  if (movies.empty()) return {};
  const data::Hdf5CropOptions options{patch, 0, label_rule(config.training.pu)};
  return [=, seed = config.seed](int64_t count, uint64_t stream) {
    Random random(seed, stream << 8 | 0x72);
    std::vector<std::vector<data::Sample>> samples(folds.size());
    for (int64_t i = 0; i < count; ++i) {
      const auto at = std::upper_bound(ends.begin(), ends.end(), int64_t(random.below(uint64_t(ends.back()))));
      const auto& [f, movie] = movies[size_t(at - ends.begin())];
      data::Sample s{movie->name, -1, {}};
      for (size_t a = 0; a < 3; ++a) s.coord[a] = int64_t(random.below(uint64_t(std::max<int64_t>(0, movie->extent[a] - patch) + 1)));
      samples[f].push_back(s);
    }
    std::vector<std::shared_ptr<const data::CropSource>> parts;
    for (size_t f = 0; f < folds.size(); ++f)
      if (!samples[f].empty()) parts.push_back(std::make_shared<data::Hdf5Crops>(folds[f].fold, samples[f], options));
    return join(std::move(parts));
  };
}

/// All movies of a fold, or those that the samples name.
HeldOutMovies movies_of(std::shared_ptr<const data::Hdf5Fold> fold, const std::vector<data::Sample>* named = nullptr) {
  HeldOutMovies out{fold, {}};
  for (const data::MovieEntry& m : fold->movies())
    if (!named || std::any_of(named->begin(), named->end(), [&](const data::Sample& s) { return s.movie == m.name; })) out.movies.push_back(&m);
  return out;
}

bool is_folder(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

/// A folder with the folders `source` and `target`: TIFF crops and their masks.
TiffPairSplit open_pairs(const std::string& path, const TrainConfig& config, int64_t cache_bytes) {
  const TrainingConfig& t = config.training;
  check<UsageError>(t.samples_path.empty(), path, " is a folder of TIFF pairs; samples lists go with an HDF5 data set.");
  for (const char* part : {"/source", "/target"})
    check<FileError>(is_folder(path + part), path, ": is a folder, but has no folder '", part + 1,
                     "'. Give an HDF5 file, or a folder with 'source' and 'target'.");
  return open_tiff_pairs(path + "/source", path + "/target", t.crop_size, t.valid_proportion, config.seed, cache_bytes, label_rule(t.pu));
}

}  // namespace

TrainingData open_training_data(const std::string& path, const TrainConfig& config, int64_t cache_bytes) {
  const TrainingConfig& t = config.training;
  const Opener open{path, config, {t.crop_size, cache_bytes, label_rule(t.pu), loss_needs(t.loss).propensity}};
  TrainingData data;
  std::vector<HeldOutMovies> held_out;
  if (is_folder(path)) {
    const TiffPairSplit pairs = open_pairs(path, config, cache_bytes);
    data.train = pairs.train;
    data.valid = pairs.valid;
    data.summary = text(path, ": ", pairs.train->size(), " training crops, ", pairs.valid->size(),
                        " validation crops; pairs of TIFF files");
    return data;
  }
  std::vector<std::shared_ptr<const data::CropSource>> train, valid;
  if (!t.samples_path.empty()) {
    check<UsageError>(t.train_folds.size() == 1 && t.valid_folds.size() == 1,
                      "a samples list goes with one training and one validation fold.");
    const SampleLists samples = read_samples(t.samples_path, samples_key(t));
    train.push_back(open.listed(t.train_folds[0], samples.train));
    valid.push_back(open.listed(t.valid_folds[0], samples.valid));
    held_out.push_back(movies_of(open.fold(t.valid_folds[0])));
    data.summary = text("samples '", samples_key(t), "' of ", t.samples_path);
  } else if (!open.sets_movies_aside()) {
    for (const std::string& f : t.train_folds) train.push_back(open.all(f));
    for (const std::string& f : t.valid_folds) {
      valid.push_back(open.all(f));
      held_out.push_back(movies_of(open.fold(f)));
    }
    data.summary = "all events";
  } else {
    const auto fold = open.fold(t.train_folds[0]);
    const auto [rest, held] = split_movies(*fold, t.valid_proportion, config.seed);
    train.push_back(open.listed(t.train_folds[0], rest));
    valid.push_back(open.listed(t.train_folds[0], held));
    held_out.push_back(movies_of(fold, &held));
    data.summary = text("all events, validation on a share of ", t.valid_proportion, " of the movies (no validation fold)");
  }
  data.train = join(std::move(train));
  data.valid = join(std::move(valid));
  if (t.pu.prior_auto) data.held_out = random_crops(std::move(held_out), t.patch_size, config);
  data.summary = text(path, ": ", data.train->size(), " training crops, ", data.valid->size(), " validation crops; ", data.summary);
  return data;
}

std::shared_ptr<const data::CropSource> open_validation_crops(const std::string& path, const TrainConfig& config,
                                                              int64_t cache_bytes) {
  const TrainingConfig& t = config.training;
  if (is_folder(path)) return open_pairs(path, config, cache_bytes).valid;
  const Opener open{path, config, {t.crop_size, cache_bytes, label_rule(t.pu)}};
  if (open.sets_movies_aside()) {
    const auto fold = open.fold(t.train_folds[0]);
    return open.listed(t.train_folds[0], split_movies(*fold, t.valid_proportion, config.seed).second);
  }
  std::vector<std::shared_ptr<const data::CropSource>> valid;
  for (const std::string& f : t.valid_folds) valid.push_back(open.all(f));
  return join(std::move(valid));
}

}  // namespace voxgrad::app

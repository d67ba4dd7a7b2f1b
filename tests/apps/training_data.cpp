// SPDX-License-Identifier: BSD-3-Clause
// Which crops a configuration trains and validates on.

#include "common/training_data.hpp"

#include <set>

#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "apps/tiny_dataset.hpp"
#include "catch.hpp"
#include "common/samples.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

TrainConfig config() {
  TrainConfig c;
  c.training.crop_size = 16;
  c.training.patch_size = 8;
  return c;
}

/// The contents of all crops, to see which are the same.
std::multiset<std::vector<float>> contents(const data::CropSource& s) {
  std::multiset<std::vector<float>> all;
  for (int64_t i = 0; i < s.size(); ++i) all.insert(s.crop(i)->input);
  return all;
}

}  // namespace

TEST_CASE("training data: all events of the folds, several folds in a row") {
  Scratch dir;
  const std::string path = dir.file("d.h5");
  write_tiny_dataset(path, {{"train", 3}, {"more", 2}, {"valid", 1}});
  TrainConfig c = config();
  const TrainingData one = open_training_data(path, c, 1 << 20);
  CHECK(one.train->size() == 6);
  CHECK(one.valid->size() == 2);
  CHECK(one.train->crop_extent() == data::Extent3{16, 16, 16});
  CHECK(one.summary == path + ": 6 training crops, 2 validation crops; all events");
  c.training.train_folds = {"train", "more"};
  const TrainingData two = open_training_data(path, c, 0);
  REQUIRE(two.train->size() == 10);
  for (int64_t i = 0; i < 6; ++i) CHECK((two.train->crop(i)->input == one.train->crop(i)->input));
  c.training.train_folds = {"more"};
  const TrainingData rest = open_training_data(path, c, 0);
  for (int64_t i = 0; i < 4; ++i) CHECK((two.train->crop(6 + i)->target == rest.train->crop(i)->target));
  CHECK_THROWS_AS(two.train->crop(10), UsageError);
  CHECK((contents(*open_validation_crops(path, c, 0)) == contents(*one.valid)));
}

TEST_CASE("training data: without a validation fold whole movies are set aside, by the seed") {
  Scratch dir;
  const std::string path = dir.file("d.h5");
  write_tiny_dataset(path, {{"train", 5}});
  TrainConfig c = config();
  c.training.valid_proportion = 0.4;
  const TrainingData d = open_training_data(path, c, 0);
  CHECK(d.train->size() == 6);
  CHECK(d.valid->size() == 4);
  CHECK(d.summary.find("validation on a share of 0.4 of the movies (no validation fold)") != std::string::npos);
  CHECK((contents(*open_validation_crops(path, c, 0)) == contents(*d.valid)));  // optimize sees the same
  std::set<std::multiset<std::vector<float>>> choices;
  for (c.seed = 1; c.seed < 20; ++c.seed) {
    const TrainingData other = open_training_data(path, c, 0);
    const auto train = contents(*other.train), valid = contents(*other.valid);
    for (const auto& crop : valid) CHECK(train.count(crop) == 0);
    choices.insert(valid);
  }
  CHECK(choices.size() > 3);
  write_tiny_dataset(dir.file("one.h5"), {{"train", 1}});
  CHECK(message_of<FileError>([&] { open_training_data(dir.file("one.h5"), c, 0); }) ==
        dir.file("one.h5") + ": has no validation fold, and group '/train' has 1 movies with events: too few to set some aside. Name "
                             "one with --valid-fold.");
}

TEST_CASE("training data: a fold that was asked for and is not there is an error, never replaced") {
  Scratch dir;
  const std::string path = dir.file("d.h5");
  write_tiny_dataset(path, {{"train", 3}, {"held", 1}});
  TrainConfig c = config();
  const std::string expected = path + ": no group 'helt'. Found: 'held', 'train'. Choose with --train-fold and --valid-fold.";
  c.training.valid_folds = {"helt"};
  CHECK(message_of<FileError>([&] { open_training_data(path, c, 0); }) == expected);
  CHECK(message_of<FileError>([&] { open_validation_crops(path, c, 0); }) == expected);
  c.training.valid_folds = {"held", "helt"};
  CHECK(message_of<FileError>([&] { open_training_data(path, c, 0); }) == expected);
  c.training.valid_folds = {"held"};
  CHECK(open_training_data(path, c, 0).valid->size() == 2);
  c.training.train_folds = {"helt"};
  CHECK(message_of<FileError>([&] { open_training_data(path, c, 0); }) == expected);
}

TEST_CASE("training data: a samples list chooses crops and needs one fold each") {
  Scratch dir;
  const std::string path = dir.file("d.h5");
  write_tiny_dataset(path, {{"train", 2}, {"valid", 1}});
  SampleLists lists;
  lists.train = {{"2", 1, {}}, {"1", -1, {0, 0, 0}}, {"1", 0, {}}};
  lists.valid = {{"1", 1, {}}};
  write_samples(dir.file("s.json"), {{"complete-1:4", lists}, {"complete-1:8", {lists.train, {}}}});
  TrainConfig c = config();
  c.training.samples_path = dir.file("s.json");
  c.training.samples_unlabeled = "4";
  const TrainingData d = open_training_data(path, c, 0);
  CHECK(d.train->size() == 3);
  CHECK(d.valid->size() == 1);
  CHECK(d.summary.find("samples 'complete-1:4' of " + dir.file("s.json")) != std::string::npos);
  c.training.samples_unlabeled = "8";
  CHECK(message_of<FileError>([&] { open_training_data(path, c, 0); }) == dir.file("s.json") + ": set 'complete-1:8' lists no crops for this fold.");
  c.training.train_folds = {"train", "valid"};
  CHECK(message_of<UsageError>([&] { open_training_data(path, c, 0); }) == "a samples list goes with one training and one validation fold.");
  CHECK(message_of<UsageError>([&] { open_training_data(dir.folder(), c, 0); }) ==
        dir.folder() + " is a folder of TIFF pairs; samples lists go with an HDF5 data set.");
  c.training.samples_path = "";
  CHECK(message_of<FileError>([&] { open_training_data(dir.folder(), c, 0); }) ==
        dir.folder() + ": is a folder, but has no folder 'source'. Give an HDF5 file, or a folder with 'source' and 'target'.");
}

// SPDX-License-Identifier: BSD-3-Clause
// Classes and weights of voxels from label volumes: codes, shells around events, event weights, propensities and priors of movies.

#include "common/label_rule.hpp"

#include <numeric>

#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "apps/tiny_dataset.hpp"
#include "catch.hpp"
#include "common/training_data.hpp"
#include "voxgrad/data/hdf5_dataset.hpp"
#include "voxgrad/data/loader.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

data::Crop applied(const PuConfig& c, const std::vector<double>& labels, const data::Extent3& size, const data::Box3& inside) {
  data::Crop crop;
  label_rule(c).apply(labels, size, inside, "d.h5: /train/1/label", crop);
  return crop;
}

/// Writes one movie of 6x6x6 with two events, ids 7 (2 voxels) and 9 (1 voxel), and what else is asked.
template <class More>
void write_movie(const std::string& path, More&& more) {
  io::H5Writer w(path);
  std::vector<float> input(216);
  std::iota(input.begin(), input.end(), 0.0f);
  std::vector<int32_t> label(216, 0);
  label[0] = label[1] = 7;
  label[215] = 9;
  w.write<float>("/train/1/input", {6, 6, 6}, input.data());
  w.write<int32_t>("/train/1/label", {6, 6, 6}, label.data());
  const std::vector<int64_t> events = {7, 0, 1, 0, 1, 0, 2, 9, 5, 6, 5, 6, 5, 6};
  w.write<int64_t>("/train/1/events", {2, 7}, events.data());
  more(w);
  w.commit();
}

std::string load_error(const std::string& path, bool propensity, const PuConfig& pu = {}) {
  return message_of<FileError>([&] {
    data::Hdf5Crops(std::make_shared<data::Hdf5Fold>(path, "train"), data::Hdf5CropOptions{6, 0, label_rule(pu), propensity}).crop(0);
  });
}

}  // namespace

TEST_CASE("label rule: none is needed for plain labels") { CHECK_FALSE(bool(label_rule(PuConfig()))); }

TEST_CASE("label rule: a shell around events is ignored, also that of events outside the crop") {
  PuConfig c;
  c.ignore_border = 1;
  // 1 x 5 x 5, an event at its corner and one in the middle of an edge; the crop is the inner 1 x 3 x 3.
  std::vector<double> labels(25, 0);
  labels[0] = 4;
  labels[14] = 6;
  const data::Crop crop = applied(c, labels, {1, 5, 5}, {{0, 1, 1}, {1, 4, 4}});
  CHECK(crop.target == std::vector<uint8_t>{255, 0, 255, 0, 0, 255, 0, 0, 255});
  CHECK(crop.weight.empty());
  CHECK(label_rule(c).margin == 1);
  c.ignore_border = 2;
  CHECK(applied(c, labels, {1, 5, 5}, {{0, 1, 1}, {1, 4, 4}}).target == std::vector<uint8_t>{255, 255, 255, 255, 255, 255, 0, 255, 255});
  c.ignore_border = 1;  // the event itself stays
  CHECK(applied(c, {0, 0, 3, 0, 0}, {5, 1, 1}, {{0, 0, 0}, {5, 1, 1}}).target == std::vector<uint8_t>{0, 255, 1, 255, 0});
}

TEST_CASE("label rule: codes are taken as they are, others are refused with their place") {
  PuConfig c;
  c.labels = "codes";
  c.ignore_border = 1;
  const data::Box3 all{{0, 0, 0}, {1, 1, 6}};
  CHECK(applied(c, {0, 255, 2, 1, 0, 0}, {1, 1, 6}, all).target == std::vector<uint8_t>{0, 255, 2, 1, 255, 0});  // a known negative stays one
  CHECK(message_of<FileError>([&] { applied(c, {0, 0, 0, 0, 3, 0}, {1, 2, 3}, {{0, 0, 0}, {1, 2, 3}}); }) ==
        "d.h5: /train/1/label: holds the label 3 (at 0, 1, 1 of a crop), but pu.labels is codes: 0 unlabeled, 1 positive, 2 known negative, "
        "255 ignored.");
  CHECK_THROWS_AS(applied(c, {0, 0.5, 0, 0, 0, 0}, {1, 1, 6}, all), FileError);
  CHECK_THROWS_AS(applied(c, {0, NAN, 0, 0, 0, 0}, {1, 1, 6}, all), FileError);
  c.labels = "instances";
  CHECK(message_of<FileError>([&] { applied(c, {0, -1, 0, 0, 0, 0}, {1, 1, 6}, all); }) ==
        "d.h5: /train/1/label: holds the label -1 (at 0, 0, 1 of a crop), expected 0 where nothing is labelled, above 0 in events.");
}

TEST_CASE("label rule: events of any size weigh the same") {
  PuConfig c;
  c.balance_events = true;
  // Number 1 in two pieces is two events; 1 and 2 touch and are two; diagonals connect.
  const data::Crop crop = applied(c, {1, 0, 0, 1, 2,  //
                                      1, 0, 0, 1, 2,  //
                                      0, 1, 0, 0, 0}, {1, 3, 5}, {{0, 0, 0}, {1, 3, 5}});
  const float third = 1.0f / 3, half = 0.5f;
  CHECK(crop.weight == std::vector<float>{third, 1, 1, half, half, third, 1, 1, half, half, 1, third, 1, 1, 1});
  CHECK(crop.target == std::vector<uint8_t>{1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0});
}

TEST_CASE("label rule: from movies through crops into batches, with propensities and priors") {
  Scratch dir;
  const std::vector<double> by_event = {0.25, 0.5}, prior = {0.125};
  write_movie(dir.file("d.h5"), [&](io::H5Writer& w) {
    w.write<double>("/train/1/propensity", {2}, by_event.data());
    w.write<double>("/train/1/prior", {1}, prior.data());
  });
  PuConfig pu;
  pu.ignore_border = 1;
  pu.balance_events = true;
  const auto fold = std::make_shared<data::Hdf5Fold>(dir.file("d.h5"), "train");
  const auto crops = std::make_shared<data::Hdf5Crops>(fold, data::Hdf5CropOptions{6, 0, label_rule(pu), true});
  REQUIRE(crops->size() == 2);
  CHECK(crops->prior(0) == 0.125);
  const auto first = crops->crop(0);  // the box of row 0 is cut by the border and mirrored up to 6
  CHECK(first->target[0] == 1);
  CHECK(first->target[2] == 255);
  CHECK(first->weight[0] == 0.5f);
  CHECK(first->propensity[0] == 0.25f);
  CHECK(first->propensity[2] == 1);
  data::Loader loader(crops, {.batch = 2, .patch = {6, 6, 6}, .shuffle = false, .augment = false, .augmentation = {}});
  data::Batch batch;
  loader.next(batch);
  CHECK(batch.weight.size() == 432);
  CHECK(batch.propensity[0] == 0.25f);
  CHECK(std::count(batch.target.begin(), batch.target.end(), 255.0f) > 0);
  // One number per voxel instead.
  std::vector<float> voxels(216, 0.0f);
  voxels[0] = 0.75f, voxels[1] = 0.5f, voxels[215] = 1;
  write_movie(dir.file("v.h5"), [&](io::H5Writer& w) { w.write<float>("/train/1/propensity", {6, 6, 6}, voxels.data()); });
  const data::Hdf5Crops by_voxel(std::make_shared<data::Hdf5Fold>(dir.file("v.h5"), "train"), data::Hdf5CropOptions{6, 0, {}, true});
  CHECK(by_voxel.crop(0)->propensity[0] == 0.75f);
  CHECK(by_voxel.crop(0)->propensity[5] == 1);
  CHECK(by_voxel.prior(0) == 0);
}

TEST_CASE("label rule: data that does not hold what is asked is refused by name") {
  Scratch dir;
  const std::string p = dir.file("d.h5");
  write_movie(p, [](io::H5Writer&) {});
  CHECK(load_error(p, true).rfind(p + ": no data set /train/1/propensity. The loss needs the propensity of labelled voxels", 0) == 0);
  const std::vector<double> three = {0.1, 0.2, 0.3}, zero = {0, 0.5}, big = {1.5};
  write_movie(dir.file("3.h5"), [&](io::H5Writer& w) { w.write<double>("/train/1/propensity", {3}, three.data()); });
  CHECK(load_error(dir.file("3.h5"), true) ==
        dir.file("3.h5") + ": /train/1/propensity is [3] (expected [6,6,6], or [2] with one per row of events).");
  write_movie(dir.file("0.h5"), [&](io::H5Writer& w) { w.write<double>("/train/1/propensity", {2}, zero.data()); });
  CHECK(load_error(dir.file("0.h5"), true) ==
        dir.file("0.h5") + ": /train/1/propensity holds 0 for a labelled voxel (expected above 0, at most 1).");
  write_movie(dir.file("b.h5"), [&](io::H5Writer& w) { w.write<double>("/train/1/prior", {1}, big.data()); });
  CHECK(load_error(dir.file("b.h5"), false) == dir.file("b.h5") + ": /train/1/prior holds 1.5 (expected one number between 0 and 1).");
  PuConfig codes;
  codes.labels = "codes";
  CHECK(load_error(p, false, codes).rfind(p + ": /train/1/label: holds the label 7 (at 0, 0, 0 of a crop), but pu.labels is codes", 0) == 0);
}

TEST_CASE("label rule: negative labels are refused without a rule, too") {
  Scratch dir;
  io::H5Writer w(dir.file("n.h5"));
  const std::vector<float> input(64, 0.0f);
  const std::vector<int16_t> label(64, -3);
  const std::vector<int64_t> events = {1, 0, 2, 0, 2, 0, 2};
  w.write<float>("/train/1/input", {4, 4, 4}, input.data());
  w.write<int16_t>("/train/1/label", {4, 4, 4}, label.data());
  w.write<int64_t>("/train/1/events", {1, 7}, events.data());
  w.commit();
  CHECK(load_error(dir.file("n.h5"), false) ==
        dir.file("n.h5") + ": /train/1/label holds the label -3 (expected 0 where nothing is labelled, above 0 in events).");
}

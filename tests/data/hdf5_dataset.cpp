// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/data/hdf5_dataset.hpp"

#include <filesystem>
#include <limits>

#include "catch.hpp"
#include "voxgrad/io/hdf5_write.hpp"

namespace fs = std::filesystem;
using namespace voxgrad;
using namespace voxgrad::data;

namespace {

struct TempFile {
  std::string path = (fs::temp_directory_path() / text("voxgrad_dataset_", ::getpid(), ".h5")).string();
  ~TempFile() { fs::remove(path); }
};

constexpr Extent3 extent{80, 70, 90};

float voxel(int64_t t, int64_t y, int64_t x) { return float(t * 10000 + y * 100 + x); }

void write_movie(io::H5Writer& w, const std::string& group, const std::vector<int64_t>& events,
                 const std::vector<int64_t>& label_shape = {80, 70, 90}) {
  std::vector<float> input;
  std::vector<uint16_t> label;
  for (int64_t t = 0; t < extent[0]; ++t)
    for (int64_t y = 0; y < extent[1]; ++y)
      for (int64_t x = 0; x < extent[2]; ++x) {
        input.push_back(voxel(t, y, x));
        label.push_back(x == 20 ? 256 : x == 21 ? 57 : 0);  // 256 would wrap to 0 in 8 bits
      }
  label.resize(size_t(label_shape[0] * label_shape[1] * label_shape[2]));
  w.write<float>(group + "/input", {80, 70, 90}, input.data(), {{20, 35, 45}, 1});
  w.write<uint16_t>(group + "/label", label_shape, label.data(), {{20, 35, 45}, 1});
  w.write<int64_t>(group + "/events", {int64_t(events.size()) / 7, 7}, events.data());
}

const std::vector<int64_t> two_events{1, 38, 42, 33, 35, 40, 42, 2, 2, 4, 60, 66, 80, 84};

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::shared_ptr<const Hdf5Fold> open(const std::string& path, const std::string& fold = "train") {
  return std::make_shared<const Hdf5Fold>(path, fold);
}

}  // namespace

TEST_CASE("data set: movies in number order, events, blocks") {
  TempFile f;
  {
    io::H5Writer w(f.path);
    for (const char* name : {"10", "2", "1", "extra"}) write_movie(w, text("/train/", name), two_events);
    w.commit();
  }
  const auto fold = open(f.path);
  std::vector<std::string> names;
  for (const MovieEntry& m : fold->movies()) names.push_back(m.name);
  CHECK(names == std::vector<std::string>{"1", "2", "10", "extra"});
  const MovieEntry& m = fold->movies()[2];
  CHECK(m.extent == extent);
  CHECK(m.events.size() == 2);
  CHECK(m.events[1].centre() == Extent3{3, 63, 82});
  std::vector<float> block(2 * 70 * 90);
  fold->read_input(m, 50, 2, block.data());
  CHECK(block[0] == voxel(50, 0, 0));
  CHECK(block.back() == voxel(51, 69, 89));
  std::vector<int32_t> ids(70 * 90);
  fold->read_label_ids(m, 0, 1, ids.data());
  CHECK(ids[20] == 256);
  CHECK(ids[21] == 57);
}

TEST_CASE("data set: numbers of events in floating point are whole, or named") {
  TempFile f;
  const std::vector<float> input(8, 0), whole{0, 1, 2, 0, 0, 70000, 0, 0}, half{0, 1, 0, 0, 0, 0.5f, 0, 0},
      none{0, 1, 0, 0, 0, std::numeric_limits<float>::quiet_NaN(), 0, 0};
  {
    io::H5Writer w(f.path);
    for (const auto& [name, label] : {std::pair("whole", &whole), {"half", &half}, {"none", &none}}) {
      w.write<float>(text("/train/", name, "/input"), {2, 2, 2}, input.data());
      w.write<float>(text("/train/", name, "/label"), {2, 2, 2}, label->data());
      w.write<int64_t>(text("/train/", name, "/events"), {1, 7}, std::vector<int64_t>{1, 0, 1, 0, 1, 0, 1}.data());
    }
    w.commit();
  }
  const std::shared_ptr<const Hdf5Fold> fold = open(f.path);
  std::vector<int32_t> ids(8);
  for (const MovieEntry& m : fold->movies()) {
    INFO(m.name);
    if (m.name == "whole") {
      fold->read_label_ids(m, 0, 2, ids.data());
      CHECK(ids == std::vector<int32_t>{0, 1, 2, 0, 0, 70000, 0, 0});
    } else {
      CHECK(message_of([&] { fold->read_label_ids(m, 0, 2, ids.data()); }) ==
            text(f.path, ": /train/", m.name, "/label holds the label ", m.name == "half" ? "0.5" : "nan", " (expected whole numbers, one for each event)."));
    }
  }
}

TEST_CASE("data set: event crops, border crops and unlabelled crops of whole movies") {
  TempFile f;
  {
    io::H5Writer w(f.path);
    write_movie(w, "/train/7", two_events);
    w.commit();
  }
  const Hdf5Crops all(open(f.path));
  REQUIRE(all.size() == 2);
  const auto a = all.crop(0);  // centre (40,34,41): 8.., 2.., 9..
  CHECK(a->input[0] == voxel(8, 2, 9));
  CHECK(a->input.back() == voxel(71, 65, 72));
  CHECK(a->target[10] == 0);
  CHECK(a->target[11] == 1);   // id 256
  CHECK(a->target[12] == 1);   // id 57, as 1
  const auto b = all.crop(1);  // centre (3,63,82): t 0..35, y 31..70, x 50..90, padded at the end
  CHECK(b->input[0] == voxel(0, 31, 50));
  CHECK(b->input[39] == voxel(0, 31, 89));
  CHECK(b->input[40] == voxel(0, 31, 89));
  CHECK(b->input[41] == voxel(0, 31, 88));
  CHECK(b->input[size_t(39 * 64)] == voxel(0, 69, 50));
  CHECK(b->input[size_t(35 * 64 * 64)] == voxel(34, 31, 50));
  CHECK(all.cached_bytes() == 2 * 64 * 64 * 64 * 5);

  const Hdf5Crops list(open(f.path), {{"7", 1, {}}, {"7", -1, {10, 5, 20}}});
  CHECK(list.crop(0)->input == b->input);
  CHECK(list.crop(1)->input[0] == voxel(10, 5, 20));
  CHECK(list.crop(1)->target[0] == 1);
  CHECK((list.centred(0) && !list.centred(1)));
}

TEST_CASE("data set: cached crops are preferred, crops-only groups are read") {
  TempFile f;
  const std::vector<float> ones(8, 1.0f), twos(8, 2.0f), threes(8, 3.0f);
  const std::vector<uint8_t> mask{0, 1, 0, 3, 0, 0, 0, 1};
  const std::vector<float> float_mask{0, 1, 0, 0.5f, 0, 0, 0, 1};
  {
    io::H5Writer w(f.path);
    write_movie(w, "/train/1", two_events);
    w.write<float>("/train/1/cache-input/1", {2, 2, 2}, ones.data());
    w.write<uint8_t>("/train/1/cache-label/1", {2, 2, 2}, mask.data());
    w.write<float>("/train/1/cache-unlabeled-input/[1, 2, 3]", {2, 2, 2}, twos.data());
    w.write<uint8_t>("/train/1/cache-unlabeled-label/[1, 2, 3]", {2, 2, 2}, mask.data());
    for (const char* key : {"10", "9", "[4, 5, 6]"}) {
      w.write<float>(text("/train/2/input/", key), {2, 2, 2},
                     std::string(key) == "9" ? threes.data() : twos.data());
      w.write<float>(text("/train/2/label/", key), {2, 2, 2}, float_mask.data());
    }
    w.commit();
  }
  const Hdf5Crops list(open(f.path),
                       {{"1", 1, {}}, {"1", -1, {1, 2, 3}}, {"1", 0, {}}, {"2", -1, {4, 5, 6}}});
  CHECK(list.crop(0)->input[0] == 1);
  CHECK(list.crop(0)->target[64 + 1] == 1);  // 3 became 1
  CHECK(list.crop(0)->input.size() == 64 * 64 * 64);
  CHECK(list.crop(1)->input[0] == 2);
  CHECK(list.crop(2)->input[0] == voxel(8, 2, 9));  // not cached: cut from the movie
  CHECK(list.crop(3)->target[64 + 1] == 1);         // 0.5 is above 0
  CHECK((list.centred(0) && !list.centred(1) && list.centred(2) && !list.centred(3)));
  const Hdf5Crops all(open(f.path));
  REQUIRE(all.size() == 5);  // two events of movie 1, three stored crops of movie 2
  CHECK(all.crop(2)->input[0] == 3);
  CHECK((all.centred(0) && all.centred(2) && all.centred(3) && !all.centred(4)));  // 9, 10, [4, 5, 6]
}

TEST_CASE("data set: what does not fit is refused with names and shapes") {
  TempFile f;
  const auto broken = [&](auto&& fill) {
    io::H5Writer w(f.path);
    fill(w);
    w.commit();
  };
  const std::string p = f.path + ": ";
  broken([](io::H5Writer& w) {
    w.create_group("/training");
    w.create_group("/validation");
  });
  CHECK(message_of([&] { open(f.path); }) ==
        p + "no group 'train'. Found: 'training', 'validation'. Choose with --train-fold and --valid-fold.");
  CHECK(message_of([&] { open(f.path, "training"); }) == p + "group '/training' holds no movies.");

  broken([](io::H5Writer& w) { write_movie(w, "/train/12", two_events, {81, 70, 90}); });
  CHECK(
      message_of([&] { open(f.path); }) ==
      p + "/train/12/label is [81,70,90] but /train/12/input is [80,70,90]. Both must have the same shape.");

  broken([](io::H5Writer& w) {
    const float v[4] = {};
    w.write<float>("/train/3/input", {2, 2}, v);
    w.write<float>("/train/3/label", {2, 2}, v);
  });
  CHECK(message_of([&] { open(f.path); }) == p + "/train/3/input is [2,2] (expected a movie [T,H,W]).");

  broken([](io::H5Writer& w) {
    const float v[4] = {};
    w.write<float>("/train/3/inputs", {2, 2}, v);
  });
  CHECK(message_of([&] { open(f.path); }) == p + "/train/3 needs both 'input' and 'label'. Found: 'inputs'.");

  broken([](io::H5Writer& w) {
    const float v[4] = {};
    w.write<float>("/train/3", {2, 2}, v);
  });
  CHECK(message_of([&] { open(f.path); }) ==
        p + "/train/3 is not a group (expected one group per movie with input, label and events).");

  broken([](io::H5Writer& w) { write_movie(w, "/train/1", {1, 38, 42, 200, 300, 40, 42}); });
  CHECK(message_of([&] { open(f.path); }) == p + "row 0 of /train/1/events has its centre at [40, 250, 41], "
                                                 "outside of the movie [80,70,90]. Are the "
                                                 "columns id, t_min, t_max, y_min, y_max, x_min, x_max?");

  broken([](io::H5Writer& w) {
    write_movie(w, "/train/1", {});
    const int64_t row[6] = {};
    w.write<int64_t>("/train/2/events", {1, 6}, row);
    const float v[1] = {};
    w.write<float>("/train/2/input", {1, 1, 1}, v);
    w.write<float>("/train/2/label", {1, 1, 1}, v);
  });
  CHECK(message_of([&] { open(f.path); }) ==
        p + "/train/2/events is [1,6] (expected [M,7]: id, t_min, t_max, y_min, y_max, x_min, x_max).");

  broken([](io::H5Writer& w) { write_movie(w, "/train/1", {}); });
  CHECK(message_of([&] { Hdf5Crops c(open(f.path)); }) ==
        p + "group '/train' has movies but no events to train on. The 'events' tables are missing or empty.");
}

TEST_CASE("data set: samples that the file does not have, and bad crops, are refused") {
  TempFile f;
  const float nan[1] = {std::numeric_limits<float>::quiet_NaN()};
  const std::vector<float> big(65, 1.0f);
  {
    io::H5Writer w(f.path);
    write_movie(w, "/train/1", two_events);
    w.write<float>("/train/2/input/0", {1, 1, 1}, nan);
    w.write<float>("/train/2/label/0", {1, 1, 1}, big.data());
    w.write<float>("/train/2/input/1", {65, 1, 1}, big.data());
    w.write<float>("/train/2/label/1", {65, 1, 1}, big.data());
    w.write<float>("/train/2/input/2", {2, 1, 1}, big.data());
    w.write<float>("/train/2/label/2", {1, 2, 1}, big.data());
    w.commit();
  }
  const std::string p = f.path + ": ";
  const auto fold = open(f.path);
  const auto error = [&](Sample s) { return message_of([&] { Hdf5Crops(fold, {s}).crop(0); }); };
  CHECK(error({"77", 0, {}}) ==
        p + "the samples list names movie '77', which group '/train' (2 movies) does not have. "
            "Do list and data set belong together?");
  CHECK(error({"1", 2, {}}) == p + "the samples list asks for event row 2 of /train/1, which has 2 events.");
  CHECK(error({"1", -1, {80, 0, 0}}) ==
        p + "the samples list asks for a crop at [80, 0, 0] of /train/1, outside of the movie [80,70,90].");
  CHECK(error({"1", -1, {0, -1, 0}}) ==
        p + "the samples list asks for a crop at [0, -1, 0] of /train/1, outside of the movie [80,70,90].");
  CHECK(error({"2", 0, {}}) == p + "/train/2/input/0 holds NaN or infinity.");
  CHECK(error({"2", 1, {}}) ==
        p + "/train/2/input/1 is [65,1,1] (expected a crop of at most 64 voxels per axis).");
  CHECK(error({"2", 2, {}}) ==
        p + "/train/2/label/2 is [1,2,1] but /train/2/input/2 is [2,1,1]. Both must have the same shape.");
  CHECK(error({"2", 9, {}}) == p + "no data set '/train/2/input/9'.");
}

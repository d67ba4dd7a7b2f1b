// SPDX-License-Identifier: BSD-3-Clause
#include "common/tiff_pairs.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "catch.hpp"
#include "common/training_data.hpp"
#include "voxgrad/io/tiff.hpp"
#include "voxgrad/io/tiff_write.hpp"

namespace fs = std::filesystem;
using namespace voxgrad;
using namespace voxgrad::app;

namespace {

struct Folders {
  fs::path path = fs::temp_directory_path() / text("voxgrad_pairs_", ::getpid());
  std::string source = (path / "source").string(), target = (path / "target").string();
  Folders() {
    fs::create_directories(source);
    fs::create_directories(target);
  }
  ~Folders() { fs::remove_all(path); }
};

template <class T>
void write(const std::string& folder, const std::string& name, const data::Extent3& e, io::SampleType type,
           T start) {
  io::TiffWriter w((fs::path(folder) / name).string(), e, type);
  std::vector<T> frame(std::size_t(e[1] * e[2]));
  T v = start;
  for (std::int64_t t = 0; t < e[0]; ++t) {
    for (T& x : frame) x = v++;
    w.write(frame.data());
  }
  w.close();
}

void write_pair(const Folders& f, const std::string& name, const data::Extent3& e) {
  write<float>(f.source, name, e, io::SampleType::f32, 0.5f);
  write<std::uint8_t>(f.target, name, e, io::SampleType::u8, std::uint8_t(255));  // 255, 0, 1, 2, ...
}

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

bool contains(const std::string& all, const std::string& part) { return all.find(part) != std::string::npos; }

}  // namespace

TEST_CASE(
    "TIFF pairs: small crops are padded at the end, large ones cut around the middle, masks are 0 or 1") {
  Folders f;
  write_pair(f, "small.tif", {2, 3, 2});
  write_pair(f, "large.tif", {8, 6, 4});
  const TiffPairs pairs(f.source, f.target, {"small.tif", "large.tif"}, 4, 1 << 20);
  const auto small = pairs.crop(0), large = pairs.crop(1);
  CHECK(small->input.size() == 64);
  CHECK(std::vector<float>(small->input.begin(), small->input.begin() + 4) ==
        std::vector<float>{0.5f, 1.5f, 1.5f, 0.5f});
  CHECK(small->target[0] == 1);                            // 255
  CHECK(small->target[1] == 0);                            // 0
  CHECK(small->target[4] == 1);                            // 1
  CHECK(large->input[0] == float(2 * 24 + 1 * 4) + 0.5f);  // frame 2, row 1, column 0
}

TEST_CASE("TIFF pairs: a seeded split by files, every pair once") {
  Folders f;
  for (int i = 0; i < 10; ++i) write_pair(f, text("crop", i, ".tif"), {4, 4, 4});
  const TiffPairSplit a = open_tiff_pairs(f.source, f.target, 4, 0.2, 1, 0),
                      b = open_tiff_pairs(f.source, f.target, 4, 0.2, 1, 0);
  CHECK(a.valid->size() == 2);
  CHECK(a.train->size() == 8);
  CHECK(a.valid->names() == b.valid->names());
  std::set<std::string> all(a.valid->names().begin(), a.valid->names().end());
  all.insert(a.train->names().begin(), a.train->names().end());
  CHECK(all.size() == 10);
  CHECK(open_tiff_pairs(f.source, f.target, 4, 0.01, 1, 0).valid->size() == 1);
  std::set<std::vector<std::string>> draws;
  for (std::uint64_t seed = 0; seed < 5; ++seed)
    draws.insert(open_tiff_pairs(f.source, f.target, 4, 0.2, seed, 0).valid->names());
  CHECK(draws.size() > 1);
}

TEST_CASE("TIFF pairs: what does not fit is named") {
  Folders f;
  CHECK(message_of([&] { open_tiff_pairs(f.source, f.target, 4, 0.2, 1, 0); }) ==
        f.source + ": holds no TIFF files.");
  write_pair(f, "a.tif", {4, 4, 4});
  CHECK(contains(message_of([&] { open_tiff_pairs(f.source, f.target, 4, 0.2, 1, 0); }),
                 "at least two are needed"));
  write<float>(f.source, "b.tif", {4, 4, 4}, io::SampleType::f32, 0.5f);
  CHECK(message_of([&] { open_tiff_pairs(f.source, f.target, 4, 0.2, 1, 0); }) ==
        f.source + ": files without a mask of the same name in " + f.target + ": 1 (b.tif).");
  write<std::uint8_t>(f.target, "b.tif", {4, 4, 5}, io::SampleType::u8, std::uint8_t(0));
  CHECK(contains(message_of([&] { open_tiff_pairs(f.source, f.target, 4, 0.2, 1, 0); }),
                 "b.tif is [4,4,5] but "));
  write<std::uint8_t>(f.target, "c.tif", {4, 4, 4}, io::SampleType::u8, std::uint8_t(0));
  CHECK(message_of([&] { open_tiff_pairs(f.source, f.target, 4, 0.2, 1, 0); }) ==
        f.target + ": masks without a file of the same name in " + f.source + ": 1 (c.tif).");
  write<std::uint8_t>(f.target, "b.tif", {4, 4, 4}, io::SampleType::u8, std::uint8_t(0));
  std::ofstream(f.source + "/c.tif") << "no TIFF";
  CHECK(contains(message_of([&] { open_tiff_pairs(f.source, f.target, 4, 0.2, 1, 0); }), "c.tif"));
  CHECK(contains(message_of([&] { open_tiff_pairs(f.source + "x", f.target, 4, 0.2, 1, 0); }),
                 "cannot be read as a folder"));
}

TEST_CASE("TIFF pairs: a folder with source and target is a data set for training") {
  Folders f;
  for (int i = 0; i < 5; ++i) write_pair(f, text("crop", i, ".tif"), {4, 4, 4});
  TrainConfig config;
  config.training.crop_size = 4;
  config.training.valid_proportion = 0.4;
  const TrainingData data = open_training_data(f.path.string(), config, 1 << 20);
  CHECK(data.train->size() == 3);
  CHECK(data.valid->size() == 2);
  CHECK(open_validation_crops(f.path.string(), config, 1 << 20)->size() == 2);
  CHECK(contains(message_of([&] { open_training_data(f.source, config, 0); }),
                 "is a folder, but has no folder 'source'"));
  config.training.samples_path = "list.json";
  CHECK(contains(message_of([&] { open_training_data(f.path.string(), config, 0); }),
                 "samples lists go with an HDF5 data set"));
}

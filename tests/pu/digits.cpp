// SPDX-License-Identifier: BSD-3-Clause
// The reader of IDX files that the digits example comes with: MNIST's form, and files that are not it.

#include "digits_data.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "catch.hpp"

using namespace voxgrad;

namespace {

/// A folder with the four files of a tiny data set: 3 training and 2 test pictures of 2 x 4 pixels.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("voxgrad-digits-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
    for (const auto& [stem, count] : {std::pair("train", 3), {"t10k", 2}}) {
      std::string pixels;
      for (int i = 0; i < count * 8; ++i) pixels += char(i * 10);
      write(std::string(stem) + "-images-idx3-ubyte", header(0x0803, {count, 2, 4}) + pixels);
      write(std::string(stem) + "-labels-idx1-ubyte", header(0x0801, {count}) + std::string("\7\0\4", size_t(count)));
    }
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  /// Four bytes each, the highest first.
  static std::string header(int64_t magic, const std::vector<int64_t>& extents) {
    std::string bytes;
    std::vector<int64_t> words{magic};
    words.insert(words.end(), extents.begin(), extents.end());
    for (int64_t w : words)
      for (int shift : {24, 16, 8, 0}) bytes += char(w >> shift & 255);
    return bytes;
  }
  void write(const std::string& name, const std::string& bytes) const {
    std::FILE* file = std::fopen(file_of(name).c_str(), "wb");
    REQUIRE(file != nullptr);
    REQUIRE(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
    std::fclose(file);
  }
  void remove(const std::string& name) const { std::filesystem::remove(path_ / name); }
  std::string path() const { return path_.string(); }
  std::string file_of(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string refusal(const Folder& folder) {
  try {
    examples::read_digits(folder.path(), true);
  } catch (const FileError& e) {
    return e.what();
  }
  return "";
}

const std::string images = "train-images-idx3-ubyte", labels = "train-labels-idx1-ubyte";

}  // namespace

TEST_CASE("digits: IDX files as they come") {
  const Folder folder;
  const examples::Digits train = examples::read_digits(folder.path(), true), test = examples::read_digits(folder.path(), false);
  CHECK(train.size() == 3);
  CHECK(test.size() == 2);
  CHECK(train.pixels == 8);
  CHECK((train.digit == std::vector<uint8_t>{7, 0, 4}));
  REQUIRE(train.pictures.size() == 24);
  CHECK(train.pictures[0] == 0);
  CHECK(train.pictures[23] == 230 / 255.f);
}

TEST_CASE("digits: what is not such a file is named, with what was expected") {
  const Folder folder;
  const auto in_images = [&](const std::string& bytes) {
    folder.write(images, bytes);
    return refusal(folder);
  };
  const std::string at = folder.file_of(images) + ": ", good = Folder::header(0x0803, {3, 2, 4}) + std::string(24, 'x');
  CHECK(in_images(good).empty());
  CHECK(in_images(good.substr(0, good.size() - 1)) == at + "has 39 bytes (expected 40). Was it cut short, or written to?");
  CHECK(in_images(good + "x") == at + "has 41 bytes (expected 40). Was it cut short, or written to?");
  CHECK(in_images(good.substr(0, 10)) == at + "ends within its header (10 bytes, expected at least 16).");
  CHECK(in_images("") == at + "ends within its header (0 bytes, expected at least 16).");
  CHECK(in_images("\x1f\x8b\x08" + std::string(40, 'x')) == at + "is packed by gzip. Unpack it first: gunzip " + folder.file_of(images));
  CHECK(in_images(Folder::header(0x0801, {36}) + std::string(36, 'x')) ==
        at + "is no IDX file of bytes with 3 axes (starts with 0x00000801, expected 0x00000803).");
  CHECK(in_images(Folder::header(0x0D03, {3, 2, 4}) + std::string(96, 'x')) ==  // of floats
        at + "is no IDX file of bytes with 3 axes (starts with 0x00000d03, expected 0x00000803).");
  CHECK(in_images("<!DOCTYPE html><html></html>") == at + "is no IDX file of bytes with 3 axes (starts with 0x3c21444f, expected 0x00000803).");
  CHECK(in_images(Folder::header(0x0803, {3, 0, 4})) == at + "axis 1 has 0 values.");
  CHECK(in_images(Folder::header(0x0803, {1 << 20, 1 << 20, 4})) == at + "says that it holds 1048576 values, and has 16 bytes.");
  CHECK(in_images(Folder::header(0x0803, {4, 0xffffffff, 0xffffffff})) == at + "says that it holds 17179869180 values, and has 16 bytes.");
  CHECK(in_images(Folder::header(0x0803, {4, 2, 4}) + std::string(32, 'x')) == folder.path() + "/train-*: 4 pictures, 3 labels.");
  folder.write(images, good);
  folder.write(labels, Folder::header(0x0801, {3}) + std::string("\1\2", 2));
  CHECK(refusal(folder) == folder.file_of(labels) + ": has 10 bytes (expected 11). Was it cut short, or written to?");
  folder.remove(labels);
  CHECK(refusal(folder) == folder.file_of(labels) + ": cannot be opened. The folder needs the four IDX files, unpacked: " + images + ", " + labels +
                               ", t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte.");
}

TEST_CASE("digits: drawn ones are the same for a seed, and look alike within a digit") {
  const examples::Digits a = examples::draw_digits(200, 4), b = examples::draw_digits(200, 4), c = examples::draw_digits(200, 5);
  CHECK(a.pictures == b.pictures);
  CHECK(a.pictures != c.pictures);
  CHECK(a.pixels == 256);
  CHECK(a.pictures.size() == 200 * 256);
  CHECK(*std::max_element(a.digit.begin(), a.digit.end()) <= 9);
}

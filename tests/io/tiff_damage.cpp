// SPDX-License-Identifier: BSD-3-Clause
// TIFF files that lie: truncated anywhere, bytes flipped, circles, giant sizes. Only FileError is allowed.

#include <random>

#include "catch.hpp"
#include "tiff_make.hpp"
#include "voxgrad/io/tiff.hpp"

using namespace voxgrad;
using namespace voxgrad::io;

namespace {

/// Reads everything that opens; returns the message of a FileError, "" if the file was read. Other exceptions escape.
std::string read_all(const std::string& path, bool allow_truncated = false) {
  try {
    TiffOptions options;
    options.allow_single = true;
    options.allow_truncated = allow_truncated;
    TiffMovie movie(path, options);
    if (movie.info().channel == 0) return "several channels";
    std::vector<float> frame(size_t(movie.extent()[1] * movie.extent()[2]));
    for (int64_t t = 0; t < movie.extent()[0]; ++t) movie.read(t, t + 1, frame.data());
  } catch (const FileError& error) {
    return error.what();
  }
  return "";
}

test::PageStyle style_of(uint16_t compression, uint32_t tile) {
  test::PageStyle style;
  style.compression = compression;
  style.tile = tile;
  style.description = "ImageJ=1.53t\nimages=4\nframes=4\n";
  return style;
}

}  // namespace

TEST_CASE("TIFF: truncated at every byte: an error, or fewer frames if allowed", "[tiff]") {
  const test::TemporaryFolder folder;
  for (const char* mode : {"wl", "wb8"}) {
    test::make_tiff(folder / "whole.tif", style_of(COMPRESSION_NONE, 0), 4, mode);
    const std::vector<uint8_t> whole = test::file_bytes(folder / "whole.tif");
    CHECK(read_all(folder / "whole.tif").empty());
    size_t partly = 0;
    for (size_t n = 0; n + 1 < whole.size(); n += 3) {
      test::put_file(folder / "cut.tif", {whole.begin(), whole.begin() + std::ptrdiff_t(n)});
      INFO("cut at " << n << " of " << whole.size());
      CHECK(!read_all(folder / "cut.tif").empty());
      partly += read_all(folder / "cut.tif", true).empty();
    }
    CHECK(partly > 50);
  }
}

TEST_CASE("TIFF: a truncated copy says where it ends", "[tiff]") {
  const test::TemporaryFolder folder;
  test::make_tiff(folder / "whole.tif", style_of(COMPRESSION_NONE, 0), 4);
  std::vector<uint8_t> bytes = test::file_bytes(folder / "whole.tif");
  bytes.resize(bytes.size() - 100);
  test::put_file(folder / "cut.tif", bytes);
  CHECK(read_all(folder / "cut.tif") == (folder / "cut.tif") + ": the header promises 4 frames but the file ends in frame 4 (truncated copy?). Use --allow-truncated to work on the complete frames.");
  TiffOptions options;
  options.allow_truncated = true;
  CHECK(TiffMovie(folder / "cut.tif", options).extent()[0] == 3);
}

TEST_CASE("TIFF: random damage never ends in anything but FileError", "[tiff]") {
  const test::TemporaryFolder folder;
  std::mt19937 random(7);
  size_t refused = 0, tried = 0;
  for (const int compression : {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS})
    for (const uint32_t tile : {0u, 16u})
      for (const char* mode : {"wl", "wb", "wl8"}) {
        test::make_tiff(folder / "whole.tif", style_of(uint16_t(compression), tile), 4, mode);
        const std::vector<uint8_t> whole = test::file_bytes(folder / "whole.tif");
        for (int i = 0; i < 100; ++i, ++tried) {
          std::vector<uint8_t> bytes = whole;
          for (unsigned flips = 1 + random() % 4; flips > 0; --flips) bytes[random() % bytes.size()] = uint8_t(random());
          test::put_file(folder / "hurt.tif", bytes);
          refused += !read_all(folder / "hurt.tif").empty();
          read_all(folder / "hurt.tif", true);
        }
      }
  std::printf("%zu of %zu randomly damaged files were refused\n", refused, tried);
  CHECK(refused > 200);  // flips in pixel data cannot be noticed without compression
}

TEST_CASE("TIFF: circles and giant claims are refused before memory is taken", "[tiff]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "x.tif";
  std::vector<uint8_t> b = {'I', 'I', 42, 0, 8, 0, 0, 0};
  const auto number = [&](uint32_t v, int n) { for (int i = 0; i < n; ++i) b.push_back(uint8_t(v >> (8 * i))); };
  const auto directory = [&](uint32_t width, uint32_t height, uint32_t compression, uint32_t next) {
    b.resize(8);
    const std::vector<std::array<uint32_t, 2>> entries = {{256, width}, {257, height}, {258, 16}, {259, compression}, {262, 1}, {273, 8}, {277, 1}, {278, height}, {279, 64}};
    number(uint32_t(entries.size()), 2);
    for (const auto& [tag, value] : entries) {
      number(tag, 2);
      number(4, 2);
      number(1, 4);
      number(value, 4);
    }
    number(next, 4);
    test::put_file(path, b);
  };
  directory(4, 4, 1, 8);  // its own successor
  CHECK(read_all(path) == path + ": the file ends in frame 2 (truncated copy?). Use --allow-truncated to work on the complete frames.");
  directory(2000000000, 2000000000, 1, 0);
  CHECK(read_all(path).find("a page claims 2000000000x2000000000x1 samples of 16 bits, more than a file of 122 bytes can hold") != std::string::npos);
  directory(60000, 60000, 8, 0);
  CHECK(read_all(path).find("more than a file of 122 bytes can hold") != std::string::npos);
  directory(0, 4, 1, 0);
  CHECK(read_all(path).find(path + ": ") == 0);
  directory(4, 4, 65000, 0);
  CHECK(read_all(path).find("which the TIFF library of this machine cannot decode. Save it uncompressed") != std::string::npos);
}

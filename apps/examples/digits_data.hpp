// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Pictures of digits: IDX files, as MNIST and its relatives come in, or digits drawn by the program.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/core/random.hpp"

namespace examples {

/// Pictures of `pixels` values from 0 to 1, one after the other, and the digit of each.
struct Digits {
  int64_t pixels = 0;
  std::vector<float> pictures;
  std::vector<uint8_t> digit;
  int64_t size() const { return int64_t(digit.size()); }
};

inline std::string hexadecimal(uint32_t word) {
  char digits[11];
  std::snprintf(digits, sizeof digits, "0x%08x", word);
  return digits;
}

/// The bytes of an IDX file of unsigned bytes with so many axes; its extents are appended to `extent`. Errors: FileError says what was
/// expected and found.
inline std::vector<uint8_t> read_idx(const std::string& path, uint32_t axes, std::vector<int64_t>& extent) {
  using voxgrad::FileError;
  std::ifstream file(path, std::ios::binary);
  voxgrad::check<FileError>(bool(file), path, ": cannot be opened. The folder needs the four IDX files, unpacked: train-images-idx3-ubyte, ",
                            "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte.");
  const std::vector<uint8_t> all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto word = [&](size_t i) { return uint32_t(all[i]) << 24 | uint32_t(all[i + 1]) << 16 | uint32_t(all[i + 2]) << 8 | all[i + 3]; };
  const size_t start = 4 + 4 * size_t(axes);
  voxgrad::check<FileError>(all.size() < 2 || all[0] != 0x1f || all[1] != 0x8b, path, ": is packed by gzip. Unpack it first: gunzip ", path);
  voxgrad::check<FileError>(all.size() >= start, path, ": ends within its header (", all.size(), " bytes, expected at least ", start, ").");
  voxgrad::check<FileError>(word(0) == (0x0800u | axes), path, ": is no IDX file of bytes with ", axes, " axes (starts with ", hexadecimal(word(0)),
                            ", expected ", hexadecimal(0x0800u | axes), ").");
  int64_t count = 1;
  for (uint32_t a = 0; a < axes; ++a) {
    extent.push_back(word(4 + 4 * a));
    voxgrad::check<FileError>(extent.back() > 0, path, ": axis ", a, " has 0 values.");
    count *= extent.back();
    voxgrad::check<FileError>(count <= int64_t(all.size()), path, ": says that it holds ", count, " values, and has ", all.size(), " bytes.");
  }
  voxgrad::check<FileError>(all.size() == start + size_t(count), path, ": has ", all.size(), " bytes (expected ", start + size_t(count),
                            "). Was it cut short, or written to?");
  return {all.begin() + std::ptrdiff_t(start), all.end()};
}

/// train: train-images-idx3-ubyte and train-labels-idx1-ubyte of the folder, else t10k-...
inline Digits read_digits(const std::string& folder, bool train) {
  const std::string stem = folder + (train ? "/train" : "/t10k");
  std::vector<int64_t> extent, count;
  Digits d;
  const std::vector<uint8_t> bytes = read_idx(stem + "-images-idx3-ubyte", 3, extent);
  d.digit = read_idx(stem + "-labels-idx1-ubyte", 1, count);
  voxgrad::check<voxgrad::FileError>(extent[0] == count[0], stem, "-*: ", extent[0], " pictures, ", count[0], " labels.");
  d.pixels = extent[1] * extent[2];
  d.pictures.reserve(bytes.size());
  for (uint8_t b : bytes) d.pictures.push_back(float(b) / 255);
  return d;
}

/// Digits of seven strokes on 16 x 16 pixels, shifted, slanted, of changing width and light, with noise. No handwriting: it shows how risks
/// behave, not how well digits are read.
inline Digits draw_digits(int64_t count, uint64_t seed) {
  constexpr int edge = 16;
  // Strokes a to g as (y0, x0, y1, x1) in a box of 2 x 1, and which of them each digit has.
  constexpr double strokes[7][4] = {{0, 0, 0, 1}, {0, 1, 1, 1}, {1, 1, 2, 1}, {2, 0, 2, 1}, {1, 0, 2, 0}, {0, 0, 1, 0}, {1, 0, 1, 1}};
  constexpr uint8_t has[10] = {0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07, 0x7f, 0x6f};
  voxgrad::Random random(seed, 0x646967);
  Digits d;
  d.pixels = edge * edge;
  for (int64_t n = 0; n < count; ++n) {
    const auto digit = uint8_t(random.below(10));
    const double top = 2.5 + 1.5 * random.uniform(), side = 4.5 + 2 * random.uniform(), size = 4.4 + 0.8 * random.uniform();
    const double slant = 0.4 * (random.uniform() - 0.5), width = 0.6 + 0.5 * random.uniform(), light = 0.6 + 0.4 * random.uniform();
    std::array<double, edge * edge> picture{};
    for (int s = 0; s < 7; ++s) {
      if (!(has[digit] >> s & 1)) continue;
      for (int step = 0; step <= 16; ++step) {
        const double part = step / 16.0, y = strokes[s][0] + part * (strokes[s][2] - strokes[s][0]);
        const double x = strokes[s][1] + part * (strokes[s][3] - strokes[s][1]), at_y = top + size * y, at_x = side + size * (x + slant * (1 - y));
        const int y0 = std::max(0, int(at_y) - 2), x0 = std::max(0, int(at_x) - 2);
        for (int i = y0; i < std::min(edge, y0 + 6); ++i)
          for (int j = x0; j < std::min(edge, x0 + 6); ++j) {
            const double far = ((i - at_y) * (i - at_y) + (j - at_x) * (j - at_x)) / (width * width);
            picture[size_t(i * edge + j)] = std::max(picture[size_t(i * edge + j)], light * std::exp(-far));
          }
      }
    }
    for (double v : picture) d.pictures.push_back(float(v + 0.3 * random.normal()));
    d.digit.push_back(digit);
  }
  return d;
}

}  // namespace examples

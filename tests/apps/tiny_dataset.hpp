// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A data set in the published layout, small enough to be trained on in a second.

#include <string>
#include <vector>

#include "voxgrad/core/random.hpp"
#include "voxgrad/core/error.hpp"
#include "voxgrad/io/hdf5_write.hpp"

/// One movie of 24x20x22 with two bright blocks on noise, each an event.
inline void write_tiny_movie(voxgrad::io::H5Writer& w, const std::string& group, uint64_t seed) {
  voxgrad::Random random(seed);
  std::vector<float> input(24 * 20 * 22);
  std::vector<uint16_t> label(input.size());
  for (float& v : input) v = float(0.2 * random.uniform());
  std::vector<int64_t> events;
  for (int64_t e = 0; e < 2; ++e) {
    const int64_t t0 = 6 + 8 * e + random.below(3), y0 = 6 + random.below(5), x0 = 7 + random.below(4);
    for (int64_t t = t0; t < t0 + 4; ++t)
      for (int64_t y = y0; y < y0 + 4; ++y)
        for (int64_t x = x0; x < x0 + 5; ++x) {
          input[size_t((t * 20 + y) * 22 + x)] += 1;
          label[size_t((t * 20 + y) * 22 + x)] = uint16_t(e + 1);
        }
    for (const int64_t v : {e + 1, t0, t0 + 4, y0, y0 + 4, x0, x0 + 5}) events.push_back(v);
  }
  w.write<float>(group + "/input", {24, 20, 22}, input.data());
  w.write<uint16_t>(group + "/label", {24, 20, 22}, label.data());
  w.write<int64_t>(group + "/events", {2, 7}, events.data());
}

/// Folds with as many movies as given: {{"train", 3}, {"valid", 1}}.
inline void write_tiny_dataset(const std::string& path, const std::vector<std::pair<std::string, int>>& folds) {
  voxgrad::io::H5Writer w(path);
  uint64_t seed = 1;
  for (const auto& [fold, movies] : folds)
    for (int i = 1; i <= movies; ++i) write_tiny_movie(w, voxgrad::text("/", fold, "/", i), seed++);
  w.commit();
}

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The generator that tests and tests/golden/metrics/make_golden.py share, and small helpers of these tests.

#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/volume.hpp"

namespace metrics_test {

/// n draws of 16 bits.
inline std::vector<int64_t> draws(uint32_t seed, int64_t n) {
  std::vector<int64_t> out(static_cast<size_t>(n));
  uint32_t x = seed;
  for (int64_t& d : out) {
    x = 1664525u * x + 1013904223u;
    d = x >> 16;
  }
  return out;
}

/// A sparse random volume with values 1 to levels.
inline voxgrad::data::Volume<int32_t> random_values(const voxgrad::data::Extent3& e, uint32_t seed,
                                                    int64_t per_mille, int64_t levels = 1) {
  voxgrad::data::Volume<int32_t> v(e);
  const std::vector<int64_t> d = draws(seed, v.size());
  for (size_t i = 0; i < d.size(); ++i)
    v.voxels[i] = d[i] % 1000 < per_mille ? int32_t(1 + d[i] / 1000 % levels) : 0;
  return v;
}

inline std::ifstream golden(const std::string& name) {
  std::ifstream in(std::string(VOXGRAD_SOURCE_DIR) + "/tests/golden/metrics/" + name);
  voxgrad::check<voxgrad::FileError>(in.good(), "tests/golden/metrics/", name, ": cannot be read");
  std::string versions;
  std::getline(in, versions);
  return in;
}

inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const voxgrad::Error& e) {
    return e.what();
  }
  return "nothing thrown";
}

}  // namespace metrics_test

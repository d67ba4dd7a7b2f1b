// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Checkpoints of model folders, compared.

#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "voxgrad/io/safetensors.hpp"

/// ||a - b|| / ||b|| over all tensors of two folders' checkpoints, moments included.
inline double checkpoint_distance(const std::string& a, const std::string& b) {
  voxgrad::io::SafeTensors one(a + "/checkpoint.safetensors"), two(b + "/checkpoint.safetensors");
  REQUIRE(one.names() == two.names());
  double d = 0, size = 0;
  for (const std::string& name : one.names()) {
    const voxgrad::Tensor x = one.tensor(name), y = two.tensor(name);
    for (int64_t i = 0; i < x.size(); ++i) {
      const double u = x.span<float>()[size_t(i)], v = y.span<float>()[size_t(i)];
      d += (u - v) * (u - v);
      size += v * v;
    }
  }
  return std::sqrt(d / size);
}

/// An entry of a checkpoint's metadata, "" if it has none.
inline std::string checkpoint_meta(const std::string& folder, const std::string& key) {
  const auto m = voxgrad::io::SafeTensors(folder + "/checkpoint.safetensors").metadata();
  return m.count(key) ? m.at(key) : "";
}

inline void check_close(const std::vector<double>& a, const std::vector<double>& b, double epsilon) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) CHECK(a[i] == Approx(b[i]).epsilon(epsilon).margin(1e-6));
}

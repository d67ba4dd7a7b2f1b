// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Weights, buffers and inputs of the conformance network by formula, as tests/golden/make_unet.py makes them.

#include <cmath>
#include <fstream>
#include <sstream>

#include "voxgrad/models/unet3d.hpp"

namespace voxgrad::test {

inline bool ends_with(const std::string& s, const std::string& end) {
  return s.size() >= end.size() && s.compare(s.size() - end.size(), end.size(), end) == 0;
}

/// PyTorch's flat index of our weight element [kd,kh,kw,ci,co]: its order is (co,ci,k...), or (ci,co,k...) transposed.
inline int64_t torch_index(const Shape& s, bool transposed, int64_t ours) {
  const int64_t co = ours % s[4], ci = ours / s[4] % s[3], tap = ours / (s[4] * s[3]), taps = s[0] * s[1] * s[2];
  return (transposed ? ci * s[4] + co : co * s[3] + ci) * taps + tap;
}

inline void for_each_value(Tensor& t, const std::function<double(int64_t)>& value) {
  visit(t.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto e = t.mutable_span<T>();
    for (size_t i = 0; i < e.size(); ++i) e[i] = T(value(int64_t(i)));
  });
}

/// Parameter p, PyTorch's flat index j: s = sin(1 + 0.7 p + 0.37 j), scaled by the kind of parameter.
inline void fill_by_formula(nn::Module& net) {
  int p = 0, b = 0;
  for (const nn::Named& n : net.state()) {
    Tensor& t = *n.tensor;
    const auto wave = [p](int64_t j) { return std::sin(1 + 0.7 * p + 0.37 * double(j)); };
    if (n.learnable) {
      if (t.shape().rank() == 5) {
        const Shape s = t.shape();
        const double scale = 1.5 / std::sqrt(double(s.size() / s[4]));
        const bool transposed = ends_with(n.name, "upconv.weight");
        for_each_value(t, [&](int64_t i) { return scale * wave(torch_index(s, transposed, i)); });
      } else if (ends_with(n.name, "weight")) {
        for_each_value(t, [&](int64_t j) { return 1 + 0.1 * wave(j); });
      } else {
        for_each_value(t, [&](int64_t j) { return 0.05 * wave(j); });
      }
      ++p;
    } else if (ends_with(n.name, "running_mean")) {
      for_each_value(t, [b](int64_t c) { return 0.02 * std::sin(0.5 + double(c) + b); });
    } else if (ends_with(n.name, "running_var")) {
      for_each_value(t, [b](int64_t c) { return 2 + 0.5 * std::cos(0.25 + double(c) + b); });
      ++b;
    }
  }
}

inline Tensor& find(nn::Module& net, const std::string& name) {
  for (const nn::Named& n : net.state())
    if (n.name == name) return *n.tensor;
  throw Error("no tensor " + name);
}

inline double norm(const Tensor& t) {
  double sum = 0;
  visit(t.dtype(), [&](auto zero) {
    for (auto v : t.span<decltype(zero)>()) sum += double(v) * double(v);
  });
  return std::sqrt(sum);
}

inline double element(const Tensor& t, int64_t i) {
  return visit(t.dtype(), [&](auto zero) { return double(t.span<decltype(zero)>()[size_t(i)]); });
}

/// A line of unet/<name>.keys: name and PyTorch's extents.
struct Key {
  std::string name;
  std::vector<int64_t> extents;
};
inline std::vector<Key> read_keys(const std::string& path) {
  std::ifstream file(path);
  check<FileError>(file.good(), path, ": cannot be opened");
  std::vector<Key> keys;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    Key key;
    words >> key.name;
    for (int64_t e; words >> e;) key.extents.push_back(e);
    keys.push_back(std::move(key));
  }
  return keys;
}

/// Our extents in PyTorch's order.
inline std::vector<int64_t> torch_extents(const nn::Named& n) {
  const Shape& s = n.tensor->shape();
  if (s.rank() != 5) return {s.begin(), s.end()};
  if (ends_with(n.name, "upconv.weight")) return {s[3], s[4], s[0], s[1], s[2]};
  return {s[4], s[3], s[0], s[1], s[2]};
}

}  // namespace voxgrad::test

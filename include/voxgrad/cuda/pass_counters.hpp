// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How often the batch norms of a network were applied in training, as its state has it.

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace voxgrad::cuda {

/// Counters of training passes, which no kernel reads: all networks keep them on the host.
class PassCounters {
 public:
  explicit PassCounters(const std::vector<std::string>& names) {
    for (const std::string& name : names) values_.emplace_back(name, 0.0f);
  }
  /// True when `name` is a counter; its value is put or got.
  bool put(std::string_view name, std::span<const float> values) {
    float* const v = find(name, values.size());
    if (v) *v = values[0];
    return v != nullptr;
  }
  bool get(std::string_view name, std::span<float> values) {
    const float* const v = find(name, values.size());
    if (v) values[0] = *v;
    return v != nullptr;
  }
  void advance() {
    for (auto& [name, value] : values_) value += 1;
  }

 private:
  float* find(std::string_view name, size_t size) {
    for (auto& [known, value] : values_)
      if (known == name && size == 1) return &value;
    return nullptr;
  }
  std::vector<std::pair<std::string, float>> values_;
};

}  // namespace voxgrad::cuda

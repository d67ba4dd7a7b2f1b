// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A network's parameters on a device: f32 masters, gradients and optimiser moments, and the working copy in the precision
// of the activations, each one contiguous array in the same order, so that an optimiser step is one kernel. Weights lie as
// cuDNN wants them, [Co, taps, Ci], and are permuted when they come and go; buffers (running statistics) lie apart.

#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/engines.hpp"

namespace voxgrad::cuda {

/// How a parameter lies on the device. The engine's order is that of its tensors: [taps, Ci, Co] for both convolutions.
enum class WeightOrder : uint8_t {
  as_is,       ///< vectors, and the head's [Ci, Co]
  output_first,  ///< convolutions: [Co, taps, Ci]
  input_first    ///< transposed convolutions, which run as the gradient of a convolution: [Ci, taps, Co]
};

struct ParameterShape {
  std::string name;
  WeightOrder order = WeightOrder::as_is;
  int64_t taps = 1, Ci = 1, Co = 1;
  int64_t offset = 0;  ///< in elements
  int64_t size() const { return taps * Ci * Co; }
};

/// Copies weights between the engine's order [taps, Ci, Co] and the device's.
template <bool to_device>
void reorder(const ParameterShape& p, const float* from, float* to) {
  for (int64_t t = 0; t < p.taps; ++t)
    for (int64_t ci = 0; ci < p.Ci; ++ci)
      for (int64_t co = 0; co < p.Co; ++co) {
        const int64_t engine = (t * p.Ci + ci) * p.Co + co;
        const int64_t device = p.order == WeightOrder::output_first  ? (co * p.taps + t) * p.Ci + ci
                               : p.order == WeightOrder::input_first ? (ci * p.taps + t) * p.Co + co
                                                                     : engine;
        if constexpr (to_device) to[device] = from[engine];
        else to[engine] = from[device];
      }
}

/// Names, shapes and places; offsets are multiples of 8 elements, so that every parameter is 16-byte aligned in any type.
class ParameterTable {
 public:
  int add(std::string name, WeightOrder order, int64_t taps, int64_t Ci, int64_t Co) {
    all_.push_back({std::move(name), order, taps, Ci, Co, total_});
    total_ += (all_.back().size() + 7) / 8 * 8;
    return int(all_.size()) - 1;
  }
  int add_vector(std::string name, int64_t size) { return add(std::move(name), WeightOrder::as_is, 1, 1, size); }

  const ParameterShape& operator[](int i) const { return all_[size_t(i)]; }
  const std::vector<ParameterShape>& all() const { return all_; }
  int64_t total() const { return total_; }
  /// The index of a name, or -1.
  int find(std::string_view name) const {
    for (size_t i = 0; i < all_.size(); ++i)
      if (all_[i].name == name) return int(i);
    return -1;
  }

 private:
  std::vector<ParameterShape> all_;
  int64_t total_ = 0;
};

template <class Device, class E>
class Parameters {
 public:
  /// `moments`: arrays that the optimiser keeps, 0 to 2; without gradients the arrays exist for forward passes only.
  Parameters(Device& device, ParameterTable learnable, ParameterTable buffers, bool gradients, int moments)
      : device_(device), learnable_(std::move(learnable)), buffers_(std::move(buffers)) {
    const auto n = size_t(learnable_.total());
    value_ = take(n);
    if (gradients) gradient_ = take(n);
    if (moments > 0) moment_[0] = take(n);
    if (moments > 1) moment_[1] = take(n);
    if constexpr (!std::is_same_v<E, float>) {
      working_ = static_cast<E*>(device_.allocate(padded(n * sizeof(E))));
      owned_.push_back(working_);
      device_.clear(working_, n * sizeof(E));
    }
    buffer_ = take(size_t(buffers_.total()));
  }
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;
  ~Parameters() {
    for (void* p : owned_) device_.release(p);
  }

  const ParameterTable& learnable() const { return learnable_; }
  const ParameterTable& buffers() const { return buffers_; }

  float* value(int i) const { return value_ + learnable_[i].offset; }
  float* gradient(int i) const { return gradient_ + learnable_[i].offset; }
  E* working(int i) const {
    if constexpr (std::is_same_v<E, float>) return value(i);
    else return working_ + learnable_[i].offset;
  }
  float* buffer(int i) const { return buffer_ + buffers_[i].offset; }

  // Whole arrays, of learnable().total() elements.
  float* values() const { return value_; }
  float* gradients() const { return gradient_; }
  float* moments(int i) const { return moment_[i]; }
  E* workings() const { return working_; }

  /// Copies a tensor of the engine to or from the device. The name must be known and the sizes equal.
  void upload(std::string_view name, std::span<const float> values, Part part = Part::value) {
    const auto [shape, to] = place(name, values.size(), part);
    std::vector<float> ordered(values.size());
    reorder<true>(*shape, values.data(), ordered.data());
    device_.upload(to, ordered.data(), ordered.size() * sizeof(float));
    if constexpr (!std::is_same_v<E, float>) {
      if (part == Part::value && learnable_.find(name) >= 0) {
        std::vector<E> rounded(ordered.size());
        for (size_t i = 0; i < ordered.size(); ++i) rounded[i] = E(ordered[i]);
        device_.upload(working_ + shape->offset, rounded.data(), rounded.size() * sizeof(E));
      }
    }
  }
  void download(std::string_view name, std::span<float> values, Part part = Part::value) const {
    const auto [shape, from] = place(name, values.size(), part);
    std::vector<float> ordered(values.size());
    device_.download(ordered.data(), from, ordered.size() * sizeof(float));
    reorder<false>(*shape, ordered.data(), values.data());
  }

  size_t bytes() const { return bytes_; }

 private:
  static size_t padded(size_t bytes) { return std::max(bytes, size_t(256)); }
  float* take(size_t n) {
    auto* const p = static_cast<float*>(device_.allocate(padded(n * sizeof(float))));
    owned_.push_back(p);
    device_.clear(p, n * sizeof(float));
    bytes_ += n * sizeof(float);
    return p;
  }
  std::pair<const ParameterShape*, float*> place(std::string_view name, size_t size, Part part) const {
    const int i = learnable_.find(name), b = i < 0 ? buffers_.find(name) : -1;
    check(i >= 0 || (b >= 0 && part == Part::value), "the device has no parameter '", name, "'");
    const ParameterShape& shape = i >= 0 ? learnable_[i] : buffers_[b];
    check<ShapeError>(int64_t(size) == shape.size(), "parameter '", name, "' has ", shape.size(), " values on the device, got ", size);
    float* const array = b >= 0 ? buffer_ : part == Part::value ? value_ : part == Part::gradient ? gradient_ : moment_[part == Part::second_moment];
    check(array != nullptr, "the device keeps no such array of '", name, "'");
    return {&shape, array + shape.offset};
  }

  Device& device_;
  ParameterTable learnable_, buffers_;
  std::vector<void*> owned_;
  float *value_ = nullptr, *gradient_ = nullptr, *moment_[2] = {}, *buffer_ = nullptr;
  E* working_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace voxgrad::cuda

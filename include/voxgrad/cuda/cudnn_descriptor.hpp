// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Owner of a cuDNN backend descriptor. The type of a value picks the attribute type; every status is checked.

#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "voxgrad/cuda/cudnn_library.hpp"

namespace voxgrad::cuda {

/// The attribute type under which cuDNN stores a T.
template <class T>
constexpr cudnn::AttributeType cudnn_type() {
  if constexpr (std::is_same_v<T, cudnn::Handle>) return cudnn::TYPE_HANDLE;
  else if constexpr (std::is_same_v<T, cudnn::DataType>) return cudnn::TYPE_DATA_TYPE;
  else if constexpr (std::is_same_v<T, bool>) return cudnn::TYPE_BOOLEAN;
  else if constexpr (std::is_same_v<T, int64_t>) return cudnn::TYPE_INT64;
  else if constexpr (std::is_same_v<T, float>) return cudnn::TYPE_FLOAT;
  else if constexpr (std::is_same_v<T, double>) return cudnn::TYPE_DOUBLE;
  else if constexpr (std::is_same_v<T, cudnn::ConvolutionMode>) return cudnn::TYPE_CONVOLUTION_MODE;
  else if constexpr (std::is_same_v<T, cudnn::HeurMode>) return cudnn::TYPE_HEUR_MODE;
  else if constexpr (std::is_same_v<T, cudnn::NumericalNote>) return cudnn::TYPE_NUMERICAL_NOTE;
  else if constexpr (std::is_same_v<T, cudnn::PointwiseMode>) return cudnn::TYPE_POINTWISE_MODE;
  else if constexpr (std::is_same_v<T, cudnn::BehaviorNote>) return cudnn::TYPE_BEHAVIOR_NOTE;
  else if constexpr (std::is_same_v<T, int32_t>) return cudnn::TYPE_INT32;
  else if constexpr (std::is_same_v<T, char>) return cudnn::TYPE_CHAR;
  else if constexpr (std::is_same_v<T, void*>) return cudnn::TYPE_VOID_PTR;  // data; descriptors have calls of their own
  else static_assert(sizeof(T) == 0, "no attribute type of cuDNN");
}

class Desc {
 public:
  Desc() = default;
  Desc(const CudnnLibrary& library, cudnn::DescriptorType type) : library_(&library), type_(type) {
    fail_unless(library.cudnnBackendCreateDescriptor(type, &raw_), "cudnnBackendCreateDescriptor", "");
  }
  Desc(Desc&& other) noexcept
      : library_(other.library_), type_(other.type_), raw_(std::exchange(other.raw_, nullptr)) {}
  Desc& operator=(Desc&& other) noexcept {
    std::swap(library_, other.library_);
    std::swap(type_, other.type_);
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Desc() {
    if (raw_ != nullptr) library_->cudnnBackendDestroyDescriptor(raw_);  // a status here helps nobody
  }

  cudnn::Descriptor raw() const { return raw_; }
  const CudnnLibrary& library() const { return *library_; }

  template <class T>
  void set(cudnn::Attribute name, std::span<const T> values) {
    set_raw(name, cudnn_type<T>(), int64_t(values.size()), values.data());
  }
  template <class T>
    requires(!std::is_same_v<T, Desc>)
  void set(cudnn::Attribute name, const T& value) {
    set(name, std::span<const T>(&value, 1));
  }
  void set(cudnn::Attribute name, const Desc& value) { set_raw(name, cudnn::TYPE_BACKEND_DESCRIPTOR, 1, &value.raw_); }
  void set_all(cudnn::Attribute name, std::span<const cudnn::Descriptor> values) {
    set_raw(name, cudnn::TYPE_BACKEND_DESCRIPTOR, int64_t(values.size()), values.data());
  }

  /// At most `most` values; with 0, as many as there are.
  template <class T>
  std::vector<T> get(cudnn::Attribute name, int64_t most = 0) const {
    int64_t count = 0;
    if (most == 0) {
      get_raw(name, cudnn_type<T>(), 0, &count, nullptr);
      most = count;
    }
    std::vector<T> values(std::size_t(most), T{});
    get_raw(name, cudnn_type<T>(), most, &count, values.data());
    values.resize(std::size_t(count < most ? count : most));
    return values;
  }
  template <class T>
  T get_one(cudnn::Attribute name) const {
    const std::vector<T> values = get<T>(name, 1);
    check<DeviceError>(values.size() == 1, "cudnnBackendGetAttribute(", type_, ", ", name, "): no value");
    return values[0];
  }
  /// Fills a descriptor that was created for it.
  void get(cudnn::Attribute name, Desc& value) const {
    int64_t count = 0;
    get_raw(name, cudnn::TYPE_BACKEND_DESCRIPTOR, 1, &count, &value.raw_);
    check<DeviceError>(count == 1, "cudnnBackendGetAttribute(", type_, ", ", name, "): no descriptor");
  }
  int64_t count_descriptors(cudnn::Attribute name) const {
    int64_t count = 0;
    get_raw(name, cudnn::TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr);
    return count;
  }
  /// Fills the first of `values`, created for it, and returns how many.
  int64_t get_all(cudnn::Attribute name, std::span<cudnn::Descriptor> values) const {
    int64_t count = 0;
    get_raw(name, cudnn::TYPE_BACKEND_DESCRIPTOR, int64_t(values.size()), &count, values.data());
    return count;
  }

  /// cuDNN checks the attributes against each other. DeviceError with its reason.
  void finalize(const char* what) {
    fail_unless(library_->cudnnBackendFinalize(raw_), "cudnnBackendFinalize", what);
  }
  /// The same as a question: success or the status, with the reason.
  int try_finalize(std::string& why) {
    const int status = library_->cudnnBackendFinalize(raw_);
    if (status != cudnn::STATUS_SUCCESS) why = cudnn_failure(*library_, "cudnnBackendFinalize", status);
    return status;
  }
  /// As set, but a value that this version of cuDNN refuses is an answer.
  template <class T>
  int try_set(cudnn::Attribute name, std::span<const T> values, std::string& why) {
    const int status = library_->cudnnBackendSetAttribute(raw_, name, cudnn_type<T>(), int64_t(values.size()), values.data());
    if (status != cudnn::STATUS_SUCCESS) why = cudnn_failure(*library_, "cudnnBackendSetAttribute", status);
    return status;
  }

 private:
  void fail_unless(int status, const char* call, const std::string& about) const {
    if (status != cudnn::STATUS_SUCCESS) [[unlikely]]
      throw DeviceError(cudnn_failure(*library_, text(call, "(", about.empty() ? text("descriptor type ", int(type_)) : about, ")"), status));
  }
  void set_raw(cudnn::Attribute name, cudnn::AttributeType type, int64_t count, const void* values) {
    const int status = library_->cudnnBackendSetAttribute(raw_, name, type, count, values);
    if (status != cudnn::STATUS_SUCCESS) [[unlikely]]
      fail_unless(status, "cudnnBackendSetAttribute", text("descriptor type ", int(type_), ", attribute ", int(name)));
  }
  void get_raw(cudnn::Attribute name, cudnn::AttributeType type, int64_t wanted, int64_t* count, void* values) const {
    const int status = library_->cudnnBackendGetAttribute(raw_, name, type, wanted, count, values);
    if (status != cudnn::STATUS_SUCCESS) [[unlikely]]
      fail_unless(status, "cudnnBackendGetAttribute", text("descriptor type ", int(type_), ", attribute ", int(name)));
  }

  const CudnnLibrary* library_ = nullptr;
  cudnn::DescriptorType type_{};
  cudnn::Descriptor raw_ = nullptr;
};

}  // namespace voxgrad::cuda

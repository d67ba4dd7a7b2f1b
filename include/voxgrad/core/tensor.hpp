// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Tensor: a cheap handle to a contiguous, row-major array and, when it was computed, to the node that computed it.

#include <cstring>
#include <initializer_list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "voxgrad/core/dtype.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/core/shape.hpp"
#include "voxgrad/core/storage.hpp"

namespace voxgrad {

class Node;

class Tensor {
 public:
  /// The undefined tensor: no shape, no data.
  Tensor() = default;

  /// Uninitialised elements.
  explicit Tensor(const Shape& shape, DType dtype = DType::f32, Device device = {})
      : impl_(std::make_shared<Impl>()) {
    impl_->storage = std::make_shared<Storage>(size_t(shape.size()) * size_of(dtype), device);
    impl_->shape = shape;
    impl_->dtype = dtype;
  }

  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32) {
    Tensor t(shape, dtype);
    visit(dtype, [&](auto zero) {
      using T = decltype(zero);
      for (T& e : t.mutable_span<T>()) e = T(value);
    });
    return t;
  }
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32) { return full(shape, 0, dtype); }
  static Tensor scalar(double value, DType dtype = DType::f32) { return full({}, value, dtype); }

  /// Copies values in row-major order; their number must be the shape's size.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape) {
    check<ShapeError>(int64_t(values.size()) == shape.size(), "Tensor::from: ", values.size(), " values for shape ", shape);
    Tensor t(shape, DTypeOf<T>::value);
    if (!values.empty()) std::memcpy(t.raw(), values.data(), values.size_bytes());
    return t;
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape) { return from(std::span<const T>(values), shape); }

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const { return impl_->shape; }
  int64_t size() const { return impl_->shape.size(); }
  DType dtype() const { return impl_->dtype; }
  Device device() const { return impl_->storage->device(); }

  /// The elements; T must be the dtype's C++ type and the tensor on the CPU.
  template <class T>
  std::span<const T> span() const {
    expect<T>();
    return {static_cast<const T*>(raw()), size_t(size())};
  }
  /// The elements for writing: counts as an in-place change, which saved tensors notice.
  template <class T>
  std::span<T> mutable_span() {
    expect<T>();
    impl_->storage->bump();
    return {static_cast<T*>(raw()), size_t(size())};
  }

  /// Untyped address for kernels. Writing through it is for fresh outputs; later writes call touch().
  void* raw() const {
    return static_cast<char*>(impl_->storage->data()) + size_t(impl_->offset) * size_of(impl_->dtype);
  }
  void touch() { impl_->storage->bump(); }
  uint64_t version() const { return impl_->storage->version(); }

  /// The value of a one-element tensor.
  double item() const {
    check<ShapeError>(size() == 1, "item: needs one element, the tensor is ", shape());
    return visit(dtype(), [&](auto zero) { return double(span<decltype(zero)>()[0]); });
  }

  /// A copy with its own storage, outside any graph.
  Tensor clone() const {
    Tensor t(shape(), dtype(), device());
    check<DeviceError>(device().kind == DeviceKind::cpu, "clone: only on the cpu so far");
    if (size() > 0) std::memcpy(t.raw(), raw(), size_t(size()) * size_of(dtype()));
    return t;
  }

  /// A copy in another floating type, outside any graph.
  Tensor to(DType other) const {
    if (other == dtype()) return clone();
    Tensor t(shape(), other);
    visit(dtype(), [&](auto from) {
      visit(other, [&](auto into) {
        auto in = span<decltype(from)>();
        auto out = t.mutable_span<decltype(into)>();
        for (size_t i = 0; i < in.size(); ++i) out[i] = static_cast<decltype(into)>(in[i]);
      });
    });
    return t;
  }

  /// Same storage under another shape of equal size, outside any graph (ops::reshape is the recorded form).
  Tensor view(const Shape& shape, int64_t offset = 0) const {
    check<ShapeError>(offset >= 0 && offset + shape.size() <= size(), "view: ", shape, " at ", offset,
                      " does not fit into ", this->shape());
    Tensor t;
    t.impl_ = std::make_shared<Impl>();
    t.impl_->storage = impl_->storage;
    t.impl_->offset = impl_->offset + offset;
    t.impl_->shape = shape;
    t.impl_->dtype = impl_->dtype;
    return t;
  }
  /// Same values, outside any graph.
  Tensor detach() const { return view(shape()); }

  // ---- autograd
  /// True for a leaf whose gradient is wanted and for everything computed from one.
  bool requires_grad() const { return impl_ && (impl_->requires_grad || impl_->node); }
  /// Marks a leaf: backward() will add into grad().
  Tensor& set_requires_grad(bool wanted = true) {
    impl_->requires_grad = wanted;
    return *this;
  }
  /// Gradient of a leaf after backward(); undefined before.
  const Tensor& grad() const { return impl_->grad(); }
  Tensor& mutable_grad() const { return impl_->grad(); }
  void clear_grad() const { impl_->grad() = Tensor(); }
  const std::shared_ptr<Node>& node() const { return impl_->node; }
  void set_node(std::shared_ptr<Node> node) { impl_->node = std::move(node); }

  /// True when nobody else can see this tensor's memory, so that it may be reused in place.
  bool unique() const { return impl_.use_count() == 1 && impl_->storage.use_count() == 1; }
  bool is(const Tensor& other) const { return impl_ == other.impl_; }

 private:
  struct Impl {
    std::shared_ptr<Storage> storage;
    int64_t offset = 0;  ///< in elements
    Shape shape;
    DType dtype = DType::f32;
    bool requires_grad = false;
    std::shared_ptr<Node> node;
    std::unique_ptr<Tensor> gradient;
    Tensor& grad() {
      if (!gradient) gradient = std::make_unique<Tensor>();
      return *gradient;
    }
  };

  template <class T>
  void expect() const {
    check<DTypeError>(dtype() == DTypeOf<T>::value, "tensor holds ", voxgrad::name(dtype()), ", asked for ",
                      voxgrad::name(DTypeOf<T>::value));
    check<DeviceError>(device().kind == DeviceKind::cpu, "tensor is on ", voxgrad::name(device()),
                       "; its elements can only be read on the cpu");
  }

  std::shared_ptr<Impl> impl_;
};

inline Tensor empty_like(const Tensor& x) { return Tensor(x.shape(), x.dtype(), x.device()); }

/// Uniform random elements in [low, high), from the generator's current position on.
inline Tensor random_uniform(const Shape& shape, Random& random, double low = 0, double high = 1, DType dtype = DType::f32) {
  Tensor t(shape, dtype);
  visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (T& e : t.mutable_span<T>()) e = T(random.uniform(low, high));
  });
  return t;
}

/// Standard normal random elements.
inline Tensor random_normal(const Shape& shape, Random& random, DType dtype = DType::f32) {
  Tensor t(shape, dtype);
  visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (T& e : t.mutable_span<T>()) e = T(random.normal());
  });
  return t;
}

}  // namespace voxgrad

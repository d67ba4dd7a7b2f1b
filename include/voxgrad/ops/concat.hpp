// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Concatenation, cropping and zero padding: moving boxes.

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/trace.hpp"
#include "voxgrad/kernels/concat.hpp"

namespace voxgrad {

/// Copies the box `extent` at `from_offset` of x to `to_offset` of y, outside any graph.
inline void copy_box(const Tensor& x, const std::vector<int64_t>& from_offset, Tensor& y,
                     const std::vector<int64_t>& to_offset, const Shape& extent) {
  kernels::CopyBoxProblem p{x.dtype(), extent, x.shape(), y.shape(), {}, {}};
  for (int i = 0; i < extent.rank(); ++i) {
    p.from_offset[i] = from_offset[size_t(i)];
    p.to_offset[i] = to_offset[size_t(i)];
  }
  TraceScope trace("copy_box", "copy", extent, extent);
  kernels::copy_box.at(x.device()).copy(p, x.raw(), y.raw());
}

/// Joins tensors along an axis (the channels by default). Gradients are the matching slices.
inline Tensor concat(const std::vector<Tensor>& parts, int axis = -1) {
  check<ShapeError>(!parts.empty(), "concat: nothing to join");
  const int rank = parts[0].shape().rank();
  const int a = axis < 0 ? axis + rank : axis;
  check<ShapeError>(a >= 0 && a < rank, "concat: axis ", axis, " of tensors of shape ", parts[0].shape());
  Shape out = parts[0].shape();
  std::vector<int64_t> extents;
  int64_t total = 0;
  for (const Tensor& t : parts) {
    Shape other = t.shape();
    check<ShapeError>(other.rank() == rank, "concat: ", parts[0].shape(), " and ", other, " differ in rank");
    total += other[a];
    extents.push_back(other[a]);
    other.set(a, out[a]);
    check<ShapeError>(other == out && t.dtype() == parts[0].dtype(), "concat: ", parts[0].shape(), " and ", t.shape(),
                      " differ outside axis ", a, " or in dtype");
  }
  out.set(a, total);
  Tensor y(out, parts[0].dtype(), parts[0].device());
  std::vector<int64_t> zero(size_t(rank), 0), at(size_t(rank), 0);
  for (const Tensor& t : parts) {
    copy_box(t, zero, y, at, t.shape());
    at[size_t(a)] += t.shape()[a];
  }
  return record("concat", y, std::span<const Tensor>(parts), [a, extents](const Tensor& dy, Grads& grads) {
    std::vector<int64_t> from(size_t(dy.shape().rank()), 0), to(from);
    for (size_t i = 0; i < extents.size(); ++i) {
      if (grads.wanted(i)) {
        Shape s = dy.shape();
        s.set(a, extents[i]);
        Tensor dx(s, dy.dtype(), dy.device());
        copy_box(dy, from, dx, to, s);
        grads.set(i, dx);
      }
      from[size_t(a)] += extents[i];
    }
  });
}

/// x with `before[i]` and `after[i]` zeros added on each axis; negative counts crop. The gradient does the reverse.
inline Tensor pad(const Tensor& x, const std::vector<int64_t>& before, const std::vector<int64_t>& after) {
  const int rank = x.shape().rank();
  check<ShapeError>(int(before.size()) == rank && int(after.size()) == rank, "pad: needs ", rank, " counts on either side");
  Shape out = x.shape(), extent = x.shape();
  std::vector<int64_t> from(size_t(rank), 0), to(size_t(rank), 0);
  for (int i = 0; i < rank; ++i) {
    const int64_t b = before[size_t(i)], e = after[size_t(i)];
    check<ShapeError>(x.shape()[i] + std::min<int64_t>(b, 0) + std::min<int64_t>(e, 0) >= 0, "pad: cropping ", -b, " and ", -e,
                      " from axis ", i, " of ", x.shape(), " leaves nothing");
    out.set(i, x.shape()[i] + b + e);
    extent.set(i, x.shape()[i] + std::min<int64_t>(b, 0) + std::min<int64_t>(e, 0));
    from[size_t(i)] = std::max<int64_t>(-b, 0);
    to[size_t(i)] = std::max<int64_t>(b, 0);
  }
  Tensor y(out, x.dtype(), x.device());
  if (!(extent == out)) kernels::memory.at(x.device()).fill(y.dtype(), y.size(), 0, y.raw());
  copy_box(x, from, y, to, extent);
  return record("pad", y, {x}, [before, after](const Tensor& dy, Grads& grads) {
    std::vector<int64_t> b(before), e(after);
    for (int64_t& v : b) v = -v;
    for (int64_t& v : e) v = -v;
    grads.set(0, pad(dy, b, e));
  });
}

/// The box of `extent` elements starting at `start`.
inline Tensor crop(const Tensor& x, const std::vector<int64_t>& start, const Shape& extent) {
  check<ShapeError>(int(start.size()) == x.shape().rank() && extent.rank() == x.shape().rank(), "crop: needs ",
                    x.shape().rank(), " starts and extents");
  std::vector<int64_t> before(start), after(start);
  for (int i = 0; i < extent.rank(); ++i) {
    check<ShapeError>(start[size_t(i)] >= 0 && start[size_t(i)] + extent[i] <= x.shape()[i], "crop: ", extent[i], " from ",
                      start[size_t(i)], " leaves axis ", i, " of ", x.shape());
    before[size_t(i)] = -start[size_t(i)];
    after[size_t(i)] = start[size_t(i)] + extent[i] - x.shape()[i];
  }
  return pad(x, before, after);
}

}  // namespace voxgrad

// SPDX-License-Identifier: BSD-3-Clause
// Box copies, fill, axpy and conversion against plain loops.

#include "voxgrad/kernels/concat.hpp"

#include "guarded.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {
/// Copies a box and checks every element of the target: inside the box the source, outside untouched (NaN).
template <class T>
void check_box(const Shape& from, const Shape& to, const Shape& extent, std::vector<int64_t> f, std::vector<int64_t> t) {
  INFO("box " << extent << " of " << from << " into " << to);
  CopyBoxProblem p{DTypeOf<T>::value, extent, from, to, {}, {}};
  for (size_t i = 0; i < f.size(); ++i) {
    p.from_offset[i] = f[i];
    p.to_offset[i] = t[i];
  }
  const EdgeVector<T> x = noise_vector<T>(from.size(), 1);
  Guarded<T> y(to.size());
  copy_box.at(host).copy(p, x.data(), y.data());
  CHECK(y.intact());
  int64_t wrong = 0;
  for (int64_t i = 0; i < to.size(); ++i) {
    int64_t rest = i, at = 0, step = 1;
    bool inside = true;
    for (int axis = to.rank() - 1; axis >= 0; --axis) {
      const int64_t k = rest % to[axis] - p.to_offset[axis];
      rest /= to[axis];
      inside = inside && k >= 0 && k < extent[axis];
      at += (k + p.from_offset[axis]) * step;
      step *= from[axis];
    }
    if (inside ? !(y[i] == x[size_t(at)]) : !std::isnan(y[i])) ++wrong;
  }
  CHECK(wrong == 0);
}
}  // namespace

TEST_CASE("box copies: crops, pads, concatenations, whole tensors, scalars and empty boxes") {
  check_box<float>(Shape{2, 3, 4, 5, 6}, Shape{2, 3, 4, 5, 17}, Shape{2, 3, 4, 5, 6}, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 9});
  check_box<float>(Shape{2, 3, 4, 5, 17}, Shape{2, 3, 4, 5, 6}, Shape{2, 3, 4, 5, 6}, {0, 0, 0, 0, 11}, {0, 0, 0, 0, 0});
  check_box<double>(Shape{2, 7, 8, 9, 3}, Shape{2, 5, 6, 20, 3}, Shape{2, 4, 5, 7, 3}, {0, 2, 3, 1, 0}, {0, 1, 0, 11, 0});
  check_box<float>(Shape{1, 300, 9, 40, 8}, Shape{3, 300, 9, 40, 8}, Shape{1, 300, 9, 40, 8}, {0, 0, 0, 0, 0}, {2, 0, 0, 0, 0});
  check_box<float>(Shape{40, 33, 100}, Shape{41, 35, 101}, Shape{39, 33, 99}, {1, 0, 1}, {2, 2, 2});
  check_box<float>(Shape{5}, Shape{5}, Shape{5}, {0}, {0});
  check_box<float>(Shape{}, Shape{}, Shape{}, {}, {});
  check_box<float>(Shape{3, 4}, Shape{5, 6}, Shape{0, 4}, {0, 0}, {0, 0});
  check_box<float>(Shape{0, 4}, Shape{2, 4}, Shape{0, 4}, {0, 0}, {0, 0});
}

TEST_CASE("fill, axpy and conversion") {
  for (int64_t n : odd_sizes) {
    const EdgeVector<float> x = noise_vector<float>(n, 1);
    Guarded<float> y(n);
    memory.at(host).fill(DType::f32, n, 0.75, y.data());
    CHECK(worst(y, 1, [](int64_t) { return 0.75; }) == 0);
    memory.at(host).axpy(DType::f32, n, 2, x.data(), y.data());
    CHECK(worst(y, 1, [&](int64_t i) { return 0.75 + 2 * double(x[size_t(i)]); }) < 1e-6);
    Guarded<double> wide(n);
    memory.at(host).convert(DType::f32, DType::f64, n, y.data(), wide.data());
    CHECK(worst(wide, 1, [&](int64_t i) { return double(y[i]); }) == 0);
    Guarded<float> back(n);
    memory.at(host).convert(DType::f64, DType::f32, n, wide.data(), back.data());
    CHECK(back.copy() == y.copy());
    CHECK((y.intact() && wide.intact() && back.intact()));
  }
}

// SPDX-License-Identifier: BSD-3-Clause
// The file of this program that compiles the CPU kernels: every slot is filled, and small cases worked by hand.

#include "voxgrad/cpu/all.hpp"

#include <limits>

#include "catch.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {
const Device host{};

template <class... Fs>
bool all_unary(List<Fs...>) { return (unary<Fs>.filled(DeviceKind::cpu) && ...); }
template <class... Fs>
bool all_binary(List<Fs...>) { return (binary<Fs>.filled(DeviceKind::cpu) && ...); }
template <class... Fs>
bool all_losses(List<Fs...>) { return (loss<Fs>.filled(DeviceKind::cpu) && ...); }
}  // namespace

TEST_CASE("every light op has CPU kernels before main") {
  CHECK(all_unary(UnaryList{}));
  CHECK(all_binary(BinaryList{}));
  CHECK(all_losses(LossList{}));
  CHECK(reduce.filled(DeviceKind::cpu));
  CHECK(max_pool3d.filled(DeviceKind::cpu));
  CHECK(upsample3d.filled(DeviceKind::cpu));
  CHECK(softmax.filled(DeviceKind::cpu));
  CHECK(ray_loss.filled(DeviceKind::cpu));
  CHECK(batch_norm.filled(DeviceKind::cpu));
  CHECK(copy_box.filled(DeviceKind::cpu));
  CHECK(memory.filled(DeviceKind::cpu));
  CHECK(matmul.filled(DeviceKind::cpu));
  CHECK(optim.filled(DeviceKind::cpu));
}

TEST_CASE("a row and a column broadcast to a matrix") {
  const float a[3] = {1, 2, 3}, b[2] = {10, 20};
  float y[6];
  binary<Add>.at(host).forward({DType::f32, Shape{2, 3}, {0, 1}, {1, 0}, false}, a, b, y);
  const float want[6] = {11, 12, 13, 21, 22, 23};
  for (int i = 0; i < 6; ++i) CHECK(y[i] == want[i]);
}

TEST_CASE("sums over the outer, the inner and the middle axis") {
  double x[24];
  for (int i = 0; i < 24; ++i) x[i] = i;
  const auto sum = [&](bool r0, bool r1, bool r2, double* y) {
    reduce.at(host).sum({DType::f64, Shape{2, 3, 4}, {r0, r1, r2}}, x, y);
  };
  double y[24];
  sum(true, false, false, y);
  CHECK(y[0] == 12);
  CHECK(y[11] == 34);
  sum(false, false, true, y);
  CHECK(y[0] == 6);
  CHECK(y[5] == 86);
  sum(false, true, false, y);
  CHECK(y[0] == 12);
  CHECK(y[7] == 57);
  sum(true, true, true, y);
  CHECK(y[0] == 276);
}

TEST_CASE("a box copy moves the middle of a matrix") {
  const float x[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  float y[6] = {-1, -1, -1, -1, -1, -1};
  copy_box.at(host).copy({DType::f32, Shape{2, 2}, Shape{3, 4}, Shape{2, 3}, {1, 1}, {0, 1}}, x, y);
  const float want[6] = {-1, 5, 6, -1, 9, 10};
  for (int i = 0; i < 6; ++i) CHECK(y[i] == want[i]);
}

TEST_CASE("max pooling: the first maximum gets the gradient, NaN wins") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Pool3dProblem p{DType::f32, 1, {2, 2, 4}, {1, 1, 2}, 1, {2, 2, 2}, {2, 2, 2}};
  const float x[16] = {0, 7, 1, 2, 7, 3, 3, 4, 1, 2, 9, nan, 7, 3, nan, 10};
  const float dy[2] = {5, 6};
  float y[2], dx[16];
  max_pool3d.at(host).forward(p, x, y);
  CHECK(y[0] == 7);
  CHECK(y[1] != y[1]);
  max_pool3d.at(host).backward(p, x, dy, dx);
  for (int i = 0; i < 16; ++i) CHECK(dx[i] == (i == 1 ? 5 : i == 14 ? 6 : 0));
}

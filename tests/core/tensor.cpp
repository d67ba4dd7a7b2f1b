// SPDX-License-Identifier: BSD-3-Clause
// Shape, Tensor, storage, devices and kernel slots.

#include "voxgrad/core/tensor.hpp"

#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/core/kernels.hpp"
#include "voxgrad/simd/isa.hpp"

using namespace voxgrad;
using voxgrad::test::message;

TEST_CASE("shapes") {
  const Shape s{2, 3, 4};
  CHECK(s.rank() == 3);
  CHECK(s.size() == 24);
  CHECK(s[-1] == 4);
  CHECK(text(s) == "2x3x4");
  CHECK(Shape{}.size() == 1);
  CHECK(text(Shape{}) == "scalar");
  CHECK(Shape{0, 5}.size() == 0);
  CHECK(!(s == Shape{2, 3}));
  CHECK(message<ShapeError>([] { Shape{1, 2, 3, 4, 5, 6, 7}; }) == "shape: rank 7 is above 6");
  CHECK(message<ShapeError>([] { Shape{1, -2}; }) == "shape: negative extent -2");
}

TEST_CASE("broadcasting follows NumPy") {
  CHECK(broadcast({2, 1, 4}, {3, 1}, "t") == Shape{2, 3, 4});
  CHECK(broadcast({}, {2}, "t") == Shape{2});
  CHECK(broadcast({0, 3}, {1, 3}, "t") == Shape{0, 3});
  CHECK(message<ShapeError>([] { broadcast({2, 3}, {3, 2}, "t"); }) == "t: shapes 2x3 and 3x2 do not broadcast");
}

TEST_CASE("output extents of a convolution") {
  CHECK(conv_extent(7, 3, 2, 1, 1) == 4);
  CHECK(conv_extent(8, 3, 2, 1, 1) == 4);
  CHECK(conv_extent(7, 3, 1, 0, 3) == 1);
  CHECK(conv_extent(6, 3, 1, 0, 3) == 0);
}

TEST_CASE("tensors are handles; clones and casts are copies; views share") {
  Tensor a = Tensor::from(std::vector<float>{1, 2, 3, 4}, {2, 2});
  Tensor same = a;
  CHECK(same.is(a));
  CHECK(!a.unique());
  const Tensor copy = a.clone();
  Tensor row = a.view({2}, 2);
  row.mutable_span<float>()[0] = 7;
  CHECK(a.span<float>()[2] == 7);
  CHECK(copy.span<float>()[2] == 3);
  CHECK(a.version() == row.version());
  CHECK(a.to(DType::f64).span<double>()[3] == 4);
  CHECK(Tensor::scalar(2.5, DType::f64).item() == 2.5);
  CHECK(reinterpret_cast<uintptr_t>(a.raw()) % CpuMemory::alignment == 0);
}

TEST_CASE("tensors refuse wrong sizes and types") {
  const Tensor a = Tensor::zeros({2, 2});
  CHECK(message<ShapeError>([] { Tensor::from(std::vector<float>{1, 2}, {3}); }) == "Tensor::from: 2 values for shape 3");
  CHECK(message<DTypeError>([&] { a.span<double>(); }) == "tensor holds f32, asked for f64");
  CHECK(message<ShapeError>([&] { a.item(); }) == "item: needs one element, the tensor is 2x2");
  CHECK(message<ShapeError>([&] { a.view({2, 2}, 1); }) == "view: 2x2 at 1 does not fit into 2x2");
  CHECK(message<DeviceError>([] { Tensor t({1}, DType::f32, {DeviceKind::cuda, 0}); }) ==
        "device cuda:0: this program has no such backend");
}

TEST_CASE("device names") {
  CHECK(parse_device("cpu") == Device{});
  CHECK(parse_device("cuda") == Device{DeviceKind::cuda, 0});
  CHECK(name(parse_device("cuda:12")) == "cuda:12");
  for (const char* bad : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1234", "CPU"})
    CHECK(message<UsageError>([&] { parse_device(bad); }) == text("device '", bad, "' is not one of cpu, cuda, cuda:N"));
}

TEST_CASE("an empty slot names the op and the device") {
  struct Table {};
  Kernels<Table> slot("wavelet");
  CHECK(message<DeviceError>([&] { slot.at({}); }) == "wavelet: no cpu kernels in this program");
  CHECK(message<DeviceError>([&] { slot.at({DeviceKind::cuda, 0}); }) == "wavelet: no cuda kernels in this program");
  const Table table;
  slot.fill(DeviceKind::cpu, &table);
  CHECK(&slot.at({}) == &table);
}

TEST_CASE("freed memory is reused, and trimmed on request") {
  CpuMemory& memory = CpuMemory::instance();
  void* first = nullptr;
  { first = Tensor({1000}).raw(); }
  const int64_t before = memory.system_allocations();
  { CHECK(Tensor({1000}).raw() == first); }
  CHECK(memory.system_allocations() == before);
  CHECK(memory.cached_bytes() > 0);
  memory.trim();
  CHECK(memory.cached_bytes() == 0);
  CHECK(Tensor({1000}).size() == 1000);
}

TEST_CASE("the instruction set can be forced, but not one that this CPU lacks") {
  const Isa before = current_isa();
  set_isa(Isa::scalar);
  CHECK(current_isa() == Isa::scalar);
  int a = 1, b = 2, c = 3;
  CHECK(by_isa(&a, &b, &c) == &a);
  for (Isa isa : {Isa::avx2, Isa::avx512}) {
    if (supported(isa)) continue;
    CHECK(message<DeviceError>([&] { set_isa(isa); }) == text("set_isa: this CPU does not support ", name(isa)));
  }
  set_isa(before);
  const char* wish = std::getenv("VOXGRAD_ISA");
  const std::string saved = wish ? wish : "";
  ::setenv("VOXGRAD_ISA", "sse9", 1);
  CHECK(message<UsageError>([] { initial_isa(); }) == "VOXGRAD_ISA is 'sse9' (expected scalar, avx2 or avx512)");
  ::setenv("VOXGRAD_ISA", "scalar", 1);
  CHECK(initial_isa() == Isa::scalar);
  if (wish) ::setenv("VOXGRAD_ISA", saved.c_str(), 1);
  else ::unsetenv("VOXGRAD_ISA");
}

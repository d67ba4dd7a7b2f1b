// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/conv_spec.hpp"

#include <set>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "message.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;

namespace {

ConvSpec same(int extent, int ci, int co) {
  ConvSpec s;
  s.io = Element::bf16;
  s.math = Math::tensor_core;
  s.N = 2;
  s.Ci = ci;
  s.Co = co;
  for (int a = 0; a < 3; ++a) {
    s.in[a] = s.out[a] = extent;
    s.kernel[a] = 3;
    s.padding[a] = 1;
  }
  return s;
}

}  // namespace

TEST_CASE("a spec is plain data: equal, hashed and described by all of its fields") {
  static_assert(std::is_trivially_copyable_v<ConvSpec>);
  const ConvSpec base = same(8, 8, 16);
  std::vector<ConvSpec> all = {base};
  const auto vary = [&](auto change) {
    all.push_back(base);
    change(all.back());
  };
  vary([](ConvSpec& s) { s.op = ConvOp::backward_data; });
  vary([](ConvSpec& s) { s.op = ConvOp::backward_weight; });
  vary([](ConvSpec& s) { s.io = Element::f16; });
  vary([](ConvSpec& s) { s.math = Math::tf32; });
  vary([](ConvSpec& s) { s.epilogue = Epilogue::bias; });
  vary([](ConvSpec& s) { s.epilogue = Epilogue::bias_leaky; });
  vary([](ConvSpec& s) { s.slope = 0.2f; });
  vary([](ConvSpec& s) { s.slope = 0.20000002f; });
  vary([](ConvSpec& s) { s.deterministic = false; });
  vary([](ConvSpec& s) { s.N = 3; });
  vary([](ConvSpec& s) { s.Ci = 16; });
  vary([](ConvSpec& s) { s.Co = 8; });
  vary([](ConvSpec& s) { s.x_row_stride = 16; });
  vary([](ConvSpec& s) { s.y_row_stride = 32; });
  for (int a = 0; a < 3; ++a) {
    vary([a](ConvSpec& s) { s.in[a] = 9; });
    vary([a](ConvSpec& s) { s.out[a] = 9; });
    vary([a](ConvSpec& s) { s.kernel[a] = 1; });
    vary([a](ConvSpec& s) { s.stride[a] = 2; });
    vary([a](ConvSpec& s) { s.padding[a] = 0; });
    vary([a](ConvSpec& s) { s.dilation[a] = 2; });
  }
  std::set<std::size_t> hashes;
  std::set<std::string> texts;
  for (const ConvSpec& s : all) {
    hashes.insert(std::hash<ConvSpec>()(s));
    texts.insert(describe(s));
    for (const ConvSpec& other : all) CHECK((s == other) == (&s == &other));
  }
  CHECK(hashes.size() == all.size());
  CHECK(texts.size() == all.size());
  CHECK(describe(base) == "forward bf16 tensor_core x 2x8x8x8x8 y 2x8x8x8x16 kernel 3x3x3 padding 1x1x1");
}

TEST_CASE("zeros after the last voxel follow from the output's extent") {
  ConvSpec s = same(8, 8, 8);
  CHECK(end_padding(s, 0) == 1);
  s.stride[1] = 2;
  s.out[1] = 4;  // the usual half: symmetric, one voxel of padding unread
  CHECK(end_padding(s, 1) == 1);
  s.padding[1] = 0;  // Keras' "same" of an even extent: nothing before, one after
  CHECK(end_padding(s, 1) == 1);
  s.kernel[2] = 2;  // an even kernel: one voxel more after than before
  s.padding[2] = 0;
  CHECK(end_padding(s, 2) == 1);
  s.out[2] = 7;
  CHECK(end_padding(s, 2) == 0);
  s.out[2] = 6;  // a voxel of stride 1 cannot stay unread
  CHECK(end_padding(s, 2) == -1);
  s.kernel[2] = 1;  // a pointwise convolution of stride 2 leaves the last voxel unread
  s.stride[2] = 2;
  s.out[2] = 4;
  CHECK(end_padding(s, 2) == 0);
  validate(s);
}

TEST_CASE("spans, steps and operations") {
  ConvSpec s = same(4, 8, 16);
  CHECK(x_span(s) == 2 * 64 * 8);
  CHECK(w_span(s) == 27 * 8 * 16);
  CHECK(flop(s) == 2.0 * 2 * 64 * 27 * 8 * 16);
  s.y_row_stride = 32;
  CHECK(y_span(s) == 127 * 32 + 16);
}

TEST_CASE("contradictions in a spec are named") {
  const auto refused = [](auto change) {
    ConvSpec s = same(4, 8, 16);
    change(s);
    return test::message<Error>([&] { validate(s); });
  };
  const std::string tail = " (forward bf16 tensor_core x 2x4x4x4x8 y 2x4x4x4x16 kernel 3x3x3 padding 1x1x1";
  CHECK(refused([](ConvSpec&) {}) == "no error");
  CHECK(refused([](ConvSpec& s) { s.N = 0; }).rfind("conv plan: batch and channels must be positive (forward", 0) == 0);
  CHECK(refused([](ConvSpec& s) { s.out[1] = 2; }).rfind("conv plan: output and input extents do not fit kernel, stride and padding", 0) == 0);
  CHECK(refused([](ConvSpec& s) { s.x_row_stride = 4; }) == "conv plan: the step between voxels is smaller than the channels" + tail + " x step 4)");
  CHECK(refused([](ConvSpec& s) { s.slope = 0.2f; }).rfind("conv plan: a slope needs the epilogue bias_leaky", 0) == 0);
  CHECK(refused([](ConvSpec& s) {
          s.op = ConvOp::backward_data;
          s.epilogue = Epilogue::bias;
        }).rfind("conv plan: only a forward convolution takes an epilogue", 0) == 0);
  CHECK(refused([](ConvSpec& s) { s.io = Element::f32; }) ==
        "conv plan: f32 storage does not go with tensor_core (16-bit storage is for tensor_core, f32 for tf32 and strict)");
}

// SPDX-License-Identifier: BSD-3-Clause
// Memory of a program, and parameters that come and go in the engine's order.
#include "voxgrad/cuda/program.hpp"

#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/cuda/host_device.hpp"
#include "voxgrad/cuda/parameters.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;

TEST_CASE("values keep their contents as long as steps use them, and share memory afterwards") {
  HostDevice device;
  Program program(device);
  const size_t bytes = 4096;
  const Value a = program.transient("a", bytes), b = program.transient("b", bytes), c = program.transient("c", bytes);
  const Value sum = program.persistent("sum", sizeof(int64_t));
  const auto fill = [&](Value v, int value) { std::fill_n(program.at<int>(v), bytes / sizeof(int), value); };
  program.step("write a", {a}, [&] { fill(a, 1); });
  program.step("write b", {a, b}, [&] { fill(b, program.at<int>(a)[1000] + 1); });
  program.step("write c", {b, c}, [&] { fill(c, program.at<int>(b)[7] + 1); });
  program.step("add", {c, sum}, [&] { *program.at<int64_t>(sum) += program.at<int>(c)[0]; });
  program.plan();
  CHECK(program.arena_bytes() == 2 * bytes);  // c lies where a was
  CHECK(program.at(a) == program.at(c));
  program.run();
  program.run();
  CHECK(*program.at<int64_t>(sum) == 6);
  CHECK(test::message<Error>([&] { program.step("late", {}, [] {}); }) == "program: a step was added after planning");
}

TEST_CASE("a kept value survives the run") {
  HostDevice device;
  Program program(device);
  const Value a = program.transient("a", 256), b = program.transient("b", 256);
  program.keep(a);
  program.step("write a", {a}, [&] { *program.at<int>(a) = 5; });
  program.step("write b", {b}, [&] { *program.at<int>(b) = 6; });
  program.plan();
  program.run();
  CHECK(*program.at<int>(a) == 5);
}

TEMPLATE_TEST_CASE("parameters are permuted on their way to the device and back", "", float, bf16) {
  HostDevice device;
  ParameterTable table, buffers;
  table.add("conv", WeightOrder::output_first, 27, 3, 5);
  table.add("up", WeightOrder::input_first, 27, 4, 3);
  table.add_vector("bias", 5);
  buffers.add_vector("mean", 5);
  Parameters<HostDevice, TestType> p(device, table, buffers, true, 2);

  std::vector<float> conv(27 * 3 * 5), up(27 * 4 * 3), bias(5), back(conv.size());
  const auto number = [](std::vector<float>& v) { for (size_t i = 0; i < v.size(); ++i) v[i] = float(i); };
  number(conv), number(up), number(bias);
  p.upload("conv", conv);
  p.upload("up", up);
  p.upload("bias", bias, Part::second_moment);
  p.upload("mean", bias);
  for (int64_t t = 0; t < 27; ++t)
    for (int64_t co = 0; co < 5; ++co)
      for (int64_t ci = 0; ci < 3; ++ci) {
        REQUIRE(p.value(0)[(co * 27 + t) * 3 + ci] == conv[size_t((t * 3 + ci) * 5 + co)]);
        REQUIRE(float(p.working(0)[(co * 27 + t) * 3 + ci]) == float(TestType(conv[size_t((t * 3 + ci) * 5 + co)])));
      }
  REQUIRE(p.value(1)[(2 * 27 + 26) * 3 + 1] == up[(26 * 4 + 2) * 3 + 1]);
  REQUIRE(p.moments(1)[table[2].offset + 4] == 4);
  REQUIRE(p.value(2)[4] == 0);
  p.download("conv", back);
  CHECK(back == conv);
  back.resize(5);
  p.download("mean", back);
  CHECK(back == bias);
  for (int i = 0; i < 3; ++i) CHECK(reinterpret_cast<uintptr_t>(p.working(i)) % 16 == 0);

  CHECK(test::message<ShapeError>([&] { p.upload("conv", bias); }) == "parameter 'conv' has 405 values on the device, got 5");
  CHECK(test::message<Error>([&] { p.upload("weight", bias); }) == "the device has no parameter 'weight'");
  CHECK(test::message<Error>([&] { p.upload("mean", bias, Part::first_moment); }) == "the device has no parameter 'mean'");
}

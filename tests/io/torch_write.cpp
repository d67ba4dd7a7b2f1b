// SPDX-License-Identifier: BSD-3-Clause
// What TorchWriter writes comes back, and PyTorch opens it (tests/io/torch_opens.py).

#include "voxgrad/io/torch_write.hpp"

#include "catch.hpp"
#include "message.hpp"
#include "torch_files.hpp"
#include "voxgrad/io/torch_archive.hpp"

using namespace voxgrad;
using namespace voxgrad::io;

namespace {

std::string raw(std::initializer_list<int64_t> numbers) { return std::string(reinterpret_cast<const char*>(numbers.begin()), numbers.size() * 8); }

TorchWriter sample() {
  TorchWriter w;
  w.begin_dict().key("model").begin_ordered_dict();
  w.key("weight").tensor(Tensor::from(std::vector<float>{1, -2, 0.5f, 3e-39f, -0.0f, 7}, {1, 2, 3}));
  w.key("count").tensor("I64", {}, raw({int64_t(1) << 60})).key("none").tensor("F32", {0, 4}, "").key("half").tensor("F16", {2}, std::string("\0\x3c\0\xc0", 4));
  w.end().key("step").value(int64_t(70000)).key("list").begin_list();
  for (const int64_t v : {int64_t(0), int64_t(255), int64_t(256), int64_t(65535), int64_t(-1), int64_t(INT32_MAX), int64_t(INT32_MIN), int64_t(1) << 40, INT64_MIN}) w.value(v);
  w.value(0.1).value(true).value(false).none().value("µ \xe2\x88\x9e").end().key(int64_t(3)).begin_tuple().value(1.5).value("").end();
  return w.end();
}

}  // namespace

TEST_CASE("torch write: tensors and values come back to the bit") {
  const test::TorchScratch file;
  sample().write(file.path());
  TorchArchive a(file.path());
  REQUIRE(a.tensors().size() == 4);
  CHECK(a.tensors()[0].name == "model.weight");
  CHECK(a.tensors()[0].strides == std::vector<int64_t>{6, 3, 1});
  const auto back = a.tensor(a.tensors()[0]);
  const std::vector<float> want = {1, -2, 0.5f, 3e-39f, -0.0f, 7};
  CHECK(std::memcmp(back.raw(), want.data(), 24) == 0);
  CHECK(a.tensor(*a.find("model.count")).item() == 0x1p60);
  CHECK(a.find("model.none")->shape == std::vector<int64_t>{0, 4});
  CHECK(a.tensor(*a.find("model.half")).span<float>()[1] == -2);
  std::vector<int64_t> whole;
  for (const TorchScalar& s : a.scalars())
    if (s.name.starts_with("list.") && std::holds_alternative<int64_t>(s.value)) whole.push_back(std::get<int64_t>(s.value));
  CHECK(whole == std::vector<int64_t>{0, 255, 256, 65535, -1, INT32_MAX, INT32_MIN, int64_t(1) << 40, INT64_MIN});
  CHECK(std::get<int64_t>(a.scalars()[0].value) == 70000);
  CHECK(std::get<double>(a.scalars()[10].value) == 0.1);
  CHECK(std::get<bool>(a.scalars()[11].value));
  CHECK(std::holds_alternative<std::monostate>(a.scalars()[13].value));
  CHECK(std::get<std::string>(a.scalars()[14].value) == "µ \xe2\x88\x9e");
  CHECK(a.scalars()[15].name == "3.0");
}

TEST_CASE("torch write: entries are stored with checksums, each at a multiple of 64, the same bytes every time") {
  const test::TorchScratch file;
  sample().write(file.path());
  const std::string once = test::bytes_of(file.path());
  sample().write(file.path());
  CHECK(test::bytes_of(file.path()) == once);
  const RandomFile bytes(file.path());
  const StoredZip zip(bytes);
  CHECK(zip.entries().size() == 3 + 4);
  for (const auto& [name, e] : zip.entries()) {
    INFO(name);
    CHECK(e.method == 0);
    CHECK((e.crc != 0) == (e.size != 0));
    const auto at = [&](uint64_t i) { return uint64_t(uint8_t(once[size_t(i)])) | uint64_t(uint8_t(once[size_t(i) + 1])) << 8; };
    CHECK((e.header + 30 + at(e.header + 26) + at(e.header + 28)) % 64 == 0);
  }
  const std::string root = file.path().substr(file.path().find_last_of('/') + 1);
  CHECK(zip.read(root.substr(0, root.size() - 3) + "/version") == "3\n");
}

TEST_CASE("torch write: what cannot be written is refused, and leaves nothing") {
  const test::TorchScratch file;
  CHECK(test::message<UsageError>([] { TorchWriter().tensor("U32", {1}, "abcd"); }) == "torch_write: PyTorch has no type 'U32'");
  CHECK(test::message<UsageError>([] { TorchWriter().tensor("F32", {2}, "abcd"); }) == "torch_write: a tensor of 2 F32 has 4 bytes");
  CHECK(test::message<UsageError>([] { TorchWriter().begin_dict().end().end(); }) == "torch_write: nothing is open to be ended");
  CHECK_THROWS_AS(TorchWriter().begin_dict().write(file.path()), UsageError);
  CHECK(test::message<FileError>([] { sample().write("/nonexistent/a.pt"); }) == "/nonexistent/a.pt: cannot be written (no such folder, or no permission)");
}

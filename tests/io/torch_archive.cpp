// SPDX-License-Identifier: BSD-3-Clause
// Files that PyTorch wrote: every tensor bit for bit, every other value, in both formats.

#include "voxgrad/io/torch_archive.hpp"

#include <cmath>

#include "catch.hpp"
#include "real_data.hpp"
#include "torch_files.hpp"

using namespace voxgrad;
using namespace voxgrad::io;

namespace {

std::string shape_of(const TorchTensor& t) {
  std::string all;
  for (const int64_t e : t.shape) all += (all.empty() ? "" : "x") + std::to_string(e);
  return all.empty() ? "scalar" : all;
}

/// Compares a file with its rows in tensors.csv; returns how many there are.
size_t check_tensors(const std::string& file, const std::string& rows_of) {
  TorchArchive a(test::torch_golden(file));
  size_t n = 0;
  for (const auto& row : test::read_csv(test::torch_golden("tensors.csv"))) {
    if (row.at("file") != rows_of) continue;
    INFO(file << ": " << row.at("tensor"));
    REQUIRE(n < a.tensors().size());
    const TorchTensor& t = a.tensors()[n++];
    CHECK(t.name == row.at("tensor"));
    CHECK(t.type->name == row.at("dtype"));
    CHECK(shape_of(t) == row.at("shape"));
    const std::vector<unsigned char> raw = a.bytes(t);
    CHECK(std::to_string(crc32(raw.data(), raw.size())) == row.at("crc"));
    CHECK(a.find(t.name) == &t);
  }
  CHECK(n == a.tensors().size());
  return n;
}

void check_scalars(const std::string& file, const std::string& rows_of) {
  const TorchArchive a(test::torch_golden(file));
  size_t n = 0;
  for (const auto& row : test::read_csv(test::torch_golden("scalars.csv"))) {
    if (row.at("file") != rows_of) continue;
    INFO(file << ": " << row.at("name"));
    REQUIRE(n < a.scalars().size());
    const TorchScalar& s = a.scalars()[n++];
    CHECK(s.name == row.at("name"));
    const std::string& type = row.at("type");
    const std::string& value = row.at("value");
    if (type == "float") CHECK(std::get<double>(s.value) == std::stod(value));
    else if (type == "int") CHECK(std::get<int64_t>(s.value) == std::stoll(value));
    else if (type == "bool") CHECK(std::get<bool>(s.value) == (value == "True"));
    else if (type == "str") CHECK(std::get<std::string>(s.value) == value);
    else CHECK((type == "NoneType" && std::holds_alternative<std::monostate>(s.value)));
  }
  CHECK(n == a.scalars().size());
  CHECK(n > 0);
}

std::vector<double> values(TorchArchive& a, const char* name) {
  const TorchTensor* t = a.find(name);
  REQUIRE(t);
  std::vector<double> out;
  for (double v : a.tensor(*t).to(DType::f64).span<double>()) out.push_back(v);
  return out;
}

}  // namespace

TEST_CASE("torch archive: views, strides and element types, in both formats, bit for bit") {
  CHECK(check_tensors("layouts.pt", "layouts.pt") == 19);
  CHECK(check_tensors("layouts_legacy.pt", "layouts.pt") == 19);
  check_scalars("layouts.pt", "layouts.pt");
  check_scalars("layouts_legacy.pt", "layouts.pt");
  CHECK(!TorchArchive(test::torch_golden("layouts.pt")).legacy());
  CHECK(TorchArchive(test::torch_golden("layouts_legacy.pt")).legacy());
}

TEST_CASE("torch archive: elements as numbers") {
  TorchArchive a(test::torch_golden("layouts.pt"));
  CHECK(values(a, "expanded") == std::vector<double>{1.5, 1.5, 1.5, -2, -2, -2});
  CHECK(values(a, "scalar") == std::vector<double>{2.25});
  CHECK(values(a, "empty").empty());
  CHECK(values(a, "f64") == std::vector<double>{1.0 / 3, -2e300});
  CHECK(values(a, "f16") == std::vector<double>{1.5, -2, 0x1p-24, 65504});
  CHECK(values(a, "bf16")[1] == -2);
  CHECK(values(a, "i64") == std::vector<double>{-1, 0x1p62});
  CHECK(values(a, "i32") == std::vector<double>{-7, 2147483647});
  CHECK(values(a, "i8") == std::vector<double>{-128, 127});
  CHECK(values(a, "u8") == std::vector<double>{255, 0, 3});
  CHECK(values(a, "bool") == std::vector<double>{1, 0, 1});
  CHECK(values(a, "slice")[2] == 23 * 0.5 - 3);  // base[1, 0, 3]
  CHECK(a.find("missing") == nullptr);
}

TEST_CASE("torch archive: a training checkpoint with optimiser, step and statistics of NumPy numbers") {
  CHECK(check_tensors("reference/results.pt", "reference/results.pt") > 150);
  check_scalars("reference/results.pt", "reference/results.pt");
}

TEST_CASE("torch archive: the small U-Net checkpoint and its variants", "[shared]") {
  const std::string folder = test::real_data("golden PyTorch files");
  if (folder.empty()) return;
  const std::string torch = folder + "/../golden/torch/";
  if (!std::filesystem::exists(torch)) return;
  TorchArchive state(torch + "unet3d_small_state.pt"), bare(torch + "unet3d_small_state_nocrc.pt");
  TorchArchive one(torch + "unet3d_small_checkpoint.pt"), two(torch + "unet3d_small_checkpoint_2x.pt");
  CHECK(state.tensors().size() == 66);
  CHECK(bare.tensors().size() == 66);
  REQUIRE(one.tensors().size() == two.tensors().size());
  CHECK(one.scalars().size() == two.scalars().size());
  for (const TorchTensor& t : one.tensors()) CHECK(one.bytes(t) == two.bytes(*two.find(t.name)));
  for (const TorchTensor& t : state.tensors()) {
    CHECK(state.bytes(t) == bare.bytes(*bare.find(t.name)));
    CHECK(state.bytes(t) == one.bytes(*one.find("model." + t.name)));
  }
  for (const auto& [file, why] : {std::pair{"call", "asks for '__builtin__.print'"}, {"module", "model.state_dict()"}, {"truncated", "truncated"}})
    try {
      TorchArchive refused(torch + "unet3d_small_refuse_" + file + ".pt");
      FAIL(file << " was read");
    } catch (const FileError& e) {
      CHECK(std::string(e.what()).find(why) != std::string::npos);
    }
}

TEST_CASE("torch archive: files of other people agree with their sums", "[shared]") {
  const std::string folder = test::real_data("PyTorch files of other people");
  if (folder.empty()) return;
  size_t compared = 0;
  for (const auto& row : test::read_csv(folder + "/expect_tensors.csv")) {
    if (row.at("file").find("weights/pytorch/") != 0) continue;
    INFO(row.at("file") << ": " << row.at("tensor"));
    const bool refused = row.at("dtype").empty() || row.at("file").find("wholemodel") != std::string::npos;
    if (refused) {
      CHECK_THROWS_AS(TorchArchive(folder + "/" + row.at("file")), FileError);
      continue;
    }
    TorchArchive a(folder + "/" + row.at("file"));
    const TorchTensor* t = a.find(row.at("tensor"));
    REQUIRE(t);
    CHECK(t->type->name == row.at("dtype"));
    CHECK(shape_of(*t) == row.at("shape"));
    double sum = 0, scale = 0;
    const std::vector<double> all = values(a, t->name.c_str());
    for (const double v : all) sum += v, scale += std::abs(v);
    const double want = std::stod(row.at("sum"));
    CHECK(((std::isnan(want) && std::isnan(sum)) || std::abs(sum - want) <= 1e-12 * scale));
    const double first = std::stod(row.at("first"));
    if (!all.empty()) CHECK(((std::isnan(first) && std::isnan(all[0])) || all[0] == first));
    ++compared;
  }
  CHECK(compared > 240);
}

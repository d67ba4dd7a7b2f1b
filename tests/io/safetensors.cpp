// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/io/safetensors.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>

#include "catch.hpp"

namespace fs = std::filesystem;
using namespace voxgrad;
using io::SafeTensors;

namespace {

struct TempDir {
  fs::path path = fs::temp_directory_path() / text("voxgrad_safetensors_", ::getpid());
  TempDir() { fs::create_directories(path); }
  ~TempDir() { fs::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
};

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

bool contains(const std::string& all, const std::string& part) { return all.find(part) != std::string::npos; }

std::vector<double> values(SafeTensors& file, const std::string& name) {
  const Tensor t = file.tensor(name);
  std::vector<double> out;
  if (t.dtype() == DType::f32)
    for (float v : t.span<float>()) out.push_back(double(v));
  else
    for (double v : t.span<double>()) out.push_back(v);
  return out;
}

/// A file with the given header text and that many zero bytes of data.
void write_raw(const std::string& path, const std::string& header, size_t data, int64_t length = -1) {
  std::ofstream out(path, std::ios::binary);
  const uint64_t n = length < 0 ? header.size() : uint64_t(length);
  for (int i = 0; i < 8; ++i) out.put(char(n >> (8 * i) & 255));
  out << header << std::string(data, '\0');
}

}  // namespace

TEST_CASE("safetensors: a file of the reference package is read, every type and the metadata") {
  SafeTensors f(std::string(VOXGRAD_SOURCE_DIR) + "/tests/golden/safetensors/sample.safetensors");
  CHECK(f.names().size() == 12);
  CHECK(f.metadata().at("step") == "41200");
  CHECK(f.metadata().at("note") == "a \"quoted\" line\nand µ");
  CHECK(f.info("weight").shape == std::vector<int64_t>{2, 3});
  const std::vector<double> w = values(f, "weight");
  CHECK(w[1] == -1.25);
  CHECK(w[2] == double(3e-8f));
  CHECK(std::isinf(w[4]));
  CHECK(std::signbit(w[5]));
  CHECK(values(f, "moments/one") == std::vector<double>{1.0 / 3, -2e300});
  CHECK(values(f, "half") == std::vector<double>{1.5, -2, 0x1p-24, 65504});  // 6e-8 is the smallest subnormal
  CHECK(values(f, "i64") == std::vector<double>{-1, 0x1p62});
  CHECK(values(f, "i32") == std::vector<double>{-7, 2147483647});
  CHECK(values(f, "i16") == std::vector<double>{-300, 5});
  CHECK(values(f, "i8") == std::vector<double>{-128, 127});
  CHECK(values(f, "u8") == std::vector<double>{255, 0, 3});
  CHECK(values(f, "flag") == std::vector<double>{1, 0});
  CHECK(f.info("scalar").shape.empty());
  CHECK(values(f, "scalar") == std::vector<double>{2.5});
  CHECK(values(f, "empty").empty());
  CHECK(values(f, "name \"quoted\" µ") == std::vector<double>{4});
}

TEST_CASE("safetensors: what is written is read back bit for bit, and nothing half-written remains") {
  TempDir dir;
  const std::vector<float> a{1.5f, -0.0f, 1e-40f};
  const std::vector<double> b{0.1, 2};
  const int64_t step = -5;
  const std::string path = dir.file("w.safetensors");
  io::write_safetensors(path,
                        {{"a", "F32", {3, 1}, a.data()},
                         {"b\n", "F64", {2}, b.data()},
                         {"s", "I64", {}, &step},
                         {"none", "F32", {0}, nullptr}},
                        {{"key \"1\"", "value\\\n\x01"}});
  SafeTensors f(path);
  CHECK(f.metadata().at("key \"1\"") == "value\\\n\x01");
  const std::vector<unsigned char> bytes = f.bytes("a");
  CHECK(bytes.size() == 12);
  CHECK(std::memcmp(bytes.data(), a.data(), 12) == 0);
  CHECK(values(f, "b\n") == b);
  CHECK(values(f, "s") == std::vector<double>{-5});
  CHECK(f.has("none"));
  CHECK_FALSE(f.has("c"));
  CHECK(message_of([&] { f.info("c"); }) == path + ": holds no tensor 'c'");
  CHECK(std::distance(fs::directory_iterator(dir.path), fs::directory_iterator{}) == 1);
  io::write_safetensors(dir.file("nothing.safetensors"), {});
  CHECK(SafeTensors(dir.file("nothing.safetensors")).names().empty());
  CHECK(contains(message_of([&] { io::write_safetensors("/no/such/folder/w.safetensors", {}); }),
                 "cannot be written"));
  CHECK(contains(message_of([&] {
                   io::write_safetensors(dir.file("x"), {{"a", "F31", {1}, a.data()}});
                 }),
                 "'a' has the unknown type 'F31'"));
}

TEST_CASE("safetensors: hostile and damaged headers are refused with a reason") {
  TempDir dir;
  const std::string p = dir.file("bad.safetensors");
  const auto error = [&](const std::string& header, size_t data, int64_t length = -1) {
    write_raw(p, header, data, length);
    return message_of([&] { SafeTensors f(p); });
  };
  const std::string ok = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  CHECK(error(ok, 8) == "no error");
  CHECK(error(ok + "   ", 8) == "no error");
  CHECK(contains(error(ok, 8, int64_t(1) << 40), "header of 1099511627776 bytes in a file of"));
  CHECK(contains(error(ok, 8, 2000), "header of 2000 bytes in a file of"));
  CHECK(contains(error(ok, 4), "'a' ends at byte 8 of 4 (truncated copy?)"));
  CHECK(contains(error(ok, 9), "1 bytes after the last tensor belong to none"));
  CHECK(contains(error(ok + "x", 8), "text after the header"));
  CHECK(contains(error("[]", 0), "its header does not start with '{'"));
  CHECK(contains(error("", 0), "its header does not start with '{'"));
  CHECK(contains(error(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
                 "'a' needs 12 bytes, its offsets give 8"));
  CHECK(contains(error(R"({"a":{"dtype":"X9","shape":[2],"data_offsets":[0,8]}})", 8), "unknown type 'X9'"));
  CHECK(contains(error(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8),
                 "expected a whole number"));
  CHECK(contains(error(R"({"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})", 8), "expected ']'"));
  CHECK(contains(error(R"({"a":{"dtype":"F32","shape":[4611686018427387904,16],"data_offsets":[0,8]}})", 8),
                 "the shape of 'a' overflows"));
  CHECK(contains(error(R"({"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}})", 8),
                 "number too large"));
  CHECK(contains(error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8),
                 "are not [begin, end]"));
  CHECK(contains(error(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "lacks dtype, shape or data_offsets"));
  CHECK(contains(error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"code":"x"}})", 8),
                 "unknown key 'code'"));
  CHECK(contains(error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8),
                 "leaves a gap or overlaps"));
  CHECK(contains(
      error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],)"
            R"("data_offsets":[4,8]}})",
            8),
      "leaves a gap or overlaps"));
  CHECK(contains(
      error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],)"
            R"("data_offsets":[0,8]}})",
            8),
      "leaves a gap or overlaps"));
  CHECK(
      contains(error(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],)"
                     R"("data_offsets":[0,0]}})",
                     0),
               "'a' appears twice"));
  CHECK(contains(error(R"({"__metadata__":{"a":1}})", 0), "expected '\"'"));
  CHECK(contains(error(R"({"a\ud800":{}})", 0), "lone surrogate"));
  CHECK(contains(error(R"({"a\q":{}})", 0), "unknown escape"));
  CHECK(contains(error("{\"a\n\":{}}", 0), "control character"));
  CHECK(contains(error("{\"a", 0), "unterminated string"));
  CHECK(contains(message_of([&] { SafeTensors f(dir.file("absent")); }), "cannot be opened"));
  CHECK_THROWS_AS(SafeTensors(dir.path.string()), FileError);  // a folder
}

TEST_CASE("safetensors: every truncation of a good file is an error") {
  TempDir dir;
  const std::string whole = dir.file("a"), cut = dir.file("b");
  const std::vector<float> a(6, 1.0f);
  io::write_safetensors(whole, {{"a", "F32", {2, 3}, a.data()}}, {{"step", "3"}});
  std::ifstream in(whole, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  for (size_t keep = 0; keep < bytes.size(); ++keep) {
    std::ofstream(cut, std::ios::binary) << bytes.substr(0, keep);
    CHECK_THROWS_AS(SafeTensors(cut), FileError);
  }
}

TEST_CASE("safetensors: files of other programs are read") {
  const char* wish = std::getenv("VOXGRAD_SHARED");
  const fs::path folder =
      (wish ? fs::path(wish) : fs::path(VOXGRAD_SOURCE_DIR) / "../shared") / "data/real/weights/safetensors";
  if (!fs::exists(folder)) {
    std::printf("skipped: no folder data/real/weights/safetensors beside the sources (set VOXGRAD_SHARED)\n");
    return;
  }
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    INFO(entry.path().string());
    SafeTensors f(entry.path().string());
    CHECK(!f.names().empty());
    for (const std::string& name : f.names())
      CHECK(f.bytes(name).size() == f.info(name).expected_bytes("", name));
    ++files;
  }
  CHECK(files >= 5);
}

// SPDX-License-Identifier: BSD-3-Clause
// The archive of outlines, read back with libzip.

#include <zip.h>

#include "catch.hpp"
#include "common/files.hpp"
#include "common/imagej_roi.hpp"
#include "scratch.hpp"
#include "voxgrad/core/error.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

std::uint32_t big(const std::string& bytes, std::size_t at, int n) {
  std::uint32_t value = 0;
  for (int i = 0; i < n; ++i) value = value << 8 | std::uint8_t(bytes[at + std::size_t(i)]);
  return value;
}

}  // namespace

TEST_CASE("the archive holds one polygon per event, frame and piece, in the same bytes every time") {
  const std::vector<std::uint32_t> f0 = {1, 0, 1, 0}, f1 = {1, 0, 0, 2, 0, 0, 1, 0};
  const Scratch scratch;
  RoiArchive archive;
  CHECK_THROWS_AS(archive.write(scratch.file("none.zip")), FileError);
  archive.add_frame(0, f0.data(), 1, 4);
  archive.add_frame(33, f1.data(), 2, 4);
  CHECK(archive.size() == 5);
  archive.write(scratch.file("a.zip"));
  archive.write(scratch.file("b.zip"));
  CHECK(read_file(scratch.file("a.zip")) == read_file(scratch.file("b.zip")));
  int code = 0;
  zip_t* zip = zip_open(scratch.file("a.zip").c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code);
  REQUIRE(zip);
  std::vector<std::string> names;
  for (zip_int64_t i = 0; i < zip_get_num_entries(zip, 0); ++i) names.emplace_back(zip_get_name(zip, zip_uint64_t(i), 0));
  CHECK(names == std::vector<std::string>{"event-0001-t0001.roi", "event-0001-t0001-2.roi", "event-0001-t0034.roi", "event-0002-t0034.roi", "event-0001-t0034-2.roi"});
  zip_file_t* file = zip_fopen_index(zip, 3, 0);
  std::string bytes(200, '\0');
  bytes.resize(std::size_t(zip_fread(file, bytes.data(), bytes.size())));
  CHECK(bytes.substr(0, 4) == "Iout");
  CHECK(big(bytes, big(bytes, 60, 4) + 12, 4) == 34);
  zip_fclose(file);
  zip_discard(zip);
}

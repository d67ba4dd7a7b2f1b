// SPDX-License-Identifier: BSD-3-Clause
// The TIFF reader on files made by others: samples equal to those of other readers, and clean errors on damaged files.

#include <sys/resource.h>

#include <chrono>
#include <memory>

#include "catch.hpp"
#include "real_data.hpp"
#include "sha256.hpp"
#include "voxgrad/io/tiff.hpp"

using namespace voxgrad;
using namespace voxgrad::io;

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

long peak_mib() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

}  // namespace

TEST_CASE("sha256 gives the published test vectors", "[tiff]") {
  CHECK(test::sha256("abc", 3) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(test::sha256("", 0) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const std::string two(56, 'a');
  CHECK(test::sha256(two.data(), two.size()) == "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
}

TEST_CASE("TIFF: every page of the real files decodes to the samples that other readers see", "[tiff][real]") {
  const std::string folder = test::real_data("comparison with other TIFF readers");
  if (folder.empty()) return;
  const auto rows = test::read_csv(folder + "/expect_tiff.csv");
  REQUIRE(rows.size() > 300);
  std::unique_ptr<TiffFile> file;
  TiffPageReader reader;
  size_t equal = 0, unknown = 0;
  for (const auto& row : rows) {
    const std::string path = folder + "/" + row.at("file");
    INFO(path << " directory " << row.at("ifd"));
    if (!file || file->path() != path) file = std::make_unique<TiffFile>(path);
    CHECK(file->pages() == std::stoll(row.at("ifds")));
    const TiffLayout layout = file->layout_of(std::stoll(row.at("ifd")));
    CHECK(layout.width == std::stoll(row.at("width")));
    CHECK(layout.height == std::stoll(row.at("height")));
    std::vector<uint8_t> samples(size_t(layout.bytes()));
    file->read_page(std::stoll(row.at("ifd")), layout, samples.data());
    if (row.at("reader") == "none") {  // colour JPEG, which the other readers gave up on
      ++unknown;
      CHECK(layout.compression == COMPRESSION_JPEG);
      continue;
    }
    const std::string found = test::sha256(samples.data(), samples.size());
    CHECK(found == row.at("sha256"));
    if (row.at("dtype") != "bool") CHECK(std::string(sample_name(layout.type)) == row.at("dtype"));
    equal += found == row.at("sha256");
  }
  std::printf("%zu of %zu directories equal, %zu without a reference\n", equal, rows.size(), unknown);
  CHECK(equal + unknown == rows.size());
}

TEST_CASE("TIFF: damaged files made by fuzzers end in FileError, soon and in little memory", "[tiff][real]") {
  const std::string folder = test::real_data("damaged TIFF files");
  if (folder.empty()) return;
  size_t refused = 0, read = 0;
  double slowest = 0;
  const long before = peak_mib();
  for (const auto& row : test::read_csv(folder + "/expect_corrupt.csv")) {
    if (row.at("kind") != "tiff") continue;
    const std::string path = folder + "/" + row.at("file");
    INFO(path);
    const auto start = std::chrono::steady_clock::now();
    TiffOptions options;
    options.allow_single = true;
    options.channel = 0;
    std::string message;
    try {
      TiffMovie movie(path, options);
      if (movie.info().channel == 0) {
        options.channel = 1;
        movie = TiffMovie(path, options);
      }
      std::vector<float> frame(size_t(movie.extent()[1] * movie.extent()[2]));
      for (int64_t t = 0; t < movie.extent()[0]; ++t) movie.read(t, t + 1, frame.data());
      ++read;
    } catch (const FileError& error) {
      message = error.what();
      CHECK(message.find(path) == 0);
      ++refused;
    }
    const double seconds = seconds_since(start);
    slowest = std::max(slowest, seconds);
    CHECK(seconds < 10);  // on a busy machine; alone each takes milliseconds
  }
  std::printf("%zu damaged files refused, %zu read, slowest %.3f s, %ld MiB more at the peak\n", refused, read, slowest, peak_mib() - before);
  CHECK(refused + read == 143);
  CHECK(refused >= 120);
  CHECK(peak_mib() - before < 400);
}

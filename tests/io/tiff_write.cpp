// SPDX-License-Identifier: BSD-3-Clause
// TIFF stacks that we write, read back with libtiff itself: tags, samples, description, parts, failure.

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>

#include "catch.hpp"
#include "tiff_make.hpp"
#include "voxgrad/io/tiff.hpp"

using namespace voxgrad;
using namespace voxgrad::io;
using test::message_of;

namespace {

template <class T>
data::Volume<T> ramp(int64_t t, int64_t h, int64_t w) {
  data::Volume<T> volume({t, h, w});
  for (size_t i = 0; i < volume.voxels.size(); ++i) volume.voxels[i] = T(i * 7 % 251);
  return volume;
}

/// One page as libtiff reads it.
struct Plain {
  std::string description;
  std::vector<uint8_t> bytes;
  uint16_t compression = 0, predictor = 1, bits = 0, format = 0, unit = 0;
  float x_resolution = 0;
};

std::vector<Plain> read_plain(const std::string& path) {
  TIFFSetWarningHandler(nullptr);  // it would print that it does not know ImageJ's private tags
  std::vector<Plain> pages;
  TIFF* tiff = TIFFOpen(path.c_str(), "r");
  REQUIRE(tiff);
  do {
    Plain p;
    char* words = nullptr;
    if (TIFFGetField(tiff, TIFFTAG_IMAGEDESCRIPTION, &words)) p.description = words;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &p.compression);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &p.bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &p.format);
    TIFFGetField(tiff, TIFFTAG_PREDICTOR, &p.predictor);
    TIFFGetField(tiff, TIFFTAG_RESOLUTIONUNIT, &p.unit);
    TIFFGetField(tiff, TIFFTAG_XRESOLUTION, &p.x_resolution);
    uint32_t height = 0;
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    const auto row = size_t(TIFFScanlineSize(tiff));
    p.bytes.resize(row * height);
    for (uint32_t y = 0; y < height; ++y) REQUIRE(TIFFReadScanline(tiff, p.bytes.data() + y * row, y) == 1);
    pages.push_back(std::move(p));
  } while (TIFFReadDirectory(tiff));
  TIFFClose(tiff);
  return pages;
}

template <class T>
void check_round_trip(const std::string& path, bool deflate) {
  data::Volume<T> volume = ramp<T>(3, 37, 41);
  TiffWriteOptions options;
  options.deflate = deflate;
  options.spacing = {0.05, 0, 0.25, 0.5};
  REQUIRE(write_tiff_movie(path, volume, options) == std::vector<std::string>{path});
  const std::vector<Plain> pages = read_plain(path);
  REQUIRE(pages.size() == 3);
  for (int64_t t = 0; t < 3; ++t) {
    const Plain& p = pages[size_t(t)];
    CHECK(std::memcmp(p.bytes.data(), volume.frame(t), p.bytes.size()) == 0);
    CHECK(p.bits == 8 * sizeof(T));
    CHECK(p.format == (std::is_same_v<T, float> ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT));
    CHECK(p.compression == (deflate ? COMPRESSION_ADOBE_DEFLATE : COMPRESSION_NONE));
    CHECK(p.predictor == 1);
    CHECK(p.unit == RESUNIT_NONE);
    CHECK(p.x_resolution == Approx(2));
  }
  CHECK(pages[0].description == "ImageJ=1.53t\nframes=3\nhyperstack=true\nmode=grayscale\nunit=micron\nfinterval=0.05\nfps=20\nloop=false\n");
  CHECK(pages[1].description.empty());
  TiffMovie movie(path);
  CHECK(movie.spacing().x_um == Approx(0.5));
  CHECK(movie.spacing().y_um == Approx(0.25));
  CHECK(movie.spacing().seconds == 0.05);
  CHECK(!movie.info().time_is_assumed);
  std::vector<float> frame(37 * 41);
  movie.read(2, 3, frame.data());
  for (size_t i = 0; i < frame.size(); ++i) REQUIRE(frame[i] == float(volume.frame(2)[i]));
}

}  // namespace

TEST_CASE("TIFF writer: all types, with and without deflate", "[tiff]") {
  const test::TemporaryFolder folder;
  for (const bool deflate : {false, true}) {
    check_round_trip<uint8_t>(folder / "a.tif", deflate);
    check_round_trip<uint16_t>(folder / "a.tif", deflate);
    check_round_trip<uint32_t>(folder / "a.tif", deflate);
    check_round_trip<float>(folder / "a.tif", deflate);
  }
  CHECK(folder.files() == 1);
}

TEST_CASE("TIFF writer: never says images=, which makes ImageJ shift the planes", "[tiff]") {
  const test::TemporaryFolder folder;
  write_tiff_movie(folder / "a.tif", ramp<uint8_t>(4, 5, 6));
  const std::vector<uint8_t> bytes = test::file_bytes(folder / "a.tif");
  CHECK(std::string(bytes.begin(), bytes.end()).find("images=") == std::string::npos);
}

TEST_CASE("TIFF writer: tiffinfo reads the file without a complaint", "[tiff]") {
  if (std::system("tiffinfo -h >/dev/null 2>&1") == 127 << 8) {
    std::printf("skipped: tiffinfo is not installed\n");
    return;
  }
  const test::TemporaryFolder folder;
  write_tiff_movie(folder / "a.tif", ramp<uint16_t>(3, 5, 6));
  CHECK(std::system(("tiffinfo -D '" + (folder / "a.tif") + "' >'" + (folder / "out") + "' 2>'" + (folder / "err") + "'").c_str()) == 0);
  CHECK(test::file_bytes(folder / "err").empty());
  const std::vector<uint8_t> out = test::file_bytes(folder / "out");
  CHECK(std::string(out.begin(), out.end()).find("frames=3") != std::string::npos);
}

TEST_CASE("TIFF writer: depth stacks and display range", "[tiff]") {
  const test::TemporaryFolder folder;
  TiffWriteOptions options;
  options.depth = true;
  options.spacing = {0, 2, 0.5, 0.5};
  options.lowest = 0;
  options.highest = 1;
  write_tiff_movie(folder / "z.tif", ramp<float>(2, 3, 4), options);
  CHECK(read_plain(folder / "z.tif")[0].description == "ImageJ=1.53t\nslices=2\nhyperstack=true\nmode=grayscale\nunit=micron\nspacing=2\nloop=false\nmin=0\nmax=1\n");
  CHECK(TiffMovie(folder / "z.tif").spacing().z_um == 2);
}

TEST_CASE("TIFF writer: BigTIFF beyond the classic limit, parts on request", "[tiff]") {
  const test::TemporaryFolder folder;
  const data::Volume<uint16_t> volume = ramp<uint16_t>(10, 64, 64);
  TiffWriteOptions options;
  options.classic_bytes = 50000;
  {
    TiffWriter writer(folder / "big.tif", volume.extent, SampleType::u16, options);
    CHECK(writer.bigtiff());
    for (int64_t t = 0; t < 10; ++t) writer.write(volume.frame(t));
    writer.close();
  }
  CHECK(test::file_bytes(folder / "big.tif")[2] == 43);
  CHECK(TiffMovie(folder / "big.tif").extent() == volume.extent);
  options.split_bytes = 60000;
  const std::vector<std::string> parts = write_tiff_movie(folder / "parts.tif", volume, options);
  REQUIRE(parts.size() == 3);
  CHECK(parts[0] == (folder / "parts_part001.tif"));
  int64_t t = 0;
  for (const std::string& part : parts) {
    CHECK(std::filesystem::file_size(part) <= 50000);
    CHECK(test::file_bytes(part)[2] == 42);
    const std::vector<Plain> pages = read_plain(part);
    CHECK(pages[0].description.find("frames=" + std::to_string(pages.size()) + "\n") != std::string::npos);
    for (const Plain& page : pages) CHECK(std::memcmp(page.bytes.data(), volume.frame(t++), page.bytes.size()) == 0);
  }
  CHECK(t == 10);
  options.split_bytes = 9000;
  CHECK(message_of<UsageError>([&] { write_tiff_movie(folder / "no.tif", volume, options); }).find("cannot hold one frame") != std::string::npos);
}

TEST_CASE("TIFF writer: composite with ImageJ's display tags", "[tiff]") {
  const test::TemporaryFolder folder;
  const data::Volume<uint8_t> movie = ramp<uint8_t>(4, 5, 6);
  TiffWriteOptions options;
  options.channels = {tiff_channel(3, 200, {255, 255, 255}), tiff_channel(0, 255, {255, 128, 0})};
  TiffWriter writer(folder / "overlay.tif", {2, 5, 6}, SampleType::u8, options);
  for (int64_t plane = 0; plane < 4; ++plane) writer.write(movie.frame(plane));
  writer.close();
  const std::vector<Plain> pages = read_plain(folder / "overlay.tif");
  REQUIRE(pages.size() == 4);
  CHECK(pages[0].description == "ImageJ=1.53t\nchannels=2\nframes=2\nhyperstack=true\nmode=composite\nloop=false\nmin=3\nmax=200\n");
  for (int64_t plane = 0; plane < 4; ++plane) CHECK(std::memcmp(pages[size_t(plane)].bytes.data(), movie.frame(plane), 30) == 0);
  TIFF* tiff = TIFFOpen((folder / "overlay.tif").c_str(), "r");
  uint32_t n = 0;
  const void* data = nullptr;
  REQUIRE(TIFFGetField(tiff, 50838, &n, &data) == 1);
  std::vector<uint32_t> sizes(n);
  std::memcpy(sizes.data(), data, 4 * n);
  CHECK(sizes == std::vector<uint32_t>{20, 32, 768, 768});
  REQUIRE(TIFFGetField(tiff, 50839, &n, &data) == 1);
  REQUIRE(n == 20 + 32 + 2 * 768);
  const auto* block = static_cast<const uint8_t*>(data);
  const std::vector<uint32_t> expected = {0x494a494a, 0x72616e67, 1, 0x6c757473, 2};
  CHECK(std::memcmp(block, expected.data(), 20) == 0);
  const std::vector<double> ranges = {3, 200, 0, 255};
  CHECK(std::memcmp(block + 20, ranges.data(), 32) == 0);
  CHECK(int(block[52 + 255]) == 255);                // grey: red of the brightest
  CHECK(int(block[52 + 768 + 256 + 255]) == 128);    // orange: its green
  CHECK(int(block[52 + 768 + 512 + 255]) == 0);
  TIFFClose(tiff);
  TiffOptions choice;
  choice.channel = 2;
  CHECK(TiffMovie(folder / "overlay.tif", choice).extent() == data::Extent3{2, 5, 6});
}

TEST_CASE("TIFF writer: unfinished work leaves nothing, a finished file replaces the old one at once", "[tiff]") {
  const test::TemporaryFolder folder;
  const data::Volume<uint8_t> volume = ramp<uint8_t>(3, 5, 6);
  {
    TiffWriter writer(folder / "a.tif", volume.extent, SampleType::u8);
    writer.write(volume.frame(0));
    CHECK(folder.files() == 1);  // the temporary one
    CHECK(!std::filesystem::exists(folder / "a.tif"));
    CHECK(message_of<ShapeError>([&] { writer.close(); }) == (folder / "a.tif") + ": 1 of 3 planes were written");
  }
  CHECK(folder.files() == 0);
  {
    TiffWriter writer(folder / "a.tif", volume.extent, SampleType::u8);
    for (int64_t t = 0; t < 3; ++t) writer.write(volume.frame(t));
    CHECK_THROWS_AS(writer.write(volume.frame(0)), ShapeError);
    writer.close();
  }
  CHECK(folder.files() == 1);
  CHECK(message_of<FileError>([&] { TiffWriter w(folder / "no/such/a.tif", volume.extent, SampleType::u8); }).find("no/such/a.tif: cannot be written (") != std::string::npos);
  const std::string pipe = folder / "pipe.tif";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(message_of<FileError>([&] { TiffWriter w(pipe, volume.extent, SampleType::u8); }) == pipe + ": is a pipe, so no file can be written there. Give another name.");
  CHECK(std::filesystem::is_fifo(pipe));
  CHECK_THROWS_AS(TiffWriter(folder / "b.tif", volume.extent, SampleType::f64), DTypeError);
  CHECK_THROWS_AS(TiffWriter(folder / "b.tif", {0, 5, 6}, SampleType::u8), ShapeError);
}

TEST_CASE("TIFF writer: a disk that takes no more is an error with the amounts, and nothing is kept", "[tiff]") {
  const test::TemporaryFolder folder;
  const data::Volume<float> volume = ramp<float>(20, 64, 64);
  struct rlimit before {};
  getrlimit(RLIMIT_FSIZE, &before);
  void (*handler)(int) = std::signal(SIGXFSZ, SIG_IGN);  // with the limit, writing fails as on a full disk
  struct rlimit small = before;
  small.rlim_cur = 100000;
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = message_of<FileError>([&] { write_tiff_movie(folder / "a.tif", volume); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(message.find((folder / "a.tif") + ": writing failed at plane 7 of 20 (") == 0);
  CHECK(message.find("MiB are free). Nothing was kept.") != std::string::npos);
  CHECK(folder.files() == 0);
}

// SPDX-License-Identifier: BSD-3-Clause
// Volumes whose axes lie in any order, resized inputs, labels of overlaps and meshes.

#include "common/volume_file.hpp"

#include <cstdlib>
#include <filesystem>

#include "apps/scratch.hpp"
#include "apps/stardist_tiny.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// What tifffile writes of an array [z,y,x,c] that it takes for no picture: pages [x,c].
void write_tifffile_array(const std::string& path, const std::array<int64_t, 4>& n, const std::vector<uint16_t>& values) {
  TIFF* tiff = TIFFOpen(path.c_str(), "w");
  REQUIRE(tiff != nullptr);
  const std::string shape = text("{\"shape\": [", n[0], ", ", n[1], ", ", n[2], ", ", n[3], "]}");
  for (int64_t page = 0; page < n[0] * n[1]; ++page) {
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, uint32_t(n[3]));
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, uint32_t(n[2]));
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 16);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, uint32_t(n[2]));
    if (page == 0) TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, shape.c_str());
    std::vector<uint16_t> plane(values.begin() + page * n[2] * n[3], values.begin() + (page + 1) * n[2] * n[3]);
    TIFFWriteEncodedStrip(tiff, 0, plane.data(), tmsize_t(2 * plane.size()));
    TIFFWriteDirectory(tiff);
  }
  TIFFClose(tiff);
}

}  // namespace

TEST_CASE("volume files: axes in any order, channels by pages, by samples of tifffile, and refusals") {
  Scratch dir;
  data::Volume<uint16_t> v({2, 3, 4});
  for (size_t i = 0; i < v.voxels.size(); ++i) v.voxels[i] = uint16_t(i);
  io::write_tiff_movie(dir.file("v.tif"), v);
  VolumeOptions o;
  CHECK(read_image_volume(dir.file("v.tif"), o)[0].extent == data::Extent3{2, 3, 4});
  o.axes = "xyz";
  const auto turned = read_image_volume(dir.file("v.tif"), o)[0];
  REQUIRE(turned.extent == data::Extent3{4, 3, 2});
  for (int64_t x = 0; x < 2; ++x)
    for (int64_t y = 0; y < 3; ++y)
      for (int64_t z = 0; z < 4; ++z) CHECK(turned.at(z, y, x) == float(v.at(x, y, z)));
  CHECK(read_label_volume(dir.file("v.tif"), "XYZ").at(3, 2, 1) == int32_t(v.at(1, 2, 3)));
  VolumeFile file(dir.file("v.tif"), o);
  CHECK(file.axes() == "XYZ");
  CHECK(file.extent() == data::Extent3{2, 3, 4});

  data::Volume<uint16_t> pages({6, 3, 4});  // three channels of two planes, or two channels of three
  for (size_t i = 0; i < pages.voxels.size(); ++i) pages.voxels[i] = uint16_t(i);
  io::TiffWriteOptions composite;
  composite.channels.assign(3, io::tiff_channel(0, 100, {255, 255, 255}));
  io::TiffWriter writer(dir.file("c.tif"), {2, 3, 4}, io::SampleType::u16, composite);
  for (int64_t z = 0; z < 6; ++z) writer.write(pages.frame(z));
  writer.close();
  VolumeOptions three;
  three.channels = 3;
  for (const char* axes : {"", "ZCYX"}) {
    three.axes = axes;
    const auto c = read_image_volume(dir.file("c.tif"), three);
    REQUIRE(c.size() == 3);
    CHECK(c[2].at(1, 2, 3) == float(pages.at(5, 2, 3)));
    CHECK(c[0].at(1, 0, 0) == float(pages.at(3, 0, 0)));
  }
  VolumeOptions one;
  one.channel = 2;
  CHECK(read_image_volume(dir.file("c.tif"), one)[0].at(1, 0, 0) == float(pages.at(4, 0, 0)));
  three.channels = 2, three.axes = "";
  CHECK(message_of<FileError>([&] { read_image_volume(dir.file("c.tif"), three); }).find("c.tif: has 3 channels, but 2 are expected.") != std::string::npos);
  three.axes = "ZZYX";
  CHECK(message_of<UsageError>([&] { read_image_volume(dir.file("c.tif"), three); }).find("--axes is 'ZZYX' (expected Z, Y and X") == 0);
  three.axes = "ZYXC";
  CHECK(message_of<FileError>([&] { read_image_volume(dir.file("v.tif"), three); }).find("v.tif: --axes ZYXC names 4 axes, but the file has 3") != std::string::npos);

  std::vector<uint16_t> values(2 * 3 * 4 * 3);
  for (size_t i = 0; i < values.size(); ++i) values[i] = uint16_t(i);
  write_tifffile_array(dir.file("t.tif"), {2, 3, 4, 3}, values);
  VolumeOptions last;
  last.axes = "ZYXC", last.channels = 3;
  const auto c = read_image_volume(dir.file("t.tif"), last);
  REQUIRE(c.size() == 3);
  REQUIRE(c[1].extent == data::Extent3{2, 3, 4});
  CHECK(c[1].at(1, 2, 3) == float(((1 * 3 + 2) * 4 + 3) * 3 + 1));
  last.axes = "XYCZ", last.channels = 4;  // no more sensible, and as honest
  const auto d = read_image_volume(dir.file("t.tif"), last);
  REQUIRE(d[0].extent == data::Extent3{3, 3, 2});
  CHECK(d[3].at(2, 1, 0) == float(((0 * 3 + 1) * 4 + 3) * 3 + 2));
  last.axes = "ZYXC", last.channels = 1;
  CHECK(message_of<FileError>([&] { read_image_volume(dir.file("t.tif"), last); }).find("has 3 channels (ZYXC). Choose one with --channel 1 to --channel 3.") != std::string::npos);
  last.channel = 3;
  CHECK(read_image_volume(dir.file("t.tif"), last)[0].at(0, 0, 1) == 5.f);
}

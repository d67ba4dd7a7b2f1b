// SPDX-License-Identifier: BSD-3-Clause
// TIFF movies: every type, codec and layout, every kind of description, and the user's options.

#include <cmath>

#include "catch.hpp"
#include "tiff_make.hpp"
#include "voxgrad/io/tiff.hpp"

using namespace voxgrad;
using namespace voxgrad::io;
using test::make_tiff;
using test::message_of;
using test::page_bytes;
using test::PageStyle;

namespace {

/// The samples of frame t, channel c, as a reader must give them.
std::vector<uint8_t> expected_plane(const PageStyle& s, int page, int channel) {
  const std::vector<uint8_t> bytes = page_bytes(s, page);
  const size_t n = size_t(s.width) * s.height, width = s.bits / 8;
  std::vector<uint8_t> plane;
  for (size_t i = 0; i < n; ++i) {
    const size_t at = s.planar == PLANARCONFIG_SEPARATE ? size_t(channel) * n + i : i * s.samples + size_t(channel);
    plane.insert(plane.end(), bytes.begin() + std::ptrdiff_t(at * width), bytes.begin() + std::ptrdiff_t((at + 1) * width));
  }
  return plane;
}

std::vector<uint8_t> native_frame(TiffMovie& movie, int64_t t) {
  std::vector<uint8_t> frame(size_t(movie.extent()[1] * movie.extent()[2] * sample_bytes(movie.sample_type())));
  movie.read_native(t, t + 1, frame.data());
  return frame;
}

std::string refusal(const std::string& path, const TiffOptions& options = {}) {
  return message_of<Error>([&] { TiffMovie movie(path, options); });
}

bool has(const std::vector<std::string>& notes, const std::string& words) {
  for (const std::string& note : notes)
    if (note.find(words) != std::string::npos) return true;
  return false;
}

}  // namespace

TEST_CASE("TIFF: all types, codecs, byte orders, strips, tiles and planes read back exactly, in any order", "[tiff]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "movie.tif";
  const std::vector<std::pair<uint16_t, uint16_t>> types = {{8, 1}, {8, 2}, {16, 1}, {16, 2}, {32, 1}, {32, 2}, {64, 1}, {64, 2}, {16, 3}, {32, 3}, {64, 3}};
  int files = 0;
  for (const auto& [bits, format] : types)
    for (const int compression : {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS, COMPRESSION_ZSTD})
      for (const uint32_t tile : {0u, 16u})
        for (const char* mode : {"wl", "wb", "wl8"})
          for (const uint16_t samples : {uint16_t(1), uint16_t(3)}) {
            if (!TIFFIsCODECConfigured(uint16_t(compression))) continue;
            PageStyle style;
            style.width = 19;
            style.height = 17;
            style.bits = bits;
            style.format = format;
            style.compression = uint16_t(compression);
            style.tile = tile;
            style.samples = samples;
            style.planar = samples > 1 && files % 2 ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG;
            style.photometric = samples > 1 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK;
            make_tiff(path, style, 3, mode);
            TiffOptions options;
            options.channel = samples > 1 ? 2 : 0;
            TiffMovie movie(path, options);
            INFO(bits << " bits, format " << format << ", compression " << compression << ", tile " << tile << ", mode " << mode << ", samples " << samples);
            REQUIRE(movie.extent() == data::Extent3{3, 17, 19});
            bool equal = true;
            for (const int64_t t : {2, 0, 1}) equal = equal && native_frame(movie, t) == expected_plane(style, int(t), options.channel ? 1 : 0);
            CHECK(equal);
            CHECK(movie.info().big_endian == (std::string(mode) == "wb"));
            CHECK(movie.info().bigtiff == (std::string(mode) == "wl8"));
            ++files;
          }
  CHECK(files >= 11 * 4 * 2 * 3 * 2);
}

TEST_CASE("TIFF: float values equal the stored ones", "[tiff]") {
  const test::TemporaryFolder folder;
  for (const uint16_t bits : {uint16_t(16), uint16_t(64)}) {
    PageStyle style;
    style.bits = bits;
    style.format = bits == 64 ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_INT;
    make_tiff(folder / "v.tif", style, 2);
    const data::Volume<float> volume = read_tiff_movie(folder / "v.tif");
    const std::vector<uint8_t> bytes = page_bytes(style, 1);
    for (size_t i = 0; i < 70; ++i) {
      double expected = 0;
      int16_t small = 0;
      if (bits == 64) std::memcpy(&expected, &bytes[8 * i], 8);
      else std::memcpy(&small, &bytes[2 * i], 2), expected = small;
      REQUIRE(volume.voxels[70 + i] == float(expected));
    }
  }
}

TEST_CASE("half precision is converted exactly", "[tiff]") {
  CHECK(half_to_float(0x3c00) == 1.0f);
  CHECK(half_to_float(0xc000) == -2.0f);
  CHECK(half_to_float(0x7bff) == 65504.0f);
  CHECK(half_to_float(0x0001) == 0x1p-24f);
  CHECK(half_to_float(0x83ff) == -1023 * 0x1p-24f);
  CHECK(std::isinf(half_to_float(0x7c00)));
  CHECK(std::isnan(half_to_float(0x7e00)));
  CHECK(std::signbit(half_to_float(0x8000)));
}

TEST_CASE("TIFF: ImageJ hyperstacks: order of pages, choice of a channel, calibration", "[tiff]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "stack.tif";
  PageStyle style;
  style.description = "ImageJ=1.53t\nimages=8\nchannels=2\nframes=4\nhyperstack=true\nunit=micron\nfinterval=0.25\n";
  style.resolution = 4;
  make_tiff(path, style, 8, "wb");
  CHECK(refusal(path) == path + ": has 2 channels (ImageJ: frames=4, channels=2). Choose one with --channel 1 or --channel 2.");
  TiffOptions options;
  options.channel = 2;
  TiffMovie movie(path, options);
  CHECK(movie.info().axes_text == "TCYX");
  CHECK(movie.extent()[0] == 4);
  CHECK(native_frame(movie, 2) == expected_plane(style, 5, 0));
  CHECK(movie.spacing().seconds == 0.25);
  CHECK(movie.spacing().x_um == 0.25);
  options.channel = 3;
  CHECK(refusal(path, options) == path + ": --channel 3 was asked for, but there are channels 1 to 2");

  style.description = "ImageJ=1.53t\nimages=3\nslices=3\nunit=\\u00B5m\ncf=0\nc0=-32768.0\nc1=1.0\nvunit=Gray Value\n";
  make_tiff(path, style, 3, "wb");
  TiffMovie calibrated(path);
  CHECK(has(calibrated.info().notes, "calls its 3 pages depths (slices=3)"));
  CHECK(has(calibrated.info().notes, "value = -32768 + 1 * stored (signed 16-bit in ImageJ)"));
  std::vector<float> frame(70);
  calibrated.read(1, 2, frame.data());
  const std::vector<uint8_t> stored = page_bytes(style, 1);
  CHECK(frame[3] == float(stored[6] + 256 * stored[7]) - 32768.0f);
  CHECK(native_frame(calibrated, 1) == stored);
  options = {};
  options.axes = "TYX";
  TiffMovie told(path, options);
  CHECK(told.info().axes_text == "TYX");
  CHECK(!has(told.info().notes, "depths"));
}

TEST_CASE("TIFF: ImageJ writes one directory for many planes", "[tiff]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "big.tif";
  PageStyle style;
  style.description = "ImageJ=1.53t\nimages=6\nframes=6\n";
  style.rows = style.height;
  make_tiff(path, style, 1, "wb");
  // libtiff puts the strip first, at byte 8; the planes must follow it without a gap.
  const std::vector<uint8_t> one = test::file_bytes(path);
  const size_t plane = 140;
  std::vector<uint8_t> bytes(one.begin(), one.begin() + 8);
  for (int i = 0; i < 6; ++i) {
    std::vector<uint8_t> p = page_bytes(style, i);
    for (size_t k = 0; k < p.size(); k += 2) std::swap(p[k], p[k + 1]);
    bytes.insert(bytes.end(), p.begin(), p.end());
  }
  // The directory with its far values follows the planes; its offsets move by `shift`.
  const size_t shift = bytes.size() - (8 + plane);
  bytes.insert(bytes.end(), one.begin() + std::ptrdiff_t(8 + plane), one.end());
  const auto get = [&](size_t at, int n) { size_t v = 0; for (int i = 0; i < n; ++i) v = v << 8 | bytes[at + size_t(i)]; return v; };
  const auto put = [&](size_t at, size_t v) { for (size_t i = 0; i < 4; ++i) bytes[at + i] = uint8_t(v >> (24 - 8 * i)); };
  put(4, get(4, 4) + shift);
  const size_t ifd = get(4, 4), entries = get(ifd, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t e = ifd + 2 + 12 * i, type = get(e + 2, 2), count = get(e + 4, 4);
    const size_t width = type == 3 ? 2 : type == 4 ? 4 : type == 5 ? 8 : 1;
    if (width * count > 4) put(e + 8, get(e + 8, 4) + shift);
  }
  test::put_file(path, bytes);
  {
    TiffMovie movie(path);
    CHECK(movie.info().one_directory);
    REQUIRE(movie.extent() == data::Extent3{6, 7, 10});
    for (const int t : {5, 0, 3}) CHECK(native_frame(movie, t) == page_bytes(style, t));
  }
  // The same file with a promise that it cannot keep.
  const std::string words(bytes.begin(), bytes.end());
  bytes[words.find("images=6") + 7] = '9';
  bytes[words.find("frames=6") + 7] = '9';
  test::put_file(path, bytes);
  const std::string message = refusal(path);
  CHECK(message.find("the header promises 9 frames but the file ends in frame") != std::string::npos);
  CHECK(message.find("(truncated copy?). Use --allow-truncated to work on the complete frames.") != std::string::npos);
}

TEST_CASE("TIFF: ImageJ file above 4 GB is read by offset, without memory", "[tiff]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "huge.tif";
  // 2600 planes of 1024x1024 uint16 (5.4 GB), sparse on disk: header, directory, description, then the planes at byte 512.
  std::vector<uint8_t> b(512, 0);
  const auto put = [&](size_t at, uint32_t v, int n) { for (int i = 0; i < n; ++i) b[at + size_t(i)] = uint8_t(v >> (8 * (n - 1 - i))); };
  const std::string words = "ImageJ=1.53t\nimages=2600\nframes=2600\n";
  put(0, 0x4d4d002a, 4);
  put(4, 8, 4);
  const std::vector<std::array<uint32_t, 4>> entries = {{256, 4, 1, 1024}, {257, 4, 1, 1024}, {258, 3, 1, 16u << 16}, {262, 3, 1, 1u << 16},
      {270, 2, uint32_t(words.size() + 1), 200}, {273, 4, 1, 512}, {277, 3, 1, 1u << 16}, {278, 4, 1, 1024}, {279, 4, 1, 2097152}};
  put(8, uint32_t(entries.size()), 2);
  for (size_t i = 0; i < entries.size(); ++i) {
    put(10 + 12 * i, entries[i][0], 2);
    put(12 + 12 * i, entries[i][1], 2);
    put(14 + 12 * i, entries[i][2], 4);
    put(18 + 12 * i, entries[i][3], 4);
  }
  std::copy(words.begin(), words.end(), b.begin() + 200);
  test::put_file(path, b);
  const uint64_t plane = 2097152, full = 512 + 2600 * plane;
  if (::truncate(path.c_str(), off_t(full)) != 0) {
    std::printf("skipped: a sparse file of 5.4 GB (the file system refuses it)\n");
    return;
  }
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(std::streamoff(512 + 2599 * plane + 2 * (1024 * 5 + 7)));
    file.write("\x12\x34", 2);
  }
  {
    TiffMovie movie(path);
    REQUIRE(movie.extent() == data::Extent3{2600, 1024, 1024});
    std::vector<float> frame(1024 * 1024);
    movie.read(2599, 2600, frame.data());
    CHECK(frame[1024 * 5 + 7] == float(0x1234));
    CHECK(frame[1024 * 5 + 8] == 0);
  }
  REQUIRE(::truncate(path.c_str(), off_t(full - plane - plane / 2)) == 0);
  CHECK(refusal(path) == path + ": the header promises 2600 frames but the file ends in frame 2599 (truncated copy?). Use --allow-truncated to work on the complete frames.");
  TiffOptions options;
  options.allow_truncated = true;
  TiffMovie shorter(path, options);
  CHECK(shorter.extent()[0] == 2598);
  CHECK(has(shorter.info().notes, "only the first 2598 of 2600 frames are used"));
}

TEST_CASE("TIFF: tifffile and ScanImage descriptions", "[tiff]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "t.tif";
  PageStyle style;
  style.description = "{\"shape\": [5, 7, 10], \"axes\": \"TYX\"}";
  make_tiff(path, style, 5);
  CHECK(TiffMovie(path).info().kind == "tifffile");
  CHECK(TiffMovie(path).info().time_is_assumed == false);
  style.description = "{\"shape\": [2, 3, 7, 10]}";
  make_tiff(path, style, 6);
  CHECK(refusal(path).find("is IIYX (shape [2, 3, 7, 10]), but a movie has one axis besides height and width") != std::string::npos);
  TiffOptions options;
  options.axes = "CTYX";
  options.channel = 2;
  TiffMovie movie(path, options);
  CHECK(movie.extent()[0] == 3);
  CHECK(native_frame(movie, 1) == page_bytes(style, 4));
  options.axes = "TYX";
  options.channel = 0;
  CHECK(TiffMovie(path, options).extent()[0] == 6);
  options.axes = "TCZYX";
  CHECK(refusal(path, options).find("has 2 axes besides height and width (shape [2, 3, 7, 10])") != std::string::npos);
  options.axes = "YXT";
  CHECK(refusal(path, options) == "--axes YXT: expected TYX, ZYX, or one letter of T, Z, C for each axis and then YX (such as TCYX)");

  style.description.clear();
  style.software = "SI.LINE_FORMAT_VERSION = 1\nSI.hChannels.channelSave = [1;2]\nSI.hRoiManager.scanFrameRate = 20.0\n";
  make_tiff(path, style, 6);
  options = {};
  options.channel = 1;
  TiffMovie scan(path, options);
  CHECK(scan.info().kind == "ScanImage");
  CHECK(scan.extent()[0] == 3);
  CHECK(scan.spacing().seconds == Approx(0.05));
  CHECK(native_frame(scan, 2) == page_bytes(style, 4));
  make_tiff(path, style, 5);
  CHECK(refusal(path, options).find("5 pages are not a multiple of 2 (channelSave = [1;2])") != std::string::npos);
}

TEST_CASE("TIFF: OME descriptions: order of planes, missing siblings", "[tiff]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "a.ome.tif";
  const auto ome = [](const std::string& pixels, const std::string& inside) {
    return "<?xml version=\"1.0\"?><!-- a > b --><OME UUID=\"urn:uuid:1\"><Image ID=\"I:0\"><Pixels " + pixels + ">" + inside + "</Pixels></Image></OME>";
  };
  PageStyle style;
  style.description = ome("DimensionOrder=\"XYTCZ\" SizeT=\"3\" SizeC=\"2\" SizeZ=\"1\" PhysicalSizeX=\"500\" PhysicalSizeXUnit=\"nm\" TimeIncrement=\"100\" TimeIncrementUnit=\"ms\"",
                          "<Channel Name=\"struct\"/><Channel Name=\"calcium\"/><TiffData/>");
  make_tiff(path, style, 6);
  TiffOptions options;
  options.channel = 2;
  TiffMovie movie(path, options);
  CHECK(movie.info().axes_text == "TCYX");
  CHECK(movie.info().channel_names == std::vector<std::string>{"struct", "calcium"});
  CHECK(movie.spacing().x_um == Approx(0.5));
  CHECK(movie.spacing().seconds == Approx(0.1));
  for (const int t : {0, 2}) CHECK(native_frame(movie, t) == page_bytes(style, 3 + t));

  const std::string here = "<UUID FileName=\"renamed.tif\">urn:uuid:1</UUID></TiffData>", other = "<UUID FileName=\"b.ome.tif\">urn:uuid:2</UUID></TiffData>";
  std::string data;
  for (int t = 0; t < 3; ++t) {
    data += "<TiffData IFD=\"" + std::to_string(2 - t) + "\" FirstT=\"" + std::to_string(t) + "\" FirstC=\"0\" PlaneCount=\"1\">" + here;
    data += "<TiffData IFD=\"" + std::to_string(t) + "\" FirstT=\"" + std::to_string(t) + "\" FirstC=\"1\" PlaneCount=\"1\">" + other;
  }
  style.description = ome("DimensionOrder=\"XYZCT\" SizeT=\"3\" SizeC=\"2\" SizeZ=\"1\"", data);
  make_tiff(path, style, 3);
  TiffMovie part(path);
  CHECK(part.info().axes_text == "TYX");
  CHECK(has(part.info().notes, "spreads the planes over 2 files; only the planes of this file are read"));
  CHECK(native_frame(part, 0) == page_bytes(style, 2));

  style.description = ome("DimensionOrder=\"XYZCT\" SizeT=\"9\" SizeC=\"1\" SizeZ=\"1\"", "<TiffData/>");
  make_tiff(path, style, 4);
  CHECK(refusal(path) == path + ": the header promises 9 frames but the file ends in frame 5 (truncated copy?). Use --allow-truncated to work on the complete frames.");
  options = {};
  options.allow_truncated = true;
  CHECK(TiffMovie(path, options).extent()[0] == 4);
}

TEST_CASE("TIFF: folders of single frames", "[tiff]") {
  const test::TemporaryFolder folder;
  PageStyle style;
  for (const int i : {1, 2, 10}) {
    TIFF* tiff = TIFFOpen((folder / ("f" + std::to_string(i) + ".TIF")).c_str(), "w");
    test::add_page(tiff, style, page_bytes(style, i).data());
    TIFFClose(tiff);
  }
  CHECK(refusal(folder.path()) == folder.path() + ": is a folder with 3 TIFF files. To take its files as the frames of one movie, add --sequence.");
  TiffOptions options;
  options.sequence = true;
  TiffMovie movie(folder.path(), options);
  REQUIRE(movie.extent() == data::Extent3{3, 7, 10});
  CHECK(native_frame(movie, 2) == page_bytes(style, 10));
  CHECK(native_frame(movie, 1) == page_bytes(style, 2));
  CHECK(refusal(folder / "f1.TIF", options).find("is a file; --sequence needs the folder of the frames") != std::string::npos);
  make_tiff(folder / "f3.tif", style, 2);
  CHECK(refusal(folder.path(), options) == folder.path() + "/f3.tif: holds 2 frames; --sequence takes folders with one frame per file");
  style.bits = 8;
  make_tiff(folder / "f3.tif", style, 1);
  CHECK(refusal(folder.path(), options) == folder.path() + "/f3.tif: has another size or type than f1.TIF. All frames of a movie must have the same size and type.");
  const test::TemporaryFolder empty;
  CHECK(refusal(empty.path(), options) == empty.path() + ": holds no TIFF files (*.tif, *.tiff)");
}

TEST_CASE("natural order", "[tiff]") {
  CHECK(natural_less("f2", "f10"));
  CHECK(!natural_less("f10", "f2"));
  CHECK(natural_less("f", "f1"));
  CHECK(natural_less("a01b2", "a1b3"));
  CHECK(natural_less("f01", "f1") != natural_less("f1", "f01"));
  CHECK(!natural_less("x", "x"));
}

TEST_CASE("TIFF: what is not a movie is refused in words", "[tiff]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "x.tif";
  PageStyle style;
  make_tiff(path, style, 1);
  CHECK(refusal(path) == path + ": this is a single frame of 7x10, but a movie [T,H,W] is needed. If the file is one of a sequence, give the folder and --sequence.");
  TiffOptions single;
  single.allow_single = true;
  CHECK(TiffMovie(path, single).extent() == data::Extent3{1, 7, 10});

  style.samples = 3;
  style.photometric = PHOTOMETRIC_RGB;
  make_tiff(path, style, 2);
  CHECK(refusal(path) == path + ": is a colour picture (RGB) (3 samples per pixel). Choose one with --channel 1 to --channel 3.");

  TIFF* tiff = TIFFOpen(path.c_str(), "w");
  style = {};
  test::add_page(tiff, style, page_bytes(style, 0).data());
  style.width = 12;
  test::add_page(tiff, style, page_bytes(style, 1).data());
  TIFFClose(tiff);
  CHECK(refusal(path) == path + ": page 2 is 12x7 of 16 bits, but page 1 is 10x7 of 16 bits. All frames of a movie must have the same size and type.");

  CHECK(refusal(folder / "none.tif") == (folder / "none.tif") + ": no such file");
  test::put_file(path, {});
  CHECK(refusal(path) == path + ": the file is empty");
  test::put_file(path, {'P', 'K', 3, 4, 0, 0, 0, 0, 0, 0});
  CHECK(refusal(path) == path + ": is not a TIFF file (it does not start with II or MM)");
  test::put_file(path, {'I', 'I', 44, 0, 0, 0, 0, 0, 0, 0});
  CHECK(refusal(path) == path + ": is not a TIFF file (version 44, expected 42 or 43)");
}

TEST_CASE("TIFF: pages, thumbnails and asking out of range", "[tiff]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "x.tif";
  PageStyle style;
  make_tiff(path, style, 4);
  TiffMovie movie(path);
  std::vector<float> frame(70);
  CHECK_THROWS_AS(movie.read(3, 5, frame.data()), ShapeError);
  CHECK_THROWS_AS(movie.read(-1, 1, frame.data()), ShapeError);
  TIFF* tiff = TIFFOpen(path.c_str(), "w");
  for (int i = 0; i < 4; ++i) {
    PageStyle s;
    if (i % 2) {
      s.width = 5;
      TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, FILETYPE_REDUCEDIMAGE);
    }
    test::add_page(tiff, s, page_bytes(s, i).data());
  }
  TIFFClose(tiff);
  TiffMovie thumbs(path);
  CHECK(thumbs.extent()[0] == 2);
  CHECK(has(thumbs.info().notes, "2 reduced images (thumbnails) are left out"));
  CHECK(native_frame(thumbs, 1) == page_bytes(style, 2));
}

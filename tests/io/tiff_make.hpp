// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Makes TIFF files for the tests with libtiff itself, so that the reader under test meets another writer.

#include <tiffio.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace voxgrad::test {

/// A folder of its own that disappears with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "voxgrad-tiff-XXXXXX").string();
    if (!mkdtemp(pattern.data())) std::abort();
    path_ = pattern;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  size_t files() const { return size_t(std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator())); }

 private:
  std::string path_;
};

/// How a page is stored.
struct PageStyle {
  uint32_t width = 10, height = 7;
  uint16_t bits = 16, format = SAMPLEFORMAT_UINT, samples = 1, planar = PLANARCONFIG_CONTIG, compression = COMPRESSION_NONE;
  uint16_t photometric = PHOTOMETRIC_MINISBLACK;
  uint32_t rows = 3, tile = 0;  ///< rows per strip; tile size, 0: strips
  std::string description, software;
  float resolution = 0;
  uint16_t resolution_unit = RESUNIT_NONE;
};

/// Appends a page whose bytes (host order, [H,W,S] or [S,H,W]) are given.
inline void add_page(TIFF* tiff, const PageStyle& s, const uint8_t* bytes) {
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, s.width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, s.height);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, s.bits);
  TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, s.format);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, s.samples);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, s.planar);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, s.compression);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, s.photometric);
  if (!s.description.empty()) TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, s.description.c_str());
  if (!s.software.empty()) TIFFSetField(tiff, TIFFTAG_SOFTWARE, s.software.c_str());
  if (s.resolution > 0) {
    TIFFSetField(tiff, TIFFTAG_XRESOLUTION, s.resolution);
    TIFFSetField(tiff, TIFFTAG_YRESOLUTION, s.resolution);
    TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, s.resolution_unit);
  }
  const size_t planes = s.planar == PLANARCONFIG_SEPARATE ? s.samples : 1, pixel = size_t(s.bits / 8) * (planes > 1 ? 1 : s.samples);
  const size_t row = s.width * pixel;
  if (s.tile) {
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, s.tile);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, s.tile);
  } else {
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, s.rows);
  }
  for (size_t plane = 0; plane < planes; ++plane, bytes += row * s.height) {
    std::vector<uint8_t> chunk;
    for (uint32_t y = 0; y < s.height; y += s.tile ? s.tile : s.rows) {
      if (!s.tile) {
        const uint32_t rows = std::min(s.rows, s.height - y);
        chunk.assign(bytes + y * row, bytes + (y + rows) * row);
        TIFFWriteEncodedStrip(tiff, TIFFComputeStrip(tiff, y, uint16_t(plane)), chunk.data(), tmsize_t(chunk.size()));
        continue;
      }
      for (uint32_t x = 0; x < s.width; x += s.tile) {
        chunk.assign(s.tile * s.tile * pixel, 0xAA);
        for (uint32_t r = 0; r < s.tile && y + r < s.height; ++r)
          for (size_t i = 0; i < std::min(s.tile, s.width - x) * pixel; ++i) chunk[r * s.tile * pixel + i] = bytes[(y + r) * row + x * pixel + i];
        TIFFWriteEncodedTile(tiff, TIFFComputeTile(tiff, x, y, 0, uint16_t(plane)), chunk.data(), tmsize_t(chunk.size()));
      }
    }
  }
  TIFFWriteDirectory(tiff);
}

/// Bytes of one page that differ from page to page, as any type (no NaN in floats: the top bits of each sample stay small).
inline std::vector<uint8_t> page_bytes(const PageStyle& s, int seed) {
  const size_t width = s.bits / 8, n = size_t(s.width) * s.height * s.samples;
  std::vector<uint8_t> bytes(n * width);
  uint32_t state = uint32_t(seed) * 2654435761u + 12345u;
  for (size_t i = 0; i < bytes.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    bytes[i] = uint8_t(state >> 24);
    if (s.format == SAMPLEFORMAT_IEEEFP && i % width == width - 1) bytes[i] = uint8_t(0x30 + (state >> 28));
  }
  return bytes;
}

/// A file of `pages` pages of page_bytes(style, 0), page_bytes(style, 1), ...; the description is in the first page only.
inline void make_tiff(const std::string& path, PageStyle style, int pages, const char* mode = "w") {
  TIFF* tiff = TIFFOpen(path.c_str(), mode);
  for (int i = 0; i < pages; ++i) {
    add_page(tiff, style, page_bytes(style, i).data());
    style.description.clear();
  }
  TIFFClose(tiff);
}

inline std::vector<uint8_t> file_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void put_file(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
}

/// The text of the exception that `call` throws, "" if none.
template <class E, class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

}  // namespace voxgrad::test

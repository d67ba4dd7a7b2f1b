// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// One open TIFF file: its pages, its geometry, its description, and any plane on request.

#include <cstdint>
#include <string>
#include <vector>

#include "voxgrad/io/random_file.hpp"
#include "voxgrad/io/tiff_describe.hpp"
#include "voxgrad/io/tiff_index.hpp"
#include "voxgrad/io/tiff_ome.hpp"
#include "voxgrad/io/tiff_page.hpp"

namespace voxgrad::io {

/// The part of a path behind its last slash.
inline std::string file_name_of(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

class TiffFile {
 public:
  /// Opens and indexes; decodes nothing. FileError: not a TIFF, damaged, or a kind that cannot be decoded.
  explicit TiffFile(const std::string& path) : path_(path), file_(path), index_(index_tiff(file_)) {
    // "m": no memory mapping, so that a file that shrinks under us is an error and not a signal.
    handle_ = TiffHandle(path, "rm", file_.size() + (uint64_t(256) << 20));
    check<FileError>(bool(handle_), path_, ": cannot be read as TIFF (", handle_.messages().error, "). The file is damaged or incomplete.");
    layout_ = layout_of(0);
    read_texts();
  }

  const std::string& path() const { return path_; }
  const TiffIndex& index() const { return index_; }
  const TiffLayout& layout() const { return layout_; }           ///< of the first page
  const TiffDescription& description() const { return description_; }
  const std::vector<std::string>& warnings() const { return handle_.messages().warnings; }
  uint64_t size() const { return file_.size(); }
  int64_t pages() const { return int64_t(index_.pages.size()); }

  /// Geometry of one page. Moves the file to it.
  TiffLayout layout_of(int64_t page) {
    go_to(page);
    return tiff_layout(handle_, path_, file_.size());
  }

  /// Decodes one page, as stored, into `out`. `expected`: its geometry as found before.
  void read_page(int64_t page, const TiffLayout& expected, uint8_t* out) {
    const TiffLayout found = layout_of(page);
    check<FileError>(same_samples(found, expected), path_, ": page ", page + 1, " is ", shape_text(found), ", but page 1 is ",
                     shape_text(expected), ". All frames of a movie must have the same size and type.");
    reader_.read(handle_, found, text(path_, ": page ", page + 1), out);
  }

  static bool same_samples(const TiffLayout& a, const TiffLayout& b) {
    return a.width == b.width && a.height == b.height && a.samples == b.samples && a.type == b.type && a.planar == b.planar;
  }
  static std::string shape_text(const TiffLayout& l) {
    return text(l.width, "x", l.height, l.samples > 1 ? text("x", l.samples) : "", " ", sample_name(l.type));
  }

  /// Whether all the data of a page lie within the file.
  bool page_is_complete(int64_t page) {
    go_to(page);
    TiffCapture capture(handle_.messages());
    TIFF* tiff = handle_.get();
    const uint32_t n = TIFFIsTiled(tiff) ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff);
    for (uint32_t i = 0; i < n; ++i) {
      const uint64_t offset = TIFFGetStrileOffset(tiff, i), bytes = TIFFGetStrileByteCount(tiff, i);
      if (offset > file_.size() || bytes > file_.size() - offset) return false;
    }
    return true;
  }

  /// Start of plane 1 if the first page is uncompressed and in one piece, so that more planes may simply follow it; else 0.
  uint64_t contiguous_start() {
    if (layout_.compression != COMPRESSION_NONE || layout_.tiled || layout_.bits != 8 * sample_bytes(layout_.type)) return 0;
    go_to(0);
    TiffCapture capture(handle_.messages());
    TIFF* tiff = handle_.get();
    const uint32_t strips = TIFFNumberOfStrips(tiff);
    for (uint32_t i = 1; i < strips; ++i)
      if (TIFFGetStrileOffset(tiff, i) != TIFFGetStrileOffset(tiff, i - 1) + TIFFGetStrileByteCount(tiff, i - 1)) return 0;
    return strips > 0 ? TIFFGetStrileOffset(tiff, 0) : 0;
  }

  /// Reads one plane at a byte offset: uncompressed data that no directory describes.
  void read_raw(uint64_t offset, uint8_t* out) const {
    const size_t n = size_t(layout_.bytes());
    file_.read(offset, out, n);
    const int width = int(sample_bytes(layout_.type));
    const bool machine_is_big = std::endian::native == std::endian::big;
    if (width > 1 && index_.big_endian != machine_is_big)
      for (size_t i = 0; i < n; i += size_t(width)) std::reverse(out + i, out + i + width);
  }

 private:
  void go_to(int64_t page) {
    TiffCapture capture(handle_.messages());
    handle_.messages().clear_error();
    const uint64_t offset = index_.pages.at(size_t(page));
    if (TIFFCurrentDirOffset(handle_.get()) == offset) return;
    check<FileError>(TIFFSetSubDirectory(handle_.get(), offset) != 0, path_, ": page ", page + 1, " cannot be read (",
                     handle_.messages().error, "). The file is damaged or a truncated copy.");
  }

  void read_texts() {
    TiffCapture capture(handle_.messages());
    TIFF* tiff = handle_.get();
    const char* field = nullptr;
    const std::string words = TIFFGetField(tiff, TIFFTAG_IMAGEDESCRIPTION, &field) && field ? field : "";
    const std::string software = TIFFGetField(tiff, TIFFTAG_SOFTWARE, &field) && field ? field : "";
    if (words.rfind("ImageJ=", 0) == 0)
      description_ = describe_imagej(words);
    else if (words.find("<OME") != std::string::npos || words.find(":OME") != std::string::npos)
      description_ = describe_ome(words, file_name_of(path_), pages());
    else if (words.rfind("{", 0) == 0 && words.find("\"shape\"") != std::string::npos)
      description_ = describe_tifffile(words, layout_.height, layout_.width, layout_.samples, layout_.planar);
    else if (index_.scanimage || software.rfind("SI.", 0) == 0 || words.find("scanimage.SI.") != std::string::npos)
      description_ = describe_scanimage(software.rfind("SI.", 0) == 0 ? software : words);
    read_resolution();
  }

  /// Pixel size from the resolution tags: pixels per unit, the unit from the tag or from ImageJ's description.
  void read_resolution() {
    TIFF* tiff = handle_.get();
    float x = 0, y = 0;
    uint16_t unit = RESUNIT_NONE;
    TIFFGetField(tiff, TIFFTAG_XRESOLUTION, &x);
    TIFFGetField(tiff, TIFFTAG_YRESOLUTION, &y);
    if (!TIFFGetField(tiff, TIFFTAG_RESOLUTIONUNIT, &unit)) unit = RESUNIT_NONE;
    data::Spacing& spacing = description_.spacing;
    double per_unit = 0;
    if (description_.pixels_per_unit) per_unit = micrometres_per(description_.unit);
    // 72 or 96 dots per inch are what programs write who know nothing; a microscope's pixel is below 100 um.
    else if (unit == RESUNIT_CENTIMETER) per_unit = 1e4;
    else if (unit == RESUNIT_INCH) per_unit = 25400;
    const bool from_imagej = description_.pixels_per_unit && per_unit > 0;
    const auto size = [&](float resolution) {
      const double um = resolution > 0 && per_unit > 0 ? per_unit / double(resolution) : 0;
      return um > 0 && (from_imagej || um < 100) ? um : 0.0;
    };
    if (spacing.x_um <= 0) spacing.x_um = size(x);
    if (spacing.y_um <= 0) spacing.y_um = size(y);
  }

  std::string path_;
  RandomFile file_;
  TiffIndex index_;
  TiffHandle handle_;
  TiffLayout layout_;
  TiffDescription description_;
  TiffPageReader reader_;
};

}  // namespace voxgrad::io

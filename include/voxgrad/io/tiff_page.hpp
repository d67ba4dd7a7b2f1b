// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// One page of a TIFF file: its checked geometry, and its decoded samples exactly as they are stored.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "voxgrad/io/sample_type.hpp"
#include "voxgrad/io/tiff_handle.hpp"

namespace voxgrad::io {

/// Checked geometry of a page. Samples lie interleaved [H,W,S], or in planes [S,H,W] if `planar`.
struct TiffLayout {
  int64_t width = 0, height = 0;
  int samples = 1;
  int bits = 1;              ///< stored bits per sample; other depths than 8, 16, 32, 64 are unpacked to the next larger type
  SampleType type = SampleType::u8;
  bool planar = false, tiled = false;
  int compression = 1, photometric = 1;

  int64_t sample_count() const { return width * height * samples; }
  int64_t bytes() const { return sample_count() * sample_bytes(type); }
};

/// Name of a libtiff compression scheme.
inline std::string tiff_compression_name(int scheme) {
  if (scheme == COMPRESSION_NONE) return "none";
  const TIFFCodec* codec = TIFFFindCODEC(uint16_t(scheme));
  return codec ? codec->name : text("scheme ", scheme);
}

/// Name of a photometric interpretation, in words.
inline std::string tiff_photometric_name(int photometric) {
  switch (photometric) {
    case PHOTOMETRIC_MINISWHITE: return "grey, 0 is white (values as stored)";
    case PHOTOMETRIC_MINISBLACK: return "grey";
    case PHOTOMETRIC_RGB: return "RGB";
    case PHOTOMETRIC_PALETTE: return "colour table (values as stored)";
    case PHOTOMETRIC_SEPARATED: return "CMYK";
    case PHOTOMETRIC_YCBCR: return "YCbCr";
    case PHOTOMETRIC_LOGL: case PHOTOMETRIC_LOGLUV: return "SGI log";
    default: return text("photometric ", photometric);
  }
}

/// No codec makes more than this many bytes of one (deflate's limit is 1032); beyond it a size is a lie or a trap.
inline constexpr uint64_t tiff_max_ratio = 1100;
/// Sizes up to this are believed whatever the file size: constant pictures compress without limit in some codecs.
inline constexpr uint64_t tiff_free_bytes = uint64_t(16) << 20;

/// The sample type for stored bits and format; refuses complex numbers and odd floats.
inline SampleType tiff_sample_type(const std::string& path, int bits, int format) {
  const bool is_float = format == SAMPLEFORMAT_IEEEFP, is_signed = format == SAMPLEFORMAT_INT;
  check<FileError>(format != SAMPLEFORMAT_COMPLEXINT && format != SAMPLEFORMAT_COMPLEXIEEEFP, path,
                   ": holds complex numbers, which have no brightness. Save their magnitude.");
  if (is_float) {
    check<FileError>(bits == 16 || bits == 32 || bits == 64, path, ": holds ", bits, "-bit floating point numbers (expected 16, 32 or 64)");
    return bits == 16 ? SampleType::f16 : bits == 32 ? SampleType::f32 : SampleType::f64;
  }
  check<FileError>(bits >= 1 && (bits <= 32 || bits == 64), path, ": holds ", bits, "-bit integers (expected 1 to 32, or 64)");
  if (bits <= 8) return is_signed ? SampleType::i8 : SampleType::u8;
  if (bits <= 16) return is_signed ? SampleType::i16 : SampleType::u16;
  if (bits <= 32) return is_signed ? SampleType::i32 : SampleType::u32;
  return is_signed ? SampleType::i64 : SampleType::u64;
}

/// Reads and checks the geometry of the current directory; no memory is taken before its sizes are plausible.
/// FileError: nonsense sizes, types or layouts that cannot be decoded, sizes that the file cannot hold.
inline TiffLayout tiff_layout(const TiffHandle& handle, const std::string& path, uint64_t file_size) {
  TIFF* tiff = handle.get();
  TiffCapture capture(handle.messages());
  uint32_t width = 0, height = 0;
  uint16_t samples = 1, bits = 1, format = SAMPLEFORMAT_UINT, planar = PLANARCONFIG_CONTIG, compression = 1, photometric = 1;
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
  if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric)) photometric = PHOTOMETRIC_MINISBLACK;
  check<FileError>(width > 0 && height > 0 && samples > 0, path, ": a page of ", width, "x", height, " pixels and ", samples,
                   " samples is not an image. The file is damaged.");
  check<FileError>(TIFFIsCODECConfigured(compression) != 0, path, ": is compressed with ", tiff_compression_name(compression),
                   ", which the TIFF library of this machine cannot decode. Save it uncompressed, or with LZW or deflate.");
  check<FileError>(compression != COMPRESSION_OJPEG, path, ": is compressed with old-style JPEG (1992), which is not supported. Save it again with any current program.");
  if (compression == COMPRESSION_JPEG && photometric == PHOTOMETRIC_YCBCR) {
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  } else if (photometric == PHOTOMETRIC_YCBCR) {
    uint16_t across = 2, down = 2;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_YCBCRSUBSAMPLING, &across, &down);
    check<FileError>(across == 1 && down == 1, path, ": stores colour at a lower resolution than brightness (YCbCr ", across, "x", down,
                     "), a photograph's format. Save it as grey or RGB.");
  }
  TiffLayout layout;
  layout.width = width;
  layout.height = height;
  layout.samples = samples;
  layout.bits = bits;
  layout.type = tiff_sample_type(path, bits, format);
  layout.planar = planar == PLANARCONFIG_SEPARATE && samples > 1;
  layout.tiled = TIFFIsTiled(tiff) != 0;
  layout.compression = compression;
  layout.photometric = photometric;

  // In doubles: the product of hostile numbers must not overflow.
  const double stored_bytes = double(width) * height * samples * bits / 8;
  const double most = std::max(double(file_size) * (compression == COMPRESSION_NONE ? 1.0 : double(tiff_max_ratio)),
                               compression == COMPRESSION_NONE ? 0.0 : double(tiff_free_bytes));
  check<FileError>(stored_bytes <= most + 64, path, ": a page claims ", width, "x", height, "x", samples, " samples of ", bits,
                   " bits, more than a file of ", file_size, " bytes can hold. The file is damaged or a truncated copy.");
  const double chunk = layout.tiled ? double(TIFFTileSize64(tiff)) : double(TIFFStripSize64(tiff));
  // A tile may be larger than the picture, but not without measure.
  check<FileError>(chunk > 0 && chunk <= std::max(2 * stored_bytes, double(tiff_free_bytes)), path, ": a ",
                   layout.tiled ? "tile" : "strip", " of ", chunk, " bytes in a page of ", stored_bytes, " bytes. The file is damaged.");
  return layout;
}

/// Takes `n` samples of `bits` bits each (most significant bit first) out of a byte row into samples of type T.
template <class T>
void tiff_unpack_row(const uint8_t* row, int64_t n, int bits, T* out) {
  uint64_t window = 0;
  int held = 0;
  const uint64_t mask = (uint64_t(1) << bits) - 1;
  for (int64_t i = 0; i < n; ++i) {
    while (held < bits) {
      window = (window << 8) | *row++;
      held += 8;
    }
    uint64_t value = (window >> (held - bits)) & mask;
    held -= bits;
    if constexpr (std::is_signed_v<T>)
      if (value >> (bits - 1)) value |= ~mask;  // sign extension
    out[i] = T(value);
  }
}

/// Unpacks one byte-padded row of n samples into the layout's sample type.
inline void tiff_unpack(const uint8_t* row, int64_t n, const TiffLayout& layout, uint8_t* out) {
  if (layout.bits == 24 && std::endian::native == std::endian::little) {  // libtiff swaps these to the machine's order
    for (int64_t i = 0; i < n; ++i) {
      uint32_t value = uint32_t(row[3 * i]) | uint32_t(row[3 * i + 1]) << 8 | uint32_t(row[3 * i + 2]) << 16;
      if (layout.type == SampleType::i32 && (value & 0x800000u)) value |= 0xff000000u;
      std::memcpy(out + 4 * i, &value, 4);
    }
    return;
  }
  switch (layout.type) {
    case SampleType::u8: return tiff_unpack_row(row, n, layout.bits, out);
    case SampleType::i8: return tiff_unpack_row(row, n, layout.bits, reinterpret_cast<int8_t*>(out));
    case SampleType::u16: return tiff_unpack_row(row, n, layout.bits, reinterpret_cast<uint16_t*>(out));
    case SampleType::i16: return tiff_unpack_row(row, n, layout.bits, reinterpret_cast<int16_t*>(out));
    case SampleType::u32: return tiff_unpack_row(row, n, layout.bits, reinterpret_cast<uint32_t*>(out));
    case SampleType::i32: return tiff_unpack_row(row, n, layout.bits, reinterpret_cast<int32_t*>(out));
    default: throw DTypeError(text("tiff: no unpacking of ", layout.bits, " bits to ", sample_name(layout.type)));
  }
}

/// Decodes the pages of one file. Buffers are kept from page to page.
class TiffPageReader {
 public:
  /// Decodes the current directory of `handle` into `out` (layout.bytes() bytes). `what` names the page in messages.
  void read(const TiffHandle& handle, const TiffLayout& layout, const std::string& what, uint8_t* out) {
    handle_ = &handle;
    layout_ = layout;
    what_ = what;
    per_pixel_ = layout.planar ? 1 : layout.samples;
    TiffCapture capture(handle.messages());
    handle.messages().clear_error();
    const int64_t plane_bytes = layout.width * layout.height * sample_bytes(layout.type) * per_pixel_;
    for (int plane = 0; plane < (layout.planar ? layout.samples : 1); ++plane)
      layout.tiled ? read_tiles(plane, out + plane * plane_bytes) : read_strips(plane, out + plane * plane_bytes);
  }

 private:
  void fail(const std::string& where) const {
    const std::string& why = handle_->messages().error;
    throw FileError(text(what_, " cannot be decoded: ", where, why.empty() ? "" : " (" + why + ")", ". The file is damaged or a truncated copy."));
  }

  /// Bytes of a packed row of `width` pixels.
  int64_t row_bytes(int64_t width) const { return (width * per_pixel_ * layout_.bits + 7) / 8; }

  void read_strips(int plane, uint8_t* out) {
    TIFF* tiff = handle_->get();
    uint32_t rows_per_strip = 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &rows_per_strip);
    const int64_t rows = std::min<int64_t>(rows_per_strip, layout_.height);
    if (rows <= 0) fail("strips of no rows");
    const int64_t packed = row_bytes(layout_.width), unpacked = layout_.width * per_pixel_ * sample_bytes(layout_.type);
    const int64_t strip_bytes = int64_t(TIFFStripSize64(tiff));
    if (strip_bytes < rows * packed) fail("strips are smaller than their rows");
    for (int64_t y = 0; y < layout_.height; y += rows) {
      const int64_t here = std::min(rows, layout_.height - y);
      const uint32_t strip = TIFFComputeStrip(tiff, uint32_t(y), uint16_t(plane));
      // Whole bytes land directly in the result.
      const bool direct = packed == unpacked && strip_bytes == rows * packed;
      if (!direct) buffer_.resize(size_t(strip_bytes));
      uint8_t* target = direct ? out + y * unpacked : buffer_.data();
      const tmsize_t got = TIFFReadEncodedStrip(tiff, strip, target, tmsize_t(here * packed));
      if (got != here * packed || !handle_->messages().error.empty()) fail(text("strip ", strip));
      if (!direct)
        for (int64_t r = 0; r < here; ++r) place(buffer_.data() + r * packed, layout_.width, out + (y + r) * unpacked);
    }
  }

  void read_tiles(int plane, uint8_t* out) {
    TIFF* tiff = handle_->get();
    uint32_t tile_width = 0, tile_height = 0;
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height);
    if (tile_width == 0 || tile_height == 0) fail("tiles of no size");
    const int64_t tile_bytes = int64_t(TIFFTileSize64(tiff)), packed = row_bytes(tile_width);
    if (tile_bytes < packed * tile_height) fail("tiles are smaller than their rows");
    buffer_.resize(size_t(tile_bytes));
    const int64_t pixel = per_pixel_ * sample_bytes(layout_.type);
    for (int64_t y = 0; y < layout_.height; y += tile_height)
      for (int64_t x = 0; x < layout_.width; x += tile_width) {
        const uint32_t tile = TIFFComputeTile(tiff, uint32_t(x), uint32_t(y), 0, uint16_t(plane));
        const tmsize_t got = TIFFReadEncodedTile(tiff, tile, buffer_.data(), tmsize_t(tile_bytes));
        if (got != tile_bytes || !handle_->messages().error.empty()) fail(text("tile ", tile));
        const int64_t rows = std::min<int64_t>(tile_height, layout_.height - y), columns = std::min<int64_t>(tile_width, layout_.width - x);
        for (int64_t r = 0; r < rows; ++r) place(buffer_.data() + r * packed, columns, out + ((y + r) * layout_.width + x) * pixel);
      }
  }

  /// Copies or unpacks one row of pixels.
  void place(const uint8_t* row, int64_t pixels, uint8_t* out) const {
    const int64_t n = pixels * per_pixel_;
    if (layout_.bits == 8 * sample_bytes(layout_.type))
      std::memcpy(out, row, size_t(n * sample_bytes(layout_.type)));
    else
      tiff_unpack(row, n, layout_, out);
  }

  const TiffHandle* handle_ = nullptr;
  TiffLayout layout_;
  std::string what_;
  int per_pixel_ = 1;
  std::vector<uint8_t> buffer_;
};

}  // namespace voxgrad::io

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Writes TIFF stacks that ImageJ, Fiji, napari, tifffile and libtiff all read the same way, one plane after another.
// Facts behind the choices: never "images=N" (ImageJ would then ignore the directories and shift every plane), never a
// predictor with deflate (ImageJ shows wrong pixels without a message), frames=T so that a movie opens as time.

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "voxgrad/data/volume.hpp"
#include "voxgrad/io/atomic_name.hpp"
#include "voxgrad/io/sample_type.hpp"
#include "voxgrad/io/tiff_handle.hpp"
#include "voxgrad/version.hpp"

namespace voxgrad::io {

/// How one channel of a composite is shown.
struct TiffChannel {
  double lowest = 0, highest = 255;          ///< display range
  std::array<uint8_t, 768> colours{};        ///< 256 red, 256 green, 256 blue
};

/// A table from black to one colour.
inline TiffChannel tiff_channel(double lowest, double highest, std::array<uint8_t, 3> colour) {
  TiffChannel channel{lowest, highest, {}};
  for (size_t c = 0; c < 3; ++c)
    for (size_t i = 0; i < 256; ++i) channel.colours[c * 256 + i] = uint8_t((i * colour[c] + 127) / 255);
  return channel;
}

struct TiffWriteOptions {
  data::Spacing spacing;                     ///< 0: unknown, not written
  bool deflate = false;
  double lowest = 0, highest = 0;            ///< display range of a one-channel stack; equal: none
  std::vector<TiffChannel> channels;         ///< more than one: a composite hyperstack; planes alternate, channel fastest
  bool depth = false;                        ///< the first axis is depth (slices=), not time (frames=)
  uint64_t split_bytes = 0;                  ///< > 0: classic parts of at most this size instead of one BigTIFF
  uint64_t classic_bytes = (uint64_t(1) << 32) - (uint64_t(1) << 20);  ///< larger files become BigTIFF
};

/// The number as text, short and exact, whatever the locale.
inline std::string tiff_decimal(double value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  return {digits, end};
}

/// A stack [T,H,W] (or [T,C,H,W]) written plane by plane. The files appear under their names only on close().
class TiffWriter {
 public:
  /// extent: [T,H,W]; type: u8, u16, u32 or f32. FileError: the folder does not take the file. DTypeError: another type.
  TiffWriter(const std::string& path, const data::Extent3& extent, SampleType type, TiffWriteOptions options = {})
      : path_(path), extent_(extent), type_(type), options_(std::move(options)) {
    check<DTypeError>(type == SampleType::u8 || type == SampleType::u16 || type == SampleType::u32 || type == SampleType::f32, path,
                      ": stacks are written as uint8, uint16, uint32 or float32, not ", sample_name(type));
    check<ShapeError>(extent[0] > 0 && extent[1] > 0 && extent[2] > 0, path, ": a stack of ", extent[0], "x", extent[1], "x", extent[2], " voxels is empty");
    check<ShapeError>(extent[1] <= 1000000 && extent[2] <= 1000000, path, ": frames of ", extent[1], "x", extent[2], " pixels are too large for TIFF");
    plan();
    open_part();
  }
  TiffWriter(const TiffWriter&) = delete;
  TiffWriter& operator=(const TiffWriter&) = delete;
  /// Without close(): nothing remains.
  ~TiffWriter() {
    handle_.close();
    for (const Part& part : parts_) std::remove(part.temporary.c_str());
  }

  /// Appends the next plane: H*W samples of the writer's type, in the order t0 c0, t0 c1, ..., t1 c0, ...
  void write(const void* plane) {
    check<ShapeError>(written_ < planes_, path_, ": all ", planes_, " planes are written already");
    if (in_part_ == planes_per_part_) {
      finish_part();
      open_part();
    }
    TiffCapture capture(handle_.messages());
    write_tags();
    const int64_t rows = rows_per_strip(), row_bytes = extent_[2] * sample_bytes(type_);
    for (int64_t y = 0, strip = 0; y < extent_[1]; y += rows, ++strip) {
      const int64_t bytes = std::min(rows, extent_[1] - y) * row_bytes;
      // libtiff may change the buffer (it does not in the machine's byte order without predictor), hence its non-const pointer.
      void* data = const_cast<uint8_t*>(static_cast<const uint8_t*>(plane) + y * row_bytes);
      if (TIFFWriteEncodedStrip(handle_.get(), uint32_t(strip), data, tmsize_t(bytes)) != bytes) fail();
    }
    if (TIFFWriteDirectory(handle_.get()) == 0) fail();
    ++written_;
    ++in_part_;
  }

  /// Completes the files and gives them their names; returns these. FileError: the disk is full, planes are missing.
  std::vector<std::string> close() {
    check<ShapeError>(written_ == planes_, path_, ": ", written_, " of ", planes_, " planes were written");
    finish_part();
    std::vector<std::string> names;
    for (const Part& part : parts_) {
      put_in_place(part.temporary, part.name);
      names.push_back(part.name);
    }
    parts_.clear();
    return names;
  }

  bool bigtiff() const { return bigtiff_; }      ///< ImageJ alone cannot open it: tell the user
  int64_t part_count() const { return (planes_ + planes_per_part_ - 1) / planes_per_part_; }

 private:
  struct Part {
    std::string temporary, name;
  };

  int64_t channels() const { return std::max<int64_t>(1, int64_t(options_.channels.size())); }
  uint64_t frame_bytes() const {
    constexpr uint64_t directory = 512;  // tags, strip tables of a plane, rounded up
    const uint64_t strips = uint64_t(extent_[1] / rows_per_strip() + 1);
    return uint64_t(channels()) * (uint64_t(extent_[1] * extent_[2] * sample_bytes(type_)) + directory + 16 * strips);
  }

  /// One file, one BigTIFF or several parts.
  void plan() {
    planes_ = extent_[0] * channels();
    planes_per_part_ = planes_;
    const uint64_t whole = frame_bytes() * uint64_t(extent_[0]) + 8192;
    if (options_.split_bytes > 0) {
      const uint64_t most = std::min(options_.split_bytes, options_.classic_bytes);
      check<UsageError>(frame_bytes() + 8192 <= most, path_, ": parts of ", most, " bytes cannot hold one frame of ", frame_bytes(), " bytes");
      const auto frames = int64_t((most - 8192) / frame_bytes());
      if (frames < extent_[0]) planes_per_part_ = frames * channels();
    } else {
      bigtiff_ = whole > options_.classic_bytes;
    }
  }

  /// Deflate works on strips of about half a megabyte; raw planes are one strip.
  int64_t rows_per_strip() const {
    if (!options_.deflate) return extent_[1];
    return std::clamp<int64_t>((int64_t(1) << 19) / (extent_[2] * sample_bytes(type_)), 1, extent_[1]);
  }

  void open_part() {
    std::string name = path_;
    if (planes_per_part_ < planes_) {
      const size_t slash = path_.find_last_of('/'), dot = path_.find_last_of('.');
      const bool has_end = dot != std::string::npos && (slash == std::string::npos || dot > slash);
      std::string number = std::to_string(parts_.size() + 1);
      number.insert(0, number.size() < 3 ? 3 - number.size() : 0, '0');
      name = (has_end ? path_.substr(0, dot) : path_) + "_part" + number + (has_end ? path_.substr(dot) : "");
    }
    parts_.push_back({partial_name(name), name});
    handle_ = TiffHandle(parts_.back().temporary, bigtiff_ ? "w8" : "w", 0);
    check<FileError>(bool(handle_), name, ": cannot be written (", handle_.messages().error, ")");
    in_part_ = 0;
  }

  void write_tags() {
    TIFF* tiff = handle_.get();
    const auto bits = uint16_t(8 * sample_bytes(type_));
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, uint32_t(extent_[2]));
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, uint32_t(extent_[1]));
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, bits);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, uint16_t(1));
    TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, uint16_t(type_ == SampleType::f32 ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT));
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, uint16_t(PLANARCONFIG_CONTIG));
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, uint16_t(PHOTOMETRIC_MINISBLACK));
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, uint16_t(options_.deflate ? COMPRESSION_ADOBE_DEFLATE : COMPRESSION_NONE));
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, uint32_t(rows_per_strip()));
    TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, uint16_t(RESUNIT_NONE));
    if (options_.spacing.x_um > 0) TIFFSetField(tiff, TIFFTAG_XRESOLUTION, 1 / options_.spacing.x_um);
    if (options_.spacing.y_um > 0) TIFFSetField(tiff, TIFFTAG_YRESOLUTION, 1 / options_.spacing.y_um);
    if (in_part_ > 0) return;
    const int64_t frames = std::min(planes_per_part_, planes_ - written_) / channels();
    TIFFSetField(tiff, TIFFTAG_SOFTWARE, (std::string("voxgrad ") + version).c_str());
    TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, description(frames).c_str());
    if (!options_.channels.empty()) write_display(tiff);
  }

  std::string description(int64_t frames) const {
    std::string d = "ImageJ=1.53t\n";
    if (channels() > 1) d += text("channels=", channels(), "\n");
    d += text(options_.depth ? "slices=" : "frames=", frames, "\n", "hyperstack=true\n");
    d += channels() > 1 ? "mode=composite\n" : "mode=grayscale\n";
    const data::Spacing& s = options_.spacing;
    if (s.x_um > 0 || s.y_um > 0 || s.z_um > 0) d += "unit=micron\n";
    if (s.z_um > 0) d += "spacing=" + tiff_decimal(s.z_um) + "\n";
    if (s.seconds > 0) d += "finterval=" + tiff_decimal(s.seconds) + "\nfps=" + tiff_decimal(1 / s.seconds) + "\n";
    d += "loop=false\n";
    const bool composite = !options_.channels.empty();
    const double lowest = composite ? options_.channels[0].lowest : options_.lowest;
    const double highest = composite ? options_.channels[0].highest : options_.highest;
    if (highest > lowest) d += "min=" + tiff_decimal(lowest) + "\nmax=" + tiff_decimal(highest) + "\n";
    return d;
  }

  /// ImageJ's private tags 50838 and 50839: display range and colour table of every channel.
  void write_display(TIFF* tiff) const {
    const std::array<TIFFFieldInfo, 2> fields = {{
        {50838, TIFF_VARIABLE2, TIFF_VARIABLE2, TIFF_LONG, FIELD_CUSTOM, 1, 1, const_cast<char*>("ImageJByteCounts")},
        {50839, TIFF_VARIABLE2, TIFF_VARIABLE2, TIFF_BYTE, FIELD_CUSTOM, 1, 1, const_cast<char*>("ImageJMetadata")},
    }};
    TIFFMergeFieldInfo(tiff, fields.data(), uint32_t(fields.size()));
    const auto count = uint32_t(options_.channels.size());
    std::vector<uint8_t> block(20 + (16 + 768) * size_t(count));
    size_t at = 0;
    const auto put = [&](const void* data, size_t n) {
      std::memcpy(block.data() + at, data, n);
      at += n;
    };
    // In the file's byte order, which is this machine's.
    for (const uint32_t word : {0x494a494au, 0x72616e67u, 1u, 0x6c757473u, count}) put(&word, 4);
    std::vector<uint32_t> sizes(2 + size_t(count), 768);
    sizes[0] = 20;
    sizes[1] = 16 * count;
    for (const TiffChannel& channel : options_.channels)
      for (const double limit : {channel.lowest, channel.highest}) put(&limit, 8);
    for (const TiffChannel& channel : options_.channels) put(channel.colours.data(), channel.colours.size());
    TIFFSetField(tiff, 50838, uint32_t(sizes.size()), sizes.data());
    TIFFSetField(tiff, 50839, uint32_t(block.size()), block.data());
  }

  void finish_part() {
    handle_.close();
    if (!handle_.messages().error.empty()) fail();
  }

  [[noreturn]] void fail() const {
    const std::string system = std::strerror(errno);
    std::error_code ignored;
    std::filesystem::path folder = std::filesystem::path(path_).parent_path();
    if (folder.empty()) folder = ".";
    const auto space = std::filesystem::space(folder, ignored);
    const std::string room = ignored ? "" : text(", about ", (frame_bytes() * uint64_t(extent_[0])) >> 20, " MiB are needed in all and ", space.available >> 20, " MiB are free");
    throw FileError(text(path_, ": writing failed at plane ", written_ + 1, " of ", planes_, " (", handle_.messages().error, "; ", system, room, "). Nothing was kept."));
  }

  std::string path_;
  data::Extent3 extent_;
  SampleType type_;
  TiffWriteOptions options_;
  bool bigtiff_ = false;
  int64_t planes_ = 0, planes_per_part_ = 0, written_ = 0, in_part_ = 0;
  TiffHandle handle_;
  std::vector<Part> parts_;
};

/// The writer's sample type for a C++ type.
template <class T>
constexpr SampleType tiff_type_of() {
  if constexpr (std::is_same_v<T, uint8_t>) return SampleType::u8;
  else if constexpr (std::is_same_v<T, uint16_t>) return SampleType::u16;
  else if constexpr (std::is_same_v<T, uint32_t>) return SampleType::u32;
  else {
    static_assert(std::is_same_v<T, float>, "stacks are written as uint8, uint16, uint32 or float");
    return SampleType::f32;
  }
}

/// Writes a whole volume; its spacing is used unless the options have one. Returns the names of the files.
template <class T>
std::vector<std::string> write_tiff_movie(const std::string& path, const data::Volume<T>& volume, TiffWriteOptions options = {}) {
  if (options.spacing.x_um == 0 && options.spacing.seconds == 0) options.spacing = volume.spacing;
  TiffWriter writer(path, volume.extent, tiff_type_of<T>(), std::move(options));
  for (int64_t t = 0; t < volume.extent[0]; ++t) writer.write(volume.frame(t));
  return writer.close();
}

}  // namespace voxgrad::io

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Event outlines for ImageJ's ROI manager: one polygon per event, frame and connected piece, in a zip archive.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace voxgrad::app {

/// A closed polygon along pixel edges; points are pixel corners, (0,0) the upper left corner of the first pixel.
struct Outline {
  std::uint32_t label = 0;
  std::vector<std::array<std::int32_t, 2>> points;  ///< (x, y), clockwise, corners only
};

/// Outer outlines of the 4-connected pieces of every label in one frame [H,W] (0: background), in order of their first pixel.
std::vector<Outline> trace_outlines(const std::uint32_t* labels, std::int64_t height, std::int64_t width);

/// Bytes of one .roi file. frame: from 1. colour: 0xAARRGGBB. ShapeError: more points or larger numbers than the format holds.
std::string imagej_roi_bytes(const Outline& outline, std::int64_t frame, const std::string& name, std::uint32_t colour);

/// Collects outlines frame by frame and writes the archive at the end.
class RoiArchive {
 public:
  /// Outlines of the next frame; colour from the event's number, so that neighbours differ.
  void add_frame(std::int64_t t, const std::uint32_t* labels, std::int64_t height, std::int64_t width);
  /// Writes `path` atomically, in reproducible bytes. FileError: cannot be written; there is nothing to write in an empty one.
  void write(const std::string& path) const;
  static bool can_write();  ///< false in a build without libzip
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string name, bytes;
  };
  std::vector<Entry> entries_;
};

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Pictures as PNG files.

#include <cstdint>
#include <string>
#include <vector>

namespace voxgrad::app {

/// The PNG file of width*height*3 bytes (red, green, blue, row by row). ShapeError: another number of bytes.
std::string png_bytes(int width, int height, const std::vector<std::uint8_t>& rgb);

/// Writes it under its name only when complete; replaces an older one. FileError: the disk is full, no permission.
void write_png(const std::string& path, int width, int height, const std::vector<std::uint8_t>& rgb);

}  // namespace voxgrad::app

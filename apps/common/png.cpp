// SPDX-License-Identifier: BSD-3-Clause
// PNG through libpng's simplified interface, which reports errors by return value.

#include "png.hpp"

#include <png.h>

#include "files.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

std::string png_bytes(int width, int height, const std::vector<std::uint8_t>& rgb) {
  check<ShapeError>(width > 0 && height > 0 && rgb.size() == std::size_t(width) * std::size_t(height) * 3, "png: ", rgb.size(),
                    " bytes for a picture of ", width, "x", height, " pixels");
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = png_uint_32(width);
  image.height = png_uint_32(height);
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = 0;
  const bool sized = png_image_write_to_memory(&image, nullptr, &size, 0, rgb.data(), 0, nullptr) != 0;
  check<Error>(sized, "png: ", image.message);
  std::string bytes(size, '\0');
  const bool written = png_image_write_to_memory(&image, bytes.data(), &size, 0, rgb.data(), 0, nullptr) != 0;
  check<Error>(written, "png: ", image.message);
  bytes.resize(size);
  return bytes;
}

void write_png(const std::string& path, int width, int height, const std::vector<std::uint8_t>& rgb) {
  write_file(path, png_bytes(width, height, rgb));
}

}  // namespace voxgrad::app

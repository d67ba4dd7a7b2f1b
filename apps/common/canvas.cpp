// SPDX-License-Identifier: BSD-3-Clause
// Pixels, rectangles, letters.

#include "canvas.hpp"

#include <algorithm>
#include <cmath>

#include "font.hpp"

namespace voxgrad::app {

Colour mix(const Colour& a, const Colour& b, double amount) {
  Colour out{};
  for (std::size_t i = 0; i < 3; ++i) out[i] = std::uint8_t(std::lround(std::clamp(a[i] + (b[i] - a[i]) * amount, 0.0, 255.0)));
  return out;
}

Canvas::Canvas(int width, int height, Colour background)
    : width_(width), height_(height), rgb_(std::size_t(width) * std::size_t(height) * 3) {
  fill(0, 0, width, height, background);
}

void Canvas::set(int x, int y, const Colour& colour) {
  if (x < 0 || y < 0 || x >= width_ || y >= height_) return;
  std::copy(colour.begin(), colour.end(), rgb_.begin() + 3 * (std::ptrdiff_t(y) * width_ + x));
}

Colour Canvas::get(int x, int y) const {
  if (x < 0 || y < 0 || x >= width_ || y >= height_) return {};
  const std::size_t at = 3 * (std::size_t(y) * std::size_t(width_) + std::size_t(x));
  return {rgb_[at], rgb_[at + 1], rgb_[at + 2]};
}

void Canvas::fill(int x, int y, int width, int height, const Colour& colour) {
  for (int v = std::max(y, 0); v < std::min(y + height, height_); ++v)
    for (int u = std::max(x, 0); u < std::min(x + width, width_); ++u) set(u, v, colour);
}

void Canvas::frame(int x, int y, int width, int height, const Colour& colour) {
  fill(x, y, width, 1, colour);
  fill(x, y + height - 1, width, 1, colour);
  fill(x, y, 1, height, colour);
  fill(x + width - 1, y, 1, height, colour);
}

void Canvas::text(int x, int y, std::string_view words, const Colour& colour, int scale) {
  for (const char c : words) {
    const auto& glyph = font_glyphs[std::size_t((c >= 32 && c <= 126 ? c : '?') - 32)];
    for (int row = 0; row < 9; ++row)
      for (int column = 0; column < 5; ++column)
        if (glyph[std::size_t(row)] >> (4 - column) & 1) fill(x + column * scale, y + row * scale, scale, scale, colour);
    x += 6 * scale;
  }
}

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A small RGB canvas: rectangles, lines and text in a bitmap font of our own. Enough for previews.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace voxgrad::app {

using Colour = std::array<std::uint8_t, 3>;

/// Mixes two colours; amount 0 gives a, 1 gives b.
Colour mix(const Colour& a, const Colour& b, double amount);

class Canvas {
 public:
  Canvas(int width, int height, Colour background);

  int width() const { return width_; }
  int height() const { return height_; }
  const std::vector<std::uint8_t>& rgb() const { return rgb_; }

  /// Everything is clipped at the edges.
  void set(int x, int y, const Colour& colour);
  Colour get(int x, int y) const;
  void fill(int x, int y, int width, int height, const Colour& colour);
  void frame(int x, int y, int width, int height, const Colour& colour);
  /// Text with its top left corner at (x, y); characters outside ASCII become '?'.
  void text(int x, int y, std::string_view words, const Colour& colour, int scale = 1);

  static int text_width(std::string_view words, int scale = 1) { return words.empty() ? 0 : int(words.size()) * 6 * scale - scale; }
  static int text_height(int scale = 1) { return 9 * scale; }

 private:
  int width_, height_;
  std::vector<std::uint8_t> rgb_;
};

}  // namespace voxgrad::app

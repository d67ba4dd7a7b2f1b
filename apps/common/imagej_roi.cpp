// SPDX-License-Identifier: BSD-3-Clause
// Tracing, and ImageJ's ROI format (big-endian, version 228).

#include "imagej_roi.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>

#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

namespace {

using Point = std::array<std::int32_t, 2>;

/// Numbers the 4-connected pieces of equal labels from 1; returns the first pixel of each.
std::vector<std::int64_t> number_pieces(const std::uint32_t* labels, std::int64_t height, std::int64_t width, std::vector<std::uint32_t>& piece) {
  std::vector<std::int64_t> first, stack;
  for (std::int64_t start = 0; start < height * width; ++start) {
    if (labels[start] == 0 || piece[std::size_t(start)] != 0) continue;
    first.push_back(start);
    const auto number = std::uint32_t(first.size());
    piece[std::size_t(start)] = number;
    stack.assign(1, start);
    while (!stack.empty()) {
      const std::int64_t at = stack.back(), x = at % width;
      stack.pop_back();
      const auto visit = [&](std::int64_t next, bool inside) {
        if (!inside || labels[next] != labels[start] || piece[std::size_t(next)] != 0) return;
        piece[std::size_t(next)] = number;
        stack.push_back(next);
      };
      visit(at - width, at >= width);
      visit(at + width, at + width < height * width);
      visit(at - 1, x > 0);
      visit(at + 1, x + 1 < width);
    }
  }
  return first;
}

/// Walks around a piece with its pixels on the right hand, from the upper left corner of its first pixel.
std::vector<Point> walk_outline(const std::vector<std::uint32_t>& piece, std::int64_t height, std::int64_t width, std::int64_t first) {
  const std::uint32_t number = piece[std::size_t(first)];
  const auto inside = [&](std::int64_t x, std::int64_t y) {
    return x >= 0 && y >= 0 && x < width && y < height && piece[std::size_t(y * width + x)] == number;
  };
  // Directions east, south, west, north; the pixels left and right ahead of a corner, relative to it.
  constexpr std::array<Point, 4> step = {{{1, 0}, {0, 1}, {-1, 0}, {0, -1}}};
  constexpr std::array<Point, 4> left = {{{0, -1}, {0, 0}, {-1, 0}, {-1, -1}}}, right = {{{0, 0}, {-1, 0}, {-1, -1}, {0, -1}}};
  const Point start = {std::int32_t(first % width), std::int32_t(first / width)};
  std::vector<Point> points = {start};
  Point at = start;
  std::size_t heading = 0;
  do {
    at = {at[0] + step[heading][0], at[1] + step[heading][1]};
    const auto ahead = [&](const std::array<Point, 4>& side) { return inside(at[0] + side[heading][0], at[1] + side[heading][1]); };
    const std::size_t before = heading;
    if (!ahead(right)) heading = (heading + 1) % 4;
    else if (ahead(left)) heading = (heading + 3) % 4;
    if (heading != before && at != start) points.push_back(at);
  } while (at != start || heading != 0);
  return points;
}

void put(std::string& bytes, std::size_t at, std::uint32_t value, int n) {
  for (int i = 0; i < n; ++i) bytes[at + std::size_t(i)] = char(value >> (8 * (n - 1 - i)));
}

/// A palette of distinct colours, opaque, by event number.
std::uint32_t event_colour(std::uint32_t label) {
  constexpr std::array<std::uint32_t, 6> palette = {0xffe69f00, 0xff56b4e9, 0xff009e73, 0xfff0e442, 0xffd55e00, 0xffcc79a7};
  return palette[label % palette.size()];
}

}  // namespace

std::vector<Outline> trace_outlines(const std::uint32_t* labels, std::int64_t height, std::int64_t width) {
  std::vector<std::uint32_t> piece(std::size_t(height * width), 0);
  std::vector<Outline> outlines;
  for (const std::int64_t first : number_pieces(labels, height, width, piece))
    outlines.push_back({labels[first], walk_outline(piece, height, width, first)});
  return outlines;
}

std::string imagej_roi_bytes(const Outline& outline, std::int64_t frame, const std::string& name, std::uint32_t colour) {
  check<ShapeError>(!outline.points.empty() && outline.points.size() <= 65535, "ROI ", name, ": ", outline.points.size(), " points (1 to 65535 can be stored)");
  Point low = outline.points[0], high = low;
  for (const Point& p : outline.points)
    for (std::size_t i = 0; i < 2; ++i) {
      low[i] = std::min(low[i], p[i]);
      high[i] = std::max(high[i], p[i]);
    }
  check<ShapeError>(low[0] >= 0 && low[1] >= 0 && high[0] <= 32767 && high[1] <= 32767, "ROI ", name, ": ImageJ stores coordinates up to 32767");
  const std::size_t n = outline.points.size(), second = 64 + 4 * n;
  std::string bytes(second + 64 + 2 * name.size(), '\0');
  std::memcpy(bytes.data(), "Iout", 4);
  put(bytes, 4, 228, 2);  // version; the type at 6 stays 0: polygon
  put(bytes, 8, std::uint32_t(low[1]), 2);
  put(bytes, 10, std::uint32_t(low[0]), 2);
  put(bytes, 12, std::uint32_t(high[1]), 2);
  put(bytes, 14, std::uint32_t(high[0]), 2);
  put(bytes, 16, std::uint32_t(n), 2);
  put(bytes, 40, colour, 4);
  put(bytes, 60, std::uint32_t(second), 4);
  for (std::size_t i = 0; i < n; ++i) {
    put(bytes, 64 + 2 * i, std::uint32_t(outline.points[i][0] - low[0]), 2);
    put(bytes, 64 + 2 * (n + i), std::uint32_t(outline.points[i][1] - low[1]), 2);
  }
  put(bytes, second + 4, 1, 4);  // channel
  put(bytes, second + 8, 1, 4);  // slice
  put(bytes, second + 12, std::uint32_t(frame), 4);
  put(bytes, second + 16, std::uint32_t(second + 64), 4);
  put(bytes, second + 20, std::uint32_t(name.size()), 4);
  for (std::size_t i = 0; i < name.size(); ++i) put(bytes, second + 64 + 2 * i, std::uint8_t(name[i]), 2);
  return bytes;
}

void RoiArchive::add_frame(std::int64_t t, const std::uint32_t* labels, std::int64_t height, std::int64_t width) {
  std::map<std::uint32_t, int> pieces;
  for (const Outline& outline : trace_outlines(labels, height, width)) {
    char name[64];
    std::snprintf(name, sizeof name, "event-%04u-t%04lld", outline.label, static_cast<long long>(t + 1));
    std::string full = name;
    if (const int piece = ++pieces[outline.label]; piece > 1) full += "-" + std::to_string(piece);
    entries_.push_back({full, imagej_roi_bytes(outline, t + 1, full, event_colour(outline.label))});
  }
}

}  // namespace voxgrad::app

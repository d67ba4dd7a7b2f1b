// SPDX-License-Identifier: BSD-3-Clause
// Canvas, PNG and the preview of a movie.

#include <png.h>

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "common/files.hpp"
#include "common/png.hpp"
#include "common/preview.hpp"
#include "scratch.hpp"
#include "throws.hpp"
#include "voxgrad/core/error.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// The pixels of a PNG file as libpng reads them.
std::vector<std::uint8_t> read_png(const std::string& bytes, unsigned& width, unsigned& height) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) != 0);
  image.format = PNG_FORMAT_RGB;
  std::vector<std::uint8_t> rgb(PNG_IMAGE_SIZE(image));
  REQUIRE(png_image_finish_read(&image, nullptr, rgb.data(), 0, nullptr) != 0);
  width = image.width;
  height = image.height;
  return rgb;
}

std::size_t count_colour(const Canvas& canvas, const Colour& colour) {
  std::size_t n = 0;
  for (int y = 0; y < canvas.height(); ++y)
    for (int x = 0; x < canvas.width(); ++x) n += canvas.get(x, y) == colour;
  return n;
}

/// True if some pixel has the hue of `colour`: the same colour, darkened.
bool has_hue(const Canvas& canvas, const Colour& colour) {
  for (int y = 0; y < canvas.height(); ++y)
    for (int x = 0; x < canvas.width(); ++x) {
      const Colour c = canvas.get(x, y);
      for (double amount = 0.45; amount < 1.005; amount += 0.01) {
        const Colour want = mix({0, 0, 0}, colour, amount);
        if (std::abs(c[0] - want[0]) <= 2 && std::abs(c[1] - want[1]) <= 2 && std::abs(c[2] - want[2]) <= 2) return true;
      }
    }
  return false;
}

}  // namespace

TEST_CASE("PNG: pixels come back as they were") {
  std::vector<std::uint8_t> rgb(7 * 5 * 3);
  for (std::size_t i = 0; i < rgb.size(); ++i) rgb[i] = std::uint8_t(i * 37);
  const Scratch scratch;
  write_png(scratch.file("a.png"), 7, 5, rgb);
  unsigned width = 0, height = 0;
  CHECK(read_png(read_file(scratch.file("a.png")), width, height) == rgb);
  CHECK(width == 7);
  CHECK(height == 5);
  CHECK_THROWS_AS(png_bytes(7, 6, rgb), ShapeError);
  CHECK_THROWS_AS(png_bytes(0, 0, {}), ShapeError);
}

TEST_CASE("canvas: drawing is clipped, letters have their pixels") {
  Canvas canvas(20, 12, {1, 2, 3});
  canvas.fill(-5, -5, 7, 7, {200, 0, 0});
  canvas.frame(15, 8, 50, 50, {0, 200, 0});
  CHECK(count_colour(canvas, {200, 0, 0}) == 4);
  CHECK(canvas.get(15, 11) == Colour{0, 200, 0});
  CHECK(canvas.get(16, 10) == Colour{1, 2, 3});
  Canvas text(12, 9, {0, 0, 0});
  text.text(0, 0, "I\xc3", {255, 255, 255});
  CHECK(text.get(2, 3) == Colour{255, 255, 255});
  CHECK(text.get(0, 3) == Colour{0, 0, 0});
  CHECK(count_colour(text, {255, 255, 255}) > 15);
  CHECK(Canvas::text_width("abc", 2) == 34);
}

TEST_CASE("projections: maxima, and the onset of the brightest event") {
  Projections p({3, 2, 2});
  const std::vector<float> f0 = {1, 2, 3, 4}, f1 = {9, 0, 0, 0}, f2 = {5, 5, 5, 5};
  const std::vector<std::uint32_t> l0 = {0, 7, 0, 0}, l1 = {7, 7, 0, 0}, l2 = {8, 8, 0, 0};
  p.add(0, f0.data(), l0.data());
  p.add(1, f1.data(), l1.data());
  p.add(2, f2.data(), l2.data());
  CHECK(p.events() == 2);
  CHECK(p.xy() == std::vector<float>{9, 5, 5, 5});
  CHECK(p.tx() == std::vector<float>{3, 4, 9, 0, 5, 5});
  CHECK(p.xy_onset() == std::vector<std::int32_t>{0, 2, -1, -1});
  CHECK(p.tx_onset() == std::vector<std::int32_t>{-1, 0, 0, 0, 2, 2});
  CHECK_THROWS_AS(p.add(3, f0.data(), l0.data()), ShapeError);
}

TEST_CASE("preview: events have the colour of their onset, sizes are sane for any movie") {
  for (const data::Extent3 extent : {data::Extent3{2, 5, 3}, data::Extent3{40, 64, 64}, data::Extent3{1, 3, 700}, data::Extent3{900, 40, 8}}) {
    Projections p(extent);
    const std::size_t n = std::size_t(extent[1] * extent[2]);
    for (std::int64_t t = 0; t < extent[0]; ++t) {
      std::vector<float> frame(n, 1);
      std::vector<std::uint32_t> labels(n, 0);
      if (t == extent[0] - 1) labels[n / 2] = 3;
      frame[n / 2] = 5;
      p.add(t, frame.data(), labels.data());
    }
    const Canvas canvas = draw_preview(p, {0.1, 0, 0.5, 0.5}, "a very long name of a movie that does not fit anywhere at all, whatever one may do to it, honestly.tif");
    INFO(extent[0] << "x" << extent[1] << "x" << extent[2]);
    CHECK(canvas.width() > 200);
    CHECK(canvas.width() < 1200);
    CHECK(canvas.height() > 300);
    CHECK(canvas.height() < 1200);
    CHECK(has_hue(canvas, time_colour(extent[0] > 1 ? 1 : 0)));
  }
}

TEST_CASE("preview: captions stand apart on narrow panels, those of a volume speak of depth") {
  Projections p({12, 40, 8});
  const std::vector<float> frame(320, 1);
  const std::vector<std::uint32_t> none(320, 0);
  for (std::int64_t t = 0; t < 12; ++t) p.add(t, frame.data(), none.data());
  const Colour words = {222, 224, 228};
  const auto inked = [&](const Canvas& canvas, int from, int to) {
    std::size_t n = 0;
    for (int y = from; y < to; ++y)
      for (int x = 0; x < canvas.width(); ++x) n += canvas.get(x, y) == words;
    return n;
  };
  for (const bool depth : {false, true}) {
    const Canvas canvas = draw_preview(p, {0.1, 0, 0.5, 0.5}, "x", depth);
    std::size_t alone = 0;
    for (const char* caption : {"maximum, x-y", depth ? "x-z" : "x-t", depth ? "plane" : "time, s"}) {
      Canvas one(400, 20, {0, 0, 0});
      one.text(0, 0, caption, words, 2);
      alone += inked(one, 0, 20);
    }
    CHECK(inked(canvas, 72, 90) == alone);  // the line of captions above the upper panels: no letter covers another
  }
}

TEST_CASE("preview: not a number, constant movies and movies without events are drawn") {
  Projections p({2, 4, 4});
  const std::vector<float> nothing(16, std::numeric_limits<float>::quiet_NaN()), constant(16, 3);
  const std::vector<std::uint32_t> none(16, 0);
  p.add(0, nothing.data(), none.data());
  p.add(1, constant.data(), none.data());
  const Scratch scratch;
  write_preview(scratch.file("p.png"), p, {}, "x");
  unsigned width = 0, height = 0;
  read_png(read_file(scratch.file("p.png")), width, height);
  CHECK(width > 200);
}

TEST_CASE("time colours keep apart, blue first") {
  const Colour first = time_colour(0), last = time_colour(1);
  CHECK(first[2] > first[0]);
  CHECK(last[0] > last[2]);
  CHECK(time_colour(-1) == first);
  CHECK(time_colour(2) == last);
}

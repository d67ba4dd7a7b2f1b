// SPDX-License-Identifier: BSD-3-Clause
// Projections, contrast, axes: the picture that people look at first.

#include "preview.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "png.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

namespace {

constexpr Colour background = {24, 26, 30}, words = {222, 224, 228}, faint = {150, 154, 160}, rule = {70, 74, 80};
constexpr int panel_size = 420, margin = 18, gap = 16, scale = 2;

/// Numbers with few digits: 0.5, 12, 1500.
std::string short_number(double value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.4g", value);
  for (char* c = digits; *c; ++c)
    if (*c == ',') *c = '.';  // whatever the locale
  return digits;
}

/// The largest 1, 2 or 5 times a power of ten that is not above `limit`.
double round_step(double limit) {
  const double power = std::pow(10.0, std::floor(std::log10(limit)));
  for (const double factor : {5.0, 2.0})
    if (factor * power <= limit) return factor * power;
  return power;
}

/// Display limits: low and high percentiles of a projection, robust to a few hot pixels.
std::array<float, 2> contrast(std::vector<float> values) {
  std::erase_if(values, [](float v) { return !std::isfinite(v); });
  if (values.empty()) return {0, 1};
  const auto at = [&](double fraction) {
    const auto i = std::ptrdiff_t(fraction * double(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + i, values.end());
    return values[std::size_t(i)];
  };
  const float low = at(0.01), high = at(0.998);
  return {low, high > low ? high : low + 1};
}

/// One image to draw: values [h,w], and per pixel the onset of an event or -1.
struct Layer {
  const std::vector<float>& values;
  const std::vector<std::int32_t>& onset;
  std::int64_t height, width;
};

/// Draws a layer into a rectangle. A target pixel shows the brightest of the source pixels it covers.
void draw_layer(Canvas& canvas, const Layer& layer, int x0, int y0, int w, int h, bool events, double last_frame) {
  const auto [low, high] = contrast(layer.values);
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x) {
      const std::int64_t v0 = y * layer.height / h, v1 = std::max(v0 + 1, (y + 1) * layer.height / h);
      const std::int64_t u0 = x * layer.width / w, u1 = std::max(u0 + 1, (x + 1) * layer.width / w);
      float best = -std::numeric_limits<float>::infinity();
      std::int32_t onset = -1;
      for (std::int64_t v = v0; v < v1; ++v)
        for (std::int64_t u = u0; u < u1; ++u) {
          const std::size_t at = std::size_t(v * layer.width + u);
          best = std::max(best, layer.values[at]);
          onset = std::max(onset, layer.onset[at]);
        }
      const double grey = std::sqrt(std::clamp(double(best - low) / double(high - low), 0.0, 1.0));  // gamma lifts dim dendrites
      const auto level = std::uint8_t(std::lround(grey * 235));
      Colour colour = {level, level, level};
      if (events && onset >= 0) colour = mix({0, 0, 0}, time_colour(onset / last_frame), 0.45 + 0.55 * grey);
      else if (events) colour = mix(background, colour, 0.75);
      canvas.set(x0 + x, y0 + y, colour);
    }
  canvas.frame(x0 - 1, y0 - 1, w + 2, h + 2, rule);
}

/// A bar of a round number of micrometres in the lower left corner of a panel.
void draw_scale_bar(Canvas& canvas, int x, int y, int w, int h, double um_across) {
  const double length = round_step(um_across / 3);
  const int pixels = int(std::lround(length / um_across * w));
  const std::string label = short_number(length) + " um";
  canvas.fill(x + 8, y + h - 34, std::max(pixels, Canvas::text_width(label, scale)) + 8, 28, {0, 0, 0});
  canvas.fill(x + 12, y + h - 12, pixels, 3, {255, 255, 255});
  canvas.text(x + 12, y + h - 31, label, {255, 255, 255}, scale);
}

/// Colour bar beside the x-t or x-z panel, with ticks: its colours and the panel's rows are the same times or depths.
void draw_frame_axis(Canvas& canvas, int x, int y, int h, std::int64_t frames, double frame_step, bool colours) {
  constexpr int bar = 14;
  if (colours) {
    for (int v = 0; v < h; ++v) canvas.fill(x, y + v, bar, 1, time_colour(h > 1 ? double(v) / (h - 1) : 0));
    canvas.frame(x - 1, y - 1, bar + 2, h + 2, rule);
  }
  const double unit = frame_step > 0 ? frame_step : 1, total = double(frames) * unit;
  const double step = std::max(round_step(std::max(total / 4, unit)), frame_step > 0 ? 0.0 : 1.0);
  for (double time = 0; time <= total * 1.0001; time += step) {
    const int v = std::min(int(std::lround(time / total * h)), h - 1);
    canvas.fill(x + (colours ? bar : 0), y + v, 6, 1, faint);
    canvas.text(x + (colours ? bar : 0) + 9, std::clamp(y + v - 7, y - 2, y + h - 14), short_number(time), words, scale);
  }
}

}  // namespace

Projections::Projections(const data::Extent3& extent)
    : extent_(extent),
      xy_(std::size_t(extent[1] * extent[2]), -std::numeric_limits<float>::infinity()),
      tx_(std::size_t(extent[0] * extent[2]), -std::numeric_limits<float>::infinity()),
      xy_event_(xy_), tx_event_(tx_), xy_onset_(xy_.size(), -1), tx_onset_(tx_.size(), -1) {}

void Projections::add(std::int64_t t, const float* frame, const std::uint32_t* labels) {
  check<ShapeError>(t >= 0 && t < extent_[0], "preview: frame ", t, " of ", extent_[0]);
  for (std::int64_t y = 0; y < extent_[1]; ++y)
    for (std::int64_t x = 0; x < extent_[2]; ++x) {
      const std::size_t at = std::size_t(y * extent_[2] + x), side = std::size_t(t * extent_[2] + x);
      const float value = frame[at];
      xy_[at] = std::max(xy_[at], value);
      tx_[side] = std::max(tx_[side], value);
      if (labels[at] == 0) continue;
      const std::int32_t onset = onset_.try_emplace(labels[at], std::int32_t(t)).first->second;
      // Of several events at one place the brightest is seen, as in the projection itself.
      if (xy_onset_[at] < 0 || value > xy_event_[at]) xy_event_[at] = value, xy_onset_[at] = onset;
      if (tx_onset_[side] < 0 || value > tx_event_[side]) tx_event_[side] = value, tx_onset_[side] = onset;
    }
}

Colour time_colour(double fraction) {
  constexpr std::array<Colour, 5> stops = {{{60, 130, 255}, {90, 205, 235}, {245, 230, 70}, {240, 150, 30}, {200, 60, 20}}};
  const double position = std::clamp(fraction, 0.0, 1.0) * (stops.size() - 1);
  const std::size_t i = std::min(std::size_t(position), stops.size() - 2);
  return mix(stops[i], stops[i + 1], position - double(i));
}

Canvas draw_preview(const Projections& p, const data::Spacing& spacing, const std::string& title, bool depth) {
  const auto [frames, height, width] = p.extent();
  const double across = double(width) * (spacing.x_um > 0 ? spacing.x_um : 1), down = double(height) * (spacing.y_um > 0 ? spacing.y_um : spacing.x_um > 0 ? spacing.x_um : 1);
  const double zoom = panel_size / std::max(across, down);
  const int pw = std::max(int(std::lround(across * zoom)), 60), ph = std::max(int(std::lround(down * zoom)), 60);
  const int rows = std::max(ph, panel_size / 2), label = Canvas::text_height(scale), axis = 110;
  const int head = margin + 2 * (label + 4) + 10, row_height = label + 8 + rows;
  const std::string first = "maximum, x-y", second = depth ? "objects by depth" : "events by onset";
  const int right = margin + std::max({pw, Canvas::text_width(first, scale), Canvas::text_width(second, scale)}) + gap;  // captions of narrow panels are wider
  const std::string counts = text(p.events(), depth ? " object" : " event", p.events() == 1 ? ", " : "s, ", frames, depth ? " planes, " : " frames, ", height, " x ", width, " pixels");
  const int total = std::max(right + pw + axis + margin, 2 * margin + Canvas::text_width(counts, scale));
  Canvas canvas(total, head + 2 * row_height + gap + margin, background);
  const std::size_t fits = std::size_t(std::max(8, (total - 2 * margin) / (6 * scale)));
  canvas.text(margin, margin, title.size() <= fits ? title : "..." + title.substr(title.size() - fits + 3), words, scale);
  canvas.text(margin, margin + label + 4, counts, faint, scale);
  const double last = double(std::max<std::int64_t>(frames - 1, 1));
  for (int row = 0; row < 2; ++row) {
    const bool events = row == 1;
    const int y = head + row * (row_height + gap), top = y + label + 8;
    canvas.text(margin, y, events ? second : first, words, scale);
    canvas.text(right, y, depth ? "x-z" : "x-t", words, scale);
    const std::string unit = depth ? (spacing.z_um > 0 ? "depth, um" : "plane") : spacing.seconds > 0 ? "time, s" : "frame";
    canvas.text(right + pw + 8, y, unit, words, scale);
    draw_layer(canvas, {p.xy(), p.xy_onset(), height, width}, margin, top, pw, ph, events, last);
    draw_layer(canvas, {p.tx(), p.tx_onset(), frames, width}, right, top, pw, rows, events, last);
    draw_frame_axis(canvas, right + pw + 8, top, rows, frames, depth ? spacing.z_um : spacing.seconds, events);
    if (spacing.x_um > 0 && !events) draw_scale_bar(canvas, margin, top, pw, ph, across);
  }
  return canvas;
}

void write_preview(const std::string& path, const Projections& projections, const data::Spacing& spacing, const std::string& title, bool depth) {
  const Canvas canvas = draw_preview(projections, spacing, title, depth);
  write_png(path, canvas.width(), canvas.height(), canvas.rgb());
}

}  // namespace voxgrad::app

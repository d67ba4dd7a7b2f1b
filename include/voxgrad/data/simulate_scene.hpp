// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The still part of a simulated movie: branching dendrites with spines, out-of-focus ones, background.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "voxgrad/core/random.hpp"
#include "voxgrad/data/simulate_config.hpp"

namespace voxgrad::data {

/// One picture, row-major.
struct Picture {
  int64_t rows = 0, columns = 0;
  std::vector<float> values;
  Picture() = default;
  Picture(int64_t h, int64_t w, float v = 0) : rows(h), columns(w), values(size_t(h * w), v) {}
  float& at(int64_t y, int64_t x) { return values[size_t(y * columns + x)]; }
  float at(int64_t y, int64_t x) const { return values[size_t(y * columns + x)]; }
};

/// Gaussian blur, edges repeated.
inline Picture blur(const Picture& in, double sigma) {
  const int64_t reach = std::max<int64_t>(1, int64_t(std::ceil(3.5 * sigma)));
  std::vector<double> kernel;
  double sum = 0;
  for (int64_t i = -reach; i <= reach; ++i)
    sum += (kernel.emplace_back(std::exp(-0.5 * double(i * i) / (sigma * sigma))));
  for (double& k : kernel) k /= sum;
  Picture across(in.rows, in.columns), out(in.rows, in.columns);
  for (int64_t y = 0; y < in.rows; ++y)
    for (int64_t x = 0; x < in.columns; ++x) {
      double v = 0;
      for (int64_t i = -reach; i <= reach; ++i)
        v += kernel[size_t(i + reach)] * double(in.at(y, std::clamp<int64_t>(x + i, 0, in.columns - 1)));
      across.at(y, x) = float(v);
    }
  for (int64_t y = 0; y < in.rows; ++y)
    for (int64_t x = 0; x < in.columns; ++x) {
      double v = 0;
      for (int64_t i = -reach; i <= reach; ++i)
        v += kernel[size_t(i + reach)] * double(across.at(std::clamp<int64_t>(y + i, 0, in.rows - 1), x));
      out.at(y, x) = float(v);
    }
  return out;
}

inline double draw(Random& random, const Lognormal& d) {
  return std::clamp(d.median * std::exp(d.sigma * random.normal()), d.low, d.high);
}

/// A place where an event can happen.
struct Site {
  double y = 0, x = 0, angle = 0;  ///< angle: of the dendrite there
  bool spine = false;
};

struct Scene {
  Picture structure;   ///< 0..1: how much there is a dendrite or spine, after the optics
  Picture resting;     ///< fluorescence of them, photo-electrons
  Picture background;  ///< everything that does not belong to them
  std::vector<Site> shafts, spines;
};

/// Draws dendrites as smoothed random walks into a scene.
class DendritePainter {
 public:
  DendritePainter(const SimulateConfig& config, Random& random)
      : c_(config),
        r_(random),
        shape_(config.extent[1], config.extent[2]),
        light_(config.extent[1], config.extent[2]) {}

  /// One dendrite that enters at the border and heads inwards.
  void dendrite(bool with_spines) {
    const double h = double(c_.extent[1]), w = double(c_.extent[2]);
    const double side = r_.uniform() * 2 * (h + w);
    double y = 0, x = 0, inwards = 0;
    if (side < w)
      y = -4, x = side, inwards = pi / 2;
    else if (side < 2 * w)
      y = h + 4, x = side - w, inwards = -pi / 2;
    else if (side < 2 * w + h)
      y = side - 2 * w, x = -4, inwards = 0;
    else
      y = side - 2 * w - h, x = w + 4, inwards = pi;
    with_spines_ = with_spines;
    walk(y, x, inwards + r_.uniform(-0.8, 0.8), draw(r_, c_.radius),
         std::exp(c_.brightness_sigma * r_.normal()), 0);
  }

  const Picture& shape() const { return shape_; }
  const Picture& light() const { return light_; }
  std::vector<Site> shafts, spines;

 private:
  static constexpr double pi = 3.141592653589793;

  void walk(double y, double x, double angle, double radius, double brightness, int order) {
    const double h = double(c_.extent[1]), w = double(c_.extent[2]);
    const double length = (h + w) * (order == 0 ? 1.0 : r_.uniform(0.1, 0.5));
    double bend = 0, swell = 0, depth = 0;
    for (double walked = 0; walked < length; ++walked) {
      bend = 0.96 * bend + 0.004 * r_.normal();
      swell = 0.9 * swell + 0.06 * r_.normal();   // varicosities
      depth = 0.99 * depth + 0.04 * r_.normal();  // height above the glass: evanescent light fades
      angle += bend;
      y += std::sin(angle);
      x += std::cos(angle);
      if (y < -8 || x < -8 || y > h + 8 || x > w + 8) return;
      const double taper = order == 0 ? 1 : 1 - 0.5 * walked / length;
      const double here = radius * taper * std::exp(swell), light = brightness * std::exp(depth);
      disc(y, x, here, light);
      if (int64_t(walked) % 4 == 0 && with_spines_) add_site(shafts, y, x, angle, false);
      if (with_spines_ && r_.uniform() < 1 / c_.spine_distance) spine(y, x, angle, here, light);
      if (order < 3 && walked > 15 && r_.uniform() < 1 / c_.branch_length) {
        const double turn = (r_.uniform() < 0.5 ? -1 : 1) * r_.uniform(0.4, 1.2);
        walk(y, x, angle + turn, std::max(1.0, radius * 0.72), light * r_.uniform(0.6, 1.0), order + 1);
      }
    }
  }

  void spine(double y, double x, double angle, double radius, double light) {
    const double out = angle + (r_.uniform() < 0.5 ? -1 : 1) * (pi / 2 + 0.4 * r_.normal());
    const double reach = radius + r_.uniform(1.5, 6.5), head = draw(r_, {1.5, 0.25, 0.8, 2.8});
    const double factor = r_.uniform(0.2, 0.9);
    for (double s = radius * 0.8; s < reach; s += 0.7)
      disc(y + s * std::sin(out), x + s * std::cos(out), 0.8, light * factor * 0.5);
    const double hy = y + reach * std::sin(out), hx = x + reach * std::cos(out);
    disc(hy, hx, head, light * factor);
    add_site(spines, hy, hx, angle, true);
  }

  void add_site(std::vector<Site>& sites, double y, double x, double angle, bool is_spine) {
    if (y >= 4 && x >= 4 && y < double(c_.extent[1]) - 4 && x < double(c_.extent[2]) - 4)
      sites.push_back({y, x, angle, is_spine});
  }

  /// The projection of a round cross-section; overlaps keep the brighter one.
  void disc(double y, double x, double radius, double light) {
    const int64_t y0 = std::max<int64_t>(0, int64_t(std::floor(y - radius - 1)));
    const int64_t y1 = std::min<int64_t>(shape_.rows - 1, int64_t(std::ceil(y + radius + 1)));
    const int64_t x0 = std::max<int64_t>(0, int64_t(std::floor(x - radius - 1)));
    const int64_t x1 = std::min<int64_t>(shape_.columns - 1, int64_t(std::ceil(x + radius + 1)));
    const double thickness = std::min(1.0, radius / c_.radius.median);
    for (int64_t py = y0; py <= y1; ++py)
      for (int64_t px = x0; px <= x1; ++px) {
        const double d2 =
            ((double(py) - y) * (double(py) - y) + (double(px) - x) * (double(px) - x)) / (radius * radius);
        if (d2 >= 1) continue;
        const double profile = std::sqrt(1 - d2);
        shape_.at(py, px) = std::max(shape_.at(py, px), float(profile));
        light_.at(py, px) = std::max(light_.at(py, px), float(profile * light * (0.35 + 0.65 * thickness)));
      }
  }

  const SimulateConfig& c_;
  Random& r_;
  Picture shape_, light_;
  bool with_spines_ = true;
};

/// Slowly varying background: a few plane waves over a constant, and the fall-off of the illumination.
inline Picture draw_haze(const SimulateConfig& c, Random& random) {
  Picture out(c.extent[1], c.extent[2], 1);
  const double edge = double(std::max(c.extent[1], c.extent[2]));
  for (int wave = 0; wave < 6; ++wave) {
    const double direction = random.uniform(0, 6.283185307179586),
                 phase = random.uniform(0, 6.283185307179586);
    const double k = 6.283185307179586 * random.uniform(0.5, 3.0) / edge,
                 height = c.haze * 0.5 * random.normal();
    for (int64_t y = 0; y < out.rows; ++y)
      for (int64_t x = 0; x < out.columns; ++x)
        out.at(y, x) +=
            float(height *
                  std::sin(k * (double(x) * std::cos(direction) + double(y) * std::sin(direction)) + phase));
  }
  for (float& v : out.values) v = float(c.background) * std::max(0.25f, v);
  return out;
}

inline Scene draw_scene(const SimulateConfig& c, Random random) {
  const double edge = std::sqrt(double(c.extent[1] * c.extent[2])) / 256;
  DendritePainter sharp(c, random), far(c, random);
  const int count = std::max(1, int(std::lround(c.dendrites * edge)));
  for (int i = 0; i < count || (sharp.shafts.size() < 16 && i < 10 * count); ++i) sharp.dendrite(true);
  for (int i = 0; i < int(std::lround(c.blurred_dendrites * edge)); ++i) far.dendrite(false);
  Scene s;
  s.structure = blur(sharp.shape(), c.psf);
  s.resting = blur(sharp.light(), c.psf);
  s.background = draw_haze(c, random);
  const Picture unsharp = blur(far.light(), 5), glow = blur(sharp.light(), 9);
  const double cy = double(c.extent[1]) * random.uniform(0.4, 0.6),
               cx = double(c.extent[2]) * random.uniform(0.4, 0.6);
  const double reach = 0.9 * double(std::max(c.extent[1], c.extent[2]));
  for (int64_t y = 0; y < c.extent[1]; ++y)
    for (int64_t x = 0; x < c.extent[2]; ++x) {
      const double r2 = (double(y) - cy) * (double(y) - cy) + (double(x) - cx) * (double(x) - cx);
      const double lamp = std::exp(-0.5 * r2 / (reach * reach));
      const double blurred = 0.8 * double(unsharp.at(y, x)) + 0.25 * double(glow.at(y, x));
      s.background.at(y, x) = float(lamp * (double(s.background.at(y, x)) + c.brightness * blurred));
      s.resting.at(y, x) = float(lamp * c.brightness * double(s.resting.at(y, x)));
    }
  s.shafts = std::move(sharp.shafts);
  s.spines = std::move(sharp.spines);
  return s;
}

}  // namespace voxgrad::data

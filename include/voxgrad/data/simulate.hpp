// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A synthetic but honest microscope: movies of dendrites with miniature calcium transients, and their exact
// truth. Frames can be made in any order and by any number of threads; the same config gives the same bytes.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/data/simulate_config.hpp"
#include "voxgrad/data/simulate_events.hpp"
#include "voxgrad/data/simulate_noise.hpp"
#include "voxgrad/data/simulate_scene.hpp"

namespace voxgrad::data {

class Simulator {
 public:
  explicit Simulator(const SimulateConfig& config) : c_(config) {
    check_config(c_);
    scene_ = draw_scene(c_, Random(c_.seed, scene_stream));
    set_ = draw_events(c_, scene_, Random(c_.seed, event_stream));
    draw_time_courses(Random(c_.seed, time_stream));
    active_.resize(size_t(c_.extent[0]));
    for (size_t i = 0; i < set_.events.size(); ++i) {
      const TimeCourse course = time_course(i);
      for (int64_t t = std::max<int64_t>(0, int64_t(course.onset)); t < std::min(c_.extent[0], course.end());
           ++t)
        active_[size_t(t)].push_back(i);
    }
  }

  const SimulateConfig& config() const { return c_; }
  const Scene& scene() const { return scene_; }
  const std::vector<SimulatedEvent>& events() const { return set_.events; }

  /// Frame t as the camera would report it. out: H*W.
  void frame(int64_t t, uint16_t* out) const {
    const int64_t w = c_.extent[2];
    const auto [dy, dx] = shift_[size_t(t)];
    const double lamp = lamp_[size_t(t)];
    parallel_for(c_.extent[1], 8, [&, dy = dy, dx = dx](int64_t y0, int64_t y1) {
      std::vector<double> light(static_cast<size_t>(w));
      for (int64_t y = y0; y < y1; ++y) {
        for (int64_t x = 0; x < w; ++x) light[size_t(x)] = resting(y, x, dy, dx);
        add_events(t, y, light);
        for (int64_t x = 0; x < w; ++x)
          out[y * w + x] = camera_pixel(lamp * light[size_t(x)], c_.offset, c_.gain, c_.read_noise, c_.seed,
                                        noise_stream, uint64_t((t * c_.extent[1] + y) * w + x));
      }
    });
  }

  /// Event numbers of frame t, 0 where there is none. out: H*W.
  void label(int64_t t, uint16_t* out) const {
    std::fill_n(out, c_.extent[1] * c_.extent[2], uint16_t(0));
    std::vector<float> strongest;
    if (c_.overlap) strongest.assign(size_t(c_.extent[1] * c_.extent[2]), 0);
    for (const size_t i : active_[size_t(t)]) {
      const Footprint& f = set_.footprints[i];
      const double k = time_course(i).at(t);
      for (int64_t y = f.y0; y < f.y0 + f.rows; ++y)
        for (int64_t x = f.x0; x < f.x0 + f.columns; ++x) {
          if (k * double(f.at(y, x)) < c_.label_level) continue;
          const size_t at = size_t(y * c_.extent[2] + x);
          const auto strength = float(k * double(f.at(y, x)) * set_.events[i].peak_electrons);
          if (c_.overlap && strength < strongest[at]) continue;
          if (c_.overlap) strongest[at] = strength;
          out[at] = uint16_t(set_.events[i].id);
        }
    }
  }

 private:
  static constexpr uint64_t scene_stream = 1, event_stream = 2, time_stream = 3, noise_stream = 16;

  TimeCourse time_course(size_t i) const {
    const SimulatedEvent& e = set_.events[i];
    return {e.onset, e.rise, e.decay};
  }

  /// Light of a pixel without events; small shifts by the gradient.
  double resting(int64_t y, int64_t x, double dy, double dx) const {
    const auto value = [&](int64_t py, int64_t px) { return double(scene_.resting.at(py, px)); };
    double v = value(y, x);
    if (dy != 0 || dx != 0) {
      const int64_t up = std::max<int64_t>(0, y - 1), down = std::min(c_.extent[1] - 1, y + 1);
      const int64_t left = std::max<int64_t>(0, x - 1), right = std::min(c_.extent[2] - 1, x + 1);
      v += dy * (value(down, x) - value(up, x)) / 2 + dx * (value(y, right) - value(y, left)) / 2;
    }
    return std::max(0.0, v) + double(scene_.background.at(y, x));
  }

  void add_events(int64_t t, int64_t y, std::vector<double>& light) const {
    for (const size_t i : active_[size_t(t)]) {
      const Footprint& f = set_.footprints[i];
      if (y < f.y0 || y >= f.y0 + f.rows) continue;
      const double height = set_.events[i].peak_electrons * time_course(i).at(t);
      for (int64_t x = f.x0; x < f.x0 + f.columns; ++x) light[size_t(x)] += height * double(f.at(y, x));
    }
  }

  /// Bleaching, slow drift and residual motion, one value per frame.
  void draw_time_courses(Random r) {
    double phase[4], period[4], height[4];
    for (int i = 0; i < 4; ++i) {
      phase[i] = r.uniform(0, 6.283185307179586);
      period[i] = double(c_.extent[0]) / r.uniform(0.5, 4.0);
      height[i] = c_.drift / std::sqrt(2.0) * r.normal();
    }
    double dy = 0, dx = 0;
    for (int64_t t = 0; t < c_.extent[0]; ++t) {
      double drift = 1;
      for (int i = 0; i < 4; ++i)
        drift += height[i] * std::sin(6.283185307179586 * double(t) / period[i] + phase[i]);
      const double bleach = 1 - c_.bleach_fraction * (1 - std::exp(-double(t) / c_.bleach_frames));
      lamp_.push_back(std::max(0.1, drift) * bleach);
      dy = 0.8 * dy + 0.6 * c_.motion * r.normal();
      dx = 0.8 * dx + 0.6 * c_.motion * r.normal();
      shift_.emplace_back(dy, dx);
    }
  }

  SimulateConfig c_;
  Scene scene_;
  EventSet set_;
  std::vector<double> lamp_;
  std::vector<std::pair<double, double>> shift_;
  std::vector<std::vector<size_t>> active_;
};

}  // namespace voxgrad::data

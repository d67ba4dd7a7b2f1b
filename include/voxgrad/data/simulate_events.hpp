// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where, when and how strongly simulated events happen, and which voxels they cover.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "voxgrad/core/random.hpp"
#include "voxgrad/data/simulate_config.hpp"
#include "voxgrad/data/simulate_scene.hpp"

namespace voxgrad::data {

/// Time course of an event: (1 - exp(-s/rise)) exp(-s/decay), s frames after the onset, scaled to a maximum
/// of 1.
struct TimeCourse {
  double onset, rise, decay;

  double raw(double s) const { return s <= 0 ? 0 : (1 - std::exp(-s / rise)) * std::exp(-s / decay); }
  double peak_time() const { return rise * std::log(1 + decay / rise); }
  double at(int64_t frame) const { return raw(double(frame) - onset) / raw(peak_time()); }
  /// First frame after which less than 0.1 % is left.
  int64_t end() const { return int64_t(std::ceil(onset + rise + 7.5 * decay)) + 1; }
};

/// The spatial part of an event: a patch of the picture, scaled to a maximum of 1.
struct Footprint {
  int64_t y0 = 0, x0 = 0, rows = 0, columns = 0;
  std::vector<float> values;
  float at(int64_t y, int64_t x) const { return values[size_t((y - y0) * columns + (x - x0))]; }
};

/// An ellipse along the dendrite, pulled into the shape of the structure: calcium stays inside the membrane.
inline Footprint draw_footprint(const SimulatedEvent& e, const Picture& structure) {
  Footprint f;
  const double reach = 3.2 * e.length + 2;
  f.y0 = std::max<int64_t>(0, int64_t(e.y - reach));
  f.x0 = std::max<int64_t>(0, int64_t(e.x - reach));
  f.rows = std::min(structure.rows, int64_t(e.y + reach) + 1) - f.y0;
  f.columns = std::min(structure.columns, int64_t(e.x + reach) + 1) - f.x0;
  float highest = 0;
  for (int64_t y = f.y0; y < f.y0 + f.rows; ++y)
    for (int64_t x = f.x0; x < f.x0 + f.columns; ++x) {
      const double dy = double(y) - e.y, dx = double(x) - e.x;
      const double u = (dx * std::cos(e.angle) + dy * std::sin(e.angle)) / e.length;
      const double v = (dy * std::cos(e.angle) - dx * std::sin(e.angle)) / e.width;
      const double inside = std::pow(double(std::min(1.0f, structure.at(y, x))), 0.7);
      f.values.push_back(float(std::exp(-0.5 * (u * u + v * v)) * (0.25 + 0.75 * inside)));
      highest = std::max(highest, f.values.back());
    }
  for (float& v : f.values) v /= highest;
  return f;
}

/// All events of a movie with their footprints, sorted by onset.
struct EventSet {
  std::vector<SimulatedEvent> events;
  std::vector<Footprint> footprints;
};

/// Fills in peak frame, box and voxel count of the label; false if it is smaller than 2 frames, 3 rows or 3
/// columns.
inline bool measure_label(SimulatedEvent& e, const Footprint& f, double level, int64_t frames) {
  const TimeCourse course{e.onset, e.rise, e.decay};
  double best = 0;
  e.box = {{frames, f.y0 + f.rows, f.x0 + f.columns}, {0, 0, 0}};
  e.voxels = 0;
  for (int64_t t = std::max<int64_t>(0, int64_t(e.onset)); t < std::min(frames, course.end()); ++t) {
    const double k = course.at(t);
    if (k > best) best = k, e.peak_frame = t;
    if (k < level) continue;
    e.box.start[0] = std::min(e.box.start[0], t);
    e.box.stop[0] = t + 1;
    for (int64_t y = f.y0; y < f.y0 + f.rows; ++y)
      for (int64_t x = f.x0; x < f.x0 + f.columns; ++x) {
        if (k * double(f.at(y, x)) < level) continue;
        ++e.voxels;
        e.box.start[1] = std::min(e.box.start[1], y);
        e.box.stop[1] = std::max(e.box.stop[1], y + 1);
        e.box.start[2] = std::min(e.box.start[2], x);
        e.box.stop[2] = std::max(e.box.stop[2], x + 1);
      }
  }
  const Extent3 n = e.box.size();
  return n[0] >= 2 && n[1] >= 3 && n[2] >= 3;
}

/// Whether two boxes come closer than `gap` voxels on all axes.
inline bool boxes_near(const Box3& a, const Box3& b, int64_t gap) {
  for (size_t i = 0; i < 3; ++i)
    if (a.start[i] >= b.stop[i] + gap || b.start[i] >= a.stop[i] + gap) return false;
  return true;
}

inline SimulatedEvent draw_event(const SimulateConfig& c, const Scene& scene, const Site& site, Random& r) {
  SimulatedEvent e;
  e.onset = r.uniform(0.5, double(c.extent[0]) - 4);
  e.y = site.y + 0.4 * r.normal();
  e.x = site.x + 0.4 * r.normal();
  e.angle = site.angle;
  e.on_spine = site.spine;
  e.amplitude = draw(r, c.amplitude);
  e.rise = draw(r, c.rise);
  e.decay = draw(r, c.decay);
  e.width = draw(r, c.width);
  const double aspect = draw(r, c.aspect);
  e.length = e.width * (site.spine ? std::sqrt(aspect) : aspect);
  const int64_t y = std::clamp<int64_t>(std::lround(e.y), 0, c.extent[1] - 1);
  const int64_t x = std::clamp<int64_t>(std::lround(e.x), 0, c.extent[2] - 1);
  const double resting = double(scene.resting.at(y, x));
  e.peak_electrons = e.amplitude * std::max(resting, 0.3 * c.brightness);  // a dark spine still lights up
  e.local_electrons = resting + double(scene.background.at(y, x));
  return e;
}

inline EventSet draw_events(const SimulateConfig& c, const Scene& scene, Random r) {
  const double mean = c.event_rate * double(voxel_count(c.extent)) / 1e6;
  const auto wanted =
      int64_t(std::max(0.0, std::round(mean + std::sqrt(mean) * std::clamp(r.normal(), -2.0, 2.0))));
  std::vector<std::pair<SimulatedEvent, Footprint>> kept;
  std::vector<Site> active;
  for (int64_t tries = 0; int64_t(kept.size()) < wanted && tries < 200 * wanted; ++tries) {
    const bool repeat = !active.empty() && r.uniform() < c.repeat_share;
    const bool spine = !scene.spines.empty() && (scene.shafts.empty() || r.uniform() < c.spine_share);
    const std::vector<Site>& sites = repeat ? active : spine ? scene.spines : scene.shafts;
    if (sites.empty()) break;
    const Site site = sites[size_t(r.below(sites.size()))];
    SimulatedEvent e = draw_event(c, scene, site, r);
    Footprint f = draw_footprint(e, scene.structure);
    if (!measure_label(e, f, c.label_level, c.extent[0])) continue;
    const auto touches = [&](const auto& other) { return boxes_near(e.box, other.first.box, 2); };
    if (!c.overlap && std::any_of(kept.begin(), kept.end(), touches)) continue;
    if (!repeat) active.push_back(site);
    kept.emplace_back(e, std::move(f));
  }
  std::stable_sort(kept.begin(), kept.end(),
                   [](const auto& a, const auto& b) { return a.first.onset < b.first.onset; });
  EventSet set;
  for (auto& [e, f] : kept) {
    e.id = int64_t(set.events.size()) + 1;
    set.events.push_back(e);
    set.footprints.push_back(std::move(f));
  }
  return set;
}

}  // namespace voxgrad::data

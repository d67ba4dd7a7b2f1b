// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/data/simulate.hpp"

#include <cmath>
#include <map>

#include "catch.hpp"
#include "voxgrad/data/annotate.hpp"

using namespace voxgrad;
using namespace voxgrad::data;

namespace {

SimulateConfig small() {
  SimulateConfig c;
  c.extent = {60, 96, 80};
  c.event_rate = 30;
  c.seed = 5;
  return c;
}

Volume<uint16_t> film(const Simulator& s) {
  Volume<uint16_t> movie(s.config().extent);
  for (int64_t t = 0; t < movie.extent[0]; ++t) s.frame(t, movie.frame(t));
  return movie;
}

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("simulate: Poisson numbers have the right mean, variance and small probabilities") {
  for (double lambda : {0.0, 0.3, 4.0, 9.9, 10.0, 37.5, 400.0}) {
    Random r(11, uint64_t(lambda * 10));
    const int n = 200000;
    double sum = 0, squares = 0;
    std::map<int, int> count;
    for (int i = 0; i < n; ++i) {
      Random more(12, uint64_t(lambda * 10), uint64_t(i) << 8);
      const double k = poisson(lambda, 1 - r.uniform(), 1 - r.uniform(), more);
      REQUIRE(k >= 0);
      REQUIRE(k == std::floor(k));
      sum += k;
      squares += k * k;
      ++count[int(k)];
    }
    const double mean = sum / n, variance = squares / n - mean * mean;
    INFO("lambda " << lambda);
    CHECK(std::fabs(mean - lambda) <= 5 * std::sqrt(lambda / n));
    CHECK(std::fabs(variance - lambda) <= 5 * std::sqrt((2 * lambda * lambda + lambda) / n));
    const int mode = int(lambda);
    for (int k = std::max(0, mode - int(2 * std::sqrt(lambda))); k <= mode + int(2 * std::sqrt(lambda));
         ++k) {
      const double p =
          lambda == 0 ? (k == 0) : std::exp(-lambda + k * std::log(lambda) - std::lgamma(k + 1.0));
      CHECK(std::fabs(count[k] - n * p) <= 5 * std::sqrt(n * p * (1 - p)) + 1e-9);
    }
  }
  for (int k = 0; k < 60; ++k) CHECK(log_factorial(k) == Approx(std::lgamma(k + 1.0)).margin(1e-9));
}

TEST_CASE("simulate: the camera adds offset, gain and read noise, and clips to 16 bits") {
  double sum = 0, squares = 0;
  const int n = 100000;
  for (int i = 0; i < n; ++i) {
    const double v = camera_pixel(50, 100, 2.2, 1.6, 1, 16, uint64_t(i));
    sum += v;
    squares += v * v;
  }
  const double mean = sum / n, variance = squares / n - mean * mean,
               expected = 2.2 * 2.2 * (50 + 1.6 * 1.6) + 1.0 / 12;
  CHECK(mean == Approx(100 + 110).epsilon(0.001));
  CHECK(variance == Approx(expected).epsilon(0.03));
  CHECK(camera_pixel(1e6, 100, 2, 1, 1, 1, 1) == 65535);
  CHECK(camera_pixel(0, 0, 2, 0, 1, 1, 1) == 0);
}

TEST_CASE("simulate: same config, same bytes, for any number of threads and any order of frames") {
  const Simulator a(small()), b(small());
  const int before = threads();
  set_threads(1);
  const Volume<uint16_t> one = film(a);
  set_threads(3);
  Volume<uint16_t> three(one.extent);
  for (int64_t t = one.extent[0]; t-- > 0;) b.frame(t, three.frame(t));
  set_threads(before);
  CHECK(one.voxels == three.voxels);
  SimulateConfig other = small();
  other.seed = 6;
  CHECK(film(Simulator(other)).voxels != one.voxels);
}

TEST_CASE("simulate: labels, boxes and numbers of events agree, and events stay apart") {
  const Simulator s(small());
  REQUIRE(s.events().size() > 4);
  const Annotation truth = annotate_truth(s);
  for (const SimulatedEvent& e : s.events()) {
    Box3 box{{60, 96, 80}, {0, 0, 0}};
    int64_t voxels = 0;
    for (int64_t t = 0; t < 60; ++t)
      for (int64_t y = 0; y < 96; ++y)
        for (int64_t x = 0; x < 80; ++x) {
          if (truth.label.at(t, y, x) != e.id) continue;
          ++voxels;
          const Extent3 at{t, y, x};
          for (size_t a = 0; a < 3; ++a) {
            box.start[a] = std::min(box.start[a], at[a]);
            box.stop[a] = std::max(box.stop[a], at[a] + 1);
          }
        }
    INFO("event " << e.id);
    CHECK(voxels == e.voxels);
    CHECK(box.start == e.box.start);
    CHECK(box.stop == e.box.stop);
    CHECK(box.size()[0] >= 2);
    CHECK(box.size()[1] >= 3);
    CHECK(box.size()[2] >= 3);
    CHECK(e.peak_frame >= box.start[0]);
    CHECK(e.peak_frame < box.stop[0]);
    for (const SimulatedEvent& o : s.events()) CHECK((o.id == e.id || !boxes_near(o.box, e.box, 2)));
  }
  Volume<uint8_t> mask(truth.label.extent);
  for (size_t i = 0; i < mask.voxels.size(); ++i) mask.voxels[i] = truth.label.voxels[i] > 0;
  Volume<uint16_t> numbered;
  CHECK(number_components(mask, {1, 1, 1}, numbered).size() >= s.events().size());
}

TEST_CASE("simulate: an event brightens its voxels by what its truth says") {
  SimulateConfig c = small();
  c.bleach_fraction = c.drift = 0;
  const Simulator with(c);
  c.event_rate = 0;
  const Simulator without(c);
  REQUIRE(without.events().empty());
  const auto strongest =
      std::max_element(with.events().begin(), with.events().end(),
                       [](const auto& a, const auto& b) { return a.peak_electrons < b.peak_electrons; });
  std::vector<uint16_t> a(96 * 80), b(96 * 80), label(96 * 80);
  with.frame(strongest->peak_frame, a.data());
  without.frame(strongest->peak_frame, b.data());
  with.label(strongest->peak_frame, label.data());
  double difference = 0, inside = 0;
  for (size_t i = 0; i < a.size(); ++i)
    if (label[i] == strongest->id) difference += double(a[i]) - double(b[i]), ++inside;
  REQUIRE(inside > 4);
  const double per_voxel = difference / inside / c.gain;
  CHECK(per_voxel > 0.25 * strongest->peak_electrons);
  CHECK(per_voxel < strongest->peak_electrons);
}

TEST_CASE("simulate: bleaching dims the movie, overlap lets the stronger event win") {
  SimulateConfig c = small();
  c.event_rate = 0;
  c.drift = 0;
  c.bleach_fraction = 0.5;
  c.bleach_frames = 10;
  const Simulator s(c);
  std::vector<uint16_t> first(96 * 80), last(96 * 80);
  s.frame(0, first.data());
  s.frame(59, last.data());
  const auto light = [&](const std::vector<uint16_t>& f) {
    double sum = 0;
    for (uint16_t v : f) sum += double(v) - c.offset;
    return sum;
  };
  CHECK(light(last) / light(first) == Approx(0.5).epsilon(0.02));

  c = small();
  c.overlap = true;
  c.event_rate = 200;
  const Simulator crowded(c);
  CHECK(crowded.events().size() > 60);
  CHECK(annotate_truth(crowded).events.size() == crowded.events().size());
}

TEST_CASE("simulate: senseless settings are named") {
  const auto error = [](auto&& change) {
    SimulateConfig c = small();
    change(c);
    return message_of([&] { Simulator s(c); });
  };
  CHECK(error([](auto& c) { c.extent[1] = 16; }) ==
        "simulate: size 60,16,80 is too small (expected at least 8 frames of 32x32).");
  CHECK(error([](auto& c) { c.event_rate = -1; }) ==
        "simulate: event rate is -1 (expected 0 to 1000 per million voxels).");
  CHECK(error([](auto& c) { c.label_level = 1; }) ==
        "simulate: label level is 1 (expected between 0 and 1).");
  CHECK(error([](auto& c) { c.motion = 3; }) == "simulate: motion is 3 (expected 0 to 1 pixels).");
}

TEST_CASE("annotate: censoring drops events at the rate, nested, and keeps the others as they are") {
  SimulateConfig c = small();
  c.event_rate = 100;
  const Annotation truth = annotate_truth(Simulator(c));
  const auto all = truth.events.size();
  REQUIRE(all > 20);
  const Annotation none = annotate_censored(truth, 0, 1), half = annotate_censored(truth, 0.5, 1),
                   most = annotate_censored(truth, 0.8, 1), everything = annotate_censored(truth, 1, 1);
  CHECK(none.label.voxels == truth.label.voxels);
  CHECK(everything.events.empty());
  CHECK(std::abs(double(half.events.size()) - double(all) / 2) < 2.5 * std::sqrt(double(all)));
  std::vector<uint8_t> kept(65536);
  for (const Event& e : half.events) kept[size_t(e.id)] = 1;
  for (const Event& e : most.events) CHECK(kept[size_t(e.id)] == 1);
  for (size_t i = 0; i < truth.label.voxels.size(); ++i) {
    const uint16_t v = truth.label.voxels[i];
    REQUIRE(half.label.voxels[i] == (kept[v] ? v : 0));
  }
  const std::vector<bool> found = annotated_events(truth, half);
  for (size_t i = 0; i < all; ++i) CHECK(found[i] == bool(kept[size_t(truth.events[i].id)]));
}

TEST_CASE(
    "annotate: the intensity rule finds bright events, misses faint ones, and is quiet without events") {
  SimulateConfig c = small();
  c.extent = {100, 128, 128};
  c.event_rate = 8;
  const Simulator s(c);
  const Volume<uint16_t> movie = film(s);
  const Preprocess p = measure_movie(
      c.extent, [&](int64_t t, float* out) { std::copy_n(movie.frame(t), movie.frame_size(), out); });
  const Annotation truth = annotate_truth(s), found = annotate_by_intensity(movie, p, 6);
  const std::vector<bool> hit = annotated_events(truth, found);
  double bright = 0, bright_hit = 0, faint = 0, faint_hit = 0;
  for (size_t i = 0; i < hit.size(); ++i) {
    const bool is_bright = s.events()[i].snr(c.read_noise) > 4;
    (is_bright ? bright : faint) += 1;
    (is_bright ? bright_hit : faint_hit) += hit[i];
  }
  REQUIRE(bright >= 2);
  REQUIRE(faint >= 4);
  CHECK(bright_hit == bright);
  CHECK(faint_hit < faint);
  for (const Event& e : found.events) {
    CHECK(e.t_max - e.t_min >= 2);
    CHECK(e.y_max - e.y_min >= 3);
  }
  c.event_rate = 0;
  const Volume<uint16_t> quiet = film(Simulator(c));
  CHECK(annotate_by_intensity(quiet, p, 6).events.empty());
}

TEST_CASE("annotate: components are numbered in raster order, diagonals connect, small ones go") {
  Volume<uint8_t> mask({3, 6, 6});
  mask.at(0, 5, 5) = mask.at(0, 0, 0) = mask.at(1, 1, 1) = mask.at(2, 2, 0) = 1;
  Volume<uint16_t> out;
  const std::vector<Event> all = number_components(mask, {1, 1, 1}, out);
  REQUIRE(all.size() == 2);
  CHECK(out.at(2, 2, 0) == 1);
  CHECK(out.at(0, 5, 5) == 2);
  CHECK(all[0].t_max == 3);
  CHECK(all[0].y_max == 3);
  CHECK(all[0].x_max == 2);
  CHECK(number_components(mask, {2, 3, 2}, out).size() == 1);
  CHECK(out.at(0, 5, 5) == 0);
}

// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/data/preprocess.hpp"

#include <fstream>
#include <string>

#include "catch.hpp"

using namespace voxgrad;
using namespace voxgrad::data;

namespace {

struct Lcg {
  uint32_t x;
  uint32_t next() { return x = 1664525u * x + 1013904223u; }
};

std::vector<float> uniform(int n, uint32_t seed) {
  Lcg lcg{seed};
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = float(lcg.next() >> 8) / 16777216.0f;
  return out;
}

/// The movie of conformance vector 12.1: noise, a slow ramp, a bright disc and an event in its middle.
Volume<float> conformance_movie() {
  Volume<float> movie({16, 12, 14});
  Lcg lcg{12345};
  for (int64_t t = 0; t < 16; ++t)
    for (int64_t y = 0; y < 12; ++y)
      for (int64_t x = 0; x < 14; ++x) {
        const int64_t r = (y - 5) * (y - 5) + (x - 6) * (x - 6);
        int64_t v = 100 + (lcg.next() >> 24) / 8 + 3 * t;
        if (r <= 9) v += 60;
        if (r <= 4 && t >= 5 && t <= 7) v += 150;
        movie.at(t, y, x) = float(v);
      }
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

TEST_CASE("triangle threshold: conformance vector 12.2") {
  const std::vector<float> v{0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 9, 12, 20, 20};
  CHECK(triangle_threshold(v.data(), int64_t(v.size())) == 0.1171875f);
}

TEST_CASE("triangle threshold: the same as scikit-image on skewed data, and its foreground") {
  std::ifstream golden(std::string(VOXGRAD_SOURCE_DIR) + "/tests/golden/preprocess/golden.txt");
  REQUIRE(golden.good());
  const std::vector<float> u = uniform(5000, 12345);
  int cases = 0;
  for (std::string line; std::getline(golden, line);) {
    std::istringstream in(line);
    std::string kind, name;
    double threshold = 0, mean = 0;
    int64_t count = 0;
    in >> kind >> name >> threshold >> count >> mean;
    if (kind != "triangle") continue;
    std::vector<float> v = u;
    for (float& x : v) {
      if (name == "cube")
        x = x * x * x;
      else if (name == "mirror")
        x = 1 - x * x * x;
      else if (name == "counts")
        x = std::floor(100 + 1000 * x * x * x * x);
      else if (name == "negative")
        x = (x - 0.75f) * x;
      else if (name == "offset")
        x = 8 + x * x;
    }
    INFO(name);
    const auto [low, high] = std::minmax_element(v.begin(), v.end());
    TriangleHistogram h(*low, *high);
    h.add(v.data(), int64_t(v.size()));
    CHECK(double(h.threshold()) == Approx(threshold).epsilon(1e-7));
    CHECK(h.foreground().count == count);
    CHECK(h.foreground().mean == Approx(mean).epsilon(1e-9));
    ++cases;
  }
  CHECK(cases == 5);
}

TEST_CASE("triangle threshold: constant and empty data are errors") {
  const std::vector<float> v(10, 3.0f);
  CHECK(message_of([&] { triangle_threshold(v.data(), 10); }) ==
        "triangle threshold: all values are 3, there is nothing to separate.");
  CHECK(message_of([&] { triangle_threshold(v.data(), 0); }) == "triangle threshold: no values.");
}

TEST_CASE("arPLS baseline: conformance vector 12.3") {
  const std::vector<double> y{5, 5.2, 5.1, 5.3, 9, 12, 8, 5.6, 5.4, 5.7, 5.5, 5.9, 6, 5.8, 6.1};
  const std::vector<double> want{5.0330421, 5.1013960, 5.1697169, 5.2380695, 5.3064489,
                                 5.3749120, 5.4435156, 5.5123165, 5.5813715, 5.6508248,
                                 5.7206388, 5.7908254, 5.8611756, 5.9315884, 6.0020984};
  const std::vector<double> z = arpls_baseline(y, 1e3, 1e-6);
  for (size_t i = 0; i < want.size(); ++i) CHECK(z[i] == Approx(want[i]).epsilon(1e-8));
  const std::vector<double> stiff = arpls_baseline(y, 1e6, 1e-10);
  CHECK(stiff.front() == Approx(5.0309501).epsilon(1e-7));
  CHECK(stiff[7] == Approx(5.5148386).epsilon(1e-7));
  CHECK(stiff.back() == Approx(5.9987386).epsilon(1e-7));
}

TEST_CASE("arPLS baseline: the same as a dense solve") {
  std::ifstream golden(std::string(VOXGRAD_SOURCE_DIR) + "/tests/golden/preprocess/golden.txt");
  std::vector<double> y;
  for (float u : uniform(200, 777)) y.push_back(100 + 0.05 * double(y.size()) + double(u));
  for (size_t i = 50; i < 60; ++i) y[i] += 30;
  for (size_t i = 140; i < 143; ++i) y[i] += 5;
  int cases = 0;
  for (std::string line; std::getline(golden, line);) {
    std::istringstream in(line);
    std::string kind;
    double lambda = 0, ratio = 0, value = 0;
    in >> kind;
    if (kind != "arpls") continue;
    in >> lambda >> ratio;
    const std::vector<double> z = arpls_baseline(y, lambda, ratio);
    for (size_t i = 0; in >> value; i += 9) CHECK(z[i] == Approx(value).epsilon(1e-8));
    ++cases;
  }
  CHECK(cases == 2);
}

TEST_CASE("arPLS baseline: degenerate traces give numbers, never NaN") {
  CHECK(arpls_baseline({}, 1e3, 1e-6).empty());
  CHECK(arpls_baseline({3, 7}, 1e3, 1e-6) == std::vector<double>{3, 7});
  for (double v : arpls_baseline(std::vector<double>(20, 4.0), 1e3, 1e-6)) CHECK(v == Approx(4.0));
  for (double v : arpls_baseline({1, 2, 4}, 1e3, 1e-6)) CHECK(std::isfinite(v));
}

TEST_CASE("preprocessing: conformance vector 12.1") {
  Volume<float> movie = conformance_movie();
  CHECK(movie.voxels[0] == 100);
  CHECK(movie.voxels[2] == 117);
  CHECK(movie.at(5, 5, 6) == 348);
  const Preprocess p = preprocess(movie);
  CHECK(p.threshold == Approx(173.34961).epsilon(1e-7));
  CHECK(p.foreground_voxels == 451);
  CHECK(p.foreground == Approx(211.718403548).epsilon(1e-9));
  const double means[] = {126.6428571, 128.4464286, 132.2261905, 136.1011905, 138.1488095, 151.4880952,
                          154.3452381, 158.0357143, 150.3035714, 153.6071429, 153.625,     159.9226190,
                          161.6964286, 165.0892857, 167.5297619, 169.6130952};
  const double baseline[] = {126.4568983, 129.3928773, 132.3290415, 135.2646300, 138.1987792, 141.1314454,
                             144.0625351, 146.9919549, 149.9196113, 152.8454108, 155.7696415, 158.6933410,
                             161.6154021, 164.5358811, 167.4549150, 170.3731890};
  for (size_t t = 0; t < 16; ++t) {
    CHECK(p.frame_mean[t] == Approx(means[t]).epsilon(1e-9));
    CHECK(p.baseline[t] == Approx(baseline[t]).epsilon(1e-9));
  }
  CHECK(double(movie.at(0, 0, 0)) == Approx(-0.12496269).epsilon(1e-6));
  CHECK(double(movie.at(5, 5, 6)) == Approx(0.97709294).epsilon(1e-6));
  double sum = 0;
  for (float v : movie.voxels) sum += double(v);
  CHECK(sum / double(movie.size()) == Approx(0.00938330).epsilon(1e-5));
  CHECK(double(*std::max_element(movie.voxels.begin(), movie.voxels.end())) ==
        Approx(1.01015573).epsilon(1e-6));
  CHECK(double(*std::min_element(movie.voxels.begin(), movie.voxels.end())) ==
        Approx(-0.12496269).epsilon(1e-6));
}

TEST_CASE("preprocessing: bad movies are errors that say why") {
  Volume<float> flat({4, 3, 3}, 7.0f);
  CHECK(message_of([&] { preprocess(flat); }) ==
        "every voxel of the movie is 7: there is nothing to find in it.");
  Volume<float> nan = conformance_movie();
  nan.at(3, 1, 1) = std::numeric_limits<float>::quiet_NaN();
  CHECK(message_of([&] { preprocess(nan); }) ==
        "frame 3 holds values that are not finite (NaN or infinity).");
  Volume<float> none({0, 3, 3});
  CHECK(message_of([&] { preprocess(none); }) == "the movie is empty (0 frames of 3x3 pixels).");
}

TEST_CASE("preprocessing: frames from a reader give the same measures as a movie in memory") {
  const Volume<float> movie = conformance_movie();
  int reads = 0;
  const Preprocess a = measure_movie(movie);
  const Preprocess b = measure_movie(movie.extent, [&](int64_t t, float* out) {
    CHECK(t == reads % 16);
    ++reads;
    std::copy_n(movie.frame(t), movie.frame_size(), out);
  });
  CHECK(reads == 32);
  CHECK(a.baseline == b.baseline);
  CHECK(a.foreground == b.foreground);
}

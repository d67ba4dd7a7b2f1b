// SPDX-License-Identifier: BSD-3-Clause
// Time and memory of suppression and drawing, on candidates made here or read from files.
//
//   bench_stardist_nms [--threads T] [--repeat K] [--threshold t] [--save PREFIX] CASE...
//
// CASE: a number of candidates to make, or the PREFIX of PREFIX_{scores,points,dist}.f32 (raw float32, 96 rays with
// anisotropy 1.7, 1.08, 1). Survivors of the last case go to PREFIX_kept.i64 (of --save, or its own).

#include <malloc.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "voxgrad/core/random.hpp"
#include "voxgrad/stardist/nms.hpp"
#include "voxgrad/stardist/render.hpp"

using namespace voxgrad;
using namespace voxgrad::stardist;

namespace {

template <class T>
std::vector<T> load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  check<FileError>(file.good(), path, ": cannot be opened");
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  std::vector<T> out(bytes.size() / sizeof(T));
  std::copy_n(bytes.data(), out.size() * sizeof(T), reinterpret_cast<char*>(out.data()));
  return out;
}

template <class T>
void store(const std::string& path, const std::vector<T>& values) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(values.data()), std::streamsize(values.size() * sizeof(T)));
  check<FileError>(file.good(), path, ": cannot be written");
}

/// Ellipsoids side by side, 40 candidates each, as a network gives them: near the centre, better the nearer, distances
/// from the point to the surface with 5 % of ripple. The volume grows with n, the crowding does not.
Candidates synthetic(int64_t n, const Rays& rays) {
  constexpr int64_t each = 40;
  const int64_t side = int64_t(std::ceil(std::cbrt(double(n) / each)));
  const Vec3d half{5, 8, 8.5}, spacing{9, 14, 15};
  Random random(1);
  Candidates out;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t object = i / each;
    const int64_t cell[3] = {object / (side * side), object / side % side, object % side};
    Random own(2, uint64_t(object));
    Vec3d centre, axes, offset;
    double away = 0;
    for (size_t k = 0; k < 3; ++k) {
      centre[k] = 12 + double(cell[k]) * spacing[k] + own.uniform(-2, 2);
      axes[k] = half[k] * own.uniform(0.7, 1.2);
      const double point = std::round(centre[k] + axes[k] * random.uniform(-0.4, 0.4));
      offset[k] = (point - centre[k]) / axes[k];
      away += offset[k] * offset[k];
      out.points.push_back(float(point));
    }
    out.scores.push_back(float(0.99 - 0.4 * std::sqrt(away) + random.uniform(-0.05, 0.05)));
    for (int64_t r = 0; r < rays.size(); ++r) {  // |offset + d * ray / axes| = 1
      double a = 0, b = 0;
      for (size_t k = 0; k < 3; ++k) {
        const double u = double(rays.vertices[size_t(r)][k]) / axes[k];
        a += u * u, b += u * offset[k];
      }
      const double d = (-b + std::sqrt(std::max(0.0, b * b - a * (away - 1)))) / a;
      out.dist.push_back(std::max(1e-3f, float(d * (1 + 0.05 * std::sin(0.7 * double(i) + 1.3 * double(r))))));
    }
  }
  return out;
}

double cpu_seconds() { return double(std::clock()) / CLOCKS_PER_SEC; }
double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Peak memory of the process in MiB; `reset` starts a new peak.
double peak_mib(bool reset) {
  if (reset) {
    malloc_trim(0);  // what was freed before must not hide what is taken now
    std::ofstream("/proc/self/clear_refs") << "5";
  }
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::atof(line.c_str() + 6) / 1024;
  return 0;
}

void measure(const std::string& name, const Candidates& c, const Rays& rays, float threshold, int repeat, const std::string& save) {
  NmsOptions options;
  options.threshold = threshold;
  NmsResult result;
  double cpu = 1e30, wall = 1e30;
  const double before = peak_mib(true);
  for (int k = 0; k < repeat; ++k) {
    const double c0 = cpu_seconds(), w0 = wall_seconds();
    result = suppress(c.scores, c.polyhedra(rays), options);
    cpu = std::min(cpu, cpu_seconds() - c0), wall = std::min(wall, wall_seconds() - w0);
  }
  const double extra = peak_mib(false) - before;
  Candidates kept;
  data::Extent3 extent{1, 1, 1};
  for (const int64_t i : result.kept) {
    for (size_t k = 0; k < 3; ++k) {
      kept.points.push_back(c.points[size_t(3 * i) + k]);
      extent[k] = std::max(extent[k], int64_t(kept.points.back()) + 13);
    }
    kept.dist.insert(kept.dist.end(), &c.dist[size_t(i * rays.size())], &c.dist[size_t(i * rays.size())] + rays.size());
  }
  double draw_cpu = 1e30, draw_wall = 1e30;
  for (int k = 0; k < repeat; ++k) {
    const double c0 = cpu_seconds(), w0 = wall_seconds();
    render(kept.polyhedra(rays), extent);
    draw_cpu = std::min(draw_cpu, cpu_seconds() - c0), draw_wall = std::min(draw_wall, wall_seconds() - w0);
  }
  const NmsCounters& n = result.counters;
  std::printf("%s: %lld candidates, %zu survivors, suppression %.3f s CPU %.3f s wall, %.1f us per candidate, +%.0f MiB on "
              "%.0f MiB of candidates; drawing %.3f s CPU %.3f s wall; tests %lld %lld %lld %lld %lld\n",
              name.c_str(), (long long)c.size(), result.kept.size(), cpu, wall, 1e6 * cpu / double(c.size()), extra,
              double(c.dist.size() + c.points.size() + c.scores.size()) * 4 / 1048576, draw_cpu, draw_wall, (long long)n.apart,
              (long long)n.inner, (long long)n.kernel, (long long)n.hull, (long long)n.count);
  std::fflush(stdout);
  if (!save.empty()) store(save + "_kept.i64", result.kept);
}

}  // namespace

int main(int argc, char** argv) try {
  int repeat = 3;
  float threshold = 0.3f;
  std::string save;
  const Rays rays = make_rays(GoldenSpiral{96, Vec3d{1.7, 1.08, 1.0}});
  set_threads(1);
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] {
      check<UsageError>(i + 1 < argc, word, ": a value is missing");
      return std::string(argv[++i]);
    };
    if (word == "--threads") set_threads(std::atoi(value().c_str()));
    else if (word == "--repeat") repeat = std::atoi(value().c_str());
    else if (word == "--threshold") threshold = float(std::atof(value().c_str()));
    else if (word == "--save") save = value();
    else if (const int64_t n = std::atoll(word.c_str()); n > 0) {
      const Candidates c = synthetic(n, rays);
      if (!save.empty()) store(save + "_scores.f32", c.scores), store(save + "_points.f32", c.points), store(save + "_dist.f32", c.dist);
      measure("synthetic " + word, c, rays, threshold, repeat, save);
    } else {
      measure(word, {load<float>(word + "_scores.f32"), load<float>(word + "_points.f32"), load<float>(word + "_dist.f32")}, rays,
              threshold, repeat, word);
    }
  }
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "bench_stardist_nms: %s\n", e.what());
  return 1;
}

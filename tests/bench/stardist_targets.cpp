// SPDX-License-Identifier: BSD-3-Clause
// Times of StarDist-3D's targets and scores on one label volume: stardist_targets FILE.npy THREADS RUNS (uint16 [Z,Y,X]).
// One JSON line per run: seconds on the clock and of the processor, and a sum to compare results by.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>

#include "voxgrad/metrics/instances.hpp"
#include "voxgrad/stardist/distances.hpp"
#include "voxgrad/stardist/object_probability.hpp"

using namespace voxgrad;

namespace {

data::Volume<uint16_t> read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  const size_t header = bytes.size() > 10 ? 10 + size_t(uint8_t(bytes[8])) + (size_t(uint8_t(bytes[9])) << 8) : 0;
  long z = 0, y = 0, x = 0;
  const size_t shape = bytes.find("'shape': (");
  if (shape == std::string::npos || bytes.find("'<u2'") > header ||
      std::sscanf(bytes.c_str() + shape, "'shape': (%ld, %ld, %ld", &z, &y, &x) != 3)
    throw FileError(text(path, ": no .npy file of uint16 [Z,Y,X]"));
  data::Volume<uint16_t> volume({z, y, x});
  check<FileError>(bytes.size() == header + volume.voxels.size() * 2, path, ": is cut off");
  std::copy(bytes.begin() + std::ptrdiff_t(header), bytes.end(), reinterpret_cast<char*>(volume.voxels.data()));
  return volume;
}

template <class F>
void measure(const char* task, int runs, F&& f) {
  for (int run = 0; run < runs; ++run) {
    timespec before{}, after{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    const auto start = std::chrono::steady_clock::now();
    auto result = f();
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    const double cpu = double(after.tv_sec - before.tv_sec) + 1e-9 * double(after.tv_nsec - before.tv_nsec);
    double sum = 0;
    for (const float v : result) sum += double(v);
    std::printf("{\"task\": \"%s\", \"wall\": %.6f, \"cpu\": %.6f, \"sum\": %.9g}\n", task, wall.count(), cpu, sum);
  }
}

struct Values {  // a map as a range
  stardist::DistanceMap map;
  const float* begin() const { return map.data(); }
  const float* end() const { return map.data() + map.size(); }
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return std::fprintf(stderr, "usage: stardist_targets FILE.npy THREADS RUNS\n"), 2;
  try {
    const auto labels = read(arguments[1]);
    const int runs = std::atoi(arguments[3]);
    set_threads(std::atoi(arguments[2]));
    const stardist::Vec3d anisotropy{1.7, 1.08, 1};
    const stardist::Rays rays = stardist::make_rays(stardist::GoldenSpiral{96, anisotropy});
    measure("distances 1,2,2", runs, [&] { return Values{stardist::star_distances(labels, rays, {1, 2, 2})}; });
    measure("distances 1,1,1", runs, [&] { return Values{stardist::star_distances(labels, rays, {1, 1, 1})}; });
    measure("probability", runs, [&] { return stardist::object_probability(labels, anisotropy).voxels; });
    auto moved = labels;
    std::rotate(moved.voxels.begin(), moved.voxels.end() - 2, moved.voxels.end());
    measure("matching", runs, [&] {
      const metrics::ObjectOverlap overlap = metrics::object_overlap(labels, moved);
      std::vector<float> accuracy;
      for (const double t : {0.3, 0.5, 0.7}) accuracy.push_back(float(metrics::match_overlap(overlap, t, metrics::Criterion::iou).scores.accuracy));
      return accuracy;
    });
  } catch (const Error& e) {
    return std::fprintf(stderr, "%s\n", e.what()), 1;
  }
}

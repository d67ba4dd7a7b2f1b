// SPDX-License-Identifier: BSD-3-Clause
// Speed of the convolution kernels per layer of the networks: GFLOP/s (2 taps Ci Co per output point, or per
// input point of a transposed layer; padding counted) of forward, data gradient and weight gradient, from the
// fastest run.
//   bench_conv_layers [--threads T] [--set unet|stardist|all] [--batch B] [--isa scalar|avx2|avx512]
//   [--seconds S]
//                     [--method auto|direct] [--layer INDEX]
// One thread is timed by the CPU time of the process, more by the clock on the wall.

#include "voxgrad/cpu/all.hpp"

#include <time.h>

#include <cstdio>
#include <new>
#include <string>
#include <vector>

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {

struct Layer {
  int64_t N, Ci, Co, D, H, W;
  bool transposed;
  int64_t kernel = 3;
};

const std::vector<Layer> unet = {
    {4, 1, 8, 32, 32, 32, false},   {4, 8, 8, 32, 32, 32, false},   {4, 16, 8, 32, 32, 32, false},
    {4, 8, 16, 16, 16, 16, false},  {4, 16, 16, 16, 16, 16, false}, {4, 32, 16, 16, 16, 16, false},
    {4, 16, 32, 8, 8, 8, false},    {4, 32, 32, 8, 8, 8, false},    {4, 64, 32, 8, 8, 8, false},
    {4, 32, 64, 4, 4, 4, false},    {4, 64, 64, 4, 4, 4, false},    {4, 128, 64, 4, 4, 4, false},
    {4, 128, 128, 2, 2, 2, false},  {4, 256, 128, 2, 2, 2, false},  {4, 128, 256, 1, 1, 1, false},
    {4, 256, 256, 1, 1, 1, false},  {4, 16, 8, 16, 16, 16, true},   {4, 32, 16, 8, 8, 8, true},
    {4, 64, 32, 4, 4, 4, true},     {4, 128, 64, 2, 2, 2, true},    {4, 256, 128, 1, 1, 1, true},
    {4, 8, 1, 32, 32, 32, false, 1}};
const std::vector<Layer> stardist = {
    {1, 1, 32, 32, 64, 64, false},  {1, 32, 32, 32, 64, 64, false}, {1, 32, 32, 32, 32, 32, false},
    {1, 32, 64, 16, 16, 16, false}, {1, 64, 64, 16, 16, 16, false}, {1, 128, 64, 16, 16, 16, false},
    {1, 64, 32, 16, 16, 16, false}, {1, 64, 128, 8, 8, 8, false},   {1, 128, 64, 8, 8, 8, false},
    {1, 64, 32, 32, 32, 32, false}, {1, 32, 128, 32, 32, 32, false},
    {1, 128, 96, 32, 32, 32, false, 1}};

double now(bool cpu) {
  timespec t;
  clock_gettime(cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

template <class F>
double fastest(double seconds, F&& run) {
  const bool cpu = threads() == 1;
  run();
  double best = 1e9, total = 0;
  for (int i = 0; i < 200 && (i < 5 || total < seconds); ++i) {
    const double start = now(cpu);
    run();
    const double t = now(cpu) - start;
    best = std::min(best, t);
    total += t;
  }
  return best;
}

/// Memory that starts at a multiple of 64 bytes, as tensors do: elsewhere every vector of weights lies in two lines.
template <class T>
struct Aligned {
  using value_type = T;
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
  void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(64)); }
  bool operator==(const Aligned&) const { return true; }
};
using Numbers = std::vector<float, Aligned<float>>;

Numbers numbers(int64_t n) {
  Numbers v(static_cast<size_t>(n));
  uint32_t r = 1;
  for (float& x : v) {
    r = r * 1664525u + 1013904223u;
    x = float(int(r >> 16) % 2001 - 1000) * 1e-3f;
  }
  return v;
}

template <class Problem, class Table>
void measure(const Kernels<Table>& slot, const Layer& l, double seconds) {
  Problem p{};
  p.dtype = DType::f32;
  p.N = l.N, p.Ci = l.Ci, p.Co = l.Co;
  const int64_t extents[3] = {l.D, l.H, l.W};
  for (int a = 0; a < 3; ++a) {
    p.in[a] = extents[a], p.out[a] = l.transposed ? 2 * extents[a] : extents[a];
    p.kernel[a] = l.kernel, p.stride[a] = l.transposed ? 2 : 1, p.padding[a] = l.kernel / 2,
    p.dilation[a] = 1;
  }
  const int64_t taps = l.kernel * l.kernel * l.kernel, points = l.N * l.D * l.H * l.W;
  auto x = numbers(points * l.Ci), w = numbers(taps * l.Ci * l.Co), bias = numbers(l.Co);
  auto y = numbers(points * (l.transposed ? 8 : 1) * l.Co), dx = x, dw = w, db = bias;
  const double gflop = 2e-9 * double(taps * points * l.Ci * l.Co);
  const Table& t = slot.at(Device{});
  const double f = fastest(seconds, [&] { t.forward(p, x.data(), w.data(), bias.data(), y.data()); });
  const double d = fastest(seconds, [&] { t.backward_data(p, y.data(), w.data(), dx.data()); });
  const double g = fastest(seconds, [&] { t.backward_weight(p, x.data(), y.data(), dw.data(), db.data()); });
  const std::string title = std::string(l.transposed    ? "convT "
                                        : l.kernel == 1 ? "conv1 "
                                                        : "conv ") +
                            std::to_string(l.N) + "x " + std::to_string(l.Ci) + "->" + std::to_string(l.Co) +
                            " @" + std::to_string(l.D) + "x" + std::to_string(l.H) + "x" +
                            std::to_string(l.W);
  std::printf("%-30s %8.1f %7.3f ms %8.1f %7.3f ms %8.1f %7.3f ms\n", title.c_str(), gflop / f, f * 1e3,
              gflop / d, d * 1e3, gflop / g, g * 1e3);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::string set = "unet";
  double seconds = 0.1;
  int64_t batch = 0, only = -1;
  int count = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i], value = argv[i + 1];
    if (option == "--threads")
      count = std::stoi(value);
    else if (option == "--set")
      set = value;
    else if (option == "--batch")
      batch = std::stoll(value);
    else if (option == "--seconds")
      seconds = std::stod(value);
    else if (option == "--isa")
      set_isa(value == "scalar" ? Isa::scalar : value == "avx2" ? Isa::avx2 : Isa::avx512);
    else if (option == "--layer")
      only = std::stoll(value);
    else if (option == "--method")
      set_conv_method(value == "direct" ? ConvMethod::direct : ConvMethod::automatic);
    else
      return std::fprintf(stderr, "unknown option %s\n", argv[i]), 2;
  }
  set_threads(count);
  std::printf("%s, %d thread%s\n%-30s %19s %19s %19s\n", name(current_isa()), count, count == 1 ? "" : "s",
              "layer", "forward GF/s", "data gradient", "weight gradient");
  std::vector<Layer> layers = set == "stardist" ? stardist : unet;
  if (set == "all") layers.insert(layers.end(), stardist.begin(), stardist.end());
  for (Layer& l : layers) {
    if (only >= 0 && &l - layers.data() != only) continue;
    if (batch > 0) l.N = batch;
    if (l.transposed)
      measure<ConvTranspose3dProblem>(conv_transpose3d, l, seconds);
    else
      measure<Conv3dProblem>(conv3d, l, seconds);
  }
}

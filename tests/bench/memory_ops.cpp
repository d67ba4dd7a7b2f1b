// SPDX-License-Identifier: BSD-3-Clause
// Speed of the memory-bound kernels in GB/s of the bytes they must read and write, for tensors of 1 and 64 MiB on
// 1 and 2 threads. Minimum of several runs.

#include <chrono>
#include <cstdio>
#include <vector>

#include "voxgrad/cpu/all.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {

const Device host{};

template <class F>
double best_seconds(F&& f) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  const auto start = Clock::now();
  for (int run = 0; run < 5 || (run < 200 && Clock::now() - start < std::chrono::milliseconds(200)); ++run) {
    const auto before = Clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - before).count());
  }
  return best;
}

/// Measures f, which moves `arrays` times n floats.
template <class F>
void report(const char* name, int64_t n, double arrays, F&& f) {
  f();
  std::printf(" %-22s %8.1f GB/s\n", name, arrays * 4 * double(n) / best_seconds(f) * 1e-9);
}

void run_all(int64_t n) {
  constexpr int64_t C = 8;
  const int64_t rows = n / C, side = n == 1 << 18 ? 32 : 128;  // side^3 * C = n
  std::vector<float> x(size_t(n), 0.5f), y(x), dy(x), dx(x), m(x), v(x);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(i * 2654435761u % 1000) * 0.002f - 1;
  const std::vector<double> mean(C, 0.1), scale(C, 1.5), shift(C, 0.2);
  const std::vector<float> gamma(C, 1.f), beta(C, 0.1f);
  std::vector<float> dgamma(C), dbeta(C);
  std::vector<double> means(C), variances(C);
  const auto pointwise = [&](auto f) {
    using F = decltype(f);
    report(F::name, n, 2, [&] { unary<F>.at(host).forward(DType::f32, n, {0.1, 0.2}, x.data(), y.data()); });
  };
  pointwise(LeakyRelu{});
  pointwise(Sigmoid{});
  pointwise(Softplus{});
  pointwise(Exp{});
  pointwise(Log{});
  report("leaky_relu backward", n, 3, [&] {  // y is not needed, but read
    unary<LeakyRelu>.at(host).backward(DType::f32, n, {0.1, 0}, x.data(), y.data(), dy.data(), dx.data());
  });
  const BinaryProblem flat{DType::f32, Shape{n}, {1}, {1}, true}, bias{DType::f32, Shape{rows, C}, {C, 1}, {0, 1}, false};
  report("add", n, 3, [&] { binary<Add>.at(host).forward(flat, x.data(), dy.data(), y.data()); });
  report("add bias of 8", n, 2, [&] { binary<Add>.at(host).forward(bias, x.data(), dy.data(), y.data()); });
  float total[C];
  report("sum of all", n, 1, [&] { reduce.at(host).sum({DType::f32, Shape{n}, {true}}, x.data(), total); });
  report("sum to 8 channels", n, 1, [&] { reduce.at(host).sum({DType::f32, Shape{rows, C}, {true, false}}, x.data(), total); });
  report("mse_loss", n, 2, [&] { total[0] = float(loss<Mse>.at(host).forward(DType::f32, n, x.data(), dy.data())); });
  report("bce_with_logits_loss", n, 2, [&] {
    total[0] = float(loss<BceWithLogits>.at(host).forward(DType::f32, n, x.data(), dy.data()));
  });
  const BatchNormProblem norm{DType::f32, rows, C, 0.1};
  report("batch norm statistics", n, 1, [&] { batch_norm.at(host).statistics(norm, x.data(), means.data(), variances.data()); });
  report("batch norm forward", n, 2, [&] { batch_norm.at(host).forward(norm, x.data(), scale.data(), shift.data(), y.data()); });
  report("batch norm backward", n, 5, [&] {
    batch_norm.at(host).backward(norm, true, x.data(), dy.data(), mean.data(), scale.data(), gamma.data(), beta.data(),
                                 dx.data(), dgamma.data(), dbeta.data());
  });
  const int64_t out = side / 2;
  const Pool3dProblem pool{DType::f32, 1, {side, side, side}, {out, out, out}, C, {2, 2, 2}, {2, 2, 2}};
  report("max pool forward", n, 1.125, [&] { max_pool3d.at(host).forward(pool, x.data(), y.data()); });
  report("max pool backward", n, 2.125, [&] { max_pool3d.at(host).backward(pool, x.data(), dy.data(), dx.data()); });
  const CopyBoxProblem box{DType::f32, Shape{rows / 2, C}, Shape{rows / 2, C}, Shape{rows / 2, 2 * C}, {}, {0, C}};
  report("copy 8 into 16 channels", n, 1, [&] { copy_box.at(host).copy(box, x.data(), y.data()); });
  report("fill", n, 1, [&] { memory.at(host).fill(DType::f32, n, 0, y.data()); });
  report("axpy", n, 3, [&] { memory.at(host).axpy(DType::f32, n, 1e-3, x.data(), y.data()); });
  report("adam", n, 7, [&] {
    optim.at(host).adam({DType::f32, n, 1e-3, 0.9, 0.999, 1e-8, 0, false, 10}, y.data(), x.data(), m.data(), v.data());
  });
  report("sgd with momentum", n, 5, [&] {
    optim.at(host).sgd({DType::f32, n, 1e-3, 0.9, 0, false, false}, y.data(), x.data(), m.data());
  });
}

}  // namespace

int main() {
  for (int threads : {1, 2}) {
    set_threads(threads);
    for (int64_t mebibytes : {1, 64}) {
      std::printf("%lld MiB, %d thread(s), %s\n", static_cast<long long>(mebibytes), threads, name(current_isa()));
      run_all(mebibytes << 18);
    }
    const int64_t size = 512;
    std::vector<float> a(size_t(size * size), 0.5f), b(a), c(a);
    const double seconds = best_seconds([&] {
      matmul.at(host).forward({DType::f32, size, size, size, false, false}, a.data(), b.data(), c.data());
    });
    std::printf(" matmul 512              %8.1f GFLOP/s\n", 2 * double(size * size * size) / seconds * 1e-9);
  }
}

// SPDX-License-Identifier: BSD-3-Clause
// Optimiser steps against PyTorch (tests/golden/optim) and against the double-precision path.

#include <fstream>
#include <sstream>

#include "guarded.hpp"
#include "voxgrad/kernels/adam.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {

/// The 10 numbers behind `name` in the golden file.
std::vector<double> golden(const std::string& name) {
  std::ifstream file(VOXGRAD_SOURCE_DIR "/tests/golden/optim/golden.txt");
  REQUIRE(file);
  for (std::string line, word; std::getline(file, line);) {
    std::istringstream words(line);
    if (!(words >> word) || word != name) continue;
    std::vector<double> numbers;
    for (double v; words >> v;) numbers.push_back(v);
    REQUIRE(numbers.size() == 10);
    return numbers;
  }
  FAIL("no golden values for " << name);
  return {};
}

/// Runs four steps of update(step, w, gradient, m, v) as the generator does, returning w after steps 1 and 4.
template <class T, class Update>
void check_golden(const std::string& name, double tolerance, Update&& update) {
  INFO(name);
  const std::vector<double> want = golden(name);
  T w[5] = {T(1), T(-2), T(0.5), T(0), T(3)}, m[5] = {}, v[5] = {};
  std::vector<double> got;
  for (int step = 1; step <= 4; ++step) {
    const T g[5] = {T(0.1 * step), T(-1), T(0.01 * (step - 2)), T(2.0 / step), T(-0.2)};
    update(step, w, g, m, v);
    if (step == 1 || step == 4) got.insert(got.end(), w, w + 5);
  }
  for (size_t i = 0; i < want.size(); ++i) CHECK(std::fabs(got[i] - want[i]) <= tolerance);
}

template <class T>
void check_all(double tolerance) {
  const auto adam = [&](const char* name, double decay, bool decoupled) {
    check_golden<T>(name, tolerance, [&](int step, T* w, const T* g, T* m, T* v) {
      optim.at(host).adam({DTypeOf<T>::value, 5, 0.01, 0.9, 0.99, 1e-6, decay, decoupled, step}, w, g, m, v);
    });
  };
  adam("adam", 0, false);
  adam("adam_decay", 0.1, false);
  adam("adamw", 0.1, true);
  const auto sgd = [&](const char* name, double momentum, double decay, bool nesterov) {
    check_golden<T>(name, tolerance, [&](int step, T* w, const T* g, T* m, T*) {
      optim.at(host).sgd({DTypeOf<T>::value, 5, 0.1, momentum, decay, nesterov, step == 1}, w, g, momentum != 0 ? m : nullptr);
    });
  };
  sgd("sgd", 0, 0.1, false);
  sgd("momentum", 0.9, 0, false);
  sgd("nesterov", 0.9, 0.1, true);
}

}  // namespace

TEST_CASE("optimiser steps equal PyTorch's") {
  check_all<double>(1e-14);
  on_every_isa([] { check_all<float>(5e-7); });
}

TEST_CASE("adam in f32 follows f64 over odd sizes and touches nothing else") {
  on_every_isa([] {
    for (int64_t n : odd_sizes) {
      const EdgeVector<float> g = noise_vector<float>(n, 1);
      const std::vector<double> gd(g.begin(), g.end());
      Guarded<float> w(n), m(n), v(n);
      std::vector<double> wd(size_t(n), 0.5), md(size_t(n), 0.0), vd(size_t(n), 0.0);
      for (int64_t i = 0; i < n; ++i) w[i] = 0.5f, m[i] = v[i] = 0.f;
      for (int step : {1, 2, 3}) {
        optim.at(host).adam({DType::f32, n, 0.01, 0.9, 0.999, 1e-8, 0.1, true, step}, w.data(), g.data(), m.data(), v.data());
        optim.at(host).adam({DType::f64, n, 0.01, 0.9, 0.999, 1e-8, 0.1, true, step}, wd.data(), gd.data(), md.data(), vd.data());
      }
      CHECK((w.intact() && m.intact() && v.intact()));
      CHECK(worst(w, 0.1, [&](int64_t i) { return wd[size_t(i)]; }) < 1e-6);
      CHECK(worst(v, 1e-6, [&](int64_t i) { return vd[size_t(i)]; }) < 1e-5);
    }
  });
}

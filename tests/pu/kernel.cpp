// SPDX-License-Identifier: BSD-3-Clause
// Sums over sets and their slopes against plain loops in double, on every instruction set, with memory that ends at the last voxel.

#include "voxgrad/kernels/set_mean.hpp"

#include "../kernels/guarded.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {

/// One of the functions at a logit, in double.
struct Point {
  double f = 0, df = 0;
};
Point at(const SetTerm& t, double z) {
  Point p;
  const double x = t.negated ? -z : z;
  const auto each = [&]<class... Fs>(List<Fs...>) {
    int i = 0;
    ((int(t.function) == i++ ? (p = {Fs::f(x, t.a), Fs::df(x, t.a)}, 0) : 0), ...);
  };
  each(SetFunctionList{});
  if (t.negated) p.df = -p.df;
  return p;
}

template <class T>
void check_sums(int64_t groups, int64_t size, bool weighted, double tolerance) {
  const int64_t n = groups * size;
  EdgeVector<T> z = noise_vector<T>(n, 1, 6, 0), weight = noise_vector<T>(n, 2, 0.5, 0.5), factor = noise_vector<T>(n, 3, 1, 0);
  for (T& v : z)
    if (std::abs(std::abs(double(v)) - 1) < 1e-3) v += T(0.1);  // kinks
  EdgeVector<uint8_t> classes(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) classes[size_t(i)] = uint8_t(i % 7 == 0 ? 1 : i % 5 == 0 ? 0 : i % 11 == 0 ? 8 : i % 3 == 0 ? 4 : 2);
  for (int first = 0; first < int(SetFunction::count); first += 3) {
    std::vector<SetTerm> terms;
    for (int f = first; f < first + 3; ++f)
      for (bool negated : {false, true})
        terms.push_back({SetFunction(f), negated, uint8_t(f % 3 == 0 ? 9 : f % 3 == 1 ? 2 : 15),
                         SetFunction(f) == SetFunction::focal ? 1.5 : 0.25, negated ? factor.data() : nullptr});
    const SetMeanProblem p{DTypeOf<T>::value, groups, size, int(terms.size()), terms.data(), classes.data(),
                           weighted ? weight.data() : nullptr, z.data()};
    std::vector<double> sums(size_t(groups) * terms.size(), -1), coefficient(sums.size());
    for (size_t k = 0; k < coefficient.size(); ++k) coefficient[k] = k % 4 == 3 ? 0 : 0.3 + 0.1 * double(k % 5);
    REQUIRE(set_mean.at(host).forward(p, sums.data()) == -1);
    Guarded<T> dz(n);
    set_mean.at(host).backward(p, coefficient.data(), dz.data());
    CHECK(dz.intact());
    std::vector<double> want(size_t(n), 0.0);
    for (int64_t g = 0; g < groups; ++g)
      for (size_t k = 0; k < terms.size(); ++k) {
        double total = 0, size_of_terms = 1e-3;
        for (int64_t i = g * size; i < (g + 1) * size; ++i) {
          if ((classes[size_t(i)] & terms[k].set) == 0) continue;
          const double w = (weighted ? double(weight[size_t(i)]) : 1) * (terms[k].factor ? double(factor[size_t(i)]) : 1);
          const Point v = at(terms[k], double(z[size_t(i)]));
          total += w * v.f;
          size_of_terms += std::abs(w * v.f);
          want[size_t(i)] += coefficient[size_t(g) * terms.size() + k] * w * v.df;
        }
        INFO("function " << int(terms[k].function) << " negated " << terms[k].negated << " group " << g << " of " << size);
        CHECK(std::abs(sums[size_t(g) * terms.size() + k] - total) <= tolerance * size_of_terms);
      }
    CHECK(worst(dz, 1e-2, [&](int64_t i) { return want[size_t(i)]; }) < 10 * tolerance);
  }
}

}  // namespace

TEST_CASE("sums over sets and their slopes, for every function, size and instruction set") {
  static_assert(int(SetFunction::count) % 3 == 0, "the loop takes three at a time");
  on_every_isa([] {
    for (int64_t size : {1, 7, 8, 9, 17, 300, 2048, 2049, 5000})
      for (bool weighted : {false, true}) {
        check_sums<float>(1, size, weighted, 2e-6);
        check_sums<double>(1, size, weighted, 1e-13);
      }
    check_sums<float>(3, 2050, true, 2e-6);
    check_sums<double>(3, 2050, true, 1e-13);
    for (auto [groups, size] : {std::pair<int64_t, int64_t>{0, 5}, {2, 0}}) {  // nothing: sums of 0
      const SetTerm term{SetFunction::score, false, 1, 0};
      double sums[2] = {5, 5};
      CHECK(set_mean.at(host).forward({DType::f32, groups, size, 1, &term}, sums) == -1);
      CHECK(sums[0] == (groups == 0 ? 5 : 0));
    }
  });
}

TEST_CASE("the first logit that is not finite is found, whatever its class") {
  on_every_isa([] {
    for (int64_t where : {0, 3, 2047, 2048, 4099}) {
      EdgeVector<float> z(4100, 0.5f);
      const EdgeVector<uint8_t> classes(4100, 0);
      z[size_t(where)] = -INFINITY;
      z[4099] = NAN;
      const SetTerm term{SetFunction::score, false, 1, 0};
      double sum = 0;
      CHECK(set_mean.at(host).forward({DType::f32, 1, 4100, 1, &term, classes.data(), nullptr, z.data()}, &sum) == where);
    }
  });
}

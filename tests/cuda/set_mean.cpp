// SPDX-License-Identifier: BSD-3-Clause
// Sums over sets of voxels and their gradient against the CPU's definition in double.
#include "voxgrad/cuda/kernels/set_mean.hpp"

#include <limits>

#include "emulated.hpp"
#include "message.hpp"
#include "numbers.hpp"
#include "voxgrad/cpu/set_mean_ref.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using kernels::SetFunction;
using cuda::test::Guarded;

namespace {

/// A term on a group of voxels, in double, by the definition.
template <class... Fs>
void reference(SetFunction f, kernels::List<Fs...>, const cpu::SetRun<double>& r, double coefficient, double& sum, double* dz) {
  int i = 0;
  const auto one = [&](auto of) {
    if (i++ != int(f)) return;
    sum = cpu::set_sum_ref<decltype(of)>(r);
    cpu::set_slope_ref<decltype(of)>(r, coefficient, dz);
  };
  (one(Fs{}), ...);
}

struct Case {
  int64_t groups, size;
  bool weighted;
};

void check_terms(const Case& c, const std::vector<SetFunction>& functions) {
  CAPTURE(c.groups, c.size, c.weighted);
  const size_t n = size_t(c.groups * c.size), terms = functions.size();
  cuda::test::Numbers numbers(n + terms);
  Guarded<float> z(n), weight(n), factor(n), dz(n);
  Guarded<uint8_t> classes(n);
  std::vector<double> z64(n), weight64(n), factor64(n), dz64(n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    z[i] = numbers.between(-6, 6);
    weight[i] = numbers.between(0, 2);
    factor[i] = numbers.between(0, 2);
    classes[i] = uint8_t(numbers.below(3));  // 0: in no set
    z64[i] = double(z[i]), weight64[i] = double(weight[i]), factor64[i] = double(factor[i]);
  }
  std::vector<kernels::SetTerm> term(terms);
  for (size_t k = 0; k < terms; ++k) term[k] = {functions[k], k % 2 == 1, uint8_t(1 + k % 3), 0.75, k % 3 == 2 ? factor.data() : nullptr, nullptr};
  const SetMeanProblem p = set_mean_problem(
      {DType::f32, c.groups, c.size, int(terms), term.data(), classes.data(), c.weighted ? weight.data() : nullptr, z.data()});
  Guarded<double> coefficient(size_t(c.groups) * terms), sums(size_t(c.groups) * terms);
  Guarded<double> partial(size_t(SetMeanForward::workspace_bytes(c.groups, c.size, int(terms))) / sizeof(double));
  Guarded<int64_t> bad(1);
  for (size_t i = 0; i < coefficient.size(); ++i) coefficient[i] = i % 4 == 3 ? 0 : double(numbers.between(-1, 1));

  cuda::test::run<SetMeanForward>({p, partial.data()}, partial);
  cuda::test::run<SetMeanFinish>({c.groups, c.size, int(terms), partial.data(), sums.data(), bad.data()}, sums, bad);
  cuda::test::Vector<OptimizerState> state(1, optimizer_state({}));
  state[0].loss_scale = 8;
  cuda::test::run<SetMeanBackward>({p, coefficient.data(), state.data(), dz.data()}, dz);

  REQUIRE(bad[0] == -1);
  for (int64_t g = 0; g < c.groups; ++g)
    for (size_t k = 0; k < terms; ++k) {
      CAPTURE(g, k);
      const int64_t at = g * c.size;
      const cpu::SetRun<double> r{c.size, z64.data() + at, classes.data() + at, c.weighted ? weight64.data() + at : nullptr,
                                  term[k].factor ? factor64.data() + at : nullptr, term[k].set, term[k].negated, term[k].a};
      double sum = 0;
      const size_t i = size_t(g) * terms + k;
      reference(functions[k], kernels::SetFunctionList{}, r, 8 * coefficient[i], sum, dz64.data() + at);
      REQUIRE(sums[i] == Approx(sum).epsilon(2e-6).margin(2e-6));
    }
  for (size_t i = 0; i < n; ++i) REQUIRE(dz[i] == Approx(dz64[i]).epsilon(2e-5).margin(2e-5));
}

}  // namespace

TEST_CASE("set means on the GPU: every function, alone, as the definition") {
  for (int f = 0; f < int(SetFunction::count); ++f) check_terms({1, 300, f % 2 == 0}, {SetFunction(f), SetFunction(f)});
}

TEST_CASE("set means on the GPU: many terms, groups, runs that end anywhere") {
  std::vector<SetFunction> all;
  for (int k = 0; k < SetMeanProblem::max_terms; ++k) all.push_back(SetFunction(k % int(SetFunction::count)));
  check_terms({2, 100, true}, all);
  for (const int64_t size : {int64_t(1), int64_t(255), int64_t(2047), int64_t(2048), int64_t(2049), int64_t(5000)})
    for (const int64_t groups : {int64_t(1), int64_t(3)})
      check_terms({groups, size, size % 2 == 0}, {SetFunction::sigmoid, SetFunction::logistic, SetFunction::score});
}

TEST_CASE("set means on the GPU: the first logit that is not finite") {
  const int64_t groups = 3, size = 3000;
  Guarded<float> z(size_t(groups * size));
  Guarded<uint8_t> classes(z.size());
  for (size_t i = 0; i < z.size(); ++i) z[i] = 1, classes[i] = 0;  // also where no set has the voxel
  const SetMeanProblem p = set_mean_problem({DType::f32, groups, size, 0, nullptr, classes.data(), nullptr, z.data()});
  Guarded<double> partial(size_t(SetMeanForward::workspace_bytes(groups, size, 0)) / sizeof(double)), sums(0);
  Guarded<int64_t> bad(1);
  const auto first = [&] {
    cuda::test::run<SetMeanForward>({p, partial.data()}, partial);
    cuda::test::run<SetMeanFinish>({groups, size, 0, partial.data(), sums.data(), bad.data()}, bad);
    return bad[0];
  };
  REQUIRE(first() == -1);
  for (const int64_t at : {int64_t(8999), int64_t(6001), int64_t(2999), int64_t(257), int64_t(256), int64_t(0)}) {
    z[size_t(at)] = at % 2 ? std::numeric_limits<float>::infinity() : std::nanf("");
    REQUIRE(first() == at);
  }
}

TEST_CASE("set means on the GPU: what it does not take is named") {
  const std::vector<kernels::SetTerm> many(33);
  const kernels::OwnFunction own{nullptr, nullptr};
  kernels::SetTerm mine;
  mine.own = &own;
  const auto refused = [](DType dtype, int terms, const kernels::SetTerm* term) {
    return voxgrad::test::message<Error>([&] { set_mean_problem({dtype, 1, 1, terms, term}); });
  };
  REQUIRE(refused(DType::f32, 33, many.data()) == "set_mean: 33 terms, the GPU takes up to 32");
  REQUIRE(refused(DType::f64, 1, many.data()) == "set_mean: logits are f64, the GPU takes f32");
  REQUIRE(refused(DType::f32, 1, &mine) == "set_mean: term 0 is a function of the program's own, which runs on the CPU only");
}

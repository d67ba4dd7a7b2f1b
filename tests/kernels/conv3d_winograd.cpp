// SPDX-License-Identifier: BSD-3-Clause
// Winograd's method against the definition in double. Its rounding error is a few times the direct sum's and
// must stay of float's size; that it ran at all shows in results that differ from the direct ones.

#include "conv_case.hpp"

using namespace conv_case;

namespace {

/// Inputs and outputs of a convolution, as floats.
struct Pass {
  Conv3dProblem p;
  int64_t nx = p.N * p.in[0] * p.in[1] * p.in[2] * p.Ci, ny = p.N * p.out[0] * p.out[1] * p.out[2] * p.Co,
          nw = p.kernel[0] * p.kernel[1] * p.kernel[2] * p.Ci * p.Co;
  Walled x{nx}, w{nw}, bias{p.Co}, dy{ny}, y{ny}, dx{nx}, dw{nw}, db{p.Co};

  explicit Pass(const Conv3dProblem& problem) : p(problem) {
    fill(x, nx, 1), fill(w, nw, 2), fill(bias, p.Co, 3), fill(dy, ny, 4);
  }
  static void fill(Walled& v, int64_t size, uint64_t seed) {
    Random r{seed};
    for (int64_t i = 0; i < size; ++i) v.data()[i] = float(int(r.next() % 2000001) - 1000000) * 1e-6f;
  }
  void run() {
    const Conv3dTable& t = conv3d.at(host);
    t.forward(p, x.data(), w.data(), bias.data(), y.data());
    t.backward_data(p, dy.data(), w.data(), dx.data());
    t.backward_weight(p, x.data(), dy.data(), dw.data(), db.data());
  }
  bool walls_stand() const {
    return y.walls_stand() && dx.walls_stand() && dw.walls_stand() && db.walls_stand();
  }
  bool same_bits(Pass& o) {
    return y.same_bits(o.y) && dx.same_bits(o.dx) && dw.same_bits(o.dw) && db.same_bits(o.db);
  }
};

Conv3dProblem with_output(Conv3dProblem p) {
  for (int a = 0; a < 3; ++a) p.out[a] = p.in[a] + 2 * p.padding[a] - 2;
  return p;
}

void check_close(const Conv3dProblem& problem, bool threads_too = false) {
  INFO(describe(problem));
  Pass reference(problem);
  auto p = problem;
  p.dtype = DType::f64;
  const auto x = reference.x.as_double(), w = reference.w.as_double(), bias = reference.bias.as_double(),
             dy = reference.dy.as_double();
  std::vector<double> y(size_t(reference.ny)), dx(size_t(reference.nx)), dw(size_t(reference.nw)),
      db(size_t(p.Co));
  conv3d.at(host).forward(p, x.data(), w.data(), bias.data(), y.data());
  conv3d.at(host).backward_data(p, dy.data(), w.data(), dx.data());
  conv3d.at(host).backward_weight(p, x.data(), dy.data(), dw.data(), db.data());
  Settings restore;
  for (Isa isa : isas()) {
    INFO(name(isa));
    set_isa(isa);
    Pass direct(problem), fast(problem);
    set_conv_method(ConvMethod::direct);
    direct.run();
    set_conv_method(ConvMethod::automatic);
    fast.run();
    CHECK(direct.y.error(y) < 2e-6);
    CHECK(direct.dx.error(dx) < 2e-6);
    CHECK(direct.dw.error(dw) < 2e-6);
    CHECK(fast.y.error(y) < 8e-6);
    CHECK(fast.dx.error(dx) < 8e-6);
    CHECK(fast.dw.error(dw) < 4e-6);
    CHECK(fast.db.error(db) < 1e-6);
    CHECK(fast.walls_stand());
    if (p.N > 0 && p.Ci >= 8 && p.out[2] >= 16) CHECK(!fast.y.same_bits(direct.y));
    for (int count = 1; threads_too && count <= 7; ++count) {
      set_threads(count);
      Pass again(problem);
      again.run();
      CHECK(again.same_bits(fast));
    }
  }
}
}  // namespace

TEST_CASE("Winograd's method is as exact as it claims") {
  constexpr int64_t cases[][7] = {
      // N, D, H, W, Ci, Co, padding
      {2, 4, 32, 32, 8, 8, 1},  {1, 3, 17, 33, 16, 8, 1},  {2, 3, 16, 16, 8, 16, 1},
      {1, 4, 9, 17, 16, 16, 1}, {1, 2, 7, 16, 32, 16, 1},  {2, 8, 8, 8, 16, 32, 1},
      {1, 3, 8, 8, 64, 32, 1},  {1, 3, 5, 9, 9, 24, 1},    {1, 3, 6, 11, 17, 7, 1},
      {1, 3, 6, 20, 17, 7, 2},  {1, 4, 10, 18, 8, 40, 0},  {0, 3, 16, 16, 16, 16, 1},
      {1, 1, 1, 16, 16, 8, 1},  {1, 2, 2, 19, 24, 3, 2},   {1, 5, 12, 13, 8, 64, 1},
      {2, 21, 8, 8, 16, 24, 1}, {1, 34, 4, 9, 24, 9, 2},   {1, 11, 9, 8, 8, 20, 0},
      {2, 8, 8, 8, 32, 32, 1},  {1, 3, 7, 13, 40, 72, 1},  {1, 3, 5, 9, 32, 40, 2},
      {1, 4, 9, 16, 64, 33, 0}, {1, 2, 19, 34, 32, 64, 1}, {1, 5, 4, 8, 96, 48, 1},
      {1, 21, 8, 8, 16, 32, 1}, {2, 13, 4, 9, 32, 32, 2},  {0, 4, 8, 8, 32, 32, 1}};
  for (const auto& c : cases)
    check_close(with_output(cube(c[0], c[1], c[2], c[3], c[4], c[5], 3, 1, c[6], 1)));
}

TEST_CASE("Winograd's method does not depend on the number of threads") {
  check_close(with_output(cube(2, 6, 10, 17, 8, 8, 3, 1, 1, 1)), true);
  check_close(with_output(cube(1, 9, 8, 8, 16, 40, 3, 1, 1, 1)), true);
  check_close(with_output(cube(3, 20, 5, 9, 33, 8, 3, 1, 1, 1)), true);
  check_close(with_output(cube(2, 5, 6, 9, 32, 40, 3, 1, 1, 1)), true);
}

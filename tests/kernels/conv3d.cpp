// SPDX-License-Identifier: BSD-3-Clause
// Direct float convolution kernels of every instruction set against the definition in double. Values are
// small multiples of 1/4, so every sum is exact and results must be equal, not close. Buffers lie between
// a wall of NaN and the end of readable memory: a stray read in front shows in the result, a stray write in the
// wall, either behind stops the program; a missed write shows as the NaN that filled the output.

#include "conv_case.hpp"

using namespace conv_case;

namespace {
double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// All three passes of a problem on every instruction set; `threads_too`: also with 1 to 7 threads, which
/// must agree in bits.
template <class Problem, class Table>
void check_problem(const Kernels<Table>& slot, Problem p, bool threads_too) {
  INFO(describe(p));
  const int64_t nx = p.N * p.in[0] * p.in[1] * p.in[2] * p.Ci,
                ny = p.N * p.out[0] * p.out[1] * p.out[2] * p.Co;
  const int64_t nw = p.kernel[0] * p.kernel[1] * p.kernel[2] * p.Ci * p.Co;
  Walled x(nx, 1), w(nw, 2), bias(p.Co, 3), dy(ny, 4);
  const auto xd = x.as_double(), wd = w.as_double(), bd = bias.as_double(), dyd = dy.as_double();
  std::vector<double> y(size_t(ny), 0), dx(size_t(nx), 0), dw(size_t(nw), 0), db(size_t(p.Co), 0);
  const Table& t = slot.at(host);
  p.dtype = DType::f64;
  t.forward(p, xd.data(), wd.data(), bd.data(), y.data());
  t.backward_data(p, dyd.data(), wd.data(), dx.data());
  t.backward_weight(p, xd.data(), dyd.data(), dw.data(), db.data());
  // The three passes are adjoint: <y - bias, dy> = <x, dx> = <w, dw>, exactly.
  const double forward = dot(y, dyd) - dot(bd, db);
  CHECK(forward == dot(xd, dx));
  CHECK(forward == dot(wd, dw));
  p.dtype = DType::f32;
  Settings restore;
  set_conv_method(ConvMethod::direct);
  for (Isa isa : isas()) {
    INFO(name(isa));
    set_isa(isa);
    Walled yf(ny), dxf(nx), dwf(nw), dbf(p.Co);
    t.forward(p, x.data(), w.data(), bias.data(), yf.data());
    CHECK(yf.equal_to(y) == ny);
    t.backward_data(p, dy.data(), w.data(), dxf.data());
    CHECK(dxf.equal_to(dx) == nx);
    t.backward_weight(p, x.data(), dy.data(), dwf.data(), dbf.data());
    CHECK(dwf.equal_to(dw) == nw);
    CHECK(dbf.equal_to(db) == p.Co);
    CHECK((yf.walls_stand() && dxf.walls_stand() && dwf.walls_stand() && dbf.walls_stand()));
    for (int count = 1; threads_too && count <= 7; ++count) {
      set_threads(count);
      INFO("threads " << count);
      Walled y2(ny), dx2(nx), dw2(nw), db2(p.Co);
      t.forward(p, x.data(), w.data(), bias.data(), y2.data());
      t.backward_data(p, dy.data(), w.data(), dx2.data());
      t.backward_weight(p, x.data(), dy.data(), dw2.data(), db2.data());
      CHECK((y2.same_bits(yf) && dx2.same_bits(dxf) && dw2.same_bits(dwf) && db2.same_bits(dbf)));
    }
  }
}

/// Fills `out` and runs both ops on the geometry (the transposed one with the grids exchanged), where they
/// exist.
void check_geometry(Conv3dProblem p, bool threads_too = false) {
  for (int a = 0; a < 3; ++a) {
    p.out[a] = (p.in[a] + 2 * p.padding[a] - p.dilation[a] * (p.kernel[a] - 1) - 1) / p.stride[a] + 1;
    if (p.in[a] + 2 * p.padding[a] - p.dilation[a] * (p.kernel[a] - 1) - 1 < 0) return;
  }
  check_problem(conv3d, p, threads_too);
  ConvTranspose3dProblem q{p};
  for (int a = 0; a < 3; ++a) {
    const int64_t extra = std::max(p.stride[a], p.dilation[a]) - 1;  // the largest output_padding
    q.out[a] = (p.in[a] - 1) * p.stride[a] - 2 * p.padding[a] + p.dilation[a] * (p.kernel[a] - 1) + extra + 1;
    if (q.out[a] < 1) return;
  }
  check_problem(conv_transpose3d, q, threads_too);
}

}  // namespace

TEST_CASE("layers of the networks, shrunk in batch") {
  constexpr int64_t same[][3] = {{17, 1, 8},   {17, 8, 8},   {16, 16, 8}, {16, 8, 16}, {8, 16, 32},
                                 {8, 32, 32},  {8, 64, 32},  {9, 32, 64}, {4, 32, 64}, {4, 64, 64},
                                 {2, 64, 128}, {2, 128, 64}, {1, 64, 64}};
  for (const auto& l : same)
    check_geometry(
        cube(2, std::min<int64_t>(l[0], 5), std::min<int64_t>(l[0], 9), l[0], l[1], l[2], 3, 1, 1, 1));
  constexpr int64_t half[][3] = {{9, 16, 8}, {8, 32, 16}, {4, 64, 32}, {2, 128, 64}, {1, 64, 32}};
  for (const auto& l : half)
    check_geometry(cube(3, std::min<int64_t>(l[0], 4), l[0], l[0], l[1], l[2], 3, 2, 1, 1));
  constexpr int64_t doubled[][4] = {{5, 16, 16, 8},  {1, 16, 16, 16}, {3, 16, 16, 32}, {2, 8, 32, 8},
                                    {3, 8, 32, 32},  {4, 32, 16, 8},  {3, 7, 17, 9},   {2, 24, 48, 24},
                                    {1, 13, 64, 16}, {2, 8, 8, 4}};
  for (const auto& l : doubled) check_geometry(cube(2, 3, l[0], l[1], l[2], l[3], 3, 2, 1, 1));
  check_geometry(cube(9, 2, 2, 2, 32, 64, 3, 1, 1, 1));
  check_geometry(cube(4, 3, 4, 4, 24, 60, 3, 1, 1, 1));  // few points: four vectors of channels, the last one cut
  check_geometry(cube(3, 2, 2, 3, 64, 120, 3, 1, 1, 1));
  check_geometry(cube(1, 3, 3, 4, 48, 64, 3, 2, 1, 1));
  check_geometry(cube(9, 1, 2, 3, 64, 32, 3, 2, 1, 1));
  for (int64_t few : {1, 3, 4})
    for (int64_t many : {4, 8, 20}) {
      check_geometry(cube(2, 3, 5, 33, many, few, 1, 1, 0, 1));
      check_geometry(cube(2, 3, 5, 33, few, many, 1, 1, 0, 1));
    }
  check_geometry(cube(2, 3, 5, 33, 128, 96, 1, 1, 0, 1));
  for (int64_t Co : {1, 5, 8, 16, 19, 40}) check_geometry(cube(2, 5, 7, 21, 1, Co, 3, 1, 1, 1));
  check_geometry(cube(3, 3, 5, 33, 33, 47, 1, 1, 0, 1));
  check_geometry(cube(1, 1, 1, 7, 64, 100, 1, 1, 0, 1));
  check_geometry(cube(0, 2, 2, 2, 32, 32, 1, 1, 0, 1));
}

TEST_CASE("the list of odd sizes") {
  constexpr int64_t extents[] = {1, 2, 3, 4, 5, 7, 8, 9, 17, 33},
                    channels[] = {1, 2, 3, 7, 8, 9, 16, 17, 24, 32, 64}, kernels_[] = {1, 2, 3, 3, 3, 5},
                    strides[] = {1, 1, 2, 3}, paddings[] = {0, 1, 1, 2, 3}, dilations[] = {1, 1, 1, 2, 3},
                    batches[] = {0, 1, 2, 3, 5, 9};
  Random r{2024};
  int64_t done = 0;
  while (done < 150) {
    Conv3dProblem p{};
    p.N = r.pick(batches), p.Ci = r.pick(channels), p.Co = r.pick(channels);
    const bool same = r.next() % 2;  // half the cases are cubes of stride 1
    for (int a = 0; a < 3; ++a) {
      p.in[a] = r.pick(extents);
      p.kernel[a] = same ? 3 : r.pick(kernels_);
      p.stride[a] = same ? 1 : r.pick(strides);
      p.padding[a] = r.pick(paddings);
      p.dilation[a] = same ? 1 : r.pick(dilations);
    }
    const double taps = double(p.kernel[0] * p.kernel[1] * p.kernel[2]);
    if (double(std::max<int64_t>(p.N, 1) * p.in[0] * p.in[1] * p.in[2] * p.Ci * p.Co) * taps > 4e6) continue;
    check_geometry(p);
    ++done;
  }
}

TEST_CASE("results do not depend on the number of threads") {
  check_geometry(cube(3, 5, 7, 9, 8, 8, 3, 1, 1, 1), true);
  check_geometry(cube(1, 9, 8, 8, 17, 24, 3, 1, 1, 1), true);
  check_geometry(cube(5, 2, 2, 2, 32, 32, 3, 1, 1, 1), true);
  check_geometry(cube(2, 4, 5, 6, 8, 16, 3, 2, 1, 1), true);
  check_geometry(cube(2, 9, 5, 8, 32, 8, 3, 2, 1, 1), true);
  check_geometry(cube(3, 9, 5, 19, 1, 8, 3, 1, 1, 1), true);
  check_geometry(cube(5, 8, 9, 16, 34, 49, 1, 1, 0, 1), true);
}

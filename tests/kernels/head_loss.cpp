// SPDX-License-Identifier: BSD-3-Clause
// The head with its loss in f32 against the head, the loss and their gradients one after the other in f64: walls around
// every buffer, odd numbers of points, every instruction set, one to seven threads with the same bits.

#include "voxgrad/kernels/head_loss.hpp"

#include "guarded.hpp"
#include "settings.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {

struct Geometry {
  int64_t N, in[3], C, Co;
  bool norm;  ///< batch norm pending, else only the activation
  double slope;
};

template <class T>
class Head {
 public:
  explicit Head(const Geometry& g) : g_(g), points_(g.N * g.in[0] * g.in[1] * g.in[2]) {
    x_ = noise_values<T>(points_ * g.C, 1, 1, 0.2);
    w_ = noise_values<T>(g.C * g.Co, 2, std::sqrt(3.0 / double(g.C)));
    bias_ = noise_values<T>(g.Co, 3, 0.5);
    target_ = noise_values<T>(points_ * g.Co, 4, 0.5, 0.5);
    gamma_ = noise_values<T>(g.C, 5, 0.3, 1), beta_ = noise_values<T>(g.C, 6, 0.5);
    for (int64_t c = 0; c < g.C; ++c) {
      mean_.push_back(0.5 * noise(c, 7)), inv_std_.push_back(1.1 + 0.2 * noise(c, 8));
      scale_.push_back(double(gamma_[c]) * inv_std_[size_t(c)]);
      shift_.push_back(double(beta_[c]) - scale_[size_t(c)] * mean_[size_t(c)]);
    }
    problem_ = {{DTypeOf<T>::value, g.N, {g.in[0], g.in[1], g.in[2]}, g.C, {g.in[0], g.in[1], g.in[2]}, g.Co, {1, 1, 1}, {1, 1, 1},
                 {0, 0, 0}, {1, 1, 1}},
                1,
                {{x_.data(), g.C, g.norm ? scale_.data() : nullptr, g.norm ? shift_.data() : nullptr, g.slope}}};
  }

  using Numbers = std::vector<std::vector<double>>;

  /// Sum, slope, dw, db, da, sum and dot of the op.
  Numbers run(const LossTable& loss, double scale) {
    Guarded<T> slope(points_ * g_.Co), dw(w_.size()), db(g_.Co), da(x_.size());
    Guarded<double> sum(g_.C), dot(g_.C);
    const auto& table = head_loss.at(host);
    Numbers all{{table.forward(problem_, loss, w_.data(), bias_.data(), target_.data(), slope.data())}};
    CHECK(table.forward(problem_, loss, w_.data(), bias_.data(), target_.data(), nullptr) == all[0][0]);
    const PendingGradient below = gradient(sum, dot);
    table.backward(problem_, scale, slope.data(), w_.data(), dw.data(), db.data(), da.data(), g_.norm ? &below : nullptr);
    keep(all, slope), keep(all, dw), keep(all, db), keep(all, da);
    if (g_.norm) keep(all, sum), keep(all, dot);
    return all;
  }

  /// The same by fused_conv and the loss.
  Numbers apart(const LossTable& loss, double scale) {
    Guarded<T> z(points_ * g_.Co), slope(z.size()), dz(z.size()), dw(w_.size()), db(g_.Co), da(x_.size());
    Guarded<double> sum(g_.C), dot(g_.C);
    const auto& table = fused_conv.at(host);
    table.forward(problem_, w_.data(), bias_.data(), z.data(), nullptr, nullptr);
    Numbers all{{loss.forward(problem_.conv.dtype, z.size(), z.data(), target_.data())}};
    loss.backward(problem_.conv.dtype, z.size(), 1, z.data(), target_.data(), slope.data());
    loss.backward(problem_.conv.dtype, z.size(), scale, z.data(), target_.data(), dz.data());
    table.backward_weight(problem_, nullptr, dz.data(), dw.data(), db.data());
    const PendingGradient below = gradient(sum, dot);
    const PendingGradient* const g[2] = {g_.norm ? &below : nullptr, nullptr};
    void* const to[2] = {da.data(), nullptr};
    table.backward_data(problem_, dz.data(), w_.data(), to, g);
    keep(all, slope), keep(all, dw), keep(all, db), keep(all, da);
    if (g_.norm) keep(all, sum), keep(all, dot);
    return all;
  }

  /// da alone, dw alone, dw and db alone: each as with all the others.
  void check_parts(double scale, const LossTable& loss) {
    Guarded<T> slope(points_ * g_.Co), dw(w_.size()), db(g_.Co), da(x_.size()), dw1(w_.size()), dw2(w_.size()), db2(g_.Co), da1(x_.size());
    const auto& table = head_loss.at(host);
    table.forward(problem_, loss, w_.data(), bias_.data(), target_.data(), slope.data());
    table.backward(problem_, scale, slope.data(), w_.data(), dw.data(), db.data(), da.data(), nullptr);
    table.backward(problem_, scale, slope.data(), w_.data(), dw1.data(), nullptr, nullptr, nullptr);
    table.backward(problem_, scale, slope.data(), w_.data(), dw2.data(), db2.data(), nullptr, nullptr);
    table.backward(problem_, scale, slope.data(), w_.data(), nullptr, nullptr, da1.data(), nullptr);
    CHECK(dw1.copy() == dw.copy());
    CHECK(dw2.copy() == dw.copy());
    CHECK(db2.copy() == db.copy());
    CHECK(da1.copy() == da.copy());
  }

 private:
  PendingGradient gradient(Guarded<double>& sum, Guarded<double>& dot) {
    return {x_.data(), points_, g_.C, g_.slope, mean_.data(), inv_std_.data(), gamma_.data(), beta_.data(), true, sum.data(), dot.data()};
  }
  template <class Buffer>
  static void keep(Numbers& all, Buffer& buffer) {
    CHECK(buffer.intact());
    all.emplace_back();
    for (int64_t i = 0; i < buffer.size(); ++i) all.back().push_back(double(buffer[i]));
  }
  Geometry g_;
  int64_t points_;
  FusedConvProblem problem_{};
  Guarded<T> x_{0}, w_{0}, bias_{0}, target_{0}, gamma_{0}, beta_{0};
  std::vector<double> mean_, inv_std_, scale_, shift_;
};

const Geometry geometries[] = {
    {2, {3, 5, 7}, 8, 1, true, 0.2},     // the U-Net's; less than a strip
    {1, {17, 23, 25}, 8, 1, true, 0},    // several chunks, the last one cut
    {1, {1, 11, 97}, 16, 2, true, 0.2},  // a strip and a bit
    {1, {2, 9, 31}, 24, 3, false, 0.2},  // no norm
    {1, {5, 7, 31}, 40, 4, true, 0},
    {2, {3, 3, 5}, 5, 1, true, 0.2},  // channels that are no blocks: one after the other
    {1, {3, 4, 5}, 8, 6, true, 0},    // too many outputs
    {1, {3, 4, 9}, 8, 2, false, 1},   // a finished source
};

void check_close(const std::vector<std::vector<double>>& got, const std::vector<std::vector<double>>& want) {
  REQUIRE(got.size() == want.size());
  for (size_t k = 0; k < got.size(); ++k) {
    INFO("result " << k);
    REQUIRE(got[k].size() == want[k].size());
    double worst = 0, largest = 0;
    for (size_t i = 0; i < got[k].size(); ++i) {
      const double e = std::abs(got[k][i] - want[k][i]);
      if (!(e <= worst)) worst = e == e ? e : 1e300;
      largest = std::max(largest, std::abs(want[k][i]));
    }
    CHECK(worst < 5e-6 * largest);
  }
}

template <class F>
void check_loss_with_head() {
  const LossTable& table = loss<F>.at(host);
  for (const Geometry& g : geometries) {
    INFO(F::name << ", in " << g.in[0] << "x" << g.in[1] << "x" << g.in[2] << " channels " << g.C << " -> " << g.Co);
    const auto want = Head<double>(g).apart(table, 0.7);
    check_close(Head<double>(g).run(table, 0.7), want);
    on_every_isa([&] { check_close(Head<float>(g).run(table, 0.7), want); });
  }
}

}  // namespace

TEST_CASE("the head with its loss is one after the other, between walls, on every instruction set") {
  check_loss_with_head<MseWithLogits>();
  check_loss_with_head<BceWithLogits>();
  check_loss_with_head<Mse>();
}

TEST_CASE("the head with its loss gives the same bits for any number of threads") {
  const test::Settings restore;
  const LossTable& table = loss<BceWithLogits>.at(host);
  on_every_isa([&] {
    for (const Geometry& g : geometries) {
      set_threads(1);
      const auto want = Head<float>(g).run(table, 0.7);
      for (int count = 2; count <= 7; ++count) {
        INFO(count << " threads, channels " << g.C << " -> " << g.Co);
        set_threads(count);
        CHECK(Head<float>(g).run(table, 0.7) == want);
      }
    }
  });
}

TEST_CASE("the head's gradients are the same alone and together") {
  for (const Geometry& g : geometries) {
    INFO("channels " << g.C << " -> " << g.Co);
    Head<float>(g).check_parts(0.7, loss<MseWithLogits>.at(host));
    Head<double>(g).check_parts(0.7, loss<MseWithLogits>.at(host));
  }
}

// SPDX-License-Identifier: BSD-3-Clause
// The fused convolution's kernels in f32 against its definition in f64: walls around every buffer, addresses that no
// vector likes, every instruction set, one to seven threads with the same bits.

#include "voxgrad/kernels/fused.hpp"

#include "guarded.hpp"
#include "settings.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {

struct Geometry {
  int64_t N, in[3], C[2], Co, kernel;  ///< C[1] 0: one source
  bool raw[2];                         ///< the source has batch norm and activation pending
  bool norm;                           ///< of the output
};

/// All buffers of one block in one precision.
template <class T>
class Block {
 public:
  explicit Block(const Geometry& g) : g_(g), sources_(g.C[1] > 0 ? 2 : 1) {
    const int64_t points = g.N * g.in[0] * g.in[1] * g.in[2], Ci = g.C[0] + g.C[1], pad = g.kernel / 2;
    problem_.conv = {DTypeOf<T>::value, g.N, {g.in[0], g.in[1], g.in[2]}, Ci, {g.in[0], g.in[1], g.in[2]}, g.Co,
                     {g.kernel, g.kernel, g.kernel}, {1, 1, 1}, {pad, pad, pad}, {1, 1, 1}};
    problem_.sources = sources_;
    const double fan = std::sqrt(3.0 / double(Ci * g.kernel * g.kernel * g.kernel));
    w_ = noise_values<T>(g.kernel * g.kernel * g.kernel * Ci * g.Co, 11, fan);
    bias_ = noise_values<T>(g.Co, 12, 0.5);
    for (int i = 0; i < sources_; ++i) {
      x_.push_back(noise_values<T>(points * g.C[i], uint64_t(1 + i), 1, 0.2));
      gamma_.push_back(noise_values<T>(g.C[i], uint64_t(3 + i), 0.3, 1));
      beta_.push_back(noise_values<T>(g.C[i], uint64_t(5 + i), 0.5));
      mean_.push_back(noise_vector<double>(g.C[i], uint64_t(7 + i), 0.5));
      inv_std_.push_back(noise_vector<double>(g.C[i], uint64_t(9 + i), 0.2, 1.1));
      scale_.emplace_back(), shift_.emplace_back();
      for (size_t c = 0; c < size_t(g.C[i]); ++c) {
        scale_[size_t(i)].push_back(double(gamma_[size_t(i)][int64_t(c)]) * inv_std_[size_t(i)][c]);
        shift_[size_t(i)].push_back(double(beta_[size_t(i)][int64_t(c)]) - scale_[size_t(i)][c] * mean_[size_t(i)][c]);
      }
    }
    for (int i = 0; i < sources_; ++i)
      problem_.source[i] = {x_[size_t(i)].data(), g.C[i], g.raw[i] ? scale_[size_t(i)].data() : nullptr,
                            g.raw[i] ? shift_[size_t(i)].data() : nullptr, g.raw[i] ? 0.2 : 1};
  }

  /// z, mean, variance, dz, dw, db, da of the sources and their sums, one after the other.
  std::vector<std::vector<double>> run() {
    const auto& table = fused_conv.at(host);
    const Geometry& g = g_;
    const int64_t points = g.N * g.in[0] * g.in[1] * g.in[2];
    std::vector<std::vector<double>> all;
    const auto keep = [&](auto& buffer) {
      CHECK(buffer.intact());
      all.emplace_back();
      for (int64_t i = 0; i < buffer.size(); ++i) all.back().push_back(double(buffer[i]));
    };
    Guarded<T> z(points * g.Co), da(points * g.Co), dw(w_.size()), db(g.Co);
    Guarded<double> mean(g.Co), variance(g.Co), sum(g.Co), dot(g.Co);
    table.forward(problem_, w_.data(), bias_.data(), z.data(), g.norm ? mean.data() : nullptr, g.norm ? variance.data() : nullptr);
    keep(z);
    if (g.norm) keep(mean), keep(variance);

    for (int64_t i = 0; i < points * g.Co; ++i) da[i] = T(float(0.3 * noise(i, 21) + 0.1));
    std::vector<double> inv_std;
    const EdgeVector<T> gamma = noise_vector<T>(g.Co, 22, 0.3, 1), beta = noise_vector<T>(g.Co, 23, 0.5);
    for (int64_t c = 0; c < g.Co && g.norm; ++c) inv_std.push_back(1 / std::sqrt(variance[c] + 1e-5));
    PendingGradient own{z.data(), points, g.Co, 0.2, mean.data(), inv_std.data(), gamma.data(), beta.data(), true, sum.data(), dot.data()};
    if (!g.norm) own.gamma = own.beta = nullptr;
    else table.sums(DTypeOf<T>::value, own, da.data()), keep(sum), keep(dot);
    const bool plain = g.kernel == 1;  // a head: nothing behind it
    table.backward_weight(problem_, plain ? nullptr : &own, da.data(), dw.data(), db.data());
    keep(da), keep(dw), keep(db);

    std::vector<Guarded<T>> ds;
    std::vector<Guarded<double>> sums;
    for (int i = 0; i < sources_; ++i) {
      ds.emplace_back(points * g.C[i]);
      sums.emplace_back(g.C[i]);
      sums.emplace_back(g.C[i]);
    }
    void* to[2] = {};
    PendingGradient below[2];
    const PendingGradient* wanted[2] = {};
    for (size_t i = 0; i < size_t(sources_); ++i) {
      to[i] = ds[i].data();
      below[i] = {x_[i].data(), points, g.C[i], 0.2, mean_[i].data(), inv_std_[i].data(), gamma_[i].data(), beta_[i].data(), true,
                  sums[2 * i].data(), sums[2 * i + 1].data()};
      if (g.raw[i]) wanted[i] = &below[i];
    }
    table.backward_data(problem_, da.data(), w_.data(), to, wanted);
    for (size_t i = 0; i < size_t(sources_); ++i) {
      keep(ds[i]);
      if (g.raw[i]) keep(sums[2 * i]), keep(sums[2 * i + 1]);
    }
    return all;
  }

 private:
  Geometry g_;
  int sources_;
  FusedConvProblem problem_{};
  std::vector<Guarded<T>> x_, gamma_, beta_;
  std::vector<EdgeVector<double>> mean_, inv_std_, scale_, shift_;
  Guarded<T> w_{0}, bias_{0};
};

const Geometry geometries[] = {
    {2, {3, 5, 17}, {8, 0}, 8, 3, {true, false}, true},      // pairs of rows, odd rows
    {1, {4, 6, 32}, {8, 8}, 8, 3, {true, false}, true},      // joined; the data gradient splits a vector
    {1, {3, 4, 9}, {16, 16}, 16, 3, {true, true}, true},     // splits between vectors
    {2, {2, 3, 8}, {24, 8}, 40, 3, {false, true}, false},    // no norm behind it, channels that fill no vector
    {2, {3, 4, 5}, {8, 0}, 16, 3, {true, false}, true},      // direct kernels
    {3, {2, 2, 2}, {16, 16}, 32, 3, {true, false}, true},    // finished in a buffer
    {1, {2, 3, 9}, {5, 3}, 7, 3, {true, true}, true},        // channels that are no blocks
    {2, {3, 5, 7}, {8, 0}, 1, 1, {true, false}, false},      // the head
    {1, {3, 3, 6}, {16, 0}, 3, 1, {true, false}, false},     // a head of several channels
    {1, {4, 5, 11}, {1, 0}, 8, 3, {false, false}, true},     // the first layer
};

}  // namespace

TEST_CASE("the fused convolution is its definition, between walls, on every instruction set") {
  for (const Geometry& g : geometries) {
    INFO("in " << g.in[0] << "x" << g.in[1] << "x" << g.in[2] << " channels " << g.C[0] << "+" << g.C[1] << " -> " << g.Co);
    const auto want = Block<double>(g).run();
    on_every_isa([&] {
      const auto got = Block<float>(g).run();
      REQUIRE(got.size() == want.size());
      for (size_t k = 0; k < got.size(); ++k) {
        INFO("result " << k);
        REQUIRE(got[k].size() == want[k].size());
        double worst = 0, largest = 0;
        for (size_t i = 0; i < got[k].size(); ++i) {
          worst = std::max(worst, std::abs(got[k][i] - want[k][i]));
          largest = std::max(largest, std::abs(want[k][i]));
        }
        CHECK(worst < 2e-5 * std::max(largest, 3.0));  // the bias of a normed block has gradient 0
      }
    });
  }
}

TEST_CASE("the fused convolution gives the same bits for any number of threads") {
  const test::Settings restore;
  for (const Geometry& g : geometries) {
    set_threads(1);
    const auto want = Block<float>(g).run();
    for (int count = 2; count <= 7; ++count) {
      INFO(count << " threads, channels " << g.C[0] << "+" << g.C[1] << " -> " << g.Co);
      set_threads(count);
      CHECK(Block<float>(g).run() == want);
    }
  }
}

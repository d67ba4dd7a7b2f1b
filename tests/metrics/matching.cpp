// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/metrics/matching.hpp"

#include "catch.hpp"
#include "draws.hpp"

using namespace voxgrad;
using metrics::DetectionScores;
using metrics::match_points;
using metrics::Matcher;
using metrics::Matrix;
using metrics::Pair;
using metrics::Point;
using metrics_test::message_of;
using Pairs = std::vector<Pair>;

namespace {

std::vector<Point> on_axis(std::initializer_list<double> at) {
  std::vector<Point> points;
  for (double x : at) points.push_back({4, x, 7});
  return points;
}

Pairs sorted(Pairs p) {
  std::sort(p.begin(), p.end());
  return p;
}

Pairs read_pairs(std::istream& in) {
  size_t n = 0;
  in >> n;
  Pairs pairs(n);
  for (Pair& p : pairs) in >> p.first >> p.second;
  return pairs;
}

std::vector<Point> read_points(std::istream& in, int64_t n) {
  std::vector<Point> points(static_cast<size_t>(n));
  for (Point& p : points) in >> p[0] >> p[1] >> p[2];
  return points;
}

double total(const Matrix& cost, const Pairs& pairs) {
  double sum = 0;
  for (const Pair& p : pairs) sum += cost.at(p.first, p.second);
  return sum;
}

// The least total cost by trying every assignment of the rows. rows <= columns.
double brute_force(const Matrix& cost, int64_t row, std::vector<char>& taken) {
  if (row == cost.rows) return 0;
  double best = std::numeric_limits<double>::infinity();
  for (int64_t c = 0; c < cost.columns; ++c) {
    if (taken[size_t(c)]) continue;
    taken[size_t(c)] = 1;
    best = std::min(best, cost.at(row, c) + brute_force(cost, row + 1, taken));
    taken[size_t(c)] = 0;
  }
  return best;
}

}  // namespace

TEST_CASE("matching: conformance vectors 12.5 A to C") {
  const auto a = match_points(on_axis({0, 5}), on_axis({3, 8}), Matcher::nearest);
  CHECK(a.pairs == Pairs{{1, 0}});
  CHECK(a.scores.precision() == Approx(0.49999975).epsilon(1e-9));
  CHECK(a.scores.recall() == Approx(0.49999975).epsilon(1e-9));
  CHECK(a.scores.f1() == Approx(0.49999925).epsilon(1e-8));
  CHECK(a.false_negatives == std::vector<int64_t>{0});
  CHECK(a.false_positives == std::vector<int64_t>{1});
  const auto h = match_points(on_axis({0, 5}), on_axis({3, 8}), Matcher::hungarian);
  CHECK(h.pairs == Pairs{{0, 0}, {1, 1}});
  CHECK(h.scores.precision() == Approx(0.9999995).epsilon(1e-9));
  CHECK(h.scores.f1() == Approx(0.999999).epsilon(1e-9));

  for (Matcher m : {Matcher::nearest, Matcher::hungarian})
    CHECK(match_points(on_axis({0, 4}), on_axis({3, 8.5}), m).pairs == Pairs{{1, 0}});

  CHECK(match_points(on_axis({10}), on_axis({16}), Matcher::nearest).scores.tp == 1);
  CHECK(match_points(on_axis({10}), on_axis({16}), Matcher::hungarian).scores.tp == 0);
}

TEST_CASE("matching: conformance vector 12.5 D") {
  const std::vector<Point> truth{{0, 0, 0}, {0, 4, 0}, {50, 9, 9}};
  const std::vector<Point> predicted{{0, 2, 0}, {0, 1, 0}, {50, 9, 14.9}, {80, 80, 80}};
  for (Matcher m : {Matcher::nearest, Matcher::hungarian}) {
    const DetectionScores s = match_points(truth, predicted, m).scores;
    CHECK(s.tp == 3);
    CHECK(s.precision() == Approx(0.749999813).epsilon(1e-9));
    CHECK(s.recall() == Approx(0.999999667).epsilon(1e-9));
    CHECK(s.f1() == Approx(0.857142122).epsilon(1e-9));
  }
}

TEST_CASE("matching: scores of nothing, of truth alone and of predictions alone") {
  for (Matcher m : {Matcher::nearest, Matcher::hungarian}) {
    const DetectionScores none = match_points({}, {}, m).scores;
    CHECK(none.precision() == 0);
    CHECK(none.recall() == 0);
    CHECK(none.f1() == 0);
    CHECK(none.accuracy() == 1);
    CHECK(none.fnr() == 1);
    CHECK(none.jaccard() == 0);
    CHECK(none.average_precision() == 0);
    const DetectionScores missed = match_points(on_axis({1, 2}), {}, m).scores;
    CHECK((missed.tp == 0 && missed.fp == 0 && missed.fn == 2));
    CHECK(missed.accuracy() == 0);
    const DetectionScores invented = match_points({}, on_axis({1, 2, 3}), m).scores;
    CHECK((invented.tp == 0 && invented.fp == 3 && invented.fn == 0));
    CHECK(invented.accuracy() == 0);
  }
  const Matrix d = metrics::distance_matrix({}, on_axis({1, 2, 3}));
  CHECK((d.rows == 0 && d.columns == 3));
}

TEST_CASE("matching: every score by its formula") {
  const DetectionScores s{6, 2, 3};
  const double eps = 1e-6, p = 6 / (8 + eps), r = 6 / (9 + eps), f = 2 * p * r / (p + r + eps);
  CHECK(s.precision() == p);
  CHECK(s.recall() == r);
  CHECK(s.f1() == f);
  CHECK(s.accuracy() == r);
  CHECK(s.fnr() == 1 - r);
  CHECK(s.jaccard() == f / (2 - f));
  CHECK(s.average_precision() == 6 / (11 + eps));
  CHECK(s.fpr() == Approx(2.0 / 3.0));
}

TEST_CASE("matching: nearest takes ties in row-major order; NaN centres match nothing") {
  CHECK(match_points(on_axis({0, 2}), on_axis({1, 3}), Matcher::nearest).pairs == Pairs{{0, 0}, {1, 1}});
  CHECK(match_points(on_axis({2, 0}), on_axis({1}), Matcher::nearest).pairs == Pairs{{0, 0}});
  for (Matcher m : {Matcher::nearest, Matcher::hungarian})
    CHECK(match_points(on_axis({0}), on_axis({std::nan(""), 1}), m).scores.tp == 1);
}

TEST_CASE("matching: unknown algorithms are refused, not replaced") {
  CHECK(metrics::matcher_named("nearest") == Matcher::nearest);
  CHECK(metrics::matcher_named("hungarian") == Matcher::hungarian);
  CHECK_THROWS_AS(metrics::matcher_named("greedy"), UsageError);
  CHECK(message_of([] { metrics::matcher_named("greedy"); }) ==
        "matching: unknown algorithm 'greedy' (expected hungarian or nearest)");
}

TEST_CASE("matching and assignment equal scipy's, ties included") {
  std::ifstream in = metrics_test::golden("matching.txt");
  int points = 0, costs = 0;
  for (std::string word; in >> word;) {
    int64_t n = 0, m = 0;
    in >> n >> m;
    if (word == "points") {
      const auto truth = read_points(in, n), predicted = read_points(in, m);
      const Pairs nearest = read_pairs(in), hungarian = read_pairs(in);
      CHECK(sorted(match_points(truth, predicted, Matcher::nearest).pairs) == nearest);
      CHECK(match_points(truth, predicted, Matcher::hungarian).pairs == hungarian);
      ++points;
    } else {
      REQUIRE(word == "cost");
      Matrix cost(n, m);
      for (double& c : cost.values) in >> c;
      Pairs expected;
      for (int64_t r = 0; r < n; ++r) {
        int64_t column = -1;
        in >> column;
        if (column >= 0) expected.emplace_back(r, column);
      }
      const Pairs found = metrics::assign(cost);
      CHECK(total(cost, found) == total(cost, expected));
      CHECK(found == expected);
      ++costs;
    }
  }
  CHECK(points == 7);
  CHECK(costs == 8);
}

TEST_CASE("assignment: the least cost of all, on small matrices of real numbers") {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    const auto d = metrics_test::draws(seed, 50);
    const int64_t rows = 1 + d[0] % 6, columns = rows + d[1] % 2;
    Matrix cost(rows, columns), turned(columns, rows);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        turned.at(c, r) = cost.at(r, c) = std::log(double(1 + d[size_t(2 + r * columns + c)])) - 5;
    std::vector<char> taken(size_t(columns), 0);
    const double least = brute_force(cost, 0, taken);
    CHECK(total(cost, metrics::assign(cost)) == Approx(least).margin(1e-12));
    CHECK(metrics::assign(cost).size() == size_t(rows));
    CHECK(total(turned, metrics::assign(turned)) == Approx(least).margin(1e-12));
  }
}

TEST_CASE("assignment: bad costs are errors") {
  Matrix cost(1, 2);
  cost.values = {1, std::nan("")};
  CHECK(message_of([&] { metrics::assign(cost); }) == "assignment: a cost is not a number");
  cost.values = {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
  CHECK(message_of([&] { metrics::assign(cost); }) == "assignment: the costs allow no complete assignment");
  CHECK(metrics::assign(Matrix(0, 3)).empty());
}

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Minimum-cost assignment of rows to columns of a rectangular matrix.

#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::metrics {

/// A dense matrix of rows x columns, row-major.
struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(int64_t r, int64_t c) : rows(r), columns(c), values(size_t(r * c)) {}
  double& at(int64_t r, int64_t c) { return values[size_t(r * columns + c)]; }
  double at(int64_t r, int64_t c) const { return values[size_t(r * columns + c)]; }
};

using Pair = std::pair<int64_t, int64_t>;  ///< (row, column)

/// Shortest augmenting paths with dual variables (Crouse, IEEE Trans. Aerosp. Electron. Syst. 52, 2016).
/// One row after another gets a column along the cheapest path of reassignments, found as by Dijkstra in
/// reduced costs, which the duals keep non-negative. rows <= columns.
class ShortestAugmentingPaths {
 public:
  explicit ShortestAugmentingPaths(const Matrix& cost)
      : cost_(cost),
        u_(size_t(cost.rows)),
        v_(size_t(cost.columns)),
        column_of_(size_t(cost.rows), -1),
        row_of_(size_t(cost.columns), -1),
        from_(size_t(cost.columns)),
        length_(size_t(cost.columns)) {}

  /// The column of each row.
  std::vector<int64_t> solve() {
    for (int64_t row = 0; row < cost_.rows; ++row) augment(row);
    return column_of_;
  }

 private:
  void augment(int64_t start) {
    std::vector<int64_t> open, rows{start},
        closed;  // columns not reached, rows and columns on the search tree
    // Back to front, with the last unassigned column winning ties: the order in which SciPy resolves them.
    for (int64_t c = cost_.columns; c-- > 0;) open.push_back(c);
    length_.assign(length_.size(), std::numeric_limits<double>::infinity());
    double shortest = 0;
    int64_t row = start, end = -1;
    while (end < 0) {
      const size_t best = relax(row, shortest, open);
      const int64_t column = open[best];
      shortest = length_[size_t(column)];
      check<Error>(std::isfinite(shortest), "assignment: the costs allow no complete assignment");
      open[best] = open.back();
      open.pop_back();
      closed.push_back(column);
      row = row_of_[size_t(column)];
      if (row < 0)
        end = column;
      else
        rows.push_back(row);
    }
    u_[size_t(start)] += shortest;
    for (size_t i = 1; i < rows.size(); ++i)
      u_[size_t(rows[i])] += shortest - length_[size_t(column_of_[size_t(rows[i])])];
    for (const int64_t c : closed) v_[size_t(c)] -= shortest - length_[size_t(c)];
    for (int64_t column = end, r = -1; r != start;) {  // flip the path back to `start`
      r = row_of_[size_t(column)] = from_[size_t(column)];
      std::swap(column_of_[size_t(r)], column);
    }
  }

  // Shortens the paths to the open columns through `row`; the position in `open` of the nearest one.
  size_t relax(int64_t row, double so_far, const std::vector<int64_t>& open) {
    double lowest = std::numeric_limits<double>::infinity();
    size_t best = 0;
    for (size_t k = 0; k < open.size(); ++k) {
      const int64_t c = open[k];
      double& length = length_[size_t(c)];
      const double through = so_far + cost_.at(row, c) - u_[size_t(row)] - v_[size_t(c)];
      if (through < length) {
        from_[size_t(c)] = row;
        length = through;
      }
      if (length < lowest || (length == lowest && row_of_[size_t(c)] < 0)) {
        lowest = length;
        best = k;
      }
    }
    return best;
  }

  const Matrix& cost_;
  std::vector<double> u_, v_;
  std::vector<int64_t> column_of_, row_of_, from_;
  std::vector<double> length_;
};

/// min(rows, columns) pairs of least total cost, in order of rows. Any finite costs, negative ones too;
/// O(n^3). Errors: Error if a cost is NaN or if infinite costs leave no complete assignment.
inline std::vector<Pair> assign(const Matrix& cost) {
  for (const double c : cost.values) check<Error>(!std::isnan(c), "assignment: a cost is not a number");
  if (cost.rows == 0 || cost.columns == 0) return {};
  std::vector<Pair> pairs;
  if (cost.rows <= cost.columns) {
    const std::vector<int64_t> columns = ShortestAugmentingPaths(cost).solve();
    for (int64_t r = 0; r < cost.rows; ++r) pairs.emplace_back(r, columns[size_t(r)]);
    return pairs;
  }
  Matrix transposed(cost.columns, cost.rows);
  for (int64_t r = 0; r < cost.rows; ++r)
    for (int64_t c = 0; c < cost.columns; ++c) transposed.at(c, r) = cost.at(r, c);
  const std::vector<int64_t> rows = ShortestAugmentingPaths(transposed).solve();
  std::vector<int64_t> column_of(size_t(cost.rows), -1);
  for (int64_t c = 0; c < cost.columns; ++c) column_of[size_t(rows[size_t(c)])] = c;
  for (int64_t r = 0; r < cost.rows; ++r)
    if (column_of[size_t(r)] >= 0) pairs.emplace_back(r, column_of[size_t(r)]);
  return pairs;
}

}  // namespace voxgrad::metrics

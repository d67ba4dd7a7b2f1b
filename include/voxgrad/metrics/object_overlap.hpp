// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How many voxels true and predicted objects share: only pairs that meet are kept, so memory grows with the contacts.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/relabel.hpp"
#include "voxgrad/metrics/assignment.hpp"

namespace voxgrad::metrics {

/// Shared voxels over those of either, of the true or of the predicted object.
enum class Criterion { iou, iot, iop };

inline const char* name(Criterion c) { return c == Criterion::iou ? "iou" : c == Criterion::iot ? "iot" : "iop"; }

/// "iou", "iot" or "iop". Errors: UsageError for any other name.
inline Criterion criterion_named(const std::string& text) {
  for (const Criterion c : {Criterion::iou, Criterion::iot, Criterion::iop})
    if (text == name(c)) return c;
  throw UsageError("instances: unknown criterion '" + text + "' (expected iou, iot or iop)");
}

struct ObjectOverlap {
  struct Cell {
    int64_t t, p;    ///< positions in true_ids and pred_ids
    int64_t voxels;  ///< shared
  };
  std::vector<int64_t> true_ids, pred_ids;    ///< ascending
  std::vector<int64_t> true_size, pred_size;  ///< voxels
  std::vector<Cell> cells;                    ///< pairs that share voxels, by t, then p

  /// Rounded once to float32, as the division of integers is.
  float score(size_t cell, Criterion criterion) const {
    const Cell& c = cells[cell];
    const int64_t t = true_size[size_t(c.t)], p = pred_size[size_t(c.p)];
    const int64_t of = criterion == Criterion::iou ? t + p - c.voxels : criterion == Criterion::iot ? t : p;
    return float(double(c.voxels) / double(of));
  }
  /// The cell of a pair, cells.size() if they share nothing.
  size_t find(int64_t t, int64_t p) const {
    const auto before = [](const Cell& c, const std::pair<int64_t, int64_t>& at) { return std::pair(c.t, c.p) < at; };
    const auto found = std::lower_bound(cells.begin(), cells.end(), std::pair(t, p), before);
    return found != cells.end() && found->t == t && found->p == p ? size_t(found - cells.begin()) : cells.size();
  }
};

/// Ids above 0 with their sizes. Errors: UsageError for ids below 0.
template <class T>
void count_objects(const data::Volume<T>& labels, const char* what, std::vector<int64_t>& ids, std::vector<int64_t>& sizes,
                   std::unordered_map<T, int64_t>& position) {
  for (const T id : data::object_ids(labels)) position.emplace(id, int64_t(ids.size())), ids.push_back(int64_t(id));
  sizes.assign(ids.size(), 0);
  int64_t* of_last = nullptr;
  T last = 0;
  for (const T label : labels.voxels) {
    check<UsageError>(!(label < T(0)), "instances: the ", what, " labels hold ", int64_t(label), " (expected 0 or more)");
    if (label != last) of_last = label == T(0) ? nullptr : &sizes[size_t(position.at(label))], last = label;
    if (of_last != nullptr) ++*of_last;
  }
}

/// Errors: ShapeError for different extents, UsageError for ids below 0.
template <class A, class B>
ObjectOverlap object_overlap(const data::Volume<A>& truth, const data::Volume<B>& predicted) {
  const data::Extent3 &a = truth.extent, &b = predicted.extent;
  check<ShapeError>(a == b, "instances: the true labels are ", a[0], "x", a[1], "x", a[2], ", the predicted ones ", b[0],
                    "x", b[1], "x", b[2], " voxels");
  ObjectOverlap out;
  std::unordered_map<A, int64_t> rows;
  std::unordered_map<B, int64_t> columns;
  count_objects(truth, "true", out.true_ids, out.true_size, rows);
  count_objects(predicted, "predicted", out.pred_ids, out.pred_size, columns);
  std::unordered_map<uint64_t, int64_t> shared;
  const size_t n = truth.voxels.size();
  for (size_t i = 0, next; i < n; i = next) {
    const A t = truth.voxels[i];
    const B p = predicted.voxels[i];
    for (next = i + 1; next < n && truth.voxels[next] == t && predicted.voxels[next] == p;) ++next;
    if (t != A(0) && p != B(0)) shared[uint64_t(rows.at(t)) << 32 | uint64_t(columns.at(p))] += int64_t(next - i);
  }
  for (const auto& [key, voxels] : shared) out.cells.push_back({int64_t(key >> 32), int64_t(key & 0xffffffffu), voxels});
  std::sort(out.cells.begin(), out.cells.end(),
            [](const auto& x, const auto& y) { return std::pair(x.t, x.p) < std::pair(y.t, y.p); });
  return out;
}

/// Calls f(cells) for every group of objects that are linked by shared voxels, with the group's cells in order.
template <class F>
void for_each_component(const ObjectOverlap& overlap, F&& f) {
  const size_t n_true = overlap.true_ids.size();
  std::vector<size_t> parent(n_true + overlap.pred_ids.size());
  std::iota(parent.begin(), parent.end(), size_t(0));
  const auto root = [&](size_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  for (const auto& c : overlap.cells) parent[root(size_t(c.t))] = root(n_true + size_t(c.p));
  std::vector<std::vector<size_t>> groups(parent.size());
  for (size_t k = 0; k < overlap.cells.size(); ++k) groups[root(size_t(overlap.cells[k].t))].push_back(k);
  for (const auto& cells : groups)
    if (!cells.empty()) f(cells);
}

/// The objects of such a group, ascending.
struct Component {
  std::vector<int64_t> rows, columns;

  Component(const ObjectOverlap& overlap, const std::vector<size_t>& cells) {
    for (const size_t k : cells) rows.push_back(overlap.cells[k].t), columns.push_back(overlap.cells[k].p);
    for (std::vector<int64_t>* list : {&rows, &columns}) {
      std::sort(list->begin(), list->end());
      list->erase(std::unique(list->begin(), list->end()), list->end());
    }
  }
  int64_t row_of(int64_t t) const { return std::lower_bound(rows.begin(), rows.end(), t) - rows.begin(); }
  int64_t column_of(int64_t p) const { return std::lower_bound(columns.begin(), columns.end(), p) - columns.begin(); }
};

}  // namespace voxgrad::metrics

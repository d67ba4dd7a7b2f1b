// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// One slot per op and device kind: a table of function pointers that a backend fills before main.

#include "voxgrad/core/device.hpp"

namespace voxgrad {

template <class Table>
class Kernels {
 public:
  explicit constexpr Kernels(const char* op) : op_(op) {}

  /// The table for a device; a DeviceError names the op and the device when no backend filled it.
  const Table& at(Device device) const {
    const Table* table = tables_[int(device.kind)];
    check<DeviceError>(table != nullptr, op_, ": no ", device.kind == DeviceKind::cpu ? "cpu" : "cuda",
                       " kernels in this program");
    return *table;
  }

  bool filled(DeviceKind kind) const { return tables_[int(kind)] != nullptr; }
  bool fill(DeviceKind kind, const Table* table) {
    tables_[int(kind)] = table;
    return true;
  }
  const char* op() const { return op_; }

 private:
  const char* op_;
  const Table* tables_[device_kinds] = {};
};

}  // namespace voxgrad

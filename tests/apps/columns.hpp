// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A column of a CSV file as numbers.

#include <string>
#include <vector>

#include "common/tables.hpp"

inline std::vector<double> column(const std::string& file, const std::string& name) {
  const auto table = voxgrad::app::CsvTable::read(file);
  std::vector<double> out;
  for (size_t r = 0; r < table.rows(); ++r) out.push_back(table.number(r, name));
  return out;
}

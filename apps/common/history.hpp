// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What trainings keep of themselves: tables that grow a row at a time and lose what came after the checkpoint that a run goes on from.

#include <cstdint>
#include <string>
#include <utility>

namespace voxgrad::app {

/// Appends a row, under the header when the file is new. FileError when the disk is full.
void append_row(const std::string& path, const std::string& header, const std::string& row);
/// Drops the rows whose first number is `step` or above, and broken ones.
void keep_rows_before(const std::string& path, int64_t step);
/// Step + 1 and loss of the row with the lowest loss (columns step, loss, ...); -1 and infinity without one.
std::pair<int64_t, double> best_row(const std::string& path);
/// FNV-1a in 16 hexadecimal digits, to tell whether a checkpoint belongs to a configuration.
std::string hash_text(const std::string& s);

}  // namespace voxgrad::app

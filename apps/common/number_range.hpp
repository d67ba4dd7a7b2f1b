// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Ranges of numbers on the command line.

#include <cstdint>
#include <string>
#include <vector>

namespace voxgrad::app {

/// "0.1:0.9:9" (FIRST:LAST:COUNT), or one number -> that many numbers at equal distances. UsageError starting with `option` for numbers
/// outside of lowest to highest, FIRST above LAST, more than `most`, and counts above 1 of numbers that do not differ.
std::vector<double> parse_range(const std::string& option, const std::string& value, double lowest, double highest, int64_t most);

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
#include "number_range.hpp"

#include <optional>

#include "options.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

std::vector<double> parse_range(const std::string& option, const std::string& value, double lowest, double highest, int64_t most) {
  std::vector<std::string> parts;
  std::string rest = value + ":";
  for (size_t colon; (colon = rest.find(':')) != std::string::npos; rest = rest.substr(colon + 1)) parts.push_back(rest.substr(0, colon));
  if (parts.size() == 1) parts = {parts[0], parts[0], "1"};
  parts.resize(parts.size() == 3 ? 3 : 0);
  const auto first = parts.empty() ? std::nullopt : parse_real(parts[0]), last = parts.empty() ? std::nullopt : parse_real(parts[1]);
  const auto count = parts.empty() ? std::nullopt : parse_integer(parts[2]);
  check<UsageError>(first && last && count && *first >= lowest && *last <= highest && *first <= *last && *count >= 1 && *count <= most, option, " is '", value,
                    "' (expected FIRST:LAST:COUNT or one number, from ", lowest, " to ", highest, ", such as 0.1:0.9:9).");
  check<UsageError>(*count == 1 || *last - *first >= 1e-9 * double(*count), option, " is '", value, "': ", *count, " numbers do not differ there. Ask for fewer.");
  std::vector<double> out;
  for (int64_t i = 0; i < *count; ++i) out.push_back(*count == 1 ? *first : *first + (*last - *first) * double(i) / double(*count - 1));
  return out;
}

}  // namespace voxgrad::app

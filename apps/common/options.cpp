// SPDX-License-Identifier: BSD-3-Clause
// Values of a command line, and the checks that name the option, the value and the allowed range.

#include "options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <sstream>

#include "json_text.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

Arguments::Arguments(std::vector<Option> table) : table_(std::move(table)) {}

const Option& Arguments::row(const std::string& name) const {
  for (const Option& option : table_) {
    if (option.name == name) return option;
    if (std::find(option.aliases.begin(), option.aliases.end(), name) != option.aliases.end()) return option;
  }
  throw Error(text("option ", name, " is not in this subcommand's table"));
}

void Arguments::set(const std::string& name, const std::string& value) {
  const Option& option = row(name);
  std::vector<std::string>& values = values_[option.name];
  if (!option.repeatable) values.clear();
  values.push_back(value);
}

bool Arguments::given(const std::string& name) const { return values_.count(row(name).name) > 0; }

std::optional<std::string> Arguments::maybe(const std::string& name) const {
  const Option& option = row(name);
  const auto found = values_.find(option.name);
  if (found != values_.end()) return found->second.back();
  if (!option.fallback.empty()) return option.fallback;
  return std::nullopt;
}

std::string Arguments::get(const std::string& name) const { return maybe(name).value_or(""); }

std::vector<std::string> Arguments::list(const std::string& name) const {
  const Option& option = row(name);
  const auto found = values_.find(option.name);
  if (found != values_.end()) return found->second;
  return option.fallback.empty() ? std::vector<std::string>{} : std::vector<std::string>{option.fallback};
}

std::int64_t Arguments::integer(const std::string& name, std::int64_t lowest, std::int64_t highest) const {
  const std::string value = get(name);
  const std::optional<std::int64_t> number = parse_integer(value);
  check<UsageError>(number && *number >= lowest && *number <= highest, "option ", name, " is '", value,
                    "' (expected an integer from ", lowest, " to ", highest, ").");
  return *number;
}

double Arguments::real(const std::string& name, double lowest, double highest) const {
  const std::string value = get(name);
  const std::optional<double> number = parse_real(value);
  check<UsageError>(number && *number >= lowest && *number <= highest, "option ", name, " is '", value,
                    "' (expected a number from ", number_text(lowest), " to ", number_text(highest), ").");
  return *number;
}

std::string Arguments::choice(const std::string& name) const {
  const std::string value = get(name);
  std::vector<std::string> words;
  std::istringstream in(row(name).value);
  for (std::string word; std::getline(in, word, '|');) words.push_back(word);
  check<UsageError>(std::find(words.begin(), words.end(), value) != words.end(), "option ", name, " is '",
                    value, "' (expected one of ", row(name).value, ").", did_you_mean(value, words));
  return value;
}

namespace common {

Option out(const std::string& fallback) {
  return {.name = "--out",
          .value = "DIR",
          .fallback = fallback,
          .help = "folder for everything that is written",
          .group = "Output",
          .aliases = {"-o", "--result-folder"}};
}
Option overwrite(const std::string& help) { return {.name = "--overwrite", .help = help, .group = "Output"}; }
Option recursive() {
  return {.name = "--recursive", .help = "look into the subfolders of given folders too", .group = "Data"};
}
Option dry_run() {
  return {
      .name = "--dry-run", .help = "check everything and print the plan, write nothing", .group = "Output"};
}
Option seed(const std::string& fallback) {
  return {.name = "--seed",
          .value = "INT",
          .fallback = fallback,
          .help = "fixes every random choice: same seed, same machine kind, same build, same bytes",
          .group = "Hardware"};
}
Option threads() {
  return {.name = "--threads",
          .value = "INT",
          .help =
              "threads to use; default: the CPUs this process may use, or "
              "VOXGRAD_THREADS",
          .group = "Hardware"};
}
Option device() {
  return {.name = "--device",
          .value = "auto|cpu|cuda|cuda:N",
          .fallback = "auto",
          .help = "where to compute; default VOXGRAD_DEVICE if set",
          .group = "Hardware"};
}
Option cpu_unless_asked() {
  Option option = device();
  option.fallback = "cpu";
  return option;
}
Option precision() {
  return {.name = "--precision",
          .value = "bf16|fp16|tf32|fp32",
          .help = "how a card stores and multiplies; default: bf16, or fp16 on cards older than compute capability 8.0",
          .group = "Hardware"};
}
Option memory() {
  return {.name = "--memory",
          .value = "SIZE",
          .help =
              "most memory the run may use, as 8G or 512M; default: 80 % of "
              "what is available",
          .group = "Hardware"};
}
std::vector<Option> messages() {
  return {
      {.name = "--quiet", .help = "errors and warnings only", .group = "Messages", .aliases = {"-q"}},
      {.name = "--verbose",
       .help = "more detail, and the messages of other libraries",
       .group = "Messages",
       .aliases = {"-v"}},
      {.name = "--progress",
       .value = "auto|bar|lines|none",
       .fallback = "auto",
       .help = "how progress is shown; auto: a bar on a terminal, sparse lines elsewhere",
       .group = "Messages"},
      {.name = "--log",
       .value = "FILE",
       .help = "add all messages to this file, with time stamps",
       .group = "Messages"},
      {.name = "--json",
       .help = "one JSON object per line on standard output instead of text",
       .group = "Messages"},
      {.name = "--help", .help = "this text", .group = "Messages", .aliases = {"-h"}},
  };
}

}  // namespace common

std::vector<Option> join(std::vector<Option> first, std::initializer_list<Option> more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

namespace {
int edit_distance(const std::string& a, const std::string& b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = int(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}
}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& words) {
  std::string best;
  int best_distance = 3;
  for (const std::string& candidate : words) {
    const int distance = edit_distance(word, candidate);
    // Two edits turn almost any short word into any other: half of the word must stay.
    if (distance < best_distance && 2 * distance <= int(std::max(word.size(), candidate.size()))) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& words) {
  const std::string near = nearest(word, words);
  return near.empty() ? "" : " Did you mean '" + near + "'?";
}

std::optional<std::int64_t> parse_integer(const std::string& value) {
  std::int64_t number = 0;
  const char* begin = value.data() + (value.size() > 1 && value[0] == '+' && value[1] != '-' ? 1 : 0);
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(begin, end, number);
  if (value.empty() || error != std::errc() || stop != end) return std::nullopt;
  return number;
}

std::optional<double> parse_real(const std::string& value) {
  // A stream with the classic locale: from_chars for floating point is missing in older standard libraries.
  std::istringstream in(value);
  in.imbue(std::locale::classic());
  double number = 0;
  if (value.empty() || std::isspace(static_cast<unsigned char>(value[0])) || !(in >> number) ||
      in.peek() != EOF)
    return std::nullopt;
  return std::isfinite(number) ? std::optional<double>(number) : std::nullopt;
}

std::uint64_t parse_bytes(const std::string& value, const std::string& what) {
  const std::size_t digits = value.find_first_not_of("0123456789.");
  std::string unit = digits == std::string::npos ? "" : value.substr(digits);
  unit.erase(std::remove(unit.begin(), unit.end(), ' '), unit.end());
  for (const char* ending : {"iB", "B"})
    if (unit.size() >= std::char_traits<char>::length(ending) && unit.ends_with(ending))
      unit.resize(unit.size() - std::char_traits<char>::length(ending));
  const std::optional<double> number = parse_real(value.substr(0, digits));
  const std::string units = "KMGT";
  double scale = 1;
  bool ok = number && *number > 0 && unit.size() <= 1;
  if (ok && !unit.empty()) {
    const std::size_t power = units.find(char(std::toupper(static_cast<unsigned char>(unit[0]))));
    ok = power != std::string::npos;
    if (ok) scale = std::pow(1024.0, double(power + 1));
  }
  check<UsageError>(ok && *number * scale < 1e18, what, " is '", value,
                    "' (expected a size such as 8G, 512M or 1.5T).");
  return std::uint64_t(*number * scale);
}

}  // namespace voxgrad::app

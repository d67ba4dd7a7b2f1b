// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The description of a subcommand as a table, and the values a user gave for it.
// Parsing, help, shell completion and the man page all come from the same table (cli.hpp); nothing here knows
// the parser.

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace voxgrad::app {

class Session;

/// One row of a subcommand's table. A row without `value` is a flag.
struct Option {
  std::string name = {};   ///< "--learning-rate"
  std::string value = {};  ///< what it takes, as shown in the help: "FLOAT", "DIR", "auto|cpu"; "" for a flag
  std::string fallback = {};  ///< the default as text, "" for none
  std::string help = {};      ///< one sentence with the unit
  std::string group = {};     ///< Data, Model, Training, Output, Hardware or Messages
  std::vector<std::string> aliases =
      {};  ///< "-v" is shown; longer ones are old names that stay valid and hidden
  bool repeatable = false;
};

/// A command line that runs as written, and what it does.
struct Example {
  std::string line, says;
};

/// The values of one command line. Every accessor names the option, the value and what is allowed in its
/// UsageError.
class Arguments {
 public:
  explicit Arguments(std::vector<Option> table = {});

  void set(const std::string& name,
           const std::string& value);  ///< an alias is stored under the option's name
  void add_input(const std::string& input) { inputs_.push_back(input); }

  bool given(const std::string& name) const;  ///< on the command line, not by default
  bool flag(const std::string& name) const { return given(name); }
  std::string get(const std::string& name) const;  ///< the last value given, or the default
  std::optional<std::string> maybe(
      const std::string& name) const;                            ///< nothing when neither given nor defaulted
  std::vector<std::string> list(const std::string& name) const;  ///< all values of a repeatable option
  std::int64_t integer(const std::string& name, std::int64_t lowest, std::int64_t highest) const;
  double real(const std::string& name, double lowest, double highest) const;
  /// The value if it is one of the words of the table's "a|b|c", else a UsageError with the nearest word.
  std::string choice(const std::string& name) const;
  const std::vector<std::string>& inputs() const { return inputs_; }
  const std::vector<Option>& table() const { return table_; }

 private:
  const Option& row(const std::string& name) const;
  std::vector<Option> table_;
  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> inputs_;
};

/// One subcommand. apps/<name>.cpp has `Command make_<name>()`; apps/main.cpp lists them.
struct Command {
  std::string name = {};          ///< "train"
  std::string summary = {};       ///< one sentence
  std::string usage_inputs = {};  ///< "FILE...", "" when it takes none
  std::vector<Option> options = {};
  std::vector<Example> examples = {};
  std::string more = {};  ///< where to read more
  /// Returns 0, or 1 when some inputs failed; throws UsageError (exit 2) or any other Error (exit 1).
  int (*run)(const Arguments&, Session&) = nullptr;
};

/// Rows that several subcommands share; each takes those that apply to it.
namespace common {
Option out(const std::string& fallback = "voxgrad-out");
Option overwrite(const std::string& help = "do again what is finished already and replace the files");
Option recursive();
Option dry_run();
Option seed(const std::string& fallback = "42");
Option threads();
Option device();
Option cpu_unless_asked();  ///< the same for commands that leave a card alone unless it is named
Option precision();
Option memory();
/// --quiet, --verbose, --progress, --log and --json: every subcommand has these, so main adds them by itself.
std::vector<Option> messages();
}  // namespace common

/// Lists joined in order: join(own, {common::out(), common::threads()}).
std::vector<Option> join(std::vector<Option> first, std::initializer_list<Option> more);

/// The nearest of `words` within two edits of `word`, "" if there is none.
std::string nearest(const std::string& word, const std::vector<std::string>& words);
/// ". Did you mean 'x'?" or "" when nothing is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& words);

/// "8G", "512M", "1.5 GiB", "4096" -> bytes (G = 1024^3). `what` starts the UsageError's text.
std::uint64_t parse_bytes(const std::string& value, const std::string& what);

/// The whole text as a number, or nothing; independent of the locale.
std::optional<std::int64_t> parse_integer(const std::string& value);
std::optional<double> parse_real(const std::string& value);

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
// The one file that knows the command-line library: tables in, Arguments out, and every error in our own
// words.

#include "cli.hpp"

#include <CLI/CLI.hpp>

#include <unistd.h>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>

#include "json_text.hpp"
#include "machine.hpp"
#include "session.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

namespace {

constexpr int usage_code = 2;

const Option* find_option(const Command& command, const std::string& name) {
  for (const Option& option : command.options)
    if (option.name == name ||
        std::find(option.aliases.begin(), option.aliases.end(), name) != option.aliases.end())
      return &option;
  return nullptr;
}

bool looks_like_option(const std::string& word) {
  return word.size() > 1 && word[0] == '-' && !parse_real(word);
}

std::vector<std::string> option_names(const Command& command) {
  std::vector<std::string> names;
  for (const Option& option : command.options) names.push_back(option.name);
  return names;
}

/// Names every option that does not exist or lacks its value. The library would report a misspelled option in
/// front of an input as a bad input.
void scan(const Command& command, const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--") return;
    if (!looks_like_option(words[i])) continue;
    const std::size_t equals = words[i].find('=');
    const std::string name = words[i].substr(0, equals);
    const Option* option = find_option(command, name);
    check<UsageError>(option != nullptr, "unknown option '", name, "'.",
                      did_you_mean(name, option_names(command)));
    if (option->value.empty()) {
      check<UsageError>(equals == std::string::npos, "option ", name, " takes no value (found '",
                        words[i].substr(equals == std::string::npos ? 0 : equals + 1), "').");
    } else if (equals == std::string::npos) {
      // A known option cannot be a value; anything else, "-" included, can.
      const bool present = i + 1 < words.size() && !find_option(command, words[i + 1]);
      check<UsageError>(present, "option ", name, " needs a value (", option->value, ").");
      ++i;
    }
  }
}

std::string all_names(const Option& option) {
  std::string names = option.name;
  for (const std::string& alias : option.aliases) names += "," + alias;
  return names;
}

struct Found {  // what the library fills for one row
  const Option* option;
  std::vector<std::string> values;
  bool flag = false;
};

}  // namespace

Arguments parse_arguments(const Command& command, const std::vector<std::string>& words) {
  scan(command, words);
  CLI::App parser;
  parser.set_help_flag();
  parser.allow_extras(false);
  std::vector<Found> found;
  found.reserve(command.options.size());  // the library keeps pointers into it
  for (const Option& option : command.options) {
    Found& row = found.emplace_back(Found{&option, {}, false});
    if (option.value.empty()) {
      parser.add_flag(all_names(option), row.flag)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    } else {
      // One value per mention, so that inputs after it stay inputs.
      parser.add_option(all_names(option), row.values)
          ->type_size(1)
          ->expected(1)
          ->allow_extra_args(false)
          ->multi_option_policy(option.repeatable ? CLI::MultiOptionPolicy::TakeAll
                                                  : CLI::MultiOptionPolicy::TakeLast);
    }
  }
  std::vector<std::string> inputs;
  if (!command.usage_inputs.empty()) parser.add_option("inputs", inputs);
  try {
    parser.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // the library wants them reversed
  } catch (const CLI::ExtrasError&) {
    const auto extra =
        std::find_if(words.begin(), words.end(), [](const std::string& w) { return !looks_like_option(w); });
    throw UsageError(text("takes no input files (found '", extra == words.end() ? "" : *extra, "')."));
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
  Arguments arguments(command.options);
  for (const Found& row : found) {
    if (row.flag) arguments.set(row.option->name, "");
    for (const std::string& value : row.values) arguments.set(row.option->name, value);
  }
  for (const std::string& input : inputs) arguments.add_input(input);
  return arguments;
}

Command with_messages(Command command) {
  const std::vector<Option> more = common::messages();
  command.options.insert(command.options.end(), more.begin(), more.end());
  return command;
}

namespace {

std::string shell_word(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789-_./=:,+@%") == std::string::npos;
  if (plain) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// Runs one subcommand and turns whatever it throws into a message and a code.
int run_command(const Command& command, const std::vector<std::string>& words, const std::string& line) {
  std::unique_ptr<Session> session;
  const auto fail = [&](int code, const std::string& message) {
    if (session) {
      session->close(code, message);
      return code;
    }
    std::fprintf(stderr, "voxgrad %s: %s\n", command.name.c_str(), message.c_str());
    if (std::find(words.begin(), words.end(), "--json") != words.end())
      std::cout << json_object({{"event", "error"},
                                {"time", time_stamp()},
                                {"command", command.name},
                                {"exit_code", code},
                                {"message", message},
                                {"warnings", 0}})
                << "\n";
    return code;
  };
  const auto stopped = [&](int signal) {
    return fail(128 + signal,
                signal == SIGINT ? "interrupted." : "stopped by signal " + std::to_string(signal) + ".");
  };
  try {
    const Arguments arguments = parse_arguments(command, words);
    if (arguments.flag("--help")) {
      std::cout << command_help(command, terminal_width(STDOUT_FILENO));
      return 0;
    }
    session = std::make_unique<Session>(command.name, line, arguments);
    const int code = command.run(arguments, *session);
    if (stop_signal() != 0) return stopped(stop_signal());
    session->close(code, "");
    return code;
  } catch (const Interrupted& interrupted) {
    return stopped(interrupted.signal);
  } catch (const UsageError& error) {
    return fail(usage_code, error.what());
  } catch (const std::bad_alloc&) {
    return fail(1, "out of memory (" + bytes_text(peak_memory()) +
                       " in use). Give a smaller --memory, or free some.");
  } catch (const std::exception& error) {
    return fail(1, error.what());
  }
}

int fail_usage(const std::string& message) {
  std::fprintf(stderr, "voxgrad: %s\nSee voxgrad --help.\n", message.c_str());
  return usage_code;
}

const Command* find_command(const std::vector<Command>& commands, const std::string& name) {
  for (const Command& command : commands)
    if (command.name == name) return &command;
  return nullptr;
}

std::string unknown_command(const std::vector<Command>& commands, const std::string& name) {
  std::vector<std::string> names = {"help"};
  for (const Command& command : commands) names.push_back(command.name);
  return text("unknown subcommand '", name, "'.", did_you_mean(name, names));
}

}  // namespace

namespace {
int dispatch(const std::vector<Command>& table, int argc, const char* const* argv) {
  std::vector<Command> commands;
  for (const Command& command : table) commands.push_back(with_messages(command));
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  std::string line = "voxgrad";
  for (const std::string& word : words) line += " " + shell_word(word);
  const int width = terminal_width(STDOUT_FILENO);

  if (words.empty()) {
    std::cerr << program_help(commands, width);
    return usage_code;
  }
  const std::string first = words[0];
  const bool json = std::find(words.begin(), words.end(), "--json") != words.end();
  words.erase(words.begin());
  if (first == "--help" || first == "-h" || (first == "help" && words.empty())) {
    std::cout << program_help(commands, width);
    return 0;
  }
  if (first == "--version" || (first == "--json" && !words.empty() && words[0] == "--version")) {
    std::cout << version_text(json);
    return 0;
  }
  if (first == "help") {
    const Command* command = find_command(commands, words[0]);
    if (!command) return fail_usage(unknown_command(commands, words[0]));
    std::cout << command_help(*command, width);
    return 0;
  }
  if (first == "completion" && words == std::vector<std::string>{"bash"}) {
    std::cout << bash_completion(commands);
    return 0;
  }
  if (first == "completion")
    return fail_usage("completion: 'bash' is the only shell (voxgrad completion bash).");
  if (first == "manpage") {
    std::cout << man_page(commands);
    return 0;
  }
  if (looks_like_option(first))
    return fail_usage(text("unknown option '", first, "'.", did_you_mean(first, {"--help", "--version"}),
                           " Options of a subcommand come after its name."));
  const Command* command = find_command(commands, first);
  if (!command) return fail_usage(unknown_command(commands, first));
  install_signal_handlers();
  return run_command(*command, words, line);
}
}  // namespace

int run_program(const std::vector<Command>& commands, int argc, const char* const* argv) {
  try {
    return dispatch(commands, argc, argv);
  } catch (const UsageError& error) {
    return fail_usage(error.what());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "voxgrad: %s\n", error.what());
    return 1;
  }
}

}  // namespace voxgrad::app

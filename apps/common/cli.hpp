// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// From argv to a running subcommand: parsing, help, version, completion, man page, exit codes.

#include <string>
#include <vector>

#include "options.hpp"

namespace voxgrad::app {

/// The whole program. Returns the exit code: 0, 1 (data, model or machine), 2 (usage) or 128 + signal.
int run_program(const std::vector<Command>& commands, int argc, const char* const* argv);

/// Parses what follows the subcommand's name. UsageError for anything that the table does not have, with a
/// suggestion.
Arguments parse_arguments(const Command& command, const std::vector<std::string>& words);
/// The command with the message options that every command has.
Command with_messages(Command command);

std::string program_help(const std::vector<Command>& commands, int width);
std::string command_help(const Command& command, int width);
std::string bash_completion(const std::vector<Command>& commands);
std::string man_page(const std::vector<Command>& commands);
/// Version, commit, build type, compiler, libraries, kernel set, CUDA; as JSON on one line if asked.
std::string version_text(bool json);

}  // namespace voxgrad::app

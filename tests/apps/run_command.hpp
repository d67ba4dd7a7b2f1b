// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A subcommand run in the test's own process.

#include <cstdio>
#include <string>
#include <vector>

#include "commands.hpp"
#include "common/cli.hpp"

namespace voxgrad::test {

struct Ran {
  int code;
  std::string out;  ///< standard output
};

/// Runs `voxgrad NAME words...` without a progress display, closing line included. Errors are thrown, as the program's main would meet them.
inline Ran run_command(const app::Command& plain, std::vector<std::string> words) {
  words.insert(words.end(), {"--progress", "none"});
  const app::Command command = with_messages(plain);
  const app::Arguments arguments = parse_arguments(command, words);
  struct Stream {
    std::FILE* file = std::tmpfile();
    ~Stream() { std::fclose(file); }
  } out, err;
  Ran ran{};
  {
    app::Session session(command.name, "voxgrad " + command.name, arguments, out.file, err.file);
    ran.code = command.run(arguments, session);
    session.close(ran.code, {});
  }
  std::rewind(out.file);
  for (int c; (c = std::fgetc(out.file)) != EOF;) ran.out += char(c);
  return ran;
}

}  // namespace voxgrad::test

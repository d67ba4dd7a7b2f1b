// SPDX-License-Identifier: BSD-3-Clause
// Parsing from a table, hints, and the texts made from it.

#include "common/cli.hpp"

#include <csignal>
#include <new>
#include <sstream>

#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/session.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

Command sample() {
  return with_messages({.name = "train",
                        .summary = "Trains a network.",
                        .usage_inputs = "FILE...",
                        .options = {{.name = "--batch-size",
                                     .value = "INT",
                                     .fallback = "8",
                                     .help = "crops per step",
                                     .group = "Training"},
                                    {.name = "--data",
                                     .value = "DIR",
                                     .help = "where the movies are",
                                     .group = "Data",
                                     .aliases = {"-d", "--data-folder"}},
                                    {.name = "--set",
                                     .value = "KEY=VALUE",
                                     .help = "one value",
                                     .group = "Training",
                                     .repeatable = true},
                                    {.name = "--flip", .help = "mirror crops", .group = "Training"},
                                    common::seed(),
                                    common::out()},
                        .examples = {{"voxgrad train movie.tif", "Trains on one movie."}},
                        .more = "docs/train.md"});
}

std::string refusal(const std::vector<std::string>& words) {
  return message_of<UsageError>([&] { parse_arguments(sample(), words); });
}

}  // namespace

TEST_CASE("options, flags, inputs and aliases in any order") {
  const Arguments a = parse_arguments(sample(), {"one.tif", "--batch-size", "4", "two.tif", "--flip", "--set",
                                                 "a=1", "--set=b=2", "-d", "x", "-"});
  CHECK(a.inputs() == std::vector<std::string>{"one.tif", "two.tif", "-"});
  CHECK(a.get("--batch-size") == "4");
  CHECK(a.flag("--flip"));
  CHECK(!a.flag("--quiet"));
  CHECK(a.list("--set") == std::vector<std::string>{"a=1", "b=2"});
  CHECK(a.get("--data") == "x");
  CHECK(parse_arguments(sample(), {"--data-folder=y"}).get("--data") == "y");
  CHECK(parse_arguments(sample(), {"--batch-size=1", "--batch-size", "2"}).get("--batch-size") == "2");
  CHECK(parse_arguments(sample(), {"--", "--flip"}).inputs() == std::vector<std::string>{"--flip"});
  CHECK(parse_arguments(sample(), {"--seed", "-3"}).get("--seed") == "-3");
  CHECK(parse_arguments(sample(), {"-q", "-v"}).flag("--verbose"));
  CHECK(parse_arguments(sample(), {"--data", "a b, c"}).get("--data") == "a b, c");
}

TEST_CASE("a misspelled option in front of an input is named, not the input") {
  CHECK(refusal({"--bach-size", "3", "movie.tif"}) ==
        "unknown option '--bach-size'. Did you mean '--batch-size'?");
  CHECK(refusal({"--bach-size=3"}) == "unknown option '--bach-size'. Did you mean '--batch-size'?");
  CHECK(refusal({"--completely-else"}) == "unknown option '--completely-else'.");
  CHECK(refusal({"-x"}) == "unknown option '-x'.");
}

TEST_CASE("missing and superfluous values are named") {
  CHECK(refusal({"--batch-size"}) == "option --batch-size needs a value (INT).");
  CHECK(refusal({"--batch-size", "--flip"}) == "option --batch-size needs a value (INT).");
  CHECK(refusal({"--flip=yes"}) == "option --flip takes no value (found 'yes').");
  Command without = sample();
  without.usage_inputs = "";
  CHECK(message_of<UsageError>([&] {
          parse_arguments(without, {"--flip", "movie.tif"});
        }) == "takes no input files (found 'movie.tif').");
}

TEST_CASE("the help shows groups, defaults and examples within the width, and hides old names") {
  for (const int width : {60, 80, 200}) {
    const std::string help = command_help(sample(), width);
    CHECK(help.find("Usage: voxgrad train [OPTIONS] FILE...\n") != std::string::npos);
    CHECK(help.find("[8]") != std::string::npos);
    CHECK(help.find("-d, --data DIR") != std::string::npos);
    CHECK(help.find("--data-folder") == std::string::npos);
    CHECK(help.find("  voxgrad train movie.tif\n") != std::string::npos);
    CHECK(help.find("\nData:\n") < help.find("\nTraining:\n"));
    CHECK(help.find("\nTraining:\n") < help.find("\nMessages:\n"));
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) CHECK(int(line.size()) <= std::min(width, 110));
  }
  CHECK(program_help({sample()}, 80).find("  train  Trains a network.\n") != std::string::npos);
}

TEST_CASE("the man page and the completion know every option") {
  const std::string page = man_page({sample()}), completion = bash_completion({sample()});
  CHECK(page.rfind(".TH VOXGRAD 1 ", 0) == 0);
  for (const Option& option : sample().options) {
    CHECK(completion.find(option.name) != std::string::npos);
    std::string escaped;
    for (const char c : option.name) escaped += c == '-' ? std::string("\\-") : std::string(1, c);
    CHECK(page.find(escaped) != std::string::npos);
  }
}

TEST_CASE("--version as text and as one line of JSON") {
  CHECK(version_text(false).rfind("voxgrad ", 0) == 0);
  const std::string json = version_text(true);
  CHECK(json.find('\n') == json.size() - 1);
  for (const char* key :
       {"version", "commit", "build_type", "compiler", "libraries", "cpu_kernels", "cuda_built"})
    CHECK(json.find("\"" + std::string(key) + "\": ") != std::string::npos);
}

namespace {

int code_of(int (*run)(const Arguments&, Session&), std::vector<const char*> words = {"voxgrad", "job", "--quiet"}) {
  return run_program({{.name = "job", .summary = "A job.", .run = run}}, int(words.size()), words.data());
}

}  // namespace

TEST_CASE("exit codes: 0, 1 for data and machine, 2 for usage, 128 + signal") {
  CHECK(code_of([](const Arguments&, Session&) { return 0; }) == 0);
  CHECK(code_of([](const Arguments&, Session&) { return 1; }) == 1);
  CHECK(code_of([](const Arguments&, Session&) -> int { throw FileError("x.tif: is empty."); }) == 1);
  CHECK(code_of([](const Arguments&, Session&) -> int { throw std::bad_alloc(); }) == 1);
  CHECK(code_of([](const Arguments&, Session&) -> int { throw UsageError("--x is wrong."); }) == 2);
  CHECK(code_of([](const Arguments&, Session&) -> int { throw Interrupted{15}; }) == 143);
  CHECK(code_of([](const Arguments&, Session&) {
          std::raise(SIGINT);  // the job notices, finishes its step and returns
          return 0;
        }) == 130);
  reset_signals();
  const auto done = [](const Arguments&, Session&) { return 0; };
  CHECK(code_of(done, {"voxgrad"}) == 2);
  CHECK(code_of(done, {"voxgrad", "jib"}) == 2);
  CHECK(code_of(done, {"voxgrad", "--jib"}) == 2);
  CHECK(code_of(done, {"voxgrad", "job", "--jib"}) == 2);
  CHECK(code_of(done, {"voxgrad", "job", "--threads", "2"}) == 2);  // not in this job's table
  CHECK(code_of(done, {"voxgrad", "help", "jib"}) == 2);
  CHECK(code_of(done, {"voxgrad", "help", "job"}) == 0);
  CHECK(code_of(done, {"voxgrad", "job", "-h"}) == 0);
  CHECK(code_of(done, {"voxgrad", "--version"}) == 0);
  CHECK(code_of(done, {"voxgrad", "completion", "fish"}) == 2);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) std::signal(number, SIG_DFL);
}

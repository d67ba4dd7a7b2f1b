// SPDX-License-Identifier: BSD-3-Clause
// Values of a command line: defaults, ranges, and messages that name option, value and range.

#include "common/options.hpp"

#include "apps/throws.hpp"
#include "catch.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {
Arguments sample() {
  return Arguments({{.name = "--batch-size", .value = "INT", .fallback = "8"},
                    {.name = "--rate", .value = "FLOAT"},
                    {.name = "--set", .value = "KEY=VALUE", .repeatable = true},
                    {.name = "--mode", .value = "full|fast", .fallback = "full"},
                    {.name = "--data", .value = "DIR", .aliases = {"--data-folder"}},
                    {.name = "--flip"}});
}
}  // namespace

TEST_CASE("arguments fall back to the table's defaults") {
  const Arguments arguments = sample();
  CHECK(arguments.integer("--batch-size", 1, 4096) == 8);
  CHECK(!arguments.given("--batch-size"));
  CHECK(!arguments.maybe("--rate").has_value());
  CHECK(arguments.list("--set").empty());
  CHECK(!arguments.flag("--flip"));
}

TEST_CASE("the last value wins, a repeatable option keeps all, an alias counts as its option") {
  Arguments arguments = sample();
  arguments.set("--batch-size", "2");
  arguments.set("--batch-size", "3");
  arguments.set("--set", "a=1");
  arguments.set("--set", "b=2");
  arguments.set("--data-folder", "movies");
  CHECK(arguments.integer("--batch-size", 1, 10) == 3);
  CHECK(arguments.list("--set") == std::vector<std::string>{"a=1", "b=2"});
  CHECK(arguments.get("--data") == "movies");
}

TEST_CASE("bad values are usage errors that say what is allowed") {
  Arguments arguments = sample();
  for (const char* bad : {"auto", "0", "4097", "8.5", "", "8x", " 8"}) {
    arguments.set("--batch-size", bad);
    CHECK(message_of<UsageError>([&] { arguments.integer("--batch-size", 1, 4096); }) ==
          std::string("option --batch-size is '") + bad + "' (expected an integer from 1 to 4096).");
  }
  arguments.set("--rate", "nan");
  CHECK(message_of<UsageError>([&] { arguments.real("--rate", 0, 1); }) ==
        "option --rate is 'nan' (expected a number from 0 to 1).");
  arguments.set("--mode", "fats");
  CHECK(message_of<UsageError>([&] { arguments.choice("--mode"); }) ==
        "option --mode is 'fats' (expected one of full|fast). Did you mean 'fast'?");
  CHECK(message_of<Error>([&] { arguments.get("--nothing"); }) ==
        "option --nothing is not in this subcommand's table");
}

TEST_CASE("numbers are read whole and whatever the locale") {
  CHECK(parse_real("2e-4") == 2e-4);
  CHECK(parse_real("-0.5") == -0.5);
  for (const char* bad : {"", "1,5", "1.5 ", " 1", "inf", "1e999", "0x10"})
    CHECK(!parse_real(bad).has_value());
  CHECK(parse_integer("+12") == 12);
  CHECK(parse_integer("-7") == -7);
  for (const char* bad : {"", "+", "-", "+-1", "1e3", "99999999999999999999"})
    CHECK(!parse_integer(bad).has_value());
}

TEST_CASE("sizes of memory") {
  CHECK(parse_bytes("8G", "x") == std::uint64_t(8) << 30);
  CHECK(parse_bytes("1.5 GiB", "x") == std::uint64_t(3) << 29);
  CHECK(parse_bytes("512m", "x") == std::uint64_t(512) << 20);
  CHECK(parse_bytes("4096", "x") == 4096);
  CHECK(parse_bytes("100B", "x") == 100);
  for (const char* bad : {"", "G", "8X", "8GG", "-1G", "0", "1e30"})
    CHECK(message_of<UsageError>([&] { parse_bytes(bad, "option --memory"); }) ==
          std::string("option --memory is '") + bad + "' (expected a size such as 8G, 512M or 1.5T).");
}

TEST_CASE("suggestions stay within two edits and half of the word") {
  const std::vector<std::string> words = {"--batch-size", "--seed", "train", "-v"};
  CHECK(nearest("--bach-size", words) == "--batch-size");
  CHECK(nearest("trian", words) == "train");
  CHECK(nearest("--bach-sze-x", words).empty());
  CHECK(nearest("xy", words).empty());
  CHECK(did_you_mean("--sed", words) == " Did you mean '--seed'?");
  CHECK(did_you_mean("predict", words).empty());
}

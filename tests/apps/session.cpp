// SPDX-License-Identifier: BSD-3-Clause
// What a subcommand gets: messages, events, progress, signals, threads, memory.

#include "common/session.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <sstream>

#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/cli.hpp"
#include "common/machine.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// A stream that can be read back.
class Captured {
 public:
  Captured() : file_(std::tmpfile()) {}
  ~Captured() { std::fclose(file_); }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;
  std::FILE* file() { return file_; }
  std::vector<std::string> lines() {
    std::vector<std::string> out(1);
    std::rewind(file_);
    for (int c; (c = std::fgetc(file_)) != EOF;) {
      if (c == '\n')
        out.emplace_back();
      else
        out.back() += char(c);
    }
    if (out.back().empty()) out.pop_back();
    return out;
  }

 private:
  std::FILE* file_;
};

Arguments given(const std::vector<std::string>& words) {
  return parse_arguments(with_messages({.name = "test",
                                        .options = {common::threads(), common::device(), common::memory(),
                                                    common::seed("7"), common::dry_run()}}),
                         words);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("results go to standard output, messages to standard error with a time stamp") {
  Captured out, err;
  Session session("test", "voxgrad test", given({}), out.file(), err.file());
  session.print("result.tif");
  session.note("a note");
  session.detail("not shown without -v");
  session.close(0, "");
  CHECK(out.lines() == std::vector<std::string>{"result.tif"});
  REQUIRE(err.lines().size() == 1);
  CHECK(contains(err.lines()[0], "T"));
  CHECK(contains(err.lines()[0], "  a note"));
}

TEST_CASE("a warning appears once, its count at the end; --quiet keeps warnings and errors") {
  Captured out, err;
  Session session("test", "", given({"--quiet"}), out.file(), err.file());
  for (int i = 0; i < 3; ++i) session.warn("values above 65535 were cut");
  session.warn("once");
  session.note("hidden");
  session.close(1, "movie.tif: is empty.");
  const auto lines = err.lines();
  REQUIRE(lines.size() == 4);
  CHECK(contains(lines[0], "warning: values above 65535 were cut"));
  CHECK(contains(lines[1], "warning: once"));
  CHECK(contains(lines[2], "warning: values above 65535 were cut (3 times)"));
  CHECK(lines[3] == "voxgrad test: movie.tif: is empty.");
}

TEST_CASE("--json: one object per line, the last one with the exit code") {
  Captured out, err;
  Session session("test", "voxgrad test --json", given({"--json"}), out.file(), err.file());
  session.print("left out");
  session.warn("a \"quoted\"\n\x01 thing");
  {
    auto progress = session.stage("train", 10, "steps");
    progress->update(1, {{"loss", 0.25}, {"broken", 0.0 / 0.0}});
  }
  session.result("files", std::vector<JsonValue>{"a.tif", "b.tif"});
  session.close(0, "");
  const auto lines = out.lines();
  REQUIRE(lines.size() == 5);
  CHECK(lines[0].rfind("{\"event\": \"start\", \"time\": \"", 0) == 0);
  CHECK(contains(lines[1], "\"message\": \"a \\\"quoted\\\"\\n\\u0001 thing\"}"));
  CHECK(contains(lines[2], "\"event\": \"stage\""));
  CHECK(contains(lines[2], "\"stage\": \"train\", \"total\": 10, \"unit\": \"steps\""));
  CHECK(contains(lines[3], "\"event\": \"progress\""));
  CHECK(contains(lines[3], "\"loss\": 0.25, \"broken\": null}"));
  CHECK(contains(lines[4], "\"event\": \"result\""));
  CHECK(contains(lines[4], "\"exit_code\": 0, \"warnings\": 1, \"files\": [\"a.tif\", \"b.tif\"]}"));
}

TEST_CASE("an error is the last JSON line") {
  Captured out, err;
  Session session("test", "", given({"--json"}), out.file(), err.file());
  session.close(1, "x.tif: is damaged.");
  CHECK(contains(out.lines().back(), "\"event\": \"error\""));
  CHECK(contains(out.lines().back(), "\"exit_code\": 1, \"message\": \"x.tif: is damaged.\""));
}

TEST_CASE("threads, memory, seed and device") {
  unsetenv("VOXGRAD_THREADS");
  unsetenv("VOXGRAD_DEVICE");
  const auto make = [](const std::vector<std::string>& words) {
    Captured out, err;
    const Session session("test", "", given(words), out.file(), err.file());
    return std::tuple(session.threads(), session.memory_limit(), session.seed(), session.device(),
                      session.dry_run());
  };
  CHECK(std::get<0>(make({})) == usable_cpus());
  CHECK(std::get<0>(make({"--threads", "3"})) == 3);
  CHECK(std::get<1>(make({"--memory", "2G"})) == std::uint64_t(2) << 30);
  CHECK(std::get<1>(make({})) <= available_memory() + (std::uint64_t(1) << 30));
  CHECK(std::get<2>(make({})) == 7u);
  CHECK(std::get<2>(make({"--seed", "12"})) == 12u);
  CHECK(std::get<3>(make({})) == "cpu");
  CHECK(std::get<4>(make({"--dry-run"})));
  const auto refuse = [&make](const std::vector<std::string>& words) {
    return message_of<Error>([&] { make(words); });
  };
  CHECK(refuse({"--threads", "0"}) == "option --threads is '0' (expected an integer from 1 to 4096).");
  CHECK(refuse({"--seed", "-1"}) ==
        "option --seed is '-1' (expected an integer from 0 to 9007199254740992).");
  CHECK(refuse({"--device", "gpu"}) == "--device gpu: unknown device (expected auto, cpu, cuda or cuda:N).");
  CHECK(refuse({"--quiet", "-v"}) == "--quiet and --verbose exclude each other.");
  CHECK(refuse({"--progress", "dots"}) ==
        "option --progress is 'dots' (expected one of auto|bar|lines|none).");
  setenv("VOXGRAD_THREADS", "5", 1);
  CHECK(std::get<0>(make({})) == 5);
  CHECK(std::get<0>(make({"--threads", "2"})) == 2);
  setenv("VOXGRAD_THREADS", "many", 1);
  CHECK(refuse({}) == "VOXGRAD_THREADS is 'many' (expected an integer from 1 to 4096).");
  unsetenv("VOXGRAD_THREADS");
}

TEST_CASE("signals ask for a stop or a checkpoint") {
  install_signal_handlers();
  reset_signals();
  Captured out, err;
  Session session("test", "", given({}), out.file(), err.file());
  CHECK(!session.stop_requested());
  session.check_stop();
  std::raise(SIGUSR1);
  CHECK(session.checkpoint_requested());
  CHECK(!session.checkpoint_requested());
  CHECK(!session.stop_requested());
  std::raise(SIGTERM);
  CHECK(session.stop_requested());
  int signal = 0;
  try {
    session.check_stop();
  } catch (const Interrupted& interrupted) {
    signal = interrupted.signal;
  }
  CHECK(signal == SIGTERM);
  reset_signals();
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) std::signal(number, SIG_DFL);
}

TEST_CASE(
    "a log of a long run has 50 to 150 lines, the first at once, none after ten silent minutes missing") {
  const auto count = [](double total, double seconds_per_step) {
    LineSchedule schedule;
    int lines = 0;
    double last = 0, longest = 0;
    for (double step = 1; step <= total; ++step)
      if (schedule.due(step * seconds_per_step, step, total)) {
        ++lines;
        longest = std::max(longest, step * seconds_per_step - last);
        last = step * seconds_per_step;
      }
    return std::pair(lines, longest);
  };
  CHECK(count(100000, 0.5).first >= 50);  // 14 hours: every ten minutes
  CHECK(count(100000, 0.5).first <= 150);
  CHECK(count(100000, 0.5).second <= 600.5);
  CHECK(count(100000, 0.02).first >= 48);  // half an hour: every 2 %
  CHECK(count(100000, 0.02).first <= 60);
  CHECK(count(1000, 0.01).first == 1);  // ten seconds
}

TEST_CASE("the rate is that of the last minute") {
  Rate rate;
  CHECK(rate.per_second() == 0);
  double done = 0;
  for (int second = 0; second <= 300; ++second, done += 1) rate.mark(second, done);
  CHECK(rate.per_second() == Approx(1));
  for (int tenth = 3010; tenth <= 3700; ++tenth, done += 1)
    rate.mark(tenth / 10.0, done);  // ten per second from here
  CHECK(rate.per_second() == Approx(10).epsilon(0.02));
}

TEST_CASE("progress lines show stage, count, fields and time left") {
  Captured err;
  Log log(Log::Level::normal, err.file(), false);
  double now = 0;
  {
    Progress progress(log, ProgressStyle::lines, {}, "train", 100000, "steps", 0, [&now] { return now; });
    for (int step = 1; step <= 12300; ++step) {
      now = step / 42.0;
      progress.update(step, {{"loss", 0.012134}, {"device", "cpu"}});
    }
  }
  const auto lines = err.lines();
  REQUIRE(lines.size() >= 3);
  CHECK(contains(lines[0], "train  1/100 000 steps  loss 0.01213  device cpu"));
  CHECK(contains(lines[1], "/s  ETA "));
  CHECK(contains(lines[1], " 42/s"));
  CHECK(contains(lines.back(), "train  12 300/100 000 steps"));
  CHECK(contains(lines.back(), "  in 5 min"));
  for (const std::string& line : lines)
    for (const char c : line) CHECK(static_cast<unsigned char>(c) >= 0x20);
}

TEST_CASE("numbers and durations for people") {
  CHECK(count_text(100000) == "100 000");
  CHECK(count_text(-1234567) == "-1 234 567");
  CHECK(count_text(999) == "999");
  CHECK(bytes_text(std::uint64_t(11.2 * 1024 * 1024 * 1024)) == "11.2 GB");
  CHECK(bytes_text(512) == "512 B");
  CHECK(duration_text(34) == "34 s");
  CHECK(duration_text(12 * 60) == "12 min");
  CHECK(duration_text(3 * 3600 + 20 * 60) == "3 h 20 min");
  CHECK(duration_text(52 * 3600) == "2 d 4 h");
  CHECK(number_text(0.1) == "0.1");
  CHECK(number_text(1e-8) == "1e-08");
}

TEST_CASE("a cgroup's quota in CPUs") {
  CHECK(cpus_of_quota("max 100000") == 0);
  CHECK(cpus_of_quota("150000 100000") == 2);
  CHECK(cpus_of_quota("400000 100000") == 4);
  CHECK(cpus_of_quota("1000 100000") == 1);
  CHECK(cpus_of_quota("-1 100000") == 0);
  CHECK(cpus_of_quota("") == 0);
  CHECK(usable_cpus() >= 1);
  CHECK(available_memory() > 0);
  CHECK(peak_memory() > 1 << 20);
}

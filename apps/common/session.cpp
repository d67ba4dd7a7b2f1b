// SPDX-License-Identifier: BSD-3-Clause
// Common options become threads, device, memory and the form of messages.

#include "session.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "device_choice.hpp"
#include "machine.hpp"
#include "voxgrad/core/error.hpp"
#include "voxgrad/version.hpp"

namespace voxgrad::app {

namespace {

constexpr int most_threads = 4096;

bool has(const Arguments& arguments, const std::string& name) {
  return std::any_of(arguments.table().begin(), arguments.table().end(),
                     [&name](const Option& option) { return option.name == name; });
}

int choose_threads(const Arguments& arguments) {
  if (arguments.given("--threads")) return int(arguments.integer("--threads", 1, most_threads));
  if (const char* value = std::getenv("VOXGRAD_THREADS"); value && *value) {
    const auto number = parse_integer(value);
    check<UsageError>(number && *number >= 1 && *number <= most_threads, "VOXGRAD_THREADS is '", value,
                      "' (expected an integer from 1 to ", most_threads, ").");
    return int(*number);
  }
  return usable_cpus();
}

/// What was asked for, by option or environment.
DeviceChoice device_of(const Arguments& arguments, const std::string& command) {
  const char* environment = std::getenv("VOXGRAD_DEVICE");
  const bool from_environment = !arguments.given("--device") && environment && *environment;
  return choose_device(from_environment ? environment : arguments.get("--device"), from_environment ? "VOXGRAD_DEVICE=" : "--device ", command,
                       gpu_path(command), cards_here());
}

ProgressStyle choose_style(const std::string& word, bool terminal, Log::Level level) {
  if (word == "none" || level == Log::Level::quiet) return ProgressStyle::none;
  if (word == "lines") return ProgressStyle::lines;
  if (word == "bar") return ProgressStyle::bar;
  return terminal ? ProgressStyle::bar : ProgressStyle::lines;
}

}  // namespace

Session::Session(const std::string& command, const std::string& command_line, const Arguments& arguments,
                 std::FILE* out, std::FILE* err)
    : command_(command), command_line_(command_line), out_(out) {
  check<UsageError>(!(arguments.flag("--quiet") && arguments.flag("--verbose")),
                    "--quiet and --verbose exclude each other.");
  const char* term = std::getenv("TERM");
  const bool terminal = isatty(fileno(err)) == 1 && term && std::string(term) != "dumb";
  const Log::Level level = arguments.flag("--quiet")     ? Log::Level::quiet
                           : arguments.flag("--verbose") ? Log::Level::verbose
                                                         : Log::Level::normal;
  style_ = choose_style(arguments.choice("--progress"), terminal, level);
  log_ = std::make_unique<Log>(level, err, terminal || style_ == ProgressStyle::bar);
  if (arguments.given("--log")) log_->add_file(arguments.get("--log"));
  json_ = arguments.flag("--json");
  dry_run_ = has(arguments, "--dry-run") && arguments.flag("--dry-run");
  threads_ = has(arguments, "--threads") ? choose_threads(arguments) : usable_cpus();
  bool told = false;
  if (has(arguments, "--device")) {
    const DeviceChoice choice = device_of(arguments, command);
    device_ = choice.device;
    device_reason_ = choice.reason;
    told = choice.surprising;
  }
  memory_ = has(arguments, "--memory") && arguments.given("--memory")
                ? parse_bytes(arguments.get("--memory"), "option --memory")
                : available_memory() / 10 * 8;
  if (has(arguments, "--seed") && arguments.maybe("--seed"))
    seed_ = std::uint64_t(arguments.integer("--seed", 0, std::int64_t(1) << 53));
  emit("start", {{"command", command_},
                 {"command_line", command_line_},
                 {"version", voxgrad::version},
                 {"threads", threads_},
                 {"device", device_}});
  if (device_reason_.empty()) return;
  const std::string where = "device " + device_ + " (" + device_reason_ + "), " + std::to_string(threads_) + " threads";
  if (told) note(where);
  else detail(where);
}

void Session::print(const std::string& line) {
  if (json_) return;
  log_->set_status("");
  std::fprintf(out_, "%s\n", line.c_str());
  std::fflush(out_);
}

void Session::warn(const std::string& text) {
  if (log_->warn(text)) emit("warning", {{"message", text}});
}

void Session::result(const std::string& key, const JsonValue& value) { result_.emplace_back(key, value); }

void Session::emit(const std::string& event, const Fields& fields) {
  if (!json_) return;
  Fields all = {{"event", event}, {"time", time_stamp()}};
  all.insert(all.end(), fields.begin(), fields.end());
  std::fprintf(out_, "%s\n", json_object(all).c_str());
  std::fflush(out_);
}

std::unique_ptr<Progress> Session::stage(const std::string& name, std::int64_t total, const std::string& unit,
                                         std::int64_t start) {
  Progress::Emit events;
  if (json_) events = [this](const std::string& event, const Fields& fields) { emit(event, fields); };
  return std::make_unique<Progress>(*log_, style_, std::move(events), name, total, unit, start);
}

void Session::keep_log(const std::string& path) {
  log_->add_file(path);
  // Only for the file: people on the terminal have just typed this line.
  Log head(Log::Level::quiet, stderr, true);
  head.add_file(path);
  head.note(command_line_);
  head.note(text("voxgrad ", voxgrad::version, " on ", machine_kind()));
  head.note(text("device ", device_, ", ", threads_, " threads, at most ", bytes_text(memory_)));
}

void Session::check_stop() const {
  if (const int signal = stop_signal()) throw Interrupted{signal};
}

void Session::close(int exit_code, const std::string& message) {
  log_->repeat_counts();
  if (!message.empty()) log_->error("voxgrad " + command_ + ": " + message);
  Fields fields = {{"command", command_}, {"exit_code", exit_code}};
  if (!message.empty()) fields.emplace_back("message", message);
  int warnings = 0;
  for (const auto& [warning, count] : log_->warnings()) warnings += count;
  fields.emplace_back("warnings", warnings);
  fields.insert(fields.end(), result_.begin(), result_.end());
  emit(message.empty() ? "result" : "error", fields);
}

}  // namespace voxgrad::app

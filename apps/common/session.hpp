// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a running subcommand gets: messages, progress, JSON events, signals, threads, device, memory limit.

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "json_text.hpp"
#include "log.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "signals.hpp"

namespace voxgrad::app {

/// Standard output carries results only; everything else goes to standard error. With --json, standard output
/// is one JSON object per line (docs/json.md), the last one `result` or `error` with `exit_code`.
class Session {
 public:
  /// Reads the common options that the command's table has. `command_line` is what the user typed.
  Session(const std::string& command, const std::string& command_line, const Arguments& arguments,
          std::FILE* out = stdout, std::FILE* err = stderr);

  const std::string& command() const { return command_; }
  const std::string& command_line() const { return command_line_; }

  // Messages.
  void note(const std::string& line) { log_->note(line); }
  void detail(const std::string& line) { log_->detail(line); }
  void warn(const std::string& text);
  /// A result on standard output, for people or pipes; left out with --json.
  void print(const std::string& line);
  /// Adds a field to the last JSON line.
  void result(const std::string& key, const JsonValue& value);
  /// The fields added so far, which then start anew: for a command that reports parts of its own as a list.
  Fields take_results() { return std::exchange(result_, {}); }
  /// One JSON line of the given event; nothing without --json.
  void emit(const std::string& event, const Fields& fields);
  /// Starts a stage: `auto p = session.stage("train", 100000, "steps");` then p->update(done, {{"loss",
  /// 0.01}}).
  std::unique_ptr<Progress> stage(const std::string& name, std::int64_t total, const std::string& unit,
                                  std::int64_t start = 0);
  /// Also keeps the log in `path` (appended), with command line, version, machine and device at the top.
  void keep_log(const std::string& path);
  bool json() const { return json_; }
  bool verbose() const { return log_->level() == Log::Level::verbose; }
  Log& log() { return *log_; }

  // Signals.
  bool stop_requested() const { return stop_signal() != 0; }
  bool checkpoint_requested() const { return take_checkpoint_request(); }  ///< true once per USR1
  void check_stop() const;  ///< throws Interrupted after INT or TERM

  // Machine.
  int threads() const { return threads_; }                ///< --threads, VOXGRAD_THREADS or usable_cpus()
  std::uint64_t memory_limit() const { return memory_; }  ///< --memory or 80 % of what is available, bytes
  const std::string& device() const { return device_; }   ///< "cpu"
  std::optional<std::uint64_t> seed() const { return seed_; }  ///< --seed if the table has it
  bool dry_run() const { return dry_run_; }

  /// The closing lines: repeated warnings, then with --json the `result` or `error` event. `message` is "" on
  /// success.
  void close(int exit_code, const std::string& message);

 private:
  std::string command_, command_line_, device_ = "cpu", device_reason_;
  std::FILE* out_;
  std::unique_ptr<Log> log_;
  ProgressStyle style_ = ProgressStyle::lines;
  bool json_ = false, dry_run_ = false;
  int threads_ = 1;
  std::uint64_t memory_ = 0;
  std::optional<std::uint64_t> seed_;
  Fields result_;
};

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Lines for people: standard error, and optionally a file with a time stamp on each line. Safe from several
// threads.

#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace voxgrad::app {

class Log {
 public:
  enum class Level { quiet, normal, verbose };

  /// `err` is where lines go; time stamps are put in front when it is no terminal.
  Log(Level level, std::FILE* err, bool terminal);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Also appends every line to `path`, creating it. FileError if that is impossible. Several files are
  /// allowed.
  void add_file(const std::string& path);

  void note(const std::string& line);    ///< normal information; not shown with --quiet, but in the files
  void detail(const std::string& line);  ///< only shown with -v; always in the files
  void error(const std::string& line);   ///< shown always
  /// Shown once; repetitions are counted. Returns true the first time.
  bool warn(const std::string& text);
  /// "warning: ... (3 times)" for what came more than once. Called at the end.
  void repeat_counts();
  std::map<std::string, int> warnings() const;

  /// The redrawn last line of a terminal, removed before each normal line and drawn again after it.
  void set_status(const std::string& line);

  bool terminal() const { return terminal_; }
  Level level() const { return level_; }

 private:
  void put(const std::string& line, bool shown);
  mutable std::mutex mutex_;
  Level level_;
  std::FILE* err_;
  bool terminal_;
  std::vector<std::FILE*> files_;
  std::map<std::string, int> warnings_;
  std::string status_;
};

}  // namespace voxgrad::app

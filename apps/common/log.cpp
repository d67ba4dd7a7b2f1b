// SPDX-License-Identifier: BSD-3-Clause
// Lines for people on standard error and in log files.

#include "log.hpp"

#include <cerrno>
#include <cstring>

#include "machine.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

Log::Log(Level level, std::FILE* err, bool terminal) : level_(level), err_(err), terminal_(terminal) {}

Log::~Log() {
  set_status("");
  for (std::FILE* file : files_) std::fclose(file);
}

void Log::add_file(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "a");
  check<FileError>(file != nullptr, path, ": cannot be written (", std::strerror(errno),
                   "). Give another log file.");
  const std::lock_guard lock(mutex_);
  files_.push_back(file);
}

void Log::put(const std::string& line, bool shown) {
  const std::lock_guard lock(mutex_);
  const std::string stamp = time_stamp() + "  ";
  if (shown) {
    if (terminal_ && !status_.empty()) std::fputs("\r\033[K", err_);
    std::fprintf(err_, "%s%s\n", terminal_ ? "" : stamp.c_str(), line.c_str());
    if (terminal_ && !status_.empty()) std::fputs(status_.c_str(), err_);
    std::fflush(err_);
  }
  for (std::FILE* file : files_) {
    std::fprintf(file, "%s%s\n", stamp.c_str(), line.c_str());
    std::fflush(file);
  }
}

void Log::note(const std::string& line) { put(line, level_ != Level::quiet); }
void Log::detail(const std::string& line) { put(line, level_ == Level::verbose); }

void Log::error(const std::string& line) {
  // Errors carry no time stamp on standard error: scripts look for "voxgrad SUB: ..." at the start of a line.
  const std::lock_guard lock(mutex_);
  if (terminal_ && !status_.empty()) std::fputs("\r\033[K", err_);
  std::fprintf(err_, "%s\n", line.c_str());
  std::fflush(err_);
  for (std::FILE* file : files_) {
    std::fprintf(file, "%s  %s\n", time_stamp().c_str(), line.c_str());
    std::fflush(file);
  }
}

bool Log::warn(const std::string& text) {
  {
    const std::lock_guard lock(mutex_);
    if (++warnings_[text] > 1) return false;
  }
  put("warning: " + text, true);
  return true;
}

void Log::repeat_counts() {
  for (const auto& [text, count] : warnings())
    if (count > 1) put("warning: " + text + " (" + std::to_string(count) + " times)", true);
}

std::map<std::string, int> Log::warnings() const {
  const std::lock_guard lock(mutex_);
  return warnings_;
}

void Log::set_status(const std::string& line) {
  const std::lock_guard lock(mutex_);
  if (!terminal_ || (status_.empty() && line.empty())) return;
  std::fprintf(err_, "\r\033[K%s", line.c_str());
  std::fflush(err_);
  status_ = line;
}

}  // namespace voxgrad::app

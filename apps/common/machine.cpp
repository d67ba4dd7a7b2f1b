// SPDX-License-Identifier: BSD-3-Clause
// Limits of this process as Linux states them: sched_getaffinity, cgroup v2 and v1, /proc.

#include "machine.hpp"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

namespace voxgrad::app {

namespace {

constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

/// This process' cgroup folders, own first, then the parents, for v2 and for a v1 controller.
std::vector<std::string> cgroup_folders(const std::string& controller) {
  std::vector<std::string> folders;
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1), root = "/sys/fs/cgroup";
    if (!controllers.empty()) {
      std::istringstream names("," + controllers + ",");
      if (names.str().find("," + controller + ",") == std::string::npos) continue;
      root += "/" + controllers;
    }
    for (;;) {
      folders.push_back(root + (path == "/" ? "" : path));
      const std::size_t slash = path.rfind('/');
      if (path.empty() || path == "/" || slash == std::string::npos) break;
      path = slash == 0 ? "/" : path.substr(0, slash);
    }
  }
  return folders;
}

std::uint64_t number_in(const std::string& path) {
  const std::string line = first_line(path);
  char* end = nullptr;
  const std::uint64_t value = std::strtoull(line.c_str(), &end, 10);
  return line.empty() || end == line.c_str() ? no_limit : value;
}

int cgroup_cpus() {
  int cpus = 0;
  const auto cut = [&cpus](int quota) {
    if (quota > 0) cpus = cpus == 0 ? quota : std::min(cpus, quota);
  };
  for (const std::string& folder : cgroup_folders("cpu")) {
    cut(cpus_of_quota(first_line(folder + "/cpu.max")));
    cut(cpus_of_quota(first_line(folder + "/cpu.cfs_quota_us") + " " +
                      first_line(folder + "/cpu.cfs_period_us")));
  }
  return cpus;
}

std::uint64_t cgroup_memory_left() {
  std::uint64_t left = no_limit;
  for (const std::string& folder : cgroup_folders("memory"))
    for (const auto& [limit_name, used_name] :
         {std::pair("/memory.max", "/memory.current"),
          std::pair("/memory.limit_in_bytes", "/memory.usage_in_bytes")}) {
      const std::uint64_t limit = number_in(folder + limit_name), used = number_in(folder + used_name);
      if (limit != no_limit && used != no_limit) left = std::min(left, limit > used ? limit - used : 0);
    }
  return left;
}

std::uint64_t field_of(const std::string& path, const std::string& key) {
  std::ifstream in(path);
  for (std::string word; in >> word;) {
    std::uint64_t kib = 0;
    if (word == key + ":" && in >> kib) return kib * 1024;
    in.ignore(4096, '\n');
  }
  return no_limit;
}

}  // namespace

int cpus_of_quota(const std::string& cpu_max) {
  std::istringstream in(cpu_max);
  double quota = 0, period = 0;
  if (!(in >> quota >> period) || quota <= 0 || period <= 0) return 0;
  return std::max(1, int(std::ceil(quota / period)));
}

int usable_cpus() {
  int cpus = int(std::thread::hardware_concurrency());
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = CPU_COUNT(&set);
  if (const int quota = cgroup_cpus(); quota > 0) cpus = std::min(cpus, quota);
  return std::max(1, cpus);
}

std::uint64_t available_memory() {
  const std::uint64_t free = std::min(field_of("/proc/meminfo", "MemAvailable"), cgroup_memory_left());
  return free == no_limit ? std::uint64_t(2) << 30 : free;  // unknown: assume a small machine
}

std::uint64_t peak_memory() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return std::uint64_t(usage.ru_maxrss) * 1024;
}

std::uint64_t free_disk(const std::string& path) {
  std::string folder = path;
  struct statvfs info = {};
  while (statvfs(folder.empty() ? "." : folder.c_str(), &info) != 0) {
    const std::size_t slash = folder.rfind('/');
    if (folder.empty() || folder == "/") return no_limit;
    folder = slash == std::string::npos ? "" : slash == 0 ? "/" : folder.substr(0, slash);
  }
  return std::uint64_t(info.f_bavail) * info.f_frsize;
}

int terminal_width(int fd) {
  winsize size = {};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* columns = std::getenv("COLUMNS");
  const int width = columns ? std::atoi(columns) : 0;
  return width >= 20 ? width : 80;
}

std::string machine_kind() {
  utsname name = {};
  uname(&name);
  std::string model = name.machine;
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos) {
      model = line.substr(line.find(": ") + 2);
      break;
    }
  std::ostringstream out;
  out << name.sysname << " " << name.release << ", " << model << ", " << std::thread::hardware_concurrency()
      << " CPUs (" << usable_cpus() << " usable)";
  return out.str();
}

std::string bytes_text(std::uint64_t bytes) {
  const char* units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
  double value = double(bytes);
  int unit = 0;
  for (; value >= 1000 && unit < 5; ++unit) value /= 1024;
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return buffer;
}

std::string count_text(std::int64_t count) {
  std::string digits = std::to_string(count);
  const std::size_t first = digits[0] == '-' ? 1 : 0;
  for (std::size_t i = digits.size(); i > first + 3;) digits.insert(i -= 3, " ");
  return digits;
}

std::string duration_text(double seconds) {
  std::ostringstream out;
  const auto total = std::int64_t(seconds + 0.5);
  if (total < 60)
    out << total << " s";
  else if (total < 3600)
    out << (total + 30) / 60 << " min";
  else if (total < 48 * 3600)
    out << total / 3600 << " h " << (total % 3600) / 60 << " min";
  else
    out << total / 86400 << " d " << (total % 86400) / 3600 << " h";
  return out.str();
}

std::string time_stamp() {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  char buffer[32];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%S", &local);
  return buffer;
}

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What this process may use: processors (affinity and cgroup quota), memory (free and cgroup limit),
// terminal.

#include <cstdint>
#include <string>

namespace voxgrad::app {

/// CPUs this process may run on: the affinity mask, cut by the cgroup's quota (rounded up); at least 1.
int usable_cpus();
/// Bytes that can be allocated without swapping: MemAvailable, cut by what the cgroup has left.
std::uint64_t available_memory();
/// Largest resident set of this process so far, in bytes.
std::uint64_t peak_memory();
/// Bytes free for this user on the file system of `path` (or of its nearest existing parent).
std::uint64_t free_disk(const std::string& path);
/// Columns of the terminal on file descriptor `fd`; COLUMNS, then 80, when it is none.
int terminal_width(int fd);
/// "Linux 6.1, AMD EPYC ..., 64 CPUs (4 usable)".
std::string machine_kind();

/// The quota of a cgroup's cpu.max ("max 100000" or "150000 100000") in CPUs, rounded up; 0 for no limit.
int cpus_of_quota(const std::string& cpu_max);

/// "11.2 GB" with one digit after the point, powers of 1024.
std::string bytes_text(std::uint64_t bytes);
/// "41 200": digits in groups of three.
std::string count_text(std::int64_t count);
/// "34 s", "12 min", "3 h 20 min", "2 d 4 h".
std::string duration_text(double seconds);
/// Now as "2026-01-31T13:05:09" (local), for logs and file contents.
std::string time_stamp();

}  // namespace voxgrad::app

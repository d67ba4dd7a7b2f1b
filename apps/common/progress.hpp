// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Progress of one stage: a line redrawn on a terminal, sparse plain lines in a log file, events with --json.

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>

#include "json_text.hpp"
#include "log.hpp"

namespace voxgrad::app {

enum class ProgressStyle { bar, lines, none };

/// Units per second over the last minute, from (time, count) marks at least a second apart.
class Rate {
 public:
  void mark(double seconds, double count);
  double per_second() const;  ///< 0 before two marks

 private:
  std::deque<std::pair<double, double>> marks_;
};

/// Decides when a plain line is due: first step, then every 2 %, at most one in 30 s, at least one in 10 min.
class LineSchedule {
 public:
  bool due(double seconds, double done, double total);

 private:
  bool first_ = true;
  double last_time_ = 0, last_done_ = 0;
};

class Progress {
 public:
  using Emit = std::function<void(const std::string& event, const Fields&)>;
  using Clock = std::function<double()>;  ///< seconds, increasing

  /// `total` 0 means unknown. `unit` is a plural word: "steps", "patches". `start` is where a resumed stage
  /// goes on.
  Progress(Log& log, ProgressStyle style, Emit emit, std::string stage, std::int64_t total, std::string unit,
           std::int64_t start = 0, Clock clock = {});
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` units are finished. Cheap unless something is due to be shown.
  void update(std::int64_t done, const Fields& fields = {});
  /// The same from a function that is called only when something is shown.
  void update(std::int64_t done, const std::function<Fields()>& fields);
  /// Shows the final state; called by the destructor if need be.
  void finish();
  /// The same with what belongs to the last unit, whether or not it was due to be shown.
  void finish(const Fields& last);

  double seconds() const;  ///< since the stage began
  double rate() const { return rate_.per_second(); }
  std::int64_t done() const { return done_; }

 private:
  std::string line(double now) const;
  void show(double now, bool last);
  Log& log_;
  ProgressStyle style_;
  Emit emit_;
  std::string stage_, unit_;
  std::int64_t total_, start_, done_;
  Clock clock_;
  double begin_ = 0, drawn_ = -1, emitted_ = -1;
  Rate rate_;
  LineSchedule schedule_;
  Fields fields_;
  bool finished_ = false;
};

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
// When something is shown, and what it says.

#include "progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "machine.hpp"
#include "signals.hpp"

namespace voxgrad::app {

namespace {
constexpr double redraw_seconds = 0.1, event_seconds = 1;
constexpr const char* hide_cursor = "\033[?25l";
constexpr const char* show_cursor = "\r\033[K\033[?25h";

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Four significant digits are enough to watch a number; text loses its quotes.
std::string short_text(const JsonValue& value) {
  const std::string& text = value.text();
  if (text.size() > 1 && text.front() == '"') return text.substr(1, text.size() - 2);
  if (text.find_first_of(".e") == std::string::npos) return text;
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", std::strtod(text.c_str(), nullptr));
  return buffer;
}
}  // namespace

void Rate::mark(double seconds, double count) {
  if (!marks_.empty() && seconds - marks_.back().first < 1 && marks_.size() > 1) {
    marks_.back() = {std::max(seconds, marks_.back().first), count};
    if (seconds - marks_[marks_.size() - 2].first < 1) return;
  }
  marks_.emplace_back(seconds, count);
  while (marks_.size() > 2 && seconds - marks_[1].first >= 60) marks_.pop_front();
}

double Rate::per_second() const {
  if (marks_.size() < 2) return 0;
  const double seconds = marks_.back().first - marks_.front().first;
  return seconds > 0 ? (marks_.back().second - marks_.front().second) / seconds : 0;
}

bool LineSchedule::due(double seconds, double done, double total) {
  const bool percent = total > 0 && done - last_done_ >= 0.02 * total && seconds - last_time_ >= 30;
  const bool silent = seconds - last_time_ >= 600 || (total <= 0 && seconds - last_time_ >= 60);
  if (!first_ && !percent && !silent) return false;
  first_ = false;
  last_time_ = seconds;
  last_done_ = done;
  return true;
}

Progress::Progress(Log& log, ProgressStyle style, Emit emit, std::string stage, std::int64_t total,
                   std::string unit, std::int64_t start, Clock clock)
    : log_(log),
      style_(style),
      emit_(std::move(emit)),
      stage_(std::move(stage)),
      unit_(std::move(unit)),
      total_(total),
      start_(start),
      done_(start),
      clock_(clock ? std::move(clock) : Clock(steady_seconds)),
      begin_(clock_()) {
  rate_.mark(begin_, double(start_));
  if (emit_) emit_("stage", {{"stage", stage_}, {"total", total_}, {"unit", unit_}, {"start", start_}});
  if (style_ == ProgressStyle::bar) {
    std::fputs(hide_cursor, stderr);
    set_terminal_restore(show_cursor);
    log_.set_status(line(begin_));
  }
}

Progress::~Progress() { finish(); }

double Progress::seconds() const { return clock_() - begin_; }

std::string Progress::line(double now) const {
  std::string out = stage_ + "  " + count_text(done_);
  if (total_ > 0) out += "/" + count_text(total_);
  out += " " + unit_;
  for (const auto& [key, value] : fields_) out += "  " + key + " " + short_text(value);
  // A rate out of the first instants says nothing.
  const double rate = finished_ || now - begin_ >= 0.5 ? rate_.per_second() : 0;
  char buffer[64];
  if (rate > 0) {
    if (rate >= 1000)
      out += "  " + count_text(std::llround(rate)) + "/s";
    else {
      std::snprintf(buffer, sizeof buffer, "  %.3g/s", rate);
      out += buffer;
    }
  }
  if (finished_)
    out += "  in " + duration_text(now - begin_);
  else if (rate > 0 && total_ > done_)
    out += "  ETA " + duration_text(double(total_ - done_) / rate);
  return out;
}

void Progress::update(std::int64_t done, const Fields& fields) {
  update(done, [&fields] { return fields; });
}

void Progress::update(std::int64_t done, const std::function<Fields()>& fields) {
  const double now = clock_();
  done_ = done;
  rate_.mark(now, double(done));
  const bool draw = style_ == ProgressStyle::bar && (drawn_ < 0 || now - drawn_ >= redraw_seconds);
  const bool say = style_ == ProgressStyle::lines &&
                   schedule_.due(now - begin_, double(done - start_), double(total_ - start_));
  const bool event = emit_ && (emitted_ < 0 || now - emitted_ >= event_seconds);
  if (!draw && !say && !event) return;
  fields_ = fields();
  if (draw) {
    drawn_ = now;
    std::string status = line(now);
    const auto width = std::size_t(std::max(20, terminal_width(STDERR_FILENO) - 1));
    if (status.size() > width) status.resize(width);
    log_.set_status(status);
  }
  if (say) log_.note(line(now));
  if (event) {
    emitted_ = now;
    Fields all = {{"stage", stage_},
                  {"done", done_},
                  {"total", total_},
                  {"per_second", rate_.per_second()},
                  {"eta_seconds", rate_.per_second() > 0 && total_ > 0
                                      ? JsonValue(double(total_ - done_) / rate_.per_second())
                                      : JsonValue::null()}};
    all.insert(all.end(), fields_.begin(), fields_.end());
    emit_("progress", all);
  }
}

void Progress::finish(const Fields& last) {
  if (!finished_) fields_ = last;
  finish();
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (style_ == ProgressStyle::bar) {
    log_.set_status("");
    std::fputs(show_cursor, stderr);
    set_terminal_restore(nullptr);
  }
  if (style_ != ProgressStyle::none) log_.note(line(clock_()));
}

}  // namespace voxgrad::app

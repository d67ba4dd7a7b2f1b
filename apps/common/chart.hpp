// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Charts as SVG text: panels side by side with lines, points or bars, bands, a legend, ticks at round numbers. Header-only, as the
// example programs draw with it as well. The pictures follow the reader's light or dark theme and print in black on white.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::chart {

enum class Mark { line, points, bars };

struct Series {
  std::string name;             ///< "" stays out of the legend
  std::vector<double> y;        ///< values that are not finite break a line
  std::vector<double> x{};      ///< empty: 1, 2, 3 ...; bars: the left edges, and one more for the last right edge
  Mark mark = Mark::line;
  std::vector<double> low{}, high{};  ///< a band around y, if given
};

struct Panel {
  std::string title, x_name;  ///< with the unit
  std::vector<Series> series;
  std::string y_name{};
  bool log_y = false;                ///< values of 0 and below are left out
  bool square = false, y_down = false;  ///< same scale on both axes; y grows downwards, as in pictures
  double marked_x = NAN;             ///< a vertical line there ...
  std::string marked{};              ///< ... with this note
};

/// For text between tags and in attributes.
inline std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  return out;
}

/// A distance between ticks that is 1, 2 or 5 times a power of ten, for about five ticks.
inline double tick_step(double span) {
  const double power = std::pow(10.0, std::floor(std::log10(span / 5)));
  for (double m : {1.0, 2.0, 5.0})
    if (span / (m * power) <= 6) return m * power;
  return 10 * power;
}

namespace detail {

inline std::string number(double v, const char* form = "%.6g") {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, form, v);
  return buffer;
}
inline std::string at(double x, double y) { return number(x, "%.1f") + " " + number(y, "%.1f"); }

inline std::string words(double x, double y, const std::string& text, const char* anchor, const char* more = "") {
  return "<text class='t' x='" + number(x, "%.1f") + "' y='" + number(y, "%.1f") + "' text-anchor='" + anchor + "' " + more + ">" +
         escape(text) + "</text>\n";
}
inline std::string line(double x0, double y0, double x1, double y1, const std::string& look) {
  return "<path d='M" + at(x0, y0) + "L" + at(x1, y1) + "' " + look + "/>\n";
}

inline std::vector<double> ticks(double low, double high) {
  const double step = tick_step(high - low);
  std::vector<double> all;
  for (double t = std::ceil(low / step) * step; t <= high + step * 1e-9; t += step) all.push_back(std::abs(t) < step / 1000 ? 0 : t);
  return all;
}
/// Powers of ten, with their double and fivefold where the axis spans less than three.
inline std::vector<double> log_ticks(double low, double high) {
  std::vector<double> all;
  for (double power = std::floor(std::log10(low)); power <= std::log10(high); ++power)
    for (const double m : {1.0, 2.0, 5.0})
      if (const double t = m * std::pow(10.0, power); t >= low && t <= high && (m == 1 || high / low < 1000)) all.push_back(t);
  return all;
}

/// Lowest and highest of the finite values seen; `positive` ones only for a logarithmic axis.
struct Range {
  bool positive = false;
  double low = INFINITY, high = -INFINITY;
  bool takes(double v) const { return std::isfinite(v) && (!positive || v > 0); }
  void add(double v) {
    if (takes(v)) low = std::min(low, v), high = std::max(high, v);
  }
};

constexpr double width = 420, height = 300, left = 66, right = 14, top = 34, bottom = 48, beside = 110;
/// Told apart with any colour vision (Okabe and Ito, 2008).
inline std::string colour(size_t k) {
  static const char* const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};
  return colours[k % 6];
}

/// Where the values of a panel lie in the picture.
struct Frame {
  bool log_y, y_down;
  double x0, x1, y0, y1;  // pixels: left, right, bottom, top
  Range x, y;
  double px(double v) const { return x0 + (x1 - x0) * (v - x.low) / (x.high - x.low); }
  double py(double v) const {
    const double share = log_y ? std::log(v / y.low) / std::log(y.high / y.low) : (v - y.low) / (y.high - y.low);
    return y_down ? y1 + (y0 - y1) * share : y0 + (y1 - y0) * share;
  }
};

inline double x_of(const Series& s, size_t i) { return s.x.empty() ? double(i + 1) : s.x[i]; }

inline Frame frame_of(const Panel& p, size_t place) {
  Frame f{p.log_y, p.y_down, width * double(place) + left, width * double(place + 1) - right, height - bottom, top, {}, {p.log_y}};
  if (p.square) f.x1 -= beside;  // the legend stands there: points may be anywhere in a map
  bool bars = false;
  for (const Series& s : p.series) {
    for (size_t i = 0; i < s.y.size(); ++i) f.x.add(x_of(s, i)), f.y.add(s.y[i]);
    for (const double v : s.low) f.y.add(v);
    for (const double v : s.high) f.y.add(v);
    if (s.mark == Mark::bars) bars = true, f.x.add(s.x.back());
  }
  check<UsageError>(f.y.low <= f.y.high && f.x.low <= f.x.high, "chart '", p.title, "': no finite value to draw");
  if (bars) f.y.low = std::min(0.0, f.y.low);
  if (f.x.high - f.x.low < 1e-12) f.x.low -= 0.5, f.x.high += 0.5;
  if (p.log_y) {
    const double room = std::max(1.05, std::pow(f.y.high / f.y.low, 0.05));
    f.y.low /= room, f.y.high *= room;
  } else {
    if (f.y.high - f.y.low < 1e-12) f.y.low -= 0.5, f.y.high += 0.5;
    const double room = 0.05 * (f.y.high - f.y.low);
    f.y.low -= bars ? 0 : room, f.y.high += room;
  }
  if (p.square) {  // the axis with room to spare gets a wider range
    const double room = 0.05 * (f.x.high - f.x.low);
    f.x.low -= room, f.x.high += room;
    const double sx = (f.x.high - f.x.low) / (f.x1 - f.x0), sy = (f.y.high - f.y.low) / (f.y0 - f.y1);
    Range& wider = sx < sy ? f.x : f.y;
    const double more = (std::max(sx, sy) / std::min(sx, sy) - 1) * (wider.high - wider.low) / 2;
    wider.low -= more, wider.high += more;
  }
  return f;
}

inline std::string axes(const Panel& p, const Frame& f) {
  std::string out;
  for (const double t : p.log_y ? log_ticks(f.y.low, f.y.high) : ticks(f.y.low, f.y.high)) {
    out += line(f.x0, f.py(t), f.x1, f.py(t), t == 0 ? "class='z'" : "class='g'");
    out += words(f.x0 - 6, f.py(t) + 4, number(t, "%.4g"), "end");
  }
  for (const double t : ticks(f.x.low, f.x.high)) out += words(f.px(t), f.y0 + 17, number(t), "middle");
  out += "<rect class='z' x='" + number(f.x0) + "' y='" + number(f.y1) + "' width='" + number(f.x1 - f.x0) + "' height='" +
         number(f.y0 - f.y1) + "'/>\n";
  out += words((f.x0 + f.x1) / 2, 21, p.title, "middle", "font-weight='bold'");
  out += words((f.x0 + f.x1) / 2, height - 10, p.x_name, "middle");
  if (!p.y_name.empty()) {
    const double x = f.x0 - left + 13, y = (f.y0 + f.y1) / 2;
    out += words(x, y, p.y_name, "middle", ("transform='rotate(-90 " + at(x, y) + ")'").c_str());
  }
  return out;
}

inline std::string drawn(const Series& s, const Frame& f, const std::string& colour) {
  std::string out, path;
  if (!s.low.empty() && s.low.size() == s.y.size() && s.high.size() == s.y.size()) {
    std::string there, back;
    for (size_t i = 0; i < s.y.size(); ++i) {
      if (!f.y.takes(s.low[i]) || !f.y.takes(s.high[i])) continue;
      there += (there.empty() ? "M" : "L") + at(f.px(x_of(s, i)), f.py(s.low[i]));
      back = "L" + at(f.px(x_of(s, i)), f.py(s.high[i])) + back;
    }
    out += "<path d='" + there + back + "Z' fill='" + colour + "' fill-opacity='0.2'/>\n";
  }
  bool drawing = false;
  for (size_t i = 0; i < s.y.size(); ++i) {
    const bool there = f.y.takes(s.y[i]) && std::isfinite(x_of(s, i));
    if (there && s.mark == Mark::bars)
      out += "<path d='M" + at(f.px(s.x[i]), f.py(0)) + "V" + number(f.py(s.y[i]), "%.1f") + "H" + number(f.px(s.x[i + 1]), "%.1f") + "V" +
             number(f.py(0), "%.1f") + "Z' fill='" + colour + "' class='b'/>\n";
    else if (there && s.mark == Mark::points)
      out += "<circle cx='" + number(f.px(x_of(s, i)), "%.1f") + "' cy='" + number(f.py(s.y[i]), "%.1f") + "' r='3.2' stroke='" + colour +
             "' stroke-width='1.6'/>\n";
    else if (there)
      path += (drawing ? "L" : "M") + at(f.px(x_of(s, i)), f.py(s.y[i]));
    drawing = there;
  }
  if (!path.empty()) out += "<path d='" + path + "' stroke='" + colour + "' stroke-width='1.8' stroke-linejoin='round'/>\n";
  return out;
}

inline std::string legend(const Panel& p, const Frame& f) {
  size_t longest = 0;
  for (const Series& s : p.series) longest = std::max(longest, s.name.size());
  std::string out;
  double row = f.y1 + 16;
  for (size_t k = 0; k < p.series.size(); ++k) {
    if (p.series[k].name.empty()) continue;
    const double x = p.square ? f.x1 + 32 : f.x1 - 6.6 * double(longest) - 6;
    if (!p.square)
      out += "<rect class='p' x='" + number(x - 26) + "' y='" + number(row - 12) + "' width='" + number(f.x1 - x + 24) + "' height='16'/>\n";
    out += p.series[k].mark == Mark::points
               ? "<circle cx='" + number(x - 13) + "' cy='" + number(row - 4) + "' r='3.2' stroke='" + colour(k) + "' stroke-width='1.6'/>\n"
               : line(x - 22, row - 4, x - 4, row - 4, "stroke='" + colour(k) + "' stroke-width='2.4'");
    out += words(x, row, p.series[k].name, "start");
    row += 16;
  }
  return out;
}

inline const char* const style =
    "<style>.t{fill:#222}.g{stroke:#e4e4e4}.z{stroke:#888}.b{stroke:#fff;stroke-width:.6}.p{fill:#fff;fill-opacity:.8}.bg{fill:#fff}"
    "@media screen and (prefers-color-scheme:dark){.t{fill:#ddd}.g{stroke:#3a3a3a}.b{stroke:#181818}.p{fill:#181818}.bg{fill:#181818}}</style>";

}  // namespace detail

/// Whether a panel has a finite value to draw.
inline bool drawable(const Panel& p) {
  for (const Series& s : p.series)
    for (size_t i = 0; i < s.y.size(); ++i)
      if (std::isfinite(s.y[i]) && std::isfinite(detail::x_of(s, i)) && (!p.log_y || s.y[i] > 0)) return true;
  return false;
}

/// The chart as SVG. Errors: UsageError when a panel has no finite value to draw.
inline std::string svg(const std::vector<Panel>& panels) {
  using namespace detail;
  const double all = width * double(panels.size());
  std::string out = "<svg xmlns='http://www.w3.org/2000/svg' width='" + number(all) + "' height='" + number(height) + "' viewBox='0 0 " +
                    number(all) + " " + number(height) + "' font-family='sans-serif' font-size='12' fill='none'>\n" + style +
                    "\n<rect class='bg' width='100%' height='100%'/>\n";
  for (size_t i = 0; i < panels.size(); ++i) {
    const Panel& p = panels[i];
    const Frame f = frame_of(p, i);
    out += axes(p, f);
    if (std::isfinite(p.marked_x)) {
      const double x = f.px(p.marked_x);
      out += line(x, f.y0, x, f.y1, "class='z' stroke-dasharray='4 3'");
      const bool turn = x > (f.x0 + f.x1) / 2;
      out += words(x + (turn ? -5 : 5), f.y0 - 7, p.marked, turn ? "end" : "start");
    }
    for (size_t k = 0; k < p.series.size(); ++k) out += drawn(p.series[k], f, colour(k));
    out += legend(p, f);
  }
  return out + "</svg>\n";
}

}  // namespace voxgrad::chart

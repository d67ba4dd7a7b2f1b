// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Line charts as SVG text, for the pictures of the example programs: panels side by side, curves with a legend, ticks at round numbers.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/io/file_writer.hpp"

namespace examples {

struct Curve {
  std::string name;
  std::vector<double> y;  ///< at x = 1, 2, 3 ...
};
struct Panel {
  std::string title, x_name;
  std::vector<Curve> curves;
};

namespace svg {
inline std::string number(double v, const char* form = "%.6g") {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, form, v);
  return buffer;
}
inline std::string words(double x, double y, const std::string& text, const char* anchor = "middle", const char* more = "") {
  return "<text x='" + number(x, "%.1f") + "' y='" + number(y, "%.1f") + "' text-anchor='" + anchor + "' " + more + ">" + text + "</text>\n";
}
inline std::string line(double x0, double y0, double x1, double y1, const char* colour) {
  return "<path d='M" + number(x0, "%.1f") + " " + number(y0, "%.1f") + "L" + number(x1, "%.1f") + " " + number(y1, "%.1f") + "' stroke='" +
         colour + "'/>\n";
}
/// A distance between ticks that is 1, 2 or 5 times a power of ten, for about five ticks.
inline double tick_step(double span) {
  const double power = std::pow(10.0, std::floor(std::log10(span / 5)));
  for (double m : {1.0, 2.0, 5.0})
    if (span / (m * power) <= 6) return m * power;
  return 10 * power;
}
}  // namespace svg

/// The chart as SVG. Values that are not finite break a curve. Errors: UsageError when no curve has a finite value.
inline std::string svg_chart(const std::vector<Panel>& panels) {
  constexpr double width = 420, height = 300, left = 62, right = 14, top = 34, bottom = 48;
  const char* colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7"};
  std::string out = "<svg xmlns='http://www.w3.org/2000/svg' width='" + svg::number(width * double(panels.size())) + "' height='" +
                    svg::number(height) + "' font-family='sans-serif' font-size='12' fill='none'>\n<rect width='100%' height='100%' fill='white'/>\n";
  for (size_t p = 0; p < panels.size(); ++p) {
    double low = INFINITY, high = -INFINITY;
    size_t n = 2;
    for (const Curve& c : panels[p].curves) {
      n = std::max(n, c.y.size());
      for (double v : c.y)
        if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
    }
    voxgrad::check<voxgrad::UsageError>(low <= high, "chart '", panels[p].title, "': no finite value to draw");
    if (high - low < 1e-12) low -= 0.5, high += 0.5;
    low -= 0.05 * (high - low), high += 0.05 * (high - low);
    const double x0 = width * double(p) + left, x1 = width * double(p + 1) - right, y0 = height - bottom, y1 = top;
    const auto x_of = [&](double i) { return x0 + (x1 - x0) * (i - 1) / double(n - 1); };
    const auto y_of = [&](double v) { return y0 + (y1 - y0) * (v - low) / (high - low); };
    const double step = svg::tick_step(high - low), across = std::max(1.0, svg::tick_step(double(n)));
    for (double t = std::ceil(low / step) * step; t <= high; t += step) {
      const double v = std::abs(t) < step / 1000 ? 0 : t;
      out += svg::line(x0, y_of(v), x1, y_of(v), v == 0 ? "#888" : "#e4e4e4");
      out += svg::words(x0 - 6, y_of(v) + 4, svg::number(v, "%.4g"), "end", "fill='#222'");
    }
    for (double i = across; i <= double(n); i += across) out += svg::words(x_of(i), y0 + 17, svg::number(i), "middle", "fill='#222'");
    out += "<rect x='" + svg::number(x0) + "' y='" + svg::number(y1) + "' width='" + svg::number(x1 - x0) + "' height='" + svg::number(y0 - y1) +
           "' stroke='#888'/>\n";
    out += svg::words((x0 + x1) / 2, 21, panels[p].title, "middle", "fill='#000' font-weight='bold'");
    out += svg::words((x0 + x1) / 2, height - 10, panels[p].x_name, "middle", "fill='#222'");
    for (size_t k = 0; k < panels[p].curves.size(); ++k) {
      const Curve& c = panels[p].curves[k];
      const char* colour = colours[k % 4];
      std::string path;
      for (size_t i = 0; i < c.y.size(); ++i) {
        if (!std::isfinite(c.y[i])) continue;
        const bool begins = i == 0 || !std::isfinite(c.y[i - 1]);
        path += (begins ? "M" : "L") + svg::number(x_of(double(i + 1)), "%.1f") + " " + svg::number(y_of(c.y[i]), "%.1f");
      }
      out += "<path d='" + path + "' stroke='" + colour + "' stroke-width='1.8'/>\n";
      const double at = x1 - 76, row = y1 + 16 + 16 * double(k);
      out += "<rect x='" + svg::number(at - 26) + "' y='" + svg::number(row - 12) + "' width='" + svg::number(x1 - at + 24) +
             "' height='16' fill='white' fill-opacity='0.8'/>\n";
      out += svg::line(at - 22, row - 4, at - 4, row - 4, colour);
      out += svg::words(at, row, c.name, "start", "fill='#222'");
    }
  }
  return out + "</svg>\n";
}

/// Writes a file under its name only when it is complete. Errors: FileError.
inline void write_whole(const std::string& path, const std::string& content) {
  voxgrad::io::FileWriter file(path);
  file.put(content);
  file.commit();
}

}  // namespace examples

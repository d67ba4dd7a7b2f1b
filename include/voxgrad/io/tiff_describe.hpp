// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What the ImageDescription of a TIFF file says about its pages: ImageJ, OME, tifffile, ScanImage, or nothing.

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::io {

/// One axis over the pages of a file: 'T' time, 'Z' depth, 'C' channel, 'I' pages of unstated meaning.
struct TiffAxis {
  char letter = 'I';
  int64_t size = 1;
};

/// ImageJ's straight-line calibration: value = c0 + c1 * stored.
struct TiffCalibration {
  bool present = false;
  double c0 = 0, c1 = 1;
  std::string unit;
};

/// The understood part of a description.
struct TiffDescription {
  std::string kind = "plain";          ///< ImageJ, OME-TIFF, tifffile, ScanImage, plain
  std::vector<TiffAxis> axes;          ///< over the pages, slowest first; empty: nothing said
  std::string evidence;                ///< the words that the axes come from
  int64_t promised = 0;                ///< planes that this file should hold; 0: not said
  std::vector<int64_t> page_of_plane;  ///< OME only: the page of each plane in the order of `axes`; empty: in order
  data::Spacing spacing;
  bool pixels_per_unit = false;        ///< X/YResolution counts pixels per `unit` (ImageJ)
  std::string unit;
  TiffCalibration calibration;
  std::vector<std::string> channel_names;
  std::vector<std::string> notes;
};

/// Planes spanned by some axes; 10^18 stands for any larger number.
inline int64_t tiff_planes(const std::vector<TiffAxis>& axes) {
  int64_t n = 1;
  for (const TiffAxis& axis : axes) n = axis.size > 0 && n > 1000000000000000000 / axis.size ? 1000000000000000000 : n * axis.size;
  return n;
}

/// Parses a decimal number whatever the locale; `fallback` if it is none.
inline double tiff_number(std::string_view digits, double fallback) {
  while (!digits.empty() && (digits.front() == ' ' || digits.front() == '+')) digits.remove_prefix(1);
  double value = fallback;
#if defined(__cpp_lib_to_chars)
  if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc{}) return fallback;
#else
  value = std::strtod(std::string(digits).c_str(), nullptr);
#endif
  return value;
}

/// A whole number from 1 to 10^9, else `fallback`.
inline int64_t tiff_count(std::string_view digits, int64_t fallback) {
  int64_t value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return result.ec == std::errc{} && value >= 1 && value <= 1000000000 ? value : fallback;
}

/// Micrometres per unit of length, 0 if the unit is none. Knows ImageJ's escaped and Latin-1 micro signs.
inline double micrometres_per(std::string_view unit) {
  if (unit == "micron" || unit == "microns" || unit == "um" || unit == "\xC2\xB5m" || unit == "\xCE\xBCm" || unit == "\xB5m" ||
      unit == "\\u00B5m" || unit == "micrometer" || unit == "\xC2\xB5m/pixel")
    return 1;
  if (unit == "nm" || unit == "nanometer") return 1e-3;
  if (unit == "mm" || unit == "millimeter") return 1e3;
  if (unit == "cm") return 1e4;
  if (unit == "inch" || unit == "in") return 25400;
  if (unit == "m") return 1e6;
  return 0;
}

/// Seconds per unit of time, 0 if the unit is none.
inline double seconds_per(std::string_view unit) {
  if (unit.empty() || unit == "s" || unit == "sec" || unit == "seconds" || unit == "second") return 1;
  if (unit == "ms" || unit == "msec") return 1e-3;
  if (unit == "\xC2\xB5s" || unit == "us") return 1e-6;
  if (unit == "min" || unit == "minutes") return 60;
  if (unit == "h") return 3600;
  return 0;
}

/// The value behind "key=" or "key = " at the start of a line; empty if there is none.
inline std::string_view tiff_line_value(std::string_view description, std::string_view key) {
  for (size_t at = 0; at < description.size();) {
    size_t end = description.find_first_of("\r\n", at);
    if (end == std::string_view::npos) end = description.size();
    std::string_view line = description.substr(at, end - at);
    at = end + 1;
    if (line.substr(0, key.size()) != key) continue;
    line.remove_prefix(key.size());
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    if (line.empty() || line.front() != '=') continue;
    line.remove_prefix(1);
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    while (!line.empty() && line.back() == ' ') line.remove_suffix(1);
    return line;
  }
  return {};
}

/// ImageJ: lines of key=value; pages run channel fastest, then slice, then frame.
inline TiffDescription describe_imagej(std::string_view d) {
  TiffDescription out;
  out.kind = "ImageJ";
  const int64_t channels = tiff_count(tiff_line_value(d, "channels"), 1), slices = tiff_count(tiff_line_value(d, "slices"), 1);
  const int64_t frames = tiff_count(tiff_line_value(d, "frames"), 1), images = tiff_count(tiff_line_value(d, "images"), 1);
  const auto add = [&](char letter, const char* key, int64_t size) {
    if (size <= 1) return;
    out.axes.push_back({letter, size});
    out.evidence += text(out.evidence.empty() ? "" : ", ", key, "=", size);
  };
  add('T', "frames", frames);
  add('Z', "slices", slices);
  add('C', "channels", channels);
  if (out.axes.empty() && images > 1) add('I', "images", images);
  if (out.axes.size() > 0 && images > 1 && images != tiff_planes(out.axes) && out.axes[0].letter != 'I') {
    out.notes.push_back(text("images=", images, " does not agree with ", out.evidence, "; ", "the pages are taken one after another"));
    out.axes = {{'I', images}};
    out.evidence = text("images=", images);
  }
  if (!out.axes.empty()) out.promised = tiff_planes(out.axes);
  out.unit = tiff_line_value(d, "unit");
  out.pixels_per_unit = true;
  const double per_unit = micrometres_per(out.unit);
  out.spacing.z_um = tiff_number(tiff_line_value(d, "spacing"), 0) * per_unit;
  const double interval = tiff_number(tiff_line_value(d, "finterval"), 0), fps = tiff_number(tiff_line_value(d, "fps"), 0);
  // Without finterval, fps is only the speed of ImageJ's player: not a measurement.
  if (interval > 0) out.spacing.seconds = interval * seconds_per(tiff_line_value(d, "tunit"));
  else if (fps > 0) out.notes.push_back(text("fps=", fps, " without finterval is a display setting; the frame interval is unknown"));
  const std::string_view function = tiff_line_value(d, "cf");
  if (function == "0") {
    out.calibration = {true, tiff_number(tiff_line_value(d, "c0"), 0), tiff_number(tiff_line_value(d, "c1"), 1),
                       std::string(tiff_line_value(d, "vunit"))};
  } else if (!function.empty() && !tiff_line_value(d, "c0").empty()) {
    out.notes.push_back(text("intensity calibration function cf=", function, " is not a straight line; values are used as stored"));
  }
  return out;
}

/// tifffile: {"shape": [T, H, W], ...}; the last two (or three, with samples) numbers are one page.
inline TiffDescription describe_tifffile(std::string_view d, int64_t height, int64_t width, int64_t samples, bool planar) {
  TiffDescription out;
  out.kind = "tifffile";
  const size_t key = d.find("\"shape\""), open = d.find('[', key), close = d.find(']', open);
  if (key == std::string_view::npos || open == std::string_view::npos || close == std::string_view::npos) return out;
  std::vector<int64_t> shape;
  for (size_t at = open + 1; at < close && shape.size() < 16;) {
    while (at < close && (d[at] < '0' || d[at] > '9')) ++at;
    size_t end = at;
    while (end < close && d[end] >= '0' && d[end] <= '9') ++end;
    if (end > at) shape.push_back(tiff_count(d.substr(at, end - at), 1));
    at = end;
  }
  out.evidence = text("shape ", d.substr(open, close - open + 1));
  std::vector<int64_t> page = {height, width};
  if (samples > 1) page.insert(planar ? page.begin() : page.end(), samples);
  const bool fits = shape.size() >= page.size() && std::equal(page.begin(), page.end(), shape.end() - std::ptrdiff_t(page.size()));
  if (!fits) {
    out.notes.push_back(text(out.evidence, " does not match pages of ", height, "x", width, "; the pages are taken one after another"));
    return out;
  }
  const size_t at = d.find("\"axes\""), quote = at == std::string_view::npos ? at : d.find('"', d.find(':', at));
  const std::string_view letters = quote == std::string_view::npos ? "" : d.substr(quote + 1, d.find('"', quote + 1) - quote - 1);
  for (size_t i = 0; i + page.size() < shape.size(); ++i) {
    const char letter = letters.size() == shape.size() && (letters[i] == 'T' || letters[i] == 'Z' || letters[i] == 'C') ? letters[i] : 'I';
    if (shape[i] > 1) out.axes.push_back({letter, shape[i]});
  }
  out.promised = tiff_planes(out.axes);
  return out;
}

/// ScanImage: MATLAB assignments, in the description (5) or the Software tag (2016 on); channels alternate.
inline TiffDescription describe_scanimage(std::string_view d) {
  TiffDescription out;
  out.kind = "ScanImage";
  const auto value = [&](const std::string& key) {
    const std::string_view v = tiff_line_value(d, "SI." + key);
    return v.empty() ? tiff_line_value(d, "scanimage.SI." + key) : v;
  };
  const std::string_view saved = value("hChannels.channelSave");
  int64_t channels = saved.empty() ? 0 : 1;
  for (char c : saved) channels += c == ';' || c == ' ' || c == ',';
  if (channels > 1) out.axes = {{'I', 0}, {'C', channels}};  // the number of frames follows from the pages
  if (channels > 0) out.evidence = text("channelSave = ", saved);
  const double rate = tiff_number(value("hRoiManager.scanFrameRate"), 0);
  if (rate > 0) out.spacing.seconds = 1 / rate;
  const std::string_view slices = value("hStackManager.numSlices");
  if (tiff_count(slices, 1) > 1)
    out.notes.push_back(text("ScanImage says numSlices = ", slices, "; pages are taken as frames of one plane"));
  return out;
}

}  // namespace voxgrad::io

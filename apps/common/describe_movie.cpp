// SPDX-License-Identifier: BSD-3-Clause
// Movies for `voxgrad inspect`.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "describe.hpp"
#include "machine.hpp"
#include "voxgrad/io/tiff.hpp"

namespace voxgrad::app {

namespace {

/// What a look at some frames shows.
struct Values {
  double lowest = std::numeric_limits<double>::infinity(), highest = -lowest, sum = 0;
  std::int64_t count = 0, not_finite = 0, at_top = 0, frames = 0;
};

/// At most 20 frames, evenly spread.
Values look_at(io::TiffMovie& movie) {
  Values v;
  const auto [frames, height, width] = movie.extent();
  std::vector<float> frame(std::size_t(height * width));
  v.frames = std::min<std::int64_t>(frames, 20);
  for (std::int64_t i = 0; i < v.frames; ++i) {
    const std::int64_t t = v.frames > 1 ? i * (frames - 1) / (v.frames - 1) : 0;
    movie.read(t, t + 1, frame.data());
    for (const float x : frame) {
      if (!std::isfinite(x)) {
        ++v.not_finite;
        continue;
      }
      if (double(x) > v.highest) v.at_top = 0;
      v.lowest = std::min(v.lowest, double(x));
      v.highest = std::max(v.highest, double(x));
      v.at_top += double(x) == v.highest;
      v.sum += double(x);
      ++v.count;
    }
  }
  return v;
}

void add_values(Description& d, io::TiffMovie& movie, const std::string& what) {
  const Values v = look_at(movie);
  if (v.count == 0) {
    d.line(what, "no finite values in the frames looked at");
    d.usable = false;
    return;
  }
  d.line(what, fmt::format("{:.6g} to {:.6g}, mean {:.4g} (in {} of {} frames)", v.lowest, v.highest, v.sum / double(v.count), v.frames, movie.extent()[0]));
  d.fields.push_back({what, Fields{{"min", v.lowest}, {"max", v.highest}, {"mean", v.sum / double(v.count)}, {"frames", v.frames}}});
  if (v.not_finite > 0) d.notes.push_back(fmt::format("{} values in the frames looked at are not finite", v.not_finite));
  if (v.lowest == v.highest) d.notes.push_back("all values in the frames looked at are equal: there is nothing to find");
  const auto type = movie.sample_type();
  const double top = type == io::SampleType::u8 ? 255 : type == io::SampleType::u16 ? 65535 : 0;
  if (top > 0 && v.highest == top && v.at_top > v.count / 1000)
    d.notes.push_back(fmt::format("{:.1f} % of the values are at the top of the range: overexposed", 100.0 * double(v.at_top) / double(v.count)));
}

std::string spacing_text(const data::Spacing& s, bool depth) {
  std::string out = s.seconds > 0 ? fmt::format("{:.4g} s between frames ({:.4g} Hz)", s.seconds, 1 / s.seconds) : depth ? "" : "frame interval not stated";
  if (depth) out = s.z_um > 0 ? fmt::format("depth step {:.4g} um", s.z_um) : "depth step not stated";
  if (s.x_um <= 0) return out + ", pixel size not stated";
  return out + (s.x_um == s.y_um ? fmt::format(", pixel {:.4g} um", s.x_um) : fmt::format(", pixel {:.4g} x {:.4g} um (x, y)", s.x_um, s.y_um));
}

void add_info(Description& d, const io::TiffInfo& i) {
  const auto& l = i.layout;
  d.line("axes", fmt::format("{}: {} {} of {} x {} pixels{}{}", i.axes_text, i.frames, i.frames == 1 ? "frame" : "frames", l.height, l.width,
                             i.channels > 1 ? fmt::format(", {} channels", i.channels) : "", i.evidence.empty() ? "" : " (" + i.evidence + ")"));
  const std::string odd = l.bits != 8 * io::sample_bytes(l.type) ? fmt::format(" from {} bits", l.bits) : "";
  d.line("samples", fmt::format("{}{}, {}, {}{}, {}{}", io::sample_name(l.type), odd, io::tiff_photometric_name(l.photometric),
                                l.compression == 1 ? "uncompressed" : io::tiff_compression_name(l.compression), l.tiled ? ", tiles" : "",
                                i.big_endian ? "big-endian" : "little-endian", i.bigtiff ? ", BigTIFF" : ""));
  d.line("size", fmt::format("{} {} in {}{}", i.pages, i.kind == "folder of frames" ? "files" : i.pages == 1 ? "directory" : "directories",
                             bytes_text(i.file_bytes), i.one_directory ? "; the frames follow the only directory" : i.kind == "folder of frames" ? " each" : ""));
  d.line("spacing", spacing_text(i.spacing, i.axes_text.find('Z') != std::string::npos && !i.time_is_assumed));
  std::string names;
  for (const std::string& name : i.channel_names) names += (names.empty() ? "" : ", ") + (name.empty() ? "unnamed" : name);
  if (i.channel_names.size() > 1) d.line("channels", names);
  d.notes = i.notes;
  d.fields = {{"format", i.kind}, {"axes", i.axes_text}, {"frames", i.frames}, {"height", l.height}, {"width", l.width}, {"channels", i.channels},
              {"type", io::sample_name(l.type)}, {"compression", io::tiff_compression_name(l.compression)}, {"big_endian", i.big_endian},
              {"bigtiff", i.bigtiff}, {"pages", i.pages},
              {"seconds", i.spacing.seconds > 0 ? JsonValue(i.spacing.seconds) : JsonValue::null()},
              {"pixel_um", i.spacing.x_um > 0 ? JsonValue(i.spacing.x_um) : JsonValue::null()}};
}

}  // namespace

Description describe_movie(const std::string& path, const MovieWords& words) {
  io::TiffOptions options{words.axes, words.channel, words.allow_truncated, words.sequence, true};
  io::TiffMovie movie(path, options);
  const io::TiffInfo info = movie.info();
  Description d;
  add_info(d, info);
  d.kind = fmt::format("TIFF {} ({})", info.frames > 1 ? "movie" : "image", info.kind);
  if (info.channel > 0) {
    add_values(d, movie, "values");
  } else {
    for (int c = 1; c <= int(std::min<std::int64_t>(info.channels, 8)); ++c) {
      options.channel = c;
      io::TiffMovie one(path, options);
      add_values(d, one, fmt::format("channel {}", c));
    }
  }
  const std::string quoted = path.find_first_of(" '()&;") == std::string::npos ? path : "\"" + path + "\"";
  if (info.frames == 1) {
    d.usable = false;
    d.use = info.channels > 1 ? "not a movie: one frame per channel. If the channels are frames, say --axes TYX."
                              : "not a movie: a single frame. If the file is one of a sequence, give the folder and --sequence.";
  } else {
    d.use = fmt::format("voxgrad predict --model MODEL {}{}{}{}{}", quoted, info.channel == 0 ? " --channel N" : words.channel > 0 ? fmt::format(" --channel {}", words.channel) : "",
                        words.axes.empty() ? (info.time_is_assumed && info.axes_text.find('Z') != std::string::npos ? " --axes TYX" : "") : " --axes " + words.axes, words.sequence ? " --sequence" : "", words.allow_truncated ? " --allow-truncated" : "");
  }
  d.fields.push_back({"movie", info.frames > 1});
  return d;
}

}  // namespace voxgrad::app

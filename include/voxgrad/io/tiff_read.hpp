// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A TIFF movie [T,H,W]: any of the forms that microscopes and ImageJ write, read frame by frame, never more than asked.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "voxgrad/data/volume.hpp"
#include "voxgrad/io/tiff_file.hpp"
#include "voxgrad/io/tiff_sequence.hpp"

namespace voxgrad::io {

/// The user's word on a file.
struct TiffOptions {
  std::string axes;               ///< "" as described; "TYX", "ZYX": the pages are frames, depths; "TCYX": names for described axes
  int channel = 0;                ///< which channel, from 1; 0: the file must have only one
  bool allow_truncated = false;   ///< work on the complete frames of an incomplete file
  bool sequence = false;          ///< the path is a folder of single frames
  bool allow_single = false;      ///< one frame is fine too (still images, inspection)
};

/// What was understood of a movie, for people and for `inspect`.
struct TiffInfo {
  std::string path;
  std::string kind;                   ///< ImageJ, OME-TIFF, tifffile, ScanImage, plain, folder of frames
  bool big_endian = false, bigtiff = false;
  uint64_t file_bytes = 0;
  int64_t pages = 0;                  ///< directories found, or files of a sequence
  bool one_directory = false;         ///< frames follow each other without directories (ImageJ above 4 GB)
  std::vector<TiffAxis> axes;         ///< over pages, slowest first
  std::string axes_text;              ///< e.g. "TCYX"
  std::string evidence;               ///< where the axes come from
  TiffLayout layout;
  data::Spacing spacing;
  TiffCalibration calibration;
  std::vector<std::string> channel_names;
  int64_t channels = 1;
  int channel = 0;                    ///< the one that is read, from 1; 0: none chosen
  int64_t frames = 0;
  bool time_is_assumed = false;       ///< the file does not call its pages frames
  std::vector<std::string> notes;     ///< what the user should know
  std::vector<std::string> warnings;  ///< what libtiff had to say
};

class TiffMovie {
 public:
  /// Opens and checks; reads no pixels. FileError: not a movie, damaged, several channels and none chosen.
  explicit TiffMovie(const std::string& path, const TiffOptions& options = {}) : options_(options) {
    if (is_folder(path)) {
      const std::vector<std::string> files = tiff_sequence_files(path);
      check<FileError>(options.sequence, path, ": is a folder", files.empty() ? "" : text(" with ", files.size(), " TIFF files"),
                       ". To take its files as the frames of one movie, add --sequence.");
      open_sequence(path, files);
    } else {
      open_file(path);
    }
    choose_time();
    choose_channel();
  }

  const TiffInfo& info() const { return info_; }
  /// [T,H,W]
  data::Extent3 extent() const { return {info_.frames, info_.layout.height, info_.layout.width}; }
  data::Spacing spacing() const { return info_.spacing; }
  SampleType sample_type() const { return info_.layout.type; }

  /// Frames t0 <= t < t1 of the chosen channel as float, calibration applied; out: (t1-t0)*H*W values.
  void read(int64_t t0, int64_t t1, float* out) {
    check_range(t0, t1);
    const int64_t n = info_.layout.width * info_.layout.height;
    const auto c0 = float(info_.calibration.c0), c1 = float(info_.calibration.c1);
    for (int64_t t = t0; t < t1; ++t, out += n) {
      const uint8_t* samples = load(t);
      samples_to_float(samples, info_.layout.type, n, sample_stride(), out);
      if (info_.calibration.present)
        for (int64_t i = 0; i < n; ++i) out[i] = c0 + c1 * out[i];
    }
  }

  /// The same samples exactly as stored, of sample_type(), no calibration.
  void read_native(int64_t t0, int64_t t1, void* out) {
    check_range(t0, t1);
    const int64_t n = info_.layout.width * info_.layout.height, width = sample_bytes(info_.layout.type), step = sample_stride() * width;
    auto* target = static_cast<uint8_t*>(out);
    for (int64_t t = t0; t < t1; ++t) {
      const uint8_t* samples = load(t);
      if (step == width) {
        std::memcpy(target, samples, size_t(n * width));
        target += n * width;
      } else {
        for (int64_t i = 0; i < n; ++i, target += width) std::memcpy(target, samples + i * step, size_t(width));
      }
    }
  }

 private:
  void open_file(const std::string& path) {
    check<FileError>(!options_.sequence, path, ": is a file; --sequence needs the folder of the frames");
    file_.emplace(path);
    const TiffDescription& d = file_->description();
    fill_info(path, d.kind);
    info_.bigtiff = file_->index().bigtiff;
    info_.pages = file_->pages();
    info_.axes = d.axes;
    info_.evidence = d.evidence;
    page_of_plane_ = d.page_of_plane;
    const TiffIndex& index = file_->index();
    if (index.reduced > 0) info_.notes.push_back(text(index.reduced, " reduced images (thumbnails) are left out"));
    if (index.odd_page >= 0) check_odd_page(index);
    match_pages(d.promised);
  }

  void fill_info(const std::string& path, const std::string& kind) {
    const TiffDescription& d = file_->description();
    info_.path = path;
    info_.kind = kind;
    info_.big_endian = file_->index().big_endian;
    info_.file_bytes = file_->size();
    info_.layout = file_->layout();
    info_.spacing = d.spacing;
    info_.calibration = d.calibration;
    info_.channel_names = d.channel_names;
    info_.notes.insert(info_.notes.end(), d.notes.begin(), d.notes.end());
    info_.warnings = file_->warnings();
    if (d.calibration.present && (d.calibration.c0 != 0 || d.calibration.c1 != 1))
      info_.notes.push_back(text("intensities are calibrated by the file: value = ", d.calibration.c0, " + ", d.calibration.c1, " * stored",
                                 d.calibration.c0 == -32768 && d.calibration.c1 == 1 ? " (signed 16-bit in ImageJ)" : ""));
  }

  void check_odd_page(const TiffIndex& index) const {
    const auto words = [](const TiffShape& s) {
      return text(s.width, "x", s.height, s.samples > 1 ? text("x", s.samples) : "", " of ", s.bits, " bits", s.format == 3 ? " (float)" : s.format == 2 ? " (signed)" : "");
    };
    throw FileError(text(info_.path, ": page ", index.odd_page + 1, " is ", words(index.odd_shape), ", but page 1 is ", words(index.shape),
                         ". All frames of a movie must have the same size and type."));
  }

  /// Brings the promise of the description and the pages found together.
  void match_pages(int64_t promised) {
    int64_t found = file_->pages();
    if (found == 1 && promised > 1 && (plane_start_ = file_->contiguous_start()) != 0) {
      info_.one_directory = true;
      found = int64_t((file_->size() - std::min(plane_start_, file_->size())) / uint64_t(info_.layout.bytes()));
      found = std::min(found, promised);
    } else {
      while (found > 0 && !file_->page_is_complete(found - 1)) --found;
    }
    const int64_t per_frame = planes_per_frame();
    const bool broken = !file_->index().broken.empty() || (found < file_->pages() && !info_.one_directory);
    const bool short_of = promised > found;
    if (broken || short_of) {
      const std::string promise = promised > 1 ? text("the header promises ", promised / per_frame, " frames but ") : "";
      check<FileError>(options_.allow_truncated && found >= per_frame, info_.path, ": ", promise, "the file ends in frame ", found / per_frame + 1,
                       " (truncated copy?). ", found >= per_frame ? "Use --allow-truncated to work on the complete frames." : "No frame is complete: copy the file again.");
      info_.notes.push_back(text("incomplete file", broken && !file_->index().broken.empty() ? " (" + file_->index().broken + ")" : "", ": only the first ",
                                 found / per_frame, promised > 1 ? text(" of ", promised / per_frame) : "", " frames are used"));
      found -= found % per_frame;
    } else if (promised > 1 && found > promised && page_of_plane_.empty()) {
      info_.notes.push_back(text("the description speaks of ", promised, " planes (", info_.evidence, ") but the file holds ", found,
                                 "; the pages are taken one after another"));
      info_.axes.clear();
    }
    if (promised == 1 && found > 1) info_.evidence = text(found, " pages");  // tifffile describes each page on its own
    if (!page_of_plane_.empty()) return shrink_ome(found);
    fit_axes(found);
  }

  /// Planes that belong to one step of the slowest axis.
  int64_t planes_per_frame() const {
    return info_.axes.empty() ? 1 : tiff_planes({info_.axes.begin() + 1, info_.axes.end()});
  }

  void shrink_ome(int64_t found) {
    const auto per_frame = size_t(planes_per_frame());
    while (!page_of_plane_.empty() && page_of_plane_.back() >= found) page_of_plane_.resize(page_of_plane_.size() - std::min(per_frame, page_of_plane_.size()));
    check<FileError>(!page_of_plane_.empty(), info_.path, ": no frame is complete (truncated copy?)");
    if (!info_.axes.empty()) info_.axes[0].size = int64_t(page_of_plane_.size() / per_frame);
  }

  void fit_axes(int64_t planes) {
    if (info_.axes.empty() && planes > 1) info_.axes = {{'I', planes}};
    if (info_.axes.empty()) return;
    const int64_t per_frame = planes_per_frame();
    check<FileError>(planes % per_frame == 0, info_.path, ": ", planes, " pages are not a multiple of ", per_frame, " (", info_.evidence,
                     "). The recording was interrupted or the file is a truncated copy; save its complete frames.");
    info_.axes[0].size = planes / per_frame;
  }

  void open_sequence(const std::string& folder, const std::vector<std::string>& files) {
    check<FileError>(!files.empty(), folder, ": holds no TIFF files (*.tif, *.tiff)");
    files_ = files;
    file_.emplace(files_[0]);
    open_path_ = files_[0];
    fill_info(folder, "folder of frames");
    for (const std::string& name : files_) {
      const RandomFile file(name);
      const TiffIndex index = index_tiff(file);
      check<FileError>(index.pages.size() == 1, name, ": holds ", index.pages.size(), " frames; --sequence takes folders with one frame per file");
      check<FileError>(index.shape == file_->index().shape, name, ": has another size or type than ", file_name_of(files_[0]),
                       ". All frames of a movie must have the same size and type.");
    }
    info_.pages = int64_t(files_.size());
    info_.evidence = text(files_.size(), " files, ", file_name_of(files_.front()), " to ", file_name_of(files_.back()));
    info_.axes = {{'T', info_.pages}};
  }

  /// Decides which axis is time, with the user's word first.
  void choose_time() {
    std::erase_if(info_.axes, [](const TiffAxis& a) { return a.size == 1; });
    if (!options_.axes.empty()) apply_axes_option();
    std::vector<size_t> others;
    for (size_t i = 0; i < info_.axes.size(); ++i)
      if (info_.axes[i].letter != 'C') others.push_back(i);
    for (const TiffAxis& a : info_.axes) info_.axes_text += a.letter == 'I' && others.size() == 1 ? 'T' : a.letter;
    if (info_.layout.planar) info_.axes_text += "SYX";
    else info_.axes_text += info_.layout.samples > 1 ? "YXS" : "YX";
    check<FileError>(others.size() <= 1, info_.path, ": is ", info_.axes_text, " (", info_.evidence, "), but a movie has one axis besides height and width. ",
                     "Save one depth as a movie of its own (ImageJ: Image > Hyperstacks > Make Subset), or say --axes TYX to take all pages as frames.");
    time_axis_ = others.empty() ? -1 : int64_t(others[0]);
    info_.frames = others.empty() ? 1 : info_.axes[others[0]].size;
    if (others.empty() && !options_.allow_single) refuse_single();
    if (others.empty()) return;
    const char letter = info_.axes[others[0]].letter;
    info_.time_is_assumed = letter != 'T' && options_.axes.empty();
    if (info_.time_is_assumed && letter == 'Z')
      info_.notes.push_back(text("the file calls its ", info_.frames, " pages depths (", info_.evidence, "); as a movie they are taken as frames. Say --axes TYX to confirm"));
  }

  void refuse_single() const {
    const int64_t channels = info_.axes.empty() ? info_.layout.samples : info_.axes[0].size;
    const std::string what = info_.axes.empty()
        ? text("this is a single frame of ", info_.layout.height, "x", info_.layout.width, channels > 1 ? text(" with ", channels, " samples per pixel") : "")
        : text("this is a single frame with ", channels, " channels (", info_.evidence, ")");
    throw FileError(text(info_.path, ": ", what, ", but a movie [T,H,W] is needed. ", info_.axes.empty()
        ? "If the file is one of a sequence, give the folder and --sequence."
        : "If the channels are frames, say --axes TYX."));
  }

  void apply_axes_option() {
    std::string letters = options_.axes;
    for (char& c : letters) c = char(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    std::erase(letters, 'S');
    const bool ends = letters.size() >= 3 && letters.substr(letters.size() - 2) == "YX";
    letters.resize(ends ? letters.size() - 2 : 0);
    const bool known = ends && letters.find_first_not_of("TZC") == std::string::npos && std::count(letters.begin(), letters.end(), 'T') <= 1;
    check<UsageError>(known, "--axes ", options_.axes, ": expected TYX, ZYX, or one letter of T, Z, C for each axis and then YX (such as TCYX)");
    if (letters.size() == info_.axes.size()) {
      for (size_t i = 0; i < letters.size(); ++i) info_.axes[i].letter = letters[i];
    } else if (letters.size() == 1) {
      const int64_t all = tiff_planes(info_.axes);
      info_.axes = {{letters[0], all}};
      if (all == 1) info_.axes.clear();
    } else {
      throw UsageError(text("--axes ", options_.axes, ": ", info_.path, " has ", info_.axes.size(), " axes besides height and width",
                            info_.evidence.empty() ? "" : " (" + info_.evidence + ")"));
    }
    info_.evidence += text(info_.evidence.empty() ? "" : ", ", "--axes ", options_.axes);
  }

  void choose_channel() {
    const auto axis = std::find_if(info_.axes.begin(), info_.axes.end(), [](const TiffAxis& a) { return a.letter == 'C'; });
    const bool in_pages = axis != info_.axes.end(), in_samples = info_.layout.samples > 1;
    check<FileError>(!(in_pages && in_samples), info_.path, ": has ", in_pages ? axis->size : 0, " channels of colour pictures. Save one channel as grey.");
    info_.channels = in_pages ? axis->size : info_.layout.samples;
    const int64_t n = info_.channels;
    if (n == 1) {
      check<UsageError>(options_.channel <= 1, info_.path, ": --channel ", options_.channel, " was asked for, but there is only one channel");
      info_.channel = 1;
      return;
    }
    const bool colour = in_samples && (info_.layout.photometric == PHOTOMETRIC_RGB || info_.layout.photometric == PHOTOMETRIC_YCBCR);
    check<UsageError>(options_.channel >= 0 && options_.channel <= n, info_.path, ": --channel ", options_.channel, " was asked for, but there are channels 1 to ", n);
    if (options_.channel == 0 && options_.allow_single) return;  // inspection: nothing will be read without a choice
    check<FileError>(options_.channel != 0, info_.path, colour ? ": is a colour picture (RGB)" : text(": has ", n, " channels"), " (",
                     in_samples ? text(n, " samples per pixel") : text(info_.kind, ": ", info_.evidence), "). Choose one with --channel 1",
                     n > 2 ? text(" to --channel ", n) : std::string(" or --channel 2"), ".");
    info_.channel = options_.channel;
  }

  void check_range(int64_t t0, int64_t t1) const {
    check<ShapeError>(t0 >= 0 && t0 <= t1 && t1 <= info_.frames, info_.path, ": frames ", t0, " to ", t1, " of ", info_.frames, " were asked for");
    check<FileError>(info_.channel > 0, info_.path, ": has ", info_.channels, " channels and none was chosen. Choose one with --channel N.");
  }

  /// Distance between neighbouring pixels of one channel, in samples.
  int64_t sample_stride() const { return info_.layout.planar ? 1 : info_.layout.samples; }

  /// Number of the plane of frame t in page order.
  int64_t plane_of(int64_t t) const {
    int64_t plane = 0;
    for (size_t i = 0; i < info_.axes.size(); ++i) {
      const int64_t step = int64_t(i) == time_axis_ ? t : info_.axes[i].letter == 'C' ? info_.channel - 1 : 0;
      plane = plane * info_.axes[i].size + step;
    }
    return plane;
  }

  /// Decodes frame t; returns the first sample of the chosen channel.
  const uint8_t* load(int64_t t) {
    const int64_t plane = plane_of(t);
    const TiffLayout& layout = info_.layout;
    buffer_.resize(size_t(layout.bytes()));
    if (!files_.empty()) {
      if (open_path_ != files_[size_t(plane)]) {
        file_.emplace(files_[size_t(plane)]);
        open_path_ = files_[size_t(plane)];
      }
      file_->read_page(0, layout, buffer_.data());
    } else if (info_.one_directory) {
      file_->read_raw(plane_start_ + uint64_t(plane) * uint64_t(layout.bytes()), buffer_.data());
    } else {
      file_->read_page(page_of_plane_.empty() ? plane : page_of_plane_[size_t(plane)], layout, buffer_.data());
    }
    if (layout.samples == 1) return buffer_.data();
    const int64_t skip = layout.planar ? layout.width * layout.height : 1;
    return buffer_.data() + (info_.channel - 1) * skip * sample_bytes(layout.type);
  }

  TiffOptions options_;
  TiffInfo info_;
  std::optional<TiffFile> file_;
  std::vector<std::string> files_;
  std::string open_path_;
  std::vector<int64_t> page_of_plane_;
  uint64_t plane_start_ = 0;
  int64_t time_axis_ = -1;
  std::vector<uint8_t> buffer_;
};

/// Reads a whole movie (or still volume) into memory as float [T,H,W].
inline data::Volume<float> read_tiff_movie(const std::string& path, const TiffOptions& options = {}) {
  TiffMovie movie(path, options);
  data::Volume<float> volume(movie.extent());
  volume.spacing = movie.spacing();
  movie.read(0, movie.extent()[0], volume.voxels.data());
  return volume;
}

}  // namespace voxgrad::io

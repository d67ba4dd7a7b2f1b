// SPDX-License-Identifier: BSD-3-Clause
#include "volume_file.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

namespace voxgrad::app {
namespace {

std::string without_channel(std::string axes) {
  std::erase(axes, 'C');
  return axes;
}

/// What TiffMovie has to know: letters of the pages, then rows and columns. Empty if the file does not lie that way.
std::string page_axes(const std::string& axes, bool samples) {
  std::string pages = samples && axes.back() == 'C' ? axes.substr(0, axes.size() - 1) : axes;
  if (pages.find('C') != std::string::npos && pages.find('C') + 2 >= pages.size()) return "";
  for (size_t i = 0; i + 2 < pages.size(); ++i)
    if (pages[i] != 'C') pages[i] = 'T';
  return pages.substr(0, pages.size() - 2) + "YX";
}

/// The axes of a file as an array: of its pages, then rows, columns and samples.
std::vector<int64_t> array_sizes(const io::TiffInfo& info, const std::vector<io::TiffAxis>& pages) {
  std::vector<int64_t> sizes;
  for (const io::TiffAxis& a : pages) sizes.push_back(a.size);
  if (io::tiff_planes(pages) != info.frames) sizes = {info.frames};
  sizes.insert(sizes.end(), {info.layout.height, info.layout.width});
  return sizes;
}

}  // namespace

std::string checked_axes(const std::string& axes, const std::string& option) {
  std::string letters = axes;
  for (char& c : letters) {
    if (c >= 'a' && c <= 'z') c = char(c - 'a' + 'A');
    if (c == 'T') c = 'Z';
    if (c == 'S') c = 'C';
  }
  std::string sorted = letters;
  std::sort(sorted.begin(), sorted.end());
  check<UsageError>(sorted == "XYZ" || sorted == "CXYZ", option, " is '", axes, "' (expected Z, Y and X in the order of the file, slowest first, ",
                    "and C where channels lie, such as ZYX, ZCYX or XYZ).");
  return letters;
}

VolumeFile::VolumeFile(const std::string& path, const VolumeOptions& options) : path_(path), channels_(options.channels) {
  io::TiffOptions tiff;
  tiff.allow_truncated = options.allow_truncated;
  tiff.sequence = options.sequence;
  const bool chosen = options.channel > 0 || channels_ > 1;
  if (options.axes.empty()) {
    tiff.axes = options.trust_file || chosen ? "" : "TYX";
  } else {
    const std::string axes = checked_axes(options.axes, "--axes");
    axes_ = without_channel(axes);
    std::optional<io::TiffFile> file;
    if (axes.back() == 'C' && !options.sequence) file.emplace(path);
    tiff.axes = page_axes(axes, options.sequence || (file && file->layout().samples > 1));
    if (tiff.axes.empty()) {
      open_array(options, axes);
      return;
    }
  }
  for (int c = 1; c <= int(channels_); ++c) {
    tiff.channel = channels_ > 1 ? c : options.channel;
    movies_.push_back(std::make_unique<io::TiffMovie>(path, tiff));
    const int64_t found = info().channels;
    check<FileError>(channels_ == 1 || found == channels_, path, ": has ", found, found == 1 ? " channel" : " channels", ", but ", channels_,
                     " are expected. Say which pages are channels with --axes (such as ZCYX), or take other files.");
  }
  extent_ = movies_.front()->extent();
}

void VolumeFile::open_array(const VolumeOptions& options, const std::string& axes) {
  check<UsageError>(!options.sequence, "--axes ", options.axes, " does not go with --sequence, whose files are planes.");
  const std::vector<io::TiffAxis> pages = io::TiffFile(path_).description().axes;
  io::TiffOptions tiff;
  tiff.axes = "TYX";
  tiff.allow_truncated = options.allow_truncated;
  movies_.push_back(std::make_unique<io::TiffMovie>(path_, tiff));
  const std::vector<int64_t> sizes = array_sizes(info(), pages);
  check<FileError>(sizes.size() == axes.size(), path_, ": --axes ", options.axes, " names ", axes.size(), " axes, but the file has ", sizes.size(),
                   info().evidence.empty() ? "" : " (" + info().evidence + ")", ".");
  const size_t at = axes.find('C');
  const int64_t found = sizes[at];
  check<FileError>(channels_ == 1 || found == channels_, path_, ": has ", found, " channels (", options.axes, "), but ", channels_, " are expected.");
  check<FileError>(channels_ > 1 || found == 1 || (options.channel >= 1 && options.channel <= found), path_, ": has ", found, " channels (", options.axes,
                   "). Choose one with --channel 1 to --channel ", found, ".");
  std::vector<float> stored(size_t(info().frames * info().layout.height * info().layout.width));
  movies_.front()->read(0, info().frames, stored.data());
  for (size_t i = 0, a = 0; i < sizes.size(); ++i)
    if (i != at) extent_[a++] = sizes[i];
  int64_t behind = 1;
  for (size_t i = at + 1; i < sizes.size(); ++i) behind *= sizes[i];
  const int64_t voxels = data::voxel_count(extent_);
  array_.resize(size_t(channels_ * voxels));
  for (int64_t c = 0; c < channels_; ++c) {
    const int64_t from = channels_ > 1 ? c : std::max(0, options.channel - 1);
    for (int64_t i = 0; i < voxels; ++i) array_[size_t(c * voxels + i)] = stored[size_t((i / behind * found + from) * behind + i % behind)];
  }
}

void VolumeFile::read(int64_t z, int64_t channel, float* out) {
  if (array_.empty()) return movies_.at(size_t(channel))->read(z, z + 1, out);
  const int64_t plane = extent_[1] * extent_[2];
  std::copy_n(array_.begin() + (channel * extent_[0] + z) * plane, plane, out);
}

std::array<size_t, 3> axis_order(const std::string& from, const std::string& to) {
  std::array<size_t, 3> order;
  for (size_t i = 0; i < 3; ++i) order[i] = from.find(to.at(i));
  return order;
}

data::Volume<int32_t> read_label_volume(const std::string& path, const std::string& axes) {
  io::TiffOptions options;
  options.axes = "TYX";
  io::TiffMovie movie(path, options);
  data::Volume<int32_t> labels(movie.extent());
  labels.spacing = movie.spacing();
  if (movie.sample_type() == io::SampleType::i32 || movie.sample_type() == io::SampleType::u32) {
    movie.read_native(0, labels.extent[0], labels.voxels.data());
    if (movie.sample_type() == io::SampleType::u32)
      for (int64_t i = 0; i < labels.size(); ++i) {
        const int32_t l = labels.voxels[size_t(i)];
        check<FileError>(l >= 0, path, ": plane ", i / labels.frame_size(), " holds the label ", uint32_t(l),
                         " (expected below 2147483648). Number the objects anew, or write -1 for \"not annotated\" as int32.");
      }
  } else {
    std::vector<float> plane(size_t(labels.frame_size()));
    for (int64_t z = 0; z < labels.extent[0]; ++z) {
      movie.read(z, z + 1, plane.data());
      for (size_t i = 0; i < plane.size(); ++i) {
        check<FileError>(std::abs(plane[i]) <= float(1 << 24) && plane[i] == std::floor(plane[i]), path, ": plane ", z, " holds ", plane[i],
                         " (expected whole numbers: a label volume has one number per object).");
        labels.frame(z)[i] = int32_t(plane[i]);
      }
    }
  }
  return axes.empty() ? labels : permuted(labels, axis_order(without_channel(checked_axes(axes, "axes")), "ZYX"));
}

std::vector<data::Volume<float>> read_image_volume(const std::string& path, const VolumeOptions& options) {
  VolumeFile file(path, options);
  std::vector<data::Volume<float>> channels;
  for (int64_t c = 0; c < file.channels(); ++c) {
    data::Volume<float> image(file.extent());
    image.spacing = file.spacing();
    for (int64_t z = 0; z < image.extent[0]; ++z) file.read(z, c, image.frame(z));
    for (const float v : image.voxels) check<FileError>(std::isfinite(v), path, ": holds NaN or infinity.");
    channels.push_back(permuted(image, axis_order(file.axes(), "ZYX")));
  }
  return channels;
}

}  // namespace voxgrad::app

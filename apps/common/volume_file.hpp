// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Volumes from TIFF whose axes lie in any order, with or without channels.

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "voxgrad/data/volume.hpp"
#include "voxgrad/io/tiff.hpp"

namespace voxgrad::app {

struct VolumeOptions {
  std::string axes = {};         ///< of the file, slowest first: Z, Y and X in any order, and C where its channels lie. Empty: pages,
                                 ///< rows and columns are z, y and x; with channels, or a choice among them, the file says which pages are which
  int64_t channels = 1;          ///< how many are wanted; then the file must have as many
  int channel = 0;               ///< which one, from 1, if one is wanted of several
  bool trust_file = false;       ///< without axes: movies, whose files say what their pages are
  bool allow_truncated = false;  ///< work on the complete planes of an incomplete file
  bool sequence = false;         ///< the path is a folder of single planes
};

/// "ZCYX" in capitals, with Z for T and C for S. UsageError unless it has Z, Y and X once each and C at most once.
std::string checked_axes(const std::string& axes, const std::string& option);

/// A volume [d0,d1,d2] with channels, its axes in the order of the file; axes() names them. Read plane by plane, except for files whose
/// columns are channels without being called samples (tifffile's ZYXC): those are held in memory.
class VolumeFile {
 public:
  /// Errors: FileError as TiffMovie's, and for another number of channels or axes; UsageError for axes that are none.
  explicit VolumeFile(const std::string& path, const VolumeOptions& options = {});

  const std::string& path() const { return path_; }
  const io::TiffInfo& info() const { return movies_.front()->info(); }
  const std::string& axes() const { return axes_; }  ///< "ZYX", or another order
  data::Extent3 extent() const { return extent_; }
  data::Spacing spacing() const { return movies_.front()->spacing(); }  ///< z_um between planes, whatever they are
  int64_t channels() const { return channels_; }
  /// Plane `z` of [d0,...] as float, [d1,d2]; channel from 0.
  void read(int64_t z, int64_t channel, float* out);

 private:
  void open_array(const VolumeOptions& options, const std::string& axes);

  std::string path_, axes_ = "ZYX";
  std::vector<std::unique_ptr<io::TiffMovie>> movies_;  // one per channel, or the array as pages
  data::Extent3 extent_{};
  int64_t channels_ = 1;
  std::vector<float> array_;  // [channels, d0, d1, d2] where it had to be taken apart
};

/// Which axis of `from` is axis i of `to`, both such as "ZYX".
std::array<size_t, 3> axis_order(const std::string& from, const std::string& to);

/// The volume with axis i of the result being axis order[i].
template <class T>
data::Volume<T> permuted(const data::Volume<T>& v, const std::array<size_t, 3>& order) {
  if (order == std::array<size_t, 3>{0, 1, 2}) return v;
  const std::array<double, 3> um{v.spacing.z_um, v.spacing.y_um, v.spacing.x_um};
  data::Volume<T> out({v.extent[order[0]], v.extent[order[1]], v.extent[order[2]]});
  out.spacing = v.spacing;
  out.spacing.z_um = um[order[0]], out.spacing.y_um = um[order[1]], out.spacing.x_um = um[order[2]];
  data::Extent3 at{};
  T* to = out.voxels.data();
  for (at[order[0]] = 0; at[order[0]] < out.extent[0]; ++at[order[0]])
    for (at[order[1]] = 0; at[order[1]] < out.extent[1]; ++at[order[1]])
      for (at[order[2]] = 0; at[order[2]] < out.extent[2]; ++at[order[2]]) *to++ = v.at(at[0], at[1], at[2]);
  return out;
}

/// A label volume from TIFF: whole numbers, below 0 for "not annotated", its axes turned to z, y, x (`axes` as in VolumeOptions,
/// without C). FileError for fractions and numbers beyond 2^24 in float files, and 2^31 or more in uint32 files.
data::Volume<int32_t> read_label_volume(const std::string& path, const std::string& axes = "");
/// The channels of an image volume as float, turned to z, y, x.
std::vector<data::Volume<float>> read_image_volume(const std::string& path, const VolumeOptions& options = {});

}  // namespace voxgrad::app

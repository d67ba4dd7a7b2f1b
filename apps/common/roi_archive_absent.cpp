// SPDX-License-Identifier: BSD-3-Clause
// Stands for roi_archive.cpp in a build without libzip.

#include "imagej_roi.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

bool RoiArchive::can_write() { return false; }

void RoiArchive::write(const std::string& path) const {
  throw FileError(path + ": this build has no libzip, so ImageJ ROI archives cannot be written. Install libzip-dev and build again.");
}

}  // namespace voxgrad::app

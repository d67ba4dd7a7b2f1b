// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Classes of the objects of a label volume, as they stand beside it: a table, JSON, or a volume of classes.

#include <string>

#include "voxgrad/data/volume.hpp"
#include "voxgrad/stardist/targets.hpp"

namespace voxgrad::app {

/// The file with the classes of `masks`/NAME.tif: NAME.csv, .json, .tif or .tiff in the folder `classes` beside `masks`, or NAME.csv or
/// .json in `masks` itself; "" if there is none. FileError if there are two.
std::string class_file(const std::string& masks, const std::string& volume);

/// Reads one:
///   table   columns label and class, others are ignored; an empty class or 0: none, the object is left out of the class loss
///   JSON    {"7": 2, "8": null}; or one class, or null, for all objects
///   TIFF    a class for each voxel: an object has the one that most of its voxels have (below 0: none)
/// Errors: FileError naming file and label for a class outside of 0 to n_classes, an object of `labels` without a row (or key), and what
/// is none of these.
stardist::ObjectClasses read_object_classes(const std::string& path, const data::Volume<int32_t>& labels, int64_t n_classes);

/// FileError naming `path` and the first object without an entry.
void check_classes(const stardist::ObjectClasses& classes, const data::Volume<int32_t>& labels, const std::string& path);

/// Numbers the connected voxels of each class 1 to n_classes; labels below 0 stay. FileError for a number above n_classes.
stardist::ObjectClasses separate_classes(data::Volume<int32_t>& labels, int64_t n_classes, const std::string& path);
/// Gives every connected component of voxels above 0 its own number; negative labels stay.
void separate_components(data::Volume<int32_t>& labels);

}  // namespace voxgrad::app

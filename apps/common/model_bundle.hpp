// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A model folder in one file: a zip archive that every unpacker opens, marked as ours by its first entry.

#include <string>

namespace voxgrad::app {

/// Packs the files of a model folder, hidden ones left out, and an example if one is given ("" for none), as example/NAME.
/// FileError: larger than 4 GiB.
void write_bundle(const std::string& folder, const std::string& example, const std::string& path);
/// Unpacks a bundle below `folder`; returns the model folder in it. FileError: no bundle, damaged, or an entry that leaves the folder.
std::string unpack_bundle(const std::string& path, const std::string& folder);

/// A model as the user named it: a folder stays what it is, a bundle is unpacked into a temporary folder for this object's life.
class OpenedModel {
 public:
  explicit OpenedModel(const std::string& path);
  ~OpenedModel();
  OpenedModel(const OpenedModel&) = delete;
  OpenedModel& operator=(const OpenedModel&) = delete;

  const std::string& path() const { return path_; }
  bool bundle() const { return !temporary_.empty(); }

 private:
  std::string path_, temporary_;
};

}  // namespace voxgrad::app

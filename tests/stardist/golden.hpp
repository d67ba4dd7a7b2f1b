// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The Python package's numbers: small ones in tests/golden/stardist/geometry, large ones outside of this tree.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "../npy.hpp"
#include "voxgrad/io/hdf5.hpp"
#include "voxgrad/stardist/rays.hpp"

namespace voxgrad::test {

/// The set's file `name`, or "" (and a printed line) if this machine does not have it.
inline std::string shared_golden(const std::string& name, const char* what) {
  const char* set = std::getenv("VOXGRAD_SHARED");
  const std::string shared = set && *set ? set : std::string(VOXGRAD_SOURCE_DIR) + "/../shared";
  const std::string path = shared + "/data/golden/stardist/" + name;
  if (std::filesystem::exists(path)) return path;
  std::printf("skipped: %s (no data/golden/stardist/%s in VOXGRAD_SHARED or ../shared)\n", what, name.c_str());
  return "";
}

inline Npy geometry_golden(const std::string& name) { return read_npy(golden("stardist/geometry/" + name + ".npy")); }

inline std::vector<stardist::Triangle> triangles(const std::vector<int32_t>& flat) {
  std::vector<stardist::Triangle> out;
  for (size_t i = 0; i < flat.size(); i += 3) out.push_back({flat[i], flat[i + 1], flat[i + 2]});
  return out;
}

/// The rays of directions and triangles stored as flat arrays.
inline stardist::Rays explicit_rays(const std::vector<float>& vertices, const std::vector<int32_t>& faces) {
  stardist::Explicit e{{}, triangles(faces)};
  for (size_t i = 0; i < vertices.size(); i += 3) e.vertices0.push_back({vertices[i], vertices[i + 1], vertices[i + 2]});
  return stardist::make_rays(e);
}

/// Attribute `anisotropy` of a group, none where the group says that there was none.
inline std::optional<stardist::Vec3d> anisotropy_of(const io::H5File& file, const std::string& group) {
  if (file.attribute<int>(group, "anisotropy_is_none")[0] != 0) return std::nullopt;
  const std::vector<double> a = file.attribute<double>(group, "anisotropy");
  return stardist::Vec3d{a[0], a[1], a[2]};
}

}  // namespace voxgrad::test

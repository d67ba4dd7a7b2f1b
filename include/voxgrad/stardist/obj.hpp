// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Polyhedra as a Wavefront OBJ mesh, which 3-D viewers read.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <ostream>
#include <string>

#include "voxgrad/stardist/polyhedron.hpp"

namespace voxgrad::stardist {

struct ObjOptions {
  Vec3d scale{1, 1, 1};      ///< size of a voxel along z, y, x
  bool single_mesh = true;   ///< one object for all polyhedra, or one each
  bool uv_map = false;       ///< texture coordinates from the ray directions
  std::string name = "poly";
  int64_t first = 0;         ///< number behind the name of the first polyhedron
};

/// Writes vertices as x y z with enough decimals for the scale, and the rays' triangles, counted from 1.
/// Errors: as check_polyhedra(); UsageError for a scale that is not above 0; FileError when the stream fails.
inline void write_obj(std::ostream& out, const Polyhedra& p, const ObjOptions& options = {}) {
  check_polyhedra(p, "obj");
  check_positive("obj: scale is", options.scale);
  const Vec3d& s = options.scale;
  const int decimals = std::clamp(int(1 - std::log10(std::min({s[0], s[1], s[2]}))), 1, 30);
  std::array<char, 512> line;
  const auto put = [&](const char* format, auto... values) {
    const int length = std::snprintf(line.data(), line.size(), format, values...);
    out.write(line.data(), std::min(length, int(line.size()) - 1));
  };
  const int64_t rays = p.rays->size();
  for (int64_t i = 0; i < p.size(); ++i) {
    if (i == 0 || !options.single_mesh) out << "o " << options.name << '_' << options.first + i << '\n';
    for (int64_t r = 0; r < rays; ++r) {
      Vec3d v;
      for (size_t k = 0; k < 3; ++k)
        v[k] = (double(p.centre(i)[k]) + double(p.distances(i)[r] * p.rays->vertices[size_t(r)][k])) * s[k];
      put("v %.*f %.*f %.*f\n", decimals, v[2], decimals, v[1], decimals, v[0]);
    }
    if (options.uv_map)
      for (const Vec3f& ray : p.rays->vertices) {
        const Vec3d v = normalized({s[0] * double(ray[0]), s[1] * double(ray[1]), s[2] * double(ray[2])});
        put("vt %.4f %.4f\n", .5 - .5 * std::atan2(v[0], v[2]) / std::numbers::pi, .5 + std::asin(v[1]) / std::numbers::pi);
      }
    const long long first = i * rays + 1;
    for (const auto& [a, b, c] : p.rays->faces)
      put("f %lld/%lld %lld/%lld %lld/%lld\n", first + a, first + a, first + b, first + b, first + c, first + c);
  }
  check<FileError>(out.good(), "obj: the mesh cannot be written. Is the disk full?");
}

}  // namespace voxgrad::stardist

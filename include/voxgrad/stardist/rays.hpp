// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Ray directions of star-convex polyhedra and the triangles between them (Weigert et al., WACV 2020).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numbers>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/stardist/sphere_hull.hpp"

namespace voxgrad::stardist {

using Vec3f = std::array<float, 3>;  ///< in order z, y, x

// How rays are made: the names of the Python package's ray classes, whose arguments a model folder stores.

/// n >= 4 directions along a spiral from -z to +z, denser towards the axes on which objects are long.
struct GoldenSpiral {
  static constexpr const char* name = "Rays_GoldenSpiral";
  int64_t n = 70;
  std::optional<Vec3d> anisotropy;  ///< how many times shorter objects are along z, y, x; none: a sphere
};
/// A grid of n_rays_z polar by n_rays_x azimuth angles.
struct Cartesian {
  static constexpr const char* name = "Rays_Cartesian";
  int64_t n_rays_x = 11, n_rays_z = 5;
};
/// An octahedron whose edges are halved n_level - 1 times: 6, 18, 66, ... rays.
struct Octo {
  static constexpr const char* name = "Rays_Octo";
  int64_t n_level = 4;
};
/// A tetrahedron whose edges are halved n_level - 1 times: 4, 10, 34, ... rays.
struct Tetra {
  static constexpr const char* name = "Rays_Tetra";
  int64_t n_level = 4;
};
/// Directions and triangles as given; the length of a vertex scales its distance.
struct Explicit {
  static constexpr const char* name = "Rays_Explicit";
  std::vector<Vec3d> vertices0;
  std::vector<Triangle> faces0;
};
using RaysFrom = std::variant<GoldenSpiral, Cartesian, Octo, Tetra, Explicit>;

/// R directions and F triangles. A polyhedron with distances d has the vertices centre + d[r] * vertices[r], in voxels.
struct Rays {
  std::vector<Vec3f> vertices;  ///< [R] of length 1, unless scaled or explicit
  std::vector<Triangle> faces;  ///< [F], determinant of the three vertices <= 0
  RaysFrom from;                ///< what to store in order to make them again

  int64_t size() const { return int64_t(vertices.size()); }
  const char* name() const {
    return std::visit([](const auto& kind) { return kind.name; }, from);
  }
  std::optional<Vec3d> anisotropy() const {
    const GoldenSpiral* spiral = std::get_if<GoldenSpiral>(&from);
    return spiral ? spiral->anisotropy : std::nullopt;
  }
};

inline constexpr int64_t max_rays = 1 << 16;

/// Errors: UsageError unless z, y and x are finite and above 0.
inline void check_positive(const char* what, const Vec3d& v) {
  for (const double c : v)
    check<UsageError>(std::isfinite(c) && c > 0, what, " ", v[0], ", ", v[1], ", ", v[2],
                      " (expected three numbers above 0, in order z, y, x)");
}

inline Vec3d normalized(const Vec3d& v) {
  const double length = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
  return {v[0] / length, v[1] / length, v[2] / length};
}

inline std::vector<Vec3f> rounded(const std::vector<Vec3d>& vertices) {
  std::vector<Vec3f> out;
  for (const Vec3d& v : vertices) out.push_back({float(v[0]), float(v[1]), float(v[2])});
  return out;
}

/// Stretching a hull does not change its triangles, so they are those of the sphere for any anisotropy.
/// n = 4 is allowed, though two of its triangles contain the centre; use more.
inline Rays make_rays(const GoldenSpiral& k) {
  check<UsageError>(k.n >= 4 && k.n <= max_rays, "rays: n is ", k.n, " (expected 4 to ", max_rays, ")");
  if (k.anisotropy) check_positive("rays: anisotropy is", *k.anisotropy);
  const double turn = (3 - std::sqrt(5.0)) * std::numbers::pi, step = 2.0 / double(k.n - 1);
  const Vec3d a = k.anisotropy.value_or(Vec3d{1, 1, 1});
  std::vector<Vec3d> sphere, vertices;
  for (int64_t i = 0; i < k.n; ++i) {
    const double z = i == k.n - 1 ? 1.0 : double(i) * step - 1, rho = std::sqrt(1 - z * z), phi = turn * double(i);
    sphere.push_back({z, rho * std::sin(phi), rho * std::cos(phi)});
    const Vec3d& s = sphere.back();
    vertices.push_back(normalized({s[0] / a[0], s[1] / a[1], s[2] / a[2]}));
  }
  return {rounded(vertices), sphere_hull(sphere, {0, 1, 2, int32_t(k.n - 1)}), k};
}

/// The two poles are n_rays_x rays each, a hair apart.
inline Rays make_rays(const Cartesian& k) {
  const int64_t nx = k.n_rays_x, nz = k.n_rays_z;
  check<UsageError>(nx >= 3 && nz >= 2 && nx <= max_rays && nz <= max_rays / nx, "rays: n_rays_x is ", nx,
                    " and n_rays_z is ", nz, " (expected at least 3 and 2, and a product up to ", max_rays, ")");
  const double d_phi = double(float(2 * std::numbers::pi / double(nx)));
  const double d_theta = double(float(std::numbers::pi / double(nz)));
  constexpr double hair = 1e-12;
  Rays rays{{}, {}, k};
  for (int64_t z = 0; z < nz; ++z)
    for (int64_t x = 0; x < nx; ++x) {
      const bool top = z == 0, bottom = z == nz - 1;
      const double theta = top ? hair : bottom ? std::numbers::pi - hair : double(z) * d_theta, phi = double(x) * d_phi;
      const double moved = top || bottom ? hair : 0;
      rays.vertices.push_back({float(std::cos(theta)), float(std::sin(phi) * std::sin(theta) + moved),
                               float(std::cos(phi) * std::sin(theta) + moved)});
    }
  for (int64_t z = 0; z + 1 < nz; ++z)
    for (int64_t x = 0; x < nx; ++x) {
      const auto at = [&](int64_t dz, int64_t dx) { return int32_t((z + dz) * nx + (x + dx) % nx); };
      rays.faces.push_back({at(0, 0), at(1, 1), at(0, 1)});
      rays.faces.push_back({at(0, 0), at(1, 0), at(1, 1)});
    }
  return rays;
}

/// Halves every edge `levels` times; new vertices are pushed to the sphere and numbered as they come up.
inline Rays subdivided(std::vector<Vec3d> vertices, std::vector<Triangle> faces, int64_t levels, RaysFrom from) {
  for (; levels > 0; --levels) {
    std::map<std::pair<int32_t, int32_t>, int32_t> middles;
    const auto middle = [&](int32_t a, int32_t b) {
      const auto [at, is_new] = middles.try_emplace({std::min(a, b), std::max(a, b)}, int32_t(vertices.size()));
      const Vec3d &p = vertices[size_t(a)], &q = vertices[size_t(b)];
      if (is_new) vertices.push_back(normalized({p[0] + q[0], p[1] + q[1], p[2] + q[2]}));
      return at->second;
    };
    std::vector<Triangle> finer;
    for (const auto& [a, b, c] : faces) {
      const int32_t ab = middle(a, b), bc = middle(b, c), ca = middle(c, a);
      for (const Triangle& t : {Triangle{a, ab, ca}, {b, bc, ab}, {c, ca, bc}, {ab, bc, ca}}) finer.push_back(t);
    }
    faces = std::move(finer);
  }
  return {rounded(vertices), std::move(faces), std::move(from)};
}

inline void check_level(int64_t level) {
  check<UsageError>(level >= 1 && level <= 7, "rays: n_level is ", level, " (expected 1 to 7)");
}

inline Rays make_rays(const Octo& k) {
  check_level(k.n_level);
  return subdivided({{0, 0, 1}, {0, 1, 0}, {0, 0, -1}, {0, -1, 0}, {1, 0, 0}, {-1, 0, 0}},
                    {{0, 1, 4}, {0, 5, 1}, {1, 2, 4}, {1, 5, 2}, {2, 3, 4}, {2, 5, 3}, {3, 0, 4}, {3, 5, 0}},
                    k.n_level - 1, k);
}

inline Rays make_rays(const Tetra& k) {
  check_level(k.n_level);
  const double far = std::sqrt(8.0 / 9), half = std::sqrt(2.0 / 9), side = std::sqrt(2.0 / 3);
  return subdivided({{far, 0, -1.0 / 3}, {-half, side, -1.0 / 3}, {-half, -side, -1.0 / 3}, {0, 0, 1}},
                    {{0, 1, 2}, {0, 3, 1}, {0, 2, 3}, {1, 3, 2}}, k.n_level - 1, k);
}

inline Rays make_rays(const Explicit& k) {
  const int64_t n = int64_t(k.vertices0.size());
  check<UsageError>(n >= 4 && n <= max_rays, "rays: ", n, " vertices (expected 4 to ", max_rays, ")");
  check<UsageError>(k.faces0.size() >= 4, "rays: ", k.faces0.size(), " faces (a closed surface has at least 4)");
  for (const Vec3d& v : k.vertices0)
    check<UsageError>(std::isfinite(v[0]) && std::isfinite(v[1]) && std::isfinite(v[2]),
                      "rays: a vertex is not finite");
  for (const Triangle& t : k.faces0)
    for (const int32_t i : t)
      check<UsageError>(i >= 0 && i < n, "rays: a face names vertex ", i, " (there are ", n, ", counted from 0)");
  return {rounded(k.vertices0), k.faces0, k};
}

inline Rays make_rays(const RaysFrom& from) {
  return std::visit([](const auto& kind) { return make_rays(kind); }, from);
}

/// The same rays stretched along z, y, x; stored as they are from then on.
inline Rays scaled(const Rays& rays, const Vec3d& scale) {
  check_positive("rays: scale is", scale);
  Explicit e{{}, rays.faces};
  for (const Vec3f& v : rays.vertices)
    e.vertices0.push_back({double(v[0]) * scale[0], double(v[1]) * scale[1], double(v[2]) * scale[2]});
  return make_rays(e);
}

/// The same rays in a space whose axis order[k] is axis k of theirs; triangles are reversed where that mirrors them.
inline Rays turned(const Rays& rays, const std::array<size_t, 3>& order) {
  const bool mirrors = (order[0] + 1) % 3 != order[1];
  Explicit e{{}, rays.faces};
  for (const Vec3f& v : rays.vertices) {
    Vec3d& to = e.vertices0.emplace_back();
    for (size_t k = 0; k < 3; ++k) to.at(order[k]) = double(v[k]);
  }
  for (Triangle& t : e.faces0)
    if (mirrors) std::swap(t[1], t[2]);
  return make_rays(e);
}

/// Calls f(a, b, c) with the corners of every triangle, relative to the centre. dist: one distance per ray, voxels.
template <class F>
void for_each_triangle(const Rays& rays, const std::vector<float>& dist, F&& f) {
  check<ShapeError>(int64_t(dist.size()) == rays.size(), "rays: ", dist.size(), " distances for ", rays.size(), " rays");
  const auto corner = [&](int32_t i) {
    const Vec3f& v = rays.vertices[size_t(i)];
    const double d = double(dist[size_t(i)]);
    return Vec3d{d * double(v[0]), d * double(v[1]), d * double(v[2])};
  };
  for (const auto& [a, b, c] : rays.faces) f(corner(a), corner(b), corner(c));
}

/// Volume of the polyhedron, voxel^3.
inline double volume(const Rays& rays, const std::vector<float>& dist) {
  double sum = 0;
  for_each_triangle(rays, dist, [&](const Vec3d& a, const Vec3d& b, const Vec3d& c) { sum += determinant(a, b, c); });
  return -sum / 6;
}
/// Volume with all distances 1.
inline double volume(const Rays& rays) { return volume(rays, std::vector<float>(rays.vertices.size(), 1.f)); }

/// Surface of the polyhedron, voxel^2.
inline double surface(const Rays& rays, const std::vector<float>& dist) {
  double sum = 0;
  for_each_triangle(rays, dist, [&](const Vec3d& a, const Vec3d& b, const Vec3d& c) {
    const Vec3d u{b[0] - a[0], b[1] - a[1], b[2] - a[2]}, v{c[0] - a[0], c[1] - a[1], c[2] - a[2]};
    const Vec3d n{u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]};
    sum += std::sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]) / 2;
  });
  return sum;
}
/// Surface with all distances 1.
inline double surface(const Rays& rays) { return surface(rays, std::vector<float>(rays.vertices.size(), 1.f)); }

/// Length of each ray in a space stretched by the anisotropy: how much a voxel of error counts on it.
inline std::vector<double> dist_loss_weights(const Rays& rays, const Vec3d& anisotropy) {
  check_positive("rays: anisotropy is", anisotropy);
  std::vector<double> weights;
  for (const Vec3f& v : rays.vertices) {
    const double z = double(v[0]) * anisotropy[0], y = double(v[1]) * anisotropy[1], x = double(v[2]) * anisotropy[2];
    weights.push_back(std::sqrt(z * z + y * y + x * x));
  }
  return weights;
}

}  // namespace voxgrad::stardist

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Synthetic label volumes.

#include <cstdint>
#include <vector>

#include "../npy.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/data/volume.hpp"
#include "voxgrad/io/hdf5.hpp"

namespace voxgrad::test {

using data::Extent3;
using data::Volume;

/// `count` ellipsoids of at most `radius` voxels at random places, borders included; ids first, first + step, ...
template <class T>
Volume<T> ellipsoids(const Extent3& extent, int count, double radius, uint64_t seed, T first = 1, T step = 1) {
  Volume<T> volume(extent);
  Random random(seed);
  for (int k = 0; k < count; ++k) {
    double c[3], r[3];
    for (size_t a = 0; a < 3; ++a) c[a] = random.uniform() * double(extent[a]), r[a] = 0.6 + random.uniform() * radius;
    for (int64_t z = 0; z < extent[0]; ++z)
      for (int64_t y = 0; y < extent[1]; ++y)
        for (int64_t x = 0; x < extent[2]; ++x) {
          const double dz = (double(z) - c[0]) / r[0], dy = (double(y) - c[1]) / r[1], dx = (double(x) - c[2]) / r[2];
          if (dz * dz + dy * dy + dx * dx <= 1) volume.at(z, y, x) = T(first + T(k) * step);
        }
  }
  return volume;
}

template <class T>
Volume<T> volume_of(const Npy& npy) {
  Volume<T> volume({npy.shape[0], npy.shape[1], npy.shape[2]});
  for (size_t i = 0; i < npy.values.size(); ++i) volume.voxels[i] = T(npy.values[i]);
  return volume;
}

template <class T>
Volume<T> volume_of(const io::H5File& file, const std::string& dataset) {
  const std::vector<int64_t> shape = file.info(dataset).shape;
  Volume<T> volume({shape[0], shape[1], shape[2]});
  volume.voxels = file.read<T>(dataset);
  return volume;
}

/// The same labels in another type.
template <class To, class From>
Volume<To> as(const Volume<From>& from) {
  Volume<To> to(from.extent);
  for (size_t i = 0; i < from.voxels.size(); ++i) to.voxels[i] = To(from.voxels[i]);
  return to;
}

}  // namespace voxgrad::test

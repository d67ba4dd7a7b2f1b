// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Volumes with a few bright ellipsoids and a StarDist configuration so small that it learns them in seconds.

#include <filesystem>
#include <string>

#include "common/stardist_data.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/io/tiff.hpp"

/// 12x24x24 voxels with up to four balls of radius 3 to 4.5 apart from each other, each with its own number.
inline voxgrad::stardist::Example tiny_balls(uint64_t seed) {
  using namespace voxgrad;
  Random random(seed, 77);
  const data::Extent3 e{12, 24, 24};
  stardist::Example out{data::Volume<float>(e), data::Volume<int32_t>(e)};
  for (float& v : out.image.voxels) v = float(0.1 * random.normal());
  for (int32_t id = 1; id <= 4; ++id) {
    const double r = random.uniform(3, 4.5), cz = random.uniform(4, 8), cy = (id - 1) / 2 * 12 + random.uniform(5, 7),
                 cx = (id - 1) % 2 * 12 + random.uniform(5, 7);
    for (int64_t z = 0; z < e[0]; ++z)
      for (int64_t y = 0; y < e[1]; ++y)
        for (int64_t x = 0; x < e[2]; ++x)
          if ((double(z) - cz) * (double(z) - cz) + (double(y) - cy) * (double(y) - cy) + (double(x) - cx) * (double(x) - cx) <= r * r) {
            out.image.at(z, y, x) += 1;
            out.labels.at(z, y, x) = id * 300;  // beyond 8 bits, with gaps
          }
  }
  return out;
}

inline voxgrad::app::StarDistData tiny_stardist_data(int train, int valid) {
  std::vector<voxgrad::stardist::Example> a, b;
  for (int i = 0; i < train; ++i) a.push_back(tiny_balls(uint64_t(i)));
  for (int i = 0; i < valid; ++i) b.push_back(tiny_balls(uint64_t(100 + i)));
  return {std::make_shared<voxgrad::stardist::MemoryExamples>(std::move(a)), std::make_shared<voxgrad::stardist::MemoryExamples>(std::move(b)),
          "tiny", "percentile"};
}

/// 16 rays, grid 1,2,2, one level of 4 channels, patches of 8x16x16.
inline voxgrad::app::StarDistRun tiny_stardist_run(int64_t epochs, int64_t steps) {
  using namespace voxgrad;
  app::Config c;
  for (const char* assignment :
       {"type=stardist3d", "stardist_config.n_rays=16", "stardist_config.anisotropy=[1, 1, 1]", "stardist_config.unet_n_depth=1",
        "stardist_config.unet_n_filter_base=4", "stardist_config.net_conv_after_unet=8", "stardist_config.train_patch_size=[8, 16, 16]",
        "stardist_config.train_batch_size=2", "stardist_config.train_learning_rate=0.002", "seed=7"})
    c.assign(assignment);
  c.set("stardist_config.train_epochs", std::to_string(epochs), "test");
  c.set("stardist_config.train_steps_per_epoch", std::to_string(steps), "test");
  return app::stardist_run(c);
}

/// A folder with images and masks as a user has them.
inline void write_tiny_volumes(const std::string& folder, int count, bool binary = false) {
  using namespace voxgrad;
  for (int i = 0; i < count; ++i) {
    stardist::Example e = tiny_balls(uint64_t(i));
    data::Volume<uint16_t> image(e.image.extent), mask(e.image.extent);
    for (size_t k = 0; k < image.voxels.size(); ++k) {
      image.voxels[k] = uint16_t(1000 + 500 * std::max(-1.f, e.image.voxels[k]));
      mask.voxels[k] = uint16_t(binary ? e.labels.voxels[k] > 0 : e.labels.voxels[k]);
    }
    std::filesystem::create_directories(folder + "/images");
    std::filesystem::create_directories(folder + "/masks");
    io::write_tiff_movie(folder + text("/images/v", i, ".tif"), image);
    io::write_tiff_movie(folder + text("/masks/v", i, ".tif"), mask);
  }
}

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The plain detector that networks are compared with: a voxel is active when its smoothed brightness stands
// out of what the same pixel does in quiet frames. It misses faint events, as the detectors behind real
// training labels do.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "voxgrad/data/crops.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::data {

/// Calls visit(t, frame) with every frame averaged over 3x3 pixels and 3 frames (fewer at the borders).
/// `read_frame(t, float* out)` gives the preprocessed frames, in order.
template <class ReadFrame, class Visit>
void for_each_smoothed(const Extent3& extent, ReadFrame&& read_frame, Visit&& visit) {
  const int64_t frames = extent[0], h = extent[1], w = extent[2], n = h * w;
  std::vector<float> raw(static_cast<size_t>(n)), rows(raw.size()), smooth(raw.size());
  std::vector<std::vector<float>> ring(3, std::vector<float>(raw.size()));
  const auto load = [&](int64_t t) {
    read_frame(t, raw.data());
    for (int64_t y = 0; y < h; ++y)
      for (int64_t x = 0; x < w; ++x) {
        const float* p = raw.data() + y * w;
        rows[size_t(y * w + x)] = (p[std::max<int64_t>(0, x - 1)] + p[x] + p[std::min(w - 1, x + 1)]) / 3;
      }
    std::vector<float>& out = ring[size_t(t % 3)];
    for (int64_t y = 0; y < h; ++y) {
      const float *a = rows.data() + std::max<int64_t>(0, y - 1) * w, *b = rows.data() + y * w;
      const float* c = rows.data() + std::min(h - 1, y + 1) * w;
      for (int64_t x = 0; x < w; ++x) out[size_t(y * w + x)] = (a[x] + b[x] + c[x]) / 3;
    }
  };
  load(0);
  for (int64_t t = 0; t < frames; ++t) {
    if (t + 1 < frames) load(t + 1);
    const auto& before = ring[size_t(std::max<int64_t>(0, t - 1) % 3)];
    const auto& here = ring[size_t(t % 3)];
    const auto& after = ring[size_t(std::min(frames - 1, t + 1) % 3)];
    for (size_t i = 0; i < smooth.size(); ++i) smooth[i] = (before[i] + here[i] + after[i]) / 3;
    visit(t, smooth.data());
  }
}

/// 1 where the smoothed movie exceeds mean + k * sd of its pixel; mean and sd leave out values above mean + 2
/// sd of a first round, so that events do not hide themselves. read_frame is called three times over all
/// frames.
template <class ReadFrame>
Volume<uint8_t> intensity_rule(const Extent3& extent, ReadFrame&& read_frame, double k) {
  const auto pixels = size_t(extent[1] * extent[2]);
  std::vector<float> limit(pixels, INFINITY);
  for (int round = 0; round < 2; ++round) {
    std::vector<double> sum(pixels), squares(pixels), count(pixels);
    for_each_smoothed(extent, read_frame, [&](int64_t, const float* s) {
      for (size_t i = 0; i < pixels; ++i)
        if (s[i] <= limit[i]) sum[i] += double(s[i]), squares[i] += double(s[i]) * double(s[i]), ++count[i];
    });
    for (size_t i = 0; i < pixels; ++i) {
      const double mean = sum[i] / count[i], variance = std::max(0.0, squares[i] / count[i] - mean * mean);
      limit[i] = float(mean + (round == 0 ? 2 : k) * std::sqrt(variance));
    }
  }
  Volume<uint8_t> mask(extent);
  for_each_smoothed(extent, read_frame, [&](int64_t t, const float* s) {
    for (size_t i = 0; i < pixels; ++i) mask.frame(t)[i] = s[i] > limit[i];
  });
  return mask;
}

/// Numbers the 26-connected components of a mask, drops those whose box is smaller than `smallest`, and gives
/// one row per component left. The result's values are the ids of the rows; more than 65535 components is a
/// ShapeError.
inline std::vector<Event> number_components(const Volume<uint8_t>& mask, const Extent3& smallest,
                                            Volume<uint16_t>& out) {
  out = Volume<uint16_t>(mask.extent);
  const auto [frames, h, w] = mask.extent;
  std::vector<uint8_t> seen(mask.voxels.size());
  std::vector<int64_t> members;
  std::vector<Event> rows;
  for (int64_t start = 0; start < mask.size(); ++start) {
    if (mask.voxels[size_t(start)] == 0 || seen[size_t(start)]) continue;
    members.assign(1, start);
    seen[size_t(start)] = 1;
    Box3 box{{frames, h, w}, {0, 0, 0}};
    for (size_t next = 0; next < members.size(); ++next) {
      const int64_t i = members[next], t = i / (h * w), y = i / w % h, x = i % w;
      const Extent3 at{t, y, x};
      for (size_t a = 0; a < 3; ++a)
        box.start[a] = std::min(box.start[a], at[a]), box.stop[a] = std::max(box.stop[a], at[a] + 1);
      for (int64_t nt = std::max<int64_t>(0, t - 1); nt <= std::min(frames - 1, t + 1); ++nt)
        for (int64_t ny = std::max<int64_t>(0, y - 1); ny <= std::min(h - 1, y + 1); ++ny)
          for (int64_t nx = std::max<int64_t>(0, x - 1); nx <= std::min(w - 1, x + 1); ++nx) {
            const int64_t n = (nt * h + ny) * w + nx;
            if (mask.voxels[size_t(n)] == 0 || seen[size_t(n)]) continue;
            seen[size_t(n)] = 1;
            members.push_back(n);
          }
    }
    const Extent3 size = box.size();
    if (size[0] < smallest[0] || size[1] < smallest[1] || size[2] < smallest[2]) continue;
    const auto id = int64_t(rows.size()) + 1;
    check<ShapeError>(id < 65536, "intensity rule: more than 65535 components; raise the threshold.");
    for (int64_t m : members) out.voxels[size_t(m)] = uint16_t(id);
    rows.push_back({id, box.start[0], box.stop[0], box.start[1], box.stop[1], box.start[2], box.stop[2]});
  }
  return rows;
}

}  // namespace voxgrad::data

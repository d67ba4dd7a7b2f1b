// SPDX-License-Identifier: BSD-3-Clause
#include "label_rule.hpp"

#include "voxgrad/metrics/components.hpp"

namespace voxgrad::app {
namespace {

constexpr uint8_t unlabeled = 0, positive = 1, ignored = 255;

uint8_t class_of(double number, bool codes, int64_t voxel, const data::Extent3& size, const std::string& where) {
  if (codes ? number == 0 || number == 1 || number == 2 || number == 255 : number >= 0) return codes ? uint8_t(number) : number > 0;
  const int64_t plane = size[1] * size[2];
  throw FileError(text(where, ": holds the label ", number, " (at ", voxel / plane, ", ", voxel % plane / size[2], ", ", voxel % size[2],
                       " of a crop), ",
                       codes ? "but pu.labels is codes: 0 unlabeled, 1 positive, 2 known negative, 255 ignored."
                             : "expected 0 where nothing is labelled, above 0 in events."));
}

/// Marks every voxel within `reach` of a marked one, diagonals included: one axis after the other.
void widen(std::vector<uint8_t>& mask, const data::Extent3& size, int64_t reach) {
  const int64_t strides[3] = {size[1] * size[2], size[2], 1};
  for (size_t axis = 0; axis < 3; ++axis) {
    const std::vector<uint8_t> from = mask;
    for (int64_t i = 0; i < int64_t(from.size()); ++i) {
      if (from[size_t(i)] == 0) continue;
      const int64_t at = i / strides[axis] % size[axis];
      for (int64_t d = -std::min(reach, at); d <= std::min(reach, size[axis] - 1 - at); ++d) mask[size_t(i + d * strides[axis])] = 1;
    }
  }
}

/// 1 / (voxels of the event) in events, 1 elsewhere. Events are connected voxels of one number.
std::vector<float> event_weights(const std::vector<double>& labels, const std::vector<uint8_t>& classes, const data::Extent3& size) {
  std::vector<double> events(labels.size());
  for (size_t i = 0; i < events.size(); ++i) events[i] = classes[i] == positive ? labels[i] : 0;
  const metrics::Components c = metrics::label_frames<double>(size, [&](int64_t t) { return events.data() + t * size[1] * size[2]; });
  std::vector<double> voxels(c.count + 1, 0.0);
  for (uint32_t event : c.labels.voxels) ++voxels[event];
  std::vector<float> weight(labels.size(), 1.0f);
  for (size_t i = 0; i < weight.size(); ++i)
    if (const uint32_t event = c.labels.voxels[i]; event > 0) weight[i] = float(1 / voxels[event]);
  return weight;
}

}  // namespace

data::LabelRule label_rule(const PuConfig& config) {
  const bool codes = config.labels == "codes", balance = config.balance_events;
  const int64_t border = config.ignore_border;
  if (!codes && !balance && border == 0) return {};
  return {border, [=](const std::vector<double>& labels, const data::Extent3& size, const data::Box3& inside, const std::string& where,
                      data::Crop& crop) {
            std::vector<uint8_t> classes(labels.size());
            for (size_t i = 0; i < labels.size(); ++i) classes[i] = class_of(labels[i], codes, int64_t(i), size, where);
            std::vector<uint8_t> shell;
            if (border > 0) {
              for (uint8_t c : classes) shell.push_back(c == positive);
              widen(shell, size, border);
            }
            const std::vector<float> weight = balance ? event_weights(labels, classes, size) : std::vector<float>();
            crop.target.clear();
            for (int64_t t = inside.start[0]; t < inside.stop[0]; ++t)
              for (int64_t y = inside.start[1]; y < inside.stop[1]; ++y)
                for (int64_t x = inside.start[2]; x < inside.stop[2]; ++x) {
                  const size_t i = size_t((t * size[1] + y) * size[2] + x);
                  crop.target.push_back(border > 0 && classes[i] == unlabeled && shell[i] ? ignored : classes[i]);
                  if (balance) crop.weight.push_back(weight[i]);
                }
          }};
}

}  // namespace voxgrad::app

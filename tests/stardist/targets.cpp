// SPDX-License-Identifier: BSD-3-Clause
// Training targets of a patch, where patches come from, and what is done to images and labels before.

#include "voxgrad/stardist/targets.hpp"

#include <cmath>
#include <map>
#include <set>

#include "../catch.hpp"
#include "../message.hpp"
#include "golden.hpp"
#include "volumes.hpp"
#include "voxgrad/data/label_holes.hpp"
#include "voxgrad/data/percentiles.hpp"
#include "voxgrad/stardist/patch_sampler.hpp"

using namespace voxgrad;
using namespace voxgrad::stardist;
using data::Volume;
using test::ellipsoids;
using test::geometry_golden;
using test::message;

namespace {

std::vector<float> class_targets(const Volume<int32_t>& labels, const ObjectClasses& classes, int n_classes, const Grid& grid) {
  std::vector<float> out(size_t(data::voxel_count(grid_extent(labels.extent, grid)) * (n_classes + 1)), 7.f);
  write_class_targets(LabelView(labels), classes, n_classes, grid, out.data());
  return out;
}

/// Rows (label, class) with -1 for none.
ObjectClasses classes_of(const std::vector<double>& rows) {
  ObjectClasses classes;
  for (size_t i = 0; i < rows.size(); i += 2)
    classes.of_label[int64_t(rows[i])] = rows[i + 1] < 0 ? std::nullopt : std::optional<int>(int(rows[i + 1]));
  return classes;
}

/// Whether SciPy puts the last sample of an axis behind its end, by a rounding error, and makes it 0.
bool falls_off(int64_t n, int64_t samples) { return samples > 1 && double(samples - 1) * (double(n - 1) / double(samples - 1)) > double(n - 1); }

std::vector<float> floats(const std::vector<double>& values) { return {values.begin(), values.end()}; }

}  // namespace

TEST_CASE("targets: probability, distances and mask; voxels without annotation are left out of the first only") {
  auto labels = ellipsoids<int32_t>({6, 12, 13}, 8, 5, 4);
  auto cleaned = labels;
  for (size_t i = 0; i < labels.voxels.size(); i += 3) labels.voxels[i] = -2, cleaned.voxels[i] = 0;
  const Rays rays = make_rays(GoldenSpiral{8, {}});
  const Grid grid{1, 2, 2};
  const Vec3d anisotropy{2, 1, 1};
  std::vector<float> prob(6 * 6 * 7, 9.f), dist(prob.size() * 9, 9.f);
  write_targets(LabelView(labels), rays, anisotropy, grid, prob.data(), dist.data());
  const DistanceMap expected = star_distances(cleaned, rays, grid);
  const auto depth = object_probability(cleaned, anisotropy, grid);
  int left_out = 0;
  for (size_t i = 0; i < prob.size(); ++i) {
    const size_t z = i / 42, y = i / 7 % 6 * 2, x = i % 7 * 2;
    const bool annotated = labels.voxels[(z * 12 + y) * 13 + x] >= 0;
    left_out += !annotated;
    CHECK(prob[i] == (annotated ? depth.voxels[i] : -1.f));
    CHECK(dist[i * 9 + 8] == depth.voxels[i]);
    for (size_t r = 0; r < 8; ++r) CHECK(dist[i * 9 + r] == expected.data()[i * 8 + r]);
  }
  CHECK(left_out > 10);
}

TEST_CASE("classes: one-hot on the grid as in the Python package") {
  auto labels = test::volume_of<int32_t>(geometry_golden("patches_labels"));
  Volume<int32_t> cut({8, 12, 12});
  for (int64_t z = 0; z < 8; ++z)
    for (int64_t y = 0; y < 12; ++y)
      for (int64_t x = 0; x < 12; ++x) cut.at(z, y, x) = labels.at(z, y, x);
  CHECK(class_targets(cut, classes_of(geometry_golden("patches_class_of").values), 2, {2, 2, 4}) ==
        floats(geometry_golden("patches_classes").values));
  std::map<std::pair<int64_t, int64_t>, std::vector<int64_t>> zoomed;
  const auto rows = geometry_golden("patches_zoom").values;  // n, grid, samples, sample, position
  for (size_t i = 0; i < rows.size(); i += 5) zoomed[{int64_t(rows[i]), int64_t(rows[i + 1])}].push_back(int64_t(rows[i + 4]));
  int fell = 0;
  for (auto& [key, positions] : zoomed) {
    INFO("axis " << key.first << " grid " << key.second);
    if (falls_off(key.first, int64_t(positions.size()))) {
      CHECK(positions.back() == 0);
      positions.back() = key.first - 1;
      ++fell;
    }
    CHECK(shrunk_positions(key.first, key.second) == positions);
  }
  CHECK(fell > 0);
}

TEST_CASE("classes: one for all, none for all, none without annotation, and labels that nobody classified") {
  Volume<int32_t> labels({1, 1, 4});
  labels.voxels = {0, 5, -1, 9};
  using Floats = std::vector<float>;
  CHECK(class_targets(labels, {{}, true, 2}, 2, {1, 1, 1}) == Floats{1, 0, 0, 0, 0, 1, -1, -1, -1, 0, 0, 1});
  CHECK(class_targets(labels, {{}, true, std::nullopt}, 1, {1, 1, 1}) == Floats{1, 0, 0, -1, -1, -1, 0, -1});
  CHECK(message<UsageError>([&] { class_targets(labels, {{{5, 1}}}, 1, {1, 1, 1}); }) == "classes: label 9 has no class");
  CHECK(message<UsageError>([&] { class_targets(labels, {{}, true, 3}, 2, {1, 1, 1}); }).find(" has class 3 (expected 0 to 2)") !=
        std::string::npos);
  CHECK(message<UsageError>([&] { class_targets(labels, {{}, true, 1}, 0, {1, 1, 1}); }) == "classes: n_classes is 0 (expected 1 or more)");
  CHECK(message<ShapeError>([] { class_targets(Volume<int32_t>({1, 1, 9}), {{}, true, 1}, 1, {1, 1, 4}); }) ==
        "classes: an axis of 9 voxels gives 2 samples on a grid of 4, but 3 distances. Use a multiple of the grid.");
}

TEST_CASE("patches: those with an object, as in the Python package") {
  const auto labels = test::volume_of<uint16_t>(geometry_golden("patches_labels"));
  for (const auto& [name, patch] : {std::pair<const char*, Extent3>{"even", {4, 6, 8}}, {"odd", {3, 1, 15}}}) {
    INFO(name);
    const PatchSampler sampler{LabelView(labels), patch};
    std::vector<double> starts;
    for (int64_t k = 0; k < sampler.with_object(); ++k)
      for (const int64_t c : sampler.start_with_object(k)) starts.push_back(double(c));
    CHECK(starts == geometry_golden(std::string("patches_") + name).values);
    CHECK(sampler.all() == (labels.extent[0] - patch[0] + 1) * (labels.extent[1] - patch[1] + 1) * (labels.extent[2] - patch[2] + 1));
    CHECK(sampler.start(sampler.all() - 1) ==
          Extent3{labels.extent[0] - patch[0], labels.extent[1] - patch[1], labels.extent[2] - patch[2]});
  }
}

TEST_CASE("patches: drawn evenly, with objects as often as asked") {
  Volume<int16_t> labels({2, 3, 20}, -1);
  labels.at(1, 1, 4) = labels.at(1, 2, 15) = 3;
  const PatchSampler sampler{LabelView(labels), {2, 2, 1}};
  CHECK(sampler.all() == 40);
  CHECK(sampler.with_object() == 3);
  Random random(1);
  std::map<Extent3, int> drawn;
  for (int i = 0; i < 6000; ++i) ++drawn[sampler.draw(random, 1)];
  REQUIRE(drawn.size() == 3);
  for (const auto& [start, count] : drawn) CHECK(std::abs(count - 2000) < 200);
  drawn.clear();
  for (int i = 0; i < 8000; ++i) ++drawn[sampler.draw(random, 0)];
  CHECK(drawn.size() == 40);
  const PatchSampler none{LabelView(Volume<uint8_t>({2, 2, 2})), {1, 1, 1}};
  CHECK(none.with_object() == 0);
  drawn.clear();
  for (int i = 0; i < 400; ++i) ++drawn[none.draw(random, 1)];
  CHECK(drawn.size() == 8);  // anywhere
  CHECK(message<ShapeError>([&] { PatchSampler(LabelView(labels), {2, 4, 1}); }) ==
        "patches: a patch of 2x4x1 voxels does not fit into 2x3x20");
}

TEST_CASE("label holes: filled as in the Python package; what lies inside stays") {
  const auto labels = test::volume_of<int32_t>(geometry_golden("holes_labels"));
  const auto expected = test::volume_of<int32_t>(geometry_golden("holes_filled"));
  CHECK(data::fill_label_holes(labels).voxels == expected.voxels);
  CHECK(labels.voxels != expected.voxels);
  Volume<int32_t> nested({7, 7, 7}, 9);  // a shell around a shell of lower id around one voxel without annotation
  for (int64_t z = 1; z < 6; ++z)
    for (int64_t y = 1; y < 6; ++y)
      for (int64_t x = 1; x < 6; ++x) {
        const int64_t ring = std::max({std::abs(z - 3), std::abs(y - 3), std::abs(x - 3)});
        nested.at(z, y, x) = ring == 2 ? 0 : ring == 1 ? 4 : -1;
      }
  nested.at(3, 3, 4) = 0;
  const auto filled = data::fill_label_holes(nested);
  CHECK(filled.at(1, 3, 3) == 9);
  CHECK(filled.at(2, 3, 3) == 4);
  CHECK(filled.at(3, 3, 3) == -1);
  CHECK(filled.at(3, 3, 4) == 9);  // the inner shell is open here
  nested.at(0, 3, 3) = 0;  // a way out of the outer shell
  CHECK(data::fill_label_holes(nested).at(1, 3, 3) == 0);
}

TEST_CASE("label extents: medians of bounding boxes, of one volume and of several") {
  const auto labels = test::volume_of<int32_t>(geometry_golden("holes_labels"));
  const auto part = [&](const Extent3& extent) {
    Volume<int32_t> v(extent);
    for (int64_t z = 0; z < extent[0]; ++z)
      for (int64_t y = 0; y < extent[1]; ++y)
        for (int64_t x = 0; x < extent[2]; ++x) v.at(z, y, x) = labels.at(z, y, x);
    return v;
  };
  const auto expected = geometry_golden("extents").values;
  const auto one = data::median_extents<int32_t>({labels}), three = data::median_extents<int32_t>({labels, part({5, 14, 15}), part({9, 7, 15})});
  for (size_t a = 0; a < 3; ++a) CHECK((one[a] == expected[a] && three[a] == expected[3 + a]));
  CHECK(data::median_extents<uint8_t>({Volume<uint8_t>({2, 2, 2})}) == std::array<double, 3>{0, 0, 0});
  CHECK(data::median_extents<int32_t>({Volume<int32_t>({2, 2, 2}), labels, Volume<int32_t>({2, 2, 2})}) == one);  // empty ones say nothing
}

TEST_CASE("percentiles: between neighbours as NumPy does, and intensities scaled by them") {
  auto values = geometry_golden("percentiles").values;
  const std::vector<double> expected(values.end() - 6, values.end());
  values.resize(values.size() - 6);
  const double percent[] = {0, 1, 25, 50, 99.8, 100};
  for (size_t i = 0; i < 6; ++i) CHECK(data::percentile(values, percent[i]) == Approx(expected[i]).epsilon(1e-12));
  const auto scaled = data::normalize_percentiles(std::vector<uint16_t>{10, 30, 20, 40, 50}, 0, 100);
  CHECK(scaled == std::vector<float>{0, 0.5f, 0.25f, 0.75f, 1});
  CHECK(data::normalize_percentiles(std::vector<float>(9, 3.f)) == std::vector<float>(9, 0.f));
  std::vector<float> bad{1, std::nanf("")}, none;
  CHECK(message<ShapeError>([&] { (void)data::percentile(bad, 1); }) == "percentile: a value is not a number");
  CHECK(message<ShapeError>([&] { (void)data::percentile(none, 1); }) == "percentile: there are no values");
  CHECK(message<UsageError>([&] { (void)data::percentile(values, 101); }) == "percentile: 101 (expected 0 to 100)");
  CHECK(message<UsageError>([&] { (void)data::normalize_percentiles(values, 5, 5); }) ==
        "normalize: percentiles 5 and 5 (the first must be below the second)");
}

TEST_CASE("targets: the large golden set") {
  const std::string steps = test::shared_golden("train_steps.h5", "targets of a data generator"), utils = test::shared_golden("utils.h5", "label utilities"),
                    predict = test::shared_golden("predict.h5", "normalisation of an image");
  if (steps.empty() || utils.empty() || predict.empty()) return;
  {
    const io::H5File file(steps);
    const std::string g = "/generator_full_image";
    const auto labels = test::volume_of<int32_t>(file, g + "/label");
    const auto a = file.attribute<double>(g, "anisotropy");
    const auto grid = file.attribute<int64_t>(g, "grid");
    const Vec3d anisotropy{a[0], a[1], a[2]};
    const auto prob = file.read<float>(g + "/prob"), dist = file.read<float>(g + "/dist_mask");
    const Rays rays = make_rays(GoldenSpiral{file.attribute<int64_t>(g, "n_rays")[0], anisotropy});
    std::vector<float> our_prob(prob.size()), our_dist(dist.size());
    write_targets(LabelView(labels), rays, anisotropy, {grid[0], grid[1], grid[2]}, our_prob.data(), our_dist.data());
    double worst = 0;
    for (size_t i = 0; i < prob.size(); ++i) worst = std::max(worst, std::abs(double(prob[i]) - double(our_prob[i])));
    for (size_t i = 0; i < dist.size(); ++i) worst = std::max(worst, std::abs(double(dist[i]) - double(our_dist[i])));
    CHECK(worst < 1e-6);
    const auto classes = class_targets(labels, classes_of(file.read<double>(g + "/class_of_label")), 2, {grid[0], grid[1], grid[2]});
    const auto theirs = file.read<float>(g + "/prob_class");
    const Extent3 e = grid_extent(labels.extent, {grid[0], grid[1], grid[2]});
    REQUIRE(classes.size() == theirs.size());
    size_t different = 0;
    for (int64_t i = 0; i < int64_t(theirs.size()); ++i) {
      const int64_t at[] = {i / (3 * e[1] * e[2]), i / (3 * e[2]) % e[1], i / 3 % e[2]};
      bool off = false;
      for (size_t axis = 0; axis < 3; ++axis) off = off || (at[axis] == e[axis] - 1 && falls_off(labels.extent[axis], e[axis]));
      different += off ? theirs[size_t(i)] > 0 : theirs[size_t(i)] != classes[size_t(i)];
    }
    CHECK(different == 0);
  }
  {
    const io::H5File file(utils);
    CHECK(data::fill_label_holes(test::volume_of<int32_t>(file, "/fill_label_holes/input")).voxels == file.read<int32_t>("/fill_label_holes/output"));
    const auto extents = data::median_extents<int32_t>({test::volume_of<int32_t>(file, "/calculate_extents/input")});
    CHECK(std::vector<double>(extents.begin(), extents.end()) == file.read<double>("/calculate_extents/median"));
    CHECK(class_targets(test::volume_of<int32_t>(file, "/mask_to_categorical/input"), classes_of(file.read<double>("/mask_to_categorical/class_of_label")), 3,
                        {1, 1, 1}) == file.read<float>("/mask_to_categorical/output"));
    const auto p = file.attribute<int64_t>("/valid_inds", "patch_size");
    const auto labels = test::volume_of<int32_t>(file, "/valid_inds/label");
    const PatchSampler sampler{LabelView(labels), {p[0], p[1], p[2]}};
    std::vector<int64_t> all, object;  // centres
    for (int64_t k = 0; k < sampler.all(); ++k)
      for (size_t a = 0; a < 3; ++a) all.push_back(sampler.start(k)[a] + p[a] / 2);
    for (int64_t k = 0; k < sampler.with_object(); ++k)
      for (size_t a = 0; a < 3; ++a) object.push_back(sampler.start_with_object(k)[a] + p[a] / 2);
    CHECK(all == file.read<int64_t>("/valid_inds/all"));
    CHECK(object == file.read<int64_t>("/valid_inds/foreground"));
  }
  const io::H5File file(predict);
  const auto ours = data::normalize_percentiles(file.read<uint16_t>("/image_raw")), theirs = file.read<float>("/image_normalized");
  double worst = 0;
  for (size_t i = 0; i < ours.size(); ++i) worst = std::max(worst, std::abs(double(ours[i]) - double(theirs[i])));
  CHECK(worst < 1e-6);
}

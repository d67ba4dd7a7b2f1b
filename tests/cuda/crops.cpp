// SPDX-License-Identifier: BSD-3-Clause
// Batches from resident volumes against data::Loader, bit for bit, over epochs.
#include "voxgrad/cuda/kernels/crops.hpp"

#include "emulated.hpp"
#include "numbers.hpp"
#include "voxgrad/data/loader.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using test::Guarded;

namespace {

/// Three movies of different types on the "card", and the CPU's crops of them.
struct Movies {
  static constexpr int64_t edge = 8;
  std::vector<data::Extent3> extents{{9, 20, 17}, {8, 8, 8}, {5, 12, 30}};
  test::Vector<float> f32;
  test::Vector<uint8_t> u8;
  test::Vector<uint16_t> u16;
  std::vector<test::Vector<uint8_t>> masks;
  test::Vector<float> weight, propensity, fractions;
  test::Vector<ResidentVolume> volumes;
  test::Vector<CropBox> crops;

  Movies() {
    test::Numbers numbers(5);
    for (const data::Extent3& e : extents) {
      test::Vector<uint8_t> mask(size_t(data::voxel_count(e)));
      for (uint8_t& m : mask) m = uint8_t(numbers.below(3));
      masks.push_back(mask);
    }
    for (size_t i = 0; i < masks[0].size(); ++i) f32.push_back(i % 7 == 0 ? -0.0f : numbers.between(-3, 3));
    for (size_t i = 0; i < masks[1].size(); ++i) u8.push_back(uint8_t(numbers.below(256)));
    for (size_t i = 0; i < masks[2].size(); ++i) u16.push_back(uint16_t(numbers.below(65536)));
    for (size_t i = 0; i < masks[0].size(); ++i) weight.push_back(numbers.between(0, 2)), propensity.push_back(numbers.between(0.1, 1));
    volumes.push_back(volume(0, f32.data(), VoxelType::f32, 0, 1));
    volumes[0].weight = weight.data();
    volumes[0].propensity = propensity.data();
    volumes.push_back(volume(1, u8.data(), VoxelType::u8, 12.5f, 1 / 77.0f));
    volumes.push_back(volume(2, u16.data(), VoxelType::u16, 1000.3f, 0.00123f));
    for (int i = 0; i < 13; ++i) {
      const auto v = int32_t(numbers.below(3));
      const data::Extent3 e = extents[size_t(v)];
      const data::Extent3 centre{numbers.below(e[0]), numbers.below(e[1]), numbers.below(e[2])};
      const data::Box3 box = data::event_box(centre, e, edge);
      CropBox crop{v, {}, {}};
      for (size_t a = 0; a < 3; ++a) crop.start[a] = int32_t(box.start[a]), crop.size[a] = int32_t(box.size()[a]);
      crops.push_back(crop);
    }
  }
  ResidentVolume volume(size_t i, const void* voxels, VoxelType type, float offset, float scale) const {
    return {voxels, masks[i].data(), nullptr, nullptr, {int32_t(extents[i][0]), int32_t(extents[i][1]), int32_t(extents[i][2])}, offset, scale, type, VoxelType::u8};
  }

  /// What the CPU cuts: box, then mirrors.
  template <class T, class Of>
  static std::vector<T> cut(const CropBox& box, Of&& of) {
    const data::Extent3 n{box.size[0], box.size[1], box.size[2]}, full{edge, edge, edge};
    std::vector<T> in, out(size_t(data::voxel_count(full)));
    for (int64_t t = 0; t < n[0]; ++t)
      for (int64_t y = 0; y < n[1]; ++y)
        for (int64_t x = 0; x < n[2]; ++x) in.push_back(T(of(box.start[0] + t, box.start[1] + y, box.start[2] + x)));
    data::pad_end_symmetric(in.data(), n, out.data(), full);
    return out;
  }
  std::shared_ptr<data::MemorySource> source() const {
    std::vector<data::Crop> all;
    for (const CropBox& box : crops) {
      const ResidentVolume& v = volumes[size_t(box.volume)];
      const auto at = [&](int64_t t, int64_t y, int64_t x) { return size_t((t * v.extent[1] + y) * v.extent[2] + x); };
      data::Crop crop;
      crop.input = cut<float>(box, [&](int64_t t, int64_t y, int64_t x) {
        const size_t i = at(t, y, x);
        if (box.volume == 0) return f32[i];
        return (float(box.volume == 1 ? u8[i] : u16[i]) - v.offset) * v.scale;
      });
      crop.target = cut<uint8_t>(box, [&](int64_t t, int64_t y, int64_t x) { return masks[size_t(box.volume)][at(t, y, x)]; });
      if (box.volume == 0) {
        crop.weight = cut<float>(box, [&](int64_t t, int64_t y, int64_t x) { return weight[at(t, y, x)]; });
        crop.propensity = cut<float>(box, [&](int64_t t, int64_t y, int64_t x) { return propensity[at(t, y, x)]; });
      }
      all.push_back(std::move(crop));
    }
    return std::make_shared<data::MemorySource>(data::Extent3{edge, edge, edge}, std::move(all));
  }
};

template <class T>
bool same_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

template <class E, class Target>
void check_batches(data::LoaderOptions o) {
  CAPTURE(o.augment, o.shuffle, o.augmentation.flip, o.augmentation.random_crop);
  const Movies movies;
  o.batch = 4;  // of 13 crops: three whole batches and one of a single patch
  o.prefetch = 0;
  data::Loader loader(movies.source(), o);
  const int32_t p[3] = {int32_t(o.patch[0]), int32_t(o.patch[1]), int32_t(o.patch[2])};
  const auto n = int64_t(movies.crops.size());
  test::Vector<LoaderPosition> position(1, LoaderPosition{0, 0});
  LoaderPosition& at = position[0];
  data::Batch batch;
  for (int i = 0; i < 9; ++i) {
    if (at.position == n) at = {at.epoch + 1, 0};
    const std::vector<int64_t> epoch = data::epoch_order(n, o.seed, at.epoch, o.shuffle);
    const test::Vector<int64_t> order(epoch.begin(), epoch.end());
    const int count = int(std::min<int64_t>(o.batch, n - at.position));
    const size_t voxels = size_t(count * data::voxel_count(o.patch));
    Guarded<PatchBox> boxes{size_t(count)};
    Guarded<E> x(voxels);
    Guarded<Target> target(voxels);
    Guarded<float> weight(voxels), propensity(voxels);
    DrawPatches::Args draw{count, o.seed, &at, order.data(), movies.crops.data(), {8, 8, 8}, {p[0], p[1], p[2]}, o.augment,
                           o.augmentation.flip, o.augmentation.random_crop, boxes.data()};
    test::run<DrawPatches>(draw, boxes);
    test::run<GatherCrops<E, Target>>({count, {8, 8, 8}, {p[0], p[1], p[2]}, movies.volumes.data(), boxes.data(), x.data(), target.data(),
                                       weight.data(), propensity.data()}, x, target, weight, propensity);
    emulate<AdvanceLoader>({count, &at});
    loader.next(batch);
    REQUIRE((batch.count == count && loader.state().epoch == at.epoch && loader.state().position == at.position));
    for (size_t v = 0; v < voxels; ++v) {
      REQUIRE(same_bits(x[v], E(batch.input[v])));
      REQUIRE(float(target[v]) == batch.target[v]);
      REQUIRE(weight[v] == (batch.weight.empty() ? 1.0f : batch.weight[v]));
      REQUIRE(propensity[v] == (batch.propensity.empty() ? 1.0f : batch.propensity[v]));
    }
  }
}

}  // namespace

TEST_CASE("batches on the GPU are those of the CPU's loader, bit for bit") {
  data::LoaderOptions o;
  o.patch = {5, 6, 3};
  check_batches<float, uint8_t>(o);
  check_batches<float, float>(o);
  check_batches<bf16, uint8_t>(o);
  check_batches<f16, uint8_t>(o);
  o.seed = 0xffffffffffull;
  o.augmentation.flip = false;
  check_batches<float, float>(o);
  o.augmentation = {true, false};
  check_batches<float, float>(o);
  o.augment = o.shuffle = false;
  check_batches<float, float>(o);
  o.patch = {8, 8, 8};
  o.augment = true;
  check_batches<float, float>(o);
}

TEST_CASE("batches on the GPU: targets of fractions, none, and outputs that nobody wants") {
  Movies movies;
  movies.fractions.assign(movies.masks[0].size(), 0.25f);
  movies.volumes[0].target = movies.fractions.data();
  movies.volumes[0].target_type = VoxelType::f32;
  movies.volumes[1].target = nullptr;
  const test::Vector<PatchBox> boxes{{{0, {0, 0, 0}, {8, 8, 8}}, 1, {1, 2, 3}}, {{1, {0, 0, 0}, {8, 8, 8}}, 2, {1, 2, 3}}};
  Guarded<float> x(2 * 64), target(2 * 64);
  test::run<GatherCrops<float, float>>({2, {8, 8, 8}, {4, 4, 4}, movies.volumes.data(), boxes.data(), x.data(), target.data(), nullptr, nullptr}, x, target);
  for (size_t i = 0; i < 128; ++i) REQUIRE(target[i] == (i < 64 ? 0.25f : 0.0f));
  test::run<GatherCrops<float, float>>({2, {8, 8, 8}, {4, 4, 4}, movies.volumes.data(), boxes.data(), x.data(), nullptr, nullptr, nullptr}, x);
  for (size_t i = 0; i < 128; ++i) REQUIRE(std::isfinite(x[i]));
}

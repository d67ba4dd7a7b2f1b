// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/data/loader.hpp"

#include <atomic>

#include "catch.hpp"

using namespace voxgrad;
using namespace voxgrad::data;

namespace {

/// Crop i is filled with i (+ a voxel-dependent part), its mask marks the first voxel.
std::shared_ptr<MemorySource> numbered(int64_t n, int64_t edge = 6) {
  std::vector<Crop> crops;
  for (int64_t i = 0; i < n; ++i) {
    Crop c;
    for (int64_t v = 0; v < edge * edge * edge; ++v) {
      c.input.push_back(float(i * 1000 + v));
      c.target.push_back(v == 0);
    }
    crops.push_back(std::move(c));
  }
  return std::make_shared<MemorySource>(Extent3{edge, edge, edge}, std::move(crops));
}

LoaderOptions small(int64_t batch) {
  LoaderOptions o;
  o.batch = batch;
  o.patch = {4, 4, 4};
  return o;
}

struct BrokenSource : CropSource {
  int64_t size() const override { return 8; }
  Extent3 crop_extent() const override { return {6, 6, 6}; }
  std::shared_ptr<const Crop> crop(int64_t) const override { throw FileError("d.h5: damaged."); }
};

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("loader: an epoch holds every crop once, the last batch is smaller, then a new order starts") {
  Loader loader(numbered(10), small(4));
  CHECK(loader.batches_per_epoch() == 3);
  std::vector<int64_t> first, second;
  Batch b;
  for (int epoch = 0; epoch < 2; ++epoch)
    for (int64_t want : {4, 4, 2}) {
      loader.next(b);
      CHECK(b.count == want);
      CHECK(b.epoch == epoch);
      CHECK(int64_t(b.input.size()) == want * 64);
      CHECK(int64_t(b.target.size()) == want * 64);
      auto& all = epoch == 0 ? first : second;
      all.insert(all.end(), b.indices.begin(), b.indices.end());
      for (int64_t i = 0; i < want; ++i)
        CHECK(int64_t(b.input[size_t(i * 64)]) / 1000 == b.indices[size_t(i)]);
    }
  CHECK(first != second);
  for (auto* all : {&first, &second}) {
    std::sort(all->begin(), all->end());
    for (int64_t i = 0; i < 10; ++i) CHECK((*all)[size_t(i)] == i);
  }
}

TEST_CASE("loader: drop_last leaves the rest of the epoch out") {
  LoaderOptions o = small(4);
  o.drop_last = true;
  Loader loader(numbered(10), o);
  CHECK(loader.batches_per_epoch() == 2);
  Batch b;
  for (int epoch : {0, 0, 1, 1, 2}) {
    loader.next(b);
    CHECK(b.count == 4);
    CHECK(b.epoch == epoch);
  }
}

TEST_CASE("loader: where a card holds the crops, of full batches only their place is told, and the last one is made") {
  LoaderOptions options = small(4);
  Loader whole(numbered(10), options);
  options.held = true;
  Loader held(numbered(10), options);
  Batch a, b;
  for (const int64_t position : {0, 4, 8, 0, 4, 8}) {
    whole.next(a);
    held.next(b);
    CHECK((b.count == a.count && b.epoch == a.epoch && b.indices == a.indices));
    CHECK((a.position == position && b.position == position));
    CHECK(b.input.empty() == (position < 8));
    CHECK(b.target.empty() == b.input.empty());
    if (position == 8) CHECK((b.input == a.input && b.target == a.target));
  }
}

TEST_CASE("loader: batches depend on seed and position only, not on prefetch, and resume anywhere") {
  const auto source = numbered(11);
  std::vector<Batch> reference(9);
  LoaderOptions o = small(3);
  o.prefetch = 0;
  Loader plain(source, o);
  std::vector<LoaderState> states;
  for (Batch& b : reference) {
    states.push_back(plain.state());
    plain.next(b);
  }
  for (int prefetch : {1, 4}) {
    o.prefetch = prefetch;
    Loader loader(source, o);
    Batch b;
    for (const Batch& want : reference) {
      loader.next(b);
      CHECK(b.indices == want.indices);
      CHECK(b.input == want.input);
      CHECK(b.target == want.target);
    }
  }
  for (size_t start : {size_t(1), size_t(3), size_t(4), size_t(7)}) {
    Loader resumed(source, o, states[start]);
    Batch b;
    for (size_t i = start; i < reference.size(); ++i) {
      resumed.next(b);
      CHECK(b.indices == reference[i].indices);
      CHECK(b.input == reference[i].input);
    }
  }
  o.seed = 43;
  Loader other(source, o);
  Batch b;
  other.next(b);
  CHECK(b.input != reference[0].input);
}

TEST_CASE("loader: validation takes centre patches in order") {
  LoaderOptions o = small(2);
  o.shuffle = o.augment = false;
  Loader loader(numbered(3), o);
  Batch b;
  loader.next(b);
  CHECK(b.indices == std::vector<int64_t>{0, 1});
  CHECK(b.input[0] == 36 + 6 + 1);  // corner (1,1,1) of a 6^3 crop
  CHECK(b.target[0] == 0);
}

TEST_CASE("loader: errors of the source and of the options reach the caller") {
  Batch b;
  Loader broken(std::make_shared<BrokenSource>(), small(2));
  CHECK(message_of([&] { broken.next(b); }) == "d.h5: damaged.");
  CHECK(message_of([&] { Loader l(numbered(3), small(0)); }) == "batch size 0 must be at least 1.");
  CHECK(message_of([&] { Loader l(numbered(0), small(1)); }) == "there are no crops to train on.");
  LoaderOptions o = small(4);
  o.drop_last = true;
  CHECK(message_of([&] { Loader l(numbered(3), o); }) ==
        "drop_last with 3 crops and a batch size of 4 would leave no batch.");
  o.patch = {7, 4, 4};
  o.drop_last = false;
  CHECK(message_of([&] { Loader l(numbered(3), o); }) == "patch 7x4x4 does not fit crops of 6x6x6.");
  CHECK(message_of([&] {
          Loader l(numbered(3), small(1), {0, 4});
        }) == "cannot continue at position 4 of an epoch of 3 crops.");
}

TEST_CASE("crop cache: keeps crops until its limit and loads the others each time") {
  CropCache cache(2 * (8 * 4 + 8));
  int loads = 0;
  const auto load = [&] {
    ++loads;
    return Crop{std::vector<float>(8, 1.0f), std::vector<uint8_t>(8)};
  };
  for (int round = 0; round < 3; ++round)
    for (int64_t i = 0; i < 3; ++i) CHECK(cache.get(i, load)->input.size() == 8);
  CHECK(loads == 3 + 1 + 1);
  CHECK(cache.bytes() == 80);
}

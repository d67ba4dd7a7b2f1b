// SPDX-License-Identifier: BSD-3-Clause
// voxgrad simulate and voxgrad sample as a user calls them, one after the other.

#include <algorithm>
#include <filesystem>

#include "catch.hpp"
#include "commands.hpp"
#include "common/cli.hpp"
#include "common/samples.hpp"
#include "run_command.hpp"
#include "scratch.hpp"
#include "voxgrad/data/hdf5_dataset.hpp"

namespace fs = std::filesystem;
using namespace voxgrad;
using namespace voxgrad::app;

namespace {

struct Outcome {
  int code = 0;
  std::string error;
};

Outcome run(const Command& plain, const std::vector<std::string>& words) {
  try {
    return {test::run_command(plain, words).code, ""};
  } catch (const UsageError& e) {
    return {2, e.what()};
  } catch (const Error& e) {
    return {1, e.what()};
  }
}

std::vector<std::string> small_set(const std::string& out) {
  return {"--out",  out, "--train", "4",          "--valid",      "1",
          "--test", "0", "--size",  "70,140,150", "--event-rate", "8"};
}

bool contains(const std::string& all, const std::string& part) { return all.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("simulate and sample: lists of a simulated set are exact, and their crops can be read") {
  Scratch scratch;
  const std::string set = scratch.file("sim"), lists = scratch.file("lists"), data = set + "/dataset.h5";
  REQUIRE(run(make_simulate(), small_set(set)).code == 0);
  REQUIRE(run(make_sample(), {data, "--out", lists, "--sets", "complete,0.5", "--ratios", "0,2,16,c"}).code ==
          0);
  const auto train = std::make_shared<const data::Hdf5Fold>(data, "train");
  std::int64_t events = 0, valid = std::int64_t(data::Hdf5Fold(data, "valid").movies()[0].events.size());
  for (const auto& m : train->movies()) events += std::int64_t(m.events.size());

  const std::string complete = lists + "/training-samples_complete.json";
  CHECK(samples_keys(complete) == std::vector<std::string>{"complete-1:0", "complete-1:2"});
  const SampleLists two = read_samples(complete, "complete-1:2");
  CHECK(std::int64_t(two.train.size()) == 3 * events);
  CHECK(std::int64_t(two.valid.size()) == valid);
  CHECK(std::count_if(two.train.begin(), two.train.end(), [](const auto& s) { return s.positive(); }) ==
        events);
  const SampleLists many = read_samples(lists + "/training-samples_complete_64.json", "complete-1:16");
  CHECK(std::int64_t(many.train.size()) == 17 * events);

  const std::string subset = lists + "/training-samples_subset.json";
  CHECK(samples_keys(subset).size() == 15);  // five draws at 0, 2 and c
  const SampleLists filled = read_samples(subset, "subset-0.5-0-1:c");
  CHECK(std::int64_t(filled.train.size()) == events);

  const data::Hdf5Crops crops(train, two.train);
  for (std::int64_t i = 0; i < crops.size(); i += 7) CHECK(crops.crop(i)->input.size() == 64 * 64 * 64);
}

TEST_CASE("sample: the same seed gives the same lists, another seed others") {
  Scratch scratch;
  const std::string set = scratch.file("sim"), data = set + "/dataset.h5";
  REQUIRE(run(make_simulate(), small_set(set)).code == 0);
  const auto list = [&](const std::string& name, const std::string& seed) {
    REQUIRE(run(make_sample(), {data, "--out", scratch.file(name), "--ratios", "4", "--seed", seed}).code ==
            0);
    std::vector<data::Extent3> corners;
    for (const auto& s :
         read_samples(scratch.file(name) + "/training-samples_complete.json", "complete-1:4").train)
      if (!s.positive()) corners.push_back(s.coord);
    return corners;
  };
  const auto a = list("a", "42");
  CHECK(a == list("b", "42"));
  CHECK(a != list("c", "43"));
}

TEST_CASE("simulate and sample: wrong requests say what is allowed and write nothing") {
  Scratch scratch;
  const std::string set = scratch.file("sim"), data = set + "/dataset.h5", lists = scratch.file("lists");
  Outcome o = run(make_simulate(), {"--out", set, "--size", "70,140"});
  CHECK(o.code == 2);
  CHECK(o.error == "--size is '70,140' (expected frames,rows,columns such as 300,256,256).");
  o = run(make_simulate(), {"--out", set, "--size", "70,140,-3"});
  CHECK(o.code == 2);
  o = run(make_simulate(), {"--out", set, "--train", "0", "--valid", "0", "--test", "0"});
  CHECK(o.code == 2);
  CHECK(contains(o.error, "there is nothing to make"));
  CHECK(run(make_simulate(), {"--out", set, "--annotation", "partial"}).code == 2);
  CHECK(run(make_simulate(), {"--out", set, "--dry-run"}).code == 0);
  CHECK_FALSE(fs::exists(set));
  REQUIRE(run(make_simulate(), small_set(set)).code == 0);
  o = run(make_simulate(), small_set(set));
  CHECK(o.code == 1);
  CHECK(contains(o.error, "exists already"));

  o = run(make_sample(), {data, "--out", lists, "--ratios", "3"});
  CHECK(o.code == 2);
  CHECK(o.error ==
        "--ratios has '3' (expected 0, 1, 2, 4, 8, 16, 32, 64, 128, 256 or c, separated by commas).");
  o = run(make_sample(), {data, "--out", lists, "--sets", "1.5"});
  CHECK(o.code == 2);
  CHECK(contains(o.error, "--sets has '1.5' (expected 'complete' or a fraction of the movies"));
  o = run(make_sample(), {data, "--out", lists, "--sets", "0.1"});
  CHECK(o.code == 2);
  CHECK(contains(o.error, "--sets 0.1 of 4 movies is less than one movie"));
  o = run(make_sample(), {data, "--out", lists, "--train-fold", "training"});
  CHECK(o.code == 1);
  CHECK(contains(o.error, "no group 'training'. Found: 'train', 'valid'"));
  o = run(make_sample(), {"--out", lists});
  CHECK(o.code == 2);
  CHECK_FALSE(fs::exists(lists));
}

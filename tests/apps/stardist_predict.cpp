// SPDX-License-Identifier: BSD-3-Clause
// StarDist's prediction and thresholds: against the Python package's vectors, whatever the tiles and slabs, and as commands.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "apps/run_command.hpp"
#include "apps/scratch.hpp"
#include "apps/stardist_tiny.hpp"
#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "apps/tiny_dataset.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/stardist_input.hpp"
#include "common/stardist_optimize.hpp"
#include "common/tables.hpp"
#include "voxgrad/data/percentiles.hpp"
#include "voxgrad/data/relabel.hpp"
#include "voxgrad/data/stream_percentiles.hpp"
#include "voxgrad/io/hdf5.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// The folder of the Python package's vectors, or "" (and a printed line) if they are absent.
std::string golden() {
  const char* set = std::getenv("VOXGRAD_SHARED");
  const std::string folder = (set && *set ? set : std::string(VOXGRAD_SOURCE_DIR) + "/../shared") + "/data/golden/stardist";
  if (std::filesystem::exists(folder + "/predict.h5")) return folder;
  std::printf("skipped: StarDist's vectors (no /data/golden/stardist in VOXGRAD_SHARED or ../shared)\n");
  return "";
}

template <class T>
data::Volume<T> volume(const io::H5File& file, const std::string& name) {
  const auto shape = file.info(name).shape;
  data::Volume<T> v({shape[0], shape[1], shape[2]});
  v.voxels = file.read<T>(name);
  return v;
}

StarDistFound find(models::StarDist3d& net, const data::Volume<float>& image, StarDistSearch search) {
  return find_stardist_candidates(net, plan_stardist(net, image.extent, search), search,
                                  [&](int64_t z, float* out) { std::copy_n(image.frame(z), image.frame_size(), out); });
}

data::Volume<int32_t> draw(const StarDistObjects& objects, const stardist::Rays& rays, const data::Extent3& extent, uint64_t memory = 0) {
  data::Volume<int32_t> labels(extent);
  draw_objects(objects, rays, objects.size(), extent, memory, [&](int64_t z, const int32_t* plane) { std::copy_n(plane, labels.frame_size(), labels.frame(z)); });
  return labels;
}

void check_points(const std::vector<float>& ours, const io::H5File& file, const std::string& name) {
  INFO(name);
  const std::vector<double> theirs = file.read<double>(name);
  REQUIRE(ours.size() == theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) CHECK(double(ours[i]) == theirs[i]);
}

void check_objects(const io::H5File& file, const std::string& group, const StarDistObjects& objects, const stardist::Rays& rays, const data::Extent3& extent) {
  INFO(group);
  check_points(objects.list.points, file, group + "/points");
  const std::vector<float> prob = file.read<float>(group + "/prob"), dist = file.read<float>(group + "/dist");
  for (size_t i = 0; i < prob.size(); ++i) CHECK(objects.list.scores[i] == Approx(prob[i]).margin(1e-5));
  REQUIRE(dist.size() == objects.list.dist.size());
  for (size_t i = 0; i < dist.size(); ++i) CHECK(std::abs(objects.list.dist[i] - dist[i]) < 1e-3f);
  const auto theirs = file.read<int32_t>(group + "/labels");
  const auto ours = data::relabel_sequential(draw(objects, rays, extent)).labels.voxels;
  int64_t other = 0;
  for (size_t i = 0; i < ours.size(); ++i) other += ours[i] != theirs[i];
  CHECK(other <= 3);  // voxels on a surface, by rounding
}

}  // namespace

TEST_CASE("stardist goldens: candidates, survivors and labels of the package, sparse and dense, tiled or not") {
  const std::string data = golden();
  if (data.empty()) return;
  StarDistModel model = open_stardist_model(data + "/models/unet_demo", false);
  CHECK(model.normalization == "percentile");
  const stardist::Rays rays = stardist::make_rays(model.config.rays);
  const io::H5File file(data + "/predict.h5");
  const data::Volume<float> image = volume<float>(file, "/image_normalized");
  StarDistSearch search;
  search.prob_thresh = model.thresholds.prob;
  const StarDistFound sparse = find(*model.net, image, search);
  check_points(sparse.candidates.points, file, "/sparse_candidates_points");
  check_objects(file, "/sparse", suppress_candidates(sparse, rays, model.thresholds.nms), rays, image.extent);
  StarDistSearch dense = search;
  dense.rule = BorderRule::dense;
  check_objects(file, "/dense", suppress_candidates(find(*model.net, image, dense), rays, model.thresholds.nms), rays, image.extent);
  StarDistSearch low = search;
  low.prob_thresh = 0.3;
  const StarDistFound more = find(*model.net, image, low);
  const StarDistObjects at_low = suppress_candidates(more, rays, 0.5);
  check_objects(file, "/prob0.3_nms0.5", at_low, rays, image.extent);
  // A lower threshold only appends.
  const StarDistObjects again = suppress_candidates(more, rays, model.thresholds.nms);
  CHECK(again.above(model.thresholds.prob) == 9);

  const io::H5File big(data + "/predict_big.h5");
  const data::Volume<float> large = volume<float>(big, "/image");
  const StarDistFound whole = find(*model.net, large, search);
  check_points(whole.candidates.points, big, "/sparse_whole_points");
  const StarDistObjects objects = suppress_candidates(whole, rays, 0.3);
  check_points(objects.list.points, big, "/whole/points");
  search.n_tiles = {1, 3, 3};
  const StarDistFound tiled = find(*model.net, large, search);
  CHECK(tiled.candidates.points == whole.candidates.points);
  for (size_t i = 0; i < tiled.candidates.scores.size(); ++i) CHECK(tiled.candidates.scores[i] == Approx(whole.candidates.scores[i]).margin(1e-5));
}

TEST_CASE("stardist goldens: a resized volume and labels of overlaps as the package has them") {
  const std::string data = golden();
  if (data.empty()) return;
  StarDistModel model = open_stardist_model(data + "/models/unet_demo", false);
  const stardist::Rays rays = stardist::make_rays(model.config.rays);
  const io::H5File file(data + "/predict.h5");
  const data::Volume<float> image = volume<float>(file, "/image_normalized");
  Scratch dir;
  io::write_tiff_movie(dir.file("v.tif"), image);
  VolumeFile stored(dir.file("v.tif"));
  StarDistInputOptions options;
  options.normalize = "none";
  options.scale = {1, 0.8, 1.25};
  StarDistInput input(stored, options);
  QuietSession session;
  input.prepare(session);
  CHECK(input.extent() == data::Extent3{19, 36, 49});
  StarDistSearch search;
  search.prob_thresh = model.thresholds.prob;
  const auto found = find_stardist_candidates(*model.net, plan_stardist(*model.net, input.extent(), search), search, [&](int64_t z, float* out) { input.plane(z, out); });
  StarDistObjects objects = suppress_candidates(found, rays, model.thresholds.nms);
  place_objects(objects, input.placement());
  const std::vector<double> points = file.read<double>("/scaled/points");
  REQUIRE(points.size() == objects.list.points.size());
  for (size_t i = 0; i < points.size(); ++i) CHECK(double(objects.list.points[i]) == Approx(points[i]).epsilon(1e-6));
  const auto same_labels = [&](const StarDistObjects& o, const stardist::Rays& r, const char* name, std::optional<int32_t> overlap) {
    INFO(name);
    data::Volume<int32_t> labels(image.extent);
    draw_objects(o, r, o.size(), image.extent, 0, [&](int64_t z, const int32_t* plane) { std::copy_n(plane, labels.frame_size(), labels.frame(z)); }, overlap);
    const auto theirs = file.read<int32_t>(std::string(name) + "/labels");
    int64_t other = 0;
    for (size_t i = 0; i < theirs.size(); ++i) other += labels.voxels[i] != theirs[i];
    CHECK(other <= 3);
  };
  same_labels(objects, placed_rays(rays, input.placement()), "/scaled", {});
  const StarDistObjects plain = suppress_candidates(find(*model.net, image, search), rays, model.thresholds.nms);
  same_labels(plain, rays, "/overlap_label_-1", -1);
}

TEST_CASE("stardist goldens: the threshold search tries the package's thresholds and ends where it does") {
  const std::string data = golden();
  if (data.empty()) return;
  StarDistModel model = open_stardist_model(data + "/models/unet_demo", false);
  const io::H5File file(data + "/optimize_thresholds.h5");
  std::vector<stardist::Example> examples;
  for (const char* i : {"0", "1"})
    examples.push_back({volume<float>(file, std::string("/image_") + i), volume<int32_t>(file, std::string("/label_") + i)});
  const ChosenThresholds chosen =
      choose_thresholds(*model.net, stardist::make_rays(model.config.rays), stardist::MemoryExamples(std::move(examples)), {0, 1}, {});
  CHECK(chosen.most_probable == Approx(0.8610552549362183).epsilon(1e-5));
  CHECK(chosen.prob == Approx(0.6224674857264857).epsilon(1e-4));
  CHECK(chosen.nms == 0.3);
  const std::vector<double> rows = file.read<double>("/nms_prob_score");
  REQUIRE(chosen.trials.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    const NmsTrial& t = chosen.trials[i];
    CHECK(t.nms == Approx(rows[3 * i]));
    CHECK(t.prob == Approx(rows[3 * i + 1]).epsilon(1e-4));
    CHECK(t.score == Approx(rows[3 * i + 2]).epsilon(1e-6));
    const auto tried = file.read<double>(text("/evaluated_prob_thresh_nms0.", i + 3));
    REQUIRE(t.tried.size() == tried.size());
    for (size_t k = 0; k < tried.size(); ++k) CHECK(t.tried[k].first == Approx(tried[k]).epsilon(1e-5));
  }
}

TEST_CASE("stardist: the threshold search holds one volume at a time, and the candidates of all within one limit") {
  struct Counted : stardist::ExampleSource {
    mutable std::vector<std::weak_ptr<const stardist::Example>> given;
    mutable int64_t most = 0;
    int64_t size() const override { return 4; }
    std::shared_ptr<const stardist::Example> example(int64_t index) const override {
      auto e = std::make_shared<const stardist::Example>(tiny_balls(uint64_t(index)));
      given.push_back(e);
      most = std::max<int64_t>(most, std::ranges::count_if(given, [](const auto& g) { return !g.expired(); }));
      return e;
    }
  };
  const StarDistRun run = tiny_stardist_run(1, 1);
  models::StarDist3d net(run.config.network, Random(3));
  const stardist::Rays rays = stardist::make_rays(run.config.rays);
  const Counted source;
  StarDistThresholdSearch search;
  const ChosenThresholds chosen = choose_thresholds(net, rays, source, {2, 0, 3}, search);
  CHECK(source.most == 1);
  CHECK(source.given.size() > 3);
  CHECK(chosen.most_probable > 0);

  // A limit that holds each volume alone, and not six of them.
  search.border = 0;
  const auto ends = [&](const std::vector<int64_t>& volumes, uint64_t memory) {
    search.memory = memory;
    return message_of<Error>([&] { choose_thresholds(net, rays, source, volumes, search); });
  };
  uint64_t memory = uint64_t(1) << 20;
  while (ends({2}, memory) != "(nothing thrown)" || ends({0}, memory) != "(nothing thrown)" || ends({3}, memory) != "(nothing thrown)") memory += memory / 8;
  const std::string said = ends({2, 0, 3, 1, 2, 0}, memory);
  CHECK(said.find("candidates of ") != std::string::npos);
  CHECK(said.find("of 6 volumes do not fit into ") != std::string::npos);
}

TEST_CASE("stardist: candidates do not depend on the tiles, labels not on the slabs, and little memory is refused by name") {
  const StarDistRun run = tiny_stardist_run(1, 1);
  models::StarDist3d net(run.config.network, Random(3));
  Random random(4);
  data::Volume<float> image({41, 94, 39});
  for (float& v : image.voxels) v = float(random.normal());
  StarDistSearch search;
  search.prob_thresh = 0.5;
  const StarDistFound whole = find(net, image, search);
  REQUIRE(whole.candidates.size() > 50);
  for (const data::Extent3 tiles : {data::Extent3{2, 1, 1}, data::Extent3{1, 3, 1}, data::Extent3{9, 9, 9}}) {
    search.n_tiles = tiles;
    CHECK(plan_stardist(net, image.extent, search).count() > 1);
    const StarDistFound tiled = find(net, image, search);
    CHECK(tiled.most_probable == Approx(whole.most_probable).epsilon(1e-5));
    REQUIRE(tiled.candidates.points == whole.candidates.points);
    float worst = 0;
    for (size_t i = 0; i < whole.candidates.dist.size(); ++i) worst = std::max(worst, std::abs(tiled.candidates.dist[i] - whole.candidates.dist[i]));
    CHECK(worst < 1e-4f);
  }
  search.n_tiles = {0, 0, 0};
  search.border = 0;
  CHECK(find(net, image, search).candidates.size() > whole.candidates.size());
  search.border = 21;
  CHECK(find(net, image, search).candidates.size() == 0);
  search.memory = 1000;
  CHECK(message_of<UsageError>([&] { plan_stardist(net, image.extent, search); }).find("Allow more memory.") != std::string::npos);

  const stardist::Rays rays = stardist::make_rays(stardist::GoldenSpiral{16, {}});
  StarDistObjects objects;
  for (int i = 0; i < 6; ++i) {
    objects.list.scores.push_back(1 - 0.1f * float(i));
    objects.list.points.insert(objects.list.points.end(), {float(3 * i), float(5 + 5 * i), 15});
    for (int r = 0; r < 16; ++r) objects.list.dist.push_back(4 + float(random.uniform()));
  }
  const auto all = draw(objects, rays, {21, 40, 35}, 0);
  CHECK(data::object_ids(all) == std::vector<int32_t>{1, 2, 3, 4, 5, 6});
  CHECK(draw(objects, rays, {21, 40, 35}, 1).voxels == all.voxels);
  // Voxels of several objects: the same with an overlap label in any slabs, and the others stay.
  for (const int32_t shared : {-1, 0, 99}) {
    data::Volume<int32_t> whole_labels({21, 40, 35}), slabs({21, 40, 35});
    for (auto [to, memory] : {std::pair(&whole_labels, uint64_t(0)), {&slabs, uint64_t(4 * 40 * 35 * 3)}})
      draw_objects(objects, rays, objects.size(), to->extent, memory, [&, into = to](int64_t z, const int32_t* plane) { std::copy_n(plane, into->frame_size(), into->frame(z)); }, shared);
    CHECK(slabs.voxels == whole_labels.voxels);
    int64_t changed = 0;
    for (size_t i = 0; i < all.voxels.size(); ++i)
      if (whole_labels.voxels[i] != all.voxels[i]) {
        ++changed;
        CHECK((all.voxels[i] > 0 && whole_labels.voxels[i] == shared));
      }
    CHECK(changed > 0);
  }
  // An object inside a better one vanishes, and nothing else changes but the numbers behind it.
  StarDistObjects more = objects;
  more.list.scores.insert(more.list.scores.begin() + 2, 0.85f);
  more.list.points.insert(more.list.points.begin() + 6, {0, 5, 15});
  more.list.dist.insert(more.list.dist.begin() + 32, 16, 1.f);
  CHECK(visible_objects(more, rays, {21, 40, 35}, 0).list.scores == objects.list.scores);
  CHECK(draw(objects, rays, {21, 40, 35}, 4 * 40 * 35 * 7).voxels == all.voxels);
}

TEST_CASE("stardist: the memory of a wide volume counts the planes that tiles read; strips of planes find the same candidates") {
  const StarDistRun run = tiny_stardist_run(1, 1);
  models::StarDist3d net(run.config.network, Random(3));
  StarDistSearch search;
  search.memory = uint64_t(256) << 20;
  const StarDistPlan wide = plan_stardist(net, {150, 4096, 4096}, search);  // 10 GB of input
  CHECK(wide.memory <= search.memory / 2);
  const int64_t depth = wide.tiles[0][0].read.size(), height = wide.strips ? wide.tiles[1][0].read.size() : 4096;
  CHECK(wide.memory >= uint64_t(depth * height * 4096 * 4));
  search.memory = uint64_t(100) << 20;  // less than twice a plane
  const std::string refused = message_of<UsageError>([&] { plan_stardist(net, {150, 4096, 4096}, search); });
  CHECK(refused.find("the planes they read") != std::string::npos);
  CHECK(refused.find("Allow more memory.") != std::string::npos);

  Random random(4);
  data::Volume<float> image({30, 203, 61});
  for (float& v : image.voxels) v = float(random.normal());
  search.memory = 0;
  CHECK_FALSE(plan_stardist(net, image.extent, search).strips);
  const StarDistFound whole = find(net, image, search);
  REQUIRE(whole.candidates.size() > 50);
  StarDistPlan plan = plan_stardist(net, image.extent, {.n_tiles = {2, 4, 2}});
  plan.strips = true;
  std::vector<int64_t> reads(30);
  const StarDistFound stripped = find_stardist_candidates(net, plan, search, [&](int64_t z, float* out) {
    ++reads[size_t(z)];
    std::copy_n(image.frame(z), image.frame_size(), out);
  });
  CHECK(stripped.candidates.points == whole.candidates.points);
  for (const int64_t r : reads) CHECK((r == 4 || r == 8));  // once per strip of tiles
}

TEST_CASE("stardist: distances that are not numbers are an error, not the least distance") {
  const StarDistRun run = tiny_stardist_run(1, 1);
  models::StarDist3d net(run.config.network, Random(3));
  for (const nn::Named& n : net.state())
    if (n.name.find("dist") != std::string::npos) n.tensor->mutable_span<float>()[0] = std::nanf("");
  Random random(4);
  data::Volume<float> image({20, 30, 30});
  for (float& v : image.voxels) v = float(random.normal());
  const std::string wrong = message_of<Error>([&] { find(net, image, {}); });
  INFO(wrong);
  CHECK(wrong.find("a distance of the candidate at z ") == 0);
}

TEST_CASE("stream percentiles equal those of all values at once") {
  Random random(5);
  for (const int64_t n : {1, 2, 7, 1000}) {
    std::vector<float> values;
    for (int64_t i = 0; i < n; ++i) values.push_back(float(i % 3 == 0 ? -random.uniform() * 1e-3 : random.normal() * 1e4));
    if (n > 2) values[1] = 0.f, values[2] = -0.f;
    const auto streamed = data::stream_percentiles({0, 1, 50, 99.8, 100}, [&](auto&& add) {
      add(values.data(), n / 2);
      add(values.data() + n / 2, n - n / 2);
    });
    size_t k = 0;
    for (const double p : {0.0, 1.0, 50.0, 99.8, 100.0}) {
      std::vector<float> copy = values;
      CHECK(streamed[k++] == Approx(float(data::percentile(copy, p))).epsilon(1e-6));
    }
  }
  CHECK(message_of<ShapeError>([] { data::stream_percentiles({1}, [](auto&&) {}); }).find("no values") != std::string::npos);
}

TEST_CASE("stardist commands: train on a folder, choose thresholds, predict, match instances") {
  Scratch dir;
  write_tiny_volumes(dir.file("v"), 5);
  const std::string model = dir.file("model");
  const std::vector<std::string> training{dir.file("v"), "--type", "stardist3d", "--out", model, "--epochs", "8", "--steps-per-epoch", "60", "--batch-size", "2",
                                          "--learning-rate", "0.005", "--set", "stardist_config.n_rays=16", "--set", "stardist_config.anisotropy=[auto]",
                                          "--set", "stardist_config.unet_n_depth=1", "--set", "stardist_config.unet_n_filter_base=6", "--set",
                                          "stardist_config.net_conv_after_unet=12", "--set", "stardist_config.train_patch_size=[8, 16, 16]"};
  auto dry = training;
  dry.push_back("--dry-run");
  CHECK(test::run_command(make_train(), dry).out.find("nothing was written") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(model));
  REQUIRE(test::run_command(make_train(), training).code == 0);
  for (const char* file : {"/config.yaml", "/config.json", "/weights.safetensors", "/checkpoint.safetensors", "/weights_best.h5", "/train.csv", "/valid.csv"}) {
    INFO(file);
    CHECK(std::filesystem::exists(model + file));
  }
  CHECK(message_of<UsageError>([&] { test::run_command(make_train(), training); }).find("already holds a model") != std::string::npos);
  // One more epoch, from what the folder says of itself.
  CHECK(test::run_command(make_train(), {dir.file("v"), "--out", model, "--resume", "auto", "--epochs", "9"}).code == 0);
  CHECK(CsvTable::read(model + "/valid.csv").rows() == 9);

  REQUIRE(test::run_command(make_optimize(), {dir.file("v"), "--model", model}).code == 0);
  const StarDistModel opened = open_stardist_model(model, false);
  CHECK(opened.thresholds.notes.empty());

  const std::string out = dir.file("out");
  const test::Ran ran = test::run_command(make_predict(), {dir.file("v/images"), "--model", model, "--out", out, "--thresholds", "0.1:0.9:5"});
  REQUIRE(ran.code == 0);
  for (const char* file : {"/v0_prediction.tif", "/v0_events.csv", "/v0_objects.csv", "/v0_preview.png", "/v0_overlay.tif", "/v0_thresholds.csv", "/v0_thresholds/labels-0.100.tif", "/v0_thresholds/labels-0.900.tif", "/summary.json"}) {
    INFO(file);
    CHECK(std::filesystem::exists(out + file));
  }
  io::TiffOptions zyx;
  zyx.axes = "TYX";
  CHECK(io::TiffMovie(out + "/v0_prediction.tif", zyx).sample_type() == io::SampleType::u16);
  const CsvTable counts = CsvTable::read(out + "/v0_thresholds.csv");
  CHECK(counts.rows() == 5);
  for (size_t i = 1; i < counts.rows(); ++i) CHECK(counts.number(i, "objects") <= counts.number(i - 1, "objects"));
  const auto events = read_events(out + "/v0_events.csv");
  const CsvTable objects = CsvTable::read(out + "/v0_objects.csv");
  const CsvTable summary = CsvTable::read(out + "/summary.csv");
  REQUIRE(summary.rows() == 5);
  CHECK(summary.cell(0, "movie") == dir.file("v/images") + "/v0.tif");
  CHECK(summary.number(0, "events") == double(objects.rows()));
  CHECK(summary.number(0, "frames") == 12);
  CHECK(summary.cell(0, "events_per_minute").empty());
  CHECK(summary.number(0, "voxels_per_second") > 0);
  CHECK(events.size() == objects.rows());
  for (size_t i = 0; i < events.size(); ++i) {
    CHECK(events[i].label == int64_t(i + 1));
    CHECK(objects.number(i, "voxels") > 0);
    CHECK(events[i].score == Approx(objects.number(i, "prob")));
  }
  CHECK(message_of<UsageError>([&] { test::run_command(make_predict(), {dir.file("v/images"), "--model", model, "--threshold", "0.5"}); }).find("goes with U-Net models") !=
        std::string::npos);
  const std::string alone = "--precision bf16 needs a card, but this run is on the cpu, which computes in fp32. Use --device cuda, or leave it out.";
  const auto in_bf16 = [&](const Command& command, std::vector<std::string> words) {
    words.insert(words.end(), {"--device", "cpu", "--precision", "bf16"});
    return message_of<UsageError>([&] { test::run_command(command, words); });
  };
  CHECK(in_bf16(make_predict(), {dir.file("v/images"), "--model", model}) == alone);
  CHECK(in_bf16(make_optimize(), {dir.file("v"), "--model", model}) == alone);
  CHECK(in_bf16(make_train(), {dir.file("v"), "--out", model, "--resume", "auto"}) == alone);
  // Thresholds closer than a thousandth do not overwrite each other.
  const auto fine = [&](const char* range) { return test::run_command(make_predict(), {dir.file("v/images/v0.tif"), "--model", model, "--out", dir.file("fine"), "--thresholds", range}); };
  REQUIRE(fine("0.5:0.502:5").code == 0);
  for (const char* file : {"0.5000", "0.5005", "0.5010", "0.5015", "0.5020"}) {
    INFO(file);
    CHECK(std::filesystem::exists(dir.file("fine/v0_thresholds/labels-") + file + ".tif"));
  }
  CHECK(message_of<UsageError>([&] { fine("0.5:0.5:2"); }).find("2 numbers do not differ there") != std::string::npos);
  // The same from the file that the Python package reads.
  const std::string package = dir.file("package");
  make_folders(package);
  for (const char* file : {"/config.json", "/weights_best.h5", "/thresholds.json"}) std::filesystem::copy_file(model + file, package + file);
  REQUIRE(test::run_command(make_predict(), {dir.file("v/images/v0.tif"), "--model", package, "--out", dir.file("again")}).code == 0);
  CHECK((read_file(dir.file("again") + "/v0_prediction.tif") == read_file(out + "/v0_prediction.tif")));
  // Two models, each in a folder of its name.
  const test::Ran both = test::run_command(make_predict(), {dir.file("v/images/v1.tif"), "--model", model, "--model", package + "/", "--out", dir.file("both"), "--json"});
  REQUIRE(both.code == 0);
  const auto json = nlohmann::json::parse(both.out.substr(both.out.rfind("{\"event\": \"result\"")));
  REQUIRE(json["models"].size() == 2);
  CHECK_FALSE(json.contains("movies"));  // each model has its own
  CHECK(json["models"][0]["model"] == model);
  CHECK(json["models"][1]["out"] == dir.file("both") + "/package");
  CHECK(json["models"][1]["movies"] == 1);
  CHECK(json["models"][0]["objects"] == json["models"][1]["objects"]);
  CHECK((read_file(dir.file("both/model/v1_prediction.tif")) == read_file(dir.file("both/package/v1_prediction.tif"))));
  CHECK(message_of<UsageError>([&] { test::run_command(make_predict(), {dir.file("v/images/v1.tif"), "--model", model, "--model", model, "--out", dir.file("twice")}); }).find("would both write into") !=
        std::string::npos);
  // A volume that lies another way gives the same objects, lying as it does.
  const auto predicted = [&](const std::string& file, std::vector<std::string> more) {
    more.insert(more.begin(), {file, "--model", model, "--out", dir.file("more"), "--overwrite"});
    REQUIRE(test::run_command(make_predict(), more).code == 0);
    return read_label_volume(dir.file("more/") + std::filesystem::path(file).stem().string() + "_prediction.tif");
  };
  const data::Volume<int32_t> plain = read_label_volume(out + "/v0_prediction.tif");
  data::Volume<float> turned = permuted(read_image_volume(dir.file("v/images/v0.tif"))[0], axis_order("ZYX", "YXZ"));
  io::write_tiff_movie(dir.file("yxz.tif"), turned);
  const data::Volume<int32_t> back = permuted(predicted(dir.file("yxz.tif"), {"--axes", "YXZ", "--obj"}), axis_order("YXZ", "ZYX"));
  REQUIRE(back.extent == plain.extent);
  int64_t other = 0;
  for (size_t i = 0; i < plain.voxels.size(); ++i) other += back.voxels[i] != plain.voxels[i];
  CHECK(other <= 3);
  const CsvTable turned_objects = CsvTable::read(dir.file("more/yxz_objects.csv"));
  CHECK(turned_objects.number(0, "axis-0") == objects.number(0, "axis-1"));
  CHECK(turned_objects.number(0, "axis-2") == objects.number(0, "axis-0"));
  CHECK(turned_objects.number(0, "volume") == Approx(objects.number(0, "volume")).epsilon(1e-5));
  const std::string mesh = read_file(dir.file("more/yxz_objects.obj"));
  CHECK(mesh.find("o object_1\n") == 0);
  CHECK(mesh.find(text("o object_", objects.rows(), "\n")) != std::string::npos);
  CHECK(mesh.find(text("o object_", objects.rows() + 1)) == std::string::npos);
  // A volume of half the size, resized to twice, has objects of half the size in the same places.
  data::Volume<float> half({6, 12, 12});
  const data::Volume<float> image = read_image_volume(dir.file("v/images/v0.tif"))[0];
  for (int64_t z = 0; z < 6; ++z)
    for (int64_t y = 0; y < 12; ++y)
      for (int64_t x = 0; x < 12; ++x) half.at(z, y, x) = image.at(2 * z, 2 * y, 2 * x);
  io::write_tiff_movie(dir.file("half.tif"), half);
  const data::Volume<int32_t> small = predicted(dir.file("half.tif"), {"--scale", "2"});
  int64_t covered = 0, agree = 0;
  for (int64_t z = 0; z < 6; ++z)
    for (int64_t y = 0; y < 12; ++y)
      for (int64_t x = 0; x < 12; ++x) {
        covered += plain.at(2 * z, 2 * y, 2 * x) > 0 || small.at(z, y, x) > 0;
        agree += plain.at(2 * z, 2 * y, 2 * x) > 0 && small.at(z, y, x) > 0;
      }
  INFO(agree << " of " << covered);
  CHECK(agree > covered / 4);  // the model has learnt for seconds
  const auto refused = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {dir.file("v/images/v0.tif"), "--model", model, "--out", dir.file("no"), "--overwrite"});
    return message_of<Error>([&] { test::run_command(make_predict(), more); });
  };
  CHECK(refused({"--scale", "2,2"}) == "--scale is '2,2' (expected one number above 0, or three for z, y, x, such as 2,1,1).");
  CHECK(refused({"--scale", "-1"}).find("--scale is '-1'") == 0);
  CHECK(refused({"--scale", "0.001"}).find("--scale 0.001 makes 0 samples of 12 voxels along Z.") != std::string::npos);
  CHECK(refused({"--axes", "ZYXW"}).find("--axes is 'ZYXW'") == 0);
  CHECK(refused({"--axes", "XYZ", "--normalize", "study"}).find("does not go with axes XYZ for a network with ZYX.") != std::string::npos);
  CHECK(refused({"--overlap-label", "1"}).find("--overlap-label 1 is the number of one of the ") != std::string::npos);
  predicted(dir.file("v/images/v0.tif"), {"--overlap-label", "-1"});
  CHECK(io::TiffMovie(dir.file("more/v0_prediction.tif"), zyx).sample_type() == io::SampleType::f32);
}

TEST_CASE("stardist commands: thresholds that mean nothing are not written, options of the U-Net are refused by name") {
  Scratch dir;
  write_tiny_volumes(dir.file("v"), 2);
  const std::string model = dir.file("model");
  REQUIRE(test::run_command(make_train(), {dir.file("v"), "--type", "stardist3d", "--out", model, "--epochs", "1", "--steps-per-epoch", "1", "--batch-size", "1",
                                           "--set", "stardist_config.n_rays=16", "--set", "stardist_config.unet_n_depth=1", "--set",
                                           "stardist_config.unet_n_filter_base=2", "--set", "stardist_config.net_conv_after_unet=2", "--set",
                                           "stardist_config.train_learning_rate=1.0e-9", "--set", "stardist_config.train_patch_size=[8, 16, 16]"})
              .code == 0);
  const std::string before = R"({"prob": 0.25, "nms": 0.125})";
  write_file(model + "/thresholds.json", before);
  const std::string said = message_of<Error>([&] { test::run_command(make_optimize(), {dir.file("v"), "--model", model}); });
  CHECK(said.find("no predicted object meets a true one at any threshold") == 0);
  CHECK(read_file(model + "/thresholds.json") == before);
  for (const std::vector<std::string>& option : {std::vector<std::string>{"--criterion", "pu_f1"}, {"--prior", "0.1"}, {"--skip-empty"}, {"--objective", "both"},
                                                 {"--mode", "fast"}}) {
    std::vector<std::string> words{dir.file("v"), "--model", model};
    words.insert(words.end(), option.begin(), option.end());
    INFO(option[0]);
    CHECK(message_of<UsageError>([&] { test::run_command(make_optimize(), words); }).find(option[0] + " goes with U-Net models") == 0);
  }
}

TEST_CASE("stardist commands: the published configuration runs unchanged on the published layout") {
  Scratch dir;
  write_tiny_dataset(dir.file("d.h5"), {{"train", 2}, {"valid", 1}});
  write_file(dir.file("s.json"), R"({"complete-1:1": {"positive": {"train": [{"neuron": "1", "event-id": 0}, {"neuron": "2", "event-id": 1}],
    "valid": [{"neuron": "1", "event-id": 0}]}, "negative": {"train": [{"neuron": "1", "coord": [0, 0, 2]}], "valid": []}}})");
  write_file(dir.file("config.yml"), "model-name: test\ntrain-folds: [train]\nvalid-folds: [valid]\nsamples_pu:\n  path: " + dir.file("s.json") +
                                         "\n  positive: complete\n  unlabeled: 1\nbasedir: " + dir.file("models") + "\nrandom-state: 45\n");
  std::vector<std::string> words{dir.file("d.h5"), "--config", dir.file("config.yml"), "--dry-run", "--set", "training_config.crop_size=64"};
  const test::Ran ran = test::run_command(make_train(), words);
  CHECK(ran.out.find(dir.file("models") + "/test_45") != std::string::npos);
  words[3] = "--print-config";
  const std::string shown = test::run_command(make_train(), words).out;
  for (const char* name : {"stardist3d_complete_1-4.yml", "stardist3d_volumes.yaml"}) {
    Config c;
    c.read_file(std::string(VOXGRAD_SOURCE_DIR) + "/configs/" + name);
    CHECK(stardist_run(c).config.network.n_rays == 96);
  }
  for (const char* line : {"type: stardist3d", "n_rays: 96", "grid: [1, 2, 2]", "anisotropy: [1.7, 1.08, 1.0]", "train_batch_size: 64", "train_epochs: 400", "seed: 45"}) {
    INFO(line);
    CHECK(shown.find(line) != std::string::npos);
  }
}

// SPDX-License-Identifier: BSD-3-Clause
// StarDist with classes and several channels: what stands beside label volumes, training, prediction and scores by class.

#include <filesystem>
#include <map>

#include "apps/columns.hpp"
#include "apps/run_command.hpp"
#include "apps/scratch.hpp"
#include "apps/stardist_tiny.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/class_scores.hpp"
#include "common/files.hpp"
#include "common/object_classes.hpp"
#include "common/volume_file.hpp"
#include "voxgrad/data/relabel.hpp"
#include "voxgrad/io/hdf5_write.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// Balls 600 and 1200 are of class 2 and bright in the second channel, the others of class 1 and bright in the first.
struct TwoKinds {
  data::Volume<uint16_t> channel[2], labels;
};
TwoKinds two_kinds(uint64_t seed) {
  const stardist::Example e = tiny_balls(seed);
  TwoKinds out{{data::Volume<uint16_t>(e.image.extent), data::Volume<uint16_t>(e.image.extent)}, data::Volume<uint16_t>(e.image.extent)};
  Random random(seed, 5);
  for (size_t i = 0; i < e.image.voxels.size(); ++i) {
    const int32_t l = e.labels.voxels[i];
    for (int c = 0; c < 2; ++c) out.channel[c].voxels[i] = uint16_t(1000 + 50 * random.uniform() + (l > 0 && (l % 600 == 0) == (c == 1) ? 500 : 0));
    out.labels.voxels[i] = uint16_t(l);
  }
  return out;
}

void write_two_kinds(const std::string& folder, int count) {
  for (const char* name : {"/images", "/masks", "/classes"}) std::filesystem::create_directories(folder + name);
  for (int i = 0; i < count; ++i) {
    const TwoKinds v = two_kinds(uint64_t(i));
    io::TiffWriteOptions options;
    options.channels = {io::tiff_channel(0, 2000, {255, 0, 0}), io::tiff_channel(0, 2000, {0, 255, 0})};
    io::TiffWriter writer(folder + text("/images/v", i, ".tif"), v.labels.extent, io::SampleType::u16, options);
    for (int64_t z = 0; z < v.labels.extent[0]; ++z)
      for (const auto& c : v.channel) writer.write(c.frame(z));
    writer.close();
    io::write_tiff_movie(folder + text("/masks/v", i, ".tif"), v.labels);
    write_file(folder + text("/classes/v", i, ".csv"), "label,name,class\n300,a,1\n600,b,2\n900,c,1\n1200,d,2\n");
  }
}

const std::vector<std::string> small = {"--set", "stardist_config.n_rays=16", "--set", "stardist_config.anisotropy=[1, 1, 1]", "--set", "stardist_config.unet_n_depth=1",
                                        "--set", "stardist_config.unet_n_filter_base=6", "--set", "stardist_config.net_conv_after_unet=12", "--set",
                                        "stardist_config.train_patch_size=[8, 16, 16]"};

std::vector<std::string> words(std::vector<std::string> first, const std::vector<std::string>& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

}  // namespace

TEST_CASE("stardist classes: tables, JSON and volumes of classes beside label volumes") {
  Scratch dir;
  make_folders(dir.file("masks")), make_folders(dir.file("classes"));
  data::Volume<int32_t> labels({1, 2, 3});
  labels.voxels = {3, 3, 3, 7, 0, -1};
  CHECK(class_file(dir.file("masks"), "a.tif").empty());
  const std::string csv = dir.file("classes/a.csv"), json = dir.file("masks/a.json"), volume = dir.file("classes/a.tif");
  write_file(csv, "class;label\n2;3\n;7\n1;99\n");
  CHECK(class_file(dir.file("masks"), "a.tif") == csv);
  auto found = read_object_classes(csv, labels, 2);
  CHECK(found.of(3) == 2);
  CHECK(found.of(7) == std::nullopt);
  write_file(json, R"({"3": 1, "7": null})");
  CHECK(message_of<FileError>([&] { class_file(dir.file("masks"), "a.tif"); }).find("both hold classes of a.tif. Keep one.") != std::string::npos);
  found = read_object_classes(json, labels, 2);
  CHECK(found.of(3) == 1);
  CHECK(found.of(7) == std::nullopt);
  write_file(json, "2");
  CHECK(read_object_classes(json, labels, 2).of(12345) == 2);
  data::Volume<uint16_t> of_voxel({2, 2, 3});  // a movie has two planes at least
  of_voxel.voxels = {1, 2, 2, 0, 1, 1, 0, 0, 0, 0, 0, 0};
  data::Volume<int32_t> two({2, 2, 3});
  std::copy(labels.voxels.begin(), labels.voxels.end(), two.voxels.begin());
  io::write_tiff_movie(volume, of_voxel);
  found = read_object_classes(volume, two, 2);
  CHECK(found.of(3) == 2);  // two voxels of three
  CHECK(found.of(7) == std::nullopt);

  const auto refused = [&](const std::string& path, const std::string& content) {
    write_file(path, content);
    return message_of<FileError>([&] { read_object_classes(path, labels, 2); });
  };
  CHECK(refused(csv, "label,class\n3,4\n7,1\n").find("a.csv: label 3 has class 4 (expected a class from 1 to 2, or 0 for none).") != std::string::npos);
  CHECK(refused(csv, "label,class\n3,1\n").find("a.csv: object 7 of the label volume has no class.") != std::string::npos);
  CHECK(refused(csv, "label,class\n3,1\n3,1\n7,1\n").find("label 3 has two rows") != std::string::npos);
  CHECK(refused(csv, "label,kind\n3,1\n").find("class") != std::string::npos);
  CHECK(refused(json, R"({"three": 1})").find("the key 'three' is no label") != std::string::npos);
  CHECK(refused(json, R"({"3": "axon", "7": 1})").find("label 3 has class \"axon\" (expected a class from 1 to 2, or null for none).") != std::string::npos);
  CHECK(refused(json, "[1, 2]").find("is not a table of classes") != std::string::npos);
  CHECK(message_of<FileError>([&] { read_object_classes(volume, labels, 2); }).find("but its label volume 1x2x3") != std::string::npos);
}

TEST_CASE("stardist classes: label volumes of classes fall into objects") {
  data::Volume<int32_t> v({1, 2, 6});
  v.voxels = {1, 1, 2, 2, 0, 1,  //
              0, 0, 0, 2, 0, -1};
  const auto classes = separate_classes(v, 2, "v.tif");
  CHECK(v.voxels == std::vector<int32_t>{1, 1, 2, 2, 0, 3, 0, 0, 0, 2, 0, -1});
  CHECK(classes.of(1) == 1);
  CHECK(classes.of(2) == 2);
  CHECK(classes.of(3) == 1);
  CHECK(message_of<FileError>([&] { separate_classes(v, 2, "v.tif"); }) == "v.tif: holds the class 3 (expected 1 to 2, 0 for background; labels: classes).");
}

TEST_CASE("stardist classes: two channels and two classes from the command line, from training to scores") {
  Scratch dir;
  write_two_kinds(dir.file("v"), 5);
  const std::string model = dir.file("model"), out = dir.file("out");
  const auto training = words({dir.file("v"), "--type", "stardist3d", "--out", model, "--epochs", "8", "--steps-per-epoch", "60", "--batch-size", "2", "--learning-rate",
                               "0.005", "--set", "stardist_config.n_channel_in=2", "--set", "stardist_config.n_classes=2", "--set",
                               "stardist_config.train_n_val_patches=8"},
                              small);
  REQUIRE(test::run_command(make_train(), training).code == 0);
  const std::vector<double> loss = column(model + "/valid.csv", "prob_class_loss"), accuracy = column(model + "/valid.csv", "prob_class_accuracy");
  REQUIRE(loss.size() == 8);
  CHECK(loss.back() < 0.5 * loss.front());
  CHECK(accuracy.back() > 0.6);  // of voxels, after seconds
  CHECK(column(model + "/train.csv", "prob_class_loss").size() == 480);
  const StarDistConfig config = read_stardist_config(model + "/config.json").config;
  CHECK(config.network.n_channel_in == 2);
  CHECK(config.train_loss_weights == std::vector<double>{1, 0.2, 1});
  CHECK(config.train_class_weights == std::vector<double>{1, 1, 1});
  CHECK(test::run_command(make_train(), {dir.file("v"), "--out", model, "--resume", "auto", "--epochs", "9"}).code == 0);

  REQUIRE(test::run_command(make_optimize(), {dir.file("v"), "--model", model}).code == 0);
  REQUIRE(test::run_command(make_predict(), {dir.file("v/images"), "--model", model, "--out", out}).code == 0);
  const CsvTable objects = CsvTable::read(out + "/v0_objects.csv");
  REQUIRE(objects.rows() >= 2);
  const data::Volume<int32_t> predicted = read_label_volume(out + "/v0_prediction.tif"), of_voxel = read_label_volume(out + "/v0_classes.tif");
  std::map<int32_t, double> class_of;
  for (size_t i = 0; i < objects.rows(); ++i) {
    class_of[int32_t(i + 1)] = objects.number(i, "class");
    double sum = 0, most = 0;
    for (const char* c : {"class_prob-0", "class_prob-1", "class_prob-2"}) sum += objects.number(i, c), most = std::max(most, objects.number(i, c));
    CHECK(sum == Approx(1).margin(1e-5));
    CHECK(objects.number(i, text("class_prob-", int(objects.number(i, "class")))) == most);
  }
  for (size_t i = 0; i < predicted.voxels.size(); ++i) CHECK(double(of_voxel.voxels[i]) == class_of[predicted.voxels[i]]);

  const test::Ran ran = test::run_command(make_evaluate(), {out, "--truth", dir.file("v/masks"), "--instances", "--iou", "0.3", "--classes", dir.file("v/classes"), "--out", dir.file("e")});
  REQUIRE(ran.code == 0);
  CHECK(ran.out.find("have the right class") != std::string::npos);
  const CsvTable confusion = CsvTable::read(dir.file("e/confusion.csv")), classes = CsvTable::read(dir.file("e/classes.csv"));
  double right = 0, wrong = 0, true_objects = 0;
  for (size_t i = 0; i < confusion.rows(); ++i) {
    const double a = confusion.number(i, "true_class"), b = confusion.number(i, "predicted_class"), n = confusion.number(i, "objects");
    if (a > 0 && b > 0) (a == b ? right : wrong) += n;
    if (a > 0) true_objects += n;
  }
  INFO(right << " right, " << wrong << " wrong");
  CHECK(right > 3 * wrong);
  CHECK(right > 8);
  CHECK(true_objects == 20);
  REQUIRE(classes.rows() == 2);
  CHECK(classes.number(0, "n_true") == 10);
  CHECK(classes.number(0, "tp") + classes.number(1, "tp") == right);

  const auto refused = [&](std::vector<std::string> line) { return message_of<Error>([&] { test::run_command(make_evaluate(), line); }); };
  CHECK(refused({out, "--truth", dir.file("v/masks"), "--classes", dir.file("v/classes")}).find("--classes goes with --instances") == 0);
  CHECK(refused({out, "--truth", dir.file("v/masks"), "--instances", "--classes", dir.file("nowhere"), "--out", dir.file("f"), "--iou", "0.3"}).find("nowhere: no such folder (--classes).") != std::string::npos);
  std::filesystem::remove(out + "/v3_objects.csv");
  CHECK(refused({out, "--truth", dir.file("v/masks"), "--instances", "--classes", dir.file("v/classes"), "--out", dir.file("g")}).find("v3_objects.csv, which holds the predicted classes") !=
        std::string::npos);
}

TEST_CASE("stardist classes: data that do not fit what the network learns are refused by name") {
  Scratch dir;
  write_two_kinds(dir.file("v"), 2);
  const auto refused = [&](const std::vector<std::string>& more) {
    return message_of<Error>([&] {
      test::run_command(make_train(), words(words({dir.file("v"), "--type", "stardist3d", "--out", dir.file("m"), "--epochs", "1", "--steps-per-epoch", "1", "--dry-run"}, small), more));
    });
  };
  CHECK(refused({}).find(" is 24x24x24. Both must have the same shape.") != std::string::npos);
  CHECK(refused({"--set", "stardist_config.n_channel_in=3"}).find("has 2 channels, but 3 are expected.") != std::string::npos);
  const std::vector<std::string> two{"--set", "stardist_config.n_channel_in=2"};
  CHECK(refused(two) == "(nothing thrown)");
  CHECK(refused(words(two, {"--set", "stardist_config.n_classes=1"})).find("label 600 has class 2 (expected a class from 1 to 1") != std::string::npos);
  CHECK(refused(words(two, {"--set", "stardist_config.labels=classes"})) == "stardist_config.labels is classes, which goes with stardist_config.n_classes above 0.");
  CHECK(refused(words(two, {"--set", "stardist_config.n_classes=2", "--set", "stardist_config.train_class_weights=[1, 2]"})).find("'train_class_weights' is [1,2] (expected a list of 3 numbers") !=
        std::string::npos);
  CHECK(refused(words(two, {"--set", "stardist_config.n_classes=2", "--set", "stardist_config.labels=binary"})).find("gives classes by label, but the labels are masks") != std::string::npos);
  std::filesystem::remove(dir.file("v/classes/v0.csv"));
  std::filesystem::remove(dir.file("v/classes/v1.csv"));
  CHECK(refused(words(two, {"--set", "stardist_config.n_classes=2"})).find("its objects have no classes, which n_classes 2 asks for. Put a table") != std::string::npos);
  CHECK(refused(words(two, {"--set", "stardist_config.n_classes=1"})) == "(nothing thrown)");  // one class: every object is of it
}

TEST_CASE("stardist classes: movies in HDF5 with channels last and a table of classes") {
  Scratch dir;
  const auto write = [&](const std::string& path, bool classes) {
    io::H5Writer w(path);
    for (const char* fold : {"train", "valid"}) {
      const TwoKinds v = two_kinds(fold[0]);
      std::vector<float> input;
      for (size_t i = 0; i < v.labels.voxels.size(); ++i)
        for (const auto& c : v.channel) input.push_back(float(c.voxels[i]) / 1000);
      const std::string group = text("/", fold, "/1");
      const std::vector<int64_t> events{300, 2, 8, 2, 8, 2, 8}, table{300, 1, 600, 2, 900, 0, 1200, 2};
      w.write<float>(group + "/input", {12, 24, 24, 2}, input.data());
      w.write<uint16_t>(group + "/label", {12, 24, 24}, v.labels.voxels.data());
      w.write<int64_t>(group + "/events", {1, 7}, events.data());
      if (classes) w.write<int64_t>(group + "/classes", {4, 2}, table.data());
    }
    w.commit();
  };
  write(dir.file("d.h5"), true);
  write(dir.file("none.h5"), false);
  StarDistRun run = tiny_stardist_run(1, 1);
  run.common.training.crop_size = 16;
  run.config.network.n_channel_in = 2, run.config.network.n_classes = 2;
  run.labels = "instances";  // one crop, of one object
  const auto e = open_stardist_data(dir.file("d.h5"), run, 1 << 28).train->example(0);
  CHECK(e->channels() == 2);
  CHECK(e->channel(1).extent == data::Extent3{16, 16, 16});
  for (size_t i = 0; i < e->labels.voxels.size(); ++i)
    if (e->labels.voxels[i] == 300) CHECK(e->image.voxels[i] > e->channel(1).voxels[i] + 0.4f);
  CHECK(e->classes.of(300) == 1);
  CHECK(e->classes.of(900) == std::nullopt);
  CHECK(message_of<FileError>([&] { open_stardist_data(dir.file("none.h5"), run, 1 << 28).train->example(0); }).find("no data set /train/1/classes ([N,2]: label, class)") != std::string::npos);
  run.config.network.n_channel_in = 1;
  CHECK(message_of<FileError>([&] { open_stardist_data(dir.file("d.h5"), run, 1 << 28); }).find("/train/1/input is [12,24,24,2] (expected a movie [T,H,W]).") != std::string::npos);
}

TEST_CASE("stardist generator: channels are cut alike, classes stand where the objects are") {
  stardist::Example e = tiny_balls(3);
  e.more.push_back(e.image);
  for (float& v : e.more[0].voxels) v *= -1;
  e.classes.of_label = {{300, 1}, {600, 2}, {900, std::nullopt}, {1200, 1}};
  stardist::GeneratorOptions o;
  o.patch = {8, 16, 16};
  o.grid = {1, 2, 2};
  o.batch = 4;
  o.augmentation = stardist::Augmentation::notebook;
  o.channels = 2, o.n_classes = 2;
  const stardist::Generator g(std::make_shared<stardist::MemoryExamples>(std::vector<stardist::Example>{e}), stardist::make_rays(stardist::GoldenSpiral{16, {}}), o);
  const stardist::PatchBatch fixed = g.fixed(0, 4), changed = g.training(0);
  CHECK(fixed.input.shape() == Shape({4, 8, 16, 16, 2}));
  REQUIRE(fixed.prob_class.shape() == Shape({4, 8, 8, 8, 3}));
  const auto x = fixed.input.span<float>();
  for (size_t i = 0; i < x.size(); i += 2) CHECK(x[i + 1] == -x[i]);
  int64_t none = 0, objects = 0;
  for (const stardist::PatchBatch* b : {&fixed, &changed}) {
    const auto c = b->prob_class.span<float>();
    for (size_t i = 0; i < c.size(); i += 3) {
      if (c[i + 1] < 0) ++none;
      else CHECK(c[i] + c[i + 1] + c[i + 2] == 1);
      objects += c[i + 1] > 0 || c[i + 2] > 0;
    }
  }
  CHECK(none > 0);
  CHECK(objects > 0);
  o.channels = 3;
  const stardist::Generator wrong(std::make_shared<stardist::MemoryExamples>(std::vector<stardist::Example>{e}), stardist::make_rays(stardist::GoldenSpiral{16, {}}), o);
  CHECK(message_of<ShapeError>([&] { wrong.training(0); }).find("patches: volume 0 has 2 channels (expected 3)") == 0);
}

// SPDX-License-Identifier: BSD-3-Clause
// train, optimize and predict as a user runs them: files, exit codes, signals.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "apps/child.hpp"
#include "apps/scratch.hpp"
#include "apps/tiny_dataset.hpp"
#include "catch.hpp"
#include "common/model_folder.hpp"
#include "common/tables.hpp"
#include "voxgrad/autograd/record.hpp"
#include "voxgrad/data/hdf5_dataset.hpp"
#include "voxgrad/data/volume.hpp"
#include "voxgrad/io/tiff.hpp"
#include "voxgrad/metrics/pr_threshold.hpp"

namespace fs = std::filesystem;
using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// train on d.h5 with a tiny network, and more words.
std::vector<std::string> train(const std::string& out, const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {"train", "d.h5", "--out", out, "--batch-size", "4", "--patch-size", "8", "--steps", "4",
                                    "--valid-interval", "2", "--learning-rate", "0.01"};
  for (const char* key : {"model_config.n_layer=2", "model_config.nbf=2", "training_config.crop_size=16"}) {
    words.push_back("--set");
    words.push_back(key);
  }
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// A folder with a data set, a trained model and a raw movie.
struct Lab : Scratch {
  Lab() {
    write_tiny_dataset(file("d.h5"), {{"train", 3}, {"valid", 1}});
    const Ended trained = run(folder(), train("model"));
    INFO(trained.err);
    REQUIRE(trained.code == 0);
  }
  void write_movie(const std::string& name, int64_t frames = 12) const {
    fs::create_directories(fs::path(file(name)).parent_path());
    Random random(6);
    io::TiffWriter w(file(name), {frames, 20, 18}, io::SampleType::u16);
    std::vector<uint16_t> frame(20 * 18);
    for (int64_t t = 0; t < frames; ++t) {
      for (size_t i = 0; i < frame.size(); ++i) {
        const bool bright = t >= 4 && t < 8 && i / 18 >= 6 && i / 18 < 12 && i % 18 >= 5 && i % 18 < 11;
        frame[i] = uint16_t(200 + random.below(40) + (bright ? 400 : 0));
      }
      w.write(frame.data());
    }
    w.close();
  }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

int64_t rows(const std::string& csv) {
  const std::string content = text_of(csv);
  return int64_t(std::count(content.begin(), content.end(), '\n')) - 1;
}

}  // namespace

TEST_CASE("train: writes a model folder, never over another without being told") {
  const Lab lab;
  CHECK(names_in(lab.file("model")) == std::set<std::string>{"config.yaml", "weights.safetensors", "checkpoint.safetensors", "train.csv",
                                                             "valid.csv", "train.log", "report.html", "progress.svg"});
  CHECK(rows(lab.file("model/train.csv")) == 4);
  CHECK(rows(lab.file("model/valid.csv")) == 2);
  const std::string weights = text_of(lab.file("model/weights.safetensors"));
  const Ended again = run(lab.folder(), train("model", {"--seed", "5"}));
  CHECK(again.code == 2);
  CHECK(again.out.empty());
  CHECK(has(again.err, "voxgrad train: model already holds a model. Use --resume auto to go on, --overwrite to start again, or another --name.\n"));
  CHECK((text_of(lab.file("model/weights.safetensors")) == weights));
  const Ended replaced = run(lab.folder(), train("model", {"--seed", "5", "--overwrite"}));
  CHECK(replaced.code == 0);
  CHECK(replaced.out == "model\n");
  CHECK(rows(lab.file("model/train.csv")) == 4);
  CHECK((text_of(lab.file("model/weights.safetensors")) != weights));
  const Ended json = run(lab.folder(), train("model", {"--overwrite", "--json"}));
  const std::string last = json.out.substr(json.out.rfind('\n', json.out.size() - 2) + 1);
  CHECK(has(last, "\"event\": \"result\""));
  CHECK(has(last, "\"exit_code\": 0"));
  CHECK(has(last, "\"step\": 4"));
  CHECK((text_of(lab.file("model/weights.safetensors")) == weights));  // the same seed, the same bytes
  const Ended dry = run(lab.folder(), train("other", {"--dry-run"}));
  CHECK(dry.code == 0);
  CHECK(dry.out == "would train into other (nothing was written)\n");
  CHECK_FALSE(fs::exists(lab.file("other")));
}

TEST_CASE("train: a signal writes a checkpoint and ends with 128 + its number; resuming gives the bytes of an unbroken run") {
  const Lab lab;
  const std::vector<std::string> more = {"--steps", "150", "--batch-size", "16", "--valid-interval", "10", "--checkpoint-interval", "100000"};
  CHECK(run(lab.folder(), train("whole", more)).code == 0);
  std::vector<std::string> words = train("parts", more);
  words.insert(words.end(), {"--resume", "auto"});
  int64_t done = 0;
  for (const int number : {SIGTERM, SIGINT}) {
    Child child(lab.folder(), words);
    REQUIRE(child.until([&] { return rows(lab.file("parts/train.csv")) >= done + 12; }));
    child.signal(number);
    CHECK(child.wait() == 128 + number);
    CHECK(has(child.err(), number == SIGTERM ? "voxgrad train: stopped by signal 15.\n" : "voxgrad train: interrupted.\n"));
    REQUIRE(fs::exists(lab.file("parts/checkpoint.safetensors")));
    done = rows(lab.file("parts/train.csv"));
    CHECK(done < 150);
  }
  const Ended end = run(lab.folder(), words);
  CHECK(end.code == 0);
  CHECK(has(end.err, "resuming at step " + std::to_string(done)));
  for (const std::string name : {"checkpoint.safetensors", "weights.safetensors", "train.csv", "valid.csv", "config.yaml"}) {
    INFO(name);
    CHECK((text_of(lab.file("whole/" + name)) == text_of(lab.file("parts/" + name))));
  }
  for (const std::string& name : names_in(lab.file("parts"))) CHECK(name[0] != '.');  // no temporary files
}

TEST_CASE("train: USR1 writes a checkpoint, the run goes on") {
  const Lab lab;
  Child child(lab.folder(), train("m", {"--steps", "100000", "--checkpoint-interval", "100000"}));
  REQUIRE(child.until([&] { return rows(lab.file("m/train.csv")) >= 2; }));
  CHECK_FALSE(fs::exists(lab.file("m/checkpoint.safetensors")));
  child.signal(SIGUSR1);
  REQUIRE(child.until([&] { return fs::exists(lab.file("m/checkpoint.safetensors")); }));
  const int64_t then = rows(lab.file("m/train.csv"));
  CHECK(child.until([&] { return rows(lab.file("m/train.csv")) > then + 3; }));
  child.signal(SIGTERM);
  CHECK(child.wait() == 143);
}

TEST_CASE("train: a refused resume changes nothing") {
  const Lab lab;
  const std::string config = text_of(lab.file("model/config.yaml")), rows_before = text_of(lab.file("model/train.csv"));
  const Ended other = run(lab.folder(), {"train", "--out", "model", "--resume", "must", "--seed", "77", "--steps", "8"});
  CHECK(other.code == 2);
  CHECK(has(other.err, "model/checkpoint.safetensors: was made with another network, seed, batch, crop or optimiser."));
  CHECK(text_of(lab.file("model/config.yaml")) == config);
  CHECK(text_of(lab.file("model/train.csv")) == rows_before);
  const Ended more = run(lab.folder(), {"train", "--out", "model", "--resume", "must", "--steps", "6"});
  INFO(more.err);
  CHECK(more.code == 0);
  CHECK(rows(lab.file("model/train.csv")) == 6);
  const Ended none = run(lab.folder(), train("fresh", {"--resume", "must"}));
  CHECK(none.code == 2);
  CHECK(has(none.err, "voxgrad train: fresh: holds no checkpoint to resume from.\n"));
  CHECK_FALSE(fs::exists(lab.file("fresh")));
}

TEST_CASE("train: --init starts from weights, of a folder or a file, that fit") {
  const Lab lab;
  // At rate zero, without steps of batch norm, the weights stay those it started from.
  for (const std::string from : {"model", "model/weights.safetensors"}) {
    const Ended tuned = run(lab.folder(), train("tuned", {"--init", from, "--learning-rate", "1e-12", "--steps", "1", "--overwrite"}));
    INFO(tuned.err);
    REQUIRE(tuned.code == 0);
    const auto before = ModelFolder::existing(lab.file("model")).network(), after = ModelFolder::existing(lab.file("tuned")).network();
    const auto a = before->parameters(), b = after->parameters();
    for (size_t i = 0; i < a.size(); ++i)
      for (size_t k = 0; k < a[i].tensor->span<float>().size(); ++k)
        REQUIRE(std::abs(a[i].tensor->span<float>()[k] - b[i].tensor->span<float>()[k]) < 1e-9f);
  }
  const Ended wide = run(lab.folder(), train("wide", {"--init", "model", "--set", "model_config.nbf=4"}));
  CHECK(wide.code == 1);
  CHECK(has(wide.err, "model/weights.safetensors: "));
  CHECK(has(wide.err, "is [3x3x3x4x8], the network needs [3x3x3x8x16]"));
  CHECK_FALSE(fs::exists(lab.file("wide")));
  const Ended absent = run(lab.folder(), train("none", {"--init", "nowhere"}));
  CHECK(absent.code == 1);
  CHECK(has(absent.err, "voxgrad train: nowhere: no such file or model folder.\n"));
}

TEST_CASE("train: what is wrong is said before anything is written, 2 for usage and 1 for data") {
  const Lab lab;
  const std::string h5 = text_of(lab.file("d.h5"));
  std::ofstream(lab.file("cut.h5"), std::ios::binary) << h5.substr(0, h5.size() / 2);
  std::ofstream(lab.file("text.h5")) << "no HDF5 at all\n";
  std::ofstream(lab.file("bad.yaml")) << "seed: 3\ntraining_config:\n  batch_size: auto\n";
  std::ofstream(lab.file("unknown.yaml")) << "training_config:\n  bach_size: 4\n";
  struct Case {
    std::vector<std::string> words;
    int code;
    std::string says;
  };
  const auto with = [](const std::string& data, std::vector<std::string> more = {}) {
    std::vector<std::string> words = train("new", more);
    words[1] = data;
    return words;
  };
  const std::vector<Case> cases = {
      {with("missing.h5"), 1, "missing.h5: "},
      {with("cut.h5"), 1, "cut.h5: "},
      {with("text.h5"), 1, "text.h5: "},
      {with("d.h5", {"--train-fold", "trian"}), 1, "d.h5: no group 'trian'. Found: 'train', 'valid'. Choose with --train-fold and --valid-fold.\n"},
      {with("d.h5", {"--valid-fold", "vaild"}), 1, "d.h5: no group 'vaild'. Found: 'train', 'valid'."},
      {with("d.h5", {"--set", "training_config.bach_size=4"}), 2, "training_config.bach_size"},
      {with("d.h5", {"--set", "training_config.batch_size=auto"}), 2, "training_config.batch_size is 'auto' (expected an integer from 1 to "},
      {with("d.h5", {"--set", "training_config.batch_size"}), 2, "has no '='."},
      {with("d.h5", {"--batch-size", "0"}), 2, "training_config.batch_size is '0' (expected an integer from 1 to "},
      {with("d.h5", {"--loss", "dice"}), 2, "dice"},
      {with("d.h5", {"--patch-size", "10"}), 2, "patch_size"},
      {with("d.h5", {"--config", "bad.yaml"}), 2, "bad.yaml:3: training_config.batch_size is 'auto' (expected an integer from 1 to "},
      {with("d.h5", {"--config", "unknown.yaml"}), 2, "unknown.yaml:2"},
      {with("d.h5", {"--config", "absent.yaml"}), 1, "absent.yaml"},
      {with("d.h5", {"--set", "type=stardist3d"}), 2, "--steps goes with --type unet3d; StarDist trains in epochs"},
      {with("d.h5", {"--samples", "absent.json"}), 1, "absent.json"},
      {with("d.h5", {"--resume", "maybe"}), 2, "--resume"},
      {{"train", "--out", "new"}, 2, "no data set. Name an HDF5 file, or set 'dataset' in the configuration.\n"},
  };
  for (const Case& c : cases) {
    const Ended e = run(lab.folder(), c.words);
    std::string line;
    for (const std::string& w : c.words) line += w + " ";
    INFO(line << "\n" << e.err);
    CHECK(e.code == c.code);
    CHECK(has(e.err, "voxgrad train: "));
    CHECK(has(e.err, c.says));
    CHECK(e.out.empty());
    CHECK_FALSE(fs::exists(lab.file("new")));
  }
}

TEST_CASE("optimize: the segmentation threshold is that of the network's scores on the centre patches") {
  const Lab lab;
  const Ended done = run(lab.folder(), {"optimize", "d.h5", "--model", "model"});
  INFO(done.err);
  REQUIRE(done.code == 0);
  const ModelFolder folder = ModelFolder::existing(lab.file("model"));
  const auto net = folder.network();
  const data::Hdf5Fold fold(lab.file("d.h5"), "valid");
  const data::MovieEntry& m = fold.movies()[0];
  double sum = 0;
  for (const data::Event& e : m.events) {
    const data::Extent3 c = e.centre();
    const data::Box3 box{{c[0] - 4, c[1] - 4, c[2] - 4}, {c[0] + 4, c[1] + 4, c[2] + 4}};
    std::vector<float> input(512);
    std::vector<uint8_t> mask(512);
    fold.read_input_box(m, box, input.data());
    fold.read_mask_box(m, box, mask.data());
    NoGrad no_grad;
    const Tensor scores = (*net)(Tensor::from(input, {1, 8, 8, 8, 1}));
    // By the definition: all thresholds ascending, the first nearest to (1, 1).
    const float* s = scores.span<float>().data();
    const double positives = double(std::count(mask.begin(), mask.end(), 1));
    double nearest = 9, best = 0;
    for (const float threshold : std::set<float>(s, s + 512)) {
      double tp = 0, called = 0;
      for (size_t i = 0; i < 512; ++i) {
        called += s[i] >= threshold;
        tp += s[i] >= threshold && mask[i] != 0;
      }
      const double d = std::hypot(1 - tp / called, 1 - tp / positives);
      if (d < nearest - 1e-15) {
        nearest = d;
        best = double(threshold);
      }
    }
    sum += best;
  }
  REQUIRE(folder.thresholds().segmentation.has_value());
  CHECK(*folder.thresholds().segmentation == Approx(sum / 2).epsilon(1e-6));
  CHECK_FALSE(folder.thresholds().detection.has_value());
  CHECK(folder.thresholds().data == "d.h5");
  CHECK(std::stod(text_of(lab.file("model/optimized-threshold-segmentation"))) == *folder.thresholds().segmentation);
  char line[64];
  std::snprintf(line, sizeof line, "segmentation threshold %.6f\nmodel/thresholds.json\n", *folder.thresholds().segmentation);
  CHECK(done.out == line);
}

TEST_CASE("prior: from whole validation movies, between the labelled share and 1; refusals") {
  const Lab lab;
  const Ended done = run(lab.folder(), {"prior", "d.h5", "--model", "model"});
  INFO(done.out << done.err);
  CHECK(done.code == 0);
  const auto number_after = [&](const std::string& words) {
    const size_t at = done.out.find(words);
    REQUIRE(at != std::string::npos);
    return std::stod(done.out.substr(at + words.size()));
  };
  const double floor = number_after("labelled share "), prior = number_after("best bin: prior ");
  CHECK(floor > 0);
  CHECK(prior >= floor * 0.999);
  CHECK(prior <= 1);
  CHECK(number_after("95 % from ") <= prior * 1.001);
  const Ended again = run(lab.folder(), {"prior", "--model", "model", "--threads", "1"});  // data as the model was trained on
  CHECK(again.out == done.out);
  const Ended fold = run(lab.folder(), {"prior", "d.h5", "--model", "model", "--valid-fold", "vaild"});
  CHECK(has(fold.err, "voxgrad prior: d.h5: no group 'vaild'. Found: 'train', 'valid'."));
  CHECK(run(lab.folder(), {"prior", "d.h5", "--model", "model", "--dry-run"}).code == 0);
}

TEST_CASE("train: a risk needs its prior, and keeps its terms") {
  const Scratch dir;
  write_tiny_dataset(dir.file("d.h5"), {{"train", 3}, {"valid", 1}});
  const Ended none = run(dir.folder(), train("model", {"--loss", "nnpu"}));
  CHECK(none.code != 0);
  CHECK(has(none.err, "voxgrad train: loss nnpu needs the class prior"));
  const Ended range = run(dir.folder(), train("model", {"--loss", "nnpu", "--prior", "1.5"}));
  CHECK(has(range.err, "--prior: training_config.pu.prior is '1.5'"));
  for (const char* option : {"--prior", "--prior-prime"}) {
    const Ended zero = run(dir.folder(), train("model", {"--loss", "nnpu", option, "0.0"}));
    CHECK(zero.code == 2);
    CHECK(has(zero.err, std::string("voxgrad train: ") + option + " is '0.0' (expected a number above 0 and below 1)."));
  }
  const Ended forgotten = run(dir.folder(), train("model", {"--prior", "0.05"}));  // without --loss
  CHECK(forgotten.code == 2);
  CHECK(has(forgotten.err, "voxgrad train: --prior: training_config.pu.prior is 0.05 and has no effect on the training: loss mse does not read it"));
  const Ended done = run(dir.folder(), train("model", {"--loss", "abs_pu", "--prior", "0.05", "--prior-prime", "0.4", "--surrogate", "focal2"}));
  INFO(done.err);
  CHECK(done.code == 0);
  CHECK(has(text_of(dir.file("model/risk.csv")), "step,objective,corrected,Rp_pos,Rp_neg,Ru_neg,r,upu,beta\n0,"));
  CHECK(has(text_of(dir.file("model/config.yaml")), "prior_prime: 0.4"));
}

TEST_CASE("optimize: thresholds without negatives, beside the published one; refusals") {
  const Lab lab;
  const Ended done = run(lab.folder(), {"optimize", "d.h5", "--model", "model", "--criterion", "quantile", "--prior", "0.05"});
  INFO(done.out << done.err);
  REQUIRE(done.code == 0);
  CHECK(has(done.out, "reference threshold 0."));
  CHECK(has(done.out, "without negatives: prior 0.05 (given, 0.025 to 0.1)"));
  for (const char* row : {"\nreference  0.", "\npu_f1      0.", "\nlee_liu    0.", "\nquantile   0."}) CHECK(has(done.out, row));
  CHECK(has(done.out, "recall of labelled voxels in crops: training "));
  const CsvTable t = CsvTable::read(lab.file("model/quality/pu-thresholds.csv"));
  REQUIRE(t.rows() == 4);
  const ModelFolder folder = ModelFolder::existing(lab.file("model"));
  CHECK(*folder.thresholds().segmentation == Approx(t.number(3, "threshold")).epsilon(1e-9));
  CHECK(folder.thresholds().method == "segmentation: quantile from labelled and unlabeled voxels of whole movies");
  CHECK(t.number(3, "rate") <= 0.05);
  CHECK(t.number(1, "f1") >= t.number(0, "f1"));
  const auto says = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"optimize", "d.h5", "--model", "model"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended e = run(lab.folder(), words);
    CHECK(e.code == 2);
    return e.err;
  };
  CHECK(has(says({"--criterion", "pu_f1"}), "--criterion pu_f1 needs the share of positive voxels: --prior P, or --prior auto to estimate it."));
  CHECK(has(says({"--criterion", "pu_f1", "--prior", "2"}), "--prior is '2' (expected a number above 0 and below 1, or auto)."));
  CHECK(has(says({"--prior", "0.1"}), "--prior goes with --criterion pu_f1, lee_liu or quantile."));
  CHECK(has(says({"--criterion", "lee_liu", "--objective", "detection"}), "--criterion lee_liu chooses the segmentation threshold;"));
  CHECK(has(says({"--criterion", "pu_f1", "--prior", "0.0001"}), "the prior is 0.0001, but 0.01515"));
  CHECK(run(lab.folder(), {"optimize", "d.h5", "--model", "model", "--criterion", "lee_liu"}).code == 0);
  CHECK(run(lab.folder(), {"optimize", "d.h5", "--model", "model", "--criterion", "pu_f1", "--prior", "auto"}).code == 0);
}

TEST_CASE("train: --prior auto by the command line, with random crops of the validation movies") {
  const Scratch dir;
  write_tiny_dataset(dir.file("d.h5"), {{"train", 3}, {"valid", 2}});
  std::vector<std::string> words = train("model", {"--loss", "abs_pu", "--prior", "auto", "--prior-prime", "0.4", "--steps", "12"});
  for (const char* key : {"training_config.pu.prior_warmup=6", "training_config.pu.prior_interval=3", "training_config.pu.prior_crops=40",
                          "training_config.pu.ignore_border=1", "training_config.pu.balance_events=true"})
    words.insert(words.end(), {"--set", key});
  const Ended done = run(dir.folder(), words);
  INFO(done.err);
  REQUIRE(done.code == 0);
  CHECK(rows(dir.file("model/prior.csv")) == 3);
  CHECK(has(done.err, "step 6: prior 0."));
  CHECK(has(text_of(dir.file("model/config.yaml")), "prior: auto"));
  const Ended wrong = run(dir.folder(), train("other", {"--loss", "vpu", "--prior", "auto"}));
  CHECK(wrong.code == 2);
  CHECK(has(wrong.err, "voxgrad train: loss vpu takes no prior, so training_config.pu.prior cannot be auto."));
}

TEST_CASE("optimize: the detection threshold joins the other one; refusals") {
  const Lab lab;
  CHECK(run(lab.folder(), {"optimize", "d.h5", "--model", "model"}).code == 0);
  const Ended both = run(lab.folder(), {"optimize", "--model", "model", "--objective", "detection"});  // data as the model was trained on
  INFO(both.err);
  REQUIRE(both.code == 0);
  const Thresholds t = ModelFolder::existing(lab.file("model")).thresholds();
  REQUIRE(t.segmentation.has_value());
  REQUIRE(t.detection.has_value());
  CHECK(*t.detection >= 0.01);
  CHECK(*t.detection <= 1);
  CHECK(rows(lab.file("model/quality/detection-thresholds.csv")) == 100);
  const Ended fold = run(lab.folder(), {"optimize", "d.h5", "--model", "model", "--valid-fold", "vaild"});
  CHECK(fold.code == 1);
  CHECK(has(fold.err, "voxgrad optimize: d.h5: no group 'vaild'. Found: 'train', 'valid'."));
  const Ended model = run(lab.folder(), {"optimize", "d.h5", "--model", "nowhere"});
  CHECK(model.code == 1);
  CHECK(has(model.err, "voxgrad optimize: nowhere: no such model folder.\n"));
}

TEST_CASE("predict: files for each movie, finished ones are skipped, a broken one does not stop the others") {
  const Lab lab;
  lab.write_movie("raw/sub/a.tif");
  lab.write_movie("raw/b.tif");
  const std::vector<std::string> words = {"predict", "raw", "--recursive", "--model", "model", "--out", "res", "--threshold", "0.3"};
  const Ended first = run(lab.folder(), words);
  INFO(first.err);
  REQUIRE(first.code == 0);
  for (const char* file : {"res/sub/a_prediction.tif", "res/sub/a_labels.tif", "res/sub/a_overlay.tif", "res/sub/a_preview.png",
                           "res/sub/a_events.csv", "res/sub/a_traces.csv", "res/b_events.csv", "res/summary.csv", "res/summary.json"})
    CHECK(fs::exists(lab.file(file)));
  CHECK(has(first.out, "res/sub/a_events.csv\n"));
  CHECK(text_of(lab.file("res/b_events.csv")) == text_of(lab.file("res/sub/a_events.csv")));  // the same movie
  CHECK(CsvTable::read(lab.file("res/summary.csv")).rows() == 2);
  const auto written = fs::last_write_time(lab.file("res/b_events.csv"));
  const std::string events = text_of(lab.file("res/b_events.csv"));

  std::ofstream(lab.file("raw/c.tif")) << "II*\x08 broken";
  const Ended second = run(lab.folder(), words);
  CHECK(second.code == 1);
  CHECK(has(second.err, "raw/b.tif: finished already, skipped (--overwrite does it again)"));
  CHECK(has(second.err, "1 of 3 movies failed:"));
  CHECK(has(second.err, "raw/c.tif: "));
  CHECK(fs::last_write_time(lab.file("res/b_events.csv")) == written);
  CHECK(CsvTable::read(lab.file("res/summary.csv")).rows() == 2);
  for (const std::string& name : names_in(lab.file("res"))) CHECK((name[0] != '.' && name[0] != 'c'));

  fs::remove(lab.file("raw/c.tif"));
  std::vector<std::string> again = words;
  again.insert(again.end(), {"--overwrite", "--batch-size", "1"});
  CHECK(run(lab.folder(), again).code == 0);
  CHECK(fs::last_write_time(lab.file("res/b_events.csv")) > written);
  CHECK(text_of(lab.file("res/b_events.csv")) == events);
}

TEST_CASE("predict: the model's threshold is used, and the lack of one is said") {
  const Lab lab;
  lab.write_movie("a.tif");
  const Ended none = run(lab.folder(), {"predict", "a.tif", "--model", "model", "--out", "r1"});
  CHECK(none.code == 0);
  CHECK(has(none.err, "no segmentation threshold was chosen, 0.5 is used. Choose one with: voxgrad optimize"));
  std::ofstream(lab.file("model/thresholds.json")) << R"({"segmentation": 0.25, "detection": 0.125})";
  const Ended segmentation = run(lab.folder(), {"predict", "a.tif", "--model", "model", "--out", "r2"});
  CHECK(has(segmentation.err, "threshold 0.2500"));
  CHECK_FALSE(has(segmentation.err, "0.5 is used"));
  const Ended detection = run(lab.folder(), {"predict", "a.tif", "--model", "model", "--out", "r3", "--objective", "detection", "--json"});
  CHECK(has(detection.err, "threshold 0.1250"));
  CHECK(has(detection.err, "% of the time in convolutions"));
  for (const char* field : {"\"voxels_per_second\": ", "\"voxels_per_second_with_files\": ", "\"convolution_share\": 0."}) CHECK(has(detection.out, field));
}

TEST_CASE("predict: damaged models and movies end in one clean line") {
  const Lab lab;
  lab.write_movie("a.tif");
  const auto broken_model = [&](const std::string& name, const std::string& file, auto change) {
    fs::copy(lab.file("model"), lab.file(name));
    const std::string content = change(text_of(lab.file("model/" + file)));
    std::ofstream(lab.file(name + "/" + file), std::ios::binary) << content;
    return run(lab.folder(), {"predict", "a.tif", "--model", name, "--out", "res"});
  };
  const auto half = [](const std::string& s) { return s.substr(0, s.size() / 2); };
  const std::string tiff = text_of(lab.file("a.tif"));
  std::ofstream(lab.file("cut.tif"), std::ios::binary) << tiff.substr(0, tiff.size() / 2);
  std::ofstream(lab.file("empty.tif"));
  const auto on = [&](const std::string& movie, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"predict", movie, "--model", "model", "--out", "res"};
    words.insert(words.end(), more.begin(), more.end());
    return run(lab.folder(), words);
  };
  struct Case {
    Ended ended;
    int code;
    std::string says;
  };
  const std::vector<Case> cases = {
      {broken_model("w", "weights.safetensors", half), 1, "w/weights.safetensors: "},
      {broken_model("c", "config.yaml", [](const std::string&) { return std::string("model_config: {nbf: x}\n"); }), 1, "c/config.yaml:1: model_config.nbf is 'x'"},
      {broken_model("t", "thresholds.json", [](const std::string&) { return std::string("{"); }), 1, "t/thresholds.json: is not a JSON object."},
      {broken_model("n", "config.yaml", [](std::string s) { return s.replace(s.find("nbf: 2"), 6, "nbf: 4"); }), 1, "Is config.yaml the one these weights were trained with?"},
      {on("absent.tif"), 1, "absent.tif"},
      {on("cut.tif"), 1, "cut.tif: "},
      {on("empty.tif"), 1, "empty.tif: "},
      {on("d.h5"), 1, "d.h5: "},
      {on("a.tif", {"--threshold", "1.5"}), 2, "--threshold"},
      {on("a.tif", {"--mode", "fast", "--batch-norm", "batch"}), 2, "it does not go with --mode fast."},
      {on("a.tif", {"--memory", "1M"}), 2, "--memory allows 0.0 GB"},
  };
  for (const Case& c : cases) {
    INFO(c.says << "\n" << c.ended.err);
    CHECK(c.ended.code == c.code);
    CHECK(has(c.ended.err, "voxgrad predict: "));
    CHECK(has(c.ended.err, c.says));
    CHECK(c.ended.out.empty());
  }
  if (fs::exists(lab.file("res")))
    for (const std::string& name : names_in(lab.file("res"))) CHECK_FALSE(has(name, "_"));
}

TEST_CASE("predict: the published and the fast way work on movies smaller than a window") {
  const Lab lab;
  lab.write_movie("a.tif");
  const std::vector<std::vector<std::string>> modes = {{"--batch-norm", "batch"}, {"--mode", "fast"}};
  for (const std::vector<std::string>& mode : modes) {
    std::vector<std::string> words = {"predict", "a.tif", "--model", "model", "--out", "res", "--overwrite"};
    words.insert(words.end(), mode.begin(), mode.end());
    const Ended e = run(lab.folder(), words);
    INFO(e.err);
    CHECK(e.code == 0);
    CHECK(io::TiffMovie(lab.file("res/a_prediction.tif")).extent() == data::Extent3{12, 20, 18});
  }
}

TEST_CASE("predict: two movies of one name are not taken for one") {
  const Lab lab;
  lab.write_movie("day1/a.tif");
  lab.write_movie("day2/a.tif", 13);
  const Ended both = run(lab.folder(), {"predict", "day1/a.tif", "day2/a.tif", "--model", "model", "--out", "res"});
  CHECK(both.code == 2);
  CHECK(has(both.err, "voxgrad predict: day1/a.tif and day2/a.tif would both be written to res/a_*. Give a folder above them and --recursive, or "
                      "another --out for one.\n"));
  CHECK_FALSE(fs::exists(lab.file("res")));
  const Ended above = run(lab.folder(), {"predict", "day1", "day2", "--model", "model", "--out", "res"});
  CHECK(above.code == 2);  // the structure below each folder is kept, not the folder's name
}

TEST_CASE("predict: a signal ends it with 128 + its number and nothing half-written") {
  const Lab lab;
  lab.write_movie("a.tif", 3000);
  Child child(lab.folder(), {"predict", "a.tif", "--model", "model", "--out", "res"});
  REQUIRE(child.until([&] { return fs::exists(lab.file("res")) && !fs::is_empty(lab.file("res")); }));  // a temporary name
  child.signal(SIGTERM);
  CHECK(child.wait() == 143);
  CHECK(has(child.err(), "voxgrad predict: stopped by signal 15.\n"));
  CHECK(names_in(lab.file("res")).empty());
}

TEST_CASE("a card that is not there, and a precision without a card, are refused by every subcommand that would use one") {
  const Lab lab;
  lab.write_movie("m.tif");
  setenv("CUDA_VISIBLE_DEVICES", "", 1);  // where there is a card, it hides
  const std::vector<std::vector<std::string>> all = {train("other"),
                                                     {"train", "d.h5", "--type", "stardist3d", "--out", "other"},
                                                     {"optimize", "d.h5", "--model", "model"},
                                                     {"prior", "d.h5", "--model", "model"},
                                                     {"predict", "m.tif", "--model", "model", "--out", "other"},
                                                     {"bench", "--batch", "1", "--crop", "8", "--width", "2", "--depth", "1"},
                                                     {"bench", "--net", "stardist3d", "--batch", "1"}};
  for (const std::vector<std::string>& words : all) {
    INFO(words[0] << " " << words[1]);
    const auto with = [&](std::vector<std::string> more) {
      std::vector<std::string> w = words;
      w.insert(w.end(), more.begin(), more.end());
      return run(lab.folder(), w);
    };
    for (const char* device : {"cuda", "cuda:3"}) {
      const Ended absent = with({"--device", device});
      CHECK(absent.code == 1);
      CHECK(has(absent.err, text("voxgrad ", words[0], ": --device ", device, ": ")));
      CHECK(has(absent.err, "Use --device cpu"));
      CHECK(absent.out.empty());
    }
    const Ended precision = with({"--device", "cpu", "--precision", "bf16"});
    CHECK(precision.code == 2);
    CHECK(has(precision.err, "--precision bf16 needs a card, but this run is on the cpu, which computes in fp32."));
    CHECK(with({"--precision", "int8"}).code == 2);
    CHECK_FALSE(fs::exists(lab.file("other")));
  }
  unsetenv("CUDA_VISIBLE_DEVICES");
  const Ended same = run(lab.folder(), {"bench", "--batch", "1", "--crop", "8", "--width", "2", "--depth", "1", "--runs", "1", "--device", "cpu", "--precision",
                                        "fp32", "--json"});
  CHECK(same.code == 0);
  CHECK(has(same.out, "\"device\": \"cpu\""));
}

TEST_CASE("demo --quick: the whole job, with its files") {
  const Scratch dir;
  const Ended demo = run(dir.folder(), {"demo", "--quick", "--out", "demo"});
  INFO(demo.err);
  REQUIRE(demo.code == 0);
  for (const char* file : {"simulated/dataset.h5", "model/weights.safetensors", "model/thresholds.json", "results/summary.csv",
                           "evaluation/metrics.csv"})
    CHECK(fs::exists(dir.file(std::string("demo/") + file)));
  int previews = 0;
  for (const std::string& name : names_in(dir.file("demo/results"))) previews += has(name, "_preview.png");
  CHECK(previews == 1);
  CHECK(has(demo.out, "3-D U-Net, 20 steps"));
  CHECK(has(demo.out, "plain intensity threshold"));
  const Ended again = run(dir.folder(), {"demo", "--quick", "--out", "demo"});
  CHECK(again.code == 2);
  CHECK(has(again.err, "demo exists already. Choose another --out, or --overwrite."));
}

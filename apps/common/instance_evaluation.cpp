// SPDX-License-Identifier: BSD-3-Clause
#include "instance_evaluation.hpp"

#include <filesystem>

#include <fmt/format.h>

#include "class_scores.hpp"
#include "number_range.hpp"
#include "object_classes.hpp"
#include "tables.hpp"
#include "volume_file.hpp"

namespace voxgrad::app {
namespace {

namespace fs = std::filesystem;
constexpr int64_t most_classes = 65535;

std::string without(const std::string& stem, std::initializer_list<const char*> endings) {
  for (const std::string ending : endings)
    if (stem.size() > ending.size() && stem.compare(stem.size() - ending.size(), ending.size(), ending) == 0)
      return stem.substr(0, stem.size() - ending.size());
  return stem;
}

/// Predictions in a folder, without the label volumes that --thresholds writes beside them.
std::vector<Input> predictions_of(const Arguments& a) {
  const auto is_labels = [](const std::string& n) { return has_ending(n, {".tif", ".tiff"}) && n.find("_overlay") == std::string::npos && !has_ending(n, {"_classes.tif"}); };
  std::vector<Input> inputs = expand_inputs(a.inputs(), a.flag("--recursive"), is_labels);
  std::erase_if(inputs, [](const Input& input) {
    const fs::path folder = fs::path(input.relative).parent_path().filename();
    return has_ending(folder.string(), {"_thresholds"}) && fs::path(input.relative).filename().string().rfind("labels-", 0) == 0;
  });
  check<FileError>(!inputs.empty(), "there are only label volumes of --thresholds. Name their folders to compare them.");
  return inputs;
}

struct LabelVolumes {
  data::Volume<int32_t> truth, predicted;
};

/// Voxels that are not annotated, below 0 in the truth, are background in both volumes: what lies there counts neither way.
LabelVolumes annotated(const LabelPair& pair) {
  LabelVolumes v{read_label_volume(pair.truth), read_label_volume(pair.predicted)};
  for (const int32_t l : v.predicted.voxels)
    check<FileError>(l >= 0, pair.predicted, ": holds the label ", l, " (expected 0 for background and numbers above for objects).");
  if (v.truth.extent == v.predicted.extent)  // else the comparison says so
    for (size_t i = 0; i < v.truth.voxels.size(); ++i)
      if (v.truth.voxels[i] < 0) v.truth.voxels[i] = v.predicted.voxels[i] = 0;
  return v;
}

metrics::ObjectOverlap overlap_of(const LabelVolumes& v, const LabelPair& pair) {
  try {
    return metrics::object_overlap(v.truth, v.predicted);
  } catch (const ShapeError& e) {
    throw FileError(text(pair.predicted, " against ", pair.truth, ": ", e.what()));
  }
}

std::string row(const std::string& name, const metrics::InstanceScores& s) {
  return csv_line({csv_text(name), csv_number(s.thresh), std::to_string(s.n_true), std::to_string(s.n_pred), std::to_string(s.tp), std::to_string(s.fp),
                   std::to_string(s.fn), csv_number(s.precision), csv_number(s.recall), csv_number(s.f1), csv_number(s.accuracy),
                   csv_number(s.mean_matched_score), csv_number(s.mean_true_score), csv_number(s.panoptic_quality)});
}

}  // namespace

std::vector<LabelPair> pair_labels(const std::vector<Input>& predicted, const std::string& truth) {
  check<FileError>(fs::exists(truth), truth, ": no such file or folder.");
  std::vector<LabelPair> pairs;
  for (const Input& input : predicted) {
    const std::string stem = without(fs::path(input.relative).replace_extension().generic_string(), {"_prediction", "_labels"});
    LabelPair pair{stem, input.path, ""};
    if (!fs::is_directory(truth)) {
      check<UsageError>(predicted.size() == 1, "--truth ", truth, " is one file, but there are ", predicted.size(), " predictions. Give a folder.");
      pair.truth = truth;
    }
    for (const fs::path& where : {fs::path(truth) / fs::path(stem).parent_path(), fs::path(truth)})
      for (const char* ending : {".tif", ".tiff", "_labels.tif", "_mask.tif"})
        if (const fs::path file = where / (fs::path(stem).filename().string() + ending); pair.truth.empty() && fs::is_regular_file(file))
          pair.truth = file.string();
    check<FileError>(!pair.truth.empty(), input.path, ": no true labels in ", truth, " (looked for ", fs::path(stem).filename().string(),
                     ".tif, _labels.tif and _mask.tif).");
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

namespace {

/// The true classes: a file under the name of the label volume, or of the prediction's.
stardist::ObjectClasses true_classes(const std::string& folder, const LabelPair& pair, const data::Volume<int32_t>& truth) {
  check<FileError>(fs::is_directory(folder), folder, ": no such folder (--classes).");
  for (const std::string& stem : {fs::path(pair.truth).stem().string(), fs::path(pair.name).filename().string()})
    for (const char* ending : {".csv", ".json", ".tif", ".tiff"})
      if (const std::string file = folder + "/" + stem + ending; fs::is_regular_file(file)) return read_object_classes(file, truth, most_classes);
  throw FileError(text(pair.truth, ": no true classes in ", folder, " (looked for ", fs::path(pair.truth).stem().string(), ".csv, .json and .tif)."));
}

/// What predict wrote beside the label volume.
stardist::ObjectClasses predicted_classes(const LabelPair& pair, const data::Volume<int32_t>& predicted) {
  const std::string file = without(fs::path(pair.predicted).replace_extension().string(), {"_prediction", "_labels"}) + "_objects.csv";
  check<FileError>(fs::is_regular_file(file), pair.predicted, ": no ", file, ", which holds the predicted classes. Predict with a model that has classes.");
  check<FileError>(CsvTable::read(file).has("class"), file, ": has no column class. Predict with a model that has classes.");
  return read_object_classes(file, predicted, most_classes);
}

}  // namespace

std::vector<Option> instance_options() {
  return {{"--instances", "", "", "match whole objects of label volumes by overlap: F1, accuracy, panoptic quality", "Instances"},
          {"--iou", "FIRST:LAST:COUNT", "0.1:0.9:9", "with --instances: overlap thresholds", "Instances"},
          {"--criterion", "iou|iot|iop", "iou", "with --instances: what the overlap of two objects is divided by: their union (iou), the true (iot) or the predicted one (iop)", "Instances"},
          {"--classes", "DIR", "", "with --instances: tables of the true classes (NAME.csv or .json), compared with the class of each object in NAME_objects.csv", "Instances"},
          {"--by-image", "", "", "with --instances: mean over volumes instead of sums over all objects", "Instances"}};
}

int evaluate_instances(const Arguments& a, Session& session) {
  check<UsageError>(!a.inputs().empty(), "no predictions. Name label volumes or the folder that 'voxgrad predict' wrote.");
  check<UsageError>(a.given("--truth"), "nothing to compare with. Give --truth: label volumes.");
  const std::string classes = a.maybe("--classes").value_or("");
  for (const char* option : {"--expert", "--movies", "--from", "--threshold", "--prior", "--labels", "--model", "--matcher", "--distance", "--min-size", "--expert-unit",
                             "--pixel-size", "--slice-offset"})
    check<UsageError>(!a.given(option), option, " does not go with --instances, which compares label volumes.");
  const std::vector<double> thresholds = parse_range("--iou", a.get("--iou"), 0, 1, 1000);
  const metrics::Criterion criterion = metrics::criterion_named(a.choice("--criterion"));
  const std::string out = a.get("--out"), file = out + "/instances.csv";
  for (const char* name : {"/instances.csv", "/classes.csv", "/confusion.csv"}) refuse_existing(out + name, a.flag("--overwrite"));
  const std::vector<LabelPair> pairs = pair_labels(predictions_of(a), a.get("--truth"));

  std::string csv = "volume,threshold,n_true,n_pred,tp,fp,fn,precision,recall,f1,accuracy,mean_matched_score,mean_true_score,panoptic_quality\n";
  std::vector<std::vector<metrics::InstanceScores>> scores(thresholds.size());
  ClassScores by_class(thresholds, criterion);
  auto progress = session.stage("match", int64_t(pairs.size()), "volumes");
  for (size_t i = 0; i < pairs.size(); ++i) {
    session.check_stop();
    const LabelVolumes volumes = annotated(pairs[i]);
    const metrics::ObjectOverlap overlap = overlap_of(volumes, pairs[i]);
    for (size_t k = 0; k < thresholds.size(); ++k) {
      scores[k].push_back(metrics::match_overlap(overlap, thresholds[k], criterion).scores);
      csv += row(pairs[i].name, scores[k].back());
    }
    if (!classes.empty()) by_class.add(volumes.truth, volumes.predicted, true_classes(classes, pairs[i], volumes.truth), predicted_classes(pairs[i], volumes.predicted));
    progress->update(int64_t(i + 1));
  }
  progress->finish();
  session.print(fmt::format("{:>9} {:>7} {:>7} {:>7} {:>9} {:>7} {:>7} {:>8} {:>8}", a.get("--criterion"), "tp", "fp", "fn", "precision", "recall", "f1", "accuracy", "panoptic"));
  std::vector<JsonValue> rows;
  for (size_t k = 0; k < thresholds.size(); ++k) {
    const metrics::InstanceScores s = metrics::dataset_scores(scores[k], a.flag("--by-image"));
    csv += row("all", s);
    session.print(fmt::format("{:>9.2f} {:>7} {:>7} {:>7} {:>9.4f} {:>7.4f} {:>7.4f} {:>8.4f} {:>8.4f}", s.thresh, s.tp, s.fp, s.fn, s.precision, s.recall, s.f1,
                              s.accuracy, s.panoptic_quality));
    rows.push_back(Fields{{"threshold", s.thresh}, {"tp", s.tp}, {"fp", s.fp}, {"fn", s.fn}, {"precision", s.precision}, {"recall", s.recall},
                          {"f1", s.f1}, {"accuracy", s.accuracy}, {"panoptic_quality", s.panoptic_quality}});
  }
  make_folders(out);
  write_file(file, csv);
  session.print(file);
  if (!classes.empty()) by_class.write(out, a.flag("--by-image"), session);
  session.result("volumes", int64_t(pairs.size()));
  session.result("scores", rows);
  session.result("out", out);
  return 0;
}

}  // namespace voxgrad::app

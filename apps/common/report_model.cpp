// SPDX-License-Identifier: BSD-3-Clause
// The report of a model folder: what was run, a methods paragraph, curves, thresholds, configuration, files.

#include <filesystem>
#include <numeric>
#include <sstream>

#include <fmt/format.h>

#include "config.hpp"
#include "files.hpp"
#include "model_folder.hpp"
#include "report.hpp"
#include "report_page.hpp"
#include "stardist_folder.hpp"
#include "stardist_model.hpp"
#include "tables.hpp"
#include "voxgrad/io/safetensors.hpp"
#include "voxgrad/io/stored_zip.hpp"
#include "voxgrad/version.hpp"

namespace voxgrad::app {

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// One run of the program that wrote into train.log.
struct Run {
  std::string command, begun, ended, machine, device, last;
};

/// Runs by their three opening lines (log.cpp): command, version and machine, device.
std::vector<Run> runs_of(const std::string& log) {
  std::vector<Run> runs;
  std::istringstream in(log);
  std::string line;
  for (int opening = 0; std::getline(in, line);) {
    const std::size_t gap = line.find("  ");
    if (gap == std::string::npos) continue;
    const std::string when = line.substr(0, gap), what = line.substr(gap + 2);
    if (what.rfind("voxgrad " + std::string(version) + " on ", 0) == 0 || (opening == 1 && what.rfind("voxgrad ", 0) == 0)) {
      if (!runs.empty()) runs.back().machine = what;
      opening = 2;
    } else if (opening == 2 && what.rfind("device ", 0) == 0) {
      runs.back().device = what.substr(7);
      opening = 0;
    } else if (what.rfind("voxgrad ", 0) == 0) {
      runs.push_back({what, when, when, "", "", ""});
      opening = 1;
    } else if (!runs.empty()) {
      runs.back().last = what;
    }
    if (!runs.empty()) runs.back().ended = when;
  }
  return runs;
}

int64_t parameters(const std::string& folder) {
  if (!has_file(folder + "/weights.safetensors")) return 0;
  const io::SafeTensors file(folder + "/weights.safetensors");
  int64_t n = 0;
  for (const auto& [name, shape] : network_shapes(file, folder + "/weights.safetensors"))
    if (name.find("running_") == std::string::npos && name.find("num_batches") == std::string::npos) n += shape.size();
  return n;
}

std::string best_text(const std::string& folder) {
  if (!has_file(folder + "/weights.safetensors")) return "";
  const io::SafeTensors file(folder + "/weights.safetensors");
  const auto& m = file.metadata();
  const auto best = m.find("best"), step = m.find("step");
  const auto loss = best == m.end() ? std::nullopt : parse_real(best->second);
  if (!loss || step == m.end()) return "";
  return fmt::format(" The weights with the lowest validation loss ({}, after {} steps) are used.", short_number(*loss), step->second);
}

std::string optimiser_text(const OptimizerConfig& o) {
  const std::string name = o.name == "adam" ? "Adam" : o.name == "adamw" ? "AdamW" : "stochastic gradient descent";
  std::string text = fmt::format("{} (learning rate {}", name, short_number(o.lr));
  if (o.name == "sgd")
    text += o.momentum > 0 ? ", momentum " + short_number(o.momentum) : "";
  else
    text += fmt::format(", betas {} and {}", short_number(o.beta1), short_number(o.beta2));
  if (o.weight_decay > 0) text += ", weight decay " + short_number(o.weight_decay);
  return text + ")";
}

std::string unet_methods(const std::string& folder) {
  const TrainConfig c = train_config(ModelFolder(folder).config());
  const TrainingConfig& t = c.training;
  const int64_t n = parameters(folder);
  std::string text = fmt::format("A 3-D U-Net of depth {} with {} feature maps at full resolution{}{} was trained on {}.", c.model.n_layer, c.model.nbf,
                                 c.model.use_batch_norm ? " and batch normalisation" : "", n > 0 ? fmt::format(" ({} parameters)", n) : "",
                                 c.dataset.empty() ? "a data set" : fs::path(c.dataset).filename().string());
  text += fmt::format(" Batches of {} crops of {}^3 voxels{}{}, ", t.batch_size, t.patch_size,
                      t.random_crop ? fmt::format(", placed at random in annotated cubes of {}^3", t.crop_size) : "", t.flip ? ", flipped at random" : "");
  if (!t.samples_path.empty()) text += fmt::format("drawn from a list ({}), ", samples_key(t));
  text += t.loss == "mse"   ? "the squared error of the predicted probability"
          : t.loss == "bce" ? "binary cross entropy"
                            : fmt::format("the positive-unlabeled risk {} (surrogate {}, class prior {})", t.loss, t.pu.surrogate,
                                          t.pu.prior_auto ? "estimated while training" : short_number(t.pu.prior));
  text += fmt::format(" and {} were used for {} steps (seed {}).", optimiser_text(t.optimizer), t.num_steps, c.seed) + best_text(folder);
  const Thresholds chosen = ModelFolder(folder).thresholds();
  if (chosen.segmentation) text += fmt::format(" Voxels above {} are segmented", short_number(*chosen.segmentation));
  if (chosen.detection)
    text += fmt::format("{} {} for detection", chosen.segmentation ? ", connected components of voxels above" : " Events are connected components of voxels above",
                        short_number(*chosen.detection));
  if (chosen.segmentation || chosen.detection) text += "; both are chosen on validation data.";
  return text;
}

std::string stardist_methods(const std::string& folder) {
  const StarDistConfig c = read_stardist_config(folder + "/config.json").config;
  const int64_t n = parameters(folder);
  const auto size = [](const auto& v) { return fmt::format("{}x{}x{}", v[0], v[1], v[2]); };
  std::string text = fmt::format("A StarDist-3D network ({} rays, grid {}{}{}) was trained with batches of {} patches of {} voxels, the {} distance loss, a first "
                                 "learning rate of {} and at most {} epochs of {} steps.",
                                 c.network.n_rays, size(c.network.grid),
                                 c.anisotropy ? fmt::format(", anisotropy {:.3g}, {:.3g}, {:.3g}", (*c.anisotropy)[0], (*c.anisotropy)[1], (*c.anisotropy)[2]) : "",
                                 n > 0 ? fmt::format(", {} parameters", n) : "", c.train_batch_size, size(c.train_patch_size), c.train_dist_loss,
                                 short_number(c.train_learning_rate), c.train_epochs, c.train_steps_per_epoch) + best_text(folder);
  if (has_file(folder + "/thresholds.json")) {
    const StarDistThresholds t = read_stardist_thresholds(folder);
    text += fmt::format(" Objects start from probabilities above {} and suppress others from an overlap of {} on.", short_number(t.prob), short_number(t.nms));
  }
  return text;
}

int64_t wanted_steps(const std::string& folder, bool stardist) {
  if (!stardist) return train_config(ModelFolder(folder).config()).training.num_steps;
  const StarDistConfig c = read_stardist_config(folder + "/config.json").config;
  return c.train_epochs * c.train_steps_per_epoch;
}

/// Every column of a table against its first one, `skip` left out.
chart::Panel panel_of(const NumberTable& table, const std::string& title, const std::vector<std::string>& skip = {}) {
  chart::Panel p{title, "step", {}};
  for (std::size_t i = 1; i < table.header().size(); ++i) {
    const std::string& name = table.header()[i];
    if (std::find(skip.begin(), skip.end(), name) == skip.end()) p.series.push_back(thinned(name, table[table.header()[0]], table[name]));
  }
  return p;
}

void add_curves(ReportPage& page, const std::string& folder) {
  const std::vector<chart::Panel> losses = loss_panels(folder);
  const NumberTable risk(folder + "/risk.csv"), prior(folder + "/prior.csv"), train(folder + "/train.csv");
  if (losses.empty() && risk.rows() == 0) return;
  page.section("Training");
  page.chart(losses, "Loss of training steps (means of neighbours where there are many) and of validation crops with one standard deviation. Numbers: train.csv, valid.csv.");
  if (train.header().size() > 2) page.chart({panel_of(train, "parts of the training loss", {"loss"})}, "Numbers: train.csv.");
  if (risk.rows() > 0) page.chart({panel_of(risk, "terms of the risk")}, "Numbers: risk.csv.");
  if (prior.rows() > 0) {
    chart::Panel p{"share of positive voxels", "step", {thinned("used", prior["step"], prior["prior"])}};
    p.series.push_back({"estimate", prior["estimate"], prior["step"], chart::Mark::line, prior["low"], prior["high"]});
    page.chart({std::move(p)}, "Estimates on held-out crops, with their interval, and the smoothed value that the risk used. Numbers: prior.csv.");
  }
}

/// Mean over the movies of each measure of a threshold.
chart::Panel detection_panel(const NumberTable& t, double chosen) {
  std::map<double, std::array<double, 2>> sums;
  const std::vector<double> thresholds = t["threshold"], f1 = t["f1"];
  for (std::size_t i = 0; i < f1.size(); ++i)
    if (std::isfinite(f1[i])) sums[thresholds[i]][0] += f1[i], sums[thresholds[i]][1] += 1;
  chart::Series mean{"", {}, {}};
  for (const auto& [threshold, s] : sums) mean.x.push_back(threshold), mean.y.push_back(s[0] / s[1]);
  chart::Panel p{"detection on validation movies", "threshold", {std::move(mean)}, "F1, mean over movies"};
  p.marked_x = chosen;
  p.marked = "chosen";
  return p;
}

void add_thresholds(ReportPage& page, const std::string& folder) {
  if (!has_file(folder + "/thresholds.json")) return;
  page.section("Thresholds");
  if (is_stardist_folder(folder)) {
    const StarDistThresholds t = read_stardist_thresholds(folder);
    page.table({"probability", "overlap"}, {{short_number(t.prob), short_number(t.nms)}});
    return;
  }
  const Thresholds t = ModelFolder(folder).thresholds();
  const auto value = [](const std::optional<double>& v) { return v ? short_number(*v) : std::string("not chosen"); };
  page.table({"segmentation", "detection", "method", "date"}, {{value(t.segmentation), value(t.detection), t.method, t.date}});
  const NumberTable curve(folder + "/quality/detection-thresholds.csv");
  page.chart({detection_panel(curve, t.detection.value_or(NAN))}, "Numbers, movie by movie: quality/detection-thresholds.csv.");
}

void add_files(ReportPage& page, const std::string& folder) {
  page.section("Files");
  std::vector<std::vector<std::string>> rows;
  for (const fs::path& path : files_of(folder)) {
    const std::string name = path.filename().string();
    if (name == "report.html" || name == "progress.svg" || name.front() == '.') continue;
    const std::string bytes = read_file(path.string(), std::size_t(1) << 32);
    rows.push_back({name, std::to_string(bytes.size()), fmt::format("0x{:08x}", io::crc32(bytes.data(), bytes.size()))});
  }
  page.table({"file", "bytes", "CRC-32"}, rows);
}

}  // namespace

ReportPage model_report(const std::string& folder) {
  ReportPage page("Model " + fs::absolute(folder).lexically_normal().filename().string());
  const bool stardist = is_stardist_folder(folder);
  page.section("Methods");
  page.paragraph(stardist ? stardist_methods(folder) : unet_methods(folder));
  page.paragraph(software_text(stardist));
  if (has_file(folder + "/train.log")) {
    const std::vector<Run> runs = runs_of(read_file(folder + "/train.log"));
    std::vector<std::vector<std::string>> rows;
    for (const Run& r : runs) {
      rows.push_back({r.begun, r.command});
      rows.push_back({"to " + r.ended, r.machine + "; " + r.device});
    }
    page.section("Runs");
    page.table({"time", "command, program and machine, device"}, rows);
    if (!runs.empty()) page.paragraph("Last message: " + runs.back().last);
  }
  const NumberTable train(folder + "/train.csv");
  const int64_t done = train.rows() > 0 ? int64_t(train["step"].back()) + 1 : 0, wanted = done > 0 ? wanted_steps(folder, stardist) : 0;
  if (done < wanted) page.warning(fmt::format("{} of {} steps are done: the training goes on, or was interrupted (train --resume auto).", done, wanted));
  add_curves(page, folder);
  add_thresholds(page, folder);
  page.section("Configuration");
  page.listing(read_file(folder + (has_file(folder + "/config.yaml") ? "/config.yaml" : "/config.json")));
  add_files(page, folder);
  return page;
}

}  // namespace voxgrad::app

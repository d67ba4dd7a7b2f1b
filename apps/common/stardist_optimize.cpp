// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_optimize.hpp"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "model_folder.hpp"
#include "stardist_commands.hpp"
#include "stardist_data.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/metrics/instances.hpp"
#include "voxgrad/stardist/threshold_search.hpp"

namespace voxgrad::app {
namespace {

/// Bytes of candidates, twice: survivors are copies of them.
uint64_t bytes_of(const StarDistFound& f) {
  return 2 * sizeof(float) * (f.candidates.scores.size() + f.candidates.points.size() + f.candidates.dist.size());
}

/// Leaves out candidates found before a larger probability was known.
void keep_above(StarDistFound& f, float least, int64_t rays) {
  stardist::Candidates kept;
  for (int64_t i = 0; i < f.candidates.size(); ++i) {
    if (!(f.candidates.scores[size_t(i)] > least)) continue;
    kept.scores.push_back(f.candidates.scores[size_t(i)]);
    kept.points.insert(kept.points.end(), f.candidates.points.begin() + 3 * i, f.candidates.points.begin() + 3 * (i + 1));
    kept.dist.insert(kept.dist.end(), f.candidates.dist.begin() + rays * i, f.candidates.dist.begin() + rays * (i + 1));
  }
  f.candidates = std::move(kept);
  f.class_prob = {};
}

/// Plane z of all channels, [H,W,channels].
void copy_plane(const stardist::Example& e, int64_t z, float* out) {
  for (int64_t c = 0; c < e.channels(); ++c)
    for (int64_t i = 0; i < e.image.frame_size(); ++i) out[i * e.channels() + c] = e.channel(c).frame(z)[i];
}

/// Objects of all volumes at one overlap threshold; scores any probability threshold above the lowest.
class Scorer {
 public:
  Scorer(const stardist::ExampleSource& source, const std::vector<int64_t>& volumes, const std::vector<StarDistFound>& found,
         const stardist::Rays& rays, double nms, const std::vector<double>& iou)
      : source_(source), volumes_(volumes), rays_(rays), iou_(iou) {
    for (const StarDistFound& f : found) objects_.push_back(suppress_candidates(f, rays, nms));
  }
  double operator()(double prob_thresh) const {
    std::vector<std::vector<metrics::InstanceScores>> scores(iou_.size());
    for (size_t i = 0; i < volumes_.size(); ++i) {
      data::Volume<int32_t> truth = source_.example(volumes_[i])->labels, labels(truth.extent);
      for (int32_t& l : truth.voxels) l = std::max(l, 0);
      draw_objects(objects_[i], rays_, objects_[i].above(prob_thresh), labels.extent, 0,
                   [&](int64_t z, const int32_t* plane) { std::copy_n(plane, labels.frame_size(), labels.frame(z)); });
      const metrics::ObjectOverlap overlap = metrics::object_overlap(truth, labels);
      for (size_t k = 0; k < iou_.size(); ++k)
        scores[k].push_back(metrics::match_overlap(overlap, iou_[k], metrics::Criterion::iou).scores);
    }
    double sum = 0;
    for (const auto& s : scores) sum += metrics::dataset_scores(s).accuracy;
    return sum / double(iou_.size());
  }

 private:
  const stardist::ExampleSource& source_;
  const std::vector<int64_t>& volumes_;
  const stardist::Rays& rays_;
  const std::vector<double>& iou_;
  std::vector<StarDistObjects> objects_;
};

}  // namespace

ChosenThresholds choose_thresholds(models::StarDist3d& net, const stardist::Rays& rays, const stardist::ExampleSource& source,
                                   const std::vector<int64_t>& volumes, const StarDistThresholdSearch& search,
                                   const std::function<void(int64_t)>& progress) {
  check<UsageError>(!volumes.empty(), "thresholds: there are no annotated volumes to choose them from.");
  ChosenThresholds best;
  std::vector<StarDistFound> found;
  for (const int64_t index : volumes) {
    const auto example = source.example(index);
    StarDistSearch s;
    s.prob_thresh = 0;
    s.share_of_most = 0.5;
    s.most_so_far = best.most_probable;
    s.border = search.border;
    s.rule = BorderRule::dense;
    s.memory = search.memory;
    s.card = search.card;
    const data::Volume<float>& image = example->image;
    found.push_back(find_stardist_candidates(net, plan_stardist(net, image.extent, s), s,
                                             [&](int64_t z, float* out) { copy_plane(*example, z, out); }));
    const bool higher = found.back().most_probable > best.most_probable;
    best.most_probable = std::max(best.most_probable, found.back().most_probable);
    uint64_t bytes = 0;
    int64_t candidates = 0;
    for (StarDistFound& f : found) {
      if (higher || &f == &found.back()) keep_above(f, best.most_probable / 2, rays.size());
      bytes += bytes_of(f), candidates += f.candidates.size();
    }
    check(search.memory == 0 || bytes < search.memory / 2, "the ", candidates, " candidates of ", found.size(), " of ", volumes.size(),
          " volumes do not fit into ", (search.memory / 2) >> 20, " MiB, half of --memory. Allow more, or take fewer volumes with --n-samples.");
    if (progress) progress(int64_t(found.size()));
  }
  const double most = double(best.most_probable);
  for (const double nms : search.nms_thresh) {
    const Scorer scorer(source, volumes, found, rays, nms, search.iou_thresh);
    const stardist::ThresholdSearch s = stardist::search_threshold(scorer, most, search.tolerance, int(search.most_iterations));
    NmsTrial trial{nms, s.end, s.score, s.evaluated};
    if (best.trials.empty() || trial.score > best.score) best.prob = trial.prob, best.nms = nms, best.score = trial.score;
    best.trials.push_back(std::move(trial));
    if (progress) progress(int64_t(volumes.size() + best.trials.size()));
  }
  return best;
}

int optimize_stardist(const Arguments& a, Session& session) {
  for (const char* option : {"--objective", "--mode", "--criterion", "--prior", "--skip-empty"})
    check<UsageError>(!a.given(option), option, " goes with U-Net models; ", a.get("--model"), " is a StarDist model.");
  StarDistModel model = open_stardist_model(a.get("--model"), a.flag("--latest"));
  for (const std::string& note : model.notes) session.detail(note);
  const ModelFolder folder(model.path);
  Config config;
  if (std::filesystem::exists(folder.config_file())) config = folder.config();
  config.set("type", "stardist3d", "the model folder");
  config.set("stardist_config.normalization", model.normalization, "the model folder");
  if (a.given("--valid-fold")) {
    std::string yaml = "[";
    for (const std::string& n : a.list("--valid-fold")) yaml += (yaml.size() > 1 ? ", " : "") + json_quote(n);
    config.set("training_config.valid_folds", yaml + "]", "--valid-fold");
  }
  if (!a.inputs().empty()) config.set("dataset", json_quote(a.inputs()[0]), "the command line");
  StarDistRun run;
  run.common = train_config(config);
  run.normalization = config.text("stardist_config.normalization");
  run.labels = config.text("stardist_config.labels");
  run.data_axes = config.text("stardist_config.data_axes");
  run.config.train_patch_size = model.config.train_patch_size;
  run.config.network.n_channel_in = model.config.network.n_channel_in;
  if (run.labels == "classes") run.config.network.n_classes = model.config.network.n_classes;
  const std::string dataset = run.common.dataset;
  check<UsageError>(!dataset.empty(), "no data set. Name an HDF5 file, or a folder with images and masks.");
  const std::shared_ptr<const Card> card = chosen_card(a, session);
  set_threads(session.threads());
  const StarDistData data = open_stardist_data(dataset, run, int64_t(session.memory_limit() / 4));
  const int64_t size = data.valid->size();
  const bool crops = data.normalization == "study";
  const int64_t samples = std::min(size, a.given("--n-samples") ? a.integer("--n-samples", 1, 1000000000) : crops ? int64_t(300) : size);
  const int64_t repetitions = samples == size ? 1 : a.given("--repetitions") ? a.integer("--repetitions", 1, 1000) : 5;
  session.note(fmt::format("model {}: {} of {} validation volumes, {} times; {}", model.path, samples, size, repetitions, where_text(card.get(), threads())));
  if (session.dry_run()) return 0;
  const stardist::Rays rays = stardist::make_rays(model.config.rays);
  StarDistThresholdSearch search;
  search.memory = session.memory_limit();
  if (card) search.card = std::make_shared<StarDistCardInference>(card, *model.net);
  const int64_t units = samples + int64_t(search.nms_thresh.size());
  auto progress = session.stage("thresholds", repetitions * units, "steps");
  double prob = 0, nms = 0, score = 0;
  for (int64_t r = 0; r < repetitions; ++r) {
    std::vector<int64_t> order = data::epoch_order(size, a.given("--seed") ? uint64_t(a.integer("--seed", 0, int64_t(1) << 53)) : 42, r, samples < size);
    order.resize(size_t(samples));
    const ChosenThresholds chosen = choose_thresholds(*model.net, rays, *data.valid, order, search, [&](int64_t done) {
      session.check_stop();
      progress->update(r * units + done);
    });
    check(chosen.score > 0, "no predicted object meets a true one at any threshold", repetitions > 1 ? text(" in draw ", r + 1) : "",
          ": there is nothing to choose by, and ", model.path, "/thresholds.json stays as it was. Is the model trained enough?");
    for (const NmsTrial& t : chosen.trials)
      session.detail(fmt::format("nms {:.2f}: prob {:.4f}, mean accuracy {:.4f} ({} thresholds tried)", t.nms, t.prob, t.score, t.tried.size()));
    session.note(fmt::format("repetition {}: prob {:.4f}, nms {:.2f}, mean accuracy {:.4f}", r + 1, chosen.prob, chosen.nms, chosen.score));
    prob += chosen.prob / double(repetitions), nms += chosen.nms / double(repetitions), score += chosen.score / double(repetitions);
  }
  progress->finish();
  prob = std::clamp(prob, 1e-6, 1 - 1e-6);  // the Python package takes nothing else back
  nms = std::clamp(nms, 1e-6, 1 - 1e-6);
  save_stardist_thresholds(model.path + "/thresholds.json", prob, nms);
  session.print(fmt::format("prob {:.6f}\nnms {:.6f}\n{}/thresholds.json", prob, nms, model.path));
  session.result("prob", prob);
  session.result("nms", nms);
  session.result("mean_accuracy", score);
  return 0;
}

}  // namespace voxgrad::app

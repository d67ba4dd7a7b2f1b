// SPDX-License-Identifier: BSD-3-Clause
// voxgrad simulate: movies of dendrites with miniature calcium transients, their truth and incomplete
// annotations.

#include <filesystem>

#include <fmt/format.h>

#include "commands.hpp"
#include "common/files.hpp"
#include "common/simulated_set.hpp"
#include "voxgrad/core/parallel.hpp"

namespace voxgrad::app {
namespace {

data::Extent3 parse_size(const std::string& value) {
  data::Extent3 e{};
  std::size_t begin = 0;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::size_t end = axis < 2 ? value.find(',', begin) : value.size();
    const auto n = end == std::string::npos ? std::nullopt : parse_integer(value.substr(begin, end - begin));
    check<UsageError>(n && *n > 0, "--size is '", value,
                      "' (expected frames,rows,columns such as 300,256,256).");
    e[axis] = *n;
    begin = end + 1;
  }
  return e;
}

Annotated parse_annotation(const std::string& word) {
  if (word == "intensity") return Annotated::intensity;
  return word == "censored" ? Annotated::censored : Annotated::complete;
}

SimulatedSetPlan read_plan(const Arguments& a, Session& session) {
  SimulatedSetPlan p;
  p.train = a.integer("--train", 0, 10000);
  p.valid = a.integer("--valid", 0, 10000);
  p.test = a.integer("--test", 0, 10000);
  check<UsageError>(p.train + p.valid + p.test > 0,
                    "--train, --valid and --test are all 0: there is nothing to make.");
  p.annotation = parse_annotation(a.choice("--annotation"));
  const std::string valid = a.choice("--valid-annotation");
  p.valid_annotation = valid == "same" ? p.annotation : parse_annotation(valid);
  p.censor = a.real("--censor", 0, 1);
  p.rule = a.real("--rule-threshold", 1, 100);
  p.expert_jitter = a.real("--expert-jitter", 0, 20);
  p.seconds = a.real("--frame-time", 0, 1000);
  p.pixel_um = a.real("--pixel-size", 0, 1000);
  p.gzip = int(a.integer("--gzip", 0, 9));
  data::SimulateConfig& c = p.movie;
  c.extent = parse_size(a.get("--size"));
  c.seed = session.seed().value_or(42);
  c.event_rate = a.real("--event-rate", 0, 1000);
  c.amplitude.median = a.real("--amplitude", 0.01, 100);
  c.decay.median = a.real("--decay", 0.5, 100);
  c.dendrites = a.real("--dendrites", 0.1, 50);
  c.brightness = a.real("--brightness", 0.1, 10000);
  c.background = a.real("--background", 0.1, 10000);
  c.bleach_fraction = a.real("--bleach", 0, 0.99);
  c.drift = a.real("--drift", 0, 0.3);
  c.motion = a.real("--motion", 0, 1);
  c.offset = a.real("--offset", 0, 10000);
  c.gain = a.real("--gain", 0.001, 1000);
  c.read_noise = a.real("--read-noise", 0, 1000);
  c.label_level = a.real("--label-level", 0.01, 0.99);
  c.overlap = a.flag("--overlap");
  data::check_config(c);
  return p;
}

int run_simulate(const Arguments& a, Session& session) {
  const SimulatedSetPlan plan = read_plan(a, session);
  const std::string out = a.get("--out");
  const auto& e = plan.movie.extent;
  session.note(fmt::format(
      "{} training, {} validation and {} test movies of {}x{}x{}, about {:.0f} events each, {:.2f} GB in {}",
      plan.train, plan.valid, plan.test, e[0], e[1], e[2],
      plan.movie.event_rate * double(data::voxel_count(e)) / 1e6, double(simulated_set_bytes(plan)) / 1e9,
      out));
  if (session.dry_run()) return 0;
  for (const char* part : {"dataset.h5", "testset"})
    refuse_existing((std::filesystem::path(out) / part).string(), a.flag("--overwrite"));
  set_threads(session.threads());
  const SimulatedSet set = write_simulated_set(plan, out, session);
  if (!set.dataset.empty()) {
    session.print(fmt::format("{}: {} of {} training events annotated, {} of {} validation events",
                              set.dataset, set.train_annotated, set.train_events, set.valid_annotated,
                              set.valid_events));
  }
  for (const std::string& movie : set.movies) session.print(movie);
  session.result("dataset", set.dataset);
  session.result("train_events", set.train_events);
  session.result("train_annotated", set.train_annotated);
  session.result("valid_events", set.valid_events);
  session.result("valid_annotated", set.valid_annotated);
  session.result("test_events", set.test_events);
  session.result("test_movies", std::vector<JsonValue>(set.movies.begin(), set.movies.end()));
  return 0;
}

std::vector<Option> own_options() {
  return {
      {"--train", "N", "6", "training movies", "Data"},
      {"--valid", "N", "2", "validation movies", "Data"},
      {"--test", "N", "2", "raw test movies with expert files and truth", "Data"},
      {"--size", "T,H,W", "300,256,256", "frames, rows and columns of a movie", "Data"},
      {"--annotation", "complete|intensity|censored", "complete", "which events the training labels hold",
       "Data"},
      {"--valid-annotation", "same|complete|intensity|censored", "same",
       "which events the validation labels hold", "Data"},
      {"--censor", "RATE", "0.25", "part of the events that 'censored' leaves out", "Data"},
      {"--rule-threshold", "SD", "6", "threshold of 'intensity', standard deviations of a pixel", "Data"},
      {"--expert-jitter", "PIXELS", "1", "rms error of an expert's click", "Data"},
      {"--frame-time", "SECONDS", "0.1", "time between frames, written into the TIFF files", "Data"},
      {"--pixel-size", "UM", "0.16", "pixel size in micrometres, written into the TIFF files", "Data"},
      {"--event-rate", "N", "1.1", "mean number of events per million voxels", "Model"},
      {"--amplitude", "DFF", "0.9", "median peak dF/F of an event", "Model"},
      {"--decay", "FRAMES", "4", "median decay time of an event", "Model"},
      {"--label-level", "PART", "0.25", "voxels belong to an event above this part of its peak", "Model"},
      {"--overlap", "", "", "let events touch each other", "Model"},
      {"--dendrites", "N", "5", "dendrites that cross a field of 256x256", "Model"},
      {"--brightness", "ELECTRONS", "40", "light of a dendrite per pixel and frame", "Model"},
      {"--background", "ELECTRONS", "10", "light of empty parts", "Model"},
      {"--bleach", "PART", "0.2", "light lost by the end", "Model"},
      {"--drift", "PART", "0.02", "rms of the slow common intensity drift", "Model"},
      {"--motion", "PIXELS", "0", "rms of residual motion", "Model"},
      {"--offset", "COUNTS", "100", "camera offset", "Model"},
      {"--gain", "COUNTS", "2.2", "counts per photo-electron", "Model"},
      {"--read-noise", "ELECTRONS", "1.6", "rms read noise", "Model"},
      {"--gzip", "LEVEL", "0", "compression of the HDF5 inputs, 0 to 9", "Output"},
  };
}

}  // namespace

Command make_simulate() {
  return {
      .name = "simulate",
      .summary = "Makes synthetic movies of dendrites with calcium transients, with their exact truth.",
      .options = join(own_options(), {common::out("simulated"), common::overwrite("replace an existing set"),
                                      common::dry_run(), common::seed(), common::threads()}),
      .examples = {{"voxgrad simulate --out sim",
                    "a small study: 6 training, 2 validation and 2 test movies"},
                   {"voxgrad simulate --out sim --annotation intensity",
                    "training labels as a threshold detector gives them"},
                   {"voxgrad simulate --out one --train 0 --valid 0 --test 1 --size 600,512,512 --seed 7",
                    "one raw movie of the published size"}},
      .more = "docs/simulate.md",
      .run = run_simulate};
}

}  // namespace voxgrad::app

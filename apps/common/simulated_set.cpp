// SPDX-License-Identifier: BSD-3-Clause
#include "simulated_set.hpp"

#include <algorithm>
#include <cmath>

#include "files.hpp"
#include "tables.hpp"
#include "voxgrad/data/annotate.hpp"
#include "voxgrad/data/preprocess.hpp"
#include "voxgrad/data/simulate.hpp"
#include "voxgrad/io/hdf5_write.hpp"
#include "voxgrad/io/tiff_write.hpp"

namespace voxgrad::app {
namespace {

using data::Annotation;
using data::Volume;

/// Each movie of a set has its own, unrelated seed; movies are numbered from 1.
std::uint64_t movie_seed(std::uint64_t seed, std::int64_t number) {
  return Random(seed, 100, std::uint64_t(number))();
}

struct Filmed {
  data::Simulator simulator;
  Volume<std::uint16_t> movie;
};

Filmed film(const SimulatedSetPlan& plan, std::int64_t number, Progress& progress, Session& session) {
  data::SimulateConfig config = plan.movie;
  config.seed = movie_seed(plan.movie.seed, number);
  Filmed f{data::Simulator(config), Volume<std::uint16_t>(config.extent)};
  const std::int64_t before = progress.done();
  for (std::int64_t t = 0; t < config.extent[0]; ++t) {
    session.check_stop();
    f.simulator.frame(t, f.movie.frame(t));
    progress.update(before + t + 1);
  }
  return f;
}

Annotation annotate(Annotated kind, const Annotation& truth, const Filmed& f, const data::Preprocess& p,
                    const SimulatedSetPlan& plan) {
  if (kind == Annotated::censored) return annotate_censored(truth, plan.censor, f.simulator.config().seed);
  if (kind == Annotated::intensity) return annotate_by_intensity(f.movie, p, plan.rule);
  return truth;
}

void write_events(io::H5Writer& w, const std::string& name, const std::vector<data::Event>& events) {
  std::vector<std::int64_t> rows;
  for (const data::Event& e : events)
    rows.insert(rows.end(), {e.id, e.t_min, e.t_max, e.y_min, e.y_max, e.x_min, e.x_max});
  w.write<std::int64_t>(name, {std::int64_t(events.size()), 7}, rows.data());
}

void write_input(io::H5Writer& w, const std::string& name, const Volume<std::uint16_t>& movie,
                 const data::Preprocess& p, int gzip) {
  const auto& e = movie.extent;
  w.create<float>(name, {e[0], e[1], e[2]},
                  {gzip > 0 ? std::vector<std::int64_t>{16, 64, 64} : std::vector<std::int64_t>{}, gzip});
  std::vector<float> block;
  for (std::int64_t t = 0; t < e[0]; t += 16) {  // whole chunks, so that none is compressed twice
    const std::int64_t frames = std::min<std::int64_t>(16, e[0] - t);
    block.assign(movie.frame(t), movie.frame(t) + frames * movie.frame_size());
    for (std::int64_t i = 0; i < frames; ++i) {
      float* frame = block.data() + i * movie.frame_size();
      p.apply(t + i, frame, frame, movie.frame_size());
    }
    w.write_box<float>(name, {t, 0, 0}, {frames, e[1], e[2]}, block.data());
  }
}

void write_label(io::H5Writer& w, const std::string& name, const Volume<std::uint16_t>& label) {
  const auto& e = label.extent;
  w.write<std::uint16_t>(name, {e[0], e[1], e[2]}, label.voxels.data(), {{16, 64, 64}, 1});
}

/// One movie of a training set; returns (events, annotated events).
std::pair<std::int64_t, std::int64_t> write_training_movie(io::H5Writer& w, const std::string& group,
                                                           Annotated kind, const Filmed& f,
                                                           const SimulatedSetPlan& plan) {
  const data::Preprocess p = data::measure_movie(f.movie.extent, [&](std::int64_t t, float* out) {
    std::copy_n(f.movie.frame(t), f.movie.frame_size(), out);
  });
  const Annotation truth = data::annotate_truth(f.simulator);
  const Annotation given = annotate(kind, truth, f, p, plan);
  write_input(w, group + "/input", f.movie, p, plan.gzip);
  write_label(w, group + "/label", given.label);
  write_events(w, group + "/events", given.events);
  write_label(w, group + "/truth-label", truth.label);
  write_events(w, group + "/truth-events", truth.events);
  const std::vector<bool> found = data::annotated_events(truth, given);
  const std::vector<std::uint8_t> flags(found.begin(), found.end());
  w.write<std::uint8_t>(group + "/annotated", {std::int64_t(flags.size())}, flags.data());
  w.set_attribute(group, "seed", std::to_string(f.simulator.config().seed));
  w.set_attribute(group, "triangle-threshold", std::vector<double>{p.threshold});
  w.set_attribute(group, "mean-foreground", std::vector<double>{p.foreground});
  return {std::int64_t(found.size()), std::count(found.begin(), found.end(), true)};
}

void write_tiff(const std::string& path, const Volume<std::uint16_t>& volume, const SimulatedSetPlan& plan,
                bool deflate) {
  io::TiffWriteOptions options;
  options.spacing.seconds = plan.seconds;
  options.spacing.y_um = options.spacing.x_um = plan.pixel_um;
  options.deflate = deflate;
  io::TiffWriter writer(path, volume.extent, io::SampleType::u16, options);
  for (std::int64_t t = 0; t < volume.extent[0]; ++t) writer.write(volume.frame(t));
  writer.close();
}

/// A point table as ImageJ writes it: one click per event near its brightest place and frame; Slice counts
/// from 1.
std::string expert_csv(const Filmed& f, double jitter) {
  const data::SimulateConfig& c = f.simulator.config();
  std::string out = " ,Area,Mean,X,Y,Slice\n";
  Random random(c.seed, 101);
  std::int64_t row = 0;
  for (const data::SimulatedEvent& e : f.simulator.events()) {
    const double y = std::clamp(e.y + jitter * random.normal(), 0.0, double(c.extent[1] - 1));
    const double x = std::clamp(e.x + jitter * random.normal(), 0.0, double(c.extent[2] - 1));
    const std::int64_t t = std::clamp<std::int64_t>(
        e.peak_frame + std::int64_t(std::lround(0.5 * jitter * random.normal())), 0, c.extent[0] - 1);
    const double mean = f.movie.at(t, std::int64_t(std::lround(y)), std::int64_t(std::lround(x)));
    const auto rounded = [](double v) { return csv_number(std::round(v * 1000) / 1000); };
    out += csv_line(
        {std::to_string(++row), "0", csv_number(mean), rounded(x), rounded(y), std::to_string(t + 1)});
  }
  return out;
}

/// Everything known about the events; frames and pixels count from 0, boxes are half-open.
std::string truth_csv(const data::Simulator& s) {
  std::string out =
      csv_line({"id",     "onset",   "y",     "x",     "peak_frame", "amplitude_dff", "peak_electrons",
                "snr",    "rise",    "decay", "width", "length",     "angle",         "on_spine",
                "voxels", "t_start", "t_end", "y_min", "y_max",      "x_min",         "x_max"});
  for (const data::SimulatedEvent& e : s.events()) {
    std::vector<std::string> cells{std::to_string(e.id), csv_number(e.onset), csv_number(e.y),
                                   csv_number(e.x), std::to_string(e.peak_frame)};
    for (double v : {e.amplitude, e.peak_electrons, e.snr(s.config().read_noise), e.rise, e.decay, e.width,
                     e.length, e.angle})
      cells.push_back(csv_number(v));
    cells.push_back(e.on_spine ? "1" : "0");
    cells.push_back(std::to_string(e.voxels));
    for (std::size_t a = 0; a < 3; ++a) {
      cells.push_back(std::to_string(e.box.start[a]));
      cells.push_back(std::to_string(e.box.stop[a]));
    }
    out += csv_line(cells);
  }
  return out;
}

void write_test_movie(const Filmed& f, std::int64_t number, const SimulatedSetPlan& plan,
                      const std::string& out, SimulatedSet& set) {
  const std::string name = std::to_string(number) + "-1", base = out + "/testset/";
  for (const char* folder : {"raw-input", "manual-expert", "truth"}) make_folders(base + folder);
  set.movies.push_back(base + "raw-input/" + name + ".tif");
  set.experts.push_back(base + "manual-expert/manual_" + name + ".csv");
  set.truth_labels.push_back(base + "truth/" + name + "_labels.tif");
  set.truths.push_back(base + "truth/" + name + "_events.csv");
  write_tiff(set.truth_labels.back(), data::annotate_truth(f.simulator).label, plan, true);
  write_file(set.truths.back(), truth_csv(f.simulator));
  write_file(set.experts.back(), expert_csv(f, plan.expert_jitter));
  write_tiff(set.movies.back(), f.movie, plan, false);
  set.test_events += std::int64_t(f.simulator.events().size());
}

}  // namespace

std::uint64_t simulated_set_bytes(const SimulatedSetPlan& plan) {
  const auto voxels = std::uint64_t(data::voxel_count(plan.movie.extent));
  return voxels * (std::uint64_t(plan.train + plan.valid) * 41 / 10 + std::uint64_t(plan.test) * 21 / 10) +
         1000000;
}

SimulatedSet write_simulated_set(const SimulatedSetPlan& plan, const std::string& out, Session& session) {
  data::check_config(plan.movie);
  make_folders(out);
  check_space(out, simulated_set_bytes(plan));
  SimulatedSet set;
  const std::int64_t training = plan.train + plan.valid;
  auto progress = session.stage("simulate", (training + plan.test) * plan.movie.extent[0], "frames");
  if (training > 0) {
    set.dataset = out + "/dataset.h5";
    io::H5Writer w(set.dataset);
    w.create_group("/train");
    w.create_group("/valid");
    w.set_attribute("/", "simulated",
                    "by voxgrad simulate; truth-label and truth-events are complete, label and events "
                    "may leave events out");
    for (std::int64_t i = 1; i <= training; ++i) {
      const bool train = i <= plan.train;
      const Filmed f = film(plan, i, *progress, session);
      const auto [events, annotated] =
          write_training_movie(w, (train ? "/train/" : "/valid/") + std::to_string(i),
                               train ? plan.annotation : plan.valid_annotation, f, plan);
      (train ? set.train_events : set.valid_events) += events;
      (train ? set.train_annotated : set.valid_annotated) += annotated;
    }
    w.commit();
  }
  for (std::int64_t i = training + 1; i <= training + plan.test; ++i)
    write_test_movie(film(plan, i, *progress, session), i, plan, out, set);
  progress->finish();
  return set;
}

}  // namespace voxgrad::app

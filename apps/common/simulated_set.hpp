// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A whole simulated study on disk: the training set in the published HDF5 layout, raw test movies, expert
// files, truth.

#include <cstdint>
#include <string>
#include <vector>

#include "session.hpp"
#include "voxgrad/data/simulate_config.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::app {

/// How complete the labels of a fold are.
enum class Annotated { complete, intensity, censored };

struct SimulatedSetPlan {
  data::SimulateConfig movie;  ///< movie.seed seeds the whole set; each movie gets its own seed from it
  std::int64_t train = 6, valid = 2, test = 2;
  Annotated annotation = Annotated::complete, valid_annotation = Annotated::complete;
  double censor = 0.25;      ///< part of the events left out by `censored`
  double rule = 6;           ///< threshold of the intensity rule, standard deviations
  double expert_jitter = 1;  ///< rms error of an expert's click, pixels
  double seconds = 0.1, pixel_um = 0.16;
  int gzip = 0;  ///< of the inputs; labels are always compressed
};

/// What was written.
struct SimulatedSet {
  std::string dataset;                               ///< <out>/dataset.h5; "" without train and valid movies
  std::vector<std::string> movies, experts, truths;  ///< one per test movie: raw TIFF, expert CSV, truth CSV
  std::vector<std::string> truth_labels;             ///< label TIFF of each test movie
  std::int64_t train_events = 0, train_annotated = 0, valid_events = 0, valid_annotated = 0, test_events = 0;
};

/// Bytes that write_simulated_set will put on disk, about.
std::uint64_t simulated_set_bytes(const SimulatedSetPlan& plan);

/// Writes everything below `out`, each file atomically:
///   dataset.h5                        <fold>/<number>/{input,label,events} and
///   {truth-label,truth-events,annotated} testset/raw-input/<n>-1.tif       unsigned 16-bit movies
///   testset/manual-expert/manual_<n>-1.csv
///   testset/truth/<n>-1_labels.tif, <n>-1_events.csv
/// The same plan gives the same numbers in every file, for any number of threads.
SimulatedSet write_simulated_set(const SimulatedSetPlan& plan, const std::string& out, Session& session);

}  // namespace voxgrad::app

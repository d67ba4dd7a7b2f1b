// SPDX-License-Identifier: BSD-3-Clause
#include "pu_evaluation.hpp"

#include <cmath>

#include <fmt/format.h>

#include "voxgrad/io/tiff.hpp"

namespace voxgrad::app {
namespace {

/// Measures without negatives from probabilities and true masks in which only some events are labelled.
MovieScores scores_without_negatives(const std::vector<MovieFiles>& files, bool codes, Session& session) {
  MovieScores scores(codes);
  for (const MovieFiles& f : files) {
    check<UsageError>(!f.probability.empty() && !f.truth.empty(), "--prior compares probabilities with labelled voxels, but movie ", f.name, " has no ",
                      f.probability.empty() ? "probability movie (voxgrad predict writes it without --no-probability)." : "label movie (--truth).");
    io::TiffMovie probability(f.probability), truth(f.truth);
    const data::Extent3 e = probability.extent(), t = truth.extent();
    check<FileError>(e == t, f.truth, ": is ", t[0], "x", t[1], "x", t[2], ", but ", f.probability, " is ", e[0], "x", e[1], "x", e[2], ".");
    std::vector<float> frame(size_t(e[1] * e[2])), mask(frame.size());
    std::vector<int32_t> labels(frame.size());
    for (int64_t at = 0; at < e[0]; ++at) {
      session.check_stop();
      probability.read(at, at + 1, frame.data());
      truth.read(at, at + 1, mask.data());
      for (size_t i = 0; i < mask.size(); ++i) {
        check<FileError>(frame[i] >= 0 && frame[i] <= 1, f.probability, ": frame ", at, " holds ", frame[i], " (expected a probability from 0 to 1).");
        check<FileError>(mask[i] >= 0 && mask[i] <= float(1 << 24) && mask[i] == std::floor(mask[i]), f.truth, ": frame ", at, " holds ", mask[i],
                         " (expected whole numbers from 0 on, one per event).");
        labels[i] = int32_t(mask[i]);
      }
      scores.add_frame(f.truth, at, e, frame.data(), labels.data());
    }
    scores.end_movie();
  }
  return scores;
}

}  // namespace

PuReport report_without_negatives(const std::vector<MovieFiles>& files, const std::string& prior, std::optional<double> threshold, bool codes, Session& session) {
  std::optional<double> given;
  if (prior != "auto") {
    given = parse_real(prior);
    check<UsageError>(given && *given > 0 && *given < 1, "--prior is '", prior, "' (expected a number above 0 and below 1, or auto).");
  }
  std::vector<std::pair<std::string, double>> own;
  if (threshold) own.emplace_back("given", *threshold);
  return pu_report(scores_without_negatives(files, codes, session), given, own);
}

void print_without_negatives(const PuReport& report, const metrics::DetectionScores* events, const std::string& model, Session& session) {
  session.print("");
  print_report(report, session);
  if (!model.empty())
    for (const std::string& line : training_signs(model)) session.print(line);
  if (events && events->tp + events->fn > 0 && events->tp + events->fp > 0) {
    const metrics::DetectionScores& d = *events;
    const double recall = double(d.tp) / double(d.tp + d.fn);
    session.print(fmt::format("events: recall {:.4f}; of {} predicted ones the share {:.4f} is real, if there are {:.0f} true ones", recall, d.tp + d.fp,
                              pu::event_precision(report.true_events, recall, double(d.tp + d.fp)), report.true_events));
  }
}

}  // namespace voxgrad::app

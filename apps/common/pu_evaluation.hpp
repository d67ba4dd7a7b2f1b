// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// `voxgrad evaluate --prior`: measures where only some of the events are labelled.

#include <optional>
#include <string>
#include <vector>

#include "evaluation.hpp"
#include "pu_report.hpp"
#include "session.hpp"

namespace voxgrad::app {

/// From probabilities and true masks of the movies. prior: a number, or "auto"; threshold: one more row; codes: masks hold classes, see
/// MovieScores. Errors: UsageError for the prior and for movies without either file, FileError for what the files hold.
PuReport report_without_negatives(const std::vector<MovieFiles>& files, const std::string& prior, std::optional<double> threshold, bool codes, Session& session);

/// The table, what the training of `model` says ("": nobody asked), and how many of the predicted events are real; no events: not compared.
void print_without_negatives(const PuReport& report, const metrics::DetectionScores* events, const std::string& model, Session& session);

}  // namespace voxgrad::app

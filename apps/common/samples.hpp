// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Samples files (JSON): lists of positive and unlabelled crops per set and ratio, as published.
// { "<set>-1:<ratio>": { "positive": { "train": [{"neuron", "event-id"}...], "valid": [...] }, "negative":
// {...} }, ... }

#include <string>
#include <utility>
#include <vector>

#include "voxgrad/data/dataset.hpp"

namespace voxgrad::app {

/// One entry of a samples file. Positives come first, then the unlabelled crops ("negative" in the file), in
/// file order.
struct SampleLists {
  std::vector<data::Sample> train, valid;
};

/// The names of all entries, "complete-1:4" and so on. FileError if this is no samples file.
std::vector<std::string> samples_keys(const std::string& path);

/// One entry. Only this part of the file is parsed, so files of hundreds of megabytes take seconds. FileError
/// names the list and the position in it; an absent entry names those that exist.
SampleLists read_samples(const std::string& path, const std::string& key);

/// Writes a samples file atomically, entries in the given order.
void write_samples(const std::string& path, const std::vector<std::pair<std::string, SampleLists>>& entries);

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
// voxgrad sample: draws the lists of positive and unlabelled crops that PU training takes.

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "commands.hpp"
#include "common/files.hpp"
#include "common/samples.hpp"
#include "voxgrad/data/hdf5_dataset.hpp"
#include "voxgrad/data/sampling.hpp"

namespace voxgrad::app {
namespace {

constexpr std::int64_t crop = 64, mean_frames = 25;

struct Request {
  std::vector<std::int64_t> ratios;
  bool fill = false;  ///< ratio "c"
  bool complete = false;
  std::vector<double> fractions;
  std::int64_t repetitions = 5;
};

std::vector<std::string> split(const std::string& value) {
  std::vector<std::string> out(1);
  for (char c : value) {
    if (c == ',')
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

Request read_request(const Arguments& a) {
  Request r;
  for (const std::string& word : split(a.get("--ratios"))) {
    const auto n = parse_integer(word);
    const bool known = n && std::count(data::sample_ratios.begin(), data::sample_ratios.end(), *n) > 0;
    check<UsageError>(known || word == "c", "--ratios has '", word,
                      "' (expected 0, 1, 2, 4, 8, 16, 32, 64, 128, 256 or c, separated by commas).");
    if (known)
      r.ratios.push_back(*n);
    else
      r.fill = true;
  }
  std::sort(r.ratios.begin(), r.ratios.end());
  r.ratios.erase(std::unique(r.ratios.begin(), r.ratios.end()), r.ratios.end());
  for (const std::string& word : split(a.get("--sets"))) {
    const auto fraction = parse_real(word);
    check<UsageError>(
        word == "complete" || (fraction && *fraction > 0 && *fraction < 1), "--sets has '", word,
        "' (expected 'complete' or a fraction of the movies between 0 and 1, separated by commas).");
    if (word == "complete")
      r.complete = true;
    else
      r.fractions.push_back(*fraction);
  }
  r.repetitions = a.integer("--repetitions", 1, 1000);
  return r;
}

/// Mean of the first frames of the preprocessed movie.
std::vector<float> mean_picture(const data::Hdf5Fold& fold, const data::MovieEntry& m) {
  const std::int64_t frames = std::min(mean_frames, m.extent[0]), pixels = m.extent[1] * m.extent[2];
  std::vector<float> block(static_cast<std::size_t>(frames * pixels)), mean(static_cast<std::size_t>(pixels));
  fold.read_input(m, 0, frames, block.data());
  for (std::int64_t i = 0; i < pixels; ++i) {
    double sum = 0;
    for (std::int64_t t = 0; t < frames; ++t) sum += double(block[std::size_t(t * pixels + i)]);
    mean[std::size_t(i)] = float(sum / double(frames));
  }
  return mean;
}

std::vector<data::SampledMovie> sample_movies(const data::Hdf5Fold& fold, const Request& r,
                                              std::uint64_t seed, Session& session) {
  const std::int64_t highest = r.fill ? std::max<std::int64_t>(8, r.ratios.empty() ? 0 : r.ratios.back())
                               : r.ratios.empty() ? 0
                                                  : r.ratios.back();
  auto progress = session.stage("sample", std::int64_t(fold.movies().size()), "movies");
  std::vector<data::SampledMovie> out;
  for (const data::MovieEntry& m : fold.movies()) {
    session.check_stop();
    check<FileError>(!m.crops_only, fold.file().path(), ": ", m.group,
                     " holds crops, not a whole movie; lists can only be drawn from whole movies.");
    if (m.events.empty()) session.warn(m.group + " has no events, so nothing is drawn from it.");
    Random random(seed, 300 + out.size());
    try {
      std::vector<std::array<std::int64_t, 2>> pixels;
      if (highest > 0 && !m.events.empty())
        pixels = data::foreground_corners(mean_picture(fold, m), m.extent[1], m.extent[2], crop);
      out.push_back(
          {m.name, std::int64_t(m.events.size()),
           data::draw_corners(pixels, m.extent[0], crop, std::int64_t(m.events.size()), highest, random)});
    } catch (const UsageError& e) {
      throw FileError(text(fold.file().path(), ": ", m.group, ": ", e.what()));
    } catch (const ShapeError& e) {
      throw FileError(text(fold.file().path(), ": ", m.group, ": ", e.what()));
    }
    progress->update(std::int64_t(out.size()));
  }
  return out;
}

/// "training-samples_subset_64.json": the published file in which an entry of this kind is found.
std::string file_of(bool complete, std::int64_t ratio) {
  const char* end = ratio <= 8 ? "" : ratio <= 64 ? "_64" : "_256";
  return fmt::format("training-samples_{}{}.json", complete ? "complete" : "subset", end);
}

using Entries = std::vector<std::pair<std::string, SampleLists>>;

/// Adds one set, "complete" or "subset-0.25-0", at every ratio to the entries of its files.
void add_set(std::vector<std::pair<std::string, Entries>>& files, const std::string& name, bool complete,
             const Request& r, const std::vector<data::SampledMovie>& movies,
             const std::vector<std::size_t>& chosen, const std::vector<data::Sample>& valid, Random random) {
  const auto add = [&](const std::string& file, const std::string& key, std::vector<data::Sample> train) {
    auto at = std::find_if(files.begin(), files.end(), [&](const auto& f) { return f.first == file; });
    if (at == files.end()) at = files.insert(files.end(), {file, {}});
    at->second.emplace_back(key, SampleLists{std::move(train), valid});
  };
  for (std::int64_t ratio : r.ratios)
    add(file_of(complete, ratio), fmt::format("{}-1:{}", name, ratio),
        data::list_samples(movies, chosen, ratio));
  if (!r.fill || complete) return;
  std::int64_t total = 0;
  for (const data::SampledMovie& m : movies) total += m.events;
  add(file_of(complete, 0), name + "-1:c", data::list_samples_to_total(movies, chosen, total, random));
}

int run_sample(const Arguments& a, Session& session) {
  const Request request = read_request(a);
  check<UsageError>(a.inputs().size() == 1, "one HDF5 data set is needed (found ", a.inputs().size(), ").");
  const std::string path = a.inputs()[0], out = a.get("--out");
  const std::uint64_t seed = session.seed().value_or(42);
  const data::Hdf5Fold train(path, a.get("--train-fold")), valid(path, a.get("--valid-fold"));
  std::vector<data::Sample> valid_list;
  for (const data::MovieEntry& m : valid.movies())
    for (std::size_t row = 0; row < m.events.size(); ++row)
      valid_list.push_back({m.name, std::int64_t(row), {}});

  for (double fraction : request.fractions)
    check<UsageError>(fraction * double(train.movies().size()) >= 1, "--sets ", fraction, " of ",
                      train.movies().size(), " movies is less than one movie.");
  const std::vector<data::SampledMovie> movies = sample_movies(train, request, seed, session);
  std::vector<std::pair<std::string, Entries>> files;
  std::vector<std::size_t> all(movies.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  if (request.complete) add_set(files, "complete", true, request, movies, all, valid_list, Random(seed, 400));
  for (double fraction : request.fractions)
    for (std::int64_t r = 0; r < request.repetitions; ++r) {
      const auto chosen = data::draw_subset(movies.size(), fraction, r, seed);
      add_set(files, fmt::format("subset-{}-{}", fraction, r), false, request, movies, chosen, valid_list,
              Random(seed, 401 + std::uint64_t(r), std::uint64_t(fraction * 1e6) << 32));
    }
  for (const auto& [name, entries] : files)
    refuse_existing((std::filesystem::path(out) / name).string(), a.flag("--overwrite"));
  if (!session.dry_run()) make_folders(out);
  for (const auto& [name, entries] : files) {
    const std::string file = (std::filesystem::path(out) / name).string();
    if (!session.dry_run()) write_samples(file, entries);
    session.print(file);
    for (const auto& [key, lists] : entries) {
      const auto positives =
          std::count_if(lists.train.begin(), lists.train.end(), [](const auto& s) { return s.positive(); });
      session.note(fmt::format("  {}: {} positive, {} unlabelled, {} validation", key, positives,
                               std::int64_t(lists.train.size()) - positives, lists.valid.size()));
      session.emit("entry", {{"file", file},
                             {"key", key},
                             {"positive", std::int64_t(positives)},
                             {"unlabeled", std::int64_t(lists.train.size()) - std::int64_t(positives)}});
    }
  }
  return 0;
}

}  // namespace

Command make_sample() {
  return {
      .name = "sample",
      .summary = "Draws lists of positive and unlabelled training crops (samples files) from a data set.",
      .usage_inputs = "DATA.h5",
      .options = join({{"--sets", "LIST", "complete",
                        "'complete' and fractions of the movies, such as complete,0.25,0.5", "Data"},
                       {"--ratios", "LIST", "0,1,2,4,8",
                        "unlabelled crops per positive: 0 to 256 in powers of two, and c "
                        "(fill up to the size of the complete set)",
                        "Data"},
                       {"--repetitions", "N", "5", "draws of each fraction", "Data"},
                       {"--train-fold", "NAME", "train", "group of the training movies", "Data"},
                       {"--valid-fold", "NAME", "valid", "group of the validation movies", "Data"}},
                      {common::out("samples"), common::overwrite("replace existing lists"), common::dry_run(),
                       common::seed()}),
      .examples = {{"voxgrad sample simulated/dataset.h5 --out samples", "the complete set at 1:0 to 1:8"},
                   {"voxgrad sample simulated/dataset.h5 --sets 0.25,0.5 --ratios 0,64,c --out subsets",
                    "five subsets each of a quarter and a half of the movies"}},
      .more = "docs/data.md",
      .run = run_sample};
}

}  // namespace voxgrad::app

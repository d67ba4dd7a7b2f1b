// SPDX-License-Identifier: BSD-3-Clause
#include "movie_queue.hpp"

#include <map>

namespace voxgrad::app {
namespace {

std::string output_stem(const std::string& out, const std::string& relative) {
  const size_t dot = relative.find_last_of('.'), slash = relative.find_last_of('/');
  const bool has_ending = dot != std::string::npos && (slash == std::string::npos || dot > slash);
  return out + "/" + (has_ending ? relative.substr(0, dot) : relative);
}

}  // namespace

std::vector<Input> movies_to_predict(const Arguments& a, const std::string& out) {
  check<UsageError>(!a.inputs().empty(), "no movies. Name TIFF files or folders.");
  refuse_output_in_input(out, a.inputs());
  std::vector<Input> movies;
  if (a.flag("--sequence")) {
    for (const std::string& folder : a.inputs()) {
      std::string path = folder;
      while (path.size() > 1 && path.back() == '/') path.pop_back();
      movies.push_back({path, path.substr(path.find_last_of('/') + 1)});
    }
  } else {
    movies = expand_inputs(a.inputs(), a.flag("--recursive"), [](const std::string& n) { return has_ending(n, {".tif", ".tiff"}); });
  }
  std::map<std::string, std::string> taken;
  for (const Input& movie : movies) {
    const auto at = taken.emplace(output_stem(out, movie.relative), movie.path);
    check<UsageError>(at.second, at.first->second, " and ", movie.path, " would both be written to ", at.first->first,
                      "_*. Give a folder above them and --recursive, or another --out for one.");
  }
  return movies;
}

int predict_each(const std::vector<Input>& movies, const std::string& out, const Arguments& a, Session& session,
                 const std::function<void(const Input&, const std::string&, SummaryTable&)>& predict,
                 const std::function<void()>& report) {
  SummaryTable table(out, a.flag("--overwrite"));
  std::vector<std::string> failed;
  int64_t skipped = 0;
  for (const Input& movie : movies) {
    session.check_stop();
    const std::string stem = output_stem(out, movie.relative);
    if (!a.flag("--overwrite") && MovieOutputs::finished(stem)) {
      session.note(text(movie.path, ": finished already, skipped (--overwrite does it again)"));
      ++skipped;
      continue;
    }
    try {
      predict(movie, stem, table);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& e) {
      if (movies.size() == 1) throw;
      session.note(text("failed: ", e.what()));
      failed.push_back(e.what());
    }
  }
  if (!session.dry_run()) {
    table.write();
    session.print(table.path());
  }
  session.result("movies", int64_t(movies.size()) - skipped - int64_t(failed.size()));
  session.result("skipped", skipped);
  session.result("failed", int64_t(failed.size()));
  report();
  if (failed.empty()) return 0;
  session.note(text(failed.size(), " of ", movies.size(), " movies failed:"));
  for (const std::string& line : failed) session.note("  " + line);
  return 1;
}

}  // namespace voxgrad::app

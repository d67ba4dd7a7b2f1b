// SPDX-License-Identifier: BSD-3-Clause
// voxgrad report: the HTML page of a model, result or evaluation folder.

#include "commands.hpp"
#include "common/files.hpp"
#include "common/report.hpp"

namespace voxgrad::app {
namespace {

int run_report(const Arguments& a, Session& session) {
  check<UsageError>(!a.inputs().empty(), "needs a folder: voxgrad report FOLDER...");
  const auto out = a.maybe("--out");
  check<UsageError>(!out || a.inputs().size() == 1, "--out names one page, but ", a.inputs().size(), " folders were given.");
  for (const std::string& folder : a.inputs()) {
    session.check_stop();
    const std::string path = out.value_or(folder + "/report.html");
    if (out) refuse_existing(path, a.flag("--overwrite"));
    write_file(path, report_html(folder));
    session.print(path);
    session.emit("report", {{"folder", folder}, {"path", path}});
  }
  return 0;
}

}  // namespace

Command make_report() {
  return {.name = "report",
          .summary = "Writes the HTML report of a model folder, of results of predict or of evaluate.",
          .usage_inputs = "FOLDER...",
          .options = {{"--out", "FILE", "", "write the page there (default FOLDER/report.html, replaced if it is there)", "Output"},
                      common::overwrite("replace the file of --out")},
          .examples = {{"voxgrad report models/first", "how a model was trained: methods paragraph, curves, thresholds, configuration"},
                       {"voxgrad report results/ evaluation/", "what was found, and how it was judged"},
                       {"voxgrad report models/first --out first.html", "another place; one file without scripts or links, to send by mail"}},
          .more = "docs/report.md",
          .run = run_report};
}

}  // namespace voxgrad::app

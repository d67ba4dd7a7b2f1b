// SPDX-License-Identifier: BSD-3-Clause
// voxgrad inspect: says what a file is, what was understood of it, and what can be done with it.

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "commands.hpp"
#include "common/describe.hpp"
#include "common/device_choice.hpp"
#include "common/file_kind.hpp"
#include "common/files.hpp"
#include "common/machine.hpp"
#include "voxgrad/io/tiff_sequence.hpp"
#include "voxgrad/simd/isa.hpp"

namespace voxgrad::app {
namespace {

/// A folder that training made (ours, the reference's or StarDist's).
bool is_model_folder(const std::string& path) {
  for (const char* name : {"weights.safetensors", "checkpoint.safetensors", "results.pt", "checkpoint.pt", "weights_best.h5", "config.json", "saved_model.pb"})
    if (std::filesystem::exists(std::filesystem::path(path) / name)) return true;
  return false;
}

Description describe_foreign(const FileIdentity& identity) {
  Description d;
  d.kind = identity.name;
  d.usable = false;
  d.use = "cannot be used" + (identity.advice.empty() ? "." : ". " + identity.advice);
  d.fields = {{"format", identity.name}};
  return d;
}

Description describe(const std::string& path, const MovieWords& words) {
  if (io::is_folder(path)) return words.sequence ? describe_movie(path, words) : describe_model_folder(path);
  const FileIdentity identity = identify_file(path);
  switch (identity.kind) {
    case FileKind::tiff: return describe_movie(path, words);
    case FileKind::hdf5: return describe_hdf5(path);
    case FileKind::safetensors:
    case FileKind::torch: return describe_weights(path);
    case FileKind::bundle: return describe_bundle(path);
    case FileKind::json: return describe_json(path);
    case FileKind::yaml: return describe_yaml(path);
    case FileKind::csv: return describe_csv(path);
    case FileKind::foreign: return describe_foreign(identity);
    case FileKind::unknown: break;
  }
  throw FileError(path + ": " + identity.name + ". " + identity.advice);
}

void show(const std::string& path, const Description& d, Session& session) {
  session.print(path + ": " + d.kind);
  std::size_t width = 0;
  for (const auto& [what, value] : d.lines) width = std::max(width, what.size());
  for (const auto& [what, value] : d.lines) session.print(fmt::format("  {:{}}  {}", what, width, value));
  for (const std::string& note : d.notes) session.print("  note: " + note);
  if (!d.use.empty()) session.print("  -> " + d.use);
  Fields fields = {{"path", path}, {"kind", d.kind}, {"usable", d.usable}, {"use", d.use}};
  fields.insert(fields.end(), d.fields.begin(), d.fields.end());
  fields.push_back({"notes", std::vector<JsonValue>(d.notes.begin(), d.notes.end())});
  session.emit("file", fields);
}

/// Folders stand for the files in them, unless they are one movie (--sequence) or a model.
std::vector<std::string> list_files(const Arguments& a) {
  std::vector<std::string> paths, rest;
  for (const std::string& input : a.inputs())
    (io::is_folder(input) && (a.flag("--sequence") || is_model_folder(input)) ? paths : rest).push_back(input);
  if (!rest.empty())
    for (const Input& input : expand_inputs(rest, a.flag("--recursive"), [](const std::string& name) { return name[0] != '.'; })) paths.push_back(input.path);
  return paths;
}

/// What this machine has to compute with.
void show_system(Session& session) {
  std::vector<std::pair<std::string, std::string>> rows = {{"machine", machine_kind()}, {"memory", bytes_text(available_memory()) + " available"},
                                                           {"kernels", name(current_isa())}};
  for (const auto& row : gpu_rows()) rows.push_back(row);
  std::size_t width = 0;
  for (const auto& [what, value] : rows) width = std::max(width, what.size());
  session.print("this machine");
  for (const auto& [what, value] : rows) session.print(fmt::format("  {:{}}  {}", what, width, value));
  Fields fields = {{"machine", machine_kind()}, {"memory", available_memory()}, {"cpu_kernels", name(current_isa())}};
  const Fields gpu = gpu_fields();
  fields.insert(fields.end(), gpu.begin(), gpu.end());
  session.emit("system", fields);
}

int run_inspect(const Arguments& a, Session& session) {
  if (a.flag("--system")) show_system(session);
  check<UsageError>(!a.inputs().empty() || a.flag("--system"), "needs the files to look at: voxgrad inspect FILE...");
  MovieWords words;
  words.axes = a.get("--axes");
  words.channel = a.given("--channel") ? int(a.integer("--channel", 1, 1000)) : 0;
  words.allow_truncated = a.flag("--allow-truncated");
  words.sequence = a.flag("--sequence");
  std::int64_t usable = 0, failed = 0, seen = 0;
  for (const std::string& path : list_files(a)) {
    session.check_stop();
    ++seen;
    try {
      Description d = describe(path, words);
      if (a.flag("--tensors") && !io::is_folder(path)) list_tensors(path, d);
      usable += d.usable;
      show(path, d, session);
    } catch (const FileError& error) {
      ++failed;
      session.print(error.what());
      session.emit("file", {{"path", path}, {"usable", false}, {"error", error.what()}});
    }
  }
  if (seen > 1) session.note(fmt::format("{} files: {} usable, {} of no use here, {} that cannot be read", seen, usable, seen - usable - failed, failed));
  session.result("files", seen);
  session.result("usable", usable);
  session.result("failed", failed);
  return failed > 0 ? 1 : 0;
}

}  // namespace

Command make_inspect() {
  return {
      .name = "inspect",
      .summary = "Says what files are, how they are understood, and what can be done with them.",
      .usage_inputs = "FILE...",
      .options = join({{"--axes", "LETTERS", "", "what the pages of a TIFF are, slowest first: TYX, ZYX, TCYX, ...", "Data"},
                       {"--channel", "N", "", "look at this channel only, from 1", "Data"},
                       {"--tensors", "", "", "list every tensor of weights, or data set of an HDF5 file: type, shape, sum, first value", "Data"},
                       {"--sequence", "", "", "a folder is one movie, each TIFF file in it a frame", "Data"},
                       {"--allow-truncated", "", "", "look at the complete frames of an incomplete file", "Data"},
                       {"--system", "", "", "also say what this machine has to compute with: processors, GPUs, CUDA, cuDNN, cuBLAS", "Hardware"}},
                      {common::recursive()}),
      .examples = {{"voxgrad inspect movie.tif", "axes, type, spacing and values of a movie"},
                   {"voxgrad inspect --sequence frames/", "a folder of single frames as one movie"},
                   {"voxgrad inspect --tensors --json results.pt", "what an archive of PyTorch holds, tensor by tensor; nothing in it is run"},
                   {"voxgrad inspect --system", "which GPU and which libraries were found where, or why not"},
                   {"voxgrad inspect --json data.h5 samples.json experiment.yaml", "one JSON object per file, for programs"}},
      .more = "docs/formats-tiff.md",
      .run = run_inspect};
}

}  // namespace voxgrad::app

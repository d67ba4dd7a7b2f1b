// SPDX-License-Identifier: BSD-3-Clause
// voxgrad convert: models to and from the formats of PyTorch and of StarDist's tools, and into one file.

#include <filesystem>

#include "commands.hpp"
#include "common/files.hpp"
#include "common/model_bundle.hpp"
#include "common/model_convert.hpp"

namespace voxgrad::app {
namespace {

namespace fs = std::filesystem;

/// Where nothing of value can be lost.
void check_target(const std::string& out, bool overwrite) {
  check<UsageError>(overwrite || !fs::exists(out) || (fs::is_directory(out) && fs::is_empty(out)), out, ": exists already. Choose another --out, or --overwrite.");
}

int run_convert(const Arguments& a, Session& session) {
  check<UsageError>(a.inputs().size() == 1, "needs one model: voxgrad convert MODEL --export voxgrad|reference|stardist --out DIR");
  check<UsageError>(a.given("--bundle") != a.given("--export"), "give either --export FORM with --out DIR, or --bundle FILE.zip.");
  check<UsageError>(!a.given("--example") || a.given("--bundle"), "--example goes with --bundle.");
  const std::string from = a.inputs()[0];
  const OpenedModel model(from);
  std::vector<std::string> files;
  if (a.given("--bundle")) {
    check<UsageError>(!model.bundle(), from, ": is a bundle already.");
    model_form(from);  // refuses what is no model
    check<UsageError>(fs::is_directory(from), from, ": is no folder. Make one first: voxgrad convert ", from, " --export voxgrad --out DIR");
    const std::string path = a.get("--bundle");
    check_target(path, a.flag("--overwrite"));
    if (!session.dry_run()) write_bundle(from, a.maybe("--example").value_or(""), path);
    files = {path};
  } else {
    const std::string word = a.choice("--export"), out = a.maybe("--out").value_or("");
    check<UsageError>(!out.empty(), "--export needs a folder to write to: --out DIR");
    const ModelForm form = word == "voxgrad" ? ModelForm::voxgrad : word == "reference" ? ModelForm::reference : ModelForm::stardist;
    check_target(out, a.flag("--overwrite"));
    const bool unpack = model.bundle() && model_form(model.path()) == form;
    if (session.dry_run()) {
      model_form(model.path());
      files = {out};
    } else if (unpack) {
      make_folders(out);
      fs::copy(model.path(), out, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
      files = {out};
    } else {
      files = convert_model(model.path(), out, form);
    }
  }
  for (const std::string& file : files) session.print(file);
  if (session.dry_run()) session.note("nothing was written");
  session.result("files", std::vector<JsonValue>(files.begin(), files.end()));
  return 0;
}

}  // namespace

Command make_convert() {
  return {.name = "convert",
          .summary = "Takes models to PyTorch or StarDist's tools and back, and packs them into one file.",
          .usage_inputs = "MODEL",
          .options = join({{"--export", "voxgrad|reference|stardist", "voxgrad",
                            "form to write: ours, the published pipeline's (results.pt), or the Python package stardist's (weights_best.h5)", "Output"},
                           {"--out", "DIR", "", "folder for it", "Output"},
                           {"--bundle", "FILE.zip", "", "pack the model folder into one file, which predict takes as it is", "Output"},
                           {"--example", "FILE", "", "a movie or volume to put into the bundle", "Output"}},
                          {common::overwrite("write into a folder or over a file that exists"), common::dry_run()}),
          .examples = {{"voxgrad convert models/first --export reference --out for-pytorch", "results.pt and checkpoint.pt"},
                       {"voxgrad convert unet3D-ZeroCostDL4Mic_complete_1-4_42 --export voxgrad --out models/published", "a published model, to go on training here"},
                       {"voxgrad convert models/nuclei --export stardist --out nuclei-for-napari", "weights_best.h5, config.json, thresholds.json"},
                       {"voxgrad convert models/first --bundle first.zip --example movie.tif", "one file to hand on"},
                       {"voxgrad convert first.zip --export voxgrad --out models/unpacked", "and back"}},
          .more = "docs/checkpoints.md",
          .run = run_convert};
}

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
#include "model_convert.hpp"

#include <filesystem>
#include <sstream>

#include "file_kind.hpp"
#include "files.hpp"
#include "stardist_model.hpp"
#include "torch_model.hpp"
#include "trainer.hpp"
#include "unet_guess.hpp"
#include "weights_fit.hpp"

namespace voxgrad::app {
namespace {

namespace fs = std::filesystem;

std::string table(const std::string& path) { return fs::exists(path) ? read_file(path) : std::string(); }

/// Collects the names of what was written.
class Output {
 public:
  explicit Output(std::string folder) : folder_(std::move(folder)) { make_folders(folder_); }
  /// The path of a file that is about to be written.
  std::string operator()(const std::string& name) {
    files_.push_back(folder_ + "/" + name);
    return files_.back();
  }
  std::vector<std::string> files() && { return std::move(files_); }
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
  std::vector<std::string> files_;
};

/// A U-Net on its way: configuration, best weights, and the checkpoint if there is one to go on from.
struct UNet {
  Config config;
  std::unique_ptr<models::UNet3d> best, latest;
  std::unique_ptr<optim::Optimizer> optimizer;  ///< of `latest`
  Metadata best_metadata, latest_metadata;
  std::string train_csv, valid_csv;
  Thresholds thresholds;
};

void read_latest(const std::string& path, UNet& u) {
  const TrainConfig c = train_config(u.config);
  const bool torch = has_ending(path, {".pt", ".pth"});
  if (torch && !has_torch_optimizer(path)) return;
  u.latest = make_network(c.model, 0);
  u.optimizer = make_optimizer(c.training.optimizer, *u.latest);
  if (!torch) {
    u.latest_metadata = load_checkpoint(path, *u.latest, *u.optimizer);
    return;
  }
  TorchRun run = load_torch_checkpoint(path, *u.latest, *u.optimizer);
  u.latest_metadata = std::move(run.metadata);
  u.train_csv = "step,loss\n" + run.train_rows;
  u.valid_csv = "step,loss,min-loss,max-loss,std-loss\n" + run.valid_rows;
}

UNet read_folder(const std::string& path) {
  const ModelFolder folder = ModelFolder::existing(path);
  UNet u;
  u.config = folder.config();
  u.thresholds = folder.thresholds();
  u.best = make_network(train_config(u.config).model, 0);
  u.best_metadata = load_weights(folder.best_file(), *u.best);
  u.train_csv = table(path + "/train.csv");
  u.valid_csv = table(path + "/valid.csv");
  if (folder.has_checkpoint() || !folder.has_weights()) read_latest(folder.latest_file(), u);
  return u;
}

/// Weights alone say which U-Net they are of, but not how it was trained.
UNet read_weights(const std::string& path) {
  const std::optional<ModelConfig> m = guess_unet(weight_shapes(path));
  check<FileError>(m.has_value(), path, ": its names are not those of the 3-D U-Net ('down_convs...'), so there is no network to make of it.");
  UNet u;
  for (const auto& [key, value] : {std::pair{"first_kernel_size", m->first_kernel_size}, {"inC", m->in_channels}, {"n_layer", m->n_layer},
                                   {"nbf", m->nbf}, {"outC", m->out_channels}, {"r", m->r}})
    u.config.assign(text("model_config.", key, "=", value));
  u.config.assign(text("model_config.use_batch_norm=", m->use_batch_norm ? "true" : "false"));
  u.best = make_network(*m, 0);
  u.best_metadata = load_weights(path, *u.best);
  return u;
}

void write_ours(UNet& u, Output& out) {
  write_file(out("config.yaml"), u.config.yaml(false));
  Metadata best = u.best_metadata;
  best.emplace("format", "voxgrad");
  save_weights(out("weights.safetensors"), *u.best, best);
  if (u.latest) {
    Metadata latest = u.latest_metadata;
    latest.emplace("format", "voxgrad");
    save_checkpoint(out("checkpoint.safetensors"), *u.latest, *u.optimizer, latest);
  }
  if (!u.train_csv.empty()) write_file(out("train.csv"), u.train_csv);
  if (!u.valid_csv.empty()) write_file(out("valid.csv"), u.valid_csv);
  if (!u.thresholds.segmentation && !u.thresholds.detection) return;
  ModelFolder(out.folder()).save_thresholds(u.thresholds);
  out("thresholds.json");
}

/// A table as pandas writes its frames: the first column, without a name, counts the rows; without rows there are no columns either.
std::string counted_rows(const std::string& csv) {
  std::istringstream in(csv);
  std::string line, all;
  std::getline(in, line);
  all = "," + line + "\n";
  int64_t row = 0;
  while (std::getline(in, line)) all += text(row++, ",", line, "\n");
  return row == 0 ? "\"\"\n" : all;
}

void write_reference(UNet& u, Output& out) {
  const OptimizerConfig optimizer = train_config(u.config).training.optimizer;
  write_file(out("config.yaml"), u.config.yaml(false));
  for (Metadata* m : {&u.best_metadata, &u.latest_metadata}) m->erase("layout"), m->erase("optimizer_step");  // written anew on the way back
  save_torch_checkpoint(out("results.pt"), {*u.best, nullptr, optimizer, u.best_metadata, u.train_csv, u.valid_csv});
  if (u.latest) save_torch_checkpoint(out("checkpoint.pt"), {*u.latest, u.optimizer.get(), optimizer, u.latest_metadata, u.train_csv, u.valid_csv});
  write_file(out("Quality Control/train-stats.csv"), counted_rows(u.train_csv));
  write_file(out("Quality Control/valid-stats.csv"), counted_rows(u.valid_csv));
  if (u.thresholds.segmentation) write_file(out("optimized-threshold-segmentation"), number_text(*u.thresholds.segmentation));
  if (u.thresholds.detection) write_file(out("optimized-threshold-detection"), number_text(*u.thresholds.detection));
}

std::vector<std::string> convert_stardist(const std::string& from, const std::string& to, ModelForm form) {
  StarDistModel model = open_stardist_model(from, false);
  Output out(to);
  write_file(out("config.json"), stardist_config_json(model.config));
  if (form == ModelForm::stardist) save_keras_weights(out("weights_best.h5"), *model.net);
  else save_weights(out("weights.safetensors"), *model.net, {{"format", "voxgrad"}, {"normalization", model.normalization}});
  if (fs::exists(from + "/thresholds.json")) save_stardist_thresholds(out("thresholds.json"), model.thresholds.prob, model.thresholds.nms);
  return std::move(out).files();
}

}  // namespace

const char* name(ModelForm form) {
  return form == ModelForm::voxgrad ? "voxgrad" : form == ModelForm::reference ? "reference" : "stardist";
}

ModelForm model_form(const std::string& path) {
  check<FileError>(fs::exists(path), path, ": no such file or model folder.");
  if (!fs::is_directory(path)) {
    const FileKind kind = identify_file(path).kind;
    if (kind != FileKind::safetensors && kind != FileKind::torch) refuse_file_as_model(path);
    return kind == FileKind::safetensors ? ModelForm::voxgrad : ModelForm::reference;
  }
  const ModelFolder folder(path);
  const bool ours = folder.has_weights() || folder.has_checkpoint();
  if (is_stardist_folder(path)) return ours ? ModelForm::voxgrad : ModelForm::stardist;
  ModelFolder::existing(path);
  return ours ? ModelForm::voxgrad : ModelForm::reference;
}

std::vector<std::string> convert_model(const std::string& from, const std::string& to, ModelForm form) {
  const ModelForm is = model_form(from);
  const bool folder = fs::is_directory(from), stardist = folder && is_stardist_folder(from);
  check<UsageError>(form != ModelForm::stardist || stardist, from, ": is a U-Net, which StarDist's tools cannot open. Choose --export voxgrad or reference.");
  check<UsageError>(form != ModelForm::reference || !stardist, from, ": is a StarDist model, which the published U-Net pipeline cannot open. ",
                    "Choose --export voxgrad or stardist.");
  check<UsageError>(is != form || !folder, from, ": is in the form '", name(form), "' already.");
  if (stardist) return convert_stardist(from, to, form);
  UNet u = folder ? read_folder(from) : read_weights(from);
  Output out(to);
  if (form == ModelForm::voxgrad) write_ours(u, out);
  else write_reference(u, out);
  return std::move(out).files();
}

}  // namespace voxgrad::app

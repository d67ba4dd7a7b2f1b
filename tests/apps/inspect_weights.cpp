// SPDX-License-Identifier: BSD-3-Clause
// What inspect says about weights and model folders, and its list of tensors beside the sums of others.

#include <cmath>
#include <filesystem>
#include <map>

#include <nlohmann/json.hpp>

#include "apps/run_command.hpp"
#include "apps/scratch.hpp"
#include "apps/shared_data.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/model_folder.hpp"
#include "common/stardist_config.hpp"
#include "common/stardist_folder.hpp"
#include "io/real_data.hpp"
#include "npy.hpp"
#include "voxgrad/io/hdf5_write.hpp"
#include "voxgrad/io/safetensors.hpp"

namespace fs = std::filesystem;
using namespace voxgrad;
using namespace voxgrad::app;

namespace {

const std::string reference = test::golden("torch_archive/reference");

test::Ran inspect(const std::vector<std::string>& words) { return test::run_command(make_inspect(), words); }
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// The object of the event "file".
nlohmann::json file_event(const std::string& out) {
  size_t at = 0;
  while (at < out.size()) {
    const size_t end = out.find('\n', at);
    const auto line = nlohmann::json::parse(out.substr(at, end - at));
    if (line["event"] == "file") return line;
    at = end + 1;
  }
  throw Error("no file event in: " + out);
}

}  // namespace

TEST_CASE("inspect: a PyTorch checkpoint: contents, network, whether it fits") {
  const auto [code, out] = inspect({reference + "/results.pt"});
  CHECK(code == 0);
  CHECK(has(out, "results.pt: PyTorch archive (torch.save)\n"));
  CHECK(has(out, "tensors       192 (184 float32, 8 int64), "));
  CHECK(has(out, "network       3-D U-Net of 2 levels, 1 channels in the first, batch norm\n"));
  CHECK(has(out, "step          2\n"));
  CHECK(has(out, "note: holds the optimiser's state too: a checkpoint that training can go on from\n"));
  CHECK(has(out, "-> weights of the 3-D U-Net, which fit: put them into a model folder"));
  const auto event = file_event(inspect({"--json", reference + "/results.pt"}).out);
  CHECK(event["fits"] == true);
  CHECK(event["checkpoint"] == true);
  CHECK_FALSE(event.contains("list"));
}

TEST_CASE("inspect: what no network of this program has is said, and listed on demand") {
  const std::string file = test::golden("torch_archive/layouts.pt");
  CHECK(has(inspect({file}).out, "-> the names are not those of the 3-D U-Net ('down_convs...')"));
  const auto [code, out] = inspect({"--tensors", file});
  CHECK(code == 0);
  CHECK(has(out, "[2,3] float32, sum -1.5, first 1.5\n"));  // the expanded one
  const auto list = file_event(inspect({"--tensors", "--json", file}).out)["list"];
  REQUIRE(list.size() == 19);
  std::map<std::string, nlohmann::json> rows;
  for (const auto& row : list) rows[row["name"]] = row;
  CHECK(rows["empty"]["shape"] == nlohmann::json::array({0, 7}));
  CHECK(rows["empty"]["first"].is_null());
  CHECK(rows["scalar"]["shape"] == nlohmann::json::array());
  CHECK(rows["u8"]["dtype"] == "uint8");
  CHECK(rows["u8"]["sum"] == 258.0);
  CHECK(rows["bf16"]["first"] == 1.5);
}

TEST_CASE("inspect: model folders of both kinds, and one that does not fit") {
  const Scratch s;
  CHECK(has(inspect({reference}).out, "reference: model folder of the published pipeline (PyTorch)\n"));
  CHECK(has(inspect({reference}).out, "network     3-D U-Net of 2 levels, 1 channels in the first, batch norm, "));
  CHECK(has(inspect({reference}).out, "thresholds  segmentation 0.375, detection none\n"));
  for (const char* name : {"config.yaml", "results.pt"}) fs::copy(reference + "/" + name, s.file(name));
  write_file(s.file("config.yaml"), "model_config: {n_layer: 2, nbf: 2}\n");
  const auto event = file_event(inspect({"--json", s.folder()}).out);
  CHECK(event["usable"] == false);
  CHECK(has(event["use"], "does not fit: " + s.file("results.pt") + ": weights do not fit the network: 'bottleneck."));
  StarDistConfig config;
  config.network.unet_n_filter_base = 2;
  config.network.net_conv_after_unet = 2;
  make_folders(s.file("star"));
  write_file(s.file("star/config.json"), stardist_config_json(config));
  models::StarDist3d net(config.network);
  save_keras_weights(s.file("star/weights_best.h5"), net);
  const std::string star = inspect({s.file("star")}).out;
  CHECK(has(star, "star: StarDist-3D model folder\n"));
  CHECK(has(star, "network     StarDist-3D, unet backbone, 96 rays, grid 1,1,1, "));
  CHECK(has(inspect({s.file("star/weights_best.h5")}).out, "part of a StarDist model folder"));
  CHECK(file_event(inspect({"--tensors", "--json", s.file("star/weights_best.h5")}).out)["list"].size() == 26);
}

TEST_CASE("inspect: files that are no weights are one line that says what would work") {
  const Scratch s;
  write_file(s.file("page.pt"), "<html><head><title>404</title></head></html>");
  CHECK(has(inspect({s.file("page.pt")}).out, "page.pt: HTML page\n  -> cannot be used. A download brought a web page in place of the file."));
  write_file(s.file("m.pt"), std::string("\x08\x07\x12\x07pytorch\x1a\x05", 13));
  CHECK(has(inspect({s.file("m.pt")}).out, "ONNX model\n  -> cannot be used. Weights are read from torch.save("));
  write_file(s.file("cut.pt"), read_file(reference + "/results.pt").substr(0, 5000));
  const auto [code, out] = inspect({s.file("cut.pt")});
  CHECK(code == 1);
  CHECK(has(out, "cut.pt: the zip archive is incomplete: its directory, which lies at the end, is missing (truncated copy?).\n"));
  // A header that promises more than the file has: still safetensors, cut off.
  write_file(s.file("cut.safetensors"), std::string("\x60\0\0\0\0\0\0\0", 8) + R"({"a":{"dtype":"F32","shape":[1])");
  CHECK(inspect({s.file("cut.safetensors")}).out.find("unknown kind of file") == std::string::npos);
  CHECK(message_of<FileError>([&] { network_shapes(io::SafeTensors(s.file("cut.safetensors")), ""); }).find(s.file("cut.safetensors") + ": ") == 0);
  {
    io::H5Writer keras3(s.file("k.weights.h5"));
    const float zero = 0;
    keras3.write<float>("/layers/conv3d/vars/0", {1}, &zero);
    keras3.commit();
  }
  CHECK(has(inspect({s.file("k.weights.h5")}).out, "weights in Keras 3's own format (HDF5)\n"));
  CHECK(has(inspect({s.file("k.weights.h5")}).out, "-> in Keras, load it and save it as '*.h5', not '*.weights.h5'.\n"));
  make_folders(s.file("saved"));
  write_file(s.file("saved/saved_model.pb"), "x");
  CHECK(has(inspect({s.file("saved")}).out, "is a TensorFlow SavedModel. Of Keras, StarDist folders are read"));
}

TEST_CASE("inspect: weights of other people agree with their sums, or are refused", "[shared]") {
  const std::string folder = test::real_data("weights of other people");
  if (folder.empty()) return;
  std::map<std::string, std::vector<std::map<std::string, std::string>>> files;
  for (const auto& row : test::read_csv(folder + "/expect_tensors.csv"))
    if (row.at("file").starts_with("weights/")) files[row.at("file")].push_back(row);
  size_t listed = 0, refused = 0, compared = 0;
  for (const auto& [file, rows] : files) {
    INFO(file);
    const auto event = file_event(inspect({"--tensors", "--json", folder + "/" + file}).out);
    const bool none = rows[0].at("dtype").empty(), program = file.find("wholemodel") != std::string::npos;
    if (none || program) {  // neither zip nor legacy; a pickled module
      const std::string why = event.contains("error") ? event["error"] : event["use"];
      CHECK((program ? has(why, "torch.save(model.state_dict(), ...)") : has(why, "cannot be used") || has(why, "no known format")));
      CHECK_FALSE(event.contains("list"));
      ++refused;
      continue;
    }
    ++listed;
    std::map<std::string, nlohmann::json> tensors;
    for (const auto& row : event["list"]) tensors[row["name"]] = row;
    CHECK(tensors.size() == rows.size());
    for (const auto& row : rows) {
      INFO(row.at("tensor"));
      REQUIRE(tensors.count(row.at("tensor")) == 1);
      const auto& t = tensors[row.at("tensor")];
      CHECK(t["dtype"] == row.at("dtype"));
      std::string shape;
      for (const auto& e : t["shape"]) shape += (shape.empty() ? "" : "x") + std::to_string(int64_t(e));
      CHECK((shape.empty() ? "scalar" : shape) == row.at("shape"));
      const double sum = std::stod(row.at("sum"));
      if (std::isfinite(sum)) CHECK(std::abs(double(t["sum"]) - sum) <= 1e-9 * std::max(1.0, std::abs(sum)));
      else CHECK(t["sum"].is_null());
      if (!row.at("first").empty() && std::isfinite(std::stod(row.at("first")))) CHECK(double(t["first"]) == std::stod(row.at("first")));
      ++compared;
    }
  }
  std::printf("%zu files with %zu tensors agree, %zu are refused\n", listed, compared, refused);
  CHECK(listed == 56);
  CHECK(refused == 2);
}

// SPDX-License-Identifier: BSD-3-Clause
// Writes small valid files for the fuzzers with this library's own writers: corpus FOLDER [FILES_OF_PYTORCH] makes FOLDER/{torch,keras,safetensors}.

#include <filesystem>
#include <fstream>
#include <iterator>

#include "voxgrad/io/keras_weights_write.hpp"
#include "voxgrad/io/safetensors.hpp"
#include "voxgrad/io/torch_write.hpp"

using namespace voxgrad;

namespace {

/// A copy of an archive whose entries have no checksums, so that changed bytes arrive behind the check.
void without_checksums(const std::string& from, const std::string& to) {
  std::ifstream in(from, std::ios::binary);
  std::string all{std::istreambuf_iterator<char>(in), {}};
  for (size_t at = 0; (at = all.find("PK\1\2", at)) != std::string::npos; ++at) all.replace(at + 16, 4, 4, '\0');
  std::ofstream(to, std::ios::binary) << all;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) return 2;
  const std::string folder = argv[1];
  for (const char* part : {"torch", "keras", "safetensors"}) std::filesystem::create_directories(folder + "/" + part);
  const Tensor kernel = Tensor::full({1, 1, 1, 2, 2}, 0.5), bias = Tensor::full({2}, -1), wide = Tensor::full({3}, 2, DType::f64);

  io::TorchWriter state;
  state.begin_ordered_dict().key("a.weight").tensor(kernel).key("a.bias").tensor(bias).key("n").tensor("I64", {}, std::string(8, '\1')).end();
  state.write(folder + "/torch/state.pt");
  io::TorchWriter run;
  run.begin_dict().key("model").begin_dict().key("w").tensor(wide).key("h").tensor("F16", {2}, "abcd").end().key("step").value(int64_t(70000));
  run.key("optimizer").begin_dict().key("state").begin_dict().key(int64_t(0)).begin_dict().key("step").value(1.5).end().end().end();
  run.key("list").begin_list().value(true).none().value(int64_t(1) << 40).value("text").begin_tuple().value(0.1).end().end().end();
  run.write(folder + "/torch/checkpoint.pt");

  for (const std::string name : {"state", "checkpoint"}) without_checksums(folder + "/torch/" + name + ".pt", folder + "/torch/" + name + "-unchecked.pt");
  if (argc == 3) {  // files of PyTorch: tests/golden/torch_archive
    without_checksums(argv[2] + std::string("/layouts.pt"), folder + "/torch/layouts.pt");
    std::filesystem::copy_file(argv[2] + std::string("/layouts_legacy.pt"), folder + "/torch/legacy.pt", std::filesystem::copy_options::overwrite_existing);
  }

  io::write_keras_weights(folder + "/keras/one.h5", {{"conv3d", {{"kernel", kernel}, {"bias", bias}}}});
  io::write_keras_weights(folder + "/keras/norm.h5", {{"features", {{"kernel", kernel}, {"bias", bias}}},
                                                      {"batch_normalization", {{"gamma", bias}, {"beta", bias}, {"moving_mean", bias}, {"moving_variance", bias}}}});

  io::write_safetensors(folder + "/safetensors/two.safetensors", {io::safetensor_item("a", kernel), io::safetensor_item("b", wide)}, {{"step", "7"}});
  const int64_t count = 3;
  io::write_safetensors(folder + "/safetensors/scalar.safetensors", {{"n", "I64", {}, &count}, {"none", "F32", {0, 3}, nullptr}});
  io::write_safetensors(folder + "/safetensors/empty.safetensors", {});
  return 0;
}

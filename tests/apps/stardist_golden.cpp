// SPDX-License-Identifier: BSD-3-Clause
// StarDist-3D against vectors of the Python package: model folders to maps, losses and gradients, twelve steps of training.

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "catch.hpp"
#include "common/stardist_folder.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/io/keras_weights.hpp"
#include "voxgrad/models/stardist3d_field.hpp"
#include "voxgrad/models/stardist3d_loss.hpp"
#include "voxgrad/nn/keras_state.hpp"
#include "voxgrad/optim/adam.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// The folder of shared data, or "" (and a printed line) if this part of it is absent.
std::string shared(const char* part) {
  const char* set = std::getenv("VOXGRAD_SHARED");
  const std::string folder = set && *set ? set : std::string(VOXGRAD_SOURCE_DIR) + "/../shared";
  if (std::filesystem::exists(folder + part)) return folder;
  std::printf("skipped: StarDist's vectors (no %s in VOXGRAD_SHARED or ../shared)\n", part);
  return "";
}

Tensor tensor(const io::H5File& file, const std::string& name) {
  const auto shape = file.info(name).shape;
  return Tensor::from(file.read<float>(name), Shape(shape.begin(), shape.end()));
}
double number(const io::H5File& file, const std::string& object, const char* name) {
  return file.attribute<double>(object, name).at(0);
}
double worst(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const Tensor x = a.to(DType::f64), y = b.to(DType::f64);
  double most = 0;
  for (size_t i = 0; i < size_t(x.size()); ++i) most = std::max(most, std::abs(x.span<double>()[i] - y.span<double>()[i]));
  return most;
}

}  // namespace

TEST_CASE("StarDist goldens: model folders of every kind give the package's maps and tile overlaps") {
  const std::string data = shared("/data/golden/stardist/network.h5");
  if (data.empty()) return;
  const io::H5File file(data + "/data/golden/stardist/network.h5");
  for (const std::string name : {"unet_ref_small", "unet_grid244_depth3_cls", "unet_bn_noconv", "resnet_demo_like", "resnet_grid222_bn"}) {
    INFO(name);
    const StarDistFolder folder = StarDistFolder::existing(data + "/data/golden/stardist/models/" + name);
    const StarDistConfigRead read = folder.config();
    CHECK(read.notes.empty());
    CHECK(folder.thresholds().prob == 0.61);
    CHECK(folder.thresholds().nms == 0.35);
    const auto net = folder.network();
    const std::string group = "/" + name;
    const auto of = [&](const char* attribute) {
      const auto v = file.attribute<int64_t>(group, attribute);
      return std::array<int64_t, 3>{v.at(0), v.at(1), v.at(2)};
    };
    CHECK(net->multiple() == of("div_by_zyx"));
    CHECK(models::receptive_field(net->options()) == of("tile_overlap_zyx"));
    int64_t numbers = 0;
    for (const auto& layer : nn::keras_layers(*net))
      for (const auto& slot : layer.slots) numbers += slot.tensor->size();
    CHECK(numbers == file.attribute<int64_t>(group, "n_params").at(0));
    NoGrad off;
    const models::StarDistMaps y = (*net)(tensor(file, group + "/input"));
    CHECK(worst(y.prob, tensor(file, group + "/prob")) < 1e-5);
    CHECK(worst(y.dist, tensor(file, group + "/dist")) < 1e-4);
    CHECK(y.prob_class.defined() == file.is_dataset(group + "/prob_class"));
    if (y.prob_class.defined()) CHECK(worst(y.prob_class, tensor(file, group + "/prob_class")) < 1e-5);
  }
}

TEST_CASE("StarDist goldens: a published ResNet on a real volume") {
  const std::string data = shared("/data/real/weights/stardist3d_nucleargcamp");
  if (data.empty() || shared("/data/golden/stardist/real_model.h5").empty()) return;
  const StarDistFolder folder = StarDistFolder::existing(data + "/data/real/weights/stardist3d_nucleargcamp");
  const io::H5File file(data + "/data/golden/stardist/real_model.h5");
  CHECK(folder.thresholds().prob == number(file, "/", "prob_thresh"));
  const auto net = folder.network();
  const auto start = file.attribute<int64_t>("/network", "slice_start"), stop = file.attribute<int64_t>("/network", "slice_stop");
  const Tensor prob = tensor(file, "/network/prob"), dist = tensor(file, "/network/dist_every_8th_ray");
  const Tensor image = tensor(file, "/image_normalized");
  NoGrad off;
  const Tensor x = crop(image, start, prob.shape());
  CHECK(stop[0] - start[0] == prob.shape()[0]);
  const models::StarDistMaps y = (*net)(x.view({1, x.shape()[0], x.shape()[1], x.shape()[2], 1}));
  double of_prob = 0, of_dist = 0;
  for (int64_t i = 0; i < prob.size(); ++i) {
    of_prob = std::max(of_prob, std::abs(double(y.prob.span<float>()[size_t(i)] - prob.span<float>()[size_t(i)])));
    for (int64_t r = 0; r < 16; ++r)
      of_dist = std::max(of_dist, std::abs(double(y.dist.span<float>()[size_t(i * 128 + 8 * r)] - dist.span<float>()[size_t(i * 16 + r)])));
  }
  CHECK(of_prob < 1e-4);
  CHECK(of_dist < 1e-3);
}

TEST_CASE("StarDist goldens: losses, measures and gradients") {
  const std::string data = shared("/data/golden/stardist/loss.h5");
  if (data.empty()) return;
  const io::H5File file(data + "/data/golden/stardist/loss.h5");
  for (const std::string name : {"mae", "mse_neg", "iou", "mae_background_only", "mae_class"})
    for (const DType dtype : {DType::f64, DType::f32}) {
      INFO(name << " in " << voxgrad::name(dtype));
      const std::string g = "/" + name;
      const double slack = dtype == DType::f64 ? 1e-6 : 1e-4;
      models::StarDistMaps y{tensor(file, g + "/prob_pred").to(dtype), tensor(file, g + "/dist_pred").to(dtype)};
      const Tensor both = tensor(file, g + "/dist_true").to(dtype);  // the last channel is the mask
      const int64_t rays = y.dist.shape()[4];
      Shape one = both.shape(), rest = both.shape();
      one.set(4, 1);
      rest.set(4, rays);
      const Tensor target_prob = tensor(file, g + "/prob_true").to(dtype);
      models::StarDistTargets t{target_prob, crop(both, {0, 0, 0, 0, 0}, rest), {}, crop(both, {0, 0, 0, 0, rays}, one)};
      const bool classes = file.is_dataset(g + "/prob_class_pred");
      std::vector<Tensor*> inputs{&y.prob, &y.dist};
      std::vector<const char*> gradients{"/grad_total_prob_pred", "/grad_total_dist_pred"};
      if (classes) {
        y.prob_class = tensor(file, g + "/prob_class_pred").to(dtype);
        t.prob_class = tensor(file, g + "/prob_class_true").to(dtype);
        inputs.push_back(&y.prob_class);
        gradients.push_back("/grad_total_prob_class_pred");
      }
      for (Tensor* input : inputs) input->set_requires_grad();
      const auto weights = file.attribute<double>(g, "loss_weights");
      const std::string kind = file.string_attribute(g, "train_dist_loss").at(0);
      models::StarDistLossOptions o{.prob_weight = weights.at(0), .dist_weight = weights.at(1), .background_reg = number(file, g, "background_reg"),
                                    .dist_loss = kind == "mae" ? RayError::mae : kind == "mse" ? RayError::mse : RayError::iou};
      if (classes) o.prob_class_weight = weights.at(2), o.class_weights = file.attribute<double>(g, "class_weights");
      const models::StarDistLoss loss = models::stardist_losses(y, t, o);
      const auto near = [&](double found, const char* attribute) {
        INFO(attribute);
        const double want = number(file, g, attribute);
        CHECK(std::abs(found - want) <= slack * std::max(1e-3, std::abs(want)));
      };
      near(loss.total.item(), "loss_total");
      near(loss.prob.item(), "loss_prob");
      near(loss.dist.item(), "loss_dist");
      if (classes) near(loss.prob_class.item(), "loss_prob_class");
      const models::StarDistMeasures m = models::stardist_measures(y, t);
      near(m.prob_kld, "metric_prob_kld");
      near(m.dist_relevant_mae, "metric_dist_relevant_mae");
      near(m.dist_relevant_mse, "metric_dist_relevant_mse");
      near(m.dist_iou, "metric_dist_dist_iou_metric");
      backward(loss.total);
      for (size_t i = 0; i < inputs.size(); ++i) {
        INFO(gradients[i]);
        const auto shape = file.info(g + gradients[i]).shape;
        const Tensor want = Tensor::from(file.read<double>(g + gradients[i]), Shape(shape.begin(), shape.end()));
        double largest = 0;
        for (const double v : want.span<double>()) largest = std::max(largest, std::abs(v));
        CHECK(worst(inputs[i]->grad(), want) < slack * largest);
      }
    }
}

TEST_CASE("StarDist goldens: twelve steps of training with Keras' Adam") {
  const std::string data = shared("/data/golden/stardist/train_steps.h5");
  if (data.empty()) return;
  const io::H5File file(data + "/data/golden/stardist/train_steps.h5");
  const StarDistFolder folder = StarDistFolder::existing(data + "/data/golden/stardist/models/unet_train_init");
  const auto net = folder.network();
  net->train();
  optim::Adam adam(net->parameters(), {.lr = number(file, "/adam", "learning_rate"), .beta1 = number(file, "/adam", "beta_1"),
                                       .beta2 = number(file, "/adam", "beta_2"), .eps = number(file, "/adam", "epsilon"), .epsilon_hat = true});
  const auto want = file.read<double>("/adam/loss_total_prob_dist");
  REQUIRE(want.size() == 39);
  for (size_t step = 0; step <= 12; ++step) {
    INFO("step " << step);
    const std::string b = std::to_string(step % 2);
    const Tensor both = tensor(file, "/adam/dist_mask_" + b);
    Shape one = both.shape(), rest = both.shape();
    one.set(4, 1);
    rest.set(4, rest[4] - 1);
    const models::StarDistTargets target{tensor(file, "/adam/prob_" + b), crop(both, {0, 0, 0, 0, 0}, rest), {},
                                         crop(both, {0, 0, 0, 0, rest[4]}, one)};
    const models::StarDistLoss loss = models::stardist_losses((*net)(tensor(file, "/adam/x_" + b)), target);
    CHECK(std::abs(loss.total.item() / want[3 * step] - 1) < 1e-4);
    CHECK(std::abs(loss.prob.item() / want[3 * step + 1] - 1) < 1e-4);
    CHECK(std::abs(loss.dist.item() / want[3 * step + 2] - 1) < 1e-4);
    if (step == 12) break;
    backward(loss.total);
    adam.step();
  }
  const std::vector<LayerWeights> names = io::read_keras_weights(folder.weights_file()).layers;
  const auto layers = nn::keras_layers(*net);
  for (size_t i = 0; i < layers.size(); ++i)
    for (const auto& slot : layers[i].slots)
      CHECK(worst(*slot.tensor, tensor(file, "/adam/final/" + names[i].name + "/" + slot.name)) < 1e-4);
}

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist-3D's network (models/stardist3d.hpp) as a sequence of GPU steps: its parameters by name, its layers in order.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "voxgrad/cuda/engines.hpp"
#include "voxgrad/cuda/network_tape.hpp"

namespace voxgrad::cuda {

/// Keras' activation of this name (models/keras_activation.hpp). Errors: UsageError for an unknown one.
inline Activation keras_activation(const std::string& name) {
  using Kind = ActivationKind;
  const std::pair<const char*, Activation> all[] = {
      {"linear", {}},
      {"relu", leaky_relu(0)},
      {"leaky_relu", leaky_relu(0.2)},
      {"relu6", {Kind::clamp, 0, 6}},
      {"elu", {Kind::elu, 1, 1}},
      {"selu", {Kind::elu, float(1.6732632423543772), float(1.0507009873554805)}},
      {"sigmoid", {Kind::sigmoid}},
      {"hard_sigmoid", {Kind::hard_sigmoid, 0.2f, 0.5f}},
      {"tanh", {Kind::tanh}},
      {"gelu", {Kind::gelu}},
      {"softplus", {Kind::softplus}},
      {"softsign", {Kind::softsign}},
      {"swish", {Kind::swish}},
      {"silu", {Kind::swish}},
      {"exponential", {Kind::exponential}},
  };
  for (const auto& [known, activation] : all)
    if (name == known) return activation;
  throw UsageError(text("stardist3d on a device: activation '", name, "' has no kernel. Use --device cpu."));
}

/// Names and places of the network's parameters and of its running statistics, as models::StarDist3d has them.
class StarDist3dLayers {
 public:
  struct Conv {
    ConvLayer conv;
    NormLayer norm;
    Activation act;
    int64_t dropout_stream = -1;  ///< -1: no dropout
  };
  /// window: of the pooling after it on the way down, of the up-sampling before it on the way up.
  struct Stage {
    std::vector<Conv> convs;
    Extent window{1, 1, 1};
  };
  struct Block {
    std::vector<Conv> convs;
    std::optional<Conv> projection;
  };

  explicit StarDist3dLayers(const StarDist3dShape& s) : shape(s) {
    const int64_t channels = s.resnet ? add_resnet() : add_unet(), between = s.features > 0 ? s.features : channels;
    const Style style{.kernel = s.kernel, .activation = s.activation};
    if (s.features > 0) {
      features = add("features", channels, between, style);
      if (s.classes > 0) features_class = add("features_class", channels, between, style);
    }
    prob = add("prob", between, 1, {.order = WeightOrder::as_is});
    dist = add("dist", between, s.rays, {});
    if (s.classes > 0)
      prob_class = add("prob_class", between, s.classes + 1, {.order = class_head_kernel() ? WeightOrder::as_is : WeightOrder::output_first});
  }

  /// A few classes of features of their own go through the kernel of few outputs, more through a convolution.
  bool class_head_kernel() const { return features_class && shape.classes + 1 <= most_head_outputs; }
  /// Extents of the input must be multiples of these.
  Extent multiple() const {
    Extent m = shape.grid;
    for (int64_t i = 0; i < (shape.resnet ? 0 : shape.depth); ++i)
      for (size_t a = 0; a < 3; ++a) m[a] *= shape.pool[a];
    return m;
  }

  StarDist3dShape shape;
  ParameterTable learnable, buffers;
  std::vector<std::string> counters;  ///< of training passes, which the host keeps
  std::vector<Stage> before_grid, down, up;
  Stage middle;
  Conv first, second;  ///< of the ResNet, as its blocks
  std::vector<Block> blocks;
  std::optional<Conv> features, features_class, prob_class;
  Conv prob, dist;

 private:
  struct Style {
    Extent kernel{1, 1, 1}, stride{1, 1, 1};
    std::string activation = "linear";
    bool batch_norm = false, bias = true, dropout = false;
    WeightOrder order = WeightOrder::output_first;
  };

  Conv add(const std::string& name, int64_t in, int64_t out, const Style& style) {
    Conv c{{.Ci = in, .Co = out, .kernel = style.kernel, .stride = style.stride, .same = true}, {}, keras_activation(style.activation), -1};
    c.conv.weight = learnable.add(name + ".weight", style.order, style.kernel[0] * style.kernel[1] * style.kernel[2], in, out);
    if (style.bias) c.conv.bias = learnable.add_vector(name + ".bias", out);
    if (style.batch_norm) {
      c.norm = {.eps = 1e-3f, .momentum = 0.01f, .unbiased = false};
      c.norm.gamma = learnable.add_vector(name + ".norm.weight", out);
      c.norm.beta = learnable.add_vector(name + ".norm.bias", out);
      c.norm.mean = buffers.add_vector(name + ".norm.running_mean", out);
      c.norm.variance = buffers.add_vector(name + ".norm.running_var", out);
      counters.push_back(name + ".norm.num_batches_tracked");
    }
    if (style.dropout) c.dropout_stream = streams_++;
    return c;
  }

  /// Pooling windows (or strides) in order until the grid is reached.
  std::vector<Extent> grid_steps() const {
    std::vector<Extent> steps;
    for (Extent reached{1, 1, 1}; reached != shape.grid;) {
      Extent& step = steps.emplace_back();
      for (size_t a = 0; a < 3; ++a) {
        step[a] = reached[a] < shape.grid[a] ? 2 : 1;
        reached[a] *= step[a];
      }
    }
    return steps;
  }

  int64_t add_unet() {
    const StarDist3dShape& s = shape;
    const Style plain{.kernel = s.kernel, .activation = s.activation};
    Style block = plain;
    block.batch_norm = s.batch_norm, block.dropout = s.dropout > 0;
    const auto width = [&](int64_t level) { return s.filters << std::max<int64_t>(0, level); };
    int64_t channels = s.in_channels;
    const auto to = [&](Stage& stage, const std::string& name, int64_t out, const Style& style) {
      stage.convs.push_back(add(name, channels, out, style));
      channels = out;
    };
    for (const Extent& step : grid_steps()) {
      Stage& stage = before_grid.emplace_back();
      stage.window = step;
      for (int64_t i = 0; i < s.convs; ++i) to(stage, text("grid_level_", before_grid.size() - 1, "_no_", i), s.filters, plain);
    }
    for (int64_t level = 0; level < s.depth; ++level) {
      Stage& stage = down.emplace_back();
      stage.window = s.pool;
      for (int64_t i = 0; i < s.convs; ++i) to(stage, text(s.prefix, "down_level_", level, "_no_", i), width(level), block);
    }
    for (int64_t i = 0; i < s.convs - 1; ++i) to(middle, text(s.prefix, "middle_", i), width(s.depth), block);
    to(middle, text(s.prefix, "middle_", s.convs), width(s.depth - 1), block);
    for (int64_t level = s.depth; level-- > 0;) {
      Stage& stage = up.emplace_back();
      stage.window = s.pool;
      channels += width(level);
      for (int64_t i = 0; i < s.convs - 1; ++i) to(stage, text(s.prefix, "up_level_", level, "_no_", i), width(level), block);
      Style last = block;
      if (level == 0) last.activation = s.last_activation;
      to(stage, text(s.prefix, "up_level_", level, "_no_", s.convs), width(level - 1), last);
    }
    return channels;
  }

  int64_t add_resnet() {
    const StarDist3dShape& s = shape;
    int64_t channels = s.filters;
    first = add("first", s.in_channels, channels, {.kernel = {7, 7, 7}});
    second = add("second", channels, channels, {.kernel = {3, 3, 3}});
    const std::vector<Extent> steps = grid_steps();
    for (int64_t b = 0; b < s.blocks; ++b) {
      const bool strided = size_t(b) < steps.size();
      const int64_t out = strided ? 2 * channels : channels;
      const Extent stride = strided ? steps[size_t(b)] : Extent{1, 1, 1};
      const std::string name = text("block_", b, ".");
      Block& block = blocks.emplace_back();
      for (int64_t i = 0; i < s.convs; ++i)
        block.convs.push_back(add(text(name, "conv_", i), i == 0 ? channels : out, out,
                                  {.kernel = s.kernel, .stride = i == 0 ? stride : Extent{1, 1, 1},
                                   .activation = i + 1 == s.convs ? "linear" : s.activation, .batch_norm = s.batch_norm, .bias = !s.batch_norm}));
      if (strided) block.projection = add(name + "projection", channels, out, {.stride = stride, .bias = !s.batch_norm});
      channels = out;
    }
    return channels;
  }

  int64_t streams_ = 0;
};

/// Where the plan of the network finds and leaves values; those of a pass that is not wanted name nothing.
struct StarDist3dValues {
  Value logit, probability, dlogit;  ///< f32
  Value dist;                        ///< in working precision; nothing: memory of the steps
  Value class_logit, dclass_logit;   ///< f32
  Value draws;                       ///< position of the dropout layers
  uint64_t dropout_seed = 0;
};

/// Adds the network's forward pass to a tape.
template <class Device, class E>
class StarDist3dPlan {
 public:
  StarDist3dPlan(NetworkTape<Device, E>& tape, const StarDist3dLayers& net, const StarDist3dValues& values)
      : tape_(tape), net_(net), values_(values) {}

  /// The map of distances, whose gradient training has to give.
  FeatureMap operator()(const FeatureMap& input) {
    FeatureMap x = net_.shape.resnet ? resnet(input) : unet(input);
    if (net_.prob_class) classes(x);
    if (net_.features) x = layer(x, *net_.features);
    tape_.head(x, net_.prob.conv, values_.logit, values_.probability, values_.dlogit);
    if (!values_.dist) return layer(x, net_.dist);
    return layer(x, net_.dist, tape_.over(values_.dist, x.N, x.extent, net_.shape.rays));
  }

 private:
  using Conv = StarDist3dLayers::Conv;
  using Stage = StarDist3dLayers::Stage;

  bool drops(const Conv& c) const { return tape_.training() && c.dropout_stream >= 0; }

  /// A whole layer, into `to` where that is given.
  FeatureMap layer(const FeatureMap& x, const Conv& c, const std::optional<FeatureMap>& to = {}) {
    const auto u = tape_.conv(x, c.conv, c.norm, c.act);
    const FeatureMap y = tape_.finish(u, to && !drops(c) ? *to : tape_.dense(u.N, u.extent, c.conv.Co));
    if (!drops(c)) return y;
    const FeatureMap dropped = tape_.drop(y, {net_.shape.dropout, values_.dropout_seed, uint64_t(c.dropout_stream), values_.draws});
    if (to) tape_.copy(dropped, *to);
    return dropped;
  }
  FeatureMap all(FeatureMap x, const Stage& stage, size_t count) {
    for (size_t i = 0; i < count; ++i) x = layer(x, stage.convs[i]);
    return x;
  }
  /// A stage and the pooling after it; its last activation also goes into `to` where that is given.
  FeatureMap pooled(FeatureMap x, const Stage& stage, const std::optional<FeatureMap>& to = {}) {
    x = all(x, stage, stage.convs.size() - 1);
    const Conv& c = stage.convs.back();
    const Extent& k = stage.window;
    const bool simple = c.act.kind == ActivationKind::leaky_relu || c.act.kind == ActivationKind::none;
    if (!simple || drops(c) || *std::max_element(k.begin(), k.end()) > 2) return tape_.pool(layer(x, c, to), k);
    return tape_.finish_and_pool(tape_.conv(x, c.conv, c.norm, c.act), to ? *to : tape_.dense(x.N, x.extent, c.conv.Co), k);
  }

  FeatureMap unet(const FeatureMap& input) {
    FeatureMap x = input;
    for (const Stage& stage : net_.before_grid) x = pooled(x, stage);
    std::vector<FeatureMap> joined;  // per level: [up, skip], filled from both sides
    for (const Stage& stage : net_.down) {
      const int64_t skip = stage.convs.back().conv.Co;  // what comes up has as many channels
      joined.push_back(tape_.joined(x.N, x.extent, 2 * skip));
      x = pooled(x, stage, tape_.part(joined.back(), skip, skip));
    }
    x = all(x, net_.middle, net_.middle.convs.size());
    for (const Stage& stage : net_.up) {
      FeatureMap& both = joined.back();
      tape_.upsample(x, stage.window, tape_.part(both, 0, both.C / 2));
      x = all(both, stage, stage.convs.size());
      joined.pop_back();
    }
    return x;
  }

  FeatureMap resnet(const FeatureMap& input) {
    FeatureMap x = layer(layer(input, net_.first), net_.second);
    for (const StarDist3dLayers::Block& block : net_.blocks) {
      FeatureMap y = x;
      for (size_t i = 0; i + 1 < block.convs.size(); ++i) y = layer(y, block.convs[i]);
      const Conv& last = block.convs.back();
      const auto sum = tape_.conv(y, last.conv, last.norm, {});
      x = tape_.add(sum, block.projection ? layer(x, *block.projection) : x, keras_activation(net_.shape.activation));
    }
    return x;
  }

  void classes(const FeatureMap& x) {
    const FeatureMap from = net_.features_class ? layer(x, *net_.features_class) : x;
    const Conv& c = *net_.prob_class;
    if (net_.class_head_kernel()) return tape_.head(from, c.conv, values_.class_logit, {}, values_.dclass_logit);
    std::optional<FeatureMap> to;
    if constexpr (std::is_same_v<E, float>) to = tape_.over(values_.class_logit, from.N, from.extent, c.conv.Co);
    tape_.values_of(layer(from, c, to), values_.class_logit, values_.dclass_logit);
  }

  NetworkTape<Device, E>& tape_;
  const StarDist3dLayers& net_;
  const StarDist3dValues& values_;
};

}  // namespace voxgrad::cuda

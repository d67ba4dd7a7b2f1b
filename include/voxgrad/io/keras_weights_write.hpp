// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Writing weights in Keras' HDF5 layout, which Keras 2 and 3 load with `load_weights("x.h5")`.

#include "voxgrad/io/hdf5_write.hpp"
#include "voxgrad/io/keras_weights.hpp"

namespace voxgrad::io {

/// Layers in Keras' order, tensors f32 or f64 (written as f32); the file appears when complete. Layer and weight names must
/// not be empty or hold a '/'.
inline void write_keras_weights(const std::string& path, const std::vector<LayerWeights>& layers,
                                const std::string& keras_version = "2.13.1") {
  H5Writer file(path);
  file.set_attribute("/", "backend", std::string("tensorflow"));
  file.set_attribute("/", "keras_version", keras_version);
  std::vector<std::string> names;
  for (const LayerWeights& layer : layers) {
    check<UsageError>(!layer.name.empty() && layer.name.find('/') == std::string::npos, "write_keras_weights: a layer is called '",
                      layer.name, "'");
    names.push_back(layer.name);
    const std::string group = "/" + layer.name;
    file.create_group(group);
    std::vector<std::string> weights;
    for (const LayerWeights::Weight& w : layer.weights) {
      check<UsageError>(!w.name.empty() && w.name.find('/') == std::string::npos, "write_keras_weights: a weight of '", layer.name,
                        "' is called '", w.name, "'");
      weights.push_back(layer.name + "/" + w.name + ":0");
      const Tensor values = w.tensor.to(DType::f32);
      file.write(group + "/" + weights.back(), std::vector<int64_t>(values.shape().begin(), values.shape().end()),
                 values.span<float>().data());
    }
    file.set_attribute(group, "weight_names", weights);
  }
  file.set_attribute("/", "layer_names", names);
  file.commit();
}

}  // namespace voxgrad::io

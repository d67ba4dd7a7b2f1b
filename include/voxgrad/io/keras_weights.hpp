// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Weights that Keras saved as HDF5 (`save_weights("x.h5")`, or a whole model): a group per layer, found through the
// attributes layer_names and weight_names. Keras itself matches layers by their order, not by name.

#include "voxgrad/core/layer_weights.hpp"
#include "voxgrad/io/hdf5.hpp"

namespace voxgrad::io {

/// What a file says of itself, "" where it does not, and its layers that have weights, in the file's order; f32.
struct KerasWeights {
  std::string keras_version, backend;
  std::vector<LayerWeights> layers;
};

namespace keras {

/// The strings of an attribute, which long ones continue in name0, name1, ...; a list of no numbers is an empty list.
inline std::vector<std::string> names(const H5File& file, const std::string& object, const std::string& attribute) {
  const auto part = [&](const std::string& name) {
    if (file.attribute_is_text(object, name)) return file.string_attribute(object, name);
    check<FileError>(file.attribute<double>(object, name).empty(), file.path(), ": attribute '", name, "' of ", object,
                     " holds numbers (expected names).");
    return std::vector<std::string>{};
  };
  if (file.has_attribute(object, attribute)) return part(attribute);
  std::vector<std::string> all;
  for (int i = 0; file.has_attribute(object, text(attribute, i)); ++i)
    for (std::string& name : part(text(attribute, i))) all.push_back(std::move(name));
  check<FileError>(file.has_attribute(object, attribute + "0"), file.path(), ": ", object, " has no attribute '", attribute,
                   "', the file is damaged or was not written by Keras.");
  return all;
}

inline std::string version_of(const H5File& file, const std::string& root, const char* attribute) {
  for (const std::string& object : {root, std::string("/")})
    if (file.has_attribute(object, attribute) && file.attribute_is_text(object, attribute)) {
      const std::vector<std::string> value = file.string_attribute(object, attribute);
      if (!value.empty()) return value[0];
    }
  return "";
}

/// "block/conv/kernel:0" -> "kernel".
inline std::string short_name(const std::string& weight) {
  const size_t slash = weight.find_last_of('/');
  const std::string last = slash == std::string::npos ? weight : weight.substr(slash + 1);
  return last.substr(0, last.find(':'));
}

inline Tensor read(const H5File& file, const std::string& dataset) {
  const std::vector<int64_t> shape = file.info(dataset).shape;
  check<FileError>(shape.size() <= size_t(Shape::max_rank), file.path(), ": ", dataset, " has ", shape.size(),
                   " axes (expected at most ", Shape::max_rank, ").");
  return Tensor::from(file.read<float>(dataset), Shape(shape.begin(), shape.end()));
}

}  // namespace keras

/// Whether a file without layer names has the layout of Keras 3's save_weights("*.weights.h5"), which is not read.
inline bool keras3_layout(const H5File& file) { return file.is_group("/layers") || file.is_group("/_layer_checkpoint_dependencies"); }

/// Reads a weight file of Keras 1 to 3 in the HDF5 layout, or the weights of a whole model. FileError when it is none.
inline KerasWeights read_keras_weights(const std::string& path) {
  const H5File file(path);
  const std::string root = file.is_group("/model_weights") ? "/model_weights" : "/";
  if (!file.has_attribute(root, "layer_names") && !file.has_attribute(root, "layer_names0")) {
    throw FileError(text(path, ": holds no Keras weights (no attribute 'layer_names'). ",
                         keras3_layout(file) ? "It is in Keras 3's own format; load it there and save it as '*.h5', not '*.weights.h5'."
                                             : "Expected a file written by Keras' save_weights or by StarDist."));
  }
  KerasWeights result{keras::version_of(file, root, "keras_version"), keras::version_of(file, root, "backend"), {}};
  const std::string prefix = root == "/" ? "/" : root + "/";
  for (const std::string& layer : keras::names(file, root, "layer_names")) {
    const std::string group = prefix + layer;
    check<FileError>(file.is_group(group), path, ": names a layer '", layer, "' but has no group ", group,
                     ", the file is damaged.");
    LayerWeights weights{layer, {}};
    for (const std::string& name : keras::names(file, group, "weight_names"))
      weights.weights.push_back({keras::short_name(name), keras::read(file, group + "/" + name)});
    if (!weights.weights.empty()) result.layers.push_back(std::move(weights));
  }
  return result;
}

}  // namespace voxgrad::io

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Models between the forms of their makers (docs/checkpoints.md).

#include <string>
#include <vector>

namespace voxgrad::app {

/// Ours; the published pipeline's (results.pt, checkpoint.pt); the Python package stardist's (config.json, weights_best.h5).
enum class ModelForm { voxgrad, reference, stardist };
const char* name(ModelForm form);

/// The form of a model folder, or of a file of U-Net weights. FileError: no model.
ModelForm model_form(const std::string& path);

/// Writes the model of a folder, or of a file of U-Net weights, in another form into the folder `to`; returns the files written.
/// Nothing of the source changes. Errors: UsageError for a form that this network does not have, or has already; FileError.
std::vector<std::string> convert_model(const std::string& from, const std::string& to, ModelForm form);

}  // namespace voxgrad::app

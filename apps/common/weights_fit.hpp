// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Whether a file's tensors are those of a network, told before any of their values is read.

#include <map>
#include <string>

#include "voxgrad/nn/module.hpp"

namespace voxgrad::app {

/// FileError naming every tensor that is missing, too many or of another shape, in one message; `path` starts it.
void check_fit(const std::string& path, nn::Module& net, const std::map<std::string, Shape>& tensors);

/// FileError for a file where a model folder is needed: what it is, and which folder to give instead.
[[noreturn]] void refuse_file_as_model(const std::string& path);

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The rays in a StarDist model folder's config.json: {"name": "Rays_GoldenSpiral", "kwargs": {"n": 96, "anisotropy": null}}.

#include <string>

#include "json_text.hpp"
#include "voxgrad/stardist/rays.hpp"

namespace voxgrad::app {

/// Reads such an object. Names and arguments are compared with a list, nothing is executed; missing arguments have the
/// defaults of the Python package. Errors: FileError with `file` and the key that is wrong.
stardist::RaysFrom read_rays_json(const std::string& json, const std::string& file);

/// The object that makes these rays again, here and in the Python package.
JsonValue rays_json(const stardist::Rays& rays);

}  // namespace voxgrad::app

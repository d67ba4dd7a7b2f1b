// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What the build system knows about this program.

#include <string>
#include <utility>
#include <vector>

namespace voxgrad::app {

extern const char* const build_commit;  ///< "" when built from a source archive
extern const char* const build_type;
extern const char* const build_compiler;
extern const std::vector<std::pair<std::string, std::string>> build_libraries;  ///< name, version

}  // namespace voxgrad::app

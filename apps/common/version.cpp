// SPDX-License-Identifier: BSD-3-Clause
// The answer to --version.

#include <sstream>

#include "build_info.hpp"
#include "cli.hpp"
#include "device_choice.hpp"
#include "json_text.hpp"
#include "machine.hpp"
#include "voxgrad/simd/isa.hpp"
#include "voxgrad/version.hpp"

namespace voxgrad::app {

std::string version_text(bool json) {
  const std::string commit = build_commit;
  Fields libraries;
  std::string list;
  for (const auto& [name, number] : build_libraries) {
    libraries.emplace_back(name, number);
    list += (list.empty() ? "" : ", ") + name + " " + number;
  }
  if (json) {
    Fields fields = {{"name", "voxgrad"},
                     {"version", version},
                     {"commit", commit},
                     {"build_type", build_type},
                     {"compiler", build_compiler},
                     {"libraries", libraries},
                     {"cpu_kernels", name(current_isa())}};
    const Fields gpu = gpu_fields();
    fields.insert(fields.end(), gpu.begin(), gpu.end());
    fields.emplace_back("machine", machine_kind());
    return json_object(fields) + "\n";
  }
  std::ostringstream out;
  out << "voxgrad " << version << (commit.empty() ? "" : " (" + commit + ")") << "\nbuild:     " << build_type
      << ", " << build_compiler << "\nlibraries: " << list << "\nkernels:   " << name(current_isa())
      << "\n";
  for (const auto& [name, line] : gpu_rows()) out << (name.empty() ? "" : name + ":") << std::string(name.empty() ? 11 : 10 - name.size(), ' ') << line << "\n";
  out << "machine:   " << machine_kind() << "\n";
  return out.str();
}

}  // namespace voxgrad::app

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A hidden case of this test program, run in a process of its own: for what is asked of a library once per process.

#include <cstdio>
#include <filesystem>
#include <string>

namespace voxgrad::cuda::test {

/// What it prints. `environment` is "NAME=VALUE ..." for a shell.
inline std::string output_of_case(const std::string& environment, const std::string& name) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  std::FILE* child = popen((environment + " '" + self + "' '" + name + "'").c_str(), "r");
  std::string all;
  for (int c; child != nullptr && (c = std::fgetc(child)) != EOF;) all += char(c);
  if (child != nullptr) pclose(child);
  return all;
}

/// The rest of the first line that starts with `word`; the whole output when there is none.
inline std::string line_after(const std::string& output, const std::string& word) {
  const std::size_t at = output.find(word);
  return at == std::string::npos ? "no line '" + word + "': " + output : output.substr(at + word.size(), output.find('\n', at) - at - word.size());
}

}  // namespace voxgrad::cuda::test

// SPDX-License-Identifier: BSD-3-Clause
#include "model_bundle.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "file_kind.hpp"
#include "files.hpp"
#include "model_folder.hpp"
#include "voxgrad/io/stored_zip_write.hpp"
#include "voxgrad/version.hpp"

namespace voxgrad::app {
namespace {

namespace fs = std::filesystem;
const std::string mark = "voxgrad-bundle";

/// Only names that stay below the folder they are unpacked into.
void check_name(const std::string& path, const std::string& name) {
  bool bad = name.empty() || name.size() > 4096 || name[0] == '/' || name.find('\\') != std::string::npos || name.find('\0') != std::string::npos;
  for (const fs::path& part : fs::path(name)) bad = bad || part == ".." || part == ".";
  check<FileError>(!bad, path, ": entry '", name.substr(0, 200), "' would be written outside its folder; nothing was unpacked.");
}

}  // namespace

void write_bundle(const std::string& folder, const std::string& example, const std::string& path) {
  std::map<std::string, std::string> contents;  // sorted: the same folder gives the same file
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::recursive_directory_iterator(); ++it) {
    const std::string relative = fs::relative(it->path(), folder).string();
    if (it->path().filename().string()[0] == '.') {
      if (it->is_directory()) it.disable_recursion_pending();
    } else if (it->is_regular_file()) {
      contents[relative] = read_file(it->path().string(), std::size_t(4) << 30);
    }
  }
  if (!example.empty()) contents["example/" + fs::path(example).filename().string()] = read_file(example, std::size_t(4) << 30);
  const std::string root = ModelFolder(fs::canonical(folder).string()).name() + "/";
  std::vector<io::ZipItem> items = {{root + mark, version}};
  for (const auto& [name, bytes] : contents) items.push_back({root + name, bytes});
  io::write_stored_zip(path, items);
}

std::string unpack_bundle(const std::string& path, const std::string& folder) {
  const io::RandomFile file(path);
  const io::StoredZip zip(file);
  std::string root;
  for (const auto& [name, entry] : zip.entries())
    if (const size_t slash = name.find('/'); slash != std::string::npos && name.substr(slash + 1) == mark) root = name.substr(0, slash + 1);
  check<FileError>(!root.empty(), path, ": is a zip archive but no model bundle (no entry '", mark, "'). Unpack it and give the model folder.");
  std::uint64_t bytes = 0;
  for (const auto& [name, entry] : zip.entries()) {
    check_name(path, name);
    check<FileError>(name.starts_with(root), path, ": entry '", name.substr(0, 200), "' is not below '", root, "' as in bundles of voxgrad.");
    check<FileError>(entry.size <= file.size() - bytes, path, ": its entries claim more bytes than the file has, it is damaged.");
    bytes += entry.size;
  }
  for (const auto& [name, entry] : zip.entries()) {
    if (name.back() == '/' || name == root + mark) continue;
    make_folders(fs::path(folder + "/" + name).parent_path().string());
    write_file(folder + "/" + name, zip.read(name));
  }
  return folder + "/" + root.substr(0, root.size() - 1);
}

OpenedModel::OpenedModel(const std::string& path) : path_(path) {
  std::error_code none;
  if (!fs::is_regular_file(path, none) || identify_file(path).kind != FileKind::bundle) return;
  std::string temporary = (fs::temp_directory_path() / "voxgrad-XXXXXX").string();
  check<FileError>(mkdtemp(temporary.data()) != nullptr, temporary, ": no temporary folder can be made to unpack ", path, ". Set TMPDIR.");
  temporary_ = temporary;
  try {
    path_ = unpack_bundle(path, temporary_);
  } catch (...) {
    fs::remove_all(temporary_, none);
    throw;
  }
}

OpenedModel::~OpenedModel() {
  std::error_code ignored;
  if (bundle()) fs::remove_all(temporary_, ignored);
}

}  // namespace voxgrad::app

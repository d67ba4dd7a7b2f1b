// SPDX-License-Identifier: BSD-3-Clause
// Atomic writing, and the expansion of input arguments.

#include "files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "machine.hpp"
#include "voxgrad/core/error.hpp"
#include "voxgrad/io/atomic_name.hpp"

namespace voxgrad::app {

namespace fs = std::filesystem;

namespace {

std::string reason(int error, const std::string& path, std::size_t needed) {
  if (error == ENOSPC || error == EDQUOT)
    return text("the disk is full (needs ", bytes_text(needed), ", free ", bytes_text(free_disk(path)),
                "). Free some space or give another --out");
  return std::strerror(error);
}

}  // namespace

void make_folders(const std::string& path) {
  if (path.empty()) return;
  std::error_code error;
  fs::create_directories(path, error);
  check<FileError>(!error, path, ": the folder cannot be made (", error.message(), "). Give another --out.");
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), temporary_(io::partial_name(path_)) {
  make_folders(fs::path(path_).parent_path().string());
}

AtomicFile::~AtomicFile() {
  if (!committed_) unlink(temporary_.c_str());
}

void AtomicFile::commit() {
  io::put_in_place(temporary_, path_);
  committed_ = true;
}

void write_file(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  const int fd = open(file.temporary().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  check<FileError>(fd >= 0, path, ": cannot be written (", std::strerror(errno), ").");
  std::size_t written = 0;
  int error = 0;
  while (written < content.size() && error == 0) {
    const ssize_t n = write(fd, content.data() + written, content.size() - written);
    if (n >= 0)
      written += std::size_t(n);
    else if (errno != EINTR)
      error = errno;
  }
  if (close(fd) != 0 && error == 0) error = errno;
  check<FileError>(error == 0, path, ": cannot be written: ", reason(error, path, content.size()), ".");
  file.commit();
}

std::string read_file(const std::string& path, std::size_t limit) {
  check<FileError>(fs::exists(path), path, ": no such file.");
  check<FileError>(!fs::is_directory(path), path, ": is a folder, but a file is needed.");
  std::ifstream in(path, std::ios::binary);
  check<FileError>(bool(in), path, ": cannot be opened (", std::strerror(errno), ").");
  std::string content;
  std::vector<char> block(std::size_t(1) << 16);
  while (in.read(block.data(), std::streamsize(block.size())) || in.gcount() > 0) {
    content.append(block.data(), std::size_t(in.gcount()));
    check<FileError>(content.size() <= limit, path, ": is larger than ", bytes_text(limit),
                     ", which no such file is.");
  }
  check<FileError>(!in.bad(), path, ": reading failed after ", content.size(), " bytes.");
  return content;
}

bool natural_less(std::string_view a, std::string_view b) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (!digit(a[i]) || !digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i, ++j;
      continue;
    }
    const auto run = [&digit](std::string_view s, std::size_t& at) {
      while (at + 1 < s.size() && s[at] == '0' && digit(s[at + 1])) ++at;
      const std::size_t begin = at;
      while (at < s.size() && digit(s[at])) ++at;
      return s.substr(begin, at - begin);
    };
    const std::string_view left = run(a, i), right = run(b, j);
    if (left.size() != right.size()) return left.size() < right.size();
    if (left != right) return left < right;
  }
  if (i < a.size() || j < b.size()) return i >= a.size();
  return a < b;  // "01" and "1": any fixed order
}

bool has_ending(const std::string& name, const std::vector<std::string>& endings) {
  std::string low = name;
  std::transform(low.begin(), low.end(), low.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return std::any_of(endings.begin(), endings.end(),
                     [&low](const std::string& e) { return low.ends_with(e); });
}

namespace {

std::vector<std::string> lines_of(std::istream& in) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> lines_of(std::FILE* file) {
  std::string all;
  char block[4096];
  for (std::size_t n; (n = std::fread(block, 1, sizeof block, file)) > 0;) all.append(block, n);
  std::istringstream in(all);
  return lines_of(in);
}

void collect_folder(const fs::path& folder, bool recursive,
                    const std::function<bool(const std::string&)>& accept, std::vector<Input>& found) {
  std::vector<Input> here;
  const auto take = [&](const fs::directory_entry& entry) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && name[0] != '.' && accept(name))
      here.push_back({entry.path().string(), entry.path().lexically_relative(folder).string()});
  };
  std::error_code error;
  if (recursive)
    for (const auto& entry : fs::recursive_directory_iterator(folder, error)) take(entry);
  else
    for (const auto& entry : fs::directory_iterator(folder, error)) take(entry);
  check<FileError>(!error, folder.string(), ": the folder cannot be read (", error.message(), ").");
  check<FileError>(!here.empty(), folder.string(), ": no file of a fitting type in this folder.",
                   recursive ? "" : " Subfolders are searched with --recursive.");
  std::sort(here.begin(), here.end(),
            [](const Input& a, const Input& b) { return natural_less(a.path, b.path); });
  found.insert(found.end(), here.begin(), here.end());
}

}  // namespace

std::vector<Input> expand_inputs(const std::vector<std::string>& arguments, bool recursive,
                                 const std::function<bool(const std::string& name)>& accept,
                                 std::FILE* standard_input) {
  std::vector<std::string> names;
  for (const std::string& argument : arguments) {
    std::vector<std::string> listed = {argument};
    if (argument == "-") {
      listed = lines_of(standard_input);
    } else if (argument.size() > 1 && argument[0] == '@' && !fs::exists(argument)) {
      std::istringstream in(read_file(argument.substr(1)));
      listed = lines_of(in);
    }
    names.insert(names.end(), listed.begin(), listed.end());
  }
  std::vector<Input> found;
  for (const std::string& name : names) {
    check<FileError>(fs::exists(name), name, ": no such file or folder.");
    if (fs::is_directory(name))
      collect_folder(name, recursive, accept, found);
    else
      found.push_back({name, fs::path(name).filename().string()});
  }
  std::set<std::string> seen;
  std::vector<Input> unique;
  for (const Input& input : found)
    if (seen.insert(fs::weakly_canonical(input.path).string()).second) unique.push_back(input);
  return unique;
}

void refuse_existing(const std::string& path, bool overwrite) {
  check<FileError>(overwrite || !fs::exists(path), path, ": exists already. Use --overwrite to replace it.");
}

void refuse_output_in_input(const std::string& out, const std::vector<std::string>& arguments) {
  const fs::path target = fs::weakly_canonical(fs::absolute(out)).lexically_normal();
  for (const std::string& argument : arguments) {
    if (!fs::is_directory(argument)) continue;
    const fs::path folder = fs::weakly_canonical(fs::absolute(argument)).lexically_normal();
    const std::string inside = target.lexically_relative(folder).string();
    check<UsageError>(inside.rfind("..", 0) == 0, "--out ", out, " lies inside the input folder ", argument,
                      ". Results never go among the inputs; give another folder.");
  }
}

void check_space(const std::string& path, std::uint64_t needed) {
  const std::uint64_t free = free_disk(path);
  check<FileError>(needed <= free, path, ": the disk has too little room (needs ", bytes_text(needed),
                   ", free ", bytes_text(free), "). Free some space or give another --out.");
}

}  // namespace voxgrad::app

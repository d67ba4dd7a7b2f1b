// SPDX-License-Identifier: BSD-3-Clause
// Files appear complete or not at all, and never in the place of a pipe, a device or a folder.
#include "voxgrad/io/atomic_name.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "apps/scratch.hpp"
#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/io/file_writer.hpp"
#include "voxgrad/io/safetensors.hpp"
#include "voxgrad/io/torch_write.hpp"

namespace fs = std::filesystem;
using namespace voxgrad;
using test::message;

namespace {

std::string content(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("atomic name: a pipe, a folder and a device stay what they are") {
  const Scratch s;
  const std::string pipe = s.file("pipe"), folder = s.file("folder");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  fs::create_directory(folder);
  fs::create_symlink(pipe, s.file("link"));
  const auto refusal = [](const std::string& path, const std::string& kind) { return path + ": is a " + kind + ", so no file can be written there. Give another name."; };
  CHECK(message<FileError>([&] { io::partial_name(pipe); }) == refusal(pipe, "pipe"));
  CHECK(message<FileError>([&] { io::partial_name(s.file("link")); }) == refusal(s.file("link"), "pipe"));
  CHECK(message<FileError>([&] { io::partial_name(folder); }) == refusal(folder, "folder"));
  CHECK(message<FileError>([&] { io::partial_name("/dev/null"); }) == refusal("/dev/null", "device"));
  CHECK(message<FileError>([&] { io::FileWriter file(pipe); }) == refusal(pipe, "pipe"));
  CHECK(message<FileError>([&] { io::write_safetensors(pipe, {}, {}); }) == refusal(pipe, "pipe"));
  io::TorchWriter w;
  w.begin_dict().end();
  CHECK(message<FileError>([&] { w.write(pipe); }) == refusal(pipe, "pipe"));
  CHECK(fs::is_fifo(pipe));
  CHECK(std::distance(fs::directory_iterator(s.folder()), fs::directory_iterator()) == 3);
}

TEST_CASE("atomic name: hidden beside its own, never the same twice, and short enough for every file system") {
  const Scratch s;
  const std::string path = s.file("a.txt"), first = io::partial_name(path), second = io::partial_name(path);
  CHECK(first.rfind(s.file(".a.txt."), 0) == 0);
  CHECK(first != second);
  CHECK(io::partial_name("a.txt").rfind(".a.txt.", 0) == 0);
  const std::string longest = s.file(std::string(255, 'n'));
  io::FileWriter file(longest);
  file.put("whole");
  CHECK_FALSE(fs::exists(longest));
  file.commit();
  CHECK(content(longest) == "whole");
}

TEST_CASE("atomic name: put in place, over an older file too; what cannot be is said and leaves the older one") {
  const Scratch s;
  const std::string path = s.file("a.txt");
  for (const std::string text : {"one", "two"}) {
    io::FileWriter file(path);
    file.put(text);
    if (text == "two") CHECK(content(path) == "one");
    file.commit();
    CHECK(content(path) == text);
  }
  {
    io::FileWriter file(path);
    file.put("three");
  }
  CHECK(content(path) == "two");
  CHECK(message<FileError>([&] { io::put_in_place(s.file("gone"), path); }) == path + ": cannot be written (No such file or directory).");
  CHECK(message<FileError>([&] { io::FileWriter file(s.file("no/folder")); }).find("no/folder: cannot be written (no such folder") != std::string::npos);
  CHECK(content(path) == "two");
  CHECK(std::distance(fs::directory_iterator(s.folder()), fs::directory_iterator()) == 1);
}

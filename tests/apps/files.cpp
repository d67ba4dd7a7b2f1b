// SPDX-License-Identifier: BSD-3-Clause
// Writing without halves, and finding inputs.

#include "common/files.hpp"

#include <filesystem>
#include <fstream>
#include <limits>

#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
namespace fs = std::filesystem;

namespace {
std::size_t files_in(const std::string& folder) {
  return std::size_t(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}
bool tiff(const std::string& name) { return has_ending(name, {".tif", ".tiff"}); }

std::vector<std::string> relatives(const std::vector<Input>& inputs) {
  std::vector<std::string> out;
  for (const Input& input : inputs) out.push_back(input.relative);
  return out;
}
}  // namespace

TEST_CASE("an atomic file appears complete or not at all") {
  const Scratch scratch;
  const std::string path = scratch.file("new/folder/a.txt");
  {
    AtomicFile file(path);
    std::ofstream(file.temporary()) << "half";
    CHECK(!fs::exists(path));
  }
  CHECK(files_in(scratch.file("new/folder")) == 0);
  write_file(path, "first");
  CHECK(read_file(path) == "first");
  {
    AtomicFile file(path);
    std::ofstream(file.temporary()) << "second";
    CHECK(read_file(path) == "first");
    file.commit();
  }
  CHECK(read_file(path) == "second");
  CHECK(files_in(scratch.file("new/folder")) == 1);
}

TEST_CASE("what cannot be written or read is named") {
  const Scratch scratch;
  write_file(scratch.file("plain"), "x");
  CHECK(message_of<FileError>([&] { write_file(scratch.folder(), "x"); }) ==
        scratch.folder() + ": is a folder, so no file can be written there. Give another name.");
  CHECK(message_of<FileError>([&] {
          write_file(scratch.file("plain/below"), "x");
        }).find(scratch.file("plain")) == 0);
  CHECK(message_of<FileError>([&] { read_file(scratch.file("none")); }) ==
        scratch.file("none") + ": no such file.");
  CHECK(message_of<FileError>([&] { read_file(scratch.folder()); }) ==
        scratch.folder() + ": is a folder, but a file is needed.");
  CHECK(message_of<FileError>([&] { read_file(scratch.file("plain"), 0); }) ==
        scratch.file("plain") + ": is larger than 0 B, which no such file is.");
  CHECK(message_of<FileError>([&] { refuse_existing(scratch.file("plain"), false); }) ==
        scratch.file("plain") + ": exists already. Use --overwrite to replace it.");
  refuse_existing(scratch.file("plain"), true);
  refuse_existing(scratch.file("none"), false);
}

TEST_CASE("a full disk is reported before a long run, with both amounts") {
  const Scratch scratch;
  check_space(scratch.file("not/yet/there"), 1);
  const std::string message = message_of<FileError>(
      [&] { check_space(scratch.folder(), std::numeric_limits<std::uint64_t>::max() - 1); });
  CHECK(message.find(scratch.folder() + ": the disk has too little room (needs 16384.0 PB, free ") == 0);
}

TEST_CASE("natural order") {
  CHECK(natural_less("movie9", "movie10"));
  CHECK(!natural_less("movie10", "movie9"));
  CHECK(natural_less("a2b1", "a2b2"));
  CHECK(natural_less("a", "a1"));
  CHECK(natural_less("1", "a"));
  CHECK(!natural_less("x", "x"));
  CHECK(natural_less("01", "1") != natural_less("1", "01"));
  CHECK(natural_less("f007", "f8"));
  CHECK(natural_less("99999999999999999999998", "99999999999999999999999"));
}

TEST_CASE("inputs: files, folders, lists, in natural order without repetition") {
  const Scratch scratch;
  for (const char* name :
       {"d/m10.tif", "d/m9.TIF", "d/notes.txt", "d/.hidden.tif", "d/sub/deep.tiff", "other.dat"})
    write_file(scratch.file(name), "x");
  const auto expand = [&](const std::vector<std::string>& names, bool recursive) {
    return expand_inputs(names, recursive, tiff);
  };
  CHECK(relatives(expand({scratch.file("d")}, false)) == std::vector<std::string>{"m9.TIF", "m10.tif"});
  CHECK(relatives(expand({scratch.file("d")}, true)) ==
        std::vector<std::string>{"m9.TIF", "m10.tif", "sub/deep.tiff"});
  CHECK(relatives(expand({scratch.file("other.dat"), scratch.file("d/../other.dat")}, false)) ==
        std::vector<std::string>{"other.dat"});
  write_file(scratch.file("list.txt"),
             scratch.file("d/m10.tif") + "\r\n\n" + scratch.file("other.dat") + "\n");
  CHECK(relatives(expand({"@" + scratch.file("list.txt")}, false)) ==
        std::vector<std::string>{"m10.tif", "other.dat"});
  std::FILE* pipe = std::tmpfile();
  std::fputs((scratch.file("d/m9.TIF") + "\n").c_str(), pipe);
  std::rewind(pipe);
  CHECK(relatives(expand_inputs({"-"}, false, tiff, pipe)) == std::vector<std::string>{"m9.TIF"});
  std::fclose(pipe);
}

TEST_CASE("inputs that are not there are named") {
  const Scratch scratch;
  make_folders(scratch.file("empty/sub"));
  const auto refuse = [](const std::string& name, bool recursive) {
    return message_of<FileError>([&] { expand_inputs({name}, recursive, tiff); });
  };
  CHECK(refuse("no-such.tif", false) == "no-such.tif: no such file or folder.");
  CHECK(refuse("@no-such.txt", false) == "no-such.txt: no such file.");
  CHECK(refuse(scratch.file("empty"), false) ==
        scratch.file("empty") +
            ": no file of a fitting type in this folder. Subfolders are searched with --recursive.");
  CHECK(refuse(scratch.file("empty"), true) ==
        scratch.file("empty") + ": no file of a fitting type in this folder.");
}

TEST_CASE("results never go into an input folder") {
  const Scratch scratch;
  make_folders(scratch.file("in"));
  const auto refuse = [&](const std::string& out) {
    return message_of<UsageError>([&] { refuse_output_in_input(out, {scratch.file("in")}); });
  };
  CHECK(refuse(scratch.file("in/results")) ==
        "--out " + scratch.file("in/results") + " lies inside the input folder " + scratch.file("in") +
            ". Results never go among the inputs; give another folder.");
  CHECK(refuse(scratch.file("in")).find("lies inside") != std::string::npos);
  CHECK(refuse(scratch.file("input-not")) == "(nothing thrown)");
  CHECK(refuse(scratch.file("out")) == "(nothing thrown)");
}

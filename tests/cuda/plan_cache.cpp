// SPDX-License-Identifier: BSD-3-Clause
// The folder of plans: what is in it is believed only when it is whole, and many may write at once.

#include "voxgrad/cuda/plan_cache.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catch.hpp"
#include "scratch_folder.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using cuda::test::contents;
using cuda::test::ScratchFolder;
using cuda::test::Variable;

namespace {

PlanRecord record_of(const std::string& key) { return {key, 22, 1, 4096, 31.25, "{\"plan\": [1, 2, 3]}"}; }

struct Noted {
  std::vector<std::string> lines;
  PlanCache::Note note = [this](const std::string& line) { lines.push_back(line); };
};

}  // namespace

TEST_CASE("the folder comes from VOXGRAD_CACHE, XDG_CACHE_HOME or SLURM_TMPDIR, and else there is none") {
  const Variable own("VOXGRAD_CACHE", ""), xdg("XDG_CACHE_HOME", ""), job("SLURM_TMPDIR", "");
  CHECK(plan_cache_folder() == "");
  setenv("SLURM_TMPDIR", "/scratch/7", 1);
  CHECK(plan_cache_folder() == "/scratch/7/voxgrad-cache");
  setenv("XDG_CACHE_HOME", "/home/a/.cache", 1);
  CHECK(plan_cache_folder() == "/home/a/.cache/voxgrad");
  setenv("VOXGRAD_CACHE", "/data/plans", 1);
  CHECK(plan_cache_folder() == "/data/plans");
  setenv("VOXGRAD_CACHE", "off", 1);
  CHECK(plan_cache_folder() == "");
}

TEST_CASE("a record comes back as it was stored") {
  const ScratchFolder scratch;
  Noted noted;
  PlanCache cache(scratch / "deep/plans", noted.note);
  CHECK_FALSE(cache.find("a key"));
  cache.store(record_of("a key"));
  const std::optional<PlanRecord> found = cache.find("a key");
  REQUIRE(found);
  CHECK(found->key == "a key");
  CHECK(found->engine == 22);
  CHECK(found->notes == 1);
  CHECK(found->workspace == 4096);
  CHECK(found->us == 31.25);
  CHECK(found->json == "{\"plan\": [1, 2, 3]}");
  PlanRecord lines = record_of("another");
  lines.json = "{\n \"two\": 2\n}\n";
  cache.store(lines);
  CHECK(cache.find("another")->json == lines.json);
  CHECK(noted.lines.empty());
  PlanCache nowhere("", noted.note);
  nowhere.store(record_of("a key"));
  CHECK_FALSE(nowhere.find("a key"));
  CHECK(nowhere.file("a key") == "");
}

TEST_CASE("whatever is wrong with a file, it is ignored with one note") {
  const ScratchFolder scratch;
  PlanCache writer(scratch.path());
  writer.store(record_of("a key"));
  const std::string path = writer.file("a key"), name = path.substr(path.rfind('/') + 1), good = contents(path);
  const auto with = [&](const std::string& content) {
    scratch.write(name, content);
    Noted noted;
    PlanCache cache(scratch.path(), noted.note);
    CHECK_FALSE(cache.find("a key"));
    CHECK_FALSE(cache.find("a key"));
    REQUIRE(noted.lines.size() == 1);
    const std::string tail = ". It is ignored and written anew.";
    const std::string start = "plan cache: " + path + ": ";
    REQUIRE(noted.lines[0].size() > start.size() + tail.size());
    CHECK(noted.lines[0].rfind(start, 0) == 0);
    return noted.lines[0].substr(start.size(), noted.lines[0].size() - start.size() - tail.size());
  };
  for (std::size_t cut = 0; cut < good.size(); ++cut) with(good.substr(0, cut));
  CHECK(with(good.substr(0, good.size() - 5)) == "damaged");
  for (std::size_t at = good.find("\nkey"); at < good.size(); ++at) {
    std::string flipped = good;
    flipped[at] = char(flipped[at] ^ 1);
    CHECK(with(flipped) == "damaged");
  }
  CHECK(with("") == "not a plan of voxgrad");
  CHECK(with(std::string(5 << 20, 'x')) == "is not a plan of voxgrad (5242880 bytes)");
  CHECK(with("voxgrad convolution plan 2\n") == "written by another version of voxgrad");
  writer.store(record_of("other key"));
  CHECK(with(contents(writer.file("other key"))) == "is the plan of another key");
  scratch.write(name, good);
  CHECK(writer.find("a key"));  // the test's own premise
}

TEST_CASE("a folder that cannot be written is said once and is no error") {
  const ScratchFolder scratch;
  scratch.write("file", "");
  Noted noted;
  PlanCache cache(scratch / "file/plans", noted.note);
  cache.store(record_of("a key"));
  cache.store(record_of("a key"));
  CHECK_FALSE(cache.find("a key"));
  REQUIRE(noted.lines.size() == 1);
  CHECK(noted.lines[0] == "plan cache: " + (scratch / "file/plans") + ": cannot be made (Not a directory). Plans are not kept.");
  // A folder in the place of a plan's file.
  PlanCache other(scratch.path(), noted.note);
  REQUIRE(mkdir(other.file("a key").c_str(), 0700) == 0);
  other.store(record_of("a key"));
  CHECK(noted.lines.back() == "plan cache: " + other.file("a key") + ": cannot be replaced (Is a directory).");
}

TEST_CASE("processes that write the same plan at once leave a whole one and no rest") {
  const ScratchFolder scratch;
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      PlanCache cache(scratch.path());
      bool good = true;
      for (int n = 0; n < 200; ++n) {
        PlanRecord r = record_of("shared");
        r.json = std::string(std::size_t(2000 + 500 * i), char('a' + i));
        cache.store(r);
        const std::optional<PlanRecord> found = cache.find("shared");
        good = good && found && found->json.size() >= 2000 && found->json.find_first_not_of(found->json[0]) == std::string::npos;
      }
      _exit(good ? 0 : 1);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK(status == 0);
  }
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(scratch.path())) files += entry.is_regular_file();
  CHECK(files == 1);
}

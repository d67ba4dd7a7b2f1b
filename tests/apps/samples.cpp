// SPDX-License-Identifier: BSD-3-Clause
// Samples files: the published structure, damage, size.

#include "common/samples.hpp"

#include <ctime>

#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/files.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

const char* const small =
    R"({"complete-1:0": {"positive": {"train": [], "valid": []}, "negative": {"train": [], "valid": []}},
 "complete-1:2": {
  "positive": {"train": [{"neuron": "92", "event-id": 0}, {"event-id": 7, "neuron": 3}], "valid": [{"neuron": "5", "event-id": 1}]},
  "negative": {"train": [{"neuron": "92", "coord": [64, 75, 310]}], "valid": []}}})";

std::string refusal(const Scratch& scratch, const std::string& json, const std::string& key = "k") {
  const std::string path = scratch.file("s.json");
  write_file(path, json);
  const std::string message = message_of<FileError>([&] { read_samples(path, key); });
  return message.rfind(path + ": ", 0) == 0 ? message.substr(path.size() + 2) : "(other path) " + message;
}
std::string entry(const std::string& positives) {
  return R"({"k": {"positive": {"train": [)" + positives +
         R"(], "valid": []}, "negative": {"train": [], "valid": []}}})";
}

}  // namespace

TEST_CASE("a samples file gives positives first, then unlabelled crops") {
  const Scratch scratch;
  write_file(scratch.file("s.json"), small);
  CHECK(samples_keys(scratch.file("s.json")) == std::vector<std::string>{"complete-1:0", "complete-1:2"});
  const SampleLists lists = read_samples(scratch.file("s.json"), "complete-1:2");
  REQUIRE(lists.train.size() == 3);
  CHECK(lists.train[0].movie == "92");
  CHECK(lists.train[0].row == 0);
  CHECK(lists.train[1].movie == "3");
  CHECK(lists.train[1].row == 7);
  CHECK(!lists.train[2].positive());
  CHECK(lists.train[2].coord[0] == 64);
  CHECK(lists.train[2].coord[1] == 75);
  CHECK(lists.train[2].coord[2] == 310);
  REQUIRE(lists.valid.size() == 1);
  CHECK(lists.valid[0].row == 1);
}

TEST_CASE("an absent list names those that exist") {
  const Scratch scratch;
  CHECK(refusal(scratch, small, "complete-1:4") ==
        "has no list 'complete-1:4'. Found: 'complete-1:0', 'complete-1:2'. Set "
        "training_config.samples_pu.positive and "
        "unlabeled to one of these.");
  CHECK(refusal(scratch, small, "complete-1:0") == "complete-1:0: has no training samples.");
}

TEST_CASE("damaged samples files say where") {
  const Scratch scratch;
  CHECK(refusal(scratch, "") == "is empty, but a samples file (JSON) is needed.");
  CHECK(refusal(scratch, "[1]") == "is not a samples file (expected '{' at byte 0, found '[').");
  CHECK(refusal(scratch, "{\"k\": 3}") == "is not a samples file (expected '{' at byte 6, found '3').");
  CHECK(refusal(scratch, "{\"k\": {\"a") ==
        "is not a samples file (expected a closing quote at byte 9, found the end of the "
        "file).");
  CHECK(refusal(scratch, "{\"k\": {") ==
        "is not a samples file (expected a closing bracket at byte 7, found the end of the "
        "file).");
  CHECK(refusal(scratch, "{\"k\\") ==
        "is not a samples file (expected a closing quote at byte 5, found the end of the "
        "file).");
  CHECK(refusal(scratch, "{\"k\": {,}}") == "k: is not valid JSON (2 bytes after its start).");
  CHECK(refusal(scratch, "{\"k\": {]}}").find("k: is not valid JSON") == 0);
  CHECK(refusal(scratch, entry(R"({"neuron": "1"})")) == "k, positive, train, entry 0: no 'event-id'.");
  CHECK(refusal(scratch, entry(R"({"event-id": 1})")) == "k, positive, train, entry 0: no 'neuron'.");
  CHECK(refusal(scratch, entry(R"({"neuron": "1", "event-id": 1}, {"neuron": "1", "event-id": -2})")) ==
        "k, positive, train, entry 1: a negative or huge number.");
  CHECK(refusal(scratch, entry(R"({"neuron": "1", "event-id": 1.5})")) ==
        "k, positive, train, entry 0: '1.5' is not an integer.");
  CHECK(refusal(scratch, entry(R"({"neuron": "1", "coord": [1, 2, 3]})")) ==
        "k, positive, train, entry 0: no 'event-id'.");
  CHECK(refusal(scratch, entry(R"({"neuron": "1", "coord": [1, 2]})")) ==
        "k, positive, train, entry 0: coord has not three numbers.");
  CHECK(refusal(scratch, entry(R"({"neuron": null, "event-id": 1})")) ==
        "k, positive, train, entry 0: null where a value is needed.");
  CHECK(refusal(scratch, entry(R"(5)")) == "k, positive, train, entry 0: a number where none belongs.");
  CHECK(refusal(scratch, R"({"k": {"positiv": {}}})") == "k: unknown name 'positiv'.");
  CHECK(message_of<FileError>([] { read_samples("no-such.json", "k"); }) ==
        "no-such.json: cannot be opened (No such file or directory).");
  CHECK(message_of<FileError>([&] { read_samples(scratch.folder(), "k"); }) ==
        scratch.folder() + ": is not a plain file.");
}

TEST_CASE("a list of the published size is written, read back equal, and fast") {
  const Scratch scratch;
  SampleLists lists;
  for (std::int64_t i = 0; i < 9532; ++i) lists.train.push_back({std::to_string(i % 58), i, {}});
  for (std::int64_t i = 0; i < 610048; ++i)
    lists.train.push_back({std::to_string(i % 58), -1, {i % 500, i % 400, i % 401}});
  lists.valid.push_back({"61", 3, {}});
  const std::string path = scratch.file("big.json");
  write_samples(path, {{"other-1:1", {{{"1", 0, {}}}, {}}}, {"complete-1:64", lists}});
  const std::clock_t begin = std::clock();
  const SampleLists again = read_samples(path, "complete-1:64");
  CHECK(double(std::clock() - begin) / CLOCKS_PER_SEC <
        10);  // about 0.7 s; the limit catches a quadratic reader
  REQUIRE(again.train.size() == lists.train.size());
  bool equal = again.valid.size() == 1 && again.valid[0].row == 3;
  for (std::size_t i = 0; i < lists.train.size(); ++i)
    equal = equal && again.train[i].movie == lists.train[i].movie &&
            again.train[i].row == lists.train[i].row && again.train[i].coord == lists.train[i].coord;
  CHECK(equal);
}

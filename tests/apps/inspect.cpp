// SPDX-License-Identifier: BSD-3-Clause
// What inspect says: kinds by magic bytes, movies, data sets, lists, the command as a whole.

#include <cstdio>
#include <fstream>
#include <string_view>

#include "catch.hpp"
#include "commands.hpp"
#include "common/cli.hpp"
#include "common/describe.hpp"
#include "common/file_kind.hpp"
#include "common/files.hpp"
#include "run_command.hpp"
#include "scratch.hpp"
#include "voxgrad/io/hdf5_write.hpp"
#include "voxgrad/io/tiff.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using std::string_view_literals::operator""sv;

namespace {

FileIdentity identify(const Scratch& scratch, const std::string& name, std::string_view content) {
  write_file(scratch.file(name), content);
  return identify_file(scratch.file(name));
}

std::string line_of(const Description& d, const std::string& what) {
  for (const auto& [name, value] : d.lines)
    if (name == what) return value;
  return "";
}

test::Ran run(const std::vector<std::string>& words) { return test::run_command(make_inspect(), words); }

data::Volume<std::uint16_t> small_movie() {
  data::Volume<std::uint16_t> movie({4, 5, 6});
  for (std::size_t i = 0; i < movie.voxels.size(); ++i) movie.voxels[i] = std::uint16_t(i);
  movie.spacing = {0.5, 0, 0.2, 0.2};
  return movie;
}

}  // namespace

TEST_CASE("inspect: kinds of file are told from their bytes") {
  const Scratch s;
  CHECK(identify(s, "a", "II*\0abcd"sv).kind == FileKind::tiff);
  CHECK(identify(s, "a", "MM\0+abcd"sv).kind == FileKind::tiff);
  CHECK(identify(s, "a", "\x89HDF\r\n\x1a\n..."sv).kind == FileKind::hdf5);
  CHECK(identify(s, "a", std::string(512, '\0') + "\x89HDF\r\n\x1a\n").kind == FileKind::hdf5);
  CHECK(identify(s, "a", "\x02\0\0\0\0\0\0\0{}"sv).kind == FileKind::safetensors);
  CHECK(identify(s, "a", "  {\"a\": 1}").kind == FileKind::json);
  CHECK(identify(s, "a.yml", "a: 1").kind == FileKind::yaml);
  CHECK(identify(s, "a.csv", " ,X,Y,Slice\n").kind == FileKind::csv);
  CHECK(identify(s, "a", "\x93NUMPY\x01"sv).name == "NumPy array (.npy)");
  CHECK(identify(s, "a", "PK\x03\x04 archive/data.pkl"sv).name == "PyTorch archive (torch.save)");
  CHECK(identify(s, "a", "PK\x03\x04 archive/data.pkl archive/constants.pkl"sv).name == "TorchScript archive (torch.jit.save)");
  CHECK(identify(s, "a", "PK\x03\x04 x.npy"sv).name == "NumPy archive (.npz)");
  CHECK(identify(s, "a", "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."sv).name == "PyTorch file in the format before 1.6");
  CHECK(identify(s, "a", "\x80\x04\x95...."sv).name == "Python pickle");
  CHECK(identify(s, "m.onnx", "\x08\x03\x12\x07pytorch"sv).name == "ONNX model");
  CHECK(identify(s, "a", "\xda\xce\xbe\x0a\0\0\0\0"sv).name == "Nikon ND2 recording");
  CHECK(identify(s, "a", "\x01\x02\x03\x04\x05"sv).kind == FileKind::unknown);
  CHECK_THROWS_AS(identify(s, "a", ""), FileError);
  CHECK_THROWS_AS(identify_file(s.file("none")), FileError);
}

TEST_CASE("inspect: a movie with axes, type, spacing, values and the next command") {
  const Scratch s;
  io::write_tiff_movie(s.file("m.tif"), small_movie());
  const Description d = describe_movie(s.file("m.tif"), {});
  CHECK(d.kind == "TIFF movie (ImageJ)");
  CHECK(d.usable);
  CHECK(line_of(d, "axes") == "TYX: 4 frames of 5 x 6 pixels (frames=4)");
  CHECK(line_of(d, "samples") == "uint16, grey, uncompressed, little-endian");
  CHECK(line_of(d, "spacing") == "0.5 s between frames (2 Hz), pixel 0.2 um");
  CHECK(line_of(d, "values") == "0 to 119, mean 59.5 (in 4 of 4 frames)");
  CHECK(d.use == "voxgrad predict --model MODEL " + s.file("m.tif"));
  data::Volume<float> flat({1, 3, 3}, 2.0f);
  io::write_tiff_movie(s.file("f.tif"), flat);
  const Description one = describe_movie(s.file("f.tif"), {});
  CHECK(!one.usable);
  CHECK(one.use.find("not a movie: a single frame") == 0);
  CHECK(one.notes.at(0).find("all values in the frames looked at are equal") == 0);
}

TEST_CASE("inspect: HDF5 training sets, Keras weights and other files") {
  const Scratch s;
  {
    io::H5Writer file(s.file("d.h5"));
    const std::vector<float> voxels(2 * 3 * 4, 1);
    const std::vector<std::uint8_t> labels(2 * 3 * 4, 0);
    const std::vector<std::int64_t> events = {1, 0, 2, 0, 3, 0, 4};
    file.write<float>("/train/7/input", {2, 3, 4}, voxels.data());
    file.write<std::uint8_t>("/train/7/label", {2, 3, 4}, labels.data());
    file.write<std::int64_t>("/train/7/events", {1, 7}, events.data());
    file.commit();
  }
  const Description d = describe_hdf5(s.file("d.h5"));
  CHECK(d.kind == "training data set (HDF5)");
  CHECK(line_of(d, "/train") == "1 movies, 2 frames, 1 events; the first is [2,3,4]");
  CHECK(d.use == "voxgrad train " + s.file("d.h5"));
  CHECK(d.usable);
  {
    io::H5Writer file(s.file("x.h5"));
    const std::vector<float> voxels(24, 0);
    file.write<float>("/data/ch0", {2, 3, 4}, voxels.data());
    file.commit();
  }
  const Description other = describe_hdf5(s.file("x.h5"));
  CHECK(!other.usable);
  CHECK(line_of(other, "/data/ch0") == "[2,3,4] float32");
  CHECK(other.use.find("not a training set") == 0);
}

TEST_CASE("inspect: JSON files by what is in them") {
  const Scratch s;
  write_file(s.file("t.json"), R"({"prob": 0.5, "nms": 0.3})");
  CHECK(describe_json(s.file("t.json")).kind == "thresholds");
  write_file(s.file("c.json"), R"({"n_rays": 96, "n_dim": 3})");
  CHECK(describe_json(s.file("c.json")).kind == "StarDist configuration");
  write_file(s.file("r.json"), R"([{"coordinates": [[1, 2]]}])");
  CHECK(describe_json(s.file("r.json")).kind == "list of regions (neurofinder)");
  write_file(s.file("s.json"), R"({"complete-1:0": {"positive": {"train": [{"neuron": "1", "event-id": 0}], "valid": []}, "negative": {"train": [], "valid": []}}})");
  const Description list = describe_json(s.file("s.json"));
  CHECK(list.kind == "samples list");
  CHECK(line_of(list, "complete-1:0") == "1 positive and 0 unlabelled crops, 0 for validation");
  write_file(s.file("bad.json"), "{\"a\": ");
  CHECK_THROWS_AS(describe_json(s.file("bad.json")), FileError);
}

TEST_CASE("inspect: the command prints all files, goes on after a bad one and exits with 1") {
  const Scratch s;
  io::write_tiff_movie(s.file("a.tif"), small_movie());
  write_file(s.file("b.tif"), "II*\0 damaged"sv);
  write_file(s.file("c.npy"), "\x93NUMPY\x01"sv);
  const auto [code, printed] = run({s.folder()});
  CHECK(code == 1);
  CHECK(printed.find("a.tif: TIFF movie (ImageJ)\n") != std::string::npos);
  CHECK(printed.find("b.tif: no usable TIFF page") != std::string::npos);
  CHECK(printed.find("c.npy: NumPy array (.npy)\n  -> cannot be used. Save movies as TIFF") != std::string::npos);
  CHECK(run({s.file("a.tif")}).code == 0);
  const auto [json_code, json] = run({"--json", s.file("a.tif")});
  CHECK(json_code == 0);
  CHECK(json.find("\"event\": \"file\"") != std::string::npos);
  CHECK(json.find("\"frames\": 4") != std::string::npos);
  CHECK(json.find("  axes") == std::string::npos);
  CHECK_THROWS_AS(run({}), UsageError);
  CHECK_THROWS_AS(run({"--channel", "0", s.file("a.tif")}), UsageError);
}

TEST_CASE("inspect --system needs no file and says what of the GPU is there, or why not") {
  const test::Ran plain = run({"--system"});
  CHECK(plain.code == 0);
  CHECK(plain.out.rfind("this machine\n  machine", 0) == 0);
  CHECK(plain.out.find("\n  CUDA ") != std::string::npos);
  const test::Ran json = run({"--system", "--json"});
  CHECK(json.out.find("\"event\": \"system\"") != std::string::npos);
  CHECK(json.out.find("\"cuda_built\": ") != std::string::npos);
}

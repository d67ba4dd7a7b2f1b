// SPDX-License-Identifier: BSD-3-Clause
// PyTorch files that lie or attack: every one must end in a FileError that names what is wrong. Nothing is ever run.

#include <cstdlib>
#include <chrono>
#include <random>

#include "catch.hpp"
#include "torch_files.hpp"
#include "voxgrad/io/torch_archive.hpp"

using namespace voxgrad;
using namespace voxgrad::io;
using namespace std::string_literals;

namespace {

/// Reads every byte of the file; the message of the FileError, "" if there was none. Other exceptions escape.
std::string read_all(const std::string& path) {
  try {
    TorchArchive a(path);
    for (const TorchTensor& t : a.tensors()) a.bytes(t);
  } catch (const FileError& e) {
    return e.what();
  }
  return "";
}
bool has(const std::string& all, const std::string& part) { return all.find(part) != std::string::npos; }

/// An archive with this pickle (behind PROTO 2) and one storage of 16 bytes.
std::string read_pickled(const std::string& pickle) {
  const test::TorchScratch file(test::pack({{"a/data.pkl", "\x80\x02" + pickle}, {"a/data/0", std::string(16, '\1')}}));
  return read_all(file.path());
}
std::string word(const std::string& s) { return "X" + test::little(s.size(), 4) + s; }
std::string number(int64_t v) { return "\x8a\x08" + test::little(uint64_t(v), 8); }
/// {'t': a float tensor of the storage} with this offset, shape, strides and count, as code on the stack machine.
std::string tensor(int64_t offset, const std::string& shape, const std::string& strides, int64_t count = 4) {
  return "}" + word("t") + "ctorch._utils\n_rebuild_tensor_v2\n((" + word("storage") + "ctorch\nFloatStorage\n" + word("0") + word("cpu") + number(count) + "tQ" +
         number(offset) + "(" + shape + "t(" + strides + "t\x89" "ccollections\nOrderedDict\n)RtRs.";
}

}  // namespace

TEST_CASE("torch archive: an archive packed by hand is read") {
  CHECK(read_pickled(tensor(0, number(4), number(1))).empty());
  CHECK(read_pickled(tensor(3, number(1), number(7))).empty());
  CHECK(read_pickled(tensor(9, number(0), number(1))).empty());  // empty: nothing is read
  CHECK(read_pickled(tensor(1, number(1000), number(0))).empty());
  CHECK(read_pickled("N.").empty());
}

TEST_CASE("torch archive: functions and classes are refused where they are named") {
  const std::string attack = read_pickled("cos\nsystem\n" + word("echo this ran") + "\x85R.");
  CHECK(has(attack, "data.pkl, byte 2: asks for 'os.system'"));
  CHECK(has(attack, "nothing was run"));
  CHECK(has(read_pickled("cposix\nsystem\n."), "'posix.system'"));
  CHECK(has(read_pickled("c__builtin__\neval\n."), "'__builtin__.eval'"));
  CHECK(has(read_pickled("ctorch\nload\n."), "'torch.load'"));
  CHECK(has(read_pickled("ctorch\nFloatStorage\n)R."), "may only be named"));
  CHECK(has(read_pickled(word("os.system") + ")R."), "calls what is no function"));
  CHECK(has(read_pickled("ccollections\nOrderedDict\nNR."), "no tuple of arguments"));
  CHECK(has(read_pickled("ccollections\nOrderedDict\n)\x81."), "opcode NEWOBJ is refused"));
  CHECK(has(read_pickled("(ios\nsystem\n."), "opcode INST is refused"));
  CHECK(has(read_pickled(word("os") + word("system") + "\x93."), "opcode STACK_GLOBAL is refused"));
  CHECK(has(read_pickled("\x82\x01."), "opcode EXT1 is refused"));
  CHECK(has(read_pickled("Pid\n."), "opcode PERSID is refused"));
  CHECK(has(read_pickled("\xff."), "no opcode 255"));
  CHECK(has(read_pickled("\x80\x04N."), "pickle protocol 4"));
  CHECK(has(read_pickled("c_codecs\nencode\n" + word("x") + word("latin1") + "\x86R."), "bare '_codecs.encode'"));
  CHECK(has(read_pickled("c" + std::string(5000, 'x') + "\ny\n."), "longer than 4096"));
  CHECK(has(read_pickled("cos\033[2J\nx\n."), "'os?[2J.x'"));  // no control characters on a terminal
}

TEST_CASE("torch archive: a stack, a memo and containers used wrongly") {
  for (const std::string& p : {"."s, "R."s, "NN."s, "s."s, "Ns."s, "NNNs."s, "t."s, "(."s, "u."s, "}(Nu."s, "N(Na."s, "}]a."s, "\x85."s, "Q."s, "b."s, "NNb."s, "q\1."s,
                               "]("s + "e"s, "h\0."s, "j\xff\xff\xff\xff."s, "Nr\xff\xff\xff\xff."s, "G123"s, "X\xff\xff\xff\x7f" "ab."s, "\x8a\xff" "12."s, "K"s, "c"s, "cx\n"s,
                               "ccollections\nOrderedDict\nK\1\x85R."s, "ccollections\nOrderedDict\n(](NeltR."s, "c__builtin__\nlist\n]\x85R."s, ""s}) {
    INFO(p);
    CHECK(!read_pickled(p).empty());
  }
}

TEST_CASE("torch archive: deep, endless and multiplied values end") {
  CHECK(has(read_pickled(std::string(300, '(') + "."), "nested deeper than 200"));
  std::string deep = "N";
  for (int i = 0; i < 100000; ++i) deep += "\x85";
  CHECK(has(read_pickled(deep + "."), "nested deeper than 200"));
  CHECK(read_pickled(")" + std::string(100000, '\x85') + ".").size() < 300);  // a name of thousands of parts is not repeated
  CHECK(has(read_pickled("]q\1h\1a."), "nested deeper than 200"));         // a list in itself
  CHECK(has(read_pickled("}q\1" + word("x") + "h\1s."), "nested deeper"));  // a dictionary in itself
  CHECK(has(read_pickled("}" + word(std::string(5000, 'k')) + "Ns."), "4096 bytes"));
  std::string pairs = "](N"s;  // one list of pairs made into a dictionary over and over
  for (int i = 0; i < 200; ++i) pairs += "NN\x86";
  pairs = "(](" + pairs.substr(3) + "eq\1";
  for (int i = 0; i < 200; ++i) pairs += "ccollections\nOrderedDict\nh\1\x85R";
  CHECK(!read_pickled(pairs + "t.").empty());
}

TEST_CASE("torch archive: shapes, strides and storages that do not fit") {
  CHECK(has(read_pickled(tensor(0, number(5), number(1))), "reaches beyond its storage of 4 elements"));
  CHECK(has(read_pickled(tensor(1, number(4), number(1))), "reaches beyond"));
  CHECK(has(read_pickled(tensor(-1, number(1), number(1))), "negative place"));
  CHECK(has(read_pickled(tensor(0, number(-1), number(1))), "negative extent"));
  CHECK(has(read_pickled(tensor(0, number(2), number(-1))), "negative extent or stride"));
  CHECK(has(read_pickled(tensor(0, number(2), number(INT64_MAX))), "reaches beyond"));
  CHECK(has(read_pickled(tensor(0, number(INT64_MAX), number(INT64_MAX))), "reaches beyond"));
  CHECK(has(read_pickled(tensor(0, number(int64_t(1) << 40), number(0))), "repeats its elements"));
  CHECK(has(read_pickled(tensor(0, number(int64_t(1) << 32) + number(int64_t(1) << 32), number(0) + number(0))), "reaches beyond"));
  CHECK(has(read_pickled(tensor(0, number(2), number(1) + number(1))), "1 extents but 2 strides"));
  CHECK(has(read_pickled(tensor(0, number(5), number(1), 5)), "holds 16 bytes (expected 5 elements of float32)"));
  CHECK(has(read_pickled(tensor(0, number(1), number(1), INT64_MAX)), "larger than memory"));
  CHECK(has(read_pickled(tensor(0, word("x"), number(1))), "no whole number"));
}

TEST_CASE("torch archive: containers that are not what they should be") {
  const test::TorchScratch file;
  const auto message = [&](const std::string& bytes) {
    file.put(bytes);
    return read_all(file.path());
  };
  const std::string pickle = "\x80\x02" + tensor(0, number(4), number(1)), data(16, '\1');
  CHECK(message(test::pack({{"x/data.pkl", pickle}, {"x/data/0", data}, {"x/byteorder", "little"}, {"x/.data/id", "1"}})).empty());
  CHECK(has(message(test::pack({{"x/data.pkl", pickle}, {"x/data/0", data}, {"x/byteorder", "big"}})), "'big'-endian"));
  CHECK(has(message(test::pack({{"x/data.pkl", pickle}})), "holds no entry 'x/data/0'"));
  CHECK(has(message(test::pack({{"x/data.pkl", pickle}, {"y/data.pkl", pickle}})), "two pickles"));
  CHECK(has(message(test::pack({{"x/constants.pkl", pickle}})), "TorchScript"));
  CHECK(has(message(test::pack({{"x/readme", ""}})), "without 'data.pkl'"));
  std::string squeezed = test::pack({{"x/data.pkl", pickle}, {"x/data/0", data}});
  for (size_t at = 0; (at = squeezed.find("PK\1\2", at)) != std::string::npos; ++at) squeezed[at + 10] = 8;
  CHECK(has(message(squeezed), "is compressed (method 8"));
  CHECK(has(message("PK\3\4"), "incomplete"));
  CHECK(has(message("\x80\x02N."), "no PyTorch file"));
  CHECK(has(message(""), "no PyTorch file"));
  CHECK(has(message(std::string(257, '\0') + "ustar" + std::string(300, '\0')), "tar archive"));
  CHECK(has(read_all(file.path() + ".none"), "no such file"));
  std::string flipped = test::bytes_of(test::torch_golden("layouts.pt"));
  const size_t half = flipped.find(std::string("\x00\x00\x40\xc0", 4));  // -3, the first element of 'base'
  REQUIRE(half != std::string::npos);
  flipped[half] = 1;
  CHECK(has(message(flipped), "checksum"));
}

TEST_CASE("torch archive: truncated anywhere is an error") {
  for (const char* name : {"layouts.pt", "layouts_legacy.pt"}) {
    const std::string whole = test::bytes_of(test::torch_golden(name));
    const test::TorchScratch file;
    for (size_t n = 0; n < whole.size(); n += 7) {
      file.put(whole.substr(0, n));
      INFO(name << " cut at " << n);
      CHECK(!read_all(file.path()).empty());
    }
  }
}

/// Bytes changed, removed, repeated and swapped in the committed files, checksums taken off so that changes arrive. Only a
/// FileError may come out. VOXGRAD_FUZZ_SECONDS lengthens the run, VOXGRAD_FUZZ_SEED changes it.
TEST_CASE("torch archive: a thousand damaged files end in an error or in values") {
  std::vector<std::string> seeds;
  for (const char* name : {"layouts.pt", "layouts_legacy.pt", "reference/results.pt"}) {
    seeds.push_back(test::bytes_of(test::torch_golden(name)));
    for (size_t at = 0; (at = seeds.back().find("PK\1\2", at)) != std::string::npos; ++at) seeds.back().replace(at + 16, 4, 4, '\0');
  }
  seeds.push_back(test::pack({{"a/data.pkl", "\x80\x02" + tensor(0, number(2), number(2))}, {"a/data/0", std::string(16, '\1')}}));
  const auto from = [](const char* name, double otherwise) {
    const char* set = std::getenv(name);
    return set ? std::atof(set) : otherwise;
  };
  std::mt19937_64 random(uint64_t(from("VOXGRAD_FUZZ_SEED", 1)));
  const auto below = [&](size_t n) { return size_t(random() % std::max<size_t>(n, 1)); };
  const auto start = std::chrono::steady_clock::now();
  const double seconds = from("VOXGRAD_FUZZ_SECONDS", 0);
  const test::TorchScratch file;
  size_t runs = 0, read = 0;
  while (runs < 1000 || std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds) {
    std::string s = seeds[below(8) == 0 ? 2 : std::array{0, 1, 3}[below(3)]];
    // Most of a file is data of tensors; half of the changes go where a pickle or a directory is.
    const size_t pickle = s.find("\x80\x02"), directory = s.find("PK\1\2");
    for (size_t changes = 1 + below(4); changes-- > 0;) {
      const size_t anchor = below(2) ? pickle : directory == std::string::npos ? 0 : directory;
      const size_t at = std::min(s.size() - 1, below(3) == 0 ? below(s.size()) : anchor + below(1500));
      static constexpr unsigned char favourites[] = {0, 1, 2, 0x7f, 0x80, 0xff, 'R', 'c', '(', 't', 'u', 'Q', 'h', 'q', '.', 'b', ')', ']', '}', 's', 'e', 0x85, 0x8a};
      switch (below(6)) {
        case 0: s[at] = char(random()); break;
        case 1: s[at] = char(favourites[below(std::size(favourites))]); break;
        case 2: s[at] = char(s[at] ^ (1 << below(8))); break;
        case 3: s.erase(at, std::min<size_t>(1 + below(8), s.size() - at - 1)); break;
        case 4: s.insert(at, s.substr(below(s.size()), 1 + below(16))); break;
        default: s.replace(at, std::min<size_t>(8, s.size() - at), std::string(8, char(below(2) ? 0xff : 0x7f))); break;
      }
    }
    file.put(s);
    ++runs;
    read += read_all(file.path()).empty();
  }
  if (seconds > 0) std::printf("%zu damaged files, %zu of them still readable\n", runs, read);
  CHECK(read > 0);
  CHECK(read < runs);
}

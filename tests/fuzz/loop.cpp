// SPDX-License-Identifier: BSD-3-Clause
// A fuzzer for compilers without one: changes the files of a corpus and hands them to LLVMFuzzerTestOneInput.
//   fuzz_torch CORPUS_FOLDER|FILE... [--seconds N] [--seed N]
// Without --seconds every file is run once as it is and a thousand changed ones are tried: a test. An input that crashes lies in
// ./crash-input.

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::string current;

void keep_input() {
  std::FILE* out = std::fopen("crash-input", "wb");
  if (!out) return;
  std::fwrite(current.data(), 1, current.size(), out);
  std::fclose(out);
}
extern "C" void on_signal(int number) {
  keep_input();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void run() {
  try {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(current.data()), current.size());
  } catch (const std::exception& e) {
    keep_input();
    std::printf("an exception that is no FileError: %s\n0 passed, 1 failed\n", e.what());
    std::exit(1);
  }
}

/// One to eight changes: bits, bytes, numbers at their limits, pieces removed, repeated or taken from another file.
void change(std::string& s, const std::vector<std::string>& corpus, std::mt19937_64& random) {
  const auto below = [&](size_t n) { return size_t(random() % std::max<size_t>(n, 1)); };
  for (size_t n = 1 + below(8); n-- > 0 && !s.empty();) {
    const size_t at = below(3) ? below(std::min<size_t>(s.size(), 2048)) : below(s.size());
    const size_t back = s.size() - 1 - std::min(at, s.size() - 1);
    const size_t place = below(4) ? at : back;  // directories lie at the end
    switch (below(7)) {
      case 0: s[place] = char(random()); break;
      case 1: s[place] = char(s[place] ^ (1 << below(8))); break;
      case 2: s.replace(place, std::min<size_t>(8, s.size() - place), std::string(std::min<size_t>(8, s.size() - place), char(below(2) ? 0xff : 0x7f))); break;
      case 3: s.erase(place, 1 + below(16)); break;
      case 4: s.insert(place, s.substr(below(s.size()), 1 + below(64))); break;
      case 5: {
        const std::string& other = corpus[below(corpus.size())];
        if (!other.empty()) s.replace(place, 1 + below(32), other.substr(below(other.size()), 1 + below(64)));
        break;
      }
      default: s.resize(below(8) ? s.size() : below(s.size())); break;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> corpus;
  double seconds = 0;
  uint64_t seed = 1;
  const auto add = [&](const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream all;
    all << in.rdbuf();
    corpus.push_back(all.str());
  };
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--seconds" && i + 1 < argc) seconds = std::atof(argv[++i]);
    else if (word == "--seed" && i + 1 < argc) seed = std::strtoull(argv[++i], nullptr, 10);
    else if (std::filesystem::is_directory(word))
      for (const auto& entry : std::filesystem::recursive_directory_iterator(word)) {
        if (entry.is_regular_file()) add(entry.path());
      }
    else add(word);
  }
  if (corpus.empty()) return std::fprintf(stderr, "usage: %s CORPUS... [--seconds N] [--seed N]\n", argv[0]), 2;
  const rlimit memory{rlim_t(2) << 30, rlim_t(2) << 30};  // a small file must not make the reader take gigabytes
  setrlimit(RLIMIT_AS, &memory);
  for (const int number : {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL}) std::signal(number, on_signal);
  std::mt19937_64 random(seed);
  size_t runs = 0;
  for (const std::string& file : corpus) current = file, run(), ++runs;
  const auto start = std::chrono::steady_clock::now();
  while (runs < 1000 || std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds) {
    current = corpus[random() % corpus.size()];
    change(current, corpus, random);
    run();
    ++runs;
  }
  std::printf("%zu inputs, %zu of them the corpus\n1 passed, 0 failed\n", runs, corpus.size());
  std::fflush(stdout);
  std::_Exit(0);  // libhdf5 would complain about what damaged files left open inside of it
}

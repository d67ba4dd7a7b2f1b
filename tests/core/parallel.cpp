// SPDX-License-Identifier: BSD-3-Clause
// The thread pool.

#include "voxgrad/core/parallel.hpp"

#include <string>

#include "catch.hpp"
#include "voxgrad/core/error.hpp"

using namespace voxgrad;

namespace {
struct Threads {  // restores the count
  int before = threads();
  explicit Threads(int count) { set_threads(count); }
  ~Threads() { set_threads(before); }
};
}  // namespace

TEST_CASE("every item is visited once, pieces start at multiples of the grain") {
  for (int count : {1, 2, 3, 8}) {
    const Threads pool(count);
    CHECK(threads() == count);
    for (int64_t n : {0, 1, 2, 7, 64, 1000})
      for (int64_t grain : {1, 3, 64}) {
        std::vector<std::atomic<int>> visits(static_cast<size_t>(n));
        std::atomic<int> crooked{0};
        parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          if (begin % grain != 0) ++crooked;
          for (int64_t i = begin; i < end; ++i) ++visits[size_t(i)];
        });
        int wrong = crooked;
        for (auto& v : visits) wrong += v != 1;
        CHECK(wrong == 0);
      }
  }
}

TEST_CASE("an exception on any thread reaches the caller, and the pool goes on") {
  const Threads pool(3);
  for (int64_t bad : {0, 50, 99}) {
    std::string what;
    try {
      parallel_for(100, 1, [&](int64_t begin, int64_t end) {
        if (begin <= bad && bad < end) throw Error("piece " + std::to_string(bad));
      });
    } catch (const Error& e) {
      what = e.what();
    }
    CHECK(what == "piece " + std::to_string(bad));
    std::atomic<int64_t> sum{0};
    parallel_for(100, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    CHECK(sum == 100);
  }
  CHECK_THROWS_AS(parallel_for(100, 1, [](int64_t, int64_t) { throw Error("all"); }), Error);
}

TEST_CASE("nested work runs in place") {
  const Threads pool(3);
  std::atomic<int64_t> sum{0};
  parallel_for(10, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int pieces = 0;
      parallel_for(10, 1, [&](int64_t b, int64_t e) {
        ++pieces;
        sum += e - b;
      });
      if (pieces != 1) sum += 1000;
    }
  });
  CHECK(sum == 100);
  CHECK(!ThreadPool::inside());
}

TEST_CASE("callers on several threads take turns") {
  const Threads pool(2);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) parallel_for(16, 1, [&](int64_t b, int64_t e) { sum += e - b; });
    });
  for (auto& c : callers) c.join();
  CHECK(sum == 4 * 200 * 16);
}

TEST_CASE("resizing many times loses nothing; a count below one means one") {
  const Threads pool(1);
  for (int i = 0; i < 30; ++i) {
    set_threads(1 + i % 4);
    std::atomic<int64_t> sum{0};
    parallel_for(100, 1, [&](int64_t b, int64_t e) { sum += e - b; });
    REQUIRE(sum == 100);
  }
  set_threads(0);
  CHECK(threads() == 1);
}

TEST_CASE("VOXGRAD_THREADS sets the default count") {
  const char* before = std::getenv("VOXGRAD_THREADS");
  const std::string saved = before ? before : "";
  ::setenv("VOXGRAD_THREADS", "5", 1);
  CHECK(ThreadPool::default_threads() == 5);
  ::setenv("VOXGRAD_THREADS", "none", 1);
  CHECK(ThreadPool::default_threads() >= 1);
  if (before) ::setenv("VOXGRAD_THREADS", saved.c_str(), 1);
  else ::unsetenv("VOXGRAD_THREADS");
}

TEST_CASE("scratch memory grows, keeps its address when it fits, and slots are separate") {
  void* a = scratch(5, 100);
  CHECK(reinterpret_cast<uintptr_t>(a) % 64 == 0);
  CHECK(scratch(5, 4000) == a);
  CHECK(scratch(6, 100) != a);
  static_cast<char*>(scratch(5, 1 << 20))[(1 << 20) - 1] = 1;
}

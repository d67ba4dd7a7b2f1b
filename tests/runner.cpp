// SPDX-License-Identifier: BSD-3-Clause
// The main() of every test program; its last line is "N passed, M failed" counted in test cases.

#define CATCH_CONFIG_RUNNER
#include "catch.hpp"

#include <cstdio>

#if __has_include(<catch2/catch_all.hpp>)
using ListenerBase = Catch::EventListenerBase;
#else
using ListenerBase = Catch::TestEventListenerBase;
#endif

namespace {
Catch::Counts test_cases;

struct CountCases : ListenerBase {
  using ListenerBase::ListenerBase;
  void testRunEnded(const Catch::TestRunStats& stats) override { test_cases = stats.totals.testCases; }
};
CATCH_REGISTER_LISTENER(CountCases)
}  // namespace

int main(int argc, char** argv) {
  const int status = Catch::Session().run(argc, argv);
  std::printf("%d passed, %d failed\n", int(test_cases.passed), int(test_cases.failed + test_cases.failedButOk));
  return status;
}

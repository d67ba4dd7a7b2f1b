// SPDX-License-Identifier: BSD-3-Clause
// Two files with every header in one program, and the version written by hand.

#include "headers/linked.hpp"

#include <string>

#include "catch.hpp"

TEST_CASE("two files that include every header link and share the kernel slots") {
  const linked::Seen a = linked::first(), b = linked::second();
  CHECK(a.conv3d_slot == b.conv3d_slot);
  CHECK(a.rank == b.rank);
}

TEST_CASE("version.hpp has the version of the build") { CHECK(std::string(linked::first().version) == PROJECT_VERSION); }

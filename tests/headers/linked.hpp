// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What two files that include every header agree on.

namespace linked {
struct Seen {
  const char* version;
  const void* conv3d_slot;  // one inline variable for the whole program
  int rank;
};
Seen first();
Seen second();
}  // namespace linked

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Asking for the text of an error in a test.

#include <string>

#include "voxgrad/core/error.hpp"

/// The message of the E that `f` throws; "(nothing thrown)" if it returns.
template <class E, class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  return "(nothing thrown)";
}

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// message<E>(f): the text of the E that f throws, to compare it word by word.

#include <string>
#include <type_traits>

#include "voxgrad/core/error.hpp"

namespace voxgrad::test {

template <class E, class F>
std::string message(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    if constexpr (!std::is_same_v<E, Error>)
      if (dynamic_cast<const E*>(&e) == nullptr) return std::string("an error of another kind: ") + e.what();
    return e.what();
  }
  return "no error";
}

}  // namespace voxgrad::test

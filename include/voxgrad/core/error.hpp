// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The exceptions of the library. It never aborts, exits or prints: every failure is one of these.

#include <sstream>
#include <stdexcept>
#include <string>

namespace voxgrad {

/// Root of all errors thrown by voxgrad.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct ShapeError : Error { using Error::Error; };   ///< extents that do not fit each other
struct DTypeError : Error { using Error::Error; };   ///< a data type that an operation does not take
struct DeviceError : Error { using Error::Error; };  ///< a device that is absent, or has no such kernel
struct FileError : Error { using Error::Error; };    ///< "FILE: what is wrong (found X, expected Y). What to do."
struct UsageError : Error { using Error::Error; };   ///< a wrong option, key or argument: nothing was read or written

/// Joins values into one message: text("x has ", 3, " channels").
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// Throws E with the joined parts unless `ok`. The message is only built on failure.
template <class E = Error, class... Parts>
inline void check(bool ok, const Parts&... parts) {
  if (!ok) [[unlikely]]
    throw E(text(parts...));
}

}  // namespace voxgrad

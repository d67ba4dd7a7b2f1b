// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Ownership of a libtiff handle; what libtiff has to say is kept with the file and never printed.

#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "voxgrad/core/error.hpp"

#if TIFFLIB_VERSION < 20221213 || defined(VOXGRAD_TIFF_GLOBAL_HANDLERS)
#define VOXGRAD_TIFF_OPEN_OPTIONS 0
#else
#define VOXGRAD_TIFF_OPEN_OPTIONS 1  // libtiff 4.5 and newer: handlers and a memory limit per file
#endif

namespace voxgrad::io {

/// The first error and the first warnings that libtiff reported since the last clear().
struct TiffMessages {
  std::string error;
  std::vector<std::string> warnings;

  void clear_error() { error.clear(); }
  void add_error(const std::string& message) {
    if (error.empty()) error = message;
  }
  void add_warning(const std::string& message) {
    if (message.find("Unknown field with tag") != std::string::npos) return;  // every microscope has its private tags
    if (warnings.size() < 20 && std::find(warnings.begin(), warnings.end(), message) == warnings.end())
      warnings.push_back(message);
  }
};

inline std::string tiff_message_text(const char* module, const char* format, va_list arguments) {
  char line[512];
  std::vsnprintf(line, sizeof line, format, arguments);
  std::string message = line;
  // libtiff puts the path or the function's name in front; the path is said by us already.
  if (module && std::string_view(module).substr(0, 4) == "TIFF") message = std::string(module) + ": " + message;
  return message;
}

#if VOXGRAD_TIFF_OPEN_OPTIONS

inline int tiff_on_error(TIFF*, void* sink, const char* module, const char* format, va_list arguments) {
  static_cast<TiffMessages*>(sink)->add_error(tiff_message_text(module, format, arguments));
  return 1;
}
inline int tiff_on_warning(TIFF*, void* sink, const char* module, const char* format, va_list arguments) {
  static_cast<TiffMessages*>(sink)->add_warning(tiff_message_text(module, format, arguments));
  return 1;
}
/// Nothing to do here: the handlers belong to the file.
struct TiffCapture {
  explicit TiffCapture(TiffMessages&) {}
};

#else

// Older libtiff has one global handler: ours forwards to the sink of the calling thread, or is silent without one.
inline thread_local TiffMessages* tiff_sink = nullptr;
inline void tiff_on_error_global(const char* module, const char* format, va_list arguments) {
  if (tiff_sink) tiff_sink->add_error(tiff_message_text(module, format, arguments));
}
inline void tiff_on_warning_global(const char* module, const char* format, va_list arguments) {
  if (tiff_sink) tiff_sink->add_warning(tiff_message_text(module, format, arguments));
}
/// Directs the messages of this thread to one file's sink as long as it lives.
struct TiffCapture {
  TiffMessages* before;
  explicit TiffCapture(TiffMessages& sink) : before(tiff_sink) {
    [[maybe_unused]] static const bool installed = [] {
      TIFFSetErrorHandler(tiff_on_error_global);
      TIFFSetWarningHandler(tiff_on_warning_global);
      return true;
    }();
    tiff_sink = &sink;
  }
  TiffCapture(const TiffCapture&) = delete;
  TiffCapture& operator=(const TiffCapture&) = delete;
  ~TiffCapture() { tiff_sink = before; }
};

#endif

/// An open TIFF file. Wrap every group of libtiff calls in a TiffCapture of messages().
class TiffHandle {
 public:
  TiffHandle() = default;

  /// mode as for TIFFOpen; max_alloc: the most bytes libtiff may take at once (ignored by libtiff before 4.5).
  TiffHandle(const std::string& path, const char* mode, uint64_t max_alloc) : messages_(std::make_unique<TiffMessages>()) {
    TiffCapture capture(*messages_);
#if VOXGRAD_TIFF_OPEN_OPTIONS
    std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(), TIFFOpenOptionsFree);
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), tiff_on_error, messages_.get());
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), tiff_on_warning, messages_.get());
    if (max_alloc) TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), tmsize_t(max_alloc));
    tiff_ = TIFFOpenExt(path.c_str(), mode, options.get());
#else
    (void)max_alloc;
    tiff_ = TIFFOpen(path.c_str(), mode);
#endif
  }
  TiffHandle(const TiffHandle&) = delete;
  TiffHandle& operator=(const TiffHandle&) = delete;
  TiffHandle(TiffHandle&& other) noexcept : tiff_(other.tiff_), messages_(std::move(other.messages_)) { other.tiff_ = nullptr; }
  TiffHandle& operator=(TiffHandle&& other) noexcept {
    if (this != &other) {
      close();
      tiff_ = other.tiff_;
      messages_ = std::move(other.messages_);
      other.tiff_ = nullptr;
    }
    return *this;
  }
  ~TiffHandle() { close(); }

  TIFF* get() const { return tiff_; }
  explicit operator bool() const { return tiff_ != nullptr; }
  TiffMessages& messages() const { return *messages_; }

  /// Closes the file; in write mode libtiff may still report an error into messages().
  void close() {
    if (!tiff_) return;
    TiffCapture capture(*messages_);
    TIFFClose(tiff_);
    tiff_ = nullptr;
  }

 private:
  TIFF* tiff_ = nullptr;
  std::unique_ptr<TiffMessages> messages_;  // its address is known to libtiff
};

}  // namespace voxgrad::io

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The CUDA runtime as the rest of the program sees it, without its headers. Defined in cuda/runtime.cpp, or in
// cuda/absent.cpp when the program is built without CUDA: there every call that needs a card throws a DeviceError.

#include <cstddef>
#include <string>
#include <utility>

#include "voxgrad/cuda/device_reason.hpp"
#include "voxgrad/cuda/stream_handle.hpp"

namespace voxgrad::cuda {

/// Whether this program has GPU kernels at all.
bool built();

struct Availability {
  int devices = 0;
  std::string reason;  ///< why there are none to use, with what to do; "" when there are
};
/// Asked once per process.
const Availability& availability();
inline bool available() { return availability().devices > 0; }

int driver_version();   ///< 13000; 0 when there is no driver
int runtime_version();  ///< of the runtime linked in; 0 when built without CUDA
/// The compute capabilities that the kernels were compiled for: "75 80 90 120"; "" when built without CUDA.
const char* built_archs();

struct DeviceInfo {
  int index = 0;
  std::string name;
  int sm = 0;  ///< compute capability, 90 for 9.0
  int multiprocessors = 0;
  std::size_t memory = 0, free = 0, l2 = 0;  ///< bytes
  std::string not_covered;                   ///< why the program's kernels do not run on it, "" when they do
};
/// DeviceError when there is no such device.
DeviceInfo device_info(int index);
/// Makes a device the current one of this thread. DeviceError: absent, or no kernels for it in this program.
void use_device(int index);
/// The current device of this thread.
int current_device();

/// Memory on the current device. OutOfDeviceMemory when there is not enough.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(std::size_t bytes);
  DeviceMemory(DeviceMemory&& o) noexcept : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  ~DeviceMemory();
  void* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Host memory that the card reads and writes by itself: copies from and to it run beside the host.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(std::size_t bytes);
  PinnedMemory(PinnedMemory&& o) noexcept : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
  PinnedMemory& operator=(PinnedMemory&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  ~PinnedMemory();
  void* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// A stream that does not wait for the default one.
class Stream {
 public:
  Stream();
  Stream(Stream&& o) noexcept : handle_(std::exchange(o.handle_, nullptr)) {}
  Stream& operator=(Stream&& o) noexcept {
    std::swap(handle_, o.handle_);
    return *this;
  }
  ~Stream();
  StreamHandle handle() const { return handle_; }
  operator StreamHandle() const { return handle_; }
  void synchronize() const;  ///< waits; errors of everything that ran before come out here

 private:
  StreamHandle handle_ = nullptr;
};

/// A mark in a stream.
class Event {
 public:
  enum class Timing { off, on };
  explicit Event(Timing timing = Timing::off);
  Event(Event&& o) noexcept : handle_(std::exchange(o.handle_, nullptr)) {}
  Event& operator=(Event&& o) noexcept {
    std::swap(handle_, o.handle_);
    return *this;
  }
  ~Event();
  void record(StreamHandle stream);
  void synchronize() const;
  bool done() const;
  void wait_in(StreamHandle stream) const;  ///< later work of the stream waits for the mark

 private:
  friend double elapsed_us(const Event& from, const Event& to);
  void* handle_ = nullptr;
};
/// Microseconds between two marks of timing events that are done.
double elapsed_us(const Event& from, const Event& to);

/// Work captured from a stream, to be launched as one.
class Graph {
 public:
  Graph() = default;
  /// Captures what `record` puts into the stream. Nothing in it may allocate, wait or make plans.
  template <class F>
  static Graph capture(StreamHandle stream, F&& record) {
    begin(stream);
    try {
      record();
    } catch (...) {
      abandon(stream);
      throw;
    }
    return end(stream);
  }
  Graph(Graph&& o) noexcept : handle_(std::exchange(o.handle_, nullptr)) {}
  Graph& operator=(Graph&& o) noexcept {
    std::swap(handle_, o.handle_);
    return *this;
  }
  ~Graph();
  void launch(StreamHandle stream) const;
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  static void begin(StreamHandle stream);
  static Graph end(StreamHandle stream);
  static void abandon(StreamHandle stream) noexcept;
  void* handle_ = nullptr;
};

/// Copies and fills, in stream order. Host memory is pinned, or the host waits.
void copy_to_device(void* to, const void* from, std::size_t bytes, StreamHandle stream);
void copy_to_host(void* to, const void* from, std::size_t bytes, StreamHandle stream);
void copy_on_device(void* to, const void* from, std::size_t bytes, StreamHandle stream);
void fill_bytes(void* to, int value, std::size_t bytes, StreamHandle stream);

/// DeviceError when a launch since the last call was refused; `what` names it. Does not wait.
void check_launches(const char* what);

}  // namespace voxgrad::cuda

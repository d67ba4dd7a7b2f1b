// SPDX-License-Identifier: BSD-3-Clause
// The CUDA runtime, linked statically: it opens the driver by itself, and says so when there is none.
#include "voxgrad/cuda/runtime.hpp"

#include <cuda_runtime_api.h>

#include <cstdlib>

#ifndef VOXGRAD_CUDA_ARCHS
#error "the build system passes VOXGRAD_CUDA_ARCHS"
#endif

namespace voxgrad::cuda {
namespace {

std::string card(int index) { return text("cuda:", index); }

int current_or(int otherwise) {
  int device = otherwise;
  return cudaGetDevice(&device) == cudaSuccess ? device : otherwise;
}

/// The failed call, CUDA's words for it, the device, and what finds the cause.
[[noreturn]] void fail(cudaError_t status, const char* call) {
  const int device = current_or(0);
  std::string out = text(call, ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ", ", int(status), ") on ", card(device));
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorUnsupportedPtxVersion)
    out += text(": this program has kernels for ", built_archs(), ", and the driver supports CUDA ", cuda_version_text(driver_version()), ".");
  else
    out += ". Work on the card is reported late, so an earlier call may be the cause: run again with CUDA_LAUNCH_BLOCKING=1.";
  cudaGetLastError();  // it has been told
  throw DeviceError(out);
}
void check_status(cudaError_t status, const char* call) {
  if (status != cudaSuccess) [[unlikely]]
    fail(status, call);
}

Availability ask() {
  DeviceAnswer answer;
  answer.count = 0;  // left as it is on errors
  const cudaError_t status = cudaGetDeviceCount(&answer.count);
  if (status != cudaSuccess) {
    answer.count = 0;
    cudaGetLastError();
  }
  answer.status = int(status);
  answer.status_text = cudaGetErrorString(status);
  answer.driver = driver_version();
  answer.runtime = runtime_version();
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    answer.visible_set = true;
    answer.visible = visible;
  }
  const std::string reason = why_unusable(answer);
  return {reason.empty() ? answer.count : 0, reason};
}

void require(int index) {
  const Availability& there = availability();
  check<DeviceError>(there.devices > 0, there.reason);
  check<DeviceError>(index >= 0 && index < there.devices, card(index), ": there ", there.devices == 1 ? "is " : "are ", there.devices,
                     " CUDA device", there.devices == 1 ? "" : "s", " here (cuda:0", there.devices > 1 ? text(" to ", card(there.devices - 1)) : std::string(), ")");
}

cudaEvent_t event(void* handle) { return static_cast<cudaEvent_t>(handle); }

}  // namespace

bool built() { return true; }
const char* built_archs() { return VOXGRAD_CUDA_ARCHS; }

const Availability& availability() {
  static const Availability answer = ask();
  return answer;
}

int driver_version() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

int runtime_version() {
  int version = 0;
  return cudaRuntimeGetVersion(&version) == cudaSuccess ? version : CUDART_VERSION;
}

DeviceInfo device_info(int index) {
  require(index);
  cudaDeviceProp properties;
  check_status(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  DeviceInfo info;
  info.index = index;
  info.name = properties.name;
  info.sm = 10 * properties.major + properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  info.memory = properties.totalGlobalMem;
  info.l2 = std::size_t(properties.l2CacheSize);
  info.not_covered = why_not_covered(info.sm, parse_archs(built_archs()));
  const int before = current_or(0);
  check_status(cudaSetDevice(index), "cudaSetDevice");
  std::size_t total = 0;
  const cudaError_t status = cudaMemGetInfo(&info.free, &total);
  cudaSetDevice(before);
  check_status(status, "cudaMemGetInfo");
  return info;
}

void use_device(int index) {
  require(index);
  const DeviceInfo info = device_info(index);
  check<DeviceError>(info.not_covered.empty(), card(index), " (", info.name, "): ", info.not_covered);
  check_status(cudaSetDevice(index), "cudaSetDevice");
}

int current_device() {
  int device = 0;
  check_status(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

DeviceMemory::DeviceMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const cudaError_t status = cudaMalloc(&data_, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    data_ = nullptr;
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw OutOfDeviceMemory(card(current_or(0)), bytes, free, total);
  }
  check_status(status, "cudaMalloc");
}
DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) cudaFree(data_);
}

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes > 0) check_status(cudaMallocHost(&data_, bytes), "cudaMallocHost");
}
PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

Stream::Stream() { check_status(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "cudaStreamCreate"); }
Stream::~Stream() {
  if (handle_ != nullptr) cudaStreamDestroy(handle_);
}
void Stream::synchronize() const { check_status(cudaStreamSynchronize(handle_), "cudaStreamSynchronize"); }

Event::Event(Timing timing) {
  cudaEvent_t made = nullptr;
  check_status(cudaEventCreateWithFlags(&made, timing == Timing::on ? cudaEventDefault : cudaEventDisableTiming), "cudaEventCreate");
  handle_ = made;
}
Event::~Event() {
  if (handle_ != nullptr) cudaEventDestroy(event(handle_));
}
void Event::record(StreamHandle stream) { check_status(cudaEventRecord(event(handle_), stream), "cudaEventRecord"); }
void Event::synchronize() const { check_status(cudaEventSynchronize(event(handle_)), "cudaEventSynchronize"); }
bool Event::done() const {
  const cudaError_t status = cudaEventQuery(event(handle_));
  if (status == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  check_status(status, "cudaEventQuery");
  return true;
}
void Event::wait_in(StreamHandle stream) const { check_status(cudaStreamWaitEvent(stream, event(handle_), 0), "cudaStreamWaitEvent"); }
double elapsed_us(const Event& from, const Event& to) {
  float ms = 0;
  check_status(cudaEventElapsedTime(&ms, event(from.handle_), event(to.handle_)), "cudaEventElapsedTime");
  return 1000.0 * double(ms);
}

// Thread-local: other threads may allocate meanwhile.
void Graph::begin(StreamHandle stream) { check_status(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture"); }
Graph Graph::end(StreamHandle stream) {
  cudaGraph_t captured = nullptr;
  check_status(cudaStreamEndCapture(stream, &captured), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, captured, 0);
  cudaGraphDestroy(captured);
  check_status(status, "cudaGraphInstantiate");
  Graph out;
  out.handle_ = executable;
  return out;
}
void Graph::abandon(StreamHandle stream) noexcept {
  cudaGraph_t captured = nullptr;
  if (cudaStreamEndCapture(stream, &captured) == cudaSuccess && captured != nullptr) cudaGraphDestroy(captured);
  cudaGetLastError();
}
Graph::~Graph() {
  if (handle_ != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(handle_));
}
void Graph::launch(StreamHandle stream) const { check_status(cudaGraphLaunch(static_cast<cudaGraphExec_t>(handle_), stream), "cudaGraphLaunch"); }

void copy_to_device(void* to, const void* from, std::size_t bytes, StreamHandle stream) {
  check_status(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync (host to device)");
}
void copy_to_host(void* to, const void* from, std::size_t bytes, StreamHandle stream) {
  check_status(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "cudaMemcpyAsync (device to host)");
}
void copy_on_device(void* to, const void* from, std::size_t bytes, StreamHandle stream) {
  check_status(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync (on the device)");
}
void fill_bytes(void* to, int value, std::size_t bytes, StreamHandle stream) {
  check_status(cudaMemsetAsync(to, value, bytes, stream), "cudaMemsetAsync");
}

void check_launches(const char* what) { check_status(cudaGetLastError(), what); }

}  // namespace voxgrad::cuda

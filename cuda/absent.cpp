// SPDX-License-Identifier: BSD-3-Clause
// The GPU's place in a program that is built without CUDA: everything that needs a card says so.
#include "voxgrad/cuda/runtime.hpp"

namespace voxgrad::cuda {
namespace {

constexpr const char* reason = "this program was built without CUDA";
[[noreturn]] void refuse() { throw DeviceError(reason); }

}  // namespace

bool built() { return false; }
const char* built_archs() { return ""; }
const Availability& availability() {
  static const Availability none{0, reason};
  return none;
}
int driver_version() { return 0; }
int runtime_version() { return 0; }
DeviceInfo device_info(int) { refuse(); }
void use_device(int) { refuse(); }
int current_device() { refuse(); }

DeviceMemory::DeviceMemory(std::size_t) { refuse(); }
DeviceMemory::~DeviceMemory() = default;
PinnedMemory::PinnedMemory(std::size_t) { refuse(); }
PinnedMemory::~PinnedMemory() = default;
Stream::Stream() { refuse(); }
Stream::~Stream() = default;
void Stream::synchronize() const { refuse(); }
Event::Event(Timing) { refuse(); }
Event::~Event() = default;
void Event::record(StreamHandle) { refuse(); }
void Event::synchronize() const { refuse(); }
bool Event::done() const { refuse(); }
void Event::wait_in(StreamHandle) const { refuse(); }
double elapsed_us(const Event&, const Event&) { refuse(); }
void Graph::begin(StreamHandle) { refuse(); }
Graph Graph::end(StreamHandle) { refuse(); }
void Graph::abandon(StreamHandle) noexcept {}
Graph::~Graph() = default;
void Graph::launch(StreamHandle) const { refuse(); }

void copy_to_device(void*, const void*, std::size_t, StreamHandle) { refuse(); }
void copy_to_host(void*, const void*, std::size_t, StreamHandle) { refuse(); }
void copy_on_device(void*, const void*, std::size_t, StreamHandle) { refuse(); }
void fill_bytes(void*, int, std::size_t, StreamHandle) { refuse(); }
void check_launches(const char*) { refuse(); }

}  // namespace voxgrad::cuda

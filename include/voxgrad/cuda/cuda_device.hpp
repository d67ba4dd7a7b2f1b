// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The Device of programs that run on a card: one stream, cuDNN's convolutions, and graphs of whole step sequences.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "voxgrad/cuda/conv_spec.hpp"
#include "voxgrad/cuda/launch.hpp"

namespace voxgrad::cuda {

struct CudaDeviceOptions {
  bool time_plans = true;     ///< try the candidates of a convolution on the card; else the first that is allowed
  bool verify_plans = true;   ///< compare a new plan with the direct kernel before it is believed
  bool graphs = true;         ///< replay step sequences as CUDA graphs
  std::function<void(const std::string&)> log{};  ///< one line per chosen plan
};

class CudaDevice {
 public:
  /// DeviceError when the card or cuDNN cannot be used.
  explicit CudaDevice(int card, CudaDeviceOptions options = {});
  ~CudaDevice();
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  /// DeviceError with what was needed and what is free.
  void* allocate(size_t bytes);
  void release(void* p);
  void clear(void* p, size_t bytes);
  /// In the order of the stream. The host's memory may be used again on return.
  void upload(void* to, const void* from, size_t bytes);
  /// Waits for everything before it.
  void download(void* to, const void* from, size_t bytes);
  void synchronize();

  template <class K>
  void launch(const typename K::Args& args) {
    cuda::launch<K>(args, stream());
  }

  /// Chooses the plan of a convolution; bytes that convolve() then needs.
  size_t conv_workspace(const ConvSpec& spec);
  /// forward: a = x, b = w, out = y; backward_data: a = dy, b = w, out = dx; backward_weight: a = x, b = dy, out = dw.
  void convolve(const ConvSpec& spec, const void* a, const void* b, void* out, void* workspace);

  /// Steps [first, last) of a program: started one by one the first two times, then recorded and replayed.
  template <class Program>
  void run(Program& program, int first, int last) {
    run_range(program.id(), first, last, [&program, first, last] { program.run(first, last); });
  }
  /// Drops the graphs of a program.
  void forget(uint64_t program);

  StreamHandle stream() const;
  /// Compute capability times ten: 90 for a H200.
  int capability() const;

 private:
  void run_range(uint64_t program, int first, int last, const std::function<void()>& steps);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace voxgrad::cuda

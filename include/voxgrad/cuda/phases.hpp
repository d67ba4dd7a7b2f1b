// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How a GPU kernel is written here: a struct whose work is a number of phases, each what one thread of a block does
// between two barriers. On the GPU a block's threads run a phase together (cuda/launch.cuh); on the CPU emulate() runs
// them one after another, so that ordinary tests and sanitizers see the very code that the GPU runs.
//
//   struct Kernel {
//     static constexpr const char* name = "...";
//     static constexpr int threads = 256;                   // of a block
//     static constexpr int phases = 3;
//     struct Args { ... };                                  // plain data: pointers to device memory and numbers
//     struct Shared { ... };                                // what the threads of a block share
//     struct Thread { ... };                                // what a thread keeps between phases
//     static int64_t blocks(const Args&);                   // 0: nothing to do
//     template <int phase> VOXGRAD_HD static void run(const Args&, At, Shared&, Thread&);
//   };

#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "voxgrad/core/host_device.hpp"

namespace voxgrad::cuda {

/// Where a thread is: its block of how many, its place in the block.
struct At {
  int64_t block, blocks;
  int thread;
};

/// Kernels without shared memory, or without state between phases.
struct Nothing {};

template <class K, int phase = 0, class Barrier>
VOXGRAD_HD inline void run_phases(const typename K::Args& args, At at, typename K::Shared& shared, typename K::Thread& thread,
                                  const Barrier& barrier) {
  if constexpr (phase < K::phases) {
    if constexpr (phase > 0) barrier();
    K::template run<phase>(args, at, shared, thread);
    run_phases<K, phase + 1>(args, at, shared, thread, barrier);
  }
}

/// In which order emulate() runs the threads of a phase. A kernel whose result depends on it has a race.
enum class ThreadOrder { ascending, descending };

/// Runs a kernel on the CPU, on memory of the CPU. Shared memory and thread state start as garbage.
template <class K>
void emulate(const typename K::Args& args, ThreadOrder order = ThreadOrder::ascending) {
  static_assert(std::is_trivially_copyable_v<typename K::Args> && std::is_trivially_copyable_v<typename K::Shared> &&
                std::is_trivially_copyable_v<typename K::Thread>);
  const int64_t blocks = K::blocks(args);
  std::vector<typename K::Thread> threads(K::threads);
  auto shared = std::make_unique<typename K::Shared>();
  for (int64_t block = 0; block < blocks; ++block) {
    std::memset(static_cast<void*>(shared.get()), 0xa5, sizeof *shared);
    std::memset(static_cast<void*>(threads.data()), 0xa5, sizeof(typename K::Thread) * threads.size());
    const auto phase = [&]<int p>(std::integral_constant<int, p>) {
      for (int i = 0; i < K::threads; ++i) {
        const int t = order == ThreadOrder::ascending ? i : K::threads - 1 - i;
        K::template run<p>(args, At{block, blocks, t}, *shared, threads[size_t(t)]);
      }
    };
    [&]<int... p>(std::integer_sequence<int, p...>) {
      (phase(std::integral_constant<int, p>{}), ...);
    }(std::make_integer_sequence<int, K::phases>{});
  }
}

}  // namespace voxgrad::cuda

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The thread pool. parallel_for splits [0, n) statically; what a part computes must not depend on how many
// parts there are, so that results are the same for any thread count.

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace voxgrad {

class ThreadPool {
 public:
  static ThreadPool& instance() {
    static ThreadPool pool;
    return pool;
  }

  /// Number of CPUs this process may use (affinity mask), or VOXGRAD_THREADS.
  static int default_threads() {
    if (const char* wish = std::getenv("VOXGRAD_THREADS"); wish != nullptr && std::atoi(wish) > 0) return std::atoi(wish);
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
    return std::max(1, int(std::thread::hardware_concurrency()));
  }

  int threads() const { return threads_; }

  /// Stops the workers and starts `threads` - 1 new ones. Not while work is running.
  void resize(int threads) {
    stop();
    threads_ = threads < 1 ? 1 : threads;
    stopping_ = false;
    const uint64_t now = generation_.load();
    for (int i = 1; i < threads_; ++i) workers_.emplace_back([this, i, now] { work(i, now); });
  }

  using Job = void (*)(void* context, int part, int parts);

  /// Runs job(context, part, parts) for every part on its own thread; part 0 on the caller. Rethrows the first error.
  void run(Job job, void* context) {
    if (threads_ == 1 || inside()) return job(context, 0, 1);
    std::lock_guard only_one(caller_);
    job_ = job;
    context_ = context;
    error_ = nullptr;
    pending_.store(threads_ - 1, std::memory_order_relaxed);
    {
      std::lock_guard lock(mutex_);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    guarded(0);
    int left;
    for (int spins = 0; (left = pending_.load(std::memory_order_acquire)) != 0; ++spins) {
      if (spins < spin_limit) pause();
      else pending_.wait(left, std::memory_order_acquire);
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

  /// True on a thread that is already inside run(): nested parallelism runs in place.
  static bool& inside() {
    thread_local bool value = false;
    return value;
  }

  ~ThreadPool() { stop(); }

 private:
  ThreadPool() { resize(default_threads()); }

  static constexpr int spin_limit = 4000;  // about 50 microseconds: longer than the gap between two layers
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
  }

  void guarded(int part) {
    inside() = true;
    try {
      job_(context_, part, threads_);
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
    inside() = false;
  }

  void work(int part, uint64_t seen) {
    for (;;) {
      for (int spins = 0; spins < spin_limit && generation_.load(std::memory_order_acquire) == seen; ++spins) pause();
      if (generation_.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
      }
      seen = generation_.load(std::memory_order_acquire);
      if (stopping_) return;
      guarded(part);
      if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
    }
  }

  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
    workers_.clear();
  }

  int threads_ = 1;
  std::vector<std::thread> workers_;
  std::mutex mutex_, caller_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> pending_{0};
  std::atomic<bool> stopping_{false};
  Job job_ = nullptr;
  void* context_ = nullptr;
  std::exception_ptr error_;
};

inline int threads() { return ThreadPool::instance().threads(); }
inline void set_threads(int count) { ThreadPool::instance().resize(count); }

/// Calls body(begin, end) on contiguous pieces that cover [0, n). Pieces hold at least `grain` items, so small
/// work stays on the caller; every piece boundary is a multiple of `grain`.
template <class Body>
void parallel_for(int64_t n, int64_t grain, Body&& body) {
  if (n <= 0) return;
  if (n <= grain || threads() == 1 || ThreadPool::inside()) return body(int64_t(0), n);
  struct Context {
    std::remove_reference_t<Body>* body;
    int64_t n, grain;
  } context{&body, n, grain};
  ThreadPool::instance().run(
      [](void* c, int part, int parts) {
        const Context& k = *static_cast<Context*>(c);
        const int64_t grains = (k.n + k.grain - 1) / k.grain;
        const int64_t begin = grains * part / parts * k.grain;
        const int64_t end = std::min(k.n, grains * (part + 1) / parts * k.grain);
        if (begin < end) (*k.body)(begin, end);
      },
      &context);
}

/// Per-thread scratch that only grows: kernels use it for packed operands and allocate nothing afterwards.
/// `slot` separates buffers that are alive at the same time. 64-byte aligned.
inline void* scratch(int slot, size_t bytes) {
  struct Buffer {
    std::unique_ptr<void, void (*)(void*)> memory{nullptr, std::free};
    size_t bytes = 0;
  };
  thread_local Buffer buffers[8];
  Buffer& b = buffers[slot];
  if (b.bytes < bytes) {
    b.bytes = (bytes + 4095) / 4096 * 4096;
    b.memory.reset();
    b.memory.reset(std::aligned_alloc(64, b.bytes));
    if (!b.memory) throw std::bad_alloc();
  }
  return b.memory.get();
}

}  // namespace voxgrad

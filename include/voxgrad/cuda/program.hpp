// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A fixed sequence of steps on values of fixed size: what a training step or a forward pass is once shapes are known. All
// memory is planned before the first run: values that live only between steps share one slab, the rest has its own.
//
// Device is any type with
//   void* allocate(size_t bytes);  void release(void*);  void clear(void*, size_t bytes);
//   void forget(uint64_t program);                                // whatever it keeps of a program that ends
//   template <class K> void launch(const typename K::Args&);
// and whatever the steps call: HostDevice (cuda/host_device.hpp) runs on the CPU, CudaDevice on a card.

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/arena.hpp"

namespace voxgrad::cuda {

/// Names a value of a Program. The default names nothing.
struct Value {
  int index = -1;
  explicit operator bool() const { return index >= 0; }
  friend bool operator==(Value, Value) = default;
};

template <class Device>
class Program {
 public:
  explicit Program(Device& device) : device_(device) {}
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    device_.forget(id_);
    for (void* p : owned_) device_.release(p);
  }

  /// Memory that is needed from the first step that uses it to the last one.
  Value transient(const char* name, size_t bytes) { return add(name, bytes, true); }
  /// Memory that keeps its contents from run to run; it starts as zeros.
  Value persistent(const char* name, size_t bytes) { return add(name, bytes, false); }
  /// Memory of somebody else, at least as long-lived as the program.
  Value external(const char* name, void* data, size_t bytes) {
    const Value v = add(name, bytes, false);
    values_[size_t(v.index)].data = data;
    return v;
  }

  /// Adds a step. It may use exactly the values named here (those without index are left out); `work` finds them by at().
  void step(const char* name, const std::vector<Value>& uses, std::function<void()> work) {
    check(!planned_, "program: a step was added after planning");
    const int now = int(steps_.size());
    for (const Value v : uses) {
      if (!v) continue;
      Entry& e = values_[size_t(v.index)];
      if (e.first < 0) e.first = now;
      e.last = now;
    }
    steps_.push_back({name, std::move(work)});
  }
  /// Adds a step that launches K; `make` gives its arguments when it runs.
  template <class K, class Make>
  void launch(const std::vector<Value>& uses, Make make) {
    step(K::name, uses, [device = &device_, make] { device->template launch<K>(make()); });
  }
  /// Keeps a value alive to the end of the run, so that it can be read afterwards.
  void keep(Value v) { values_[size_t(v.index)].kept = true; }

  /// Unlike that of any other program.
  uint64_t id() const { return id_; }
  /// The number of steps so far: the borders of run()'s ranges.
  int size() const { return int(steps_.size()); }

  /// Places everything and takes the memory, in one piece for all transient values.
  void plan() {
    check(!planned_, "program: planned twice");
    std::vector<Lifetime> lifetimes;
    std::vector<size_t> which;
    for (size_t i = 0; i < values_.size(); ++i) {
      Entry& e = values_[i];
      if (!e.transient || e.first < 0) continue;
      lifetimes.push_back({int64_t(e.bytes), e.first, e.kept ? size() : e.last});
      which.push_back(i);
    }
    const ArenaPlan arena = plan_arena(lifetimes);
    arena_bytes_ = size_t(arena.bytes);
    persistent_bytes_ = 0;
    char* const slab = static_cast<char*>(take(arena_bytes_));
    for (size_t i = 0; i < which.size(); ++i) values_[which[i]].data = slab + arena.offset[i];
    for (Entry& e : values_) {
      if (e.transient || e.data != nullptr) continue;
      e.data = take(e.bytes);
      device_.clear(e.data, e.bytes);
      persistent_bytes_ += e.bytes;
    }
    planned_ = true;
  }

  template <class T = void>
  T* at(Value v) const {
    return v ? static_cast<T*>(values_[size_t(v.index)].data) : nullptr;
  }
  size_t bytes(Value v) const { return values_[size_t(v.index)].bytes; }

  /// Runs the steps [first, last).
  void run(int first, int last) {
    check(planned_, "program: run before planning");
    for (int i = first; i < last; ++i) steps_[size_t(i)].work();
  }
  void run() { run(0, size()); }
  const char* step_name(int i) const { return steps_[size_t(i)].name; }

  size_t arena_bytes() const { return arena_bytes_; }
  size_t persistent_bytes() const { return persistent_bytes_; }
  Device& device() const { return device_; }

 private:
  struct Entry {
    const char* name;
    size_t bytes;
    bool transient, kept = false;
    int first = -1, last = -1;
    void* data = nullptr;
  };
  struct Step {
    const char* name;
    std::function<void()> work;
  };

  Value add(const char* name, size_t bytes, bool transient) {
    check(!planned_, "program: ", name, " was added after planning");
    values_.push_back({name, bytes, transient});
    return {int(values_.size()) - 1};
  }
  void* take(size_t bytes) {
    void* p = device_.allocate(std::max(bytes, size_t(256)));
    owned_.push_back(p);
    return p;
  }

  static uint64_t next_id() {
    static std::atomic<uint64_t> last{0};
    return ++last;
  }

  Device& device_;
  uint64_t id_ = next_id();
  std::vector<Entry> values_;
  std::vector<Step> steps_;
  std::vector<void*> owned_;
  size_t arena_bytes_ = 0, persistent_bytes_ = 0;
  bool planned_ = false;
};

}  // namespace voxgrad::cuda

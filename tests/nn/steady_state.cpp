// SPDX-License-Identifier: BSD-3-Clause
// Whole training steps: tensors at the edge of readable memory, the same bits for 1 to 7 threads, and what a steady state
// takes from the system.

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <tuple>
#include <utility>

#include "catch.hpp"
#include "settings.hpp"
#include "page_edge.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/kernels/conv_method.hpp"
#include "voxgrad/models/unet3d.hpp"
#include "voxgrad/ops/loss.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/simd/isa.hpp"

using namespace voxgrad;
using test::Settings;

namespace {

std::atomic<int64_t> news{0};      // calls of operator new, all threads
std::atomic<int64_t> new_bytes{0};

void* counted(size_t bytes, size_t alignment) {
  ++news;
  new_bytes += int64_t(bytes);
  void* memory = alignment > 0 ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment) : std::malloc(bytes > 0 ? bytes : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

models::UNet3dOptions small() {
  models::UNet3dOptions o;
  o.layers = 2;
  o.width = 4;
  return o;
}

/// How the loss is made: in one op with the network's head, or by plain ops on its output.
enum class Loss { with_head, plain };

/// A network, its optimiser and a batch; step() trains once and gives the loss.
class Training {
 public:
  Training(const models::UNet3dOptions& options, const Shape& batch, Loss loss = Loss::with_head)
      : net_(options, Random(1)), adam_(net_.parameters(), optim::AdamOptions()), x_(batch), target_(batch), loss_(loss) {
    Random random(2);
    for (float& v : x_.mutable_span<float>()) v = float(random.normal());
    for (float& v : target_.mutable_span<float>()) v = random.uniform() < 0.1 ? 1.0f : 0.0f;
  }
  double step() {
    const Tensor loss =
        loss_ == Loss::plain ? mse_loss(net_(x_), target_) : net_.loss<kernels::MseWithLogits>(x_, target_);
    backward(loss);
    adam_.step();
    return loss.item();
  }
  /// Parameters, buffers and gradients, as bytes.
  std::vector<char> bytes() {
    std::vector<char> all;
    const auto put = [&](const Tensor& t) {
      const char* raw = static_cast<const char*>(t.raw());
      all.insert(all.end(), raw, raw + t.size() * int64_t(size_of(t.dtype())));
    };
    for (const nn::Named& n : net_.state()) {
      put(*n.tensor);
      if (n.tensor->grad().defined()) put(n.tensor->grad());
    }
    return all;
  }

 private:
  models::UNet3d net_;
  optim::Adam adam_;
  Tensor x_, target_;
  Loss loss_;
};

/// While alive, every tensor ends where readable memory ends, and starts as NaN.
class EdgeMemory {
 public:
  EdgeMemory() : before_(allocator(DeviceKind::cpu)) {
    allocator(DeviceKind::cpu).allocate = [](size_t bytes, int) {
      void* memory = page_edge_allocate(bytes);
      std::memset(memory, 0xff, bytes);
      return memory;
    };
    allocator(DeviceKind::cpu).release = [](void* memory, size_t bytes, int) { page_edge_release(memory, bytes); };
  }
  ~EdgeMemory() { allocator(DeviceKind::cpu) = before_; }
  EdgeMemory(const EdgeMemory&) = delete;
  EdgeMemory& operator=(const EdgeMemory&) = delete;

 private:
  Allocator before_;
};

std::vector<char> after_steps(const models::UNet3dOptions& options, const Shape& batch, int steps) {
  Training training(options, batch);
  for (int i = 0; i < steps; ++i) training.step();
  return training.bytes();
}

}  // namespace

void* operator new(size_t bytes) { return counted(bytes, 0); }
void* operator new[](size_t bytes) { return counted(bytes, 0); }
void* operator new(size_t bytes, std::align_val_t a) { return counted(bytes, size_t(a)); }
void* operator new[](size_t bytes, std::align_val_t a) { return counted(bytes, size_t(a)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

TEST_CASE("a training step stays inside its tensors and reads nothing unwritten") {
  const Settings restore;
  models::UNet3dOptions odd = small(), dilated = small();
  odd.width = 3;
  odd.first_kernel = 5;
  dilated.width = 9;
  dilated.dilations = 2;
  models::UNet3dOptions wide;
  wide.layers = 3;
  const std::pair<models::UNet3dOptions, Shape> cases[] = {
      {odd, Shape{2, 4, 12, 20, 1}}, {dilated, Shape{1, 8, 4, 16, 1}}, {wide, Shape{2, 8, 16, 24, 1}}};
  for (const auto& [options, batch] : cases)
    for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512})
      for (const ConvMethod method : {ConvMethod::automatic, ConvMethod::direct}) {
        if (!supported(isa)) continue;
        INFO(name(isa) << ", width " << options.width << ", direct " << (method == ConvMethod::direct));
        set_isa(isa);
        set_conv_method(method);
        set_threads(3);
        const std::vector<char> plain = after_steps(options, batch, 2);
        const EdgeMemory edge;
        CHECK(after_steps(options, batch, 2) == plain);
      }
}

TEST_CASE("training steps give the same bits on 1 to 7 threads") {
  const Settings restore;
  const auto check = [](const models::UNet3dOptions& options, const Shape& batch, int steps) {
    set_threads(1);
    const std::vector<char> one = after_steps(options, batch, steps);
    for (int count = 2; count <= 7; ++count) {
      set_threads(count);
      INFO(count << " threads, width " << options.width);
      CHECK(after_steps(options, batch, steps) == one);
    }
  };
  for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (!supported(isa)) continue;
    INFO(name(isa));
    set_isa(isa);
    check(small(), Shape{3, 8, 12, 20, 1}, 2);
    set_conv_method(ConvMethod::direct);
    check(small(), Shape{3, 8, 12, 20, 1}, 1);
    set_conv_method(ConvMethod::automatic);
  }
  set_isa(restore.isa);
  check(models::UNet3dOptions(), Shape{2, 32, 32, 32, 1}, 1);  // the published network
}

TEST_CASE("after its first step training takes no tensor memory from the system, and few small objects") {
  const Settings restore;
  for (const auto& [loss, count, most] : {std::tuple(Loss::with_head, 1, 580), {Loss::with_head, 2, 580}, {Loss::plain, 2, 600}}) {
    set_threads(count);
    CpuMemory::instance().trim();
    Training training(small(), Shape{2, 16, 16, 16, 1}, loss);
    training.step();
    training.step();  // Adam's moments and the gradients exist
    const int64_t tensors = CpuMemory::instance().system_allocations(), before = news, bytes = new_bytes;
    constexpr int steps = 4;
    for (int i = 0; i < steps; ++i) training.step();
    CHECK(CpuMemory::instance().system_allocations() == tensors);
    const int64_t each = (news - before) / steps, each_bytes = (new_bytes - bytes) / steps;
    INFO("operator new: " << each << " calls and " << each_bytes << " bytes a step");
    CHECK(each <= most);         // handles, nodes, closures, lists of edges; recorded: 461 and 482, 48 kB
    CHECK(each_bytes <= 60000);  // one tensor of the first stage alone has 128 kB
    const int64_t after = news;
    training.step();
    CHECK(news - after == each);  // every step the same
  }
}

// SPDX-License-Identifier: BSD-3-Clause
// cuDNN plans for cards that are only described (tests/cuda/devices): no GPU and no driver is needed. What is shown is that
// plans exist, what they need and whether they are deterministic; not that they are fast or right.

#include <cstdio>
#include <filesystem>
#include <memory>

#include "catch.hpp"
#include "child_case.hpp"
#include "message.hpp"
#include "network_layers.hpp"
#include "scratch_folder.hpp"
#include "voxgrad/cuda/plan_cache.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using cuda::test::Layer;
using cuda::test::ScratchFolder;

namespace {

struct Card {
  const char* file;
  Element io;  ///< what it trains in
};
constexpr Card cards[] = {{"h200", Element::bf16}, {"a100", Element::bf16}, {"rtx4090", Element::bf16}, {"rtx5090", Element::bf16}, {"t4", Element::f16}};

std::string json_of(const char* file) { return cuda::test::contents(text(VOXGRAD_SOURCE_DIR "/tests/cuda/devices/", file, ".json")); }

/// This machine's cuDNN if it can plan for described cards; else the reason is printed.
const CudnnLibrary* planning_library(const char* what) {
  try {
    const CudnnLibrary& library = cudnn_library();
    if (library.version >= 91100) return &library;
    std::printf("skipped: %s (cuDNN %s, 9.11 or newer is needed)\n", what, cudnn_version_text(library.version).c_str());
  } catch (const DeviceError& error) {
    std::printf("skipped: %s (%s)\n", what, error.what());
  }
  return nullptr;
}

constexpr EngineNotes tensor_core = note_bit(cudnn::NUMERICAL_NOTE_TENSOR_CORE), nondeterministic = note_bit(cudnn::NUMERICAL_NOTE_NONDETERMINISTIC);

/// Without the engines that are compiled when a plan is made: for these a driver would work for seconds, and for the card at
/// hand only.
struct Precompiled : CudnnPlanDevice {
  using CudnnPlanDevice::CudnnPlanDevice;
  std::vector<EngineConfig> propose(cudnn::HeurMode mode) {
    std::vector<EngineConfig> all = CudnnPlanDevice::propose(mode);
    std::erase_if(all, [](const EngineConfig& c) { return c.compiled_at_run_time; });
    return all;
  }
};

ConvSpec cube(ConvOp op, Element io, Math math, int channels) {
  ConvSpec s;
  s.op = op;
  s.io = io;
  s.math = math;
  s.N = 128;
  s.Ci = s.Co = channels;
  for (int a = 0; a < 3; ++a) {
    s.in[a] = s.out[a] = 32;
    s.kernel[a] = 3;
    s.padding[a] = 1;
  }
  return s;
}

}  // namespace

TEST_CASE("every layer of both networks has a deterministic tensor-core plan with little workspace on five cards") {
  const CudnnLibrary* library = planning_library("plans of every layer on five cards");
  if (library == nullptr) return;
  PlanLimits small;
  small.workspace = int64_t(16) << 20;
  for (const Card& card : cards) {
    const PlanTarget target(*library, json_of(card.file));
    std::vector<Layer> layers = cuda::test::unet_layers(card.io);
    for (const Layer& layer : cuda::test::stardist_layers(card.io)) layers.push_back(layer);
    CHECK(layers.size() == 28 * 3 - 1 + 13 * 3 - 1);
    for (const Layer& layer : layers) {
      INFO(card.file << ", " << layer.name << ": " << describe(layer.spec));
      Precompiled device(target, layer.spec);
      detail::PlanTally tally;
      const std::vector<ConvPlan> plans = detail::admissible(device, layer.spec, layer.one_channel ? PlanLimits{} : small, 12, tally);
      bool good = layer.one_channel;
      for (const ConvPlan& plan : plans) {
        CHECK(plan.workspace <= cap_of(layer.one_channel ? PlanLimits{} : small, layer.spec));
        CHECK((plan.notes & nondeterministic) == 0);
        good |= (plan.notes & tensor_core) != 0;
      }
      CHECK(good);
      CHECK(plans.size() <= 12);
    }
  }
}

TEST_CASE("what the heuristics like best may need more than the cap, and is not chosen") {
  const CudnnLibrary* library = planning_library("plans above the cap");
  if (library == nullptr) return;
  // On this card the first proposal for level 0 is one that transposes.
  const PlanTarget target(*library, json_of("rtx4090"));
  const ConvSpec spec = cube(ConvOp::forward, Element::bf16, Math::tensor_core, 8);
  Precompiled device(target, spec);
  const auto chosen = [&](int64_t cap) {
    PlanLimits limits;
    limits.workspace = cap;
    return select_plan(device, spec, limits, PlanJudge<ConvPlan>{}).workspace;
  };
  for (const int64_t cap : {int64_t(0), int64_t(1) << 20, PlanLimits{}.workspace}) CHECK(chosen(cap) <= cap);
  CHECK(chosen(int64_t(8) << 30) > PlanLimits{}.workspace);  // else this test shows nothing with this version
}

TEST_CASE("strict f32 plans on every card use no tensor core; T4 has no bf16") {
  const CudnnLibrary* library = planning_library("strict plans");
  if (library == nullptr) return;
  for (const Card& card : cards) {
    const PlanTarget target(*library, json_of(card.file));
    for (const ConvOp op : {ConvOp::forward, ConvOp::backward_data, ConvOp::backward_weight})
      for (const int channels : {8, 32}) {
        const ConvSpec spec = cube(op, Element::f32, Math::strict, channels);
        INFO(card.file << ", " << describe(spec));
        Precompiled device(target, spec);
        const ConvPlan plan = select_plan(device, spec, PlanLimits{}, PlanJudge<ConvPlan>{});
        CHECK(forbidden(spec, plan.notes) == "");
        CHECK(plan.workspace <= PlanLimits{}.strict_workspace);
      }
  }
  const PlanTarget t4(*library, json_of("t4"));
  const ConvSpec spec = cube(ConvOp::forward, Element::bf16, Math::tensor_core, 8);
  Precompiled device(t4, spec);
  CHECK(voxgrad::test::message<DeviceError>([&] { select_plan(device, spec, PlanLimits{}, PlanJudge<ConvPlan>{}); })
            .rfind("conv plan: cuDNN has no usable plan for forward bf16 tensor_core x 128x32x32x32x8", 0) == 0);
}

TEST_CASE("a plan as text makes the same plan again, for this card only") {
  const CudnnLibrary* library = planning_library("plans as text");
  if (library == nullptr) return;
  const PlanTarget h200(*library, json_of("h200"));
  for (const ConvOp op : {ConvOp::forward, ConvOp::backward_data, ConvOp::backward_weight}) {
    const ConvSpec spec = cube(op, Element::bf16, Math::tensor_core, 16);
    Precompiled device(h200, spec);
    const ConvPlan plan = select_plan(device, spec, PlanLimits{}, PlanJudge<ConvPlan>{});
    std::string why;
    const std::optional<ConvPlan> again = load_plan(h200, plan.json(), why);
    REQUIRE(again);
    CHECK(again->workspace == plan.workspace);
    CHECK(again->json() == plan.json());
    CHECK_FALSE(load_plan(h200, plan.json().substr(0, plan.json().size() / 2), why));
    CHECK_FALSE(why.empty());
    CHECK_FALSE(load_plan(h200, "{}", why));
  }
}

TEST_CASE("uneven padding, dilation and 1-voxel volumes have plans") {
  const CudnnLibrary* library = planning_library("plans of unusual shapes");
  if (library == nullptr) return;
  const PlanTarget target(*library, json_of("h200"));
  ConvSpec same = cube(ConvOp::forward, Element::bf16, Math::tensor_core, 32);
  for (int a = 1; a < 3; ++a) {  // Keras' "same" with stride 2: nothing before, one after
    same.stride[a] = 2;
    same.out[a] = 16;
    same.padding[a] = 0;
  }
  ConvSpec dilated = cube(ConvOp::forward, Element::bf16, Math::tensor_core, 32);
  for (int a = 0; a < 3; ++a) dilated.dilation[a] = dilated.padding[a] = 2;
  ConvSpec seven = cube(ConvOp::forward, Element::bf16, Math::tensor_core, 32);
  for (int a = 0; a < 3; ++a) {
    seven.kernel[a] = 7;
    seven.padding[a] = 3;
  }
  for (ConvSpec spec : {same, dilated, seven})
    for (const ConvOp op : {ConvOp::forward, ConvOp::backward_data, ConvOp::backward_weight}) {
      spec.op = op;
      INFO(describe(spec));
      Precompiled device(target, spec);
      CHECK(select_plan(device, spec, PlanLimits{}, PlanJudge<ConvPlan>{}).workspace <= PlanLimits{}.workspace);
    }
}

TEST_CASE("a planner keeps plans in its folder and finds them there") {
  const CudnnLibrary* library = planning_library("kept plans");
  if (library == nullptr) return;
  const ScratchFolder scratch;
  std::vector<std::string> said;
  PlannerOptions options;
  options.cache_folder = scratch / "plans";
  options.log = [&](const std::string& line) { said.push_back(line); };
  const ConvSpec spec = cube(ConvOp::backward_weight, Element::bf16, Math::tensor_core, 8);
  const auto planner = [&] { return std::make_unique<ConvPlanner>(PlanTarget(*library, json_of("h200")), "NVIDIA H200 sm_90 132 SMs", options); };

  const auto first = planner();
  const std::shared_ptr<const ConvPlan> made = first->plan(spec);
  CHECK(first->plan(spec) == made);
  REQUIRE(said.size() == 1);
  CHECK(said[0].find("not timed, not verified") != std::string::npos);
  const std::string file = PlanCache(options.cache_folder).file(first->key(spec));
  const auto look = [&] {
    said.clear();
    const std::shared_ptr<const ConvPlan> plan = planner()->plan(spec);
    CHECK(plan->json() == made->json());
    CHECK(plan->engine == made->engine);
    CHECK(plan->notes == made->notes);
    return said.empty() ? "" : said[0];
  };
  CHECK(look() == describe(spec) + ": engine " + std::to_string(made->engine) + ", " + std::to_string(made->workspace) + " bytes of workspace, from " + file);

  // A plan that cuDNN refuses, under a right sum.
  PlanCache(options.cache_folder).store({first->key(spec), made->engine, made->notes, made->workspace, 0, "{}"});
  CHECK(look().rfind("plan cache: " + file + ": refused by cuDNN: cudnnBackend", 0) == 0);
  CHECK(look().find(", from " + file) != std::string::npos);  // it was written anew
  // One that does not keep the rules.
  PlanCache(options.cache_folder).store({first->key(spec), made->engine, made->notes | nondeterministic, made->workspace, 0, made->json()});
  CHECK(look() == "plan cache: " + file + ": does not keep the limits that its key names. It is ignored and written anew.");
  // Chosen without a clock: not for a planner that has one.
  options.time = [](const ConvSpec&, const ConvPlan&) { return 12.5; };
  const std::shared_ptr<const ConvPlan> timed = planner()->plan(spec);
  CHECK(timed->us == 12.5);
  said.clear();
  CHECK(planner()->plan(spec)->us == 12.5);
  CHECK(said.back().find(", from " + file) != std::string::npos);
}

// In a process where the driver's library is the toolkit's stub.
TEST_CASE("prints what comes of fused plans", "[.]") {
  const CudnnLibrary* library = planning_library("fused plans");
  if (library == nullptr) return;
  const PlanTarget target(*library, json_of("h200"));
  for (const int64_t step : {0, 16}) {
    ConvSpec spec = cube(ConvOp::forward, Element::bf16, Math::tensor_core, 8);
    spec.epilogue = Epilogue::bias_leaky;
    spec.slope = 0.2f;
    spec.y_row_stride = step;
    const ConvGraph graph(target, spec);
    const std::vector<EngineConfig> configs = engine_configs(target, graph, cudnn::HEUR_MODE_A);
    std::string why = "no proposal";
    if (!configs.empty() && make_plan(target, configs[0], why)) why = "a plan";
    std::printf("fused, step %d: %s\n", int(step), why.c_str());
  }
}

TEST_CASE("convolution with bias and leaky relu, also into a slice: the kernel is made, only the driver is missing") {
  const CudnnLibrary* library = planning_library("fused plans");
  if (library == nullptr) return;
  const std::string stub = CUDA_STUBS "/libcuda.so";
  if (!std::filesystem::exists(stub)) {
    std::printf("skipped: fused plans (no stub of the driver in the toolkit)\n");
    return;
  }
  const ScratchFolder scratch;
  std::filesystem::create_symlink(stub, scratch / "libcuda.so.1");
  const std::string said = cuda::test::output_of_case("LD_LIBRARY_PATH=" + scratch.path(), "prints what comes of fused plans");
  if (said.find("(3008)") != std::string::npos || said.find("(3009)") != std::string::npos || said.find("nvrtc") != std::string::npos) {
    std::printf("skipped: fused plans (no NVRTC for cuDNN: %s)\n", cuda::test::line_after(said, "fused, step 0: ").c_str());
    return;
  }
  for (const std::string word : {"fused, step 0: ", "fused, step 16: "}) {
    const std::string end = cuda::test::line_after(said, word);
    INFO(end);
    CHECK(end.find("CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER (5001)") != std::string::npos);
    CHECK(end.find("(34)") != std::string::npos);  // cudaErrorStubLibrary: all before it has been done
  }
}

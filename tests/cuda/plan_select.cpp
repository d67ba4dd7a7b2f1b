// SPDX-License-Identifier: BSD-3-Clause
// The choice of a plan on a made-up device with a made-up clock.

#include "voxgrad/cuda/plan_select.hpp"

#include <limits>

#include "catch.hpp"
#include "message.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using namespace voxgrad::cuda::cudnn;

namespace {

struct Offer {
  int64_t engine = 0;
  EngineNotes notes = 0;
  int64_t workspace = 0;
  double us = 0, error = 0;
  bool builds = true;
  std::string id = {};  ///< "" for one of its own
};
struct MadeUpPlan {
  int64_t engine = 0, workspace = 0;
  EngineNotes notes = 0;
  double us = 0;
  Offer offer = {};
};

struct MadeUpDevice {
  using Config = Offer;
  using Plan = MadeUpPlan;
  std::map<HeurMode, std::vector<Offer>> offers;
  std::vector<HeurMode> asked;
  int built = 0;

  std::vector<Offer> propose(HeurMode mode) {
    asked.push_back(mode);
    return offers[mode];
  }
  std::optional<MadeUpPlan> build(const Offer& o, std::string& why) {
    ++built;
    why = "no such kernel";
    if (!o.builds) return {};
    return MadeUpPlan{o.engine, o.workspace, o.notes, 0, o};
  }
  std::string identity(const MadeUpPlan& p) { return !p.offer.id.empty() ? p.offer.id : text("plan ", built); }
};

/// Times and errors as the offers say.
struct Judge : PlanJudge<MadeUpPlan> {
  std::vector<std::string> said;
  std::vector<int64_t> timed, verified;
  Judge(bool clock, bool reference) {
    if (clock)
      time = [this](const MadeUpPlan& p) {
        timed.push_back(p.engine);
        check<DeviceError>(p.offer.us >= 0, "cudnnBackendExecute: broken");
        return p.offer.us;
      };
    if (reference)
      verify = [this](const MadeUpPlan& p) {
        verified.push_back(p.engine);
        return p.offer.error;
      };
    log = [this](const std::string& line) { said.push_back(line); };
  }
};

ConvSpec spec_of(Element io, Math math) {
  ConvSpec s;
  s.io = io;
  s.math = math;
  s.N = s.Ci = s.Co = 8;
  return s;
}
const ConvSpec bf16_spec = spec_of(Element::bf16, Math::tensor_core);
constexpr int64_t MiB = 1 << 20;

}  // namespace

TEST_CASE("without a clock the first proposal under the cap wins, and no more are asked for") {
  MadeUpDevice device;
  device.offers[HEUR_MODE_A] = {{.engine = 1, .workspace = 300 * MiB}, {.engine = 2, .builds = false}, {.engine = 3, .workspace = 256 * MiB}, {.engine = 4}};
  Judge judge(false, false);
  CHECK(select_plan(device, bf16_spec, {}, judge).engine == 3);
  CHECK(device.asked == std::vector<HeurMode>{HEUR_MODE_A});
  CHECK(device.built == 3);
  CHECK(judge.said == std::vector<std::string>{describe(bf16_spec) + ": engine 3, 268435456 bytes of workspace, not timed, not verified"});
}

TEST_CASE("modes are asked in order A, B, fallback") {
  MadeUpDevice device;
  device.offers[HEUR_MODE_FALLBACK] = {{.engine = 9}};
  CHECK(select_plan(device, bf16_spec, {}, Judge(false, false)).engine == 9);
  CHECK(device.asked == std::vector<HeurMode>{HEUR_MODE_A, HEUR_MODE_B, HEUR_MODE_FALLBACK});
}

TEST_CASE("the fastest wins; at most twelve are timed, four of an engine, none twice") {
  MadeUpDevice device;
  for (int engine = 0; engine < 6; ++engine)
    for (int i = 0; i < 6; ++i)
      device.offers[HEUR_MODE_A].push_back({.engine = engine, .us = 100.0 - engine, .id = i == 1 ? text(engine, " first") : i == 0 ? text(engine, " first") : ""});
  Judge judge(true, true);
  const MadeUpPlan plan = select_plan(device, bf16_spec, {}, judge);
  CHECK(judge.timed == std::vector<int64_t>{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2});
  CHECK(plan.engine == 2);
  CHECK(plan.us == 98);
  CHECK(judge.verified == std::vector<int64_t>{2});
  CHECK(judge.said.back() == describe(bf16_spec) + ": engine 2, 0 bytes of workspace, 98 us, fastest of 12, error 0");
}

TEST_CASE("a plan with wrong values or NaN is passed over, and said so") {
  MadeUpDevice device;
  device.offers[HEUR_MODE_A] = {{.engine = 1, .us = 1, .error = std::numeric_limits<double>::quiet_NaN()}, {.engine = 2, .us = 2, .error = 0.01}, {.engine = 3, .us = 3, .error = 0.0099}};
  Judge judge(true, true);
  CHECK(select_plan(device, bf16_spec, {}, judge).engine == 3);
  REQUIRE(judge.said.size() == 3);
  CHECK(judge.said[0] == describe(bf16_spec) + ": engine 1 gives wrong values (error nan, allowed 0.01); the next is tried");
  CHECK(judge.said[1] == describe(bf16_spec) + ": engine 2 gives wrong values (error 0.01, allowed 0.01); the next is tried");
  device.offers[HEUR_MODE_A].pop_back();
  CHECK(voxgrad::test::message<DeviceError>([&] { select_plan(device, bf16_spec, {}, judge); }) ==
        "conv plan: cuDNN has no usable plan for " + describe(bf16_spec) + ": 2 proposals, 2 failed or gave wrong values on the card.");
}

TEST_CASE("a plan that fails while timed or verified is out of the race") {
  MadeUpDevice device;
  device.offers[HEUR_MODE_A] = {{.engine = 1, .us = -1}, {.engine = 2, .us = 5}};
  Judge judge(true, false);
  CHECK(select_plan(device, bf16_spec, {}, judge).engine == 2);
  CHECK(judge.said[0] == "engine 1 failed while timed: cudnnBackendExecute: broken");
  Judge failing(true, false);
  failing.verify = [](const MadeUpPlan&) -> double { throw DeviceError("out of memory"); };
  CHECK(voxgrad::test::message<DeviceError>([&] { select_plan(device, bf16_spec, {}, failing); }).find("2 failed or gave wrong values") != std::string::npos);
}

TEST_CASE("notes of an engine that forbid it") {
  const ConvSpec strict = spec_of(Element::f32, Math::strict), tf32 = spec_of(Element::f32, Math::tf32);
  ConvSpec free = bf16_spec;
  free.deterministic = false;
  CHECK(forbidden(bf16_spec, note_bit(NUMERICAL_NOTE_TENSOR_CORE)) == "");
  CHECK(forbidden(bf16_spec, note_bit(NUMERICAL_NOTE_NONDETERMINISTIC)) == "not deterministic");
  CHECK(forbidden(free, note_bit(NUMERICAL_NOTE_NONDETERMINISTIC)) == "");
  CHECK(forbidden(bf16_spec, note_bit(NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) == "sums in less than f32");
  CHECK(forbidden(tf32, note_bit(NUMERICAL_NOTE_TENSOR_CORE) | note_bit(NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) == "");
  CHECK(forbidden(strict, note_bit(NUMERICAL_NOTE_TENSOR_CORE)) == "uses tensor cores");
  CHECK(forbidden(strict, note_bit(NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) == "rounds its inputs");
  CHECK(forbidden(strict, note_bit(NUMERICAL_NOTE_WINOGRAD_TILE_4x4)) == "transforms its inputs");
  CHECK(forbidden(strict, 0) == "");
  CHECK(tolerance(bf16_spec) == 1e-2);
  CHECK(tolerance(spec_of(Element::f16, Math::tensor_core)) == 2e-3);
  CHECK(tolerance(tf32) == 2e-3);
  CHECK(tolerance(strict) == 1e-5);
}

TEST_CASE("when nothing is left the message counts why") {
  MadeUpDevice device;
  device.offers[HEUR_MODE_A] = {{.engine = 1, .notes = note_bit(NUMERICAL_NOTE_NONDETERMINISTIC)}, {.engine = 2, .workspace = 900 * MiB}, {.engine = 3, .workspace = 300 * MiB}};
  device.offers[HEUR_MODE_B] = {{.engine = 4, .builds = false}};
  const std::string wanted = "conv plan: cuDNN has no usable plan for " + describe(bf16_spec) +
                             ": 4 proposals, 1 not allowed by precision or determinism, 2 above the cap of 268435456 bytes of workspace (the smallest needs "
                             "314572800), 1 refused (no such kernel).";
  CHECK(voxgrad::test::message<DeviceError>([&] { select_plan(device, bf16_spec, {}, Judge(false, false)); }) == wanted);
  const ConvSpec strict = spec_of(Element::f32, Math::strict);  // has a larger cap
  CHECK(select_plan(device, strict, {}, Judge(false, false)).engine == 2);
}

// SPDX-License-Identifier: BSD-3-Clause
// Rays in a model folder's config.json: there and back, as the Python package writes them, and what is refused.

#include "common/rays_json.hpp"

#include "catch.hpp"
#include "message.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using namespace voxgrad::stardist;
using test::message;

namespace {

std::string refusal(const std::string& json) {
  return message<FileError>([&] { read_rays_json(json, "config.json"); });
}

}  // namespace

TEST_CASE("rays json: what the Python package writes") {
  const RaysFrom from = read_rays_json(R"({"name": "Rays_GoldenSpiral", "kwargs": {"n": 96, "anisotropy": [1.7, 1.08, 1.0]}})", "c");
  CHECK(make_rays(from).size() == 96);
  CHECK(make_rays(from).anisotropy() == Vec3d{1.7, 1.08, 1});
  CHECK_FALSE(make_rays(read_rays_json(R"({"name": "Rays_GoldenSpiral", "kwargs": {"n": 8, "anisotropy": null}})", "c")).anisotropy());
  CHECK(make_rays(read_rays_json(R"({"name": "Rays_GoldenSpiral"})", "c")).size() == 70);
  CHECK(make_rays(read_rays_json(R"({"name": "Rays_Cartesian", "kwargs": {"n_rays_x": 8, "n_rays_z": 4}})", "c")).size() == 32);
  CHECK(make_rays(read_rays_json(R"({"name": "Rays_Octo", "kwargs": {"n_level": 3}})", "c")).size() == 66);
}

TEST_CASE("rays json: every kind comes back the same") {
  const Rays spiral = make_rays(GoldenSpiral{12, Vec3d{2, 1.5, 1}});
  for (const Rays& rays : {spiral, make_rays(GoldenSpiral{9, {}}), make_rays(Cartesian{5, 3}), make_rays(Octo{2}), make_rays(Tetra{1}),
                           scaled(spiral, {1, 0.5, 0.25})}) {
    INFO(rays.name());
    const Rays back = make_rays(read_rays_json(rays_json(rays).text(), "c"));
    CHECK(back.vertices == rays.vertices);
    CHECK(back.faces == rays.faces);
    CHECK(std::string(back.name()) == rays.name());
  }
  CHECK(rays_json(make_rays(GoldenSpiral{8, {}})).text() == R"({"name": "Rays_GoldenSpiral", "kwargs": {"n": 8, "anisotropy": null}})");
}

TEST_CASE("rays json: names are looked up, never run, and every wrong key is named") {
  CHECK(refusal(R"j({"name": "__import__('os').abort()"})j") ==
        "config.json: rays_json: unknown rays '__import__('os').abort()' (expected Rays_GoldenSpiral, Rays_Cartesian, Rays_Octo, "
        "Rays_Tetra, Rays_Explicit)");
  CHECK(refusal("[1]") == "config.json: rays_json is no object with a 'name'");
  CHECK(refusal("{\"name\":") == "config.json: rays_json is no object with a 'name'");
  CHECK(refusal(R"({"name": "Rays_Octo", "kwargs": [3]})") == "config.json: rays_json: 'kwargs' is no object");
  CHECK(refusal(R"({"name": "Rays_Octo", "kwargs": {"level": 3}})") ==
        "config.json: rays_json: Rays_Octo has no argument 'level' (expected n_level)");
  CHECK(refusal(R"({"name": "Rays_Octo", "kwargs": {"n_level": 2.5}})") ==
        "config.json: rays_json: Rays_Octo: 'n_level' is 2.5 (expected a whole number)");
  CHECK(refusal(R"({"name": "Rays_GoldenSpiral", "kwargs": {"n": 3}})") == "config.json: rays_json: rays: n is 3 (expected 4 to 65536)");
  CHECK(refusal(R"({"name": "Rays_GoldenSpiral", "kwargs": {"anisotropy": [1, 2]}})") ==
        "config.json: rays_json: Rays_GoldenSpiral: 'anisotropy' is [1,2] (expected three numbers)");
  CHECK(refusal(R"({"name": "Rays_GoldenSpiral", "kwargs": {"anisotropy": [0, 1, 1]}})").find("anisotropy is 0, 1, 1") != std::string::npos);
  CHECK(refusal(R"({"name": "Rays_Explicit", "kwargs": {"vertices0": []}})") ==
        "config.json: rays_json: Rays_Explicit: 'faces0' is missing or no list");
  CHECK(refusal(R"({"name": "Rays_Explicit", "kwargs": {"vertices0": [[0,0,1],[0,1,0],[1,0,0],[-1,-1,-1]],
        "faces0": [[0,1,2],[0,1,3],[0,2,3],[1,2,7]]}})") == "config.json: rays_json: rays: a face names vertex 7 (there are 4, counted from 0)");
  CHECK(refusal(R"({"name": "Rays_Explicit", "kwargs": {"vertices0": [[0,0,1],[0,1,0],[1,0,0],[-1,-1,-1]],
        "faces0": [[0,1,2],[0,1,3],[0,2,3],[1,2,3.5]]}})") == "config.json: rays_json: rays: a face names vertex -1 (there are 4, counted from 0)");
}

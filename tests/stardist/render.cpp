// SPDX-License-Identifier: BSD-3-Clause
// Drawing of polyhedra, meshes, relabelling: against the Python package, and against what must hold.

#include "voxgrad/stardist/render.hpp"

#include <algorithm>
#include <numeric>
#include <sstream>

#include "../catch.hpp"
#include "../message.hpp"
#include "../settings.hpp"
#include "suppression_cases.hpp"
#include "voxgrad/stardist/obj.hpp"
#include "voxgrad/stardist/relabel.hpp"

using namespace voxgrad;
using namespace voxgrad::stardist;
using test::message;

namespace {

/// Labels stored as pairs (label, voxels).
std::vector<int32_t> expand(const test::Npy& runs) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < runs.values.size(); i += 2) out.insert(out.end(), size_t(runs.values[i + 1]), int32_t(runs.values[i]));
  return out;
}

int64_t differences(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  REQUIRE(a.size() == b.size());
  int64_t n = 0;
  for (size_t i = 0; i < a.size(); ++i) n += a[i] != b[i];
  return n;
}

std::vector<int32_t> drawn(const Polyhedra& p, const data::Extent3& extent, const RenderOptions& options) {
  return render(p, extent, options).labels.voxels;
}

data::Extent3 extent_of(const io::H5File& file, const std::string& group) {
  const std::vector<int64_t> s = file.attribute<int64_t>(group, "shape");
  return {s[0], s[1], s[2]};
}

}  // namespace

TEST_CASE("render: the package's label images, fractional centres, every mode") {
  for (const std::string name : {"smooth", "rough"}) {
    test::NmsCase c = test::stored_case(name);
    c.c.scores.resize(6), c.c.points.resize(18), c.c.dist.resize(6 * 32);
    for (float& v : c.c.points) v += 0.25f;
    RenderOptions options;
    options.scores = c.c.scores;
    for (const std::string mode : {"full", "kernel", "hull", "bbox"}) {
      INFO(name << " " << mode);
      options.mode = render_mode(mode);
      CHECK(drawn(c.polyhedra(), {26, 26, 28}, options) == expand(test::suppression_golden(name + "_labels_" + mode)));
    }
    options.mode = RenderMode::full;
    options.overlap_label = -3;
    CHECK(drawn(c.polyhedra(), {26, 26, 28}, options) == expand(test::suppression_golden(name + "_labels_overlap")));
  }
}

TEST_CASE("render: label images of the shared set") {
  const std::string path = test::shared_golden("render.h5", "label images of the Python package");
  if (path.empty()) return;
  const io::H5File file(path);
  for (const std::string group : {"n32", "n96"}) {
    const std::string g = "/" + group;
    const test::NmsCase c = test::shared_case(file, g);
    const data::Extent3 extent = extent_of(file, g);
    const int64_t n = c.c.size();
    RenderOptions options;
    options.scores = c.c.scores;
    const auto compare = [&](const char* what) {
      INFO(group << " " << what);
      CHECK(differences(drawn(c.polyhedra(), extent, options), file.read<int32_t>(g + "/labels_" + what)) == 0);
    };
    for (const char* mode : {"full", "kernel", "hull", "bbox", "debug"}) {
      options.mode = render_mode(mode);
      compare(mode);
    }
    options.mode = RenderMode::full;
    options.overlap_label = -3;
    compare("full_overlap_neg3");
    options.overlap_label.reset();
    const std::vector<int32_t> labels = file.read<int32_t>(g + "/custom_labels");
    options.labels = labels;
    options.threshold = float(file.attribute<double>(g, "custom_thr")[0]);
    compare("full_custom_thr");
    std::vector<float> rising(static_cast<size_t>(n));
    std::iota(rising.begin(), rising.end(), 1.f);  // the package draws equal scores last index first
    options = {};
    options.scores = rising;
    compare("full_noprob");

    const std::vector<int32_t> alone = file.read<int32_t>(g + "/voxels_each_alone");
    const std::vector<float> volumes = file.read<float>(g + "/volume"), surfaces = file.read<float>(g + "/surface");
    const int64_t rays = c.rays.size();
    for (int64_t i = 0; i < n; ++i) {
      const Polyhedra one{&c.rays, std::span(c.c.dist).subspan(size_t(i * rays), size_t(rays)), std::span(c.c.points).subspan(size_t(3 * i), 3)};
      CHECK(render(one, extent).voxels[0] == alone[size_t(i)]);
      const std::vector<float> dist(one.dist.begin(), one.dist.end());
      CHECK(volume(c.rays, dist) == Approx(volumes[size_t(i)]).epsilon(1e-4));
      CHECK(surface(c.rays, dist) == Approx(surfaces[size_t(i)]).epsilon(1e-4));
    }
    test::NmsCase scaled{test::explicit_rays(file.read<float>(g + "/scaled/ray_vertices"), file.read<int32_t>(g + "/ray_faces")), c.c};
    scaled.c.points = file.read<float>(g + "/scaled/points");
    options.scores = c.c.scores;
    CHECK(differences(drawn(scaled.polyhedra(), extent_of(file, g + "/scaled"), options), file.read<int32_t>(g + "/scaled/labels_full")) == 0);
  }
  const test::NmsCase c = test::shared_case(file, "/n32");
  const std::vector<double> coords = file.read<double>("/n32/coords");
  const std::vector<float> ours = dist_to_coord(c.polyhedra());
  REQUIRE(ours.size() == coords.size());
  double worst = 0;
  for (size_t i = 0; i < ours.size(); ++i) worst = std::max(worst, std::abs(double(ours[i]) - coords[i]));
  CHECK(worst < 1e-5);

  const Polyhedra two{&c.rays, std::span(c.c.dist).first(64), std::span(c.c.points).first(6)};
  ObjOptions obj;
  for (const std::string name : {"/n32/obj_text_0", "/n32/obj_text_1"}) {
    const std::vector<uint8_t> want = file.read<uint8_t>(name);
    std::ostringstream out;
    write_obj(out, two, obj);
    CHECK(out.str() == std::string(want.begin(), want.end()));
    obj = {{2, .5, .25}, false, true, "nuc"};
  }
}

TEST_CASE("render: the same for any number of threads, and the label of a hidden object stays its own") {
  const test::Settings keep;
  const Rays rays = make_rays(GoldenSpiral{24, Vec3d{1.5, 1, 1}});
  test::NmsCase c = test::random_case(21, rays, 150, {3, 5, 5}, 0.2, 40);
  for (size_t r = 0; r < 24; ++r) c.c.dist[24 * 7 + r] = 2, c.c.dist[24 * 3 + r] = 9;
  for (size_t k = 0; k < 3; ++k) c.c.points[7 * 3 + k] = c.c.points[3 * 3 + k];  // polyhedron 7 inside polyhedron 3
  c.c.scores[3] = 2;
  RenderOptions options;
  options.scores = c.c.scores;
  set_threads(1);
  const Rendered one = render(c.polyhedra(), {45, 46, 47}, options);
  for (int n = 2; n <= 5; ++n) {
    set_threads(n);
    const Rendered other = render(c.polyhedra(), {45, 46, 47}, options);
    CHECK(other.labels.voxels == one.labels.voxels);
    CHECK(other.voxels == one.voxels);
  }
  CHECK(one.voxels[7] == 0);
  for (int32_t i = 0; i < 150; ++i)
    CHECK(std::count(one.labels.voxels.begin(), one.labels.voxels.end(), i + 1) == one.voxels[size_t(i)]);
  CHECK(one.voxels[3] > 2000);
}

TEST_CASE("render: degenerate, outside, at negative coordinates, nothing at all") {
  const Rays rays = make_rays(GoldenSpiral{32, {}});
  std::vector<float> dist(64, 3.f), points{5, 5, 5, -20, 5, 5};
  const Polyhedra p{&rays, dist, points};
  Rendered r = render(p, {10, 11, 12});
  CHECK(r.voxels[0] > 80);
  CHECK(r.voxels[1] == 0);
  CHECK(r.labels.extent == data::Extent3{10, 11, 12});
  points[3] = 500;
  CHECK(render(p, {10, 11, 12}).voxels[1] == 0);
  points = {0, 0, 0, 9, 10, 11};  // half outside
  r = render(p, {10, 11, 12});
  CHECK(r.voxels[0] > 8);
  CHECK(r.voxels[1] == r.voxels[0]);
  points = {300, 300, 300, 5, 5, 5};
  std::fill(dist.begin(), dist.begin() + 32, 1e-6f);  // all corners are the same float32
  for (const char* mode : {"full", "kernel", "hull", "bbox", "debug"}) {
    RenderOptions options;
    options.mode = render_mode(mode);
    CHECK(render(p, {310, 310, 310}, options).voxels[0] == 0);
  }
  r = render({&rays, {}, {}}, {3, 4, 5});
  CHECK(std::count(r.labels.voxels.begin(), r.labels.voxels.end(), 0) == 60);
  RenderOptions none;
  const std::vector<float> low{0.1f, 0.2f};
  none.scores = low;
  none.threshold = 0.5f;
  CHECK(render(p, {10, 10, 10}, none).voxels == std::vector<int64_t>{0, 0});
}

TEST_CASE("render: wrong arguments are named, work can be stopped") {
  const Rays rays = make_rays(GoldenSpiral{8, {}});
  std::vector<float> dist(16, 3.f), points(6, 5.f), scores(3, 1.f);
  const std::vector<int32_t> labels(1, 4);
  const Polyhedra p{&rays, dist, points};
  RenderOptions options;
  const auto say = [&] { return message<Error>([&] { render(p, {9, 9, 9}, options); }); };
  CHECK(message<UsageError>([] { render_mode("round"); }) == "render: mode 'round' (expected full, kernel, hull, bbox or debug)");
  CHECK(message<ShapeError>([&] { render(p, {9, 0, 9}); }) == "render: the image is 9 x 0 x 9 voxels");
  options.scores = scores;
  CHECK(say() == "render: 3 scores for 2 polyhedra");
  options.scores = {};
  options.labels = labels;
  CHECK(say() == "render: 1 labels for 2 polyhedra");
  options.labels = {};
  options.progress = [](int64_t, int64_t) { return false; };
  CHECK(say() == "render: stopped after 0 of 2 polyhedra");
  dist[2] = -1;
  CHECK(say().find("render: polyhedron 0, ray 2: distance -1") == 0);
  ObjOptions obj;
  obj.scale[1] = 0;
  dist[2] = 1;
  std::ostringstream out;
  CHECK(message<UsageError>([&] { write_obj(out, p, obj); }).find("obj: scale is 1, 0, 1") == 0);
}

TEST_CASE("relabel: a ball keeps its shape, objects keep their labels; the shared set") {
  data::Volume<int32_t> labels({21, 23, 25});
  for (int64_t z = 0; z < 21; ++z)
    for (int64_t y = 0; y < 23; ++y)
      for (int64_t x = 0; x < 25; ++x) {
        if ((z - 10) * (z - 10) + (y - 11) * (y - 11) + (x - 8) * (x - 8) <= 36) labels.at(z, y, x) = 70000;
        if (x >= 18 && x <= 22 && y >= 5 && y <= 9 && z >= 6 && z <= 10) labels.at(z, y, x) = 2;
      }
  const data::Volume<int32_t> again = relabel_image(LabelView(labels), make_rays(GoldenSpiral{96, {}}));
  for (const int32_t id : {2, 70000}) {
    int64_t both = 0, either = 0;
    for (size_t i = 0; i < labels.voxels.size(); ++i) {
      both += labels.voxels[i] == id && again.voxels[i] == id;
      either += labels.voxels[i] == id || again.voxels[i] == id;
    }
    INFO(id << ": " << both << " of " << either);
    CHECK(double(both) / double(either) > 0.7);
  }
  const std::string path = test::shared_golden("star_dist_edt.h5", "relabelled images of the Python package");
  if (path.empty()) return;
  const io::H5File file(path);
  int compared = 0;
  for (const std::string& group : file.children("/")) {
    const std::string g = "/" + group;
    if (!file.is_dataset(g + "/relabel_image")) continue;
    const std::vector<int64_t> shape = file.info(g + "/label").shape;
    data::Volume<int32_t> volume({shape[0], shape[1], shape[2]});
    volume.voxels = file.read<int32_t>(g + "/label");
    const Rays rays = test::explicit_rays(file.read<float>(g + "/ray_vertices"), file.read<int32_t>(g + "/ray_faces"));
    const std::vector<int32_t> want = file.read<int32_t>(g + "/relabel_image");
    const int64_t labelled = int64_t(want.size()) - std::count(want.begin(), want.end(), 0);
    INFO(group);
    CHECK(differences(relabel_image(LabelView(volume), rays).voxels, want) <= labelled / 100);
    ++compared;
  }
  CHECK(compared > 0);
}

// SPDX-License-Identifier: BSD-3-Clause
// Suppression: against the Python package, against a plain double loop, and against itself with other threads.

#include "voxgrad/stardist/nms.hpp"

#include <algorithm>
#include <numeric>

#include "../catch.hpp"
#include "../message.hpp"
#include "../settings.hpp"
#include "definitions.hpp"
#include "suppression_cases.hpp"

using namespace voxgrad;
using namespace voxgrad::stardist;
using test::message;

namespace {

std::vector<int64_t> integers(const test::Npy& npy) { return {npy.values.begin(), npy.values.end()}; }

/// The definition: every pair, every value in full, no tree and no early end.
std::vector<int64_t> plain_suppression(const std::vector<float>& scores, const Polyhedra& p, float t, const Vec3f& scale,
                                       bool use_bbox, bool corrected) {
  const Rays& rays = *p.rays;
  const std::vector<int32_t> order = descending(scores);
  std::vector<bool> dead(order.size(), false);
  const auto corners_of = [&](int64_t i) {
    std::vector<Vec3f> out;
    corners(rays, p.distances(i), p.centre(i), out);
    return out;
  };
  const auto relative = [&](int64_t i, const Vec3f& s) {
    std::vector<Vec3f> out;
    scaled_corners(rays, p.distances(i), s, out);
    return out;
  };
  const auto drops = [&](int64_t i, int64_t j) {
    const double m = double(std::min(polyhedron_volume(rays, relative(i, {1, 1, 1})),
                                     polyhedron_volume(rays, relative(j, {1, 1, 1})))) + 1e-10;
    const auto share = [&](double value) { return float(double(float(value)) / m); };
    const Box bi = bounding_box(rays, p.distances(i), p.centre(i)), bj = bounding_box(rays, p.distances(j), p.centre(j));
    const float upper = std::fmin(shared_spheres(outer_radius(relative(i, scale)), p.centre(i), outer_radius(relative(j, scale)),
                                                 p.centre(j), scale, corrected), shared_boxes(bi, bj));
    if (use_bbox && (double(upper) < 1e-10 || std::fmin(1.f, share(double(upper))) <= t)) return false;
    if (share(double(shared_spheres(inner_radius(rays, relative(i, scale)), p.centre(i), inner_radius(rays, relative(j, scale)),
                                    p.centre(j), scale, corrected))) > t)
      return true;
    Vec3d middle;
    for (size_t k = 0; k < 3; ++k) middle[k] = .5 * double(p.centre(i)[k] + p.centre(j)[k]);
    std::vector<HalfSpace> a, b;
    kernel_half_spaces(rays, corners_of(i), a);
    kernel_half_spaces(rays, corners_of(j), b);
    if (share(intersection_volume(a, b, middle).value_or(0)) > t) return true;
    a.clear(), b.clear();
    ConvexHull hull;
    const bool solid = hull_half_spaces(corners_of(i), p.centre(i), hull, a) && hull_half_spaces(corners_of(j), p.centre(j), hull, b);
    if (share(solid ? intersection_volume(a, b, middle).value_or(1e10) : 1e10) <= t) return false;
    int64_t count = 0;
    for (int32_t z = bi.lo[0]; z <= bi.hi[0]; ++z)
      for (int32_t y = bi.lo[1]; y <= bi.hi[1]; ++y)
        for (int32_t x = bi.lo[2]; x <= bi.hi[2]; ++x) {
          const Vec3f at{float(z), float(y), float(x)};
          count += inside_tetrahedra(rays, corners_of(i), p.centre(i), at) && inside_tetrahedra(rays, corners_of(j), p.centre(j), at);
        }
    return share(double(count)) > t;
  };
  std::vector<int64_t> kept;
  for (size_t i = 0; i < order.size(); ++i) {
    if (dead[i]) continue;
    kept.push_back(order[i]);
    for (size_t j = i + 1; j < order.size(); ++j)
      if (!dead[j]) dead[j] = drops(order[i], order[j]);
  }
  return kept;
}

std::vector<int64_t> sorted(std::vector<int64_t> v) {
  std::sort(v.begin(), v.end());
  return v;
}

NmsOptions at(float threshold) {
  NmsOptions options;
  options.threshold = threshold;
  return options;
}

}  // namespace

TEST_CASE("suppression: the package's survivors in its order") {
  for (const std::string name : {"smooth", "rough"}) {
    const test::NmsCase c = test::stored_case(name);
    for (const std::string t : {"0.1", "0.3", "0.5"}) {
      INFO(name << " " << t);
      CHECK(suppress(c.c.scores, c.polyhedra(), at(std::stof(t))).kept == integers(test::suppression_golden(name + "_kept_" + t)));
    }
  }
}

TEST_CASE("suppression: the same as the plain double loop, whatever the threads") {
  const test::Settings keep;
  const Rays rays = make_rays(GoldenSpiral{24, Vec3d{1.5, 1, 1}});
  int survivors = 0;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    const test::NmsCase c = test::random_case(seed, rays, 26, {2.0 + double(seed % 3), 5, 5}, seed % 2 ? 0.1 : 0.4, 13);
    for (const bool flag : {true, false}) {
      NmsOptions options = at(seed % 2 ? 0.3f : 0.1f);
      options.use_bbox = flag;
      options.corrected = !flag;
      set_threads(1);
      const NmsResult one = suppress(c.c.scores, c.polyhedra(), options);
      CHECK(one.kept == plain_suppression(c.c.scores, c.polyhedra(), options.threshold, one.scale, flag, !flag));
      survivors += int(one.kept.size());
    }
  }
  CHECK(survivors > 60);
  const test::NmsCase many = test::random_case(99, rays, 700, {3, 5, 5}, 0.2, 45);
  set_threads(1);
  const NmsResult one = suppress(many.c.scores, many.polyhedra(), at(0.3f));
  CHECK(one.kept.size() > 100);
  CHECK(one.counters.count > 50);
  for (int n = 2; n <= 7; ++n) {
    set_threads(n);
    const NmsResult other = suppress(many.c.scores, many.polyhedra(), at(0.3f));
    CHECK(other.kept == one.kept);
    CHECK(other.counters == one.counters);
    CHECK(other.scale == one.scale);
  }
  NmsOptions far = at(0.3f);
  far.far_pairs = true;
  CHECK(suppress(many.c.scores, many.polyhedra(), far).kept == one.kept);
}

TEST_CASE("suppression: one run at the lowest score threshold holds those at all higher ones") {
  const Rays rays = make_rays(GoldenSpiral{20, {}});
  const test::NmsCase c = test::random_case(4, rays, 150, {4, 4, 4}, 0.2, 22);
  NmsOptions options = at(0.3f);
  const NmsResult all = suppress(c.c.scores, c.polyhedra(), options);
  options.scale = all.scale;
  for (const float p : {-1.f, 0.2f, 0.5f, 0.9f, 1.f}) {
    test::NmsCase some{rays, {}};
    std::vector<int64_t> index;
    for (int64_t i = 0; i < c.c.size(); ++i) {
      if (!(c.c.scores[size_t(i)] > p)) continue;
      index.push_back(i);
      some.c.scores.push_back(c.c.scores[size_t(i)]);
      some.c.points.insert(some.c.points.end(), &c.c.points[size_t(3 * i)], &c.c.points[size_t(3 * i)] + 3);
      some.c.dist.insert(some.c.dist.end(), &c.c.dist[size_t(20 * i)], &c.c.dist[size_t(20 * i)] + 20);
    }
    std::vector<int64_t> kept;
    for (const int64_t k : suppress(some.c.scores, some.polyhedra(), options).kept) kept.push_back(index[size_t(k)]);
    CHECK(kept == std::vector<int64_t>(all.kept.begin(), all.kept.begin() + all.above(c.c.scores, p)));
  }
}

TEST_CASE("suppression: of equal scores the lower index wins and comes first") {
  const Rays rays = make_rays(GoldenSpiral{20, {}});
  test::NmsCase c = test::random_case(8, rays, 30, {4, 4, 4}, 0.1, 12);
  std::fill(c.c.scores.begin(), c.c.scores.end(), 1.f);
  const NmsResult r = suppress(c.c.scores, c.polyhedra(), at(0.2f));
  CHECK(r.kept[0] == 0);
  CHECK(std::is_sorted(r.kept.begin(), r.kept.end()));
  CHECK(r.kept.size() < 30);
  CHECK(suppress(c.c.scores, c.polyhedra(), at(1)).kept.size() == 30);
}

TEST_CASE("suppression: nothing, one, outliers, and stopping") {
  const Rays rays = make_rays(GoldenSpiral{20, {}});
  CHECK(suppress({}, {&rays, {}, {}}).kept.empty());
  test::NmsCase c = test::random_case(8, rays, 40, {4, 4, 4}, 0.1, 30);
  CHECK(suppress(std::span(c.c.scores).first(1), {&rays, std::span(c.c.dist).first(20), std::span(c.c.points).first(3)}).kept ==
        std::vector<int64_t>{0});
  for (size_t r = 0; r < 20; ++r) c.c.dist[r] = 60;  // one that holds all others
  c.c.scores[0] = 2;
  CHECK(suppress(c.c.scores, c.polyhedra(), at(0.3f)).kept == std::vector<int64_t>{0});
  test::NmsCase tiny = c;  // boxes without extent: nothing is ever dropped, and the mean stretch is no number
  std::fill(tiny.c.dist.begin(), tiny.c.dist.end(), 0.3f);
  CHECK(suppress(tiny.c.scores, tiny.polyhedra(), at(0)).kept.size() == 40);
  int64_t calls = 0;
  NmsOptions options = at(0.3f);
  options.progress = [&](int64_t done, int64_t of) {
    CHECK((done >= 0 && done <= of && of == 40));
    return ++calls < 3;
  };
  c.c.scores[0] = -1;
  CHECK(message<Interrupted>([&] { suppress(c.c.scores, c.polyhedra(), options); }).find("suppression: stopped after ") == 0);
  CHECK(calls == 3);
}

TEST_CASE("suppression: polyhedra too large for a mask are counted piece by piece") {
  const Rays rays = make_rays(GoldenSpiral{20, {}}), needles = scaled(rays, {1, 1, 20});
  Candidates c{{2, 1}, {20, 20, 300, 23, 19, 290}, {}};
  for (size_t r = 0; r < 40; ++r) c.dist.push_back(r % 3 == 0 ? 10.f : 15.f);
  const Polyhedra p = c.polyhedra(needles);
  PairScratch s;
  std::vector<Vec3f> a, b;
  corners(needles, p.distances(0), p.centre(0), a);
  corners(needles, p.distances(1), p.centre(1), b);
  const Box box = bounding_box(needles, p.distances(0), p.centre(0));
  int64_t tiles = 0, pieces = 0;
  for_each_tile(box, [&](const Box& tile) {
    ++tiles;
    pieces += count_shared(polyhedron_mask(needles, a, p.centre(0), tile), needles, b, p.centre(1), s.seen);
    return true;
  });
  CHECK(tiles >= 2);
  CHECK(pieces > 10000);
  CHECK(pieces == count_shared(polyhedron_mask(needles, a, p.centre(0), box), needles, b, p.centre(1), s.seen));

  c.points = {300, 300, 300, 316, 300, 300};  // a huge spiky one and a small one that it holds
  for (size_t r = 0; r < 40; ++r) c.dist[r] = r >= 20 ? 6.f : r % 3 == 0 ? 6.f : 200.f;
  const Polyhedra q = c.polyhedra(rays);
  REQUIRE(bounding_box(rays, q.distances(0), q.centre(0)).voxels() > 1 << 24);
  const NmsResult r = suppress(c.scores, q, at(0.5f));
  CHECK(r.kept.size() == 1);
  CHECK(r.counters.dropped_count == 1);
}

TEST_CASE("suppression: wrong arguments are named") {
  const Rays rays = make_rays(GoldenSpiral{20, {}});
  test::NmsCase c = test::random_case(8, rays, 3, {4, 4, 4}, 0.1, 12);
  const auto say = [&](const NmsOptions& options) { return message<Error>([&] { suppress(c.c.scores, c.polyhedra(), options); }); };
  CHECK(say(at(-0.1f)) == "suppression: threshold is -0.1 (expected 0 or more; 1 and above keep everything)");
  CHECK(say(at(std::nanf(""))).find("suppression: threshold is nan") == 0);
  NmsOptions flat;
  flat.scale = Vec3f{1, 0, 1};
  CHECK(say(flat) == "suppression: scale has an entry 0 (expected above 0)");
  c.c.scores[1] = std::nanf("");
  CHECK(say({}) == "suppression: the score of candidate 1 is not a number");
  c.c.scores.pop_back();
  CHECK(say({}) == "suppression: 2 scores for 3 polyhedra");
}

TEST_CASE("candidates: strictly above the threshold, off the border, in voxels of the image") {
  const test::NmsCase c = test::stored_case("smooth");
  const test::Npy map = test::suppression_golden("dense_prob");
  const std::vector<float> prob = test::floats(map), dist = test::floats(test::suppression_golden("dense_dist"));
  CandidateRule rule;
  rule.prob_thresh = 0.6f;
  rule.grid = {1, 2, 2};
  const std::array<int64_t, 3> shape{map.shape[0], map.shape[1], map.shape[2]};
  const Candidates found = find_candidates(prob, dist, shape, 32, rule);
  const NmsResult r = suppress(found.scores, found.polyhedra(c.rays), at(0.3f));
  std::vector<float> points, scores;
  for (const int64_t i : r.kept) {
    scores.push_back(found.scores[size_t(i)]);
    points.insert(points.end(), &found.points[size_t(3 * i)], &found.points[size_t(3 * i)] + 3);
  }
  CHECK(points == test::floats(test::suppression_golden("dense_points")));
  CHECK(scores == test::floats(test::suppression_golden("dense_scores")));

  rule.border = border(0);
  rule.prob_thresh = *std::max_element(prob.begin(), prob.end());
  CHECK(find_candidates(prob, dist, shape, 32, rule).size() == 0);
  rule.prob_thresh = 0;
  CHECK(find_candidates(prob, dist, shape, 32, rule).size() == int64_t(prob.size()) - 1);  // one score is 0
  rule.border = {{{1, 2}, {3, 0}, {0, 4}}};
  CHECK(find_candidates(prob, dist, shape, 32, rule).size() <= (shape[0] - 3) * (shape[1] - 3) * (shape[2] - 4));
  CHECK(find_candidates(prob, dist, shape, 32, rule).points[1] >= 6);
  rule.border = border(4);
  CHECK(find_candidates(prob, dist, shape, 32, rule).size() == 0);
  rule.prob_thresh = 1.5f;
  CHECK(message<UsageError>([&] { find_candidates(prob, dist, shape, 32, rule); }) ==
        "candidates: prob_thresh is 1.5 (expected 0 to 1)");
  rule.prob_thresh = 0.5f;
  CHECK(message<ShapeError>([&] { find_candidates(prob, dist, shape, 31, rule); }).find("candidates: maps of ") == 0);
  rule.border = border(0);
  rule.prob_thresh = 0;
  std::vector<float> broken = dist;
  broken[broken.size() / 2] = std::nanf("");
  CHECK(message<Error>([&] { find_candidates(prob, broken, shape, 32, rule); }).find("a distance of the candidate at z ") == 0);
}

TEST_CASE("suppression: all survivors and stage counters of the shared set") {
  const std::string path = test::shared_golden("nms.h5", "survivors of the Python package");
  if (path.empty()) return;
  const io::H5File file(path);
  for (const std::string& group : file.children("/")) {
    const std::string g = "/" + group;
    if (!file.is_dataset(g + "/thresholds")) continue;
    const test::NmsCase c = test::shared_case(file, g);
    const std::vector<double> thresholds = file.read<double>(g + "/thresholds");
    for (size_t k = 0; k < thresholds.size(); ++k) {
      INFO(group << " " << thresholds[k]);
      NmsOptions options = at(float(thresholds[k]));
      options.far_pairs = true;
      const NmsResult r = suppress(c.c.scores, c.polyhedra(), options);
      const std::vector<int32_t> kept = file.read<int32_t>(g + "/survivors_" + std::to_string(k));
      const std::vector<int32_t> want = file.read<int32_t>(g + "/counters_" + std::to_string(k));
      const NmsCounters& n = r.counters;
      CHECK(std::vector<int64_t>{n.apart, n.inner, n.kernel, n.hull, n.count, n.kept_apart, n.kept_hull, n.dropped_inner,
                                 n.dropped_kernel, n.dropped_count} == std::vector<int64_t>(want.begin(), want.end()));
      if (group == "ties_n20") CHECK(sorted(r.kept) == sorted({kept.begin(), kept.end()}));  // the package lists ties backwards
      else CHECK(r.kept == std::vector<int64_t>(kept.begin(), kept.end()));
      options.far_pairs = false;
      CHECK(suppress(c.c.scores, c.polyhedra(), options).kept == r.kept);
      options.corrected = true;
      if (group == "containment_quirk_n96")
        CHECK(suppress(c.c.scores, c.polyhedra(), options).kept.size() == (thresholds[k] < 0.639 ? 1u : 2u));
      for (const bool use_bbox : {false, true}) {
        const std::string mask = g + "/keep_mask_" + std::to_string(k) + "_use_bbox" + (use_bbox ? "1" : "0");
        if (!file.is_dataset(mask)) continue;
        options.corrected = false;
        options.use_bbox = use_bbox;
        std::vector<uint8_t> keep(c.c.scores.size(), 0);
        for (const int64_t i : suppress(c.c.scores, c.polyhedra(), options).kept) keep[size_t(i)] = 1;
        CHECK(keep == file.read<uint8_t>(mask));
      }
    }
  }
  const Rays rays = test::explicit_rays(file.read<float>("/dense_n32/ray_vertices"), file.read<int32_t>("/dense_n32/ray_faces"));
  CandidateRule rule;
  rule.prob_thresh = float(file.attribute<double>("/dense_n32", "prob_thresh")[0]);
  rule.grid = {1, 2, 2};
  const Candidates found = find_candidates(file.read<float>("/dense_n32/prob_map"), file.read<float>("/dense_n32/dist_map"),
                                           {16, 18, 18}, 32, rule);
  const NmsResult r = suppress(found.scores, found.polyhedra(rays), at(float(file.attribute<double>("/dense_n32", "nms_thresh")[0])));
  const std::vector<float> points = file.read<float>("/dense_n32/points");
  REQUIRE(r.kept.size() * 3 == points.size());
  for (size_t k = 0; k < points.size(); ++k) CHECK(found.points[size_t(3 * r.kept[k / 3]) + k % 3] == points[k]);
}

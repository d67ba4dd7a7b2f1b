// SPDX-License-Identifier: BSD-3-Clause
// Charts and HTML reports of model, result and evaluation folders.

#include "common/report.hpp"

#include <algorithm>
#include <filesystem>

#include "catch.hpp"
#include "common/files.hpp"
#include "common/model_folder.hpp"
#include "common/png.hpp"
#include "common/report_page.hpp"
#include "common/stardist_config.hpp"
#include "run_command.hpp"
#include "scratch.hpp"
#include "throws.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using chart::Mark;
using chart::Panel;
using chart::Series;

namespace {

bool contains(const std::string& all, const std::string& part) { return all.find(part) != std::string::npos; }

int64_t count(const std::string& all, const std::string& part) {
  int64_t n = 0;
  for (std::size_t at = all.find(part); at != std::string::npos; at = all.find(part, at + 1)) ++n;
  return n;
}

/// Every tag of a page or picture is closed, in order; fails naming the one that is not.
void check_nesting(const std::string& page) {
  std::vector<std::string> open;
  for (std::size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const std::size_t end = page.find('>', at);
    REQUIRE(end != std::string::npos);
    const std::string tag = page.substr(at + 1, end - at - 1), name = tag.substr(0, tag.find_first_of(" />", 1));
    if (tag.front() == '!' || tag.back() == '/' || name == "meta" || name == "img") continue;
    if (tag.front() == '/') {
      REQUIRE(!open.empty());
      CHECK("/" + open.back() == tag);
      open.pop_back();
    } else {
      open.push_back(name);
    }
  }
  CHECK(open.empty());
}

/// A model folder as train leaves it: 40 of 50 steps, validated three times.
std::string model_folder(const Scratch& scratch) {
  const std::string folder = scratch.file("my <model>");
  make_folders(folder);
  write_file(folder + "/config.yaml", "dataset: /data/cells & more.h5\ntraining_config:\n  num_steps: 50\n  batch_size: 4\n");
  std::string train = "step,loss\n";
  for (int i = 0; i < 40; ++i) train += text(i, ",", 0.5 / (1 + i), "\n");
  write_file(folder + "/train.csv", train);
  write_file(folder + "/valid.csv", "step,loss,min-loss,max-loss,std-loss\n9,0.2,0.1,0.3,0.05\n19,0.05,0.02,0.1,0.02\n29,0.07,0.02,0.1,0.02\n");
  write_file(folder + "/train.log",
             "2026-11-01T10:00:00  voxgrad train data.h5 --steps 50\n2026-11-01T10:00:00  voxgrad 0.1.0 on Linux, 2 CPUs\n"
             "2026-11-01T10:00:00  device cpu, 2 threads\n2026-11-01T10:00:01  train  1/50 steps  loss 0.5\n"
             "2026-11-02T08:00:00  voxgrad train data.h5 --resume auto\n2026-11-02T08:00:00  voxgrad 0.1.0 on Linux, 2 CPUs\n"
             "2026-11-02T08:00:00  device cpu, 2 threads\n2026-11-02T09:30:00  train  40/50 steps  loss 0.0125\n");
  ModelFolder(folder).save_thresholds({0.25, 0.625, "best F1", "data.h5", "2026-11-02"});
  make_folders(folder + "/quality");
  write_file(folder + "/quality/detection-thresholds.csv",
             "movie,threshold,predicted,tp,fp,fn,f1\n1,0.5,3,1,2,0,0.5\n1,0.625,1,1,0,0,1\n2,0.5,3,1,2,0,0.25\n2,0.625,1,1,0,0,0.75\n");
  return folder;
}

}  // namespace

TEST_CASE("chart: one path per line, broken where a value is missing; axes, band, mark and legend") {
  Panel p{"loss <1>", "step", {{"a & b", {1, 2, NAN, 4, 3}}, {"points", {1, 2}, {1, 5}, Mark::points}}};
  p.series[0].low = {0.5, 1, 1, 1, 1};
  p.series[0].high = {2, 3, 3, 5, 5};
  p.marked_x = 2;
  p.marked = "here";
  const std::string svg = chart::svg({p});
  check_nesting(svg);
  CHECK(contains(svg, "loss &lt;1&gt;"));
  CHECK(contains(svg, "a &amp; b"));
  CHECK(contains(svg, ">here</text>"));
  CHECK(count(svg, "<circle") == 3);  // two points and one in the legend
  const std::size_t line = svg.find("stroke-linejoin");
  const std::string path = svg.substr(svg.rfind("<path", line), line - svg.rfind("<path", line));
  CHECK(count(path, "M") == 2);
  CHECK(count(path, "L") == 2);
  CHECK(contains(svg, "fill-opacity='0.2'"));
}

TEST_CASE("chart: values stand where the axes say, also on logarithmic and square ones") {
  const auto ends = [](const Panel& p) {
    const chart::detail::Frame f = chart::detail::frame_of(p, 0);
    return f;
  };
  const chart::detail::Frame linear = ends({"", "", {{"", {0, 10}, {0, 100}}}});
  CHECK(linear.px(0) == Approx(linear.x0));
  CHECK(linear.px(100) == Approx(linear.x1));
  CHECK(linear.py(5) == Approx((linear.y0 + linear.y1) / 2));
  Panel p{"", "", {{"", {0.001, 0, -3, 10}}}};
  p.log_y = true;
  const chart::detail::Frame log = ends(p);
  CHECK(log.py(0.1) == Approx((log.y0 + log.y1) / 2));
  CHECK(count(chart::svg({p}), ">0.1</text>") == 1);
  Panel map{"", "", {{"", {0, 10}, {0, 100}}}};
  map.square = map.y_down = true;
  const chart::detail::Frame square = ends(map);
  CHECK(square.px(10) - square.px(0) == Approx(square.py(10) - square.py(0)));
  CHECK(square.py(10) > square.py(0));
}

TEST_CASE("chart: nothing to draw is an error, one value is not") {
  CHECK(message_of<UsageError>([] { chart::svg({{"empty", "x", {{"a", {NAN, INFINITY}}}}}); }) == "chart 'empty': no finite value to draw");
  CHECK_FALSE(chart::drawable({"", "", {{"a", {NAN}}, {"b", {}}}}));
  CHECK(chart::drawable({"", "", {{"a", {NAN, 1}}}}));
  check_nesting(chart::svg({{"one", "x", {{"a", {3}}}}}));
}

TEST_CASE("report: thinning keeps means, a histogram every value") {
  std::vector<double> x(1001), y(1001, NAN);
  for (std::size_t i = 0; i < 1001; ++i) x[i] = double(i), y[i] = 2 * double(i);
  y[0] = NAN;
  const Series s = thinned("a", x, y, 100);
  REQUIRE(s.y.size() == 91);
  for (std::size_t i = 0; i < s.y.size(); ++i) CHECK(s.y[i] == Approx(2 * s.x[i]));
  CHECK(thinned("a", {1, 2}, {3, 4}).x == std::vector<double>{1, 2});

  const Series h = histogram("", {0, 0.1, 5, 9.99, 10, NAN});
  CHECK(h.x.size() == h.y.size() + 1);
  CHECK(h.x.front() <= 0);
  CHECK(h.x.back() > 9.99);
  double all = 0;
  for (const double v : h.y) all += v;
  CHECK(all == 5);
  CHECK(histogram("", {7, 7}).y == std::vector<double>{2});
  CHECK(histogram("", {}).y.empty());
}

TEST_CASE("report: base64 (RFC 4648)") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64("\xff\xfe\xfd") == "//79");
}

TEST_CASE("report of a model: methods, runs, curves with the best step, thresholds, configuration, files") {
  const Scratch scratch;
  const std::string folder = model_folder(scratch), page = report_html(folder);
  check_nesting(page);
  CHECK(contains(page, "<title>Model my &lt;model&gt;</title>"));
  CHECK(contains(page, "cells &amp; more.h5"));
  CHECK(contains(page, "Batches of 4 crops of 32^3 voxels"));
  CHECK(contains(page, "Adam (learning rate 0.0002"));
  CHECK(contains(page, "for 50 steps (seed 42)"));
  CHECK(contains(page, "above 0.25 are segmented"));
  CHECK(contains(page, "40 of 50 steps are done"));
  CHECK(contains(page, "voxgrad train data.h5 --resume auto"));
  CHECK(contains(page, "2026-11-02T09:30:00"));
  CHECK(count(page, "<svg") == 2);  // losses, detection thresholds
  CHECK(contains(page, "detection on validation movies"));
  CHECK(contains(page, "num_steps: 50"));
  CHECK(contains(page, "<td>valid.csv</td>"));
  CHECK(count(page, "<script") + count(page, "http://www.w3.org") == 2);  // no scripts, no links but the name space of SVG

  const std::vector<Panel> losses = loss_panels(folder);
  REQUIRE(losses.size() == 2);
  CHECK(losses[0].marked_x == 19);
  CHECK(losses[1].log_y);
  CHECK(losses[0].series[1].high[1] == Approx(0.07));
  write_progress(folder);
  check_nesting(read_file(folder + "/progress.svg"));
}

TEST_CASE("report of a model that was not trained yet: no curves, no error") {
  const Scratch scratch;
  const std::string folder = scratch.file("new");
  make_folders(folder);
  write_file(folder + "/config.yaml", "dataset: d.h5\n");
  const std::string page = report_html(folder);
  check_nesting(page);
  CHECK(count(page, "<svg") == 0);
  write_progress(folder);
  CHECK_FALSE(std::filesystem::exists(folder + "/progress.svg"));
}

TEST_CASE("report of a StarDist model: its methods, and how far a training is that goes on") {
  const Scratch scratch;
  const std::string folder = scratch.file("nuclei");
  make_folders(folder);
  StarDistConfig config;
  config.train_epochs = 3, config.train_steps_per_epoch = 10;
  write_file(folder + "/config.json", stardist_config_json(config));
  const auto report = [&](int steps) {
    std::string train = "step,loss,prob_loss,dist_loss\n";
    for (int i = 0; i < steps; ++i) train += text(i, ",", 1.0 / (1 + i), ",0.5,2\n");
    write_file(folder + "/train.csv", train);
    const std::string page = report_html(folder);
    check_nesting(page);
    CHECK(contains(page, "A StarDist-3D network (96 rays"));
    CHECK(contains(page, "at most 3 epochs of 10 steps"));
    CHECK(contains(page, "WACV (2020)"));
    CHECK(contains(page, "parts of the training loss"));
    return page;
  };
  CHECK(contains(report(20), "20 of 30 steps are done"));
  CHECK_FALSE(contains(report(30), "steps are done"));
}

TEST_CASE("report of results: movies, distributions over all events, previews as many as fit") {
  const Scratch scratch;
  const std::string folder = scratch.file("results");
  make_folders(folder + "/deep");
  write_file(folder + "/summary.csv", "movie,events,threshold\n/data/a.tif,2,0.594999988\n/data/b.tif,1,0.594999988\n");
  write_file(folder + "/a_events.csv", "index,area,duration,solidity\n0,15,3,\n1,30,4,0.75\n");
  write_file(folder + "/deep/b_events.csv", "index,area,duration,solidity\n0,99,9,0.5\n");
  for (int i = 0; i < 8; ++i) write_png(folder + "/m" + std::to_string(i) + "_preview.png", 2, 2, std::vector<uint8_t>(12, 99));
  const std::string page = report_html(folder);
  check_nesting(page);
  CHECK(contains(page, "<td>a.tif</td>"));
  CHECK(contains(page, "<td class='n'>0.595</td>"));
  CHECK(contains(page, "3 events of all movies"));
  CHECK(count(page, "<img") == 6);
  CHECK(contains(page, "2 more previews"));
  CHECK(contains(page, ">solidity</text>"));
  CHECK_FALSE(contains(page, ">dff_max</text>"));
}

TEST_CASE("report of an evaluation: totals, movies, a map of hits, misses and false alarms of the best, middle and worst movie") {
  const Scratch scratch;
  const std::string folder = scratch.file("evaluation");
  make_folders(folder);
  write_file(folder + "/metrics.csv", "movie,det-f1-score,tp\na,0.5,1\nb,1,2\nc,0.25,1\nd,0.75,1\ne,,0\nmean,0.625,\n");
  write_file(folder + "/metrics.json", R"({"settings": {"matcher": "hungarian", "threshold": null}, "movies": [], "mean": {"det-f1-score": 0.625}, "total": {"tp": 5}})");
  write_file(folder + "/matches.csv",
             "movie,kind,label,t,y,x,truth-t,truth-y,truth-x,distance\nb,hit,1,1,2,3,1,2,4,1\nb,missed,,,,,9,20,30,\nb,false,2,5,6,7,,,,\n"
             "c,hit,1,1,2,3,1,2,4,1\nd,hit,1,1,2,3,1,2,4,1\na,hit,1,1,2,3,1,2,4,1\n");
  const std::string page = report_html(folder);
  check_nesting(page);
  CHECK(contains(page, "<td>det-f1-score</td><td class='n'>0.625</td>"));
  CHECK(contains(page, "<td>hungarian</td>"));
  CHECK(page.find("b: all frames") < page.find("a: all frames"));  // best 1, then 0.5 of four, then 0.25; no movie is called mean
  CHECK(page.find("a: all frames") < page.find("c: all frames"));
  CHECK_FALSE(contains(page, "d: all frames"));
  const std::size_t map = page.find("b: all frames");
  CHECK(count(page.substr(page.rfind("<svg", map), map - page.rfind("<svg", map)), "<circle") == 6);  // one of each, and the legend
  write_file(folder + "/metrics.json", "{");
  CHECK(contains(message_of<FileError>([&] { report_html(folder); }), "metrics.json: is not the JSON text that evaluate writes"));
}

TEST_CASE("voxgrad report: writes into the folder or where asked; says what a folder lacks") {
  const Scratch scratch;
  const std::string folder = model_folder(scratch), empty = scratch.file("empty");
  make_folders(empty);
  CHECK(test::run_command(make_report(), {folder}).out == folder + "/report.html\n");
  CHECK(contains(read_file(folder + "/report.html"), "</html>"));
  const std::string page = scratch.file("page.html");
  test::run_command(make_report(), {folder, "--out", page});
  CHECK(std::filesystem::exists(page));
  CHECK(contains(message_of<FileError>([&] { test::run_command(make_report(), {folder, "--out", page}); }), "exists already"));
  CHECK_THROWS_AS(test::run_command(make_report(), {folder, folder, "--out", page}), UsageError);
  CHECK_THROWS_AS(test::run_command(make_report(), {}), UsageError);
  CHECK(contains(message_of<FileError>([&] { test::run_command(make_report(), {empty}); }), "holds nothing that a report is made of"));
  CHECK(contains(message_of<FileError>([&] { test::run_command(make_report(), {empty + "/none"}); }), "is no folder"));
}

// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/metrics/dff.hpp"

#include "catch.hpp"
#include "draws.hpp"

using namespace voxgrad;
using metrics::EventTraces;
using metrics_test::message_of;

TEST_CASE("dF/F: the published baseline under a constant window (trace of conformance vector 12.3)") {
  const std::vector<double> y{5, 5.2, 5.1, 5.3, 9, 12, 8, 5.6, 5.4, 5.7, 5.5, 5.9, 6, 5.8, 6.1};
  EventTraces traces({{5, 1, 1}}, 4, 4);
  for (const double v : y) traces.add_frame(std::vector<double>(16, v).data());
  REQUIRE(traces.traces().size() == 1);
  for (size_t t = 0; t < y.size(); ++t) CHECK(traces.traces()[0][t] == Approx(y[t]).epsilon(1e-12));
  const auto dff = metrics::delta_f_over_f(traces.traces()[0]);
  CHECK(dff[0] == Approx((5 - 5.0309501) / 5.0309501).epsilon(1e-5));
  CHECK(dff[7] == Approx((5.6 - 5.5148386) / 5.5148386).epsilon(1e-5));
  CHECK(dff[14] == Approx((6.1 - 5.9987386) / 5.9987386).epsilon(1e-5));
  CHECK(metrics::dff_at(dff, {5.4, 0, 0}) == dff[5]);
  CHECK(metrics::dff_at(dff, {5.5, 0, 0}) == dff[6]);  // halves to even
  CHECK(metrics::dff_at(dff, {4.5, 0, 0}) == dff[4]);
  CHECK(std::isnan(metrics::dff_at(dff, {15, 0, 0})));
  CHECK(std::isnan(metrics::dff_at(dff, {-1, 0, 0})));
  CHECK(metrics::dff_max(dff, {{3, 0, 0}, {7, 1, 1}}) == dff[5]);
  CHECK(metrics::dff_max(dff, {{7, 0, 0}, {8, 1, 1}}) == dff[7]);
}

TEST_CASE("dF/F: windows are 5x5, centred by rounding to even, cut at the borders") {
  std::vector<float> frame(8 * 9);
  for (size_t i = 0; i < frame.size(); ++i) frame[i] = float(i / 9 * 100 + i % 9);  // 100 y + x
  EventTraces t({{0, 4, 4}, {0, 0, 0}, {0, 7, 8}, {0, 2.5, 3.5}, {0, -1.2, 4}}, 8, 9);
  t.add_frame(frame.data());
  CHECK(t.traces()[0][0] == 404);
  CHECK(t.traces()[1][0] == 101);  // rows 0-2, columns 0-2
  CHECK(t.traces()[2][0] == 607);  // rows 5-7, columns 6-8
  CHECK(t.traces()[3][0] == 204);  // centre (2, 4)
  CHECK(t.traces()[4][0] == 54);   // centre row -1: rows 0-1
  CHECK(message_of([] {
          EventTraces({{0, 12, 4}}, 8, 9);
        }) == "dF/F: no pixel around (y 12, x 4) in frames of 8x9");
}

TEST_CASE("dF/F: undefined over a baseline of zero or less, and in the bins of the published histogram") {
  const auto dff = metrics::delta_f_over_f(std::vector<double>(10, -3.0));
  for (const double v : dff) CHECK(std::isnan(v));
  CHECK(std::isnan(metrics::dff_max(dff, {{0, 0, 0}, {10, 1, 1}})));
  CHECK(metrics::dff_bin(0) == 0);
  CHECK(metrics::dff_bin(0.499) == 0);
  CHECK(metrics::dff_bin(0.5) == 1);
  CHECK(metrics::dff_bin(6.5) == 12);
  CHECK(metrics::dff_bin(6.51) == -1);
  CHECK(metrics::dff_bin(-0.01) == -1);
  CHECK(metrics::dff_bin(metrics::undefined) == -1);
}

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Golden tables of risks: one runner for ours (tests/golden/pu) and for the shared ones, which have the same form.

#include <string>

#include "json.hpp"

namespace voxgrad::test {

/// Checks every table that the file has: surrogates, risks, dense, optimizer_step, procedural. Call it inside a TEST_CASE.
void check_risk_tables(const Json& tables);

/// Checks the tables of prior estimators and of metrics.
void check_prior_table(const Json& priors);
void check_metric_tables(const Json& metrics);

/// The shared tables' path, or "" (and a printed line) when this machine has none. VOXGRAD_SHARED overrides their place.
std::string shared_tables(const char* what);

}  // namespace voxgrad::test

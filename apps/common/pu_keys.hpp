// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Which keys of training_config.pu a loss reads, so that none is set in vain and in silence.

#include <string>

#include "config.hpp"

namespace voxgrad::app {

/// Whether a loss reads training_config.pu.<key>. Of a risk that a program has registered itself: yes, it gets them all.
bool reads_pu_key(const std::string& loss, const std::string& key);

/// Warns of every key of training_config.pu that was set, differs from its default and has no effect on the training: the loss does not read it, or only together
/// with another key that is not set. Errors: UsageError where it was set by an option of its own (--prior, --prior-prime, --surrogate), whatever
/// its value, and, if strict, for all.
void tell_idle_pu_keys(const Config& config, const std::string& loss, bool strict, Session& session);

}  // namespace voxgrad::app

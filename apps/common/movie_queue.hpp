// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The movies of one `predict`, whatever the network: which they are, where their files go, one after the other.

#include <functional>
#include <string>
#include <vector>

#include "files.hpp"
#include "movie_outputs.hpp"
#include "session.hpp"

namespace voxgrad::app {

/// The TIFF files of a command's inputs, or with --sequence its folders of frames. Errors: UsageError when there are none,
/// when `out` lies in one of them, and when two would be written under the same name; FileError as expand_inputs().
std::vector<Input> movies_to_predict(const Arguments& arguments, const std::string& out);

/// Calls predict(movie, stem, table) for every movie that has no event table yet, or with --overwrite for all; files are to be
/// named stem + "_...", which keeps the structure below the input folder. An Error of one movie among several is noted and the
/// rest goes on. Then writes the table, calls `report` and returns the exit code.
int predict_each(const std::vector<Input>& movies, const std::string& out, const Arguments& arguments, Session& session,
                 const std::function<void(const Input& movie, const std::string& stem, SummaryTable& table)>& predict,
                 const std::function<void()>& report);

}  // namespace voxgrad::app

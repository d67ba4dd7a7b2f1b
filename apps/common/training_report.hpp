// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a training shows of itself to people: a picture of the losses while it runs, a report before and after.

#include <string>
#include <utility>

namespace voxgrad::app {

class Session;

/// Keeps progress.svg of a training up to date, at most once a minute.
class ProgressPicture {
 public:
  explicit ProgressPicture(std::string folder) : folder_(std::move(folder)) {}
  void update();

 private:
  std::string folder_;
  double next_ = 0;  // on the wall clock
};

/// Writes a model's report before a training and, however that ends, after it. A report that cannot be written is a warning.
class TrainingReport {
 public:
  TrainingReport(std::string folder, Session& session);
  ~TrainingReport();
  TrainingReport(const TrainingReport&) = delete;
  TrainingReport& operator=(const TrainingReport&) = delete;

 private:
  void write() noexcept;
  std::string folder_;
  Session& session_;
};

}  // namespace voxgrad::app

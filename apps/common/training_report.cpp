// SPDX-License-Identifier: BSD-3-Clause
#include "training_report.hpp"

#include "clocks.hpp"
#include "report.hpp"
#include "session.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

void ProgressPicture::update() {
  const double now = wall_seconds();
  if (now < next_) return;
  next_ = now + 60;
  try {
    write_progress(folder_);
  } catch (const Error&) {  // the training matters more; what is wrong is said with the report at its end
  }
}

TrainingReport::TrainingReport(std::string folder, Session& session) : folder_(std::move(folder)), session_(session) { write(); }
TrainingReport::~TrainingReport() { write(); }

void TrainingReport::write() noexcept {
  try {
    write_progress(folder_);
    write_report(folder_);
  } catch (const std::exception& e) {
    try {
      session_.warn(text("no report: ", e.what()));
    } catch (...) {  // the training matters more
    }
  }
}

}  // namespace voxgrad::app

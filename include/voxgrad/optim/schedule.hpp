// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Learning-rate schedules: the rate as a function of the step, or of the validation loss.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace voxgrad::optim {

/// rate * factor^(step / every).
struct StepSchedule {
  double rate, factor;
  int64_t every;
  double at(int64_t step) const { return rate * std::pow(factor, double(step / every)); }
};

/// From rate down to floor along half a cosine over `steps`, after a linear warm-up (Loshchilov & Hutter 2017).
struct CosineSchedule {
  double rate, floor = 0;
  int64_t steps, warmup = 0;
  double at(int64_t step) const {
    if (step < warmup) return rate * double(step + 1) / double(warmup);
    const double span = double(steps > warmup ? steps - warmup : 1);
    const double t = std::min(1.0, double(step - warmup) / span);
    return floor + (rate - floor) * 0.5 * (1 + std::cos(3.141592653589793 * t));
  }
};

/// Multiplies the rate by `factor` when the watched loss has not fallen by more than `min_delta` for `patience`
/// reports in a row, never below `floor`; Keras' ReduceLROnPlateau in "min" mode without cooldown.
class PlateauSchedule {
 public:
  PlateauSchedule(double rate, double factor, int64_t patience, double min_delta = 0, double floor = 0)
      : rate_(rate), factor_(factor), patience_(patience), min_delta_(min_delta), floor_(floor) {}

  /// Takes a validation loss, returns the rate to go on with.
  double report(double loss) {
    if (loss < best_ - min_delta_) {
      best_ = loss;
      waited_ = 0;
    } else if (++waited_ >= patience_) {
      if (rate_ > floor_) rate_ = std::max(rate_ * factor_, floor_);
      waited_ = 0;
    }
    return rate_;
  }

  double rate() const { return rate_; }
  double best() const { return best_; }
  int64_t waited() const { return waited_; }
  /// Continues from saved values.
  void restore(double rate, double best, int64_t waited) {
    rate_ = rate;
    best_ = best;
    waited_ = waited;
  }

 private:
  double rate_, factor_;
  int64_t patience_;
  double min_delta_, floor_;
  double best_ = std::numeric_limits<double>::infinity();
  int64_t waited_ = 0;
};

}  // namespace voxgrad::optim

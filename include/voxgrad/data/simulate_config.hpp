// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The settings of a simulated movie, with their defaults, and what is known about each simulated event.

#include <cmath>
#include <cstdint>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/crops.hpp"

namespace voxgrad::data {

/// A lognormal distribution: exp(N(log median, sigma)), cut to [low, high].
struct Lognormal {
  double median, sigma, low, high;
};

/// Everything that decides how a movie looks. Lengths in pixels, times in frames, light in photo-electrons.
struct SimulateConfig {
  Extent3 extent{300, 256, 256};
  uint64_t seed = 42;

  // What is in the field.
  double dendrites = 5;          ///< in-focus dendrites that cross a field of 256x256; grows with the edge
  double blurred_dendrites = 2;  ///< out-of-focus ones, the same way
  Lognormal radius{2.6, 0.25, 1.2, 5};  ///< half the width of a first-order dendrite
  double branch_length = 110;           ///< mean distance between two branch points
  double spine_distance = 9;            ///< mean distance between two spines
  double psf = 1.1;                     ///< Gaussian blur of the optics, standard deviation

  // Light.
  double background = 10;          ///< mean of empty parts
  double haze = 0.35;              ///< relative height of slow spatial background variation
  double brightness = 40;          ///< median dendrite above background
  double brightness_sigma = 0.35;  ///< lognormal spread between dendrites
  double bleach_fraction = 0.2;    ///< light lost in the end
  double bleach_frames = 250;      ///< time constant
  double drift = 0.02;             ///< rms of the slow common intensity drift, relative
  double motion = 0;               ///< rms of residual sample motion after alignment (best below 0.5)

  // Events.
  double event_rate = 1.1;    ///< mean number per 10^6 voxels (published movies: about 170 in 600x512x512)
  double spine_share = 0.65;  ///< events on spines, the others on shafts
  double repeat_share = 0.3;  ///< events at a place that was active before
  Lognormal amplitude{0.9, 0.6, 0.15, 8};  ///< peak dF/F at the centre
  Lognormal rise{0.8, 0.3, 0.3, 3};        ///< time constant
  Lognormal decay{4, 0.4, 1.5, 15};        ///< time constant
  Lognormal width{2.6, 0.25, 1.4, 6};      ///< standard deviation across the dendrite
  Lognormal aspect{1.7, 0.35, 1, 5};       ///< along / across; spines take its square root
  double label_level = 0.25;  ///< a voxel belongs to an event while its dF is at least this part of the peak
  bool overlap = false;       ///< let events touch; the stronger one gets the voxel

  // Camera.
  double offset = 100;      ///< counts
  double gain = 2.2;        ///< counts per photo-electron
  double read_noise = 1.6;  ///< rms, photo-electrons
};

/// Throws a UsageError that names the setting that makes no sense.
inline void check_config(const SimulateConfig& c) {
  check<UsageError>(c.extent[0] >= 8 && c.extent[1] >= 32 && c.extent[2] >= 32, "simulate: size ",
                    c.extent[0], ",", c.extent[1], ",", c.extent[2],
                    " is too small (expected at least 8 frames of 32x32).");
  check<UsageError>(voxel_count(c.extent) < (int64_t(1) << 36), "simulate: size ", c.extent[0], ",",
                    c.extent[1], ",", c.extent[2], " is too large (expected fewer than 2^36 voxels).");
  check<UsageError>(c.dendrites > 0 && c.dendrites <= 50, "simulate: dendrites is ", c.dendrites,
                    " (expected 0 to 50).");
  check<UsageError>(c.event_rate >= 0 && c.event_rate <= 1000, "simulate: event rate is ", c.event_rate,
                    " (expected 0 to 1000 per million voxels).");
  check<UsageError>(c.brightness > 0 && c.background > 0,
                    "simulate: brightness and background must be above 0.");
  check<UsageError>(c.gain > 0 && c.read_noise >= 0 && c.offset >= 0,
                    "simulate: gain must be above 0, read noise and "
                    "offset at least 0.");
  check<UsageError>(c.bleach_fraction >= 0 && c.bleach_fraction < 1 && c.bleach_frames > 0,
                    "simulate: bleach fraction is ", c.bleach_fraction, " (expected 0 to 1).");
  check<UsageError>(c.label_level > 0 && c.label_level < 1, "simulate: label level is ", c.label_level,
                    " (expected between 0 and 1).");
  check<UsageError>(c.motion >= 0 && c.motion <= 1, "simulate: motion is ", c.motion,
                    " (expected 0 to 1 pixels).");
}

/// One simulated event and its noise-free properties.
struct SimulatedEvent {
  int64_t id = 0;  ///< 1, 2, ... in order of onset; the value in the label volume
  double onset = 0, y = 0, x = 0;
  bool on_spine = false;
  double amplitude = 0;        ///< peak dF/F at the centre
  double peak_electrons = 0;   ///< peak dF, photo-electrons per pixel and frame
  double local_electrons = 0;  ///< resting light at the centre, background included
  double rise = 0, decay = 0, width = 0, length = 0, angle = 0;
  int64_t peak_frame = 0;
  int64_t voxels = 0;  ///< of the label
  Box3 box;            ///< of the label, half-open

  /// Peak over the shot and read noise of one pixel in one frame at rest.
  double snr(double read_noise) const {
    return peak_electrons / std::sqrt(local_electrons + read_noise * read_noise);
  }
  /// The row of the published events table; maxima are half-open.
  Event row() const {
    return {id, box.start[0], box.stop[0], box.start[1], box.stop[1], box.start[2], box.stop[2]};
  }
};

}  // namespace voxgrad::data

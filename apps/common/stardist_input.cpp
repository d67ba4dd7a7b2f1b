// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_input.hpp"

#include <algorithm>
#include <cmath>

#include "stardist_data.hpp"
#include "voxgrad/data/stream_percentiles.hpp"

namespace voxgrad::app {

ZoomPosition zoom_position(int64_t i, int64_t n, int64_t m) {
  const double x = m > 1 ? double(i) * (double(n - 1) / double(m - 1)) : 0;
  const int64_t at = std::clamp<int64_t>(int64_t(x), 0, n - 1);  // the last sample may round to just behind the axis
  return {at, at + 1 < n ? x - double(at) : 0};
}

StarDistInput::StarDistInput(VolumeFile& file, const StarDistInputOptions& options) : file_(file), how_(options.normalize) {
  placement_.order = axis_order(file.axes(), options.network_axes);
  const bool turns = placement_.order != Placement{}.order;
  check<UsageError>(!turns || options.normalize != "study", file.path(), ": the study's normalisation is one of movies, frame by frame; it does not go with ",
                    "axes ", file.axes(), " for a network with ", options.network_axes, ".");
  for (size_t a = 0; a < 3; ++a) {
    source_[a] = file.extent()[placement_.order[a]];
    placement_.scale[a] = options.scale[std::string("ZYX").find(options.network_axes[a])];
    const double size = std::nearbyint(double(source_[a]) * placement_.scale[a]);
    check<UsageError>(size >= 1 && size < 1e9, file.path(), ": --scale ", placement_.scale[a], " makes ", size, " samples of ", source_[a], " voxels along ",
                      options.network_axes[a], ".");
    extent_[a] = int64_t(size);
  }
  const uint64_t bytes = sizeof(float) * uint64_t(file.channels() * data::voxel_count(source_));
  check<UsageError>(!turns || options.memory == 0 || bytes < options.memory / 2, file.path(), ": turned from ", file.axes(), " to ", options.network_axes, " it takes ",
                    bytes >> 20, " MiB, more than half of --memory. Allow more, or store it in the network's order.");
}

void StarDistInput::prepare(Session& session) {
  measure(session);
  const bool turns = placement_.order != Placement{}.order;
  for (int64_t c = 0; turns && c < file_.channels(); ++c) {
    data::Volume<float> whole(file_.extent());
    for (int64_t z = 0; z < whole.extent[0]; ++z) normalized(z, c, whole.frame(z));
    held_.push_back(permuted(whole, placement_.order));
  }
}

void StarDistInput::measure(Session& session) {
  using Scale = data::PercentileScale;
  const int64_t planes = file_.extent()[0], size = file_.extent()[1] * file_.extent()[2];
  auto progress = session.stage("measure", 2 * planes * file_.channels(), "planes");
  int64_t read = 0;
  for (int64_t c = 0; c < file_.channels(); ++c) {
    const auto plane = [&](int64_t z, float* out) {
      file_.read(z, c, out);
      session.check_stop();
      progress->update(++read);
    };
    try {
      if (how_ == "study") {
        movie_scales_.push_back(data::measure_movie(file_.extent(), plane));
        if (c == 0) range_ = {movie_scales_[0].low, movie_scales_[0].high};
        continue;
      }
      const auto p = data::stream_percentiles({0, Scale::low_percent, Scale::high_percent, 100}, [&](auto&& add) {
        std::vector<float> values(static_cast<size_t>(size));
        for (int64_t z = 0; z < planes; ++z) {
          plane(z, values.data());
          add(values.data(), size);
        }
      });
      if (c == 0) range_ = {p[0], p[3]};
      if (how_ != "percentile") continue;
      scales_.push_back({p[1], p[2]});
      check_scale(file_.channels() > 1 ? text(file_.path(), " (channel ", c + 1, ")") : file_.path(), scales_.back());
    } catch (const ShapeError& e) {
      throw FileError(text(file_.path(), ": ", e.what()));
    }
  }
}

void StarDistInput::normalized(int64_t z, int64_t channel, float* out) {
  const int64_t size = file_.extent()[1] * file_.extent()[2];
  file_.read(z, channel, out);
  if (!movie_scales_.empty()) movie_scales_[size_t(channel)].apply(z, out, out, size);
  else if (!scales_.empty()) scales_[size_t(channel)].apply(out, out, size);
}

/// Plane z of the network's order before resizing, [H,W,channels].
void StarDistInput::turned(int64_t z, float* out) {
  const int64_t size = source_[1] * source_[2], channels = file_.channels();
  if (channels == 1 && held_.empty()) {
    normalized(z, 0, out);
    return;
  }
  channel_.resize(size_t(size));
  for (int64_t c = 0; c < channels; ++c) {
    if (held_.empty()) normalized(z, c, channel_.data());
    const float* from = held_.empty() ? channel_.data() : held_[size_t(c)].frame(z);
    for (int64_t i = 0; i < size; ++i) out[i * channels + c] = from[i];
  }
}

const std::vector<float>& StarDistInput::resized(int64_t z) {
  if (const auto found = recent_.find(z); found != recent_.end()) return found->second;
  if (recent_.size() > 1) recent_.erase(recent_.begin()->first < z ? recent_.begin() : std::prev(recent_.end()));
  const int64_t channels = file_.channels(), height = extent_[1], width = extent_[2], from_width = source_[2];
  std::vector<float> plane(size_t(source_[1] * from_width * channels)), out(size_t(height * width * channels));
  turned(z, plane.data());
  float* to = out.data();
  for (int64_t y = 0; y < height; ++y) {
    const ZoomPosition py = zoom_position(y, source_[1], height);
    const float *above = plane.data() + py.at * from_width * channels, *below = py.share > 0 ? above + from_width * channels : above;
    for (int64_t x = 0; x < width; ++x) {
      const ZoomPosition px = zoom_position(x, from_width, width);
      const int64_t left = px.at * channels, right = px.share > 0 ? left + channels : left;
      for (int64_t c = 0; c < channels; ++c)
        *to++ = float((1 - py.share) * ((1 - px.share) * double(above[left + c]) + px.share * double(above[right + c])) +
                      py.share * ((1 - px.share) * double(below[left + c]) + px.share * double(below[right + c])));
    }
  }
  return recent_.emplace(z, std::move(out)).first->second;
}

void StarDistInput::plane(int64_t z, float* out) {
  if (source_ == extent_) {
    turned(z, out);
    return;
  }
  const ZoomPosition p = zoom_position(z, source_[0], extent_[0]);
  const std::vector<float>& near = resized(p.at);
  std::copy(near.begin(), near.end(), out);
  if (p.share <= 0) return;
  const std::vector<float>& next = resized(p.at + 1);
  for (size_t i = 0; i < next.size(); ++i) out[i] = float((1 - p.share) * double(out[i]) + p.share * double(next[i]));
}

}  // namespace voxgrad::app

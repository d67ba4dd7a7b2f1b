// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A network, crops and a configuration so small that a training step takes a millisecond, and a session that can be read back.

#include <cstdio>
#include <string>

#include "common/config.hpp"
#include "common/session.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/data/dataset.hpp"

/// A session whose streams are kept.
class QuietSession {
 public:
  explicit QuietSession(const std::vector<std::pair<std::string, std::string>>& options = {})
      : session_("test", "voxgrad test", arguments(options), out_, err_) {}
  ~QuietSession() {
    std::fclose(out_);
    std::fclose(err_);
  }
  QuietSession(const QuietSession&) = delete;
  QuietSession& operator=(const QuietSession&) = delete;

  operator voxgrad::app::Session&() { return session_; }
  std::string out() const { return content(out_); }
  std::string err() const { return content(err_); }

 private:
  static voxgrad::app::Arguments arguments(const std::vector<std::pair<std::string, std::string>>& options) {
    voxgrad::app::Arguments a(voxgrad::app::common::messages());
    for (const auto& [name, value] : options) a.set(name, value);
    return a;
  }
  static std::string content(std::FILE* file) {
    std::string text;
    std::fseek(file, 0, SEEK_SET);
    for (int c; (c = std::fgetc(file)) != EOF;) text += char(c);
    return text;
  }
  std::FILE *out_ = std::tmpfile(), *err_ = std::tmpfile();
  voxgrad::app::Session session_;
};

/// `count` crops of 12^3 with a bright block on noise; the block is the mask.
inline std::vector<voxgrad::data::Crop> tiny_crops(int count, uint64_t seed) {
  std::vector<voxgrad::data::Crop> crops;
  voxgrad::Random random(seed);
  for (int i = 0; i < count; ++i) {
    voxgrad::data::Crop c{std::vector<float>(12 * 12 * 12), std::vector<uint8_t>(12 * 12 * 12)};
    for (float& v : c.input) v = float(0.2 * random.uniform());
    const int64_t at = 3 + random.below(3);
    for (int64_t t = at; t < at + 4; ++t)
      for (int64_t y = 4; y < 8; ++y)
        for (int64_t x = at; x < at + 3; ++x) {
          c.input[size_t((t * 12 + y) * 12 + x)] += 1;
          c.target[size_t((t * 12 + y) * 12 + x)] = 1;
        }
    crops.push_back(std::move(c));
  }
  return crops;
}

inline std::shared_ptr<const voxgrad::data::CropSource> tiny_source(int count, uint64_t seed) {
  return std::make_shared<voxgrad::data::MemorySource>(voxgrad::data::Extent3{12, 12, 12}, tiny_crops(count, seed));
}

/// Two encoder stages of width 2, patches of 8^3, batches of 3.
inline voxgrad::app::TrainConfig tiny_config(int64_t steps) {
  voxgrad::app::TrainConfig c;
  c.model.n_layer = 2;
  c.model.nbf = 2;
  c.training.batch_size = 3;
  c.training.num_steps = steps;
  c.training.patch_size = 8;
  c.training.crop_size = 12;
  c.training.valid_interval = 3;
  c.training.checkpoint_interval = 1000;
  c.training.optimizer.lr = 0.01;
  return c;
}

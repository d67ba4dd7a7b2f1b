// SPDX-License-Identifier: BSD-3-Clause
#include "tiff_pairs.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "files.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/io/tiff.hpp"

namespace voxgrad::app {
namespace {

namespace fs = std::filesystem;

std::string join(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
}

std::string shape_text(const data::Extent3& e) { return text("[", e[0], ",", e[1], ",", e[2], "]"); }

io::TiffMovie open(const std::string& path) {
  io::TiffOptions options;
  options.axes = "TYX";  // depth or time: a crop is a crop
  return io::TiffMovie(path, options);
}

std::vector<std::string> tiff_names(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> out;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->is_regular_file() && has_ending(at->path().filename().string(), {".tif", ".tiff"}))
      out.push_back(at->path().filename().string());
  check<FileError>(!error, folder, ": cannot be read as a folder (", error.message(), ").");
  check<FileError>(!out.empty(), folder, ": holds no TIFF files.");
  std::sort(out.begin(), out.end(), natural_less);
  return out;
}

/// Names in `names` that `others` lacks: how many, and the first three.
std::string missing_text(const std::vector<std::string>& names, const std::vector<std::string>& others) {
  std::string list;
  int count = 0;
  for (const std::string& name : names) {
    if (std::find(others.begin(), others.end(), name) != others.end()) continue;
    if (++count <= 3) list += (count > 1 ? ", " : "") + name;
  }
  return count == 0 ? "" : text(count, " (", list, count > 3 ? ", ..." : "", ")");
}

/// The middle of a volume where it is larger than `crop`, whole where it is not.
template <class T>
std::vector<T> centre_part(const std::vector<T>& in, const data::Extent3& size, std::int64_t crop,
                           data::Extent3& part) {
  data::Extent3 start{};
  for (std::size_t a = 0; a < 3; ++a) {
    part[a] = std::min(size[a], crop);
    start[a] = (size[a] - part[a]) / 2;
  }
  std::vector<T> out;
  out.reserve(std::size_t(data::voxel_count(part)));
  for (std::int64_t t = 0; t < part[0]; ++t)
    for (std::int64_t y = 0; y < part[1]; ++y) {
      const auto* row = in.data() + ((t + start[0]) * size[1] + y + start[1]) * size[2] + start[2];
      out.insert(out.end(), row, row + part[2]);
    }
  return out;
}

}  // namespace

TiffPairs::TiffPairs(std::string source, std::string target, std::vector<std::string> names,
                     std::int64_t crop, std::int64_t cache_bytes, data::LabelRule rule)
    : source_(std::move(source)),
      target_(std::move(target)),
      names_(std::move(names)),
      crop_(crop),
      rule_(std::move(rule)),
      cache_(cache_bytes) {
  for (const std::string& name : names_) {
    const data::Extent3 in = open(join(source_, name)).extent(), mask = open(join(target_, name)).extent();
    check<FileError>(in == mask, join(target_, name), " is ", shape_text(mask), " but ", join(source_, name),
                     " is ", shape_text(in), ". Both must have the same shape.");
  }
}

std::shared_ptr<const data::Crop> TiffPairs::crop(std::int64_t index) const {
  return cache_.get(index, [&] { return load(names_.at(std::size_t(index))); });
}

data::Crop TiffPairs::load(const std::string& name) const {
  io::TiffMovie source = open(join(source_, name)), target = open(join(target_, name));
  const data::Extent3 size = source.extent(), full = crop_extent();
  std::vector<float> input(std::size_t(data::voxel_count(size))), mask(input.size());
  source.read(0, size[0], input.data());
  target.read(0, size[0], mask.data());
  for (float v : input) check<FileError>(std::isfinite(v), join(source_, name), ": holds NaN or infinity.");
  data::Extent3 part{};
  input = centre_part(input, size, crop_, part);
  data::Crop cut, out;
  cut.target.resize(input.size());
  if (rule_) {
    data::Box3 inside;
    for (std::size_t a = 0; a < 3; ++a) {
      inside.start[a] = (size[a] - part[a]) / 2;
      inside.stop[a] = inside.start[a] + part[a];
    }
    rule_.apply(std::vector<double>(mask.begin(), mask.end()), size, inside, join(target_, name), cut);
  } else {
    mask = centre_part(mask, size, crop_, part);
    for (std::size_t i = 0; i < mask.size(); ++i) cut.target[i] = mask[i] > 0;
  }
  out.input.resize(std::size_t(data::voxel_count(full)));
  out.target.resize(out.input.size());
  data::pad_end_symmetric(input.data(), part, out.input.data(), full);
  data::pad_end_symmetric(cut.target.data(), part, out.target.data(), full);
  if (!cut.weight.empty()) {
    out.weight.resize(out.input.size());
    data::pad_end_symmetric(cut.weight.data(), part, out.weight.data(), full);
  }
  return out;
}

TiffPairSplit open_tiff_pairs(const std::string& source, const std::string& target, std::int64_t crop,
                              double valid_proportion, std::uint64_t seed, std::int64_t cache_bytes,
                              const data::LabelRule& rule) {
  std::vector<std::string> names = tiff_names(source);
  const std::vector<std::string> masks = tiff_names(target);
  const std::string no_mask = missing_text(names, masks), no_input = missing_text(masks, names);
  check<FileError>(no_mask.empty(), source, ": files without a mask of the same name in ", target, ": ",
                   no_mask, ".");
  check<FileError>(no_input.empty(), target, ": masks without a file of the same name in ", source, ": ",
                   no_input, ".");
  check<FileError>(names.size() >= 2, source,
                   ": holds one TIFF file; at least two are needed, one for validation.");
  check<UsageError>(valid_proportion > 0 && valid_proportion < 1, "valid_proportion is ", valid_proportion,
                    " (expected between 0 and 1).");
  Random random(seed, 500);
  for (std::size_t i = names.size(); i > 1; --i) std::swap(names[i - 1], names[std::size_t(random.below(i))]);
  const auto held = std::clamp<std::size_t>(std::size_t(std::lround(valid_proportion * double(names.size()))),
                                            1, names.size() - 1);
  const std::vector<std::string> valid(names.begin(), names.begin() + std::ptrdiff_t(held));
  const std::vector<std::string> train(names.begin() + std::ptrdiff_t(held), names.end());
  return {std::make_shared<const TiffPairs>(source, target, train, crop, cache_bytes, rule),
          std::make_shared<const TiffPairs>(source, target, valid, crop, cache_bytes, rule)};
}

}  // namespace voxgrad::app

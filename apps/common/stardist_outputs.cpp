// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_outputs.hpp"

#include <algorithm>
#include <fstream>
#include <map>

#include "files.hpp"
#include "tables.hpp"
#include "voxgrad/io/tiff.hpp"
#include "voxgrad/stardist/obj.hpp"

namespace voxgrad::app {
namespace {

io::TiffWriteOptions write_options(const data::Spacing& spacing, const StarDistLabelOptions& options, int64_t highest) {
  io::TiffWriteOptions o;
  o.spacing = spacing;
  o.deflate = options.deflate;
  o.depth = options.depth;
  o.lowest = 0, o.highest = double(std::max<int64_t>(highest, 1));
  return o;
}

}  // namespace

void write_label_volume(const std::string& path, const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const data::Extent3& extent,
                        const data::Spacing& spacing, const StarDistLabelOptions& options, const std::function<void(int64_t, const uint32_t*)>& also) {
  const int32_t shared = options.overlap_label.value_or(0);
  check(shared <= 0 || shared > count, path, ": --overlap-label ", shared, " is the number of one of the ", count, " objects. Choose 0, one below, or one above.");
  check(shared >= 0 || count < int64_t(1) << 24, path, ": ", count, " objects and an --overlap-label below 0 need float32, which counts to 16777216. Choose 0 or a number above.");
  const io::SampleType type = shared < 0                                                  ? io::SampleType::f32
                              : options.wide || std::max<int64_t>(count, shared) > 65535 ? io::SampleType::u32
                                                                                         : io::SampleType::u16;
  io::TiffWriter writer(path, extent, type, write_options(spacing, options, count));
  const auto plane = size_t(extent[1] * extent[2]);
  std::vector<int32_t> stored(plane);
  std::vector<uint16_t> narrow(plane);
  std::vector<float> real(plane);
  std::vector<uint32_t> alone(plane);
  const auto of_several = options.overlap_label ? std::optional<int32_t>(shared == 0 ? 0 : -1) : std::nullopt;  // -1 is no object's number
  draw_objects(objects, rays, count, extent, options.memory, [&](int64_t z, const int32_t* labels) {
    std::transform(labels, labels + plane, stored.begin(), [&](int32_t l) { return l < 0 ? shared : l; });
    std::transform(labels, labels + plane, alone.begin(), [](int32_t l) { return uint32_t(std::max(l, 0)); });
    if (also) also(z, alone.data());
    std::transform(stored.begin(), stored.end(), narrow.begin(), [](int32_t l) { return uint16_t(l); });
    std::transform(stored.begin(), stored.end(), real.begin(), [](int32_t l) { return float(l); });
    writer.write(type == io::SampleType::u16 ? static_cast<const void*>(narrow.data()) : type == io::SampleType::f32 ? static_cast<const void*>(real.data()) : stored.data());
  }, of_several);
  writer.close();
}

void write_class_volume(const std::string& path, const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const data::Extent3& extent,
                        const data::Spacing& spacing, const StarDistLabelOptions& options) {
  io::TiffWriter writer(path, extent, io::SampleType::u16, write_options(spacing, options, objects.class_channels() - 1));
  std::vector<uint16_t> of_label{0}, plane(size_t(extent[1] * extent[2]));
  for (int64_t i = 0; i < count; ++i) of_label.push_back(uint16_t(objects.class_of(i)));
  draw_objects(objects, rays, count, extent, options.memory, [&](int64_t, const int32_t* labels) {
    std::transform(labels, labels + plane.size(), plane.begin(), [&](int32_t l) { return of_label[size_t(l)]; });
    writer.write(plane.data());
  });
  writer.close();
}

std::string objects_csv(const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const std::vector<metrics::Region>& regions, int64_t n_classes) {
  std::map<uint32_t, int64_t> voxels;
  for (const metrics::Region& r : regions) voxels[r.label] = r.area;
  const int64_t classes = n_classes > 0 ? n_classes + 1 : 0;
  std::string out = "label,prob,axis-0,axis-1,axis-2,volume,voxels,min-0,min-1,min-2,max-0,max-1,max-2";
  if (classes > 0) out += ",class";
  for (int64_t c = 0; c < classes; ++c) out += text(",class_prob-", c);
  out += "\n";
  const stardist::Polyhedra p = objects.list.polyhedra(rays);
  std::vector<stardist::Vec3f> corners;
  for (int64_t i = 0; i < count; ++i) {
    stardist::scaled_corners(rays, p.distances(i), {1, 1, 1}, corners);
    const stardist::Box box = stardist::bounding_box(rays, p.distances(i), p.centre(i));
    std::vector<std::string> cells{std::to_string(i + 1), csv_number(double(objects.list.scores[size_t(i)]))};
    for (size_t a = 0; a < 3; ++a) cells.push_back(csv_number(double(p.centre(i)[a])));
    cells.push_back(csv_number(double(stardist::polyhedron_volume(rays, corners))));
    cells.push_back(std::to_string(voxels[uint32_t(i + 1)]));
    for (size_t a = 0; a < 3; ++a) cells.push_back(std::to_string(box.lo[a]));
    for (size_t a = 0; a < 3; ++a) cells.push_back(std::to_string(box.hi[a]));
    if (classes > 0) cells.push_back(std::to_string(objects.class_of(i)));
    for (int64_t c = 0; c < classes; ++c) cells.push_back(csv_number(double(objects.class_prob[size_t(i * classes + c)])));
    out += csv_line(cells);
  }
  return out;
}

void write_mesh(const std::string& path, const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const data::Spacing& spacing) {
  stardist::ObjOptions options;
  options.single_mesh = false;
  options.name = "object";
  options.first = 1;
  if (spacing.z_um > 0 && spacing.y_um > 0 && spacing.x_um > 0) options.scale = {spacing.z_um, spacing.y_um, spacing.x_um};
  stardist::Polyhedra p = objects.list.polyhedra(rays);
  p.dist = p.dist.first(size_t(count * rays.size()));
  p.points = p.points.first(size_t(3 * count));
  AtomicFile file(path);
  std::ofstream out(file.temporary(), std::ios::binary);
  stardist::write_obj(out, p, options);
  out.close();
  check<FileError>(out.good(), path, ": cannot be written. Is the disk full?");
  file.commit();
}

}  // namespace voxgrad::app

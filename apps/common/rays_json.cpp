// SPDX-License-Identifier: BSD-3-Clause
#include "rays_json.hpp"

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>

#include <nlohmann/json.hpp>

namespace voxgrad::app {
namespace {

using nlohmann::json;
using namespace stardist;

/// The arguments of one kind of rays, each asked for by name.
class Arguments {
 public:
  Arguments(const json& values, const std::string& file, const std::string& name) : values_(values), where_(file + ": rays_json: " + name) {}

  void only(std::initializer_list<const char*> known) const {
    for (const auto& [key, value] : values_.items()) {
      std::string list;
      bool found = false;
      for (const char* k : known) list += (list.empty() ? "" : ", ") + std::string(k), found = found || key == k;
      check<FileError>(found, where_, " has no argument '", key, "' (expected ", list, ")");
    }
  }
  void integer(const char* key, int64_t& value) const {
    const auto it = values_.find(key);
    if (it == values_.end()) return;
    check<FileError>(it->is_number_integer(), where_, ": '", key, "' is ", it->dump(), " (expected a whole number)");
    value = it->get<int64_t>();
  }
  Vec3d triple(const json& value, const char* key) const {
    bool ok = value.is_array() && value.size() == 3;
    for (size_t a = 0; ok && a < 3; ++a) ok = value[a].is_number();
    check<FileError>(ok, where_, ": '", key, "' is ", value.dump(), " (expected three numbers)");
    return {value[0].get<double>(), value[1].get<double>(), value[2].get<double>()};
  }
  const json& list(const char* key) const {
    const auto it = values_.find(key);
    check<FileError>(it != values_.end() && it->is_array(), where_, ": '", key, "' is missing or no list");
    return *it;
  }
  const json* find(const char* key) const {
    const auto it = values_.find(key);
    return it == values_.end() ? nullptr : &*it;
  }

 private:
  const json& values_;
  std::string where_;
};

RaysFrom golden_spiral(const Arguments& a) {
  GoldenSpiral k;
  a.only({"n", "anisotropy"});
  a.integer("n", k.n);
  if (const json* v = a.find("anisotropy"); v != nullptr && !v->is_null()) k.anisotropy = a.triple(*v, "anisotropy");
  return k;
}

RaysFrom cartesian(const Arguments& a) {
  Cartesian k;
  a.only({"n_rays_x", "n_rays_z"});
  a.integer("n_rays_x", k.n_rays_x);
  a.integer("n_rays_z", k.n_rays_z);
  return k;
}

template <class Kind>
RaysFrom levels(const Arguments& a) {
  Kind k;
  a.only({"n_level"});
  a.integer("n_level", k.n_level);
  return k;
}

RaysFrom given(const Arguments& a) {
  Explicit k;
  a.only({"vertices0", "faces0"});
  for (const json& v : a.list("vertices0")) k.vertices0.push_back(a.triple(v, "vertices0"));
  for (const json& f : a.list("faces0")) {
    Triangle t{};
    const Vec3d corners = a.triple(f, "faces0");
    for (size_t i = 0; i < 3; ++i)  // -1: no number of a ray, which make_rays() refuses
      t[i] = corners[i] >= 0 && corners[i] < double(max_rays) && corners[i] == std::floor(corners[i]) ? int32_t(corners[i]) : -1;
    k.faces0.push_back(t);
  }
  return k;
}

struct Reader {
  const char* name;
  RaysFrom (*read)(const Arguments&);
};
constexpr Reader readers[] = {{GoldenSpiral::name, golden_spiral}, {Cartesian::name, cartesian}, {Octo::name, levels<Octo>},
                              {Tetra::name, levels<Tetra>}, {Explicit::name, given}};

template <class Three>
JsonValue array(const Three& three) {
  return std::vector<JsonValue>{three[0], three[1], three[2]};
}

Fields arguments(const GoldenSpiral& k) {
  return {{"n", k.n}, {"anisotropy", k.anisotropy ? array(*k.anisotropy) : JsonValue::null()}};
}
Fields arguments(const Cartesian& k) { return {{"n_rays_x", k.n_rays_x}, {"n_rays_z", k.n_rays_z}}; }
Fields arguments(const Octo& k) { return {{"n_level", k.n_level}}; }
Fields arguments(const Tetra& k) { return {{"n_level", k.n_level}}; }
Fields arguments(const Explicit& k) {
  std::vector<JsonValue> vertices, faces;
  for (const Vec3d& v : k.vertices0) vertices.push_back(array(v));
  for (const Triangle& f : k.faces0) faces.push_back(array(f));
  return {{"vertices0", vertices}, {"faces0", faces}};
}

}  // namespace

RaysFrom read_rays_json(const std::string& text, const std::string& file) {
  const json object = json::parse(text, nullptr, false);
  check<FileError>(object.is_object() && object.contains("name") && object["name"].is_string(), file,
                   ": rays_json is no object with a 'name'");
  const std::string name = object["name"].get<std::string>();
  const json kwargs = object.value("kwargs", json::object());
  check<FileError>(kwargs.is_object(), file, ": rays_json: 'kwargs' is no object");
  for (const Reader& reader : readers)
    if (name == reader.name) {
      const RaysFrom from = reader.read(Arguments(kwargs, file, name));
      try {
        (void)make_rays(from);  // numbers that make no rays are the file's fault
      } catch (const Error& e) {
        throw FileError(file + ": rays_json: " + e.what());
      }
      return from;
    }
  std::string known;
  for (const Reader& reader : readers) known += (known.empty() ? "" : ", ") + std::string(reader.name);
  throw FileError(file + ": rays_json: unknown rays '" + name + "' (expected " + known + ")");
}

JsonValue rays_json(const Rays& rays) {
  return Fields{{"name", rays.name()}, {"kwargs", std::visit([](const auto& k) { return arguments(k); }, rays.from)}};
}

}  // namespace voxgrad::app

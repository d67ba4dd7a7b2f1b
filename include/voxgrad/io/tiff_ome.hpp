// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The part of OME-XML that says which page is which plane. No XML library: only tags and attributes are looked at.

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "voxgrad/io/tiff_describe.hpp"

namespace voxgrad::io {

/// One start tag: its name without prefix, its attributes as text, and where its content begins.
struct XmlTag {
  std::string_view name, attributes;
  size_t content = 0;
  bool found() const { return !name.empty(); }

  /// The value of an attribute; empty if absent.
  std::string_view operator[](std::string_view key) const {
    for (size_t at = attributes.find(key); at != std::string_view::npos; at = attributes.find(key, at + 1)) {
      const size_t equal = at + key.size();
      const bool starts = at == 0 || std::string_view(" \t\r\n").find(attributes[at - 1]) != std::string_view::npos;
      if (!starts || equal + 1 >= attributes.size() || attributes[equal] != '=') continue;
      const char quote = attributes[equal + 1];
      const size_t end = quote == '"' || quote == '\'' ? attributes.find(quote, equal + 2) : std::string_view::npos;
      if (end != std::string_view::npos) return attributes.substr(equal + 2, end - equal - 2);
    }
    return {};
  }
};

/// The next start tag at or after `from`, comments and end tags skipped.
inline XmlTag next_xml_tag(std::string_view xml, size_t from) {
  for (size_t open = xml.find('<', from); open != std::string_view::npos; open = xml.find('<', open + 1)) {
    if (xml.substr(open, 4) == "<!--") {
      open = xml.find("-->", open);
      if (open == std::string_view::npos) break;
      continue;
    }
    const size_t close = xml.find('>', open);
    if (close == std::string_view::npos) break;
    std::string_view inside = xml.substr(open + 1, close - open - 1);
    if (inside.empty() || inside[0] == '/' || inside[0] == '?' || inside[0] == '!') continue;
    const size_t end = std::min(inside.find_first_of(" \t\r\n/"), inside.size());
    std::string_view name = inside.substr(0, end);
    if (const size_t colon = name.find(':'); colon != std::string_view::npos) name.remove_prefix(colon + 1);
    return {name, inside.substr(end), close + 1};
  }
  return {};
}

/// The next start tag called `name`.
inline XmlTag find_xml_tag(std::string_view xml, std::string_view name, size_t from = 0) {
  XmlTag tag = next_xml_tag(xml, from);
  while (tag.found() && tag.name != name) tag = next_xml_tag(xml, tag.content);
  return tag;
}

/// Reads the planes of an OME description that lie in this very file.
class OmeReader {
 public:
  OmeReader(std::string_view xml, std::string_view file_name, int64_t pages) : xml_(xml), file_name_(file_name), pages_(pages) {}

  TiffDescription run() {
    out_.kind = "OME-TIFF";
    const XmlTag root = find_xml_tag(xml_, "OME"), pixels = find_xml_tag(xml_, "Pixels");
    if (!pixels.found()) {
      const std::string_view companion = find_xml_tag(xml_, "BinaryOnly")["MetadataFile"];
      out_.notes.push_back(text("the OME description of this file is in ", companion.empty() ? "another file" : companion,
                                ", which is not read; the pages are taken one after another"));
      return out_;
    }
    uuid_ = root["UUID"];
    read_pixels(pixels);
    read_tiff_data(pixels.content);
    choose_axes();
    return out_;
  }

 private:
  struct Plane {
    std::array<int64_t, 3> tzc;
    int64_t page;
  };

  void read_pixels(const XmlTag& pixels) {
    size_[0] = tiff_count(pixels["SizeT"], 1);
    size_[1] = tiff_count(pixels["SizeZ"], 1);
    size_[2] = tiff_count(pixels["SizeC"], 1);
    const std::string_view order = pixels["DimensionOrder"];
    if (order.size() == 5)
      for (size_t i = 0; i < 3; ++i) {
        const size_t letter = std::string_view("TZC").find(order[2 + i]);
        if (letter != std::string_view::npos) order_[i] = letter;
      }
    out_.evidence = text("SizeT=", size_[0], ", SizeZ=", size_[1], ", SizeC=", size_[2], ", ", order);
    const auto length = [&](const char* key, const char* unit) {
      const std::string_view u = pixels[unit];
      return tiff_number(pixels[key], 0) * (u.empty() ? 1 : micrometres_per(u));
    };
    out_.spacing.x_um = length("PhysicalSizeX", "PhysicalSizeXUnit");
    out_.spacing.y_um = length("PhysicalSizeY", "PhysicalSizeYUnit");
    out_.spacing.z_um = length("PhysicalSizeZ", "PhysicalSizeZUnit");
    out_.spacing.seconds = tiff_number(pixels["TimeIncrement"], 0) * seconds_per(pixels["TimeIncrementUnit"]);
    // Channels that hold several samples (RGB) take one plane for all of them.
    int64_t samples = 0;
    for (XmlTag tag = next_xml_tag(xml_, pixels.content); tag.found() && tag.name != "Image"; tag = next_xml_tag(xml_, tag.content)) {
      if (tag.name != "Channel") continue;
      samples = std::max(samples, tiff_count(tag["SamplesPerPixel"], 1));
      out_.channel_names.emplace_back(tag["Name"]);
    }
    if (samples > 1 && size_[2] % samples == 0) size_[2] /= samples;
    size_t from = pixels.content;
    if (find_xml_tag(xml_, "Pixels", from).found()) out_.notes.push_back("the file holds several OME images; only the first is read");
  }

  /// True if the TiffData element, whose content starts at `content`, speaks of this file.
  bool is_here(const XmlTag& data) {
    if (!data.attributes.empty() && data.attributes.back() == '/') return true;
    const XmlTag child = next_xml_tag(xml_, data.content);
    if (child.name != "UUID") return true;
    const std::string_view value = xml_.substr(child.content, xml_.find('<', child.content) - child.content);
    files_.insert(std::string(child["FileName"].empty() ? value : child["FileName"]));
    return (!uuid_.empty() && value == uuid_) || child["FileName"] == file_name_;
  }

  void read_tiff_data(size_t from) {
    bool any = false;
    int64_t elsewhere = 0;
    for (XmlTag tag = next_xml_tag(xml_, from); tag.found() && tag.name != "Image"; tag = next_xml_tag(xml_, tag.content)) {
      if (tag.name != "TiffData") continue;
      any = true;
      if (!is_here(tag)) {
        ++elsewhere;
        continue;
      }
      const bool has_ifd = !tag["IFD"].empty();
      const auto first = [&](const char* key) { return tag[key] == "0" ? 0 : tiff_count(tag[key], 0); };
      add_planes({first("FirstT"), first("FirstZ"), first("FirstC")}, first("IFD"), tiff_count(tag["PlaneCount"], has_ifd ? 1 : all_planes()));
    }
    if (!any) add_planes({0, 0, 0}, 0, all_planes());
    if (elsewhere > 0)
      out_.notes.push_back(text("the OME description spreads the planes over ", files_.size(), " files; only the planes of this file are read"));
  }

  int64_t all_planes() const { return tiff_planes({{'T', size_[0]}, {'Z', size_[1]}, {'C', size_[2]}}); }

  void add_planes(std::array<int64_t, 3> at, int64_t page, int64_t count) {
    out_.promised += count;
    for (int64_t i = 0; i < count && page + i < pages_ && int64_t(planes_.size()) < pages_; ++i) {
      if (at[0] >= size_[0] || at[1] >= size_[1] || at[2] >= size_[2]) return;
      planes_.push_back({at, page + i});
      for (size_t axis : order_) {  // the next plane in the stated order, first letter fastest
        if (++at[axis] < size_[axis]) break;
        at[axis] = axis == order_[2] ? size_[axis] : 0;
      }
    }
  }

  /// Time points of which some planes are missing (the end of a truncated copy) are left out.
  void drop_incomplete_times() {
    std::map<int64_t, size_t> count;
    for (const Plane& p : planes_) ++count[p.tzc[0]];
    size_t full = 0;
    for (const auto& [t, n] : count) full = std::max(full, n);
    std::erase_if(planes_, [&](const Plane& p) { return count[p.tzc[0]] < full; });
  }

  /// The planes here must form a full grid; its axes and the page of each plane are the result.
  void choose_axes() {
    std::sort(planes_.begin(), planes_.end(), [](const Plane& a, const Plane& b) { return a.tzc < b.tzc; });
    drop_incomplete_times();
    std::array<std::set<int64_t>, 3> present;
    for (const Plane& p : planes_)
      for (size_t i = 0; i < 3; ++i) present[i].insert(p.tzc[i]);
    const size_t grid = present[0].size() * present[1].size() * present[2].size();
    const bool twice = std::adjacent_find(planes_.begin(), planes_.end(), [](const Plane& a, const Plane& b) { return a.tzc == b.tzc; }) != planes_.end();
    if (planes_.empty() || grid != planes_.size() || twice) {
      out_.notes.push_back(text("the OME description (", out_.evidence, ") does not match the ", pages_,
                                " pages of this file; the pages are taken one after another"));
      out_.promised = 0;
      return;
    }
    for (const Plane& p : planes_) out_.page_of_plane.push_back(p.page);
    for (size_t i = 0; i < 3; ++i)
      if (present[i].size() > 1) out_.axes.push_back({"TZC"[i], int64_t(present[i].size())});
  }

  std::string_view xml_, file_name_, uuid_;
  int64_t pages_;
  std::array<int64_t, 3> size_{1, 1, 1};   // T, Z, C
  std::array<size_t, 3> order_{1, 2, 0};   // indices into size_, fastest first; XYZCT
  std::vector<Plane> planes_;
  std::set<std::string> files_;
  TiffDescription out_;
};

/// Understands an OME-XML description for a file of `pages` pages called `file_name`.
inline TiffDescription describe_ome(std::string_view xml, std::string_view file_name, int64_t pages) {
  return OmeReader(xml, file_name, pages).run();
}

}  // namespace voxgrad::io

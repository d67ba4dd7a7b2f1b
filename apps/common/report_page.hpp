// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// One HTML page that needs nothing else: no scripts, no network, pictures inside; follows a light or dark theme and prints on A4.

#include <string>
#include <string_view>
#include <vector>

#include "chart.hpp"

namespace voxgrad::app {

/// Builds the page from top to bottom. Texts are plain and escaped here.
class ReportPage {
 public:
  explicit ReportPage(const std::string& title);

  void section(const std::string& title);
  void paragraph(const std::string& text);
  void warning(const std::string& text);
  /// Cells that read as numbers stand to the right.
  void table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);
  /// The panels that have something to draw; nothing when none has.
  void chart(std::vector<chart::Panel> panels, const std::string& caption);
  /// A PNG file's bytes.
  void picture(std::string_view png, const std::string& caption);
  void listing(const std::string& text);  ///< as it is, folded away until opened

  bool warned() const { return !warnings_.empty(); }
  std::size_t size() const { return body_.size(); }
  std::string html() const;

 private:
  std::string title_, body_, warnings_, contents_;
  int sections_ = 0;
};

/// Bytes as base64 text.
std::string base64(std::string_view bytes);

}  // namespace voxgrad::app

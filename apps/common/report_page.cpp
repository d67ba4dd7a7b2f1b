// SPDX-License-Identifier: BSD-3-Clause
#include "report_page.hpp"

#include <cstdint>

namespace voxgrad::app {

namespace {

const char* const style = R"(
:root { --page: #fff; --ink: #222; --soft: #666; --rule: #ddd; --warn: #fff3d6 }
@media screen and (prefers-color-scheme: dark) { :root { --page: #181818; --ink: #ddd; --soft: #999; --rule: #3a3a3a; --warn: #4a3b12 } }
body { background: var(--page); color: var(--ink); font: 15px/1.5 sans-serif; max-width: 58em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid var(--rule) }
nav, figcaption, footer { color: var(--soft); font-size: .9em } nav a { margin-right: 1.2em } a { color: inherit }
figure { margin: 1.2em 0; overflow-x: auto } figure img, figure svg { max-width: 100%; height: auto }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: .9em }
th, td { padding: .25em .8em; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; max-width: 40em }
th, td.n { white-space: nowrap } td.n { text-align: right } td { overflow-wrap: break-word }
.warning { background: var(--warn); padding: .5em .8em; border-radius: 4px }
pre { overflow-x: auto; font-size: .85em; border: 1px solid var(--rule); padding: .8em } summary { cursor: pointer }
@page { size: A4; margin: 15mm }
@media print { body { margin: 0; max-width: none; font-size: 11pt } nav { display: none } figure, table { break-inside: avoid }
  th, td { white-space: normal; padding: .15em .4em; font-size: 8pt } }
)";

bool numeric(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789.+-eE %\xc2\xb1") == std::string::npos &&
         cell.find_first_of("0123456789") != std::string::npos;
}

}  // namespace

std::string base64(std::string_view bytes) {
  static const char* const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t k) { return k < bytes.size() ? std::uint32_t(std::uint8_t(bytes[k])) : 0u; };
    const std::uint32_t word = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    for (std::size_t k = 0; k < 4; ++k) out += i + k > bytes.size() ? '=' : digits[word >> (18 - 6 * k) & 63];
  }
  return out;
}

ReportPage::ReportPage(const std::string& title) : title_(title) {}

void ReportPage::section(const std::string& title) {
  const std::string id = "s" + std::to_string(++sections_);
  body_ += "<h2 id='" + id + "'>" + chart::escape(title) + "</h2>\n";
  contents_ += "<a href='#" + id + "'>" + chart::escape(title) + "</a>\n";
}

void ReportPage::paragraph(const std::string& text) { body_ += "<p>" + chart::escape(text) + "</p>\n"; }

void ReportPage::warning(const std::string& text) { warnings_ += "<p class='warning'>" + chart::escape(text) + "</p>\n"; }

void ReportPage::table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  if (rows.empty()) return;
  body_ += "<table><thead><tr>";
  for (const std::string& cell : header) body_ += "<th>" + chart::escape(cell) + "</th>";
  body_ += "</tr></thead><tbody>\n";
  for (const std::vector<std::string>& row : rows) {
    body_ += "<tr>";
    for (const std::string& cell : row) body_ += std::string(numeric(cell) ? "<td class='n'>" : "<td>") + chart::escape(cell) + "</td>";
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table>\n";
}

void ReportPage::chart(std::vector<chart::Panel> panels, const std::string& caption) {
  std::erase_if(panels, [](const chart::Panel& p) { return !chart::drawable(p); });
  if (panels.empty()) return;
  body_ += "<figure>" + chart::svg(panels) + "<figcaption>" + chart::escape(caption) + "</figcaption></figure>\n";
}

void ReportPage::picture(std::string_view png, const std::string& caption) {
  body_ += "<figure><img alt='" + chart::escape(caption) + "' src='data:image/png;base64," + base64(png) + "'><figcaption>" +
           chart::escape(caption) + "</figcaption></figure>\n";
}

void ReportPage::listing(const std::string& text) {
  body_ += "<details><summary>show</summary><pre>" + chart::escape(text) + "</pre></details>\n";
}

std::string ReportPage::html() const {
  return "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>" +
         chart::escape(title_) + "</title><style>" + style + "</style></head>\n<body><h1>" + chart::escape(title_) + "</h1>\n<nav>" +
         contents_ + "</nav>\n" + warnings_ + body_ + "</body></html>\n";
}

}  // namespace voxgrad::app

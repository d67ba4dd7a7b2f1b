// SPDX-License-Identifier: BSD-3-Clause
// Samples files: a scan for the wanted entry, then the JSON library's event parser on that part alone.

#include "samples.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>

#include "files.hpp"
#include "json_text.hpp"
#include "options.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

namespace {

/// A file's bytes, mapped: only the parts that are looked at are read.
class Mapped {
 public:
  explicit Mapped(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    check<FileError>(fd >= 0, path, ": cannot be opened (", std::strerror(errno), ").");
    struct stat info = {};
    const bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    size_ = regular ? std::size_t(info.st_size) : 0;
    if (size_ > 0) bytes_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    check<FileError>(regular, path, ": is not a plain file.");
    check<FileError>(size_ > 0, path, ": is empty, but a samples file (JSON) is needed.");
    check<FileError>(bytes_ != MAP_FAILED, path, ": cannot be read (", std::strerror(errno), ").");
  }
  ~Mapped() {
    if (bytes_ != MAP_FAILED) munmap(bytes_, size_);
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  std::string_view text() const { return {static_cast<const char*>(bytes_), size_}; }

 private:
  void* bytes_ = MAP_FAILED;
  std::size_t size_ = 0;
};

/// The entries of the outermost object as (name, text of the value), found by counting brackets.
class TopLevel {
 public:
  TopLevel(const std::string& path, std::string_view text) : path_(path), text_(text) {}

  std::vector<std::pair<std::string, std::string_view>> entries() {
    std::vector<std::pair<std::string, std::string_view>> out;
    expect('{');
    if (peek() == '}') return out;
    for (;;) {
      const std::string_view quoted = string();
      expect(':');
      out.emplace_back(std::string(quoted.substr(1, quoted.size() - 2)), value());
      if (peek() == '}') return out;
      expect(',');
    }
  }

 private:
  [[noreturn]] void fail(const std::string& wanted) const {
    const std::string found =
        at_ < text_.size() ? "'" + std::string(1, text_[at_]) + "'" : "the end of the file";
    throw FileError(voxgrad::text(path_, ": is not a samples file (expected ", wanted, " at byte ", at_,
                                  ", found ", found, ")."));
  }
  char peek() {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_])) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  void expect(char wanted) {
    if (peek() != wanted) fail(std::string("'") + wanted + "'");
    ++at_;
  }
  std::string_view string() {
    if (peek() != '"') fail("a name in quotes");
    const std::size_t begin = at_++;
    for (; at_ < text_.size() && text_[at_] != '"'; ++at_)
      if (text_[at_] == '\\') ++at_;
    if (at_ >= text_.size()) fail("a closing quote");
    ++at_;
    return text_.substr(begin, at_ - begin);
  }
  std::string_view value() {
    if (peek() != '{') fail("'{'");
    const std::size_t begin = at_;
    std::size_t depth = 0;
    do {
      at_ = text_.find_first_of("{}[]\"", at_);
      if (at_ == std::string_view::npos) {
        at_ = text_.size();
        fail("a closing bracket");
      }
      const char c = text_[at_];
      if (c == '"') {
        string();
      } else {
        depth += c == '{' || c == '[' ? 1 : 0;
        depth -= c == '}' || c == ']' ? 1 : 0;
        ++at_;
      }
    } while (depth > 0);
    return text_.substr(begin, at_ - begin);
  }

  const std::string& path_;
  std::string_view text_;
  std::size_t at_ = 0;
};

/// Takes the parser's events of one entry and fills the lists.
class EntryReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  EntryReader(std::string where) : where_(std::move(where)) {}

  SampleLists lists() {
    SampleLists out;
    for (int fold = 0; fold < 2; ++fold) {
      std::vector<data::Sample>& to = fold == 0 ? out.train : out.valid;
      to = std::move(lists_[0][fold]);
      to.insert(to.end(), std::make_move_iterator(lists_[1][fold].begin()),
                std::make_move_iterator(lists_[1][fold].end()));
    }
    return out;
  }

  bool start_object(std::size_t) override {
    ++depth_;
    if (depth_ == 4) {
      need(in_array_ && !in_coord_, "an entry where none belongs");
      sample_ = {};
      has_movie_ = has_place_ = false;
      coordinates_ = 0;
    }
    return need(depth_ <= 4, "an object inside an entry");
  }
  bool end_object() override {
    if (depth_ == 4) finish_sample();
    --depth_;
    return true;
  }
  bool key(std::string& name) override {
    key_ = name;
    if (depth_ == 1) class_ = choose(name, "positive", "negative");
    if (depth_ == 2) fold_ = choose(name, "train", "valid");
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ == 2) {
      in_array_ = true;
      depth_ = 3;
      return true;
    }
    need(depth_ == 4 && key_ == "coord" && !in_coord_, "a list where none belongs");
    return in_coord_ = true;
  }
  bool end_array() override {
    if (in_coord_) {
      in_coord_ = false;
      has_place_ = true;
      return need(coordinates_ == 3, "coord has not three numbers");
    }
    in_array_ = false;
    depth_ = 2;
    return true;
  }
  bool string(std::string& value) override {
    need(depth_ == 4 && key_ == "neuron", "a text where none belongs");
    sample_.movie = value;
    return has_movie_ = true;
  }
  bool number_integer(std::int64_t value) override { return number(value); }
  bool number_unsigned(std::uint64_t value) override {
    return number(value > std::uint64_t(INT64_MAX) ? -1 : std::int64_t(value));
  }
  bool number_float(double, const std::string& text) override {
    return need(false, "'" + text + "' is not an integer");
  }
  bool null() override { return need(false, "null where a value is needed"); }
  bool boolean(bool) override { return need(false, "true or false where a value is needed"); }
  bool binary(nlohmann::json::binary_t&) override { return need(false, "binary data"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    throw FileError(text(where_, ": is not valid JSON (", position, " bytes after its start)."));
  }

 private:
  bool number(std::int64_t value) {
    need(depth_ == 4, "a number where none belongs");
    need(value >= 0, "a negative or huge number");
    if (in_coord_) {
      need(coordinates_ < 3, "coord has not three numbers");
      sample_.coord[std::size_t(coordinates_++)] = value;
    } else if (key_ == "event-id") {
      sample_.row = value;
      has_place_ = true;
    } else if (key_ == "neuron") {
      sample_.movie = std::to_string(value);
      has_movie_ = true;
    } else {
      need(false, "unknown name '" + key_ + "'");
    }
    return true;
  }
  void finish_sample() {
    need(has_movie_, "no 'neuron'");
    need(has_place_ && (class_ == 0) == sample_.positive(), class_ == 0 ? "no 'event-id'" : "no 'coord'");
    lists_[class_][fold_].push_back(sample_);
  }
  int choose(const std::string& name, const char* first, const char* second) {
    need(name == first || name == second, "unknown name '" + name + "'");
    return name == first ? 0 : 1;
  }
  bool need(bool ok, const std::string& problem) const {
    if (ok) return true;
    std::string place = where_;
    if (depth_ >= 3)
      place += text(", ", class_ == 0 ? "positive" : "negative", ", ", fold_ == 0 ? "train" : "valid",
                    ", entry ", lists_[class_][fold_].size());
    throw FileError(place + ": " + problem + ".");
  }

  std::string where_, key_;
  std::vector<data::Sample> lists_[2][2];
  data::Sample sample_;
  int depth_ = 0, class_ = 0, fold_ = 0, coordinates_ = 0;
  bool in_array_ = false, in_coord_ = false, has_movie_ = false, has_place_ = false;
};

std::string found_names(const std::vector<std::pair<std::string, std::string_view>>& entries) {
  constexpr std::size_t most = 12;
  std::string out;
  for (std::size_t i = 0; i < std::min(most, entries.size()); ++i)
    out += (i ? ", '" : "'") + entries[i].first + "'";
  if (entries.size() > most) out += text(" and ", entries.size() - most, " more");
  return out.empty() ? "nothing" : out;
}

void append_list(std::string& out, const std::vector<data::Sample>& samples, bool positive) {
  out += "[";
  bool first = true;
  for (const data::Sample& sample : samples) {
    if (sample.positive() != positive) continue;
    out += first ? "{\"neuron\": " : ", {\"neuron\": ";
    first = false;
    out += json_quote(sample.movie);
    if (positive)
      out += ", \"event-id\": " + std::to_string(sample.row) + "}";
    else
      out += ", \"coord\": [" + std::to_string(sample.coord[0]) + ", " + std::to_string(sample.coord[1]) +
             ", " + std::to_string(sample.coord[2]) + "]}";
  }
  out += "]";
}

}  // namespace

std::vector<std::string> samples_keys(const std::string& path) {
  const Mapped file(path);
  std::vector<std::string> keys;
  for (const auto& [key, value] : TopLevel(path, file.text()).entries()) keys.push_back(key);
  return keys;
}

SampleLists read_samples(const std::string& path, const std::string& key) {
  const Mapped file(path);
  const auto entries = TopLevel(path, file.text()).entries();
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&key](const auto& entry) { return entry.first == key; });
  check<FileError>(found != entries.end(), path, ": has no list '", key, "'. Found: ", found_names(entries),
                   ". Set training_config.samples_pu.positive and unlabeled to one of these.");
  EntryReader reader(text(path, ": ", key));
  nlohmann::json::sax_parse(found->second.begin(), found->second.end(), &reader);
  SampleLists lists = reader.lists();
  check<FileError>(!lists.train.empty(), path, ": ", key, ": has no training samples.");
  return lists;
}

void write_samples(const std::string& path, const std::vector<std::pair<std::string, SampleLists>>& entries) {
  std::string out = "{";
  for (const auto& [key, lists] : entries) {
    out += (out.size() > 1 ? ", " : "") + json_quote(key);
    for (const bool positive : {true, false}) {
      out += positive ? ": {\"positive\": {\"train\": " : ", \"negative\": {\"train\": ";
      append_list(out, lists.train, positive);
      out += ", \"valid\": ";
      append_list(out, lists.valid, positive);
      out += "}";
    }
    out += "}";
  }
  write_file(path, out + "}\n");
}

}  // namespace voxgrad::app

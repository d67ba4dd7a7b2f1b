// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/plan_cache.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <locale>
#include <sstream>

#include "voxgrad/core/error.hpp"

namespace voxgrad::cuda {
namespace {

// First line of a file. A later program that writes other fields has another number, and neither reads the other's.
constexpr const char* head = "voxgrad convolution plan 1";
constexpr std::streamoff largest_file = 4 << 20;

uint64_t fnv(const std::string& text) {
  uint64_t h = 14695981039346656037u;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return h;
}

std::string hex(uint64_t v) {
  char out[17];
  std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(v));
  return out;
}

std::string written(const PlanRecord& r) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  out.precision(9);
  out << "key " << r.key << "\nengine " << r.engine << "\nnotes " << r.notes << "\nworkspace " << r.workspace << "\nus " << r.us << "\n"
      << r.json << "\n";
  return text(head, "\nsum ", hex(fnv(out.str())), "\n", out.str());
}

/// The rest of a line that starts with `word` and a blank; false when it does not.
bool line(std::istream& in, const std::string& word, std::string& value) {
  std::string all;
  if (!std::getline(in, all) || all.compare(0, word.size() + 1, word + " ") != 0) return false;
  value = all.substr(word.size() + 1);
  return true;
}
template <class T>
bool number(std::istream& in, const std::string& word, T& value) {
  std::string digits;
  if (!line(in, word, digits)) return false;
  const auto end = digits.data() + digits.size();
  const auto got = std::from_chars(digits.data(), end, value);
  return got.ec == std::errc() && got.ptr == end;
}

/// The record of a file's text, or why there is none.
std::optional<PlanRecord> parse(const std::string& content, std::string& why) {
  std::istringstream in(content);
  std::string first, sum;
  std::getline(in, first);
  if (first != head) {
    why = first.rfind("voxgrad convolution plan", 0) == 0 ? "written by another version of voxgrad" : "not a plan of voxgrad";
    return {};
  }
  why = "damaged";
  if (!line(in, "sum", sum) || !in.good()) return {};
  const std::string body = content.substr(std::size_t(in.tellg()));
  if (sum != hex(fnv(body))) return {};
  PlanRecord r;
  if (!line(in, "key", r.key) || !number(in, "engine", r.engine) || !number(in, "notes", r.notes) || !number(in, "workspace", r.workspace) ||
      !number(in, "us", r.us) || body.empty() || body.back() != '\n' || !in.good())
    return {};
  r.json = content.substr(std::size_t(in.tellg()));
  r.json.pop_back();
  return r;
}

/// Writes to a new file and forces it to the disk; the error's text, "" when all is well.
std::string write_new(const std::string& path, const std::string& content) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return std::strerror(errno);
  std::size_t done = 0;
  int error = 0;
  while (done < content.size() && error == 0) {
    const ssize_t n = ::write(fd, content.data() + done, content.size() - done);
    if (n >= 0) done += std::size_t(n);
    else if (errno != EINTR) error = errno;
  }
  if (::close(fd) != 0 && error == 0) error = errno;
  return error == 0 ? "" : std::strerror(error);
}

}  // namespace

std::string plan_cache_folder() {
  const std::string own = environment("VOXGRAD_CACHE");
  if (own == "off") return "";
  if (!own.empty()) return own;
  if (const std::string home = environment("XDG_CACHE_HOME"); !home.empty()) return home + "/voxgrad";
  if (const std::string job = environment("SLURM_TMPDIR"); !job.empty()) return job + "/voxgrad-cache";
  return "";
}

std::string PlanCache::file(const std::string& key) const { return folder_.empty() ? "" : folder_ + "/" + hex(fnv(key)) + ".plan"; }

void PlanCache::complain(const std::string& what) {
  if (complained_) return;
  complained_ = true;
  if (note_) note_("plan cache: " + what);
}

std::optional<PlanRecord> PlanCache::find(const std::string& key) {
  if (folder_.empty()) return {};
  const std::string path = file(key);
  std::ifstream in(path, std::ios::binary);  // from here on the same file, whatever others put in its place
  if (!in) {
    const int error = errno;
    if (error != ENOENT && error != ENOTDIR) reject(key, text("cannot be read (", std::strerror(error), ")"));
    return {};
  }
  in.seekg(0, std::ios::end);
  const std::streamoff size = in.tellg();
  if (size < 0 || size > largest_file) {
    reject(key, text("is not a plan of voxgrad (", size, " bytes)"));
    return {};
  }
  std::string content(std::size_t(size), '\0'), why;
  in.seekg(0);
  if (!in.read(content.data(), std::streamsize(content.size()))) {
    reject(key, "cannot be read");
    return {};
  }
  std::optional<PlanRecord> record = parse(content, why);
  if (record && record->key != key) {  // two keys of the same sum, or a file that was renamed
    why = "is the plan of another key";
    record.reset();
  }
  if (!record) reject(key, why);
  return record;
}

void PlanCache::store(const PlanRecord& record) {
  if (folder_.empty()) return;
  static std::atomic<int> counter{0};
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) return complain(folder_ + ": cannot be made (" + error.message() + "). Plans are not kept.");
  const std::string path = file(record.key), part = text(path, ".", ::getpid(), ".", counter++, ".part");
  if (const std::string why = write_new(part, written(record)); !why.empty()) {
    ::unlink(part.c_str());
    return complain(part + ": cannot be written (" + why + "). Plans are not kept.");
  }
  if (::rename(part.c_str(), path.c_str()) != 0) {
    const int why = errno;
    ::unlink(part.c_str());
    complain(path + ": cannot be replaced (" + std::strerror(why) + ").");
  }
}

ConvPlanner::ConvPlanner(PlanTarget target, std::string card, PlannerOptions options)
    : target_(std::move(target)), card_(std::move(card)), options_(std::move(options)), cache_(options_.cache_folder, options_.log) {}

std::string ConvPlanner::key(const ConvSpec& spec) const {
  return text(card_, ", cuDNN ", target_.library().version, ", ", describe(spec), ", aligned 16, workspace ", cap_of(options_.limits, spec));
}

std::shared_ptr<const ConvPlan> ConvPlanner::plan(const ConvSpec& spec) {
  const std::scoped_lock lock(mutex_);
  std::shared_ptr<const ConvPlan>& plan = plans_[spec];
  if (plan) return plan;
  validate(spec);
  require_trusted(target_.library(), spec.io, spec.math);
  const std::string name = key(spec);
  plan = kept(spec, name);
  if (!plan) plan = selected(spec, name);
  return plan;
}

std::shared_ptr<const ConvPlan> ConvPlanner::kept(const ConvSpec& spec, const std::string& name) {
  const std::optional<PlanRecord> record = cache_.find(name);
  if (!record || (options_.time && record->us <= 0)) return nullptr;  // chosen without a clock: now there is one
  std::string why;
  std::optional<ConvPlan> plan = load_plan(target_, record->json, why);
  if (!plan || plan->workspace > cap_of(options_.limits, spec) || !forbidden(spec, record->notes).empty()) {
    cache_.reject(name, plan ? "does not keep the limits that its key names" : "refused by cuDNN: " + why);
    return nullptr;
  }
  plan->engine = record->engine;
  plan->notes = record->notes;
  plan->us = record->us;
  if (options_.log) options_.log(text(describe(spec), ": engine ", plan->engine, ", ", plan->workspace, " bytes of workspace, from ", cache_.file(name)));
  return std::make_shared<const ConvPlan>(std::move(*plan));
}

std::shared_ptr<const ConvPlan> ConvPlanner::selected(const ConvSpec& spec, const std::string& name) {
  CudnnPlanDevice device(target_, spec);
  PlanJudge<ConvPlan> judge;
  if (options_.time) judge.time = [&](const ConvPlan& plan) { return options_.time(spec, plan); };
  if (options_.verify) judge.verify = [&](const ConvPlan& plan) { return options_.verify(spec, plan); };
  judge.log = options_.log;
  auto plan = std::make_shared<const ConvPlan>(select_plan(device, spec, options_.limits, judge));
  cache_.store({name, plan->engine, plan->notes, plan->workspace, plan->us, plan->json()});
  return plan;
}

}  // namespace voxgrad::cuda

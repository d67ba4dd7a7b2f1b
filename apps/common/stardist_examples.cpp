// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_examples.hpp"

#include "object_classes.hpp"

namespace voxgrad::app {

std::shared_ptr<const stardist::Example> CachedExamples::example(int64_t index) const {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = kept_.find(index); found != kept_.end()) return found->second;
  }
  auto loaded = std::make_shared<const stardist::Example>(load(index));
  const std::lock_guard lock(mutex_);
  if (bytes_ + loaded->bytes() <= rule_.cache_bytes && kept_.emplace(index, loaded).second) bytes_ += loaded->bytes();
  return loaded;
}

void CachedExamples::finish(stardist::Example& e, const std::string& labels_path, const std::function<stardist::ObjectClasses()>& read) const {
  if (rule_.labels_are_classes) {
    e.classes = separate_classes(e.labels, rule_.n_classes, labels_path);
    return;
  }
  if (*rule_.masks) separate_components(e.labels);
  if (rule_.n_classes > 0) e.classes = read();
}

}  // namespace voxgrad::app

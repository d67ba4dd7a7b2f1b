// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The two containers of torch.save: a zip archive (PyTorch 1.6 and later), or five pickles in a row and then raw storages.
// Both give one pickle, which says what there is, and the bytes of storages by key.

#include <map>
#include <optional>

#include "voxgrad/io/pickle.hpp"
#include "voxgrad/io/stored_zip.hpp"
#include "voxgrad/io/torch_tensor.hpp"

namespace voxgrad::io {

/// All that a file of weights may name. Nothing of it is ever called: TorchArchive knows what each stands for.
inline constexpr auto torch_globals = [] {
  using Makes = PickleGlobal::Makes;
  std::array<PickleGlobal, 11 + std::size(torch_types)> all = {
      PickleGlobal{"collections", "OrderedDict", Makes::dict}, {"collections", "defaultdict", Makes::dict},
      {"__builtin__", "list", Makes::list}, {"builtins", "list", Makes::list},
      {"torch._utils", "_rebuild_tensor_v2", Makes::call}, {"torch._utils", "_rebuild_tensor", Makes::call},
      {"torch._utils", "_rebuild_parameter", Makes::call}, {"numpy.core.multiarray", "scalar", Makes::call},
      {"numpy._core.multiarray", "scalar", Makes::call}, {"numpy", "dtype", Makes::call}, {"_codecs", "encode", Makes::call}};
  for (size_t i = 0; i < std::size(torch_types); ++i) all[11 + i] = {"torch", torch_types[i].storage, Makes::nothing};
  return all;
}();

class TorchContainer {
 public:
  /// FileError: neither of the two formats, incomplete, damaged, or a kind that is refused, with what would work.
  explicit TorchContainer(const std::string& path) : file_(path) {
    std::string head(512, '\0');
    head.resize(file_.read_some(0, head.data(), head.size()));
    const std::string_view start = head;
    if (start.starts_with("PK\x03\x04")) open_zip();
    else if (start.starts_with(legacy_magic)) open_legacy();
    else if (head.size() > 262 && start.substr(257, 5) == "ustar")
      throw FileError(path + ": is a tar archive; PyTorch before 0.1.10 wrote such files. Load it there and save it again with torch.save.");
    else throw FileError(path + ": is no PyTorch file (neither a zip archive nor the format before 1.6).");
  }
  TorchContainer(const TorchContainer&) = delete;
  TorchContainer& operator=(const TorchContainer&) = delete;

  const std::string& path() const { return file_.path(); }
  bool legacy() const { return !zip_; }
  const Pickle& pickle() const { return *pickle_; }

  /// Tells the legacy format the type of a storage, which only the tensors name; their places follow from it.
  /// For both: FileError when the file holds less than that many elements.
  void locate(const std::map<std::string, const TorchTensor*>& storages) {
    if (zip_) {
      for (const auto& [key, t] : storages) need(key, t, size_of_entry(root_ + "data/" + key));
      return;
    }
    uint64_t at = storages_at_;
    for (const std::string& key : keys_) {
      const auto it = storages.find(key);
      check<FileError>(it != storages.end(), path(), ": storage '", key, "' belongs to no tensor, the file is damaged.");
      std::array<unsigned char, 8> raw{};
      file_.read(at, raw.data(), 8);
      uint64_t count = 0;
      for (size_t i = 8; i-- > 0;) count = count << 8 | raw[i];
      at += 8;
      const size_t width = it->second->width();
      check<FileError>(count <= (file_.size() - at) / width, path(), ": storage '", key, "' of ", count,
                       " elements does not fit into the file (truncated copy?).");
      need(key, it->second, count * width);
      places_[key] = {at, count * width};
      at += count * width;
    }
    for (const auto& [key, t] : storages)
      check<FileError>(places_.count(key) != 0, path(), ": '", t->name, "' has its values in storage '", key, "', which the file lacks.");
  }

  /// The bytes of a storage that was located.
  std::string storage(const std::string& key) const {
    if (zip_) return zip_->read(root_ + "data/" + key);
    const auto [at, size] = places_.at(key);
    std::string bytes(size_t(size), '\0');
    file_.read(at, bytes.data(), bytes.size());
    return bytes;
  }

 private:
  static constexpr std::string_view legacy_magic{"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14};  // LONG1 0x1950a86a20f9469cfc6c

  uint64_t size_of_entry(const std::string& name) const {
    const auto it = zip_->entries().find(name);
    check<FileError>(it != zip_->entries().end(), path(), ": holds no entry '", name, "', the archive is damaged or incomplete.");
    return it->second.size;
  }
  void need(const std::string& key, const TorchTensor* t, uint64_t bytes) const {
    check<FileError>(uint64_t(t->storage_elements) <= bytes / t->width(), path(), ": storage '", key, "' of '", t->name, "' holds ", bytes,
                     " bytes (expected ", t->storage_elements, " elements of ", t->type->name, ").");
  }

  void open_zip() {
    zip_.emplace(file_);
    for (const auto& [name, entry] : zip_->entries()) {
      if (name.ends_with("/constants.pkl") || name.find("/code/") != std::string::npos)
        throw FileError(path() + ": is a TorchScript archive (torch.jit.save), which holds a program. Save the weights: torch.save(model.state_dict(), ...).");
      if (name.ends_with("/data.pkl")) {
        check<FileError>(root_.empty(), path(), ": holds two pickles, '", root_, "data.pkl' and '", name, "'.");
        root_ = name.substr(0, name.size() - 8);
      }
    }
    check<FileError>(!root_.empty(), path(), ": is a zip archive without 'data.pkl', so not of torch.save.");
    if (zip_->has(root_ + "byteorder")) {
      check<FileError>(size_of_entry(root_ + "byteorder") < 16, path(), ": entry 'byteorder' is damaged.");
      const std::string order = zip_->read(root_ + "byteorder");
      check<FileError>(order == "little", path(), ": its numbers are '", order.substr(0, 20), "'-endian (expected 'little'). Save it again on an x86 or ARM machine.");
    }
    check<FileError>(size_of_entry(root_ + "data.pkl") <= PickleMachine::max_bytes, path(), ": its pickle is larger than ", PickleMachine::max_bytes, " bytes.");
    pickle_ = read_pickle(std::make_shared<const std::string>(zip_->read(root_ + "data.pkl")), torch_globals, path() + ": data.pkl");
  }

  void open_legacy() {
    // The pickles stand in front and hold no numbers of tensors.
    auto all = std::make_shared<std::string>(size_t(std::min<uint64_t>(file_.size(), uint64_t(256) << 20)), '\0');
    file_.read(0, all->data(), all->size());
    size_t at = 0;
    const auto next = [&](const char* what) { return read_pickle(all, torch_globals, path() + ": " + what, at, &at); };
    next("magic number");
    const Pickle protocol = next("protocol"), system = next("system"), object = next("object"), keys = next("storage keys");
    check<FileError>(protocol.kind(protocol.root()) == Pickle::Kind::integer && protocol.integer(protocol.root()) == 1001, path(),
                     ": is of an unknown protocol (expected 1001).");
    const Pickle::Id* little = system.kind(system.root()) == Pickle::Kind::dict ? system.find(system.root(), "little_endian") : nullptr;
    check<FileError>(little && system.kind(*little) == Pickle::Kind::boolean && system.integer(*little) == 1, path(),
                     ": its numbers are not little-endian. Save it again on an x86 or ARM machine.");
    check<FileError>(keys.kind(keys.root()) == Pickle::Kind::list, path(), ": has no list of storage keys, the file is damaged.");
    for (const Pickle::Id id : keys.items(keys.root())) {
      check<FileError>(keys.kind(id) == Pickle::Kind::text, path(), ": has a storage key that is no text, the file is damaged.");
      keys_.emplace_back(keys.text(id));
    }
    pickle_ = object;
    storages_at_ = at;
  }

  RandomFile file_;
  std::optional<StoredZip> zip_;
  std::string root_;  ///< of the zip's entries, with a slash
  std::optional<Pickle> pickle_;
  uint64_t storages_at_ = 0;
  std::vector<std::string> keys_;
  std::map<std::string, std::pair<uint64_t, uint64_t>> places_;  ///< byte, size
};

}  // namespace voxgrad::io

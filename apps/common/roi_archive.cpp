// SPDX-License-Identifier: BSD-3-Clause
// The zip archive of outlines, where libzip is present.

#include <zip.h>

#include "files.hpp"
#include "imagej_roi.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

bool RoiArchive::can_write() { return true; }

void RoiArchive::write(const std::string& path) const {
  check<FileError>(!entries_.empty(), path, ": no event, no ROI archive");
  AtomicFile file(path);
  int code = 0;
  zip_t* archive = zip_open(file.temporary().c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  check<FileError>(archive != nullptr, path, ": cannot be written (zip error ", code, ")");
  bool ok = true;
  for (const Entry& entry : entries_) {
    zip_source_t* source = ok ? zip_source_buffer(archive, entry.bytes.data(), entry.bytes.size(), 0) : nullptr;
    const zip_int64_t index = source ? zip_file_add(archive, (entry.name + ".roi").c_str(), source, ZIP_FL_ENC_UTF_8) : -1;
    if (source && index < 0) zip_source_free(source);
    // A fixed date (1 January 1980, the earliest in the format): equal results are equal files.
    ok = ok && index >= 0 && zip_file_set_dostime(archive, zip_uint64_t(index), 0, 33, 0) == 0;
  }
  ok = ok && zip_close(archive) == 0;
  const std::string why = ok ? "" : zip_strerror(archive);
  if (!ok) zip_discard(archive);
  check<FileError>(ok, path, ": cannot be written (", why, ")");
  file.commit();
}

}  // namespace voxgrad::app

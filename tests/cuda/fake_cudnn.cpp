// SPDX-License-Identifier: BSD-3-Clause
// A stand-in for libcudnn_graph: its version is that of FAKE_CUDNN_VERSION, every call answers FAKE_CUDNN_STATUS.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <stdlib.h>

namespace {
long number(const char* name) {
  const char* value = getenv(name);
  return value != nullptr ? atol(value) : 0;
}
int answer() { return int(number("FAKE_CUDNN_STATUS")); }
}  // namespace

extern "C" {
size_t cudnnGetVersion() { return size_t(number("FAKE_CUDNN_VERSION")); }
const char* cudnnGetErrorString(int status) { return status == 1002 ? "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH" : "CUDNN_STATUS_FAKE"; }
void cudnnGetLastErrorString(char* message, size_t size) { std::snprintf(message, size, "the reason,\nin two lines\n"); }
int cudnnCreate(void**) { return answer(); }
int cudnnDestroy(void*) { return answer(); }
int cudnnSetStream(void*, void*) { return answer(); }
int cudnnBackendCreateDescriptor(int, void** descriptor) {
  static int live;
  *descriptor = &live;
  return answer();
}
int cudnnBackendDestroyDescriptor(void*) {
  setenv("FAKE_CUDNN_DESTROYED", "1", 1);
  return answer();
}
int cudnnBackendFinalize(void*) { return answer(); }
int cudnnBackendSetAttribute(void*, int, int, int64_t, const void*) { return answer(); }
int cudnnBackendGetAttribute(void*, int, int, int64_t, int64_t* count, void*) {
  *count = 0;
  return answer();
}
int cudnnBackendExecute(void*, void*, void*) { return answer(); }
}

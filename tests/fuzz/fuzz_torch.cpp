// SPDX-License-Identifier: BSD-3-Clause
// Entry for fuzzers: the reader of PyTorch archives. Only a FileError may come out.

#include "fuzz_input.hpp"
#include "voxgrad/io/torch_archive.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const voxgrad::fuzz::InputFile file(data, size);
  try {
    voxgrad::io::TorchArchive archive(file.path());
    for (const voxgrad::io::TorchTensor& t : archive.tensors()) archive.bytes(t);
  } catch (const voxgrad::FileError&) {
  }
  return 0;
}

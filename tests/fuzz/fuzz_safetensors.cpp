// SPDX-License-Identifier: BSD-3-Clause
// Entry for fuzzers: the reader of safetensors. Only a FileError may come out.

#include "fuzz_input.hpp"
#include "voxgrad/io/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const voxgrad::fuzz::InputFile file(data, size);
  try {
    voxgrad::io::SafeTensors tensors(file.path());
    for (const std::string& name : tensors.names()) tensors.tensor(name);
  } catch (const voxgrad::FileError&) {
  }
  return 0;
}

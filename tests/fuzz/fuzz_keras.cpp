// SPDX-License-Identifier: BSD-3-Clause
// Entry for fuzzers: the reader of Keras' HDF5 weights. Only a FileError may come out.

#include "fuzz_input.hpp"
#include "voxgrad/io/keras_weights.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const voxgrad::fuzz::InputFile file(data, size);
  try {
    voxgrad::io::read_keras_weights(file.path());
  } catch (const voxgrad::FileError&) {
  }
  return 0;
}

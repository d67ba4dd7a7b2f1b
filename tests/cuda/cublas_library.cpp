// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/cublas_library.hpp"

#include <cstdio>
#include <vector>

#include "catch.hpp"
#include "message.hpp"
#include "scratch_folder.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using cuda::test::ScratchFolder;
using cuda::test::Variable;

namespace {

LibrarySearch in(const std::string& folder) {
  LibrarySearch search = cublas_search();
  search.folder = folder;
  return search;
}

std::vector<float> ramp(std::size_t n, float step) {
  std::vector<float> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = step * float(i % 17) - 1;
  return out;
}

}  // namespace

TEST_CASE("cuBLAS: what was looked for where, and versions that are not known") {
  const ScratchFolder scratch;
  CHECK(voxgrad::test::message<DeviceError>([&] { open_cublas(in(scratch.path())); }) ==
        "cuBLAS: libcublas.so.13 or libcublas.so.12 cannot be opened. Looked in VOXGRAD_CUBLAS_DIR=" + scratch.path() +
            ": no such file. Set VOXGRAD_CUBLAS_DIR to the folder with libcublas.so.13 or .12.");
  const std::string path = scratch.copy(FAKE_CUBLAS, "libcublas.so.12");
  CHECK(open_cublas(in(scratch.path())).path == path);
  const Variable major("FAKE_CUBLAS_MAJOR", "14");
  CHECK(voxgrad::test::message<DeviceError>([&] { open_cublas(in(scratch.path())); }) ==
        "cuBLAS: " + path + " is version 14.1; this program knows 12 and 13. Set VOXGRAD_CUBLAS_DIR to the folder with libcublas.so.13 or .12.");
}

TEST_CASE("a row-major product is asked of column-major cuBLAS, transposed and in wider rows") {
  const ScratchFolder scratch;
  scratch.copy(FAKE_CUBLAS, "libcublas.so.13");
  const CublasLibrary library = open_cublas(in(scratch.path()));
  Cublas cublas(library);
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      Gemm g;
      g.m = 3, g.n = 5, g.k = 7;
      g.transpose_a = ta, g.transpose_b = tb;
      g.lda = (ta ? g.m : g.k) + 2, g.ldb = (tb ? g.k : g.n) + 1, g.ldc = g.n + 3;
      g.alpha = 0.5f, g.beta = 2;
      const std::vector<float> a = ramp(std::size_t(g.lda * (ta ? g.k : g.m)), 0.25f), b = ramp(std::size_t(g.ldb * (tb ? g.n : g.k)), 0.5f);
      const std::vector<float> before = ramp(std::size_t(g.ldc * g.m), 1);
      std::vector<float> c = before;
      g.a = a.data(), g.b = b.data(), g.c = c.data();
      cublas.run(g, nullptr);
      for (int i = 0; i < g.m; ++i)
        for (int j = 0; j < g.ldc; ++j) {
          const std::size_t at = std::size_t(i * g.ldc + j);
          float sum = 0;
          for (int l = 0; l < g.k; ++l) {
            const float av = ta ? a[std::size_t(l * g.lda + i)] : a[std::size_t(i * g.lda + l)];
            const float bv = tb ? b[std::size_t(j * g.ldb + l)] : b[std::size_t(l * g.ldb + j)];
            sum += av * bv;
          }
          REQUIRE(c[at] == (j < g.n ? 0.5f * sum + 2 * before[at] : before[at]));
        }
    }
}

TEST_CASE("products that contradict themselves, and a failing handle") {
  const ScratchFolder scratch;
  scratch.copy(FAKE_CUBLAS, "libcublas.so.13");
  const CublasLibrary library = open_cublas(in(scratch.path()));
  Cublas cublas(library);
  Gemm g;
  g.m = g.n = g.k = 2;
  g.lda = g.ldb = 2;
  g.ldc = 1;
  CHECK(voxgrad::test::message<ShapeError>([&] { cublas.run(g, nullptr); }) ==
        "matmul: rows overlap (lda 2 of 2, ldb 2 of 2, ldc 1 of 2)");
  g.ldc = 2;
  g.io = Element::bf16;
  CHECK(voxgrad::test::message<DTypeError>([&] { cublas.run(g, nullptr); }) ==
        "matmul: bf16 storage does not go with strict (16-bit storage is for tensor_core, f32 for tf32 and strict)");
  g.math = Math::tensor_core;
  CHECK(voxgrad::test::message<DeviceError>([&] { cublas.run(g, nullptr); }) == "cublasGemmEx: CUBLAS_STATUS_FAKE (15)");
  const Variable status("FAKE_CUBLAS_STATUS", "1");
  CHECK(voxgrad::test::message<DeviceError>([&] { Cublas broken(library); }) == "cublasCreate: CUBLAS_STATUS_FAKE (1)");
}

TEST_CASE("the cuBLAS of this machine opens and tells its version") {
  try {
    const CublasLibrary library = open_cublas(cublas_search());
    CHECK((library.version[0] == 12 || library.version[0] == 13));
  } catch (const DeviceError& error) {
    std::printf("skipped: cuBLAS of this machine (%s)\n", error.what());
  }
}

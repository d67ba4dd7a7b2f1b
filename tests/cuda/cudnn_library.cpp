// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/cudnn_library.hpp"

#include <cstdio>

#include "catch.hpp"
#include "message.hpp"
#include "scratch_folder.hpp"
#include "voxgrad/cuda/cudnn_descriptor.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using cuda::test::ScratchFolder;
using cuda::test::Variable;

namespace {

LibrarySearch in(const std::string& folder) {
  LibrarySearch search = cudnn_search();
  search.folder = folder;
  return search;
}
std::string refusal(const LibrarySearch& search) {
  return voxgrad::test::message<DeviceError>([&] { open_cudnn(search); });
}
const std::string advice = " Install cuDNN 9 and set VOXGRAD_CUDNN_DIR to the folder with libcudnn_graph.so.9.";

}  // namespace

TEST_CASE("a folder named by the user that holds no cuDNN is an error, not a hint") {
  const ScratchFolder scratch;
  const Variable folder("VOXGRAD_CUDNN_DIR", scratch.path());
  CHECK(refusal(cudnn_search()) == "cuDNN: libcudnn_graph.so.9 cannot be opened. Looked in VOXGRAD_CUDNN_DIR=" + scratch.path() + ": no such file." + advice);
  const Variable gone("VOXGRAD_CUDNN_DIR", scratch / "gone");
  CHECK(refusal(cudnn_search()) == "cuDNN: libcudnn_graph.so.9 cannot be opened. Looked in VOXGRAD_CUDNN_DIR=" + (scratch / "gone") + ": no such folder." + advice);
}

TEST_CASE("every place that was looked in is named") {
  LibrarySearch search = in("");
  search.names = {"libno_such_cudnn.so.9"};
  search.strangers = {};
  search.folders = {"/no/such/folder", "/"};
  const std::string said = refusal(search);
  CHECK(said.rfind("cuDNN: libno_such_cudnn.so.9 cannot be opened. Looked in the loader's path (LD_LIBRARY_PATH is '", 0) == 0);
  CHECK(said.find("libno_such_cudnn.so.9: cannot open shared object file") != std::string::npos);
  CHECK(said.find("; /no/such/folder: no such folder; /: no such file." + advice) != std::string::npos);
}

TEST_CASE("a file that is no library says what the loader says") {
  const ScratchFolder scratch;
  scratch.write("libcudnn_graph.so.9", "<html>404</html>");
  const std::string said = refusal(in(scratch.path()));
  CHECK(said.find("libcudnn_graph.so.9: file too short") != std::string::npos);
}

TEST_CASE("versions: another major, too old, none at all") {
  const ScratchFolder scratch;
  const std::string path = scratch.copy(FAKE_CUDNN, "lib/libcudnn_graph.so.9");  // found in the folder's lib, as in Python packages
  {
    const Variable version("FAKE_CUDNN_VERSION", "100203");
    CHECK(refusal(in(scratch.path())) == "cuDNN: " + path + " is version 10.2.3; this program knows 9." + advice);
  }
  {
    const Variable version("FAKE_CUDNN_VERSION", "8902");
    CHECK(refusal(in(scratch.path())) == "cuDNN: " + path + " is version 8.9.2; this program knows 9." + advice);
  }
  {
    const Variable version("FAKE_CUDNN_VERSION", "90000");
    CHECK(refusal(in(scratch.path())) == "cuDNN: " + path + " is version 9.0.0; 9.1.0 or newer is needed.");
  }
  {
    const Variable version("FAKE_CUDNN_VERSION", "91900");
    const CudnnLibrary library = open_cudnn(in(scratch.path()));
    CHECK(library.version == 91900);
    CHECK(library.path == path);
  }
  const ScratchFolder other;
  const std::string stranger = other.copy(FAKE_CUDNN, "libcudnn_graph.so.10");
  CHECK(refusal(in(other.path())) == "cuDNN: libcudnn_graph.so.9 cannot be opened. Looked in VOXGRAD_CUDNN_DIR=" + other.path() + ": found " + stranger +
                                         ", a version that this program does not know." + advice);
  const ScratchFolder wrong;
  const std::string blas = wrong.copy(FAKE_CUBLAS, "libcudnn_graph.so.9");
  CHECK(refusal(in(wrong.path())) == "cuDNN: " + blas + " has no cudnnGetVersion. Is it cuDNN?");
}

TEST_CASE("versions whose 3-D results cannot be trusted are refused unless allowed") {
  for (const Element io : {Element::bf16, Element::f16}) {
    CHECK(cudnn_distrust(90799, io, Math::tensor_core).empty());
    CHECK(cudnn_distrust(90800, io, Math::tensor_core) ==
          "cuDNN 9.8.0 can give wrong results in 16-bit 3-D convolutions (known of 9.8 to 9.10, trusted from 9.15 on)");
    CHECK_FALSE(cudnn_distrust(91499, io, Math::tensor_core).empty());
    CHECK(cudnn_distrust(91500, io, Math::tensor_core).empty());
  }
  CHECK_FALSE(cudnn_distrust(91599, Element::f32, Math::tf32).empty());
  CHECK(cudnn_distrust(91600, Element::f32, Math::tf32).empty());
  CHECK(cudnn_distrust(90900, Element::f32, Math::strict).empty());

  const ScratchFolder scratch;
  const std::string path = scratch.copy(FAKE_CUDNN, "libcudnn_graph.so.9");
  const Variable version("FAKE_CUDNN_VERSION", "91002");
  const CudnnLibrary library = open_cudnn(in(scratch.path()));
  const auto asked = [&] { return voxgrad::test::message<DeviceError>([&] { require_trusted(library, Element::bf16, Math::tensor_core); }); };
  CHECK(asked() == "cuDNN 9.10.2 can give wrong results in 16-bit 3-D convolutions (known of 9.8 to 9.10, trusted from 9.15 on): " + path +
                       ". Use another version or precision, or set VOXGRAD_CUDNN_TRUST=1 to use it all the same.");
  const Variable trust("VOXGRAD_CUDNN_TRUST", "1");
  CHECK(asked() == "no error");
}

TEST_CASE("two installations in one process are named") {
  CHECK(mixed_folders("cuDNN", {"/a/libcudnn_graph.so.9", "/a/libcudnn_cnn.so.9"}).empty());
  CHECK(mixed_folders("cuDNN", {"/a/libcudnn_graph.so.9", "/b/libcudnn_cnn.so.9"}) ==
        "Two copies of cuDNN are mixed in this process, from /a and /b");

  const ScratchFolder one, two;
  one.copy(FAKE_CUDNN, "libcudnn_graph.so.9");
  two.copy(FAKE_CUBLAS, "libcudnn_cnn.so.9");
  const Variable version("FAKE_CUDNN_VERSION", "91900"), status("FAKE_CUDNN_STATUS", "1002");
  const CudnnLibrary library = open_cudnn(in(one.path()));
  std::string why;
  const DynamicLibrary sister(two / "libcudnn_cnn.so.9", why);
  REQUIRE(sister);
  const std::string said = voxgrad::test::message<DeviceError>([&] { check_cudnn(library, 1002, "cudnnCreate"); });
  const auto has = [&](const std::string& part) { return said.find(part) != std::string::npos; };
  INFO(said);  // this machine's cuDNN may be loaded too
  CHECK(said.rfind("cudnnCreate: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH (1002): the reason, in two lines. Two copies of cuDNN are mixed in this process, from ", 0) == 0);
  CHECK(has(one.path()));
  CHECK(has(two.path()));
  CHECK(has(". Set VOXGRAD_CUDNN_DIR to the one to use, or take the other out of LD_LIBRARY_PATH."));
}

TEST_CASE("a descriptor checks every status, and its destructor throws nothing") {
  const ScratchFolder scratch;
  scratch.copy(FAKE_CUDNN, "libcudnn_graph.so.9");
  const Variable version("FAKE_CUDNN_VERSION", "91900");
  const CudnnLibrary library = open_cudnn(in(scratch.path()));
  using namespace cudnn;
  unsetenv("FAKE_CUDNN_DESTROYED");
  {
    Desc desc(library, BACKEND_TENSOR_DESCRIPTOR);
    desc.set(ATTR_TENSOR_UNIQUE_ID, int64_t(1));
    Desc moved = std::move(desc);
    CHECK(desc.raw() == nullptr);
    const Variable status("FAKE_CUDNN_STATUS", "2000");
    const std::string tail = ": CUDNN_STATUS_FAKE (2000): the reason, in two lines";
    CHECK(voxgrad::test::message<DeviceError>([&] { moved.set(ATTR_TENSOR_UNIQUE_ID, int64_t(1)); }) ==
          "cudnnBackendSetAttribute(descriptor type 17, attribute 906)" + tail);
    CHECK(voxgrad::test::message<DeviceError>([&] { moved.get<int64_t>(ATTR_TENSOR_UNIQUE_ID); }) ==
          "cudnnBackendGetAttribute(descriptor type 17, attribute 906)" + tail);
    CHECK(voxgrad::test::message<DeviceError>([&] { moved.finalize("tensor x"); }) == "cudnnBackendFinalize(tensor x)" + tail);
    std::string why;
    CHECK(moved.try_finalize(why) == 2000);
    CHECK(why == "cudnnBackendFinalize" + tail);
    CHECK(voxgrad::test::message<DeviceError>([&] { Desc other(library, BACKEND_ENGINE_DESCRIPTOR); }) ==
          "cudnnBackendCreateDescriptor(descriptor type 2)" + tail);
    CHECK(std::getenv("FAKE_CUDNN_DESTROYED") == nullptr);
  }  // destroyed while calls still fail
  CHECK(std::getenv("FAKE_CUDNN_DESTROYED") != nullptr);
  unsetenv("FAKE_CUDNN_DESTROYED");
}

TEST_CASE("the cuDNN of this machine opens and tells its version") {
  CudnnLibrary library;
  try {
    library = open_cudnn(cudnn_search());
  } catch (const DeviceError& error) {
    std::printf("skipped: cuDNN of this machine (%s)\n", error.what());
    return;
  }
  CHECK(library.version >= 90100);
  CHECK(library.path.find("libcudnn_graph.so.9") != std::string::npos);
  preload_sisters(library);
  const std::vector<std::string> files = loaded_files("libcudnn");
  CHECK(files.size() >= 2);
  CHECK(mixed_folders("cuDNN", files) == "");
}

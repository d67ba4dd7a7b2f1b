// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/io/hdf5.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <tuple>

#include "catch.hpp"
#include "voxgrad/io/hdf5_write.hpp"

namespace fs = std::filesystem;
using namespace voxgrad;
using io::H5File;
using io::H5Writer;

namespace {

struct TempDir {
  fs::path path = fs::temp_directory_path() / text("voxgrad_hdf5_", ::getpid());
  TempDir() { fs::create_directories(path); }
  ~TempDir() { fs::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
};

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

bool contains(const std::string& all, const std::string& part) { return all.find(part) != std::string::npos; }

fs::path shared_folder() {
  if (const char* wish = std::getenv("VOXGRAD_SHARED")) return wish;
  return fs::path(VOXGRAD_SOURCE_DIR) / "../shared";
}

void write_example(const std::string& path) {
  H5Writer w(path);
  std::vector<float> f(2 * 3 * 4);
  for (size_t i = 0; i < f.size(); ++i) f[i] = float(i) + 0.5f;
  w.write<float>("/train/1/input", {2, 3, 4}, f.data(), {{1, 2, 4}, 4});
  const std::vector<int32_t> ints{-1, 70000, 300};
  w.write<int32_t>("/ints", {3}, ints.data());
  w.create_group("/empty");
  w.set_attribute("/train", "note", "time µs");
  w.set_attribute("/train", "sizes", std::vector<double>{1, 2.5});
  w.commit();
}

/// Opens a file and reads whatever can be read; returns how many data sets gave numbers.
int walk(const H5File& file, const std::string& group, int depth) {
  int read = 0;
  for (const std::string& name : file.children(group)) {
    const std::string path = (group == "/" ? "" : group) + "/" + name;
    try {
      if (file.is_group(path))
        read += depth < 8 ? walk(file, path, depth + 1) : 0;
      else if (file.is_dataset(path))
        read += file.read<double>(path).empty() ? 0 : 1;
    } catch (const Error&) {
    }
  }
  return read;
}

/// Walks a file in a child with 5 s and 2 GiB; 0 = read, 1 = clean error, else the wait status.
int walk_in_child(const fs::path& path) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit seconds{5, 5}, bytes{rlim_t(2) << 30, rlim_t(2) << 30};
    ::setrlimit(RLIMIT_CPU, &seconds);
#if !defined(__SANITIZE_ADDRESS__)
    ::setrlimit(RLIMIT_AS, &bytes);
#endif
    int code = 0;
    try {
      H5File file(path.string());
      walk(file, "/", 0);
    } catch (const Error&) {
      code = 1;
    } catch (...) {
      code = 3;
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

}  // namespace

TEST_CASE("HDF5: what is written is read back, whole, in boxes and converted") {
  TempDir dir;
  write_example(dir.file("a.h5"));
  CHECK(fs::exists(dir.file("a.h5")));
  CHECK(std::distance(fs::directory_iterator(dir.path), fs::directory_iterator{}) == 1);  // no temporary left

  H5File file(dir.file("a.h5"));
  CHECK(file.children("/") == std::vector<std::string>{"empty", "ints", "train"});
  CHECK(file.is_group("/train/1"));
  CHECK(file.is_dataset("/train/1/input"));
  CHECK_FALSE(file.is_group("/train/2"));
  CHECK_FALSE(file.is_dataset("/train/2/input"));
  const io::H5Info info = file.info("/train/1/input");
  CHECK(info.shape == std::vector<int64_t>{2, 3, 4});
  CHECK(info.type_name() == "float32");
  CHECK(info.chunk == std::vector<int64_t>{1, 2, 4});
  CHECK(file.read<double>("/train/1/input")[23] == 23.5);
  std::vector<float> box(2 * 1 * 2);
  file.read<float>("/train/1/input", {0, 2, 1}, {2, 1, 2}, box.data());
  CHECK(box == std::vector<float>{9.5f, 10.5f, 21.5f, 22.5f});
  CHECK(file.read<int64_t>("/ints") == std::vector<int64_t>{-1, 70000, 300});
  CHECK(file.read<uint8_t>("/ints") == std::vector<uint8_t>{0, 255, 255});  // clipped, never wrapped
  CHECK(file.string_attribute("/train", "note") == std::vector<std::string>{"time µs"});
  CHECK(file.attribute<float>("/train", "sizes") == std::vector<float>{1, 2.5f});
  CHECK(file.has_attribute("/train", "note"));
  CHECK_FALSE(file.has_attribute("/train", "other"));
}

TEST_CASE("HDF5: errors name the file, what was found and what was expected") {
  TempDir dir;
  const std::string path = dir.file("a.h5");
  write_example(path);
  H5File file(path);
  std::vector<float> out(100);
  CHECK(message_of([&] { file.info("/train/9/input"); }) == path + ": no data set '/train/9/input'.");
  CHECK(message_of([&] { file.children("/nothing"); }) == path + ": no group '/nothing'.");
  CHECK(message_of([&] {
          file.read<float>("/train/1/input", {0, 0, 0}, {3, 1, 1}, out.data());
        }) == path + ": /train/1/input is [2,3,4], but the box at [0,0,0] of size [3,1,1] was asked for.");
  CHECK(message_of([&] {
          file.read<float>("/train/1/input", {0, 0}, {1, 1}, out.data());
        }) == path + ": /train/1/input is [2,3,4], but a box of 2 axes was asked for.");
  CHECK(message_of([&] { file.attribute<int64_t>("/train", "note"); }) ==
        path + ": attribute 'note' of /train holds no numbers.");
  CHECK(message_of([&] { file.string_attribute("/train", "sizes"); }) ==
        path + ": attribute 'sizes' of /train holds no text.");
  CHECK(message_of([&] { H5File("/no/such/file.h5"); }) ==
        "/no/such/file.h5: no such file");
  CHECK(contains(message_of([&] { H5Writer("/no/such/folder/file.h5"); }),
                 "/no/such/folder/file.h5: cannot be created"));
}

TEST_CASE("HDF5: a writer that is not committed leaves nothing") {
  TempDir dir;
  {
    H5Writer w(dir.file("b.h5"));
    const float one = 1;
    w.write<float>("/x", {1}, &one);
  }
  CHECK(fs::is_empty(dir.path));
}

TEST_CASE("HDF5: truncated and foreign files end in a FileError") {
  TempDir dir;
  const std::string whole = dir.file("a.h5"), cut = dir.file("cut.h5");
  write_example(whole);
  std::ifstream in(whole, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  for (size_t keep : {size_t(0), size_t(7), size_t(100), bytes.size() / 2, bytes.size() - 1}) {
    std::ofstream(cut, std::ios::binary) << bytes.substr(0, keep);
    CHECK(contains(message_of([&] {
                     H5File f(cut);
                     f.read<float>("/train/1/input");
                   }),
                   cut + ": "));
    CHECK_THROWS_AS((H5File(cut).read<float>("/train/1/input")), FileError);
  }
  std::ofstream(cut, std::ios::binary) << "P5 this is a picture, not a data set";
  CHECK(contains(message_of([&] { H5File f(cut); }),
                 "is not an HDF5 file, or is damaged or truncated (libhdf5: "));
}

TEST_CASE("HDF5: promises that the file cannot hold are refused before memory is taken") {
  TempDir dir;
  const std::string path = dir.file("huge.h5");
  {
    H5Writer w(path);
    w.create<float>("/huge", {1 << 20, 1 << 10, 1 << 10}, {{1, 64, 64}, 1});  // 4 TiB, nothing stored
    w.create<float>("/beyond", {int64_t(1) << 30, int64_t(1) << 30}, {{1, 64}, 1});
    w.commit();
  }
  H5File file(path);
  CHECK(contains(message_of([&] { file.read<float>("/huge"); }),
                 "/huge promises [1048576,1024,1024] values but holds only 0 bytes"));
  CHECK(contains(message_of([&] { file.read<float>("/beyond"); }), "promises more than 2^56 elements"));
  std::vector<float> box(64, 1.0f);
  file.read<float>("/huge", {5, 0, 0}, {1, 1, 64}, box.data());  // a small box of it is fine
  CHECK(box == std::vector<float>(64, 0.0f));
}

TEST_CASE("HDF5: links to other files and text data sets are refused") {
  TempDir dir;
  const std::string path = dir.file("links.h5");
  {
    H5Writer w(path);
    w.create_group("/g");
    w.commit();
    const hid_t f = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    H5Lcreate_external("/etc/other.h5", "/x", f, "/outside", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/nowhere", f, "/dangling", H5P_DEFAULT, H5P_DEFAULT);
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, 8);
    const hid_t d = H5Dcreate2(f, "/text", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dclose(d);
    H5Sclose(space);
    H5Tclose(type);
    H5Fclose(f);
  }
  H5File file(path);
  CHECK(contains(message_of([&] { file.is_dataset("/outside"); }), "'/outside' is a link to another file"));
  CHECK_FALSE(file.is_dataset("/dangling"));
  CHECK(contains(message_of([&] { file.read<float>("/text"); }), "/text holds string (expected numbers)"));
}

TEST_CASE("HDF5: the same content gives the same bytes at any time") {
  const TempDir dir;
  const auto bytes = [&](const char* name) {
    write_example(dir.file(name));
    std::ifstream in(dir.file(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string first = bytes("a.h5");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // the library counts whole seconds
  CHECK((bytes("b.h5") == first));
}

TEST_CASE("HDF5: a folder or a pipe in place of a file is said in one line, with what to give instead") {
  const TempDir dir;
  const std::string folder = dir.file("folder"), says = folder + ": is a folder, but an HDF5 file is needed. ";
  fs::create_directories(folder + "/part.h5");  // also a folder, but under the name that is looked for
  CHECK(message_of([&] { H5File file(dir.file("folder/part.h5")); }) ==
        folder + "/part.h5: is a folder, but an HDF5 file is needed. No file in it is called .h5; name one that is HDF5.");
  fs::remove(folder + "/part.h5");
  CHECK(message_of([&] { H5File file(folder); }) == says + "No file in it is called .h5; name one that is HDF5.");
  write_example(folder + "/b.h5");
  write_example(folder + "/a.hdf5");
  CHECK(message_of([&] { H5File file(folder); }) == says + "Name a file: " + folder + "/a.hdf5 or " + folder + "/b.h5");
  const std::string pipe = dir.file("pipe.h5");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(message_of([&] { H5File file(pipe); }) == pipe + ": is not a regular file");
  CHECK(message_of([&] { H5Writer file(pipe); }) == pipe + ": is a pipe, so no file can be written there. Give another name.");
  CHECK(fs::is_fifo(pipe));
  std::ofstream(dir.file("text.h5")) << std::string(4096, 'x');
  const std::string text = message_of([&] { H5File file(dir.file("text.h5")); });
  CHECK(contains(text, "text.h5: is not an HDF5 file"));
  CHECK(text.find('\n') == std::string::npos);
}

// Found by fuzzing: libhdf5 took 2 GB for these 54 bytes.
TEST_CASE("HDF5: a superblock that points far behind the file is refused before the library opens it") {
  const std::string path = std::string(VOXGRAD_SOURCE_DIR) + "/tests/fuzz/found/keras/base_address.h5";
  CHECK(message_of([&] { H5File file(path); }) == path + ": is damaged: its superblock says that its data begin at byte 18446744069414584320, but it has 54. "
                                                         "Compare its size with the original, or copy it again.");
}

// Found by fuzzing: libhdf5 read outside of its memory for these while it opened them.
TEST_CASE("HDF5: object headers that reach outside of the file are refused before the library reads them") {
  const std::string folder = std::string(VOXGRAD_SOURCE_DIR) + "/tests/fuzz/found/keras/";
  for (const char* name : {"continued_header.h5", "empty_message.h5", "short_header.h5"}) {
    const std::string message = message_of([&] { H5File file(folder + name); });
    INFO(message);
    CHECK(message.rfind(folder + name + ": is damaged: ", 0) == 0);
    CHECK(contains(message, "Compare its size with the original"));
  }
  CHECK(contains(message_of([&] { H5File file(folder + "continued_header.h5"); }),
                 "the continued header of an object claims 128 bytes from byte 18446744073709551615 on, but the file has 13720."));
}

TEST_CASE("HDF5: headers of every age and behind a user block are walked and open") {
  const TempDir dir;
  for (const bool latest : {false, true})
    for (const auto& [block, addresses, lengths] : {std::tuple<hsize_t, size_t, size_t>{0, 8, 8}, {512, 8, 8}, {2048, 8, 8}, {0, 8, 4}, {0, 4, 8}, {0, 4, 4}}) {
      const std::string path = dir.file("f.h5");
      hid_t create = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
      H5Pset_userblock(create, block);
      H5Pset_sizes(create, addresses, lengths);
      if (latest) H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
      hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, create, access);
      const int groups = latest ? 6 : 40;  // links inside the header; trees of several nodes
      for (int g = 0; g < groups; ++g) {
        hid_t group = H5Gcreate2(file, ("group" + std::to_string(g)).c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        hid_t space = H5Screate(H5S_SCALAR);
        for (int a = 0; a < 6; ++a)
          H5Aclose(H5Acreate2(group, (std::string(100, 'a') + std::to_string(a)).c_str(), H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT));
        H5Dclose(H5Dcreate2(group, "value", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
        H5Sclose(space);
        H5Gclose(group);
      }
      H5Fclose(file);
      H5Pclose(access);
      H5Pclose(create);
      INFO("latest " << latest << ", user block " << block << ", bytes of an address " << addresses << ", of a length " << lengths);
      const H5File opened(path);
      CHECK(opened.children("/").size() == size_t(groups));
      CHECK(opened.is_dataset("/group5/value"));
      std::ifstream in(path, std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(in), {}};
      if (latest) CHECK(contains(bytes, "OCHK"));  // headers that go on elsewhere
    }
}

TEST_CASE("HDF5: real and damaged files of others end in data or a clean error") {
  const fs::path real = shared_folder() / "data/real";
  if (!fs::exists(real / "hdf5")) {
    std::printf("skipped: no folder data/real/hdf5 beside the sources (set VOXGRAD_SHARED)\n");
    return;
  }
  int files = 0;
  for (const char* folder : {"hdf5", "corrupt/hdf5"})
    for (const auto& entry : fs::recursive_directory_iterator(real / folder)) {
      if (!entry.is_regular_file()) continue;
      INFO(entry.path().string());
      const int outcome = walk_in_child(entry.path());
      CHECK((outcome == 0 || outcome == 1));
      ++files;
    }
  CHECK(files > 40);
  H5File filtered((real / "hdf5/jhdf/lz4_datasets.hdf5").string());
  CHECK(
      contains(message_of([&] { filtered.read<float>("/float32_bs0"); }), "is compressed with filter 32004"));
  H5File movie((real / "movies/astrocyte_events_0.h5").string());
  CHECK(movie.info("/data/ch0").shape == std::vector<int64_t>{100, 100, 100});
  CHECK(movie.read<uint16_t>("/data/ch0").size() == 1000000);
}

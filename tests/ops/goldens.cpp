// SPDX-License-Identifier: BSD-3-Clause
// The golden files themselves: all are used, and the reader refuses damaged ones.

#include <filesystem>

#include "catch.hpp"
#include "npy.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

TEST_CASE("make_ops.py and the tests know the same number of cases") {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden("ops"))) files += entry.path().extension() == ".npy";
  CHECK(files == 145);  // a case missing on this side would leave its file unread; one missing there fails to open
}

TEST_CASE("a .npy file is read, a damaged one refused") {
  const std::string head = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n";
  const auto file = [](const std::string& header, const std::string& data) {
    return std::string("\x93NUMPY\x01\x00", 8) + char(header.size()) + '\0' + header + data;
  };
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\x40", 8);  // 1, 2
  const Npy npy = parse_npy(file(head, data), "x.npy");
  CHECK(npy.shape == std::vector<int64_t>{2, 1});
  CHECK(npy.values == std::vector<double>{1, 2});
  const auto message = [](const std::string& bytes) {
    try {
      parse_npy(bytes, "x.npy");
    } catch (const FileError& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  CHECK(message("PK") == "x.npy: not a .npy file of version 1");
  CHECK(message(file(head, "").substr(0, 30)) == "x.npy: the header is cut off");
  CHECK(message(file(head, data.substr(1))) == "x.npy: holds 7 bytes of data, the header says 8");
  std::string other = head;
  other.replace(other.find("<f4"), 3, ">f4");
  CHECK(message(file(other, data)) == "x.npy: data type '>f4' (expected <f8, <f4 or <i8)");
  other = head;
  other.replace(other.find("False"), 5, "True ");
  CHECK(message(file(other, data)) == "x.npy: the array is in Fortran order");
  CHECK_THROWS_AS(read_npy("/nowhere.npy"), FileError);
}

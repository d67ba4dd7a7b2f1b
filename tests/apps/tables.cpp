// SPDX-License-Identifier: BSD-3-Clause
#include "common/tables.hpp"

#include <clocale>

#include "catch.hpp"
#include "common/files.hpp"
#include "scratch.hpp"
#include "throws.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using metrics::Point;

namespace {

ExpertPoints expert(const std::string& content, const ExpertOptions& options = {}) {
  Scratch scratch;
  write_file(scratch.file("m.csv"), content);
  return read_expert(scratch.file("m.csv"), options);
}

std::string expert_error(const std::string& content, const ExpertOptions& options = {}) {
  const std::string message = message_of<Error>([&] { expert(content, options); });
  const std::size_t name = message.find("m.csv");
  return name == std::string::npos ? message : message.substr(name);
}

metrics::Region some_region() {
  metrics::RegionSums sums;
  for (int64_t t = 3; t < 5; ++t)
    for (int64_t y = 10; y < 13; ++y)
      for (int64_t x = 20; x < 26; ++x) sums.add(t, y, x, 0.1 * double(t));
  sums.score = 0.875;
  return metrics::make_region(4, sums);
}

}  // namespace

TEST_CASE("CSV: quotes, byte order mark, line ends, empty lines, short rows") {
  const CsvTable t = CsvTable::parse("f.csv",
                                     "\xef\xbb\xbfname, b ,\"c,\"\"d\"\r\n"
                                     "\"x \"\"y\"\", z\",1,2\r\n"
                                     "\r\n"
                                     "\"two\nlines\",3\r"
                                     "last,5,6");
  CHECK(t.header() == std::vector<std::string>{"name", "b", "c,\"d"});
  REQUIRE(t.rows() == 3);
  CHECK(t.cell(0, "name") == "x \"y\", z");
  CHECK(t.cell(1, "name") == "two\nlines");
  CHECK(t.cell(1, "c,\"d").empty());
  CHECK_FALSE(t.maybe_number(1, "c,\"d").has_value());
  CHECK(t.number(2, "c,\"d") == 6);
  CHECK(message_of<FileError>([&] { t.number(1, "name"); }) ==
        "f.csv:4: column 'name' is 'two\nlines' (expected a number)");
  CHECK(message_of<FileError>([&] { t.number(2, "name"); }) ==
        "f.csv:6: column 'name' is 'last' (expected a number)");
  CHECK(message_of<FileError>([&] { t.number(2, "nome"); }) ==
        "f.csv: no column 'nome'. Found: name, b, c,\"d");
}

TEST_CASE("CSV: broken files end in errors that name the line") {
  CHECK(message_of<FileError>([] { CsvTable::parse("f.csv", ""); }) ==
        "f.csv: is empty (expected a header line with column names)");
  CHECK(message_of<FileError>([] { CsvTable::parse("f.csv", "a,b\n1,2\n\"3,4\n5,6"); }) ==
        "f.csv:3: a quoted field does not end");
  CHECK(message_of<FileError>([] { CsvTable::parse("f.csv", "a,b\n1,2,3\n"); }) ==
        "f.csv:2: has 3 cells, but the header has 2");
  Scratch scratch;
  write_file(scratch.file("b.csv"), std::string("a,b\n\0\1", 6));
  CHECK(message_of<FileError>([&] {
          CsvTable::read(scratch.file("b.csv"));
        }).find("is not a text file (expected a table in CSV)") != std::string::npos);
}

TEST_CASE("expert files: an ImageJ results table, first header cell blank, columns in any order") {
  const ExpertPoints e = expert(" ,Area,Mean,X,Y,Slice\n1,0,512.5,10.5,20.25,3\n2,0,1e2,0,511,600\n");
  CHECK(e.points ==
        std::vector<Point>{{3, 20.25, 10.5}, {600, 511, 0}});  // as published: Slice is not shifted
  CHECK(e.warnings.empty());
  CHECK(expert("\tSlice\tY\tX\n1\t2\t3\t4\n").points == std::vector<Point>{{2, 3, 4}});
  CHECK(expert("Slice;X;Y\r\n5;6;7\r\n").points == std::vector<Point>{{5, 7, 6}});
  CHECK(expert(" ,X,Y,Slice\n").points.empty());
}

TEST_CASE("expert files: offset, micrometres, warnings about points outside") {
  ExpertOptions o;
  o.slice_offset = 1;
  o.micron = true;
  o.y_um = 0.2;
  o.x_um = 0.1;
  const Point p = expert(" ,X,Y,Slice\n1,1.000,3,8\n", o).points.at(0);
  CHECK(p[0] == 7);
  CHECK(p[1] == Approx(15));
  CHECK(p[2] == Approx(10));
  o = {};
  o.extent = {10, 30, 40};
  const ExpertPoints outside = expert(" ,X,Y,Slice\n1,39,29,9\n2,41,2,3\n3,1,1,11\n", o);
  REQUIRE(outside.warnings.size() == 1);
  CHECK(outside.warnings[0].find(
            "m.csv: 2 of 3 points lie outside the movie (10x30x40). Check --expert-unit (now pixel), "
            "--slice-offset and that the file belongs to this movie.") != std::string::npos);
}

TEST_CASE("expert files: Frame of hyperstacks, points of napari") {
  CHECK(expert(" ,X,Y,Ch,Frame\n1,4,5,1,9\n").points == std::vector<Point>{{9, 5, 4}});
  const ExpertPoints e = expert(" ,X,Y,Slice,Frame\n1,4,5,1,9\n2,4,5,1,10\n");
  CHECK(e.points == std::vector<Point>{{9, 5, 4}, {10, 5, 4}});
  CHECK(e.warnings.size() == 1);
  CHECK(expert(" ,X,Y,Slice,Frame\n1,4,5,2,1\n").points == std::vector<Point>{{2, 5, 4}});
  CHECK(expert("index,axis-0,axis-1,axis-2\n0,1.5,2,3\n").points == std::vector<Point>{{1.5, 2, 3}});
}

TEST_CASE("expert files: what is missing or wrong is named") {
  CHECK(expert_error(" ,Area,X,Z\n1,2,3,4\n") ==
        "m.csv: no column Slice, Y. Found: Area, X, Z. Expected an ImageJ results table with Slice, X and Y "
        "(Analyze > Set Measurements: centroid, stack position).");
  CHECK(expert_error("X,Y,Slice\n1,2,3\n1,abc,3\n") == "m.csv:3: column 'Y' is 'abc' (expected a number)");
  CHECK(expert_error("X,Y,Slice\n1,2\n") == "m.csv:2: column 'Slice' is '' (expected a number)");
  CHECK(expert_error("X;Y;Slice\n1,5;2;3\n") == "m.csv:2: column 'X' is '1,5' (expected a number)");
  CHECK(expert_error("X,Y,Slice\n1,nan,3\n") == "m.csv:2: column 'Y' is 'nan' (expected a number)");
  ExpertOptions micron;
  micron.micron = true;
  CHECK(expert_error("X,Y,Slice\n1,2,3\n", micron).find("--expert-unit micron needs the pixel size") !=
        std::string::npos);
}

TEST_CASE("events table: columns, values, empty cells for what is undefined") {
  data::Spacing spacing;
  const std::string plain = events_csv({some_region()}, spacing);
  CHECK(
      plain.substr(0, plain.find('\n')) ==
      "index,axis-0,axis-1,axis-2,Slice,X,Y,label,score,t_start,t_end,y_min,y_max,x_min,x_max,area,intensity_"
      "mean,"
      "intensity_max,duration,major,minor,aspect,spatial-aspect,solidity,integrated_profile_intensity,"
      "max_profile_intensity,std_profile_intensity,nn-1,spatial-nn-1,frequency,duration_s,area_um2,dff_max");
  const CsvTable t = CsvTable::parse("e.csv", plain);
  REQUIRE(t.rows() == 1);
  CHECK(t.number(0, "axis-0") == Approx((3 * 0.3 + 4 * 0.4) / 0.7));
  CHECK(t.number(0, "Slice") == 5);  // round(3.571) + 1
  CHECK(t.number(0, "X") == Approx(22.5));
  CHECK(t.number(0, "Y") == Approx(11));
  CHECK(t.number(0, "label") == 4);
  CHECK(t.number(0, "score") == 0.875);
  CHECK(t.number(0, "t_start") == 3);
  CHECK(t.number(0, "x_max") == 26);
  CHECK(t.number(0, "area") == 36);
  CHECK(t.number(0, "duration") == 2);
  CHECK(t.number(0, "spatial-aspect") == 0.5);
  CHECK(t.number(0, "intensity_max") == 0.1 * 4);  // reads back to the bit
  for (const char* empty : {"solidity", "nn-1", "duration_s", "area_um2", "dff_max"})
    CHECK(t.cell(0, empty).empty());
  spacing.seconds = 0.1;
  spacing.y_um = spacing.x_um = 0.5;
  const CsvTable calibrated = CsvTable::parse("e.csv", events_csv({some_region()}, spacing, {1.25}));
  CHECK(calibrated.number(0, "duration_s") == 0.2);
  CHECK(calibrated.number(0, "area_um2") == 4.5);  // 18 voxels per frame
  CHECK(calibrated.number(0, "dff_max") == 1.25);
  CHECK(message_of<Error>([&] {
          events_csv({some_region()}, spacing, {1, 2});
        }) == "events: 2 values of dF/F for 1 events");
}

TEST_CASE("events table: read back, in any locale") {
  const char* german =
      std::setlocale(LC_ALL, "de_DE.UTF-8");  // absent on most machines; nothing is lost then
  Scratch scratch;
  write_file(scratch.file("e.csv"), events_csv({some_region()}));
  const auto rows = read_events(scratch.file("e.csv"));
  if (german) std::setlocale(LC_ALL, "C");
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].label == 4);
  CHECK(rows[0].point == some_region().weighted_centroid);
  CHECK(rows[0].box.begin == metrics::Extent3{3, 10, 20});
  CHECK(rows[0].box.end == metrics::Extent3{5, 13, 26});
  CHECK(rows[0].score == 0.875);
  write_file(scratch.file("x.csv"), "label,axis-0\n1,2\n");
  CHECK(message_of<FileError>([&] { read_events(scratch.file("x.csv")); })
            .find("no column 'axis-1'. Found: label, axis-0. Expected an events table as 'voxgrad predict' "
                  "writes it.") != std::string::npos);
}

TEST_CASE("cells are quoted where they must be") {
  CHECK(csv_line({csv_text("plain"), csv_text("a,b"), csv_text("say \"x\"")}) ==
        "plain,\"a,b\",\"say \"\"x\"\"\"\n");
  CHECK(csv_number(std::nan("")).empty());
  CHECK(csv_number(0.1) == "0.1");
}

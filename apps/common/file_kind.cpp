// SPDX-License-Identifier: BSD-3-Clause
// Magic bytes of what people have lying around in a microscopy lab.

#include "file_kind.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <vector>

#include "files.hpp"
#include "voxgrad/core/error.hpp"
#include "voxgrad/io/random_file.hpp"

namespace voxgrad::app {

namespace {

using std::string_view_literals::operator""sv;

/// A signature at a place in the file.
struct Magic {
  std::size_t offset;
  std::string_view bytes;
  std::string_view name, advice;
};

constexpr std::string_view to_tiff = "Save the movie as TIFF, for example with Fiji (File > Import > Bio-Formats, then File > Save As > Tiff).";
constexpr std::string_view to_weights = "Weights are read from torch.save(model.state_dict(), ...), from Keras' HDF5 files (save_weights with the ending .h5) and from safetensors.";

constexpr std::array foreign = {
    Magic{0, "\x93NUMPY"sv, "NumPy array (.npy)", "Save movies as TIFF (tifffile.imwrite) or as an HDF5 data set."},
    Magic{0, "\x89PNG\r\n\x1a\n"sv, "PNG picture", "A movie is needed: TIFF or HDF5."},
    Magic{0, "\xff\xd8\xff"sv, "JPEG picture", "A movie is needed: TIFF or HDF5."},
    Magic{0, "Iout"sv, "ImageJ ROI", "Regions are not read; open it in ImageJ."},
    Magic{0, "\xda\xce\xbe\x0a"sv, "Nikon ND2 recording", to_tiff},
    Magic{0, "ZISRAWFILE"sv, "Zeiss CZI recording", to_tiff},
    Magic{0, "\x70\x00\x00\x00"sv, "Leica LIF recording", to_tiff},
    Magic{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"sv, "OLE container (Olympus OIB, Zeiss ZVI or an old Office file)", to_tiff},
    Magic{8, "AVI "sv, "AVI video", to_tiff},
    Magic{4, "ftyp"sv, "MP4 or QuickTime video", "Videos are lossy; go back to the recording and save it as TIFF."},
    Magic{0, "\x1f\x8b"sv, "gzip-compressed file", "Unpack it first (gunzip)."},
    Magic{257, "ustar"sv, "tar archive", "Unpack it first (tar xf)."},
    Magic{0, "BZh"sv, "bzip2-compressed file", "Unpack it first (bunzip2)."},
    Magic{0, "\x28\xb5\x2f\xfd"sv, "zstd-compressed file", "Unpack it first (unzstd)."},
    Magic{0, "CDF"sv, "NetCDF file", "Save the movie as TIFF or HDF5."},
    Magic{0, "MATLAB 5.0 MAT-file"sv, "MATLAB file before version 7.3", "Save it with -v7.3, which is HDF5, or write a TIFF."},
    Magic{0, "%PDF"sv, "PDF document", ""},
    Magic{0, "\x7f""ELF"sv, "program", ""},
};

bool has_at(std::string_view head, std::size_t offset, std::string_view bytes) {
  return head.size() >= offset + bytes.size() && head.substr(offset, bytes.size()) == bytes;
}

/// The kinds of zip archive, by the names in its directory, which is at its end.
FileIdentity identify_zip(const io::RandomFile& file, std::string_view head) {
  const std::size_t n = std::size_t(std::min<std::uint64_t>(file.size(), 1 << 20));
  std::string end(n, '\0');
  end.resize(file.read_some(file.size() - n, end.data(), n));
  end += head;  // of a truncated archive only the beginning tells
  const auto holds = [&](std::string_view name) { return end.find(name) != std::string::npos; };
  if (holds("/voxgrad-bundle")) return {FileKind::bundle, "model bundle (voxgrad convert --bundle)", ""};
  if (holds("constants.pkl"))
    return {FileKind::foreign, "TorchScript archive (torch.jit.save)", "It holds a program, not only weights. Save the model again with torch.save(model.state_dict(), ...)."};
  if (holds("data.pkl")) return {FileKind::torch, "PyTorch archive (torch.save)", ""};
  if (holds("saved_model.pb")) return {FileKind::foreign, "TensorFlow SavedModel archive", std::string(to_weights)};
  if (holds("model.weights.h5")) return {FileKind::foreign, "Keras 3 model archive (.keras)", std::string(to_weights)};
  if (holds("rdf.yaml")) return {FileKind::foreign, "BioImage Model Zoo package", "Unpack it and look at the weights inside: voxgrad inspect."};
  if (holds("[Content_Types].xml")) return {FileKind::foreign, "Office document", "Save tables as .csv."};
  if (holds(".npy")) return {FileKind::foreign, "NumPy archive (.npz)", "Save movies as TIFF or as an HDF5 data set."};
  if (holds(".roi")) return {FileKind::foreign, "ImageJ ROI archive", "Drag it onto ImageJ; regions are not read here."};
  return {FileKind::foreign, "zip archive", "Unpack it and give the files inside."};
}

/// safetensors: a plausible header length, then a JSON object.
bool is_safetensors(std::string_view head, std::uint64_t size) {
  if (head.size() < 10 || head[8] != '{') return false;
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | std::uint8_t(head[i]);
  return length >= 2 && length <= (std::uint64_t(100) << 20) && length <= size - 8;
}

/// ONNX has no magic number: field 1 (version), then mostly field 2, the name of the program that wrote it.
bool is_onnx(std::string_view head, const std::string& path) {
  if (head.size() < 5 || head[0] != '\x08') return false;
  if (has_ending(path, {".onnx"})) return true;
  const std::size_t length = std::uint8_t(head[3]);
  if (std::uint8_t(head[1]) > 32 || head[2] != '\x12' || length == 0 || length > 64 || head.size() < 4 + length) return false;
  return std::all_of(head.begin() + 4, head.begin() + 4 + std::ptrdiff_t(length), [](char c) { return c >= 32 && c < 127; });
}

bool is_text(std::string_view head) {
  return std::none_of(head.begin(), head.end(), [](char c) { return (std::uint8_t(c) < 32 && c != '\n' && c != '\r' && c != '\t') || c == 127; });
}

/// Text files by their beginning and their ending.
FileIdentity identify_text(std::string_view head, const std::string& path) {
  if (has_at(head, 0, "\xef\xbb\xbf")) head.remove_prefix(3);
  const std::size_t start = head.find_first_not_of(" \t\r\n");
  const char first = start == std::string_view::npos ? '\0' : head[start];
  if (has_ending(path, {".yaml", ".yml"})) return {FileKind::yaml, "YAML", ""};
  if (first == '{' || (first == '[' && has_ending(path, {".json"}))) return {FileKind::json, "JSON", ""};
  if (first == '<') {
    std::string lower(head.substr(0, 1000));
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    if (lower.find("<html") == std::string::npos && lower.find("<!doctype html") == std::string::npos) return {FileKind::foreign, "XML text", ""};
    return {FileKind::foreign, "HTML page", "A download brought a web page in place of the file. Open it in a browser to see why, then download again."};
  }
  if (has_ending(path, {".csv", ".tsv"})) return {FileKind::csv, "table", ""};
  return {FileKind::foreign, "text file", "Movies are TIFF, training sets HDF5, configurations .yaml, samples lists .json, tables .csv."};
}

}  // namespace

FileIdentity identify_file(const std::string& path) {
  const io::RandomFile file(path);
  check<FileError>(file.size() > 0, path, ": the file is empty.");
  std::string head(4096, '\0');
  head.resize(file.read_some(0, head.data(), head.size()));
  if (has_at(head, 0, "II*\0"sv) || has_at(head, 0, "MM\0*"sv) || has_at(head, 0, "II+\0"sv) || has_at(head, 0, "MM\0+"sv))
    return {FileKind::tiff, "TIFF", ""};
  // HDF5 allows a user block of 512, 1024, ... bytes in front.
  for (std::size_t at = 0; at + 8 <= head.size(); at = at ? 2 * at : 512)
    if (has_at(head, at, "\x89HDF\r\n\x1a\n")) return {FileKind::hdf5, "HDF5", ""};
  if (has_at(head, 0, "PK\x03\x04") || has_at(head, 0, "PK\x05\x06")) return identify_zip(file, head);
  const bool promised = has_ending(path, {".safetensors"}) && has_at(head, 8, "{"sv);  // cut off or damaged: its reader says what is wrong
  if (promised || is_safetensors(head, file.size())) return {FileKind::safetensors, "safetensors", ""};
  // A PyTorch file before 1.6 starts with a pickled magic number.
  if (has_at(head, 0, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv)) return {FileKind::torch, "PyTorch file in the format before 1.6", ""};
  if (has_at(head, 0, "\x80\x02"sv) || has_at(head, 0, "\x80\x03"sv) || has_at(head, 0, "\x80\x04"sv))
    return {FileKind::foreign, "Python pickle", "Pickles can run any program when opened. Save the data as TIFF, HDF5 or safetensors."};
  for (const Magic& m : foreign)
    if (has_at(head, m.offset, m.bytes)) return {FileKind::foreign, std::string(m.name), std::string(m.advice)};
  if (is_onnx(head, path)) return {FileKind::foreign, "ONNX model", std::string(to_weights)};
  if (has_ending(path, {".pb"})) return {FileKind::foreign, "protocol buffer (TensorFlow SavedModel or graph)", std::string(to_weights)};
  if (is_text(head)) return identify_text(head, path);
  return {FileKind::unknown, "unknown kind of file", "It starts with bytes of no known format; the file is damaged or of another program."};
}

}  // namespace voxgrad::app

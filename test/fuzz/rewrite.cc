// Prefixes in texts and binaries: against a model that anyone can read, and there and back again.
#include <algorithm>
#include "fuzz.h"
#include "prefix.h"

namespace {

std::string replaced(std::string in, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = in.find(from, at)) != std::string::npos; at += to.size()) in.replace(at, from.size(), to);
  return in;
}

// C string by C string: replaced, and filled up with NULs.
std::string model_of_strings(const std::string& in, const std::string& from, const std::string& to) {
  std::string out;
  for (size_t begin = 0; begin <= in.size();) {
    const size_t end = std::min(in.find('\0', begin), in.size());
    std::string piece = replaced(in.substr(begin, end - begin), from, to);
    piece.resize(end - begin, '\0');
    out += piece;
    if (end < in.size()) out += '\0';
    begin = end + 1;
  }
  return out;
}

std::string stored(const std::string& prefix, cd::Encoding encoding) { return cd::encode_as(prefix, encoding); }

std::string in_pieces(const std::string& in, const std::string& from, const std::string& to, size_t step) {
  std::string out, piece;
  for (size_t read = 0; read < in.size();) {
    const size_t more = std::min(std::max(step, piece.size()), in.size() - read);
    piece += in.substr(read, more);
    read += more;
    const size_t done = cd::rewrite_binary(&piece[0], piece.size(), out.size(), read == in.size(), from, to);
    out += piece.substr(0, done);
    piece.erase(0, done);
  }
  return out;
}

void search(const std::string& in, const std::string& from, const std::string& to, bool text) {
  std::string out;
  std::vector<cd::Spot> spots;
  cd::Rewriting done;
  bool found = false;
  if (!fuzz::accepted([&] { found = cd::rewrite_search(in, {{from, text}}, to, out, spots, done); })) return;
  fuzz::check(found == !spots.empty(), "found is found");
  if (!found) return fuzz::check(!text || in.find(from) == std::string::npos, "nothing is passed over");
  uint64_t free = 0;
  for (const cd::Spot& s : spots) {
    const std::string bytes = stored(from, s.encoding);
    fuzz::check(s.offset >= free && in.compare(s.offset, bytes.size(), bytes) == 0,
                "a spot is where the prefix stands");
    free = s.offset + bytes.size();
  }
  std::string again;
  cd::Rewriting twice;
  again = cd::rewrite_spots(reinterpret_cast<const uint8_t*>(in.data()), in.size(), 0, spots.data(), spots.size(),
                            {from}, to, {}, twice);
  fuzz::check(again == out, "by search or by spots");
  if (text && in.compare(0, 2, "#!") != 0) fuzz::check(out == replaced(in, from, to), "the model of texts");
  if (text) return;
  fuzz::check(out.size() == in.size(), "a binary keeps its size");
  std::string content = in;
  cd::rewrite_binary(&content[0], content.size(), 0, true, from, to);
  fuzz::check(content == out, "in a copy or in place");
  for (const size_t step : {size_t{1}, in.size() / 3 + 1})
    fuzz::check(in_pieces(in, from, to, step) == out, "in pieces");
  const bool narrow =
      std::all_of(spots.begin(), spots.end(), [](const cd::Spot& s) { return s.encoding == cd::Encoding::c8; });
  if (narrow) fuzz::check(out == model_of_strings(in, from, to), "the model of C strings");
}

// Spots as an archive might claim them.
void claimed(fuzz::Input& input, const std::string& in, const std::string& from, const std::string& to) {
  std::vector<cd::Spot> spots(input.byte() % 5);
  for (cd::Spot& s : spots)
    s = {static_cast<cd::Encoding>(input.byte() % 7), input.number(), input.byte() % 2u, input.byte()};
  const uint64_t base = input.byte() % 2 ? 0 : input.byte();
  cd::Rewriting done;
  fuzz::accepted([&] {
    cd::rewrite_spots(reinterpret_cast<const uint8_t*>(in.data()), in.size(), base, spots.data(), spots.size(), {from},
                      to, {std::string(64, 'a')}, done);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  const uint8_t how = input.byte();
  const std::string from = how & 1 ? "/old/prefix" : "/" + input.text(1 + input.byte() % 20);
  const std::string to = how & 2 ? "/new" : "/" + input.text(1 + input.byte() % 30);
  if (from.find('\0') != std::string::npos || !fuzz::accepted([&] { cd::check_prefix(to); })) return 0;
  fuzz::Input rest = input;
  const std::string in = input.rest();
  search(in, from, to, (how & 4) != 0);
  claimed(rest, in, from, to);
  return 0;
}

// Finding prefixes: what counts as the prefix, in which encodings, and that a source read in windows gives the same as one in memory.
#include <algorithm>
#include "check.h"
#include "prefix.h"
#include "search.h"
#include "sha256.h"

using namespace cd;

static std::vector<Spot> text(const std::string& s, bool whole) {
  return find_text(reinterpret_cast<const uint8_t*>(s.data()), s.size(), "/a/env", whole);
}
static std::vector<Spot> binary(const std::string& s, const std::string& prefix = "/a/env") {
  return find_binary(reinterpret_cast<const uint8_t*>(s.data()), s.size(), prefix, true);
}

// case 28: what only begins with the prefix is another path.
static void names() {
  for (const char* one : {"/a/env", "/a/env/bin", "x=/a/env:/b", "-L/a/env/lib", "in /a/env.", "\"/a/env\"", "//a/env/",
                          "/a/env.\n", "/a/env:2"})
    CHECK_MORE(text(one, true).size() == 1, one);
  for (const char* other : {"/a/env2", "/a/env-old", "/a/env_x", "/a/env.bak", "/a/envs/x", "/a/env+", "/a/en", ""})
    CHECK_MORE(text(other, true).empty(), other);
  CHECK(text("/a/env2 /a/env", false).size() == 2);
  CHECK(text("/a/env:/a/env:/a/env9", true).size() == 2);
}

static void encodings() {
  const std::string le("/\0a\0/\0e\0n\0v\0", 12), be("\0/\0a\0/\0e\0n\0v", 12);
  CHECK(encode_as("/a/env", Encoding::c16le) == le);
  CHECK(encode_as("/a/env", Encoding::c16be) == be);
  CHECK(encode_as("é", Encoding::c16be) == std::string("\0\xe9", 2));
  CHECK(encode_as("\xf0\x9f\x90\x8d", Encoding::c16be) == std::string("\xd8\x3d\xdc\x0d", 4));
  CHECK(encode_as("\xf0\x9f\x90\x8d", Encoding::c32le) == std::string("\x0d\xf4\x01\x00", 4));
  THROWS("UNSUPPORTED", encode_as("\xff/x", Encoding::c16le));
  for (const Encoding e : {Encoding::c8, Encoding::c16le, Encoding::c16be, Encoding::c32le, Encoding::c32be}) {
    const std::string pad(8, '\0'), end(unit_of(e), '\0');
    const auto found = binary(pad + encode_as("/a/env", e) + encode_as("/lib", e) + end + pad);
    CHECK_MORE(found.size() == 1 && found[0].encoding == e && found[0].offset == 8,
               std::to_string(static_cast<int>(e)));
    CHECK(binary(pad + encode_as("/a/env", e) + encode_as("2", e) + end).empty());
  }
  CHECK(binary("/a/env").size() == 1);
  CHECK(binary(std::string("\xff/x", 3), "\xff/x").size() == 1);  // not UTF-8: found as bytes only
}

class Windows : public Source {  // a file read in windows of a size
 public:
  Windows(const std::string& data, size_t window) : data_(data), window_(window) { size_ = data.size(); }
  const uint8_t* at(uint64_t offset, size_t n) override {
    copy_.assign(data_, static_cast<size_t>(offset), n);  // what was returned before is gone
    return reinterpret_cast<const uint8_t*>(copy_.data());
  }
  void read(uint64_t offset, size_t n, uint8_t* out) override {
    std::copy_n(data_.begin() + static_cast<long>(offset), n, out);
  }
  size_t window() const override { return window_; }

 private:
  const std::string& data_;
  size_t window_;
  std::string copy_;
};

static bool equal(const std::vector<Spot>& a, const std::vector<Spot>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Spot& x, const Spot& y) { return x.offset == y.offset && x.encoding == y.encoding; });
}

// Hits that overlap one another, at every place of a window's border.
static void overlaps() {
  std::string repeated = "/a";
  for (int i = 0; i < 400; ++i) repeated += "/a";  // "/a/a" stands in it at every second byte
  for (size_t pad = 0; pad < 8; ++pad) {
    const std::string wide = std::string(2 * pad + 200, '\0') + encode_as("/a/env/x", Encoding::c16le) +
                             std::string(300, '\0') + encode_as("/a/env/x", Encoding::c16be) + std::string(300, '\0') +
                             encode_as("/a/env/x", Encoding::c32be) + std::string(300, '\0');
    for (const size_t window : {1, 64, 128, 256}) {
      const std::string text = std::string(pad, 'x') + repeated;
      Windows narrow(text, window), part(wide, window);
      CHECK(equal(find_all(narrow, "/a/a", true, false),
                  find_text(reinterpret_cast<const uint8_t*>(text.data()), text.size(), "/a/a", false)));
      const auto found = find_all(part, "/a/env", false, true);
      CHECK(equal(found, find_binary(reinterpret_cast<const uint8_t*>(wide.data()), wide.size(), "/a/env", true)));
      CHECK(found.size() == 3 && found[0].encoding == Encoding::c16le && found[1].encoding == Encoding::c16be &&
            found[2].encoding == Encoding::c32be);
    }
  }
}

// case 22: prefixes across the borders of what is read at once.
static void windows() {
  std::string data;
  for (int i = 0; i < 200; ++i) {
    data += std::string(static_cast<size_t>(i * 7 % 61), 'x') + "/a/env" + (i % 5 == 0 ? "2" : "/b") + '\0';
    if (i % 9 == 0)
      data += std::string(data.size() % 2, '\0') + encode_as("/a/env", Encoding::c16le) + std::string(2, '\0');
    if (i % 13 == 0) data += "_placehold_placehold_placehold/x";
  }
  Memory memory(reinterpret_cast<const uint8_t*>(data.data()), data.size());
  for (const size_t window : {1, 64, 100, 128, 1000, 4096}) {
    Windows part(data, window);
    const Survey one = survey(part, "_placehold_placehold"), other = survey(memory, "_placehold_placehold");
    CHECK(one.sha256 == other.sha256 && one.sha256 == sha256(data.data(), data.size()));
    CHECK(one.has_nul && one.names == 16 && other.names == 16);
    CHECK(survey(part, "").names == 0);
    for (const bool whole : {true, false})
      for (const bool is_text : {true, false}) {
        const auto one = find_all(part, "/a/env", is_text, whole), other = find_all(memory, "/a/env", is_text, whole);
        CHECK_MORE(equal(one, other), "window " + std::to_string(window));
      }
  }
  CHECK(nul_after(memory, 0, 1) == data.find('\0'));
  std::string none = "abc";
  Windows without(none, 2);
  CHECK(nul_after(without, 0, 1) == 3 && !survey(without, "").has_nul);
  CHECK(!all_nul(without, 3, 4) && all_nul(without, 3, 3));
}

int main() {
  names();
  encodings();
  overlaps();
  windows();
  return check::done();
}

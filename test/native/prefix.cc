// Rewriting by spots and by search: every encoding, several spots in a string, strings at the end, parts of a file, and
// what is refused.
#include "prefix.h"
#include "check.h"

using namespace cd;

static std::string z(size_t n) { return std::string(n, '\0'); }
static const std::string kOld = "/old/prefix";  // 11

static std::string spots(const std::string& in, const std::vector<Spot>& list, const std::string& prefix,
                         const std::vector<std::string>& prefixes = {kOld}, uint64_t base = 0,
                         const std::vector<std::string>& digests = {}) {
  Rewriting done;
  return rewrite_spots(reinterpret_cast<const uint8_t*>(in.data()), in.size(), base, list.data(), list.size(), prefixes,
                       prefix, digests, done);
}

static Spot at(Encoding e, uint64_t offset, uint32_t slot = 0, uint32_t refers = 0) {
  return {e, offset, refers, slot};
}

// case 25: several spots, parts of a file, no line end.
static void texts() {
  const Spot first = at(Encoding::text, 2), second = at(Encoding::text, 2 + 11 + 1);
  CHECK(spots("a " + kOld + " " + kOld, {first, second}, "/n") == "a /n /n");
  CHECK(spots("a " + kOld + " " + kOld, {first, second}, "/much/longer/than/before") ==
        "a /much/longer/than/before /much/longer/than/before");
  CHECK(spots("a " + kOld + " " + kOld, {second}, "/n") == "a " + kOld + " /n");
  CHECK(spots("abc", {}, "/n") == "abc");
  CHECK(spots("", {}, "/n") == "");
  CHECK(spots("/a/b/c", {at(Encoding::text, 0, 0, 1), at(Encoding::text, 2, 0, 0)}, "/n", {"/b", "/a"}) == "/n/n/c");
  // A part of a file: offsets are those of the file, and a "#!" in it is no shebang.
  CHECK(spots("#!" + kOld + "/bin/python", {at(Encoding::text, 1002)}, "/a b", {kOld}, 1000) == "#!/a b/bin/python");
}

// case 22: one and several spots in a string, lists, strings at the end of the file.
static void c_strings() {
  const auto c = [](uint64_t offset, uint32_t slot) { return at(Encoding::c8, offset, slot); };
  CHECK(spots("x" + kOld + "/lib" + z(1) + "y", {c(1, 11)}, "/n") == "x/n/lib" + z(10) + "y");
  CHECK(spots("x" + kOld + "/lib" + z(1) + "y", {c(1, 11)}, "/other/path") == "x/other/path/lib" + z(1) + "y");
  // Two spots in one string move what stands between them; the string keeps its room.
  CHECK(spots(kOld + "/a:" + kOld + "/b" + z(1) + "y", {c(0, 11), c(14, 11)}, "/n") == "/n/a:/n/b" + z(19) + "y");
  // Room larger than the stored prefix: known NULs behind the string.
  CHECK(spots(kOld + "/a" + z(6) + "y", {c(0, 16)}, "/sixteen/chars/x") == "/sixteen/chars/x/a" + z(1) + "y");
  CHECK(spots(kOld + ":" + kOld + z(9) + "y", {c(0, 15), c(12, 15)}, "/fifteen/char/x") ==
        "/fifteen/char/x:/fifteen/char/x" + z(1) + "y");
  CHECK(spots(kOld + "/a" + z(6) + "y", {c(0, 16)}, "/n") == "/n/a" + z(15) + "y");
  // At the end of the file, with and without room.
  CHECK(spots("x" + kOld + "/lib", {c(1, 11)}, "/n") == "x/n/lib" + z(9));
  CHECK(spots("x" + kOld + z(4), {c(1, 15)}, "/fifteen/char/x") == "x/fifteen/char/x");
  // Strings of their own, one closing NUL between them.
  CHECK(spots(kOld + z(1) + kOld + z(1), {c(0, 11), c(12, 11)}, "/n") == "/n" + z(10) + "/n" + z(10));
  CHECK(spots(kOld + z(1) + "/p2" + z(1), {c(0, 11), at(Encoding::c8, 12, 3, 1)}, "/n", {kOld, "/p2"}) ==
        "/n" + z(10) + "/n" + z(2));
  CHECK(spots("y" + kOld + z(1), {c(1001, 11)}, "/n", {kOld}, 1000) == "y/n" + z(10));
}

// case 23: UTF-16 and UTF-32, both byte orders.
static void wide() {
  for (const Encoding e : {Encoding::c16le, Encoding::c16be, Encoding::c32le, Encoding::c32be}) {
    const unsigned u = unit_of(e);
    const auto w = [&](const std::string& s) { return encode_as(s, e); };
    const std::string what = "encoding " + std::to_string(static_cast<int>(e));
    // An odd offset: units count from the spot, not from the file.
    CHECK_MORE(
        spots("x" + w(kOld + "/lib") + z(u) + "yyyy", {at(e, 1, 11)}, "/n") == "x" + w("/n/lib") + z(10 * u) + "yyyy",
        what);
    CHECK_MORE(spots(w(kOld + ":" + kOld) + z(u) + "yyyy", {at(e, 0, 11), at(e, 12 * u, 11)}, "/n") ==
                   w("/n:/n") + z(19 * u) + "yyyy",
               what);
    CHECK_MORE(spots(w(kOld) + z(4 * u), {at(e, 0, 14)}, "/fourteen/char") == w("/fourteen/char") + z(u), what);
    CHECK_MORE(spots(w(kOld + "/lib"), {at(e, 0, 11)}, "/n") == w("/n/lib") + z(9 * u), what);
    CHECK_MORE(spots(w(kOld) + "z", {at(e, 0, 11)}, "/other/path") == w("/other/path") + "z", what);
    // Not ASCII: counted in units of the encoding.
    CHECK_MORE(spots(w(kOld) + z(u), {at(e, 0, 11)}, "/ä/abcdefgh") == w("/ä/abcdefgh") + z(u), what);
    THROWS("PREFIX_TOO_LONG", spots(w(kOld) + z(u), {at(e, 0, 11)}, "/twelve/long"));
  }
  THROWS("PREFIX_TOO_LONG", spots(kOld + z(1), {at(Encoding::c8, 0, 11)}, "/ä/abcdefgh"));  // 12 bytes of UTF-8
}

static void digests() {
  const std::string before(64, 'a'), after(64, '0'), other(64, '1');
  CHECK(spots("x" + before + "y" + before, {at(Encoding::digest, 1), at(Encoding::digest, 66)}, "/n", {}, 0,
              {after, other}) == "x" + after + "y" + other);
  CHECK(spots(kOld + before, {at(Encoding::text, 0), at(Encoding::digest, 11)}, "/n", {kOld}, 0, {after}) ==
        "/n" + after);
  THROWS("ARCHIVE_CORRUPT", spots("x" + std::string(63, 'a') + "g", {at(Encoding::digest, 1)}, "/n", {}, 0, {after}));
  THROWS("ARCHIVE_CORRUPT", spots("x" + std::string(63, 'a'), {at(Encoding::digest, 1)}, "/n", {}, 0, {after}));
}

static void refused() {
  const std::string c = kOld + "/a" + z(6) + "y";
  THROWS("PREFIX_TOO_LONG", spots(c, {at(Encoding::c8, 0, 11)}, "/twelve/long"));
  THROWS("ARCHIVE_CORRUPT", spots(c, {at(Encoding::c8, 1, 11)}, "/n"));  // not the prefix
  THROWS("ARCHIVE_CORRUPT", spots(c, {at(Encoding::text, 5)}, "/n"));
  THROWS("ARCHIVE_CORRUPT", spots(c, {at(Encoding::text, 1000)}, "/n"));           // outside
  THROWS("ARCHIVE_CORRUPT", spots(c, {at(Encoding::text, 3)}, "/n", {kOld}, 10));  // before the part
  THROWS("ARCHIVE_CORRUPT", spots(c, {at(Encoding::c8, 0, 10)}, "/n"));            // slot too small for what is there
  THROWS("ARCHIVE_CORRUPT", spots(c, {at(Encoding::c8, 0, 18)}, "/n"));            // no NULs at its end
  THROWS("ARCHIVE_CORRUPT", spots(c, {at(Encoding::c8, 0, 1000)}, "/n"));          // beyond the end
  THROWS("ARCHIVE_CORRUPT", spots(c, {at(Encoding::c8, 0, 0xFFFFFFFF)}, "/n"));
  THROWS("ARCHIVE_CORRUPT", spots(c, {at(Encoding::text, 0), at(Encoding::text, 0)}, "/n"));  // twice
  THROWS("ARCHIVE_CORRUPT", spots(c, {at(Encoding::text, 0, 0, 1)}, "/n"));                   // no such prefix
  THROWS("ARCHIVE_CORRUPT", spots(kOld, {at(Encoding::text, 0)}, "/n", {""}));                // an empty one
  THROWS("ARCHIVE_CORRUPT",
         spots(kOld + kOld, {at(Encoding::c8, 0, 11), at(Encoding::text, 11)}, "/n"));  // a text inside a string
  THROWS("ARCHIVE_CORRUPT",
         spots(kOld + z(2) + kOld, {at(Encoding::c8, 0, 13), at(Encoding::c8, 12, 11)}, "/n"));  // inside a slot
}

// Whatever the lengths, a binary keeps its size, and rewriting back restores it.
static void there_and_back() {
  for (size_t slot = 11; slot <= 40; ++slot)
    for (size_t count = 1; count <= 3; ++count) {
      std::string in = "head" + z(1);
      std::vector<Spot> list;
      for (size_t i = 0; i < count; ++i) {
        list.push_back(at(Encoding::c8, in.size(), static_cast<uint32_t>(slot)));
        in += kOld + "/p" + std::to_string(i) + (i + 1 < count ? ":" : "");
      }
      in += z((slot - 11) * count + 1) + "tail";
      for (size_t length = 2; length <= slot; ++length) {
        const std::string to = "/" + std::string(length - 1, 'n');
        const std::string out = spots(in, list, to);
        std::vector<Spot> back = list;
        for (size_t i = 0; i < count; ++i)
          back[i].offset += (length - 11) * i;  // wraps around where it is shorter, as intended
        CHECK(out.size() == in.size() && spots(out, back, kOld, {to}) == in);
      }
    }
}

static bool search(const std::string& in, const std::vector<Rewrite>& rewrites, const std::string& to, std::string& out,
                   std::vector<Spot>* found = nullptr) {
  std::vector<Spot> list;
  Rewriting done;
  const bool any = rewrite_search(in, rewrites, to, out, list, done);
  if (any)
    CHECK(rewrite_spots(
              reinterpret_cast<const uint8_t*>(in.data()), in.size(), 0, list.data(), list.size(),
              [&] {
                std::vector<std::string> p;
                for (const Rewrite& r : rewrites) p.push_back(r.prefix);
                return p;
              }(),
              to, {}, done) == out);
  if (rewrites.size() == 1 && !rewrites[0].text) {
    std::string content = in;
    rewrite_binary(&content[0], content.size(), 0, true, rewrites[0].prefix, to);
    CHECK(content == (any ? out : in));
  }
  if (found) *found = list;
  return any;
}

// As many pieces as there can be, strings and prefixes across all of their ends.
static void pieces() {
  for (const Encoding e : {Encoding::c8, Encoding::c16le, Encoding::c16be, Encoding::c32le, Encoding::c32be}) {
    const std::string one = encode_as(kOld + "/b:" + kOld + "/c", e) + z(4), other = encode_as("no prefix", e) + z(4);
    std::string in;
    for (int i = 0; i < 20; ++i) in += (i % 3 ? other : one) + std::string(static_cast<size_t>(4 * i), 'x');
    std::string whole = in;
    CHECK(rewrite_binary(&whole[0], whole.size(), 0, true, kOld, "/n") == in.size() && whole != in);
    for (size_t step = 1; step < in.size(); step += 7) {
      std::string out, piece;
      for (size_t read = 0; read < in.size(); read += step) {
        piece += in.substr(read, step);
        const bool last = read + step >= in.size();
        const size_t done = rewrite_binary(&piece[0], piece.size(), out.size(), last, kOld, "/n");
        out += piece.substr(0, done);
        piece.erase(0, done);
        CHECK(!last || piece.empty());
      }
      CHECK(out == whole);
    }
  }
}

static void searches() {
  std::string out = "untouched";
  std::vector<Spot> found;
  CHECK(!search("nothing here", {{kOld, true}}, "/n", out) && out == "untouched");
  CHECK(search("a " + kOld + "2 " + kOld + "/b", {{kOld, true}}, "/n", out, &found) && out == "a /n2 /n/b" &&
        found.size() == 2 && found[1].offset == 15);
  CHECK(search("\177ELF" + kOld + "/b:" + kOld + z(1) + kOld + "x" + z(1) + "e" + kOld, {{kOld, false}}, "/n", out,
               &found) &&
        out == "\177ELF/n/b:/n" + z(19) + "/nx" + z(10) + "e/n" + z(9));
  CHECK(found.size() == 4 && found[0].encoding == Encoding::c8 && found[0].offset == 4 && found[0].slot == 11);
  for (const Encoding e : {Encoding::c16le, Encoding::c16be, Encoding::c32le, Encoding::c32be}) {
    const std::string in = z(4) + encode_as(kOld + "/b", e) + z(8), want = z(4) + encode_as("/n/b", e);
    CHECK(search(in, {{kOld, false}}, "/n", out, &found) && out == want + z(in.size() - want.size()) &&
          found.size() == 1 && found[0].encoding == e);
  }
  THROWS("PREFIX_TOO_LONG", search("x" + kOld + z(20), {{kOld, false}}, "/twelve/long", out));
  std::string full = "x" + kOld + z(20);
  THROWS("PREFIX_TOO_LONG", rewrite_binary(&full[0], full.size(), 0, true, kOld, "/twelve/long"));
  CHECK(search(kOld, {{kOld, true}}, "/twelve/long", out) && out == "/twelve/long");
  // Several prefixes: each place once, spots in terms of the input.
  CHECK(search("/aa /b /aa/b", {{"/aa", true}, {"/b", true}}, "/n", out, &found) && out == "/n /n /n/n" &&
        found.size() == 4 && found[3].offset == 10);
  CHECK(search("/a/env/sub", {{"/a/env/sub", true}, {"/a/env", true}}, "/n", out, &found) && out == "/n" &&
        found.size() == 1 && found[0].refers == 0);
  // What has no place in a string of another encoding is part of its text.
  const std::string mixed = encode_as("/aa", Encoding::c16le) + "/aa." + z(4);
  CHECK(search(mixed, {{"/aa", false}}, "/n", out, &found) && found.size() == 1 && out.size() == mixed.size());
}

static void prefixes() {
  check_prefix("/a b/ü");
  for (const std::string& bad :
       {std::string(), std::string("a"), std::string("/a\nb"), "/a" + z(1) + "b", "/" + std::string(4095, 'a')})
    THROWS("INVALID_OPTION", check_prefix(bad));
}

int main() {
  texts();
  c_strings();
  wide();
  digests();
  refused();
  there_and_back();
  searches();
  pieces();
  prefixes();
  return check::done();
}

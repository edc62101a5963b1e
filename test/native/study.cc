// What a study finds out about one file: proven or not, its stored form, its spots, and what stays as it is.
#include "study.h"
#include "packing.h"

using namespace cd;

static const std::string kHere = "/home/alice/env";

struct Case {
  PackEntry entry;
  std::string content;
  Case(std::string c) : content(std::move(c)) { entry.entry.path = "f"; }
  Case& package(const std::string& original, int mode) {
    entry.has_sha256 = true;
    entry.sha256 = hash_of(original);
    entry.placeholder = kPlaceholderText;
    entry.mode = mode;
    return *this;
  }
  Studied run(const std::vector<std::string>& prefixes = {kHere}) const {
    Memory source(reinterpret_cast<const uint8_t*>(content.data()), content.size());
    const Studied s = study(source, entry, prefixes, "_placehold_placehold");
    const Digest hash = hash_of(content);
    const Studied same = study(source, entry, prefixes, "_placehold_placehold", &hash);
    CHECK(same.state == s.state && same.sha256 == s.sha256 && same.size == s.size);
    CHECK(same.edits.size() == s.edits.size() && same.spots.size() == s.spots.size());
    return s;
  }
  std::string stored(const Studied& s) const {
    Memory source(reinterpret_cast<const uint8_t*>(content.data()), content.size());
    std::string whole, parts;
    render(source, s.edits, {0, s.size}, whole);
    for (uint64_t at = 0; at < s.size; at += 3) render(source, s.edits, {at, std::min(s.size, at + 3)}, parts);
    CHECK(whole == parts);  // any cutting gives the same bytes
    return whole;
  }
};

static void proven(const std::string& what, const std::string& installed, const std::string& original, int mode,
                   size_t spots) {
  const Case c = Case(installed).package(original, mode);
  const Studied s = c.run();
  CHECK_MORE(s.state == State::proven, what);
  CHECK_MORE(c.stored(s) == original, what);
  CHECK_MORE(s.spots.size() == spots && s.kept_prefix == 0, what);
  for (const Spot& spot : s.spots) {
    const std::string there = encode_as(kPlaceholderText, spot.encoding);
    CHECK_MORE(original.compare(spot.offset, there.size(), there) == 0 && spot.refers == kPlaceholder, what);
    CHECK_MORE(spot.slot == (spot.encoding == Encoding::text ? 0 : 255), what);
  }
  // The file of the package itself has them in the same places.
  Case untouched = Case(original).package(original, mode);
  untouched.entry.pristine = true;
  const Studied same = untouched.run();
  CHECK_MORE(same.state == State::proven && same.edits.empty() && same.size == original.size(), what);
  CHECK_MORE(same.spots.size() == spots, what);
  for (size_t i = 0; i < spots; ++i)
    CHECK_MORE(same.spots[i].offset == s.spots[i].offset && same.spots[i].encoding == s.spots[i].encoding &&
                   same.spots[i].slot == s.spots[i].slot && same.spots[i].refers == kPlaceholder,
               what);
}

static void proofs() {
  const std::string& ph = kPlaceholderText;
  const size_t gap = ph.size() - kHere.size();
  proven("untouched", "plain\n", "plain\n", 0, 0);
  proven("text", "a " + kHere + "/b\n" + kHere + "\n", "a " + ph + "/b\n" + ph + "\n", 0, 2);
  proven("text that goes on", "x" + kHere + "2\n", "x" + ph + "2\n", 0, 1);
  proven("whole and not whole", kHere + " " + kHere + "-old\n", ph + " " + kHere + "-old\n", 0, 1);
  proven("no newline", "#!" + kHere + "/bin/python", "#!" + ph + "/bin/python", 0, 1);
  proven("C string", "\177ELF" + kHere + "/lib" + zeros(gap + 1) + "rest", "\177ELF" + ph + "/lib" + zeros(1) + "rest",
         1, 1);
  proven("two in one string", kHere + ":" + kHere + "/x" + zeros(2 * gap + 1) + "r",
         ph + ":" + ph + "/x" + zeros(1) + "r", 1, 2);
  proven("two strings", kHere + zeros(gap + 1) + "-" + kHere + zeros(gap + 1), ph + zeros(1) + "-" + ph + zeros(1), 1,
         2);
  proven("at the end of the file", "x" + kHere + "/lib" + zeros(gap), "x" + ph + "/lib", 1, 1);
  const auto wide = [](const std::string& s, Encoding e) { return encode_as(s, e); };
  for (const Encoding e : {Encoding::c16le, Encoding::c16be, Encoding::c32le, Encoding::c32be}) {
    const unsigned u = unit_of(e);
    proven("wide", zeros(8) + wide(kHere + "/x", e) + zeros(gap * u + u) + "end.",
           zeros(8) + wide(ph + "/x", e) + zeros(u) + "end.", 1, 1);
  }
  proven("shebang made short by env", "#!/usr/bin/env python3.11 -s\nx\n", "#!" + ph + "/bin/python3.11 -s\nx\n", 0, 1);
  proven("shebang with a blank", "#!/usr/bin/env perl\n", "#! " + ph + "/bin/perl\n", 0, 1);
  proven("shebang that was so", "#!/usr/bin/env perl\n" + kHere, "#!/usr/bin/env perl\n" + ph, 0, 1);
  proven("text with a NUL", "a" + zeros(1) + kHere + "\n", "a" + zeros(1) + ph + "\n", 0, 1);
  proven("binary without a NUL", "\177ELF" + kHere + zeros(gap), "\177ELF" + ph, 1, 1);
  proven("shebang made a trampoline",
         "#!/bin/sh\n'''exec' \"" + kHere + "/bin/python\" -s \"$0\" \"$@\" #'''\n" + kHere + "\n",
         "#!" + ph + "/bin/python -s\n" + ph + "\n", 0, 2);
}

// case 8: changed after installation. case 29: programs and libraries that nothing is recorded of.
static void unproven() {
  const std::string& ph = kPlaceholderText;
  const size_t gap = ph.size() - kHere.size();
  {
    const Studied s = Case("edited " + kHere + "\n").package("a " + ph + "\n", 0).run();
    CHECK(s.state == State::modified && s.spots.size() == 1 && s.spots[0].encoding == Encoding::text &&
          s.spots[0].offset == 7 && s.spots[0].refers == 0);
  }
  {  // as mamba records it: hashes, no placeholder
    Case c(kHere + "/t" + zeros(gap + 1) + "x");
    c.package("?", 1);
    c.entry.placeholder.clear();
    c.entry.has_in_prefix = true;
    c.entry.in_prefix = hash_of(c.content);
    c.entry.policy = Policy::any;
    c.entry.slot = 255;
    const Studied s = c.run();
    CHECK(s.state == State::installed && s.spots.size() == 1 && s.spots[0].slot == 255);
    CHECK(s.solid.size() == 1 && s.solid[0].begin == 0 && s.solid[0].end == 2 + ph.size() + 1);
  }
  {  // room behind one string only: chance, not an installer
    Case c("\177ELF1234" + kHere + zeros(gap + 1) + "x" + kHere + "/y" + zeros(1) + "x");
    c.entry.slot = 255;
    const Studied s = c.run();
    CHECK(s.spots.size() == 2 && s.spots[0].slot == kHere.size() && s.spots[1].slot == kHere.size());
  }
  {  // two in one string need twice the room
    Case c("\177ELF1234" + kHere + ":" + kHere + zeros(2 * gap) + "x");
    c.entry.slot = 255;
    CHECK(c.run().spots.at(1).slot == kHere.size());
    c.content = "\177ELF1234" + kHere + ":" + kHere + zeros(2 * gap + 1) + "x";
    CHECK(c.run().spots.at(1).slot == 255);
  }
  {  // zeros that already belong to what follows
    Case c("\177ELF12345" + kHere + zeros(gap + 1) + encode_as(kHere, Encoding::c16be).substr(1) + zeros(500));
    c.entry.slot = 255;
    const Studied s = c.run();
    CHECK(s.spots.size() == 2 && s.spots[0].slot == kHere.size() && s.spots[1].encoding == Encoding::c16be);
  }
  {  // installed as a text, whatever bytes are in it
    Case c("a" + zeros(1) + kHere + "\n");
    c.entry.has_in_prefix = true;
    c.entry.in_prefix = hash_of(c.content);
    c.entry.mode = 0;
    const Studied s = c.run();
    CHECK(s.state == State::installed && s.spots.size() == 1 && s.spots[0].encoding == Encoding::text);
    c.entry.in_prefix = hash_of("other");
    CHECK(c.run().state == State::modified && c.run().spots.empty() && c.run().kept_prefix == 1);
  }
  {  // the NULs do not show the room
    Case c("\177ELF1234" + kHere + zeros(gap) + "x");
    c.entry.slot = 255;
    const Studied s = c.run();
    CHECK(s.state == State::unknown && s.spots.size() == 1 && s.spots[0].slot == kHere.size());
  }
  CHECK(Case("\177ELF1234" + kHere + "/lib" + zeros(1)).run().spots[0].slot == kHere.size());
  CHECK(Case("!<arch>\n" + kHere + zeros(1)).run().spots.size() == 1);
  {
    const Studied s = Case("PK12" + kHere + zeros(1) + kHere).run();
    CHECK(s.spots.empty() && s.kept_prefix == 2);
  }
  {
    Case c("text " + kHere);
    c.entry.policy = Policy::report;
    const Studied s = c.run();
    CHECK(s.spots.empty() && s.kept_prefix == 1);
  }
  CHECK(Case("see /x_placehold_placehold_placehold/y").run().kept_placeholder == 1);
  {  // two spellings of one prefix, one inside the other
    const Studied s = Case("/gpfs" + kHere + "/a " + kHere + "/b").run({kHere, "/gpfs" + kHere});
    CHECK(s.spots.size() == 2 && s.spots[0].refers == 1 && s.spots[0].offset == 0 && s.spots[1].refers == 0);
  }
  CHECK(Case("").run().spots.empty());
}

static void pristine() {
  const std::string& ph = kPlaceholderText;
  Case c(ph + "/a\n");
  c.entry.pristine = true;
  c.entry.placeholder = ph;
  CHECK(c.run().state == State::unknown && c.run().spots.size() == 1);
  c.package("another\n", 0);
  CHECK(c.run().state == State::modified && c.run().spots.size() == 1);
  // No prefix of an installation stands in it, and the placeholder of another file stays.
  Case other(kHere + " " + "/x_placehold_placehold_placehold/y");
  other.entry.pristine = true;
  CHECK(other.run().spots.empty() && other.run().kept_prefix == 0 && other.run().kept_placeholder == 1);
  other.content = "see /x_placehold_placehold_placehold/y /z_placehold_placehold\n";
  other.package(other.content, 0);
  other.entry.placeholder = "/x_placehold_placehold_placehold";
  CHECK(other.run().spots.size() == 1 && other.run().kept_placeholder == 1);
  // Longer than a frame can hold whole: left, and told by the placeholder that stays.
  Case huge(zeros(1) + "/x_placehold_placehold" + std::string((1 << 20) + 1, 'x') + zeros(9));
  huge.package(huge.content, 1);
  huge.entry.pristine = true;
  huge.entry.placeholder = "/x_placehold_placehold";
  CHECK(huge.run().spots.empty() && huge.run().kept_placeholder == 1);
}

static void cutting() {
  CHECK((cut(100, 4, {}) == std::vector<uint64_t>{0, 25, 50, 75, 100}));
  CHECK((cut(100, 4, {{20, 25}, {25, 30}, {49, 51}}) == std::vector<uint64_t>{0, 25, 51, 75, 100}));
  CHECK((cut(100, 4, {{20, 80}}) == std::vector<uint64_t>{0, 80, 80, 80, 100}));
  CHECK((cut(100, 2, {{40, 51}, {50, 60}}) == std::vector<uint64_t>{0, 60, 100}));
  CHECK((cut(0, 1, {}) == std::vector<uint64_t>{0, 0}));
}

int main() {
  proofs();
  unproven();
  pristine();
  cutting();
  return check::done();
}

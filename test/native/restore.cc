// The way back of rewrite_spots: every encoding, slots that are filled, shebangs that became something else; and content
// that is not what was deployed.
#include "restore.h"
#include "archive_builder.h"
#include "check.h"

using namespace cd;

static const std::string kOld = "/opt/old-prefix";

static std::string z(size_t n) { return std::string(n, '\0'); }

struct Case {
  Entry entry;
  std::string stored;
};

static Case entry_of(const std::string& stored, std::vector<Spot> spots) {
  Case c{{}, stored};
  c.entry.path = "f";
  c.entry.size = stored.size();
  c.entry.sha256 = sha256(stored.data(), stored.size());
  c.entry.spots = std::move(spots);
  return c;
}

static std::string deployed(const Case& c, const std::string& prefix) {
  Rewriting done;
  std::vector<std::string> digests;
  for (const Spot& s : c.entry.spots)
    if (s.encoding == Encoding::digest) digests.emplace_back(64, 'a');
  return rewrite_spots(reinterpret_cast<const uint8_t*>(c.stored.data()), c.stored.size(), 0, c.entry.spots.data(),
                       c.entry.spots.size(), {kOld}, prefix, digests, done);
}

static void there_and_back(const Case& c, const std::string& prefix, const std::vector<Entry>& tree = {}) {
  std::string back;
  const std::string at = deployed(c, prefix);
  CHECK_MORE(restore_spots(at, c.entry, {kOld}, prefix, tree, back) && back == c.stored, prefix);
  for (size_t i = 0; i < at.size(); ++i) {
    std::string broken = at;
    broken[i] = static_cast<char>(broken[i] ^ 1);
    if (!restore_spots(broken, c.entry, {kOld}, prefix, tree, back)) continue;
    CHECK_MORE(back == c.stored, prefix);  // what a digest spot holds, and quotes around it, are not kept
  }
  std::string shorter = at.substr(0, at.size() / 2);
  CHECK(!restore_spots(shorter, c.entry, {kOld}, prefix, tree, back));
}

static std::string wide(const std::string& s, unsigned width) {
  std::string out;
  for (const char ch : s) out += ch + z(width - 1);
  return out;
}

// As files are taken: in pieces of at most `most` bytes.
static bool repoint(std::string& data, const Case& c, const std::string& from, const std::string& to, size_t most) {
  const std::vector<std::string> prefixes{kOld};
  Repoint strings(c.entry, prefixes, from, to);
  if (!strings.possible()) return false;
  for (size_t at = 0; at < data.size();) {
    // Only the piece itself, so that a sanitizer sees what goes beyond it.
    std::string piece = data.substr(at, most);
    const size_t ready = strings.piece(&piece[0], piece.size(), at);
    if (ready == 0) return false;
    data.replace(at, ready, piece, 0, ready);
    at += ready;
  }
  return strings.done();
}

static void strings() {
  for (const unsigned width : {1u, 2u, 4u}) {
    // Twice in one string, another string right behind it, one at the end of the file.
    const std::string stored = "\177ELF" + wide(kOld + "/a:" + kOld + z(13), width) + wide(kOld + z(7), width) +
                               wide("x" + z(1) + kOld + "/lib" + z(1), width);
    auto spots = build::spots_of(stored, kOld, 15);
    CHECK(spots.size() == 4);
    for (size_t i = 0; i < 3; ++i) spots[i].slot = 21;
    const Case c = entry_of(stored, spots);
    for (const std::string prefix : {"/n", "/opt/new-prefix", "/opt/other-pref"}) {
      there_and_back(c, prefix);
      std::string at = deployed(c, prefix);
      const bool fills = prefix.size() == 15;  // the last slot: where its string ends, only the hash could tell
      // In the smallest pieces that hold the longest string, and all larger ones; cut anywhere else nothing is done by halves.
      const size_t longest = 60 * width;
      for (size_t most = 1; most <= at.size(); ++most) {
        std::string in_pieces = at;
        const bool done = repoint(in_pieces, c, prefix, "/m/m", most);
        CHECK_MORE(fills ? !done : done || most < longest, prefix + std::to_string(most));
        CHECK_MORE(!done || in_pieces == deployed(c, "/m/m"), prefix + std::to_string(most));
      }
    }
    std::string other = deployed(c, "/n");
    CHECK(!repoint(other, c, "/o", "/m/m", other.size()));
    other = deployed(c, "/n");
    CHECK(!repoint(other, c, "/n", std::string(40, 'm'), other.size()));
  }
}

static void texts() {
  const std::string stored = "a " + kOld + "/x\r\n" + kOld + kOld + " end " + kOld;
  const Case c = entry_of(stored, build::spots_of(stored, kOld, 0));
  there_and_back(c, "/n");
  there_and_back(c, "/a/prefix/that/is/much/longer/than/what/was/stored");
  std::string at = deployed(c, "/n");
  CHECK(!repoint(at, c, "/n", "/m", at.size()));
  const std::string zeros = "{\"h\": \"" + std::string(64, '0') + "\"} " + kOld;
  there_and_back(entry_of(zeros, {{Encoding::digest, 7, 0, 0}, {Encoding::text, 74, 0, 0}}), "/elsewhere");
}

static void shebangs() {
  std::vector<Entry> tree(3);
  tree[0].path = "bin/fish";
  tree[1].path = "lib/R/bin/Rscript";
  tree[2].path = "bin/Rscript";
  const std::string blank = "/with a \"quote\" $and `blank`\\", distant = '/' + std::string(150, 'x');
  for (const char* line :
       {"#!%/bin/python\nx\n", "#!  %/bin/pypy3 -s\n% %\n", "#!\t%/bin/perl -w\nx\n", "#!%/bin/ruby\n",
        "#!%/bin/bash -e\n%\n", "#!%/bin/sh", "#!%/bin/tclsh\nputs %\n", "#!%/bin/node --x=%\n", "#!%/bin/fish\n",
        "#!%/lib/R/bin/Rscript -a -b\r\n", "#!%/bin/python\r\nx\r\n", "#!%/bin/fish\r\n"}) {
    std::string stored;
    for (const char* p = line; *p; ++p) *p == '%' ? stored += kOld : stored += *p;
    const Case c = entry_of(stored, build::spots_of(stored, kOld, 0));
    for (const std::string& prefix : {std::string("/n"), blank, distant}) {
      std::string back;
      CHECK_MORE(restore_spots(deployed(c, prefix), c.entry, {kOld}, prefix, tree, back) && back == stored,
                 line + prefix);
    }
  }
  // What is lost and not in the tree is not guessed.
  const std::string gone = "#!" + kOld + "/bin/gone\n", options = "#!" + kOld + "/bin/wish -f\n";
  for (const std::string& stored : {gone, options}) {
    const Case c = entry_of(stored, build::spots_of(stored, kOld, 0));
    std::string back;
    CHECK(!restore_spots(deployed(c, distant), c.entry, {kOld}, distant, tree, back));
  }
}

int main() {
  strings();
  texts();
  shebangs();
  return check::done();
}

// Rewriting by recorded spots, as FORMAT.md's "Spots" says, and by search. What finds prefixes in bytes stands in
// find.cc.
#include "prefix.h"
#include <algorithm>
#include <climits>
#include <cstring>
#include "failure.h"
#include "shebang.h"

namespace cd {
namespace {

[[noreturn]] void corrupt(uint64_t offset, const std::string& what) {
  throw Failure("ARCHIVE_CORRUPT", "at byte " + std::to_string(offset) + ": " + what);
}

constexpr size_t kDigits = 64;

bool blank(char c) { return c == ' ' || c == '\t'; }

bool all_hex(const uint8_t* p, size_t n) {
  return std::all_of(
      p, p + n, [](uint8_t c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); });
}

// First NUL unit at or after `from`, in steps of the unit; `size` when there is none.
size_t find_nul(const uint8_t* data, size_t from, size_t size, unsigned unit) {
  static constexpr uint8_t kZero[4] = {};
  if (unit == 1) {
    const void* hit = from < size ? std::memchr(data + from, 0, size - from) : nullptr;
    return hit ? static_cast<size_t>(static_cast<const uint8_t*>(hit) - data) : size;
  }
  for (; from + unit <= size; from += unit)
    if (std::memcmp(data + from, kZero, unit) == 0) return from;
  return size;
}

// One call of rewrite_spots: the input, the spots not yet done, and the output so far.
class Rewriter {
 public:
  Rewriter(const uint8_t* data, size_t size, uint64_t base, const std::vector<std::string>& prefixes,
           const std::string& prefix, std::string room)
      : data_(data), size_(size), base_(base), prefixes_(prefixes), prefix_(prefix), out_(std::move(room)) {}

  std::string run(const Spot* spots, size_t count, const std::vector<std::string>& digests) {
    out_.clear();
    out_.reserve(size_ + count * prefix_.size());
    size_t digest = 0;
    for (size_t i = 0; i < count;) {
      const Spot& spot = spots[i];
      copy_to(place(spot));
      if (spot.encoding == Encoding::digest) {
        if (size_ - at_ < kDigits || !all_hex(data_ + at_, kDigits)) corrupt(spot.offset, "no 64 hexadecimal digits");
        if (digest >= digests.size()) throw Failure("ARCHIVE_CORRUPT", "a digest is missing");
        out_ += digests[digest++];
        at_ += kDigits;
        ++i;
      } else if (spot.encoding == Encoding::text) {
        at_ += expect(spot, stored(spot));
        out_ += prefix_;
        ++i;
      } else {
        i += c_string(spots + i, count - i);
      }
    }
    copy_to(size_);
    return std::move(out_);
  }

 private:
  size_t place(const Spot& spot) const {
    if (spot.offset < base_ + at_ || spot.offset - base_ > size_)
      corrupt(spot.offset, "a spot outside the content, or inside another");
    return static_cast<size_t>(spot.offset - base_);
  }

  void copy_to(size_t end) {
    out_.append(reinterpret_cast<const char*>(data_) + at_, end - at_);
    at_ = end;
  }

  std::string stored(const Spot& spot) const {
    if (spot.refers >= prefixes_.size())
      corrupt(spot.offset, "a spot of prefix " + std::to_string(spot.refers) + ", which is not listed");
    const std::string& text = prefixes_[spot.refers];
    return unit_of(spot.encoding) == 1 ? text : encode_as(text, spot.encoding);
  }

  // The stored bytes at the spot must be the prefix. Returns their number.
  size_t expect(const Spot& spot, const std::string& bytes) const {
    const size_t at = static_cast<size_t>(spot.offset - base_);
    if (bytes.empty() || size_ - at < bytes.size() || std::memcmp(data_ + at, bytes.data(), bytes.size()) != 0)
      corrupt(spot.offset, "not the prefix " + prefixes_[spot.refers]);
    return bytes.size();
  }

  // The string that begins at the first of these spots. Returns how many of them lie in it.
  size_t c_string(const Spot* spots, size_t count) {
    const Encoding encoding = spots[0].encoding;
    const unsigned unit = unit_of(encoding);
    const std::string to = encode_as(prefix_, encoding);
    const size_t begin = at_, written = out_.size();
    size_t end = 0, n = 0;
    uint64_t spare = 0;  // bytes of NUL known to follow the string
    for (; n < count && (n == 0 || place(spots[n]) < end); ++n) {
      const Spot& spot = spots[n];
      if (spot.encoding != encoding || (place(spot) - begin) % unit != 0)
        corrupt(spot.offset, "a spot of another encoding inside a string");
      copy_to(place(spot));
      const std::string from = stored(spot);
      at_ += expect(spot, from);
      const uint64_t room = uint64_t{spot.slot} * unit;
      if (room < from.size()) corrupt(spot.offset, "a slot shorter than the prefix in it");
      if (room < to.size())
        throw Failure("PREFIX_TOO_LONG", "at byte " + std::to_string(spot.offset) + ": the prefix takes " +
                                             std::to_string(to.size() / unit) + " characters, the slot has " +
                                             std::to_string(spot.slot));
      if (n == 0) end = find_nul(data_, at_, size_, unit);
      spare += room - from.size();
      out_ += to;
    }
    if (spare > size_ - end) corrupt(spots[0].offset, "the slot reaches beyond the content");
    copy_to(end);
    const size_t stop = end + static_cast<size_t>(spare);
    if (std::any_of(data_ + end, data_ + stop, [](uint8_t c) { return c != 0; }))
      corrupt(spots[0].offset, "the slot is not closed by NULs");
    at_ = stop;
    out_.append(written + (stop - begin) - out_.size(), '\0');
    return n;
  }

  const uint8_t* data_;
  const size_t size_;
  const uint64_t base_;
  const std::vector<std::string>& prefixes_;
  const std::string& prefix_;
  size_t at_ = 0;  // input dealt with
  std::string out_;
};

// Of a text that begins with "#!", blanks and its first spot: the first line becomes what shebang_for says.
void treat_shebang(const uint8_t* data, size_t size, const Spot& first, const std::string& prefix, std::string& out,
                   Rewriting& done) {
  if (first.encoding != Encoding::text || size < 2 || data[0] != '#' || data[1] != '!') return;
  const size_t begin = static_cast<size_t>(first.offset);
  if (begin < 2 || !std::all_of(data + 2, data + begin, [](uint8_t c) { return blank(static_cast<char>(c)); })) return;
  const std::string line = out.substr(0, out.find('\n'));
  size_t end = begin + prefix.size();  // blanks of the prefix itself do not end the interpreter's path
  while (end < line.size() && !blank(line[end])) ++end;
  out.replace(0, line.size(), shebang_for(line, begin, end, done));
}

}  // namespace

void check_prefix(const std::string& prefix) {
  const char* why = nullptr;
  if (prefix.empty() || prefix[0] != '/')
    why = "is not an absolute path";
  else if (prefix.find('\0') != std::string::npos || prefix.find('\n') != std::string::npos)
    why = "holds a NUL or a line end";
  else if (prefix.size() >= PATH_MAX)
    why = "is longer than a path can be";
  if (why) throw Failure("INVALID_OPTION", "prefix '" + prefix.substr(0, prefix.find('\0')) + "' " + why);
}

void check_growth(uint64_t bytes) {
  if (bytes > kMaxGrowth)
    throw Failure("LIMIT_EXCEEDED",
                  "with this prefix the texts would grow by " + std::to_string(bytes) +
                      " bytes, more than those of any environment: the archive may be made to fill disks");
}

std::string rewrite_spots(const uint8_t* data, size_t size, uint64_t base, const Spot* spots, size_t count,
                          const std::vector<std::string>& prefixes, const std::string& prefix,
                          const std::vector<std::string>& digests, Rewriting& done, std::string room) {
  std::string out = Rewriter(data, size, base, prefixes, prefix, std::move(room)).run(spots, count, digests);
  if (base == 0 && count > 0) treat_shebang(data, size, spots[0], prefix, out, done);
  return out;
}

namespace {

struct Found {
  std::vector<Spot> spots;            // in order, none inside another
  std::vector<std::string> prefixes;  // that they refer to
};

Found look_for(std::string_view in, const std::vector<Rewrite>& rewrites, uint64_t base = 0) {
  const uint8_t* data = reinterpret_cast<const uint8_t*>(in.data());
  std::vector<Spot> all;
  Found found;
  for (const Rewrite& rewrite : rewrites) {
    for (Spot& spot : rewrite.text ? find_text(data, in.size(), rewrite.prefix, false)
                                   : find_binary(data, in.size(), rewrite.prefix, false, base)) {
      spot.refers = static_cast<uint32_t>(found.prefixes.size());
      spot.slot = rewrite.text
                      ? 0
                      : static_cast<uint32_t>(encode_as(rewrite.prefix, spot.encoding).size() / unit_of(spot.encoding));
      all.push_back(spot);
    }
    found.prefixes.push_back(rewrite.prefix);
  }
  std::stable_sort(all.begin(), all.end(), [](const Spot& a, const Spot& b) { return a.offset < b.offset; });

  size_t taken = 0, string_begin = 0, string_end = 0;  // bytes dealt with; the C string being read
  for (const Spot& spot : all) {
    const size_t at = static_cast<size_t>(spot.offset);
    if (at < taken) continue;
    const unsigned unit = unit_of(spot.encoding);
    if (at < string_end) {  // what has no place in that string is part of its text
      if (spot.encoding != found.spots.back().encoding || (at - string_begin) % unit != 0) continue;
    }
    taken = at + encode_as(found.prefixes[spot.refers], spot.encoding).size();
    if (spot.encoding != Encoding::text && at >= string_end) {
      string_begin = at;
      string_end = find_nul(data, taken, in.size(), unit);
    }
    found.spots.push_back(spot);
  }
  return found;
}

}  // namespace

bool rewrite_search(std::string_view in, const std::vector<Rewrite>& rewrites, const std::string& to, std::string& out,
                    std::vector<Spot>& spots, Rewriting& done) {
  size_t kept;
  if (!rewrite_search_behind(in, rewrites, to, kept, out, spots, done)) return false;
  out.insert(0, in.substr(0, kept));
  return true;
}

bool rewrite_search_behind(std::string_view in, const std::vector<Rewrite>& rewrites, const std::string& to,
                           size_t& kept, std::string& out, std::vector<Spot>& spots, Rewriting& done) {
  const Found found = look_for(in, rewrites);
  if (found.spots.empty()) return false;
  check_growth(found.spots.size() * uint64_t{to.size()});
  // A text may begin with a shebang, of which all of the first line may change.
  const Spot& first = found.spots.front();
  kept = first.encoding == Encoding::text ? 0 : static_cast<size_t>(first.offset);
  out = rewrite_spots(reinterpret_cast<const uint8_t*>(in.data()) + kept, in.size() - kept, kept, found.spots.data(),
                      found.spots.size(), found.prefixes, to, {}, done, std::move(out));
  spots.insert(spots.end(), found.spots.begin(), found.spots.end());
  return true;
}

size_t rewrite_binary(char* piece, size_t size, uint64_t base, bool last, const std::string& from,
                      const std::string& to) {
  const uint8_t* data = reinterpret_cast<const uint8_t*>(piece);
  Found found = look_for({piece, size}, {{from, false}}, base);
  for (Spot& spot : found.spots) spot.offset += base;
  const auto begin_of = [&](const Spot& spot) { return static_cast<size_t>(spot.offset - base); };
  const auto end_of = [&](const Spot& spot) {
    const size_t behind = begin_of(spot) + encode_as(from, spot.encoding).size();
    return find_nul(data, behind, size, unit_of(spot.encoding));
  };
  // Where nothing was found for so long, what stands on one side has nothing to do with what stands on the other: no prefix takes more than
  // four bytes a character, and whatever overlaps lies on one side.
  const size_t margin = 16 * from.size();
  size_t done = last ? size : size - std::min(size, margin);
  for (size_t i = last ? 0 : found.spots.size(); i-- > 0;) {
    const size_t begin = begin_of(found.spots[i]);
    if (begin >= done + margin) continue;
    if (end_of(found.spots[i]) + margin <= done) break;
    done = begin - std::min(begin, margin);
  }
  Rewriting none;
  for (size_t i = 0, n = 0; i < found.spots.size() && begin_of(found.spots[i]) < done; i += n) {
    const Spot& first = found.spots[i];
    const size_t begin = begin_of(first), end = end_of(first);
    for (n = 1; i + n < found.spots.size() && begin_of(found.spots[i + n]) < end;) ++n;
    const std::string string =
        rewrite_spots(data + begin, end - begin, first.offset, &first, n, found.prefixes, to, {}, none);
    std::copy(string.begin(), string.end(), piece + begin);
  }
  return done;
}

}  // namespace cd

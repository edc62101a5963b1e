#include "study.h"
#include <algorithm>
#include <cstring>
#include "search.h"
#include "sha256.h"

namespace cd {
namespace {

constexpr uint64_t kLongestString =
    1 << 20;  // a frame must hold a relocated C string whole; longer ones are not touched

struct Hit {
  Spot spot;            // offset in the source
  uint64_t length = 0;  // bytes
  uint64_t end() const { return spot.offset + length; }
};

std::vector<Hit> hits_of(Source& source, const std::string& prefix, uint32_t number, bool text, bool whole) {
  std::vector<Hit> out;
  for (Spot s : find_all(source, prefix, text, whole)) {
    s.refers = number;
    out.push_back({s, unit_of(s.encoding) == 1 ? prefix.size() : encode_as(prefix, s.encoding).size()});
  }
  return out;
}

// Hits of one C string: [first, next) of the hits, its end before the NUL.
struct CString {
  size_t next = 0;
  uint64_t end = 0;
  bool uniform = true;  // one encoding, aligned
};

CString string_at(Source& source, const std::vector<Hit>& hits, size_t first) {
  const Spot& head = hits[first].spot;
  const unsigned unit = unit_of(head.encoding);
  CString s;
  s.end = nul_after(source, hits[first].end(), unit);
  for (s.next = first; s.next < hits.size() && hits[s.next].spot.offset < s.end; ++s.next) {
    const Spot& spot = hits[s.next].spot;
    s.uniform = s.uniform && spot.encoding == head.encoding && (spot.offset - head.offset) % unit == 0 &&
                hits[s.next].end() <= s.end;
  }
  return s;
}

// --- proving ---------------------------------------------------------------------------------------------------------------------

class Proof {
 public:
  Proof(Source& source, const PackEntry& entry, const std::vector<std::string>& prefixes)
      : source_(source), entry_(entry), prefixes_(prefixes) {}

  // True: `out` holds the stored form, whose hash is what the package recorded.
  bool find(bool text, Studied& out) {
    for (uint32_t i = 0; i < prefixes_.size(); ++i) {
      if (prefixes_[i].size() > entry_.placeholder.size() && !text) continue;
      const std::vector<Hit> whole = hits_of(source_, prefixes_[i], i, text, true);
      if (attempt(text, whole, prefixes_[i], out)) return true;
      const std::vector<Hit> every = hits_of(source_, prefixes_[i], i, text, false);
      if (every.size() != whole.size() && attempt(text, every, prefixes_[i], out)) return true;
    }
    return false;
  }

 private:
  bool attempt(bool text, const std::vector<Hit>& hits, const std::string& prefix, Studied& out) {
    return text ? try_text(hits, prefix, out) : try_binary(hits, out);
  }

  bool matches(Studied& s) {
    uint64_t shift = 0, taken = 0;
    for (const Edit& e : s.edits) {
      shift += e.text.size();
      taken += e.source.end - e.source.begin;
    }
    s.size = source_.size() + shift - taken;
    Sha256 h;
    std::string part;
    for (uint64_t at = 0; at < s.size;) {
      const uint64_t end = std::min(s.size, at + std::max<uint64_t>(source_.window(), 1 << 16));
      part.clear();
      render(source_, s.edits, {at, end}, part);
      h.update(part.data(), part.size());
      at = end;
    }
    s.sha256 = h.finish();
    return s.sha256 == entry_.sha256;
  }

  void add_text(Studied& s, Range range, const std::string& text, uint64_t placeholder_at) {
    const uint64_t shift =
        s.edits.empty() ? 0 : s.edits.back().stored + s.edits.back().text.size() - s.edits.back().source.end;
    s.edits.push_back({range, range.begin + shift, text});
    const uint64_t at = s.edits.back().stored + placeholder_at;
    s.spots.push_back({Encoding::text, at, kPlaceholder, 0});
    s.solid.push_back({at, at + entry_.placeholder.size()});
  }

  bool try_text(const std::vector<Hit>& hits, const std::string& prefix, Studied& out) {
    const Shebang original = original_shebang(prefix);
    const size_t variants = original.end == 0 ? 1 : 3;
    for (size_t variant = 0; variant < variants; ++variant) {
      Studied s;
      if (variant > 0) {
        const std::string begin = variant == 1 ? "#!" : "#! ";
        add_text(s, {0, original.end}, begin + entry_.placeholder + original.rest, begin.size());
      }
      for (const Hit& h : hits)
        if (variant == 0 || h.spot.offset >= original.end) add_text(s, {h.spot.offset, h.end()}, entry_.placeholder, 0);
      if (!s.edits.empty() && matches(s)) {
        out = std::move(s);
        return true;
      }
    }
    return false;
  }

  struct Shebang {
    uint64_t end = 0;  // bytes of the source it stands for; 0: nothing to try
    std::string rest;  // of the line in the package, behind the placeholder
  };

  // An installer changes a first line that would be too long or would hold a blank: what may have stood in the package.
  Shebang original_shebang(const std::string& prefix) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(4096, source_.size()));
    const std::string head(reinterpret_cast<const char*>(source_.at(0, n)), n);
    const std::string by_env = "#!/usr/bin/env ", by_sh = "#!/bin/sh\n'''exec' \"" + prefix + "/";
    const std::string closing = "\"$0\" \"$@\" #'''";
    if (head.rfind(by_env, 0) == 0) {
      const size_t end = std::min(head.find('\n'), head.size());
      return {end, "/bin/" + head.substr(by_env.size(), end - by_env.size())};
    }
    if (head.rfind(by_sh, 0) == 0) {
      const size_t begin = by_sh.size() - 1, quote = head.find('"', begin), close = head.find(closing, begin);
      if (quote == std::string::npos || close == std::string::npos || quote >= close) return {};
      std::string options = head.substr(quote + 1, close - quote - 1);
      while (!options.empty() && options.back() == ' ') options.pop_back();
      return {close + closing.size(), head.substr(begin, quote - begin) + options};
    }
    return {};
  }

  bool try_binary(const std::vector<Hit>& hits, Studied& out) {
    Studied s;
    for (size_t i = 0; i < hits.size();) {
      const CString string = string_at(source_, hits, i);
      const Encoding e = hits[i].spot.encoding;
      const std::string placeholder = encode_as(entry_.placeholder, e);
      const uint64_t begin = hits[i].spot.offset;
      if (!string.uniform || string.end - begin > kLongestString) return false;
      uint64_t spare = 0;
      std::string text;
      const std::string bytes(reinterpret_cast<const char*>(source_.at(begin, static_cast<size_t>(string.end - begin))),
                              static_cast<size_t>(string.end - begin));
      size_t at = 0;
      for (; i < string.next; ++i) {
        text.append(bytes, at, static_cast<size_t>(hits[i].spot.offset - begin) - at);
        s.spots.push_back(
            {e, begin + text.size(), kPlaceholder, static_cast<uint32_t>(placeholder.size() / unit_of(e))});
        text += placeholder;
        at = static_cast<size_t>(hits[i].end() - begin);
        spare += placeholder.size() - hits[i].length;
      }
      text.append(bytes, at, std::string::npos);
      if (!all_nul(source_, string.end, string.end + spare)) return false;
      if (i < hits.size() && hits[i].spot.offset < string.end + spare) return false;
      s.edits.push_back({{begin, string.end + spare}, begin, text});
      s.solid.push_back({begin, std::min(begin + text.size() + unit_of(e), source_.size())});
    }
    if (s.edits.empty() || !matches(s)) return false;
    out = std::move(s);
    return true;
  }

  Source& source_;
  const PackEntry& entry_;
  const std::vector<std::string>& prefixes_;
};

// --- what cannot be proven -------------------------------------------------------------------------------------------------------

// Every spelling's hits, ascending; where two overlap the longer one stands.
std::vector<Hit> union_of(Source& source, const std::vector<std::string>& prefixes, bool text) {
  std::vector<Hit> all;
  for (uint32_t i = 0; i < prefixes.size(); ++i)
    for (const Hit& h : hits_of(source, prefixes[i], i, text, true)) all.push_back(h);
  std::sort(all.begin(), all.end(), [](const Hit& a, const Hit& b) {
    return a.spot.offset < b.spot.offset || (a.spot.offset == b.spot.offset && a.length > b.length);
  });
  std::vector<Hit> kept;
  for (const Hit& h : all) {
    if (!kept.empty() && h.spot.offset < kept.back().end()) {
      if (h.length > kept.back().length) kept.back() = h;
    } else {
      kept.push_back(h);
    }
  }
  return kept;
}

// The C strings among the hits: each with the NULs that would follow it if every slot were `slot` characters long.
struct Room {
  size_t first, next;
  uint64_t end, stop;
  bool shown;
};

std::vector<Room> rooms_of(Source& source, const std::vector<Hit>& hits, uint64_t slot, Studied& s) {
  std::vector<Room> rooms;
  for (size_t i = 0; i < hits.size();) {
    const CString string = string_at(source, hits, i);
    const unsigned unit = unit_of(hits[i].spot.encoding);
    if (string.uniform && string.end - hits[i].spot.offset <= kLongestString) {
      bool fits = true;
      uint64_t spare = 0;
      for (size_t k = i; k < string.next; ++k) {
        fits = fits && slot * unit >= hits[k].length;
        spare += fits ? slot * unit - hits[k].length : 0;
      }
      // One more NUL closes the string that fills the room, unless the file ends there.
      const uint64_t stop = string.end + spare, closed = stop == source.size() ? stop : stop + unit;
      const bool clear = string.next == hits.size() || closed <= hits[string.next].spot.offset;
      rooms.push_back({i, string.next, string.end, closed, fits && clear && all_nul(source, string.end, closed)});
    } else {
      s.kept_prefix += string.next - i;
    }
    i = string.next;
  }
  return rooms;
}

// NULs that follow one string may be anything; when they follow every string of the file, an installer put them there.
void relocate_strings(Source& source, const PackEntry& entry, const std::vector<Hit>& hits, Studied& s) {
  const uint64_t slot = std::max<uint64_t>(entry.slot, entry.placeholder.size());
  const std::vector<Room> rooms = rooms_of(source, hits, slot, s);
  const bool shown = slot > 0 && std::all_of(rooms.begin(), rooms.end(), [](const Room& r) { return r.shown; });
  for (const Room& room : rooms) {
    const unsigned unit = unit_of(hits[room.first].spot.encoding);
    for (size_t k = room.first; k < room.next; ++k) {
      Spot spot = hits[k].spot;
      spot.slot = static_cast<uint32_t>(shown ? slot : hits[k].length / unit);
      s.spots.push_back(spot);
    }
    const uint64_t end = shown ? room.stop : std::min(room.end + unit, source.size());
    s.solid.push_back({hits[room.first].spot.offset, end});
  }
}

void relocate(Source& source, const PackEntry& entry, const std::vector<std::string>& prefixes, bool text, Studied& s) {
  const std::vector<Hit> hits = union_of(source, prefixes, text);
  if (hits.empty()) return;
  const uint8_t* head = source.size() >= 8 ? source.at(0, 8) : nullptr;
  const bool strings = entry.policy == Policy::any ||
                       (head && (std::memcmp(head, "\177ELF", 4) == 0 || std::memcmp(head, "!<arch>\n", 8) == 0));
  if (entry.policy == Policy::report || (!text && !strings)) {
    s.kept_prefix = hits.size();
  } else if (text) {
    for (const Hit& h : hits) {
      s.spots.push_back(h.spot);
      s.solid.push_back({h.spot.offset, h.end()});
    }
  } else {
    relocate_strings(source, entry, hits, s);
  }
}

// --- what no installer has touched -----------------------------------------------------------------------------------------------

bool has(const std::string& text, const std::string& part) {
  return !part.empty() && text.find(part) != std::string::npos;
}

// Every placeholder, as an installer would replace it: see rewrite_search.
void place(Source& source, const PackEntry& entry, bool text, Studied& s) {
  uint64_t begin = 0, end = 0;  // of the C string being read
  Encoding encoding = Encoding::text;
  bool fits = true;
  for (const Hit& hit : hits_of(source, entry.placeholder, kPlaceholder, text, false)) {
    Spot spot = hit.spot;
    const unsigned unit = unit_of(spot.encoding);
    if (text) {
      s.solid.push_back({spot.offset, hit.end()});
    } else if (spot.offset >= end) {
      begin = spot.offset;
      end = nul_after(source, hit.end(), unit);
      encoding = spot.encoding;
      fits = end - begin <= kLongestString;
      if (fits) s.solid.push_back({begin, std::min(end + unit, source.size())});
    } else if (spot.encoding != encoding || (spot.offset - begin) % unit != 0) {
      continue;  // part of the text of that string
    }
    if (!fits) continue;
    spot.slot = text ? 0 : static_cast<uint32_t>(hit.length / unit);
    s.spots.push_back(spot);
  }
}

}  // namespace

Studied study(Source& source, const PackEntry& entry, const std::vector<std::string>& prefixes,
              const std::string& marker, const Digest* hash) {
  Survey found = survey(source, marker, !hash && !proves(entry));
  Studied s;
  s.size = source.size();
  const bool recorded_text = entry.mode < 0 ? !found.has_nul : entry.mode == 0;
  if (proves(entry) && Proof(source, entry, prefixes).find(recorded_text, s)) {
    s.state = State::proven;
    s.kept_placeholder = found.names;
    return s;
  }
  if (hash)
    found.sha256 = *hash;
  else if (proves(entry))
    found.sha256 = hash_of(source);
  s.sha256 = found.sha256;
  if (entry.pristine) {
    if (entry.has_sha256) s.state = found.sha256 == entry.sha256 ? State::proven : State::modified;
    if (!entry.placeholder.empty()) place(source, entry, recorded_text, s);
    // What is relocated is not kept.
    const bool marked = has(entry.placeholder, marker);
    const auto relocated = static_cast<uint64_t>(
        std::count_if(s.spots.begin(), s.spots.end(), [](const Spot& spot) { return unit_of(spot.encoding) == 1; }));
    s.kept_placeholder = found.names - (marked ? std::min<uint64_t>(found.names, relocated) : 0);
    return s;
  }
  if (entry.has_sha256 && found.sha256 == entry.sha256) {
    s.state = State::proven;
  } else {
    if (entry.has_in_prefix && found.sha256 == entry.in_prefix)
      s.state = State::installed;
    else if (entry.has_sha256 || entry.has_in_prefix)
      s.state = State::modified;
    // What was recorded of the file holds for it as installed, not for what somebody made of it.
    relocate(source, entry, prefixes, s.state == State::installed ? recorded_text : !found.has_nul, s);
  }
  s.kept_placeholder = found.names;
  return s;
}

void render(Source& source, const std::vector<Edit>& edits, Range range, std::string& out) {
  auto copy = [&](uint64_t begin, uint64_t end) {  // of the source
    while (begin < end) {
      const size_t n = static_cast<size_t>(std::min<uint64_t>(end - begin, std::max<size_t>(source.window(), 1)));
      out.append(reinterpret_cast<const char*>(source.at(begin, n)), n);
      begin += n;
    }
  };
  uint64_t stored = 0, at = 0;  // what stands from `stored` on comes from the source from `at` on
  auto next =
      std::upper_bound(edits.begin(), edits.end(), range.begin, [](uint64_t v, const Edit& e) { return v < e.stored; });
  if (next != edits.begin()) {
    --next;
    if (range.begin >= next->stored + next->text.size()) {
      stored = next->stored + next->text.size();
      at = next->source.end;
      ++next;
    } else if (next != edits.begin()) {
      const Edit& before = *std::prev(next);
      stored = before.stored + before.text.size();
      at = before.source.end;
    }
  }
  for (uint64_t pos = range.begin; pos < range.end;) {
    if (next != edits.end() && pos >= next->stored) {
      const uint64_t skip = pos - next->stored, n = std::min<uint64_t>(next->text.size() - skip, range.end - pos);
      out.append(next->text, static_cast<size_t>(skip), static_cast<size_t>(n));
      pos += n;
      if (pos == next->stored + next->text.size()) {
        stored = pos;
        at = next->source.end;
        ++next;
      }
    } else {
      const uint64_t end = std::min(range.end, next == edits.end() ? range.end : next->stored);
      copy(at + (pos - stored), at + (end - stored));
      pos = end;
    }
  }
}

std::vector<uint64_t> cut(uint64_t size, size_t parts, const std::vector<Range>& solid) {
  std::vector<uint64_t> cuts{0};
  for (size_t part = 1; part < parts; ++part) {
    uint64_t at = size / parts * part;
    auto in = std::upper_bound(solid.begin(), solid.end(), at, [](uint64_t v, const Range& r) { return v < r.end; });
    for (; in != solid.end() && in->begin < at; ++in) at = in->end;
    cuts.push_back(at);
  }
  cuts.push_back(size);
  return cuts;
}

}  // namespace cd

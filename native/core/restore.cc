// Every rule of "Spots" in FORMAT.md, backwards. What the rules lose (the blanks of a shebang, the folder of an
// interpreter) is tried; the hash of the stored content decides.
#include "restore.h"
#include <algorithm>
#include <cstring>
#include <optional>
#include "prefix.h"
#include "sha256.h"

namespace cd {
namespace {

constexpr size_t kDigits = 64;
constexpr const char* kShell = "#!/bin/sh\n";

// First NUL unit from `at` on, in steps of the unit; `size` when there is none.
size_t find_nul(const char* data, size_t at, size_t size, unsigned unit) {
  if (unit == 1) {
    const void* hit = at < size ? std::memchr(data + at, 0, size - at) : nullptr;
    return hit ? static_cast<size_t>(static_cast<const char*>(hit) - data) : size;
  }
  for (; at + unit <= size; at += unit)
    if (std::all_of(data + at, data + at + unit, [](char c) { return c == 0; })) return at;
  return size;
}

bool is_string(const Spot& spot) { return spot.encoding != Encoding::text && spot.encoding != Encoding::digest; }

// A C string as deployed: its prefixes, each with the text behind it, and the NULs that fill its room.
struct CString {
  std::vector<std::pair<size_t, size_t>> texts;  // place and size, one to each spot
  size_t begin = 0, end = 0, stop = 0;           // of the string, and of its room
};

// The string that begins with spot `first` and the prefix `to` (encoded) at `begin`.
std::optional<CString> string_at(const char* data, size_t size, size_t begin, const std::vector<Spot>& spots,
                                 size_t first, const std::vector<std::string>& prefixes, const std::string& to) {
  const Encoding encoding = spots[first].encoding;
  const unsigned unit = unit_of(encoding);
  CString found;
  found.begin = begin;
  size_t at = begin;
  uint64_t spare = 0;
  for (size_t k = first;; ++k) {
    const uint64_t slot = uint64_t{spots[k].slot} * unit;
    if (size - at < to.size() || std::memcmp(data + at, to.data(), to.size()) != 0 || slot < to.size()) return {};
    at += to.size();
    spare += slot - to.size();
    if (k == first) found.end = find_nul(data, at, size, unit);
    found.texts.emplace_back(at, found.end - at);
    if (k + 1 == spots.size() || spots[k + 1].encoding != encoding) break;
    const uint64_t behind = spots[k].offset + encode_as(prefixes[spots[k].refers], encoding).size();
    if (spots[k + 1].offset < behind) return {};
    const uint64_t gap = spots[k + 1].offset - behind;
    if (gap >= found.end - at) break;  // beyond its NUL: another string
    found.texts.back().second = gap;
    at += gap;
  }
  if (spare > size - found.end) return {};
  found.stop = found.end + spare;
  if (std::any_of(data + found.end, data + found.stop, [](char c) { return c != 0; })) return {};
  return found;
}

// One deployed content before its shebang was treated; positions differ from the stored ones where a text grew.
class Restorer {
 public:
  Restorer(const std::string& in, const Entry& entry, const std::vector<std::string>& prefixes,
           const std::string& prefix)
      : in_(in), spots_(entry.spots), size_(entry.size), prefixes_(prefixes), prefix_(prefix) {}

  std::optional<std::string> run() {
    out_.reserve(size_);
    for (size_t i = 0; i < spots_.size();) {
      const Spot& spot = spots_[i];
      if (spot.offset < out_.size() || !copy(spot.offset - out_.size())) return {};
      if (spot.encoding == Encoding::digest) {
        if (in_.size() - at_ < kDigits) return {};
        at_ += kDigits;
        out_.append(kDigits, '0');  // what an archive holds there
        ++i;
      } else if (spot.encoding == Encoding::text) {
        if (!expect(prefix_)) return {};
        out_ += prefixes_[spot.refers];
        ++i;
      } else {
        const size_t n = c_string(i);
        if (n == 0) return {};
        i += n;
      }
    }
    if (!copy(in_.size() - at_) || out_.size() != size_) return {};
    return std::move(out_);
  }

 private:
  bool copy(uint64_t size) {
    if (size > in_.size() - at_) return false;
    out_.append(in_, at_, size);
    at_ += size;
    return true;
  }

  bool expect(const std::string& bytes) {
    if (in_.compare(at_, bytes.size(), bytes) != 0) return false;
    at_ += bytes.size();
    return true;
  }

  // The string that begins at spot `first`: how many spots it has; 0: it is not there.
  size_t c_string(size_t first) {
    const Encoding encoding = spots_[first].encoding;
    const auto found = string_at(in_.data(), in_.size(), at_, spots_, first, prefixes_, encode_as(prefix_, encoding));
    if (!found) return 0;
    const size_t begin = out_.size();
    for (size_t k = 0; k < found->texts.size(); ++k) {
      out_ += encode_as(prefixes_[spots_[first + k].refers], encoding);
      out_.append(in_, found->texts[k].first, found->texts[k].second);
    }
    const size_t room = found->stop - found->begin, used = out_.size() - begin;
    if (used > room) return 0;
    out_.append(room - used, '\0');
    at_ = found->stop;
    return found->texts.size();
  }

  const std::string& in_;
  const std::vector<Spot>& spots_;
  const uint64_t size_;
  const std::vector<std::string>& prefixes_;
  const std::string& prefix_;
  size_t at_ = 0;  // input dealt with
  std::string out_;
};

// What the lines of shebang.cc say, taken apart: the interpreter, its options, and where the rest of the script begins.
struct Shebang {
  std::string path, options;
  size_t rest = 0;
};

// `"…"` at `at`, without its quotes and escapes; `at` moves behind it.
std::optional<std::string> unquoted(const std::string& in, size_t& at) {
  if (at >= in.size() || in[at] != '"') return {};
  std::string out;
  for (++at; at < in.size() && in[at] != '"'; ++at) {
    if (in[at] == '\\') ++at;
    if (at >= in.size() || in[at] == '\n') return {};
    out += in[at];
  }
  if (at >= in.size()) return {};
  ++at;
  return out;
}

bool skip(const std::string& in, size_t& at, const std::string& what) {
  if (in.compare(at, what.size(), what) != 0) return false;
  at += what.size();
  return true;
}

std::optional<Shebang> trampoline(const std::string& in) {
  static const struct {
    const char *before, *after;
  } kForms[] = {
      {"'''exec' ", " \"$0\" \"$@\" #'''"},
      {"exec ", " -x \"$0\" \"$@\"\n"},
      {"test \"${CONDA_DEPLOY_SH-}\" = $$ || { CONDA_DEPLOY_SH=$$; export CONDA_DEPLOY_SH; exec ", " \"$0\" \"$@\"; }"},
      {"# \\\nexec ", " \"$0\" \"$@\""},
      {"':' //; exec ", " \"$0\" \"$@\""},
  };
  for (const auto& form : kForms) {
    size_t at = std::strlen(kShell);
    if (!skip(in, at, form.before)) continue;
    const auto path = unquoted(in, at);
    if (!path) continue;
    Shebang found{*path, {}, 0};
    const std::string after = form.after;
    size_t end = at;
    if (after.back() == '\n') {  // the options stand in a line of their own
      if (!skip(in, at, after) || !skip(in, at, "#!" + path->substr(path->rfind('/') + 1))) continue;
      end = std::min(in.find('\n', at), in.size());
      found.options = in.substr(at, end - at);
    } else {
      const size_t line = std::min(in.find('\n', at), in.size());
      if (line < at + after.size() || in.compare(line - after.size(), after.size(), after) != 0) continue;
      found.options = in.substr(at, line - after.size() - at);
      end = line;
    }
    found.rest = end;
    return found;
  }
  return {};
}

bool ends_with(const std::string& s, const std::string& end) {
  return s.size() >= end.size() && s.compare(s.size() - end.size(), end.size(), end) == 0;
}

// Interpreters that `#!/usr/bin/env base` may have been.
std::vector<Shebang> by_path(const std::string& in, const std::string& prefix, const std::vector<Entry>& interpreters) {
  size_t at = 0;
  if (!skip(in, at, "#!/usr/bin/env ")) return {};
  skip(in, at, "-S ");
  const size_t line = std::min(in.find('\n', at), in.size()), end = std::min(in.find_first_of(" \t", at), line);
  size_t name = end;
  if (name > at && in[name - 1] == '\r')
    --name;  // of a line end that Windows made, which is part of the interpreter's path
  const std::string base = '/' + in.substr(at, name - at), rest = in.substr(name, line - name);
  std::vector<Shebang> found;
  for (const Entry& entry : interpreters)
    if (entry.kind != Kind::directory && ends_with('/' + entry.path, base))
      found.push_back({prefix + '/' + entry.path, rest, line});
  return found;
}

}  // namespace

bool restore_spots(const std::string& deployed, const Entry& entry, const std::vector<std::string>& prefixes,
                   const std::string& prefix, const std::vector<Entry>& interpreters, std::string& stored) {
  const auto proven = [&](const std::string& before) {
    std::optional<std::string> found = Restorer(before, entry, prefixes, prefix).run();
    if (!found || sha256(found->data(), found->size()) != entry.sha256) return false;
    stored = std::move(*found);
    return true;
  };
  if (proven(deployed)) return true;
  const Spot& first = entry.spots[0];
  if (first.encoding != Encoding::text || first.offset < 2 || deployed.compare(0, 2, "#!") != 0) return false;
  std::vector<Shebang> forms;
  if (const auto found = trampoline(deployed))
    forms.push_back(*found);
  else
    forms = by_path(deployed, prefix, interpreters);
  for (const Shebang& form : forms)
    for (const char blank : {' ', '\t'})
      if (proven("#!" + std::string(first.offset - 2, blank) + form.path + form.options + deployed.substr(form.rest)))
        return true;
  return false;
}

bool Repoint::possible() const { return std::all_of(spots_.begin(), spots_.end(), is_string); }

size_t Repoint::piece(char* data, size_t size, uint64_t offset) {
  while (next_ < spots_.size()) {
    const Spot& spot = spots_[next_];
    if (spot.offset < offset) return 0;
    if (spot.offset - offset >= size) break;
    const size_t begin = static_cast<size_t>(spot.offset - offset);
    const auto found = string_at(data, size, begin, spots_, next_, prefixes_, encode_as(from_, spot.encoding));
    if (!found || found->stop == found->end) return begin;
    const std::string by = encode_as(to_, spot.encoding);
    made_.clear();
    for (const auto& text : found->texts) made_.append(by).append(data + text.first, text.second);
    const size_t room = found->stop - found->begin;
    if (made_.size() > room) return 0;
    made_.append(room - made_.size(), '\0');
    std::memcpy(data + found->begin, made_.data(), room);
    next_ += found->texts.size();
  }
  return size;
}

}  // namespace cd

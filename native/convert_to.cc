// Core → JavaScript. Objects of one list share property-name handles and get their properties in one order, hence one shape.
#include <algorithm>
#include "convert.h"
#include "failure.h"
#include "give_back.h"
#include "sha256.h"

namespace border {
namespace {

using Napi::Env;
using Napi::Value;

void must(napi_env env, napi_status status) {
  if (status != napi_ok) throw Napi::Error::New(env);
}

napi_value ascii(napi_env env, const char* s, size_t size = NAPI_AUTO_LENGTH) {
  napi_value out;
  must(env, napi_create_string_latin1(env, s, size, &out));
  return out;
}

napi_value number(napi_env env, double value) {
  napi_value out;
  must(env, napi_create_double(env, value, &out));
  return out;
}

napi_value number(napi_env env, uint64_t value) { return number(env, static_cast<double>(value)); }

napi_value boolean(napi_env env, bool value) {
  napi_value out;
  must(env, napi_get_boolean(env, value, &out));
  return out;
}

napi_value digest(napi_env env, const cd::Digest& value) {
  const std::string hex = cd::hex(value);
  return ascii(env, hex.data(), hex.size());
}

// Length of the UTF-8 sequence at s[i] (RFC 3629); 0: there is none.
size_t utf8_length(const std::string& s, size_t i, char32_t& point) {
  const auto byte = [&](size_t k) -> char32_t { return k < s.size() ? static_cast<unsigned char>(s[k]) : 0; };
  const char32_t c = byte(i), d = byte(i + 1);
  size_t length = 0;
  if (c < 0x80) return point = c, 1;
  if (c >= 0xC2 && c <= 0xDF)
    length = 2, point = c & 0x1F;
  else if (c >= 0xE0 && c <= 0xEF && d >= (c == 0xE0 ? 0xA0u : 0x80u) && d <= (c == 0xED ? 0x9Fu : 0xBFu))
    length = 3, point = c & 0x0F;
  else if (c >= 0xF0 && c <= 0xF4 && d >= (c == 0xF0 ? 0x90u : 0x80u) && d <= (c == 0xF4 ? 0x8Fu : 0xBFu))
    length = 4, point = c & 0x07;
  for (size_t k = 1; k < length; ++k) {
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
    point = point << 6 | (byte(i + k) & 0x3F);
  }
  return length;
}

bool is_ascii(const std::string& s) {
  bool all = true;
  for (const char c : s) all = all && static_cast<unsigned char>(c) < 0x80;
  return all;
}

void widen(const std::string& s, std::u16string& wide) {
  if (is_ascii(s)) {
    wide.append(s.begin(), s.end());
    return;
  }
  for (size_t i = 0; i < s.size();) {
    char32_t point = 0;
    if (const size_t length = utf8_length(s, i, point)) {
      if (point >= 0x10000) {
        wide.push_back(static_cast<char16_t>(0xD800 + ((point - 0x10000) >> 10)));
        wide.push_back(static_cast<char16_t>(0xDC00 + (point & 0x3FF)));
      } else {
        wide.push_back(static_cast<char16_t>(point));
      }
      i += length;
    } else {
      wide.push_back(static_cast<char16_t>(0xDC00 + static_cast<unsigned char>(s[i++])));
    }
  }
}

napi_value text(napi_env env, const std::string& s) {
  if (is_ascii(s)) return ascii(env, s.data(), s.size());
  std::u16string wide;
  widen(s, wide);
  napi_value out;
  must(env, napi_create_string_utf16(env, wide.data(), wide.size(), &out));
  return out;
}

template <class T, class F>
Napi::Array list(Env env, const std::vector<T>& items, F convert) {
  Napi::Array out = Napi::Array::New(env, items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const Napi::HandleScope scope(env);
    must(env, napi_set_element(env, out, static_cast<uint32_t>(i), convert(items[i])));
  }
  return out;
}

Napi::Array texts(Env env, const std::vector<std::string>& items) {
  return list(env, items, [&](const std::string& s) { return text(env, s); });
}

// One object, by name handles made once a list.
class Made {
 public:
  explicit Made(napi_env env) : env_(env) { must(env, napi_create_object(env, &object_)); }
  Made& set(napi_value key, napi_value value) {
    must(env_, napi_set_property(env_, object_, key, value));
    return *this;
  }
  Made& set(const char* key, napi_value value) { return set(ascii(env_, key), value); }
  operator napi_value() const { return object_; }
  Value value() const { return Value(env_, object_); }

 private:
  napi_env env_;
  napi_value object_;
};

struct Names {
  explicit Names(napi_env env)
      : path(ascii(env, "path")), kind(ascii(env, "kind")), mode(ascii(env, "mode")), mtime(ascii(env, "mtime")),
        size(ascii(env, "size")), sha256(ascii(env, "sha256")), target(ascii(env, "target")),
        spots(ascii(env, "spots")), deployed(ascii(env, "deployed")), encoding(ascii(env, "encoding")),
        offset(ascii(env, "offset")), refers(ascii(env, "refers")),
        slot(ascii(env, "slot")), kinds{ascii(env, "directory"), ascii(env, "file"), ascii(env, "symlink"),
                                        ascii(env, "hardlink"), ascii(env, "other")},
        encodings{ascii(env, "text"),  ascii(env, "c8"),    ascii(env, "c16le"), ascii(env, "c16be"),
                  ascii(env, "c32le"), ascii(env, "c32be"), ascii(env, "digest")} {}
  napi_value path, kind, mode, mtime, size, sha256, target, spots, deployed, encoding, offset, refers, slot;
  napi_value kinds[5], encodings[7];
};

class Entries {  // of one table
 public:
  Entries(Env env, const std::vector<std::string>& prefixes, const std::vector<cd::Entry>& entries)
      : env_(env), names_(env), entries_(entries), prefixes_(prefixes) {
    for (const std::string& prefix : prefixes) prefix_values_.push_back(text(env, prefix));
  }

  Napi::Array all() const {
    return list(env_, entries_, [this](const cd::Entry& e) { return one(e); });
  }

  Napi::Array spots(const std::vector<cd::Spot>& spots) const {
    return list(env_, spots, [this](const cd::Spot& s) -> napi_value {
      const napi_value refers =
          s.encoding == cd::Encoding::digest ? text(env_, entries_.at(s.refers).path) : prefix_values_.at(s.refers);
      return Made(env_)
          .set(names_.encoding, names_.encodings[static_cast<size_t>(s.encoding)])
          .set(names_.offset, number(env_, s.offset))
          .set(names_.refers, refers)
          .set(names_.slot, number(env_, uint64_t{s.slot}));
    });
  }

 private:
  napi_value one(const cd::Entry& e) const {
    const bool is_file = e.kind == cd::Kind::file;
    Made out(env_);
    out.set(names_.path, text(env_, e.path))
        .set(names_.kind, names_.kinds[static_cast<size_t>(e.kind)])
        .set(names_.mode, number(env_, uint64_t{e.mode}))
        .set(names_.mtime, number(env_, static_cast<double>(e.mtime)))
        .set(names_.size, number(env_, is_file ? e.size : 0));
    if (is_file) out.set(names_.sha256, digest(env_, e.sha256));
    if (e.kind == cd::Kind::symlink || e.kind == cd::Kind::hardlink) out.set(names_.target, text(env_, e.target));
    if (!e.spots.empty()) out.set(names_.spots, spots(e.spots));
    if (e.has_deployed)
      out.set(names_.deployed, Made(env_)
                                   .set(names_.size, number(env_, e.deployed_size))
                                   .set(names_.sha256, digest(env_, e.deployed_sha256)));
    return out;
  }

  Env env_;
  Names names_;
  const std::vector<cd::Entry>& entries_;
  const std::vector<std::string>& prefixes_;
  std::vector<napi_value> prefix_values_;
};

napi_value longest(Env env, uint32_t prefix) {
  return prefix == 0xFFFFFFFFu ? env.Null() : Value(env, number(env, uint64_t{prefix}));
}

}  // namespace

void Joined::add(const std::string& text) {
  if (wide_.empty() && is_ascii(text)) {
    bytes_ += text;
    return;
  }
  wide_.append(bytes_.begin(), bytes_.end());
  bytes_.clear();
  widen(text, wide_);
}

napi_value Joined::value(napi_env env) const {
  if (wide_.empty()) return ascii(env, bytes_.data(), bytes_.size());
  napi_value out;
  must(env, napi_create_string_utf16(env, wide_.data(), wide_.size(), &out));
  return out;
}

Value to_js(Env env, const std::string& s) { return Value(env, text(env, s)); }

// In columns: an object for each of tens of thousands is made in a third of the time by JavaScript. Nothing is there three times.
Value to_js(Env env, std::vector<cd::Scanned>&& found) {
  constexpr size_t kNames = 3, kNumbers = 5;
  size_t bytes = 0;
  for (const cd::Scanned& s : found) bytes += s.path.size() + s.target.size() + s.inode.size();
  Joined names;
  names.reserve(bytes);
  Napi::Uint32Array ends = Napi::Uint32Array::New(env, kNames * found.size());
  Napi::Float64Array numbers = Napi::Float64Array::New(env, kNumbers * found.size());
  uint32_t* end = ends.Data();
  double* n = numbers.Data();
  for (const cd::Scanned& s : found) {
    for (const std::string* name : {&s.path, &s.target, &s.inode}) {
      names.add(*name);
      *end++ = names.end();
    }
    *n++ = static_cast<double>(s.kind);
    *n++ = s.mode;
    *n++ = static_cast<double>(s.mtime);
    *n++ = static_cast<double>(s.size);
    *n++ = static_cast<double>(s.outside);
  }
  const size_t count = found.size();
  std::vector<cd::Scanned>().swap(found);
  cd::give_back(count);
  return Made(env).set("names", names.value(env)).set("ends", ends).set("numbers", numbers).value();
}

Value to_js(Env env, const cd::Packed& packed) {
  static const char* const states[] = {"proven", "installed", "modified", "unknown"};
  static const std::vector<cd::Entry> no_entries;
  const Entries spots(env, packed.prefixes, no_entries);
  const Names names(env);
  const napi_value state = ascii(env, "state"), kept = ascii(env, "kept"), dropped = ascii(env, "dropped"),
                   prefix = ascii(env, "prefix"), placeholder = ascii(env, "placeholder");
  const Napi::Array outcomes = list(env, packed.outcomes, [&](const cd::Outcome& o) -> napi_value {
    return Made(env)
        .set(names.path, text(env, o.path))
        .set(state, ascii(env, states[static_cast<size_t>(o.state)]))
        .set(names.size, number(env, o.size))
        .set(names.sha256, digest(env, o.sha256))
        .set(names.spots, spots.spots(o.spots))
        .set(kept, Made(env).set(prefix, number(env, o.kept_prefix)).set(placeholder, number(env, o.kept_placeholder)))
        .set(dropped, boolean(env, o.dropped));
  });
  return Made(env)
      .set("outcomes", outcomes)
      .set("draft", Napi::Buffer<char>::Copy(env, packed.draft.data(), packed.draft.size()))
      .set("entries", number(env, packed.entries))
      .set("bytes", number(env, packed.bytes))
      .set("byPath", texts(env, packed.by_path))
      .value();
}

Value to_js(Env env, const cd::Sealed& sealed) {
  const cd::Summary& s = sealed.summary;
  return Made(env)
      .set("digest", digest(env, s.digest))
      .set("entries", number(env, s.entries))
      .set("files", number(env, s.files))
      .set("bytes", number(env, s.bytes))
      .set("packedBytes", number(env, sealed.packed_bytes))
      .set("frames", number(env, sealed.frames))
      .set("rewritten", number(env, s.rewritten))
      .set("longestPrefix", longest(env, s.longest_prefix))
      .value();
}

// Of thousands of files all that the caller does not know fits into one text and an array of numbers.
Value to_js(Env env, const cd::Materialized& m) {
  const Entries entries(env, m.table.prefixes, m.table.entries);
  Napi::Float64Array sizes = Napi::Float64Array::New(env, m.table.entries.size());
  Napi::Array rewritten = Napi::Array::New(env);
  std::string digests;
  for (size_t i = 0; i < m.table.entries.size(); ++i) {
    const cd::Entry& e = m.table.entries[i];
    const bool is_file = e.kind == cd::Kind::file;
    digests += cd::hex(e.sha256);
    sizes[i] = is_file ? static_cast<double>(e.size) : 0;
    if (!e.has_deployed) continue;
    const Napi::HandleScope scope(env);
    const Value deployed =
        Made(env).set("size", number(env, e.deployed_size)).set("sha256", digest(env, e.deployed_sha256)).value();
    rewritten.Set(rewritten.Length(), Made(env)
                                          .set("entry", number(env, static_cast<uint64_t>(i)))
                                          .set("spots", entries.spots(e.spots))
                                          .set("deployed", deployed)
                                          .value());
  }
  return Made(env)
      .set("digests", ascii(env, digests.data(), digests.size()))
      .set("sizes", sizes)
      .set("rewritten", rewritten)
      .set("trampolines", number(env, m.trampolines))
      .set("byPath", texts(env, m.by_path))
      .value();
}

Value to_js(Env env, const std::vector<cd::Hashed>& hashed) {
  const napi_value sha256 = ascii(env, "sha256"), size = ascii(env, "size");
  return list(env, hashed, [&](const cd::Hashed& h) -> napi_value {
    return Made(env).set(sha256, digest(env, h.sha256)).set(size, number(env, h.size));
  });
}

Value to_js(Env env, const cd::Verified& v) {
  const Napi::Array faults = list(env, v.faults, [&](const cd::Fault& f) -> napi_value {
    return Made(env)
        .set("path", text(env, f.path))
        .set("kind", text(env, f.kind))
        .set("expected", text(env, f.expected))
        .set("found", text(env, f.found));
  });
  return Made(env)
      .set("entries", number(env, v.entries))
      .set("bytes", number(env, v.bytes))
      .set("faults", faults)
      .value();
}

Value to_js(Env env, const cd::Removed& r) {
  return Made(env).set("entries", number(env, r.entries)).set("bytes", number(env, r.bytes)).value();
}

Value to_js(Env env, const cd::Index& index, bool with_list) {
  const cd::Summary& s = index.summary;
  Made out(env);
  out.set("version", number(env, uint64_t{index.version}))
      .set("digest", index.deployed ? ascii(env, "") : digest(env, s.digest))
      .set("entries", number(env, s.entries))
      .set("files", number(env, s.files))
      .set("bytes", number(env, s.bytes))
      .set("rewritten", number(env, s.rewritten))
      .set("longestPrefix", longest(env, s.longest_prefix))
      .set("largestFile", number(env, s.largest_file))
      .set("json", text(env, s.json))
      .set("packedBytes", number(env, index.packed_bytes))
      .set("frames", number(env, index.frames))
      .set("prefixes", texts(env, index.prefixes));
  if (with_list) out.set("list", Entries(env, index.prefixes, index.entries).all());
  return out.value();
}

Napi::Error to_error(Env env, const std::exception& exception) {
  const Napi::String message = to_js(env, exception.what()).As<Napi::String>();
  napi_value raw;
  const bool misused = dynamic_cast<const std::invalid_argument*>(&exception) != nullptr;
  must(env, (misused ? napi_create_type_error : napi_create_error)(env, nullptr, message, &raw));
  const Napi::Object error(env, raw);
  if (const auto* failure = dynamic_cast<const cd::Failure*>(&exception)) {
    error.Set("code", failure->code);
    if (!failure->path.empty()) error.Set("path", to_js(env, failure->path));
    if (failure->error) error.Set("errno", Napi::Number::New(env, -failure->error));  // negative, as Node has it
    if (!failure->syscall.empty()) error.Set("syscall", failure->syscall);
    if (!failure->paths.empty()) error.Set("paths", texts(env, failure->paths));
  }
  return Napi::Error(env, error);
}

}  // namespace border

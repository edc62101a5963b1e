// Reading JavaScript values, one field at a time; what has the wrong type is a TypeError naming the field.
#pragma once
#include <cmath>
#include "convert.h"
#include "sha256.h"

namespace border {

using Napi::Value;

[[noreturn]] inline void wrong(napi_env env, const std::string& what, const char* expected) {
  throw Napi::TypeError::New(env, what + " must be " + expected);
}

inline void must(napi_env env, napi_status status) {
  if (status != napi_ok) throw Napi::Error::New(env);
}

inline Napi::Uint8Array byte_array(Value value, const char* what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    wrong(value.Env(), what, "a Uint8Array");
  return value.As<Napi::Uint8Array>();
}

inline uint64_t natural(Value value, const char* what, uint64_t most = 1ull << 53) {
  double number = -1;
  if (napi_get_value_double(value.Env(), value, &number) != napi_ok || !(number >= 0) ||
      number > static_cast<double>(most) || number != std::floor(number))
    wrong(value.Env(), what, ("an integer from 0 to " + std::to_string(most)).c_str());
  return static_cast<uint64_t>(number);
}

inline int64_t integer(Value value, const char* what) {
  double number = 0;
  if (napi_get_value_double(value.Env(), value, &number) != napi_ok || !(std::fabs(number) <= 9007199254740992.0) ||
      number != std::floor(number))
    wrong(value.Env(), what, "an integer");
  return static_cast<int64_t>(number);
}

// A word of ASCII, in fewer steps than a text; what is longer comes cut off, what is no ASCII as something else.
template <size_t N>
std::string_view word(Value value, const char* what, char (&buffer)[N]) {
  size_t size = 0;
  if (napi_get_value_string_latin1(value.Env(), value, buffer, N, &size) != napi_ok)
    wrong(value.Env(), what, "a string");
  return {buffer, size};
}

inline cd::Digest digest(Value value, const char* what) {
  cd::Digest out;
  char buffer[2 * sizeof out + 2];
  if (!cd::from_hex(word(value, what, buffer), out)) wrong(value.Env(), what, "64 hexadecimal digits");
  return out;
}

template <size_t N>
size_t choice(Value value, const char* what, const char* const (&names)[N]) {
  char buffer[32];
  const std::string_view name = word(value, what, buffer);
  std::string all;
  for (size_t i = 0; i < N; ++i) {
    if (name == names[i]) return i;
    all += (i ? ", " : "one of ") + std::string(names[i]);
  }
  wrong(value.Env(), what, all.c_str());
}

// A property name, made once for all objects of a list.
class Key {
 public:
  Key(napi_env env, const char* name) : name_(name) {
    must(env, napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &handle_));
  }
  const char* name() const { return name_; }
  napi_value handle() const { return handle_; }

 private:
  const char* name_;
  napi_value handle_ = nullptr;
};

class Fields {  // of one object
 public:
  Fields(Value object, const char* what) : env_(object.Env()), object_(object) {
    if (!object.IsObject()) wrong(env_, what, "an object");
  }
  Value get(const Key& key) const {
    napi_value out;
    must(env_, napi_get_property(env_, object_, key.handle(), &out));
    return Value(env_, out);
  }
  Value get(const char* name) const { return get(Key(env_, name)); }
  std::string text(const char* name) const { return border::text(get(name), name); }
  std::string text(const Key& key) const { return border::text(get(key), key.name()); }
  Napi::Env env() const { return env_; }
  unsigned threads() const { return static_cast<unsigned>(natural(get("threads"), "threads", 1024)); }

 private:
  napi_env env_;
  napi_value object_;
};

template <class F>
void each(Value list, const char* what, F body) {
  if (!list.IsArray()) wrong(list.Env(), what, "an array");
  const Napi::Env env = list.Env();
  const Napi::Array array = list.As<Napi::Array>();
  const uint32_t size = array.Length();
  for (uint32_t i = 0; i < size; ++i) {
    const Napi::HandleScope scope(env);
    body(static_cast<Value>(array[i]), i);
  }
}

inline uint32_t length(Value list, const char* what) {
  if (!list.IsArray()) wrong(list.Env(), what, "an array");
  return list.As<Napi::Array>().Length();
}

// What all entries have.
struct EntryKeys {
  explicit EntryKeys(napi_env env)
      : path(env, "path"), kind(env, "kind"), mode(env, "mode"), mtime(env, "mtime"), size(env, "size"),
        target(env, "target") {}
  Key path, kind, mode, mtime, size, target;
};

cd::Entry entry(const Fields& f, const EntryKeys& k, bool sized);

// What stands one behind another, divided by NUL; ends exactly when it was all taken.
class TextColumn {
 public:
  TextColumn(Value all, const char* what) : env_(all.Env()), what_(what) {
    size_t size = 0;
    if (napi_get_value_string_utf16(env_, all, nullptr, 0, &size) != napi_ok) wrong(env_, what, "a string");
    all_.resize(size + 1);  // with a NUL behind the last one too
    must(env_, napi_get_value_string_utf16(env_, all, &all_[0], all_.size(), &size));
  }
  std::string next() {
    const size_t end = all_.find(u'\0', at_);
    if (end == all_.npos) wrong(env_, what_, "as many as the entries say");
    std::string out = utf8(env_, &all_[at_], end - at_, what_);
    at_ = end + 1;
    return out;
  }
  bool is_done() const { return at_ == all_.size() || all_.size() == 1; }

 private:
  napi_env env_;
  const char* what_;
  std::u16string all_;
  size_t at_ = 0;
};

// Links and directories: see PlainNodes in src/jobs.ts. None where they are undefined.
std::vector<cd::Entry> plain_nodes(Value columns);

inline Napi::Float64Array floats(const Fields& f, const char* name) {
  const Value list = f.get(name);
  if (!list.IsTypedArray() || list.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array)
    wrong(f.env(), name, "a Float64Array");
  return list.As<Napi::Float64Array>();
}

// Read by number each time: what is read of a list in between may be code of the caller, and move a buffer.
inline int64_t whole(const Napi::Float64Array& numbers, size_t i, const char* what, double least, double most) {
  const double number = numbers[i];
  if (!(number >= least && number <= most) || number != std::floor(number))
    wrong(numbers.Env(), what, "an integer in its bounds");
  return static_cast<int64_t>(number);
}

inline std::vector<std::string> texts(Value list, const char* what) {
  std::vector<std::string> out;
  each(list, what, [&](Value v, uint32_t) { out.push_back(text(v, what)); });
  return out;
}

}  // namespace border

// JavaScript strings → UTF-8, with bytes that are not UTF-8 where U+DC80..U+DCFF stand.
#include "convert.h"

namespace border {
namespace {

[[noreturn]] void wrong(napi_env env, const char* what, const char* expected) {
  throw Napi::TypeError::New(env, std::string(what) + " must be " + expected);
}

void must(napi_env env, napi_status status) {
  if (status != napi_ok) throw Napi::Error::New(env);
}

std::string to_utf8(napi_env env, const char16_t* s, size_t size, const char* what) {
  // Nearly every text is ASCII: written without asking at every character whether there is room.
  std::string out(size, '\0');
  size_t plain = 0;
  for (; plain < size && s[plain] != 0 && s[plain] < 0x80; ++plain) out[plain] = static_cast<char>(s[plain]);
  out.resize(plain);
  const auto put = [&out](std::initializer_list<char32_t> bytes) {
    for (const char32_t byte : bytes) out.push_back(static_cast<char>(byte));
  };
  for (size_t i = plain; i < size; ++i) {
    const char32_t c = s[i];
    if (c == 0) wrong(env, what, "free of NUL");
    if (c < 0x80) {
      put({c});
    } else if (c < 0x800) {
      put({0xC0 | c >> 6, 0x80 | (c & 0x3F)});
    } else if (c >= 0xD800 && c < 0xDC00 && i + 1 < size && s[i + 1] >= 0xDC00 && s[i + 1] < 0xE000) {
      const char32_t point = 0x10000 + ((c - 0xD800) << 10) + (s[++i] - 0xDC00u);
      put({0xF0 | point >> 18, 0x80 | (point >> 12 & 0x3F), 0x80 | (point >> 6 & 0x3F), 0x80 | (point & 0x3F)});
    } else if (c >= 0xDC80 && c <= 0xDCFF) {
      put({c - 0xDC00});
    } else if (c >= 0xD800 && c < 0xE000) {
      wrong(env, what, "free of lone surrogates other than U+DC80..U+DCFF");
    } else {
      put({0xE0 | c >> 12, 0x80 | (c >> 6 & 0x3F), 0x80 | (c & 0x3F)});
    }
  }
  return out;
}

}  // namespace

std::string text(Napi::Value value, const char* what) {
  const napi_env env = value.Env();
  char16_t buffer[512];
  size_t size = 0;
  if (napi_get_value_string_utf16(env, value, buffer, 512, &size) != napi_ok) wrong(env, what, "a string");
  if (size + 1 < 512) return to_utf8(env, buffer, size, what);
  must(env, napi_get_value_string_utf16(env, value, nullptr, 0, &size));  // perhaps it was cut off
  std::vector<char16_t> whole(size + 1);
  must(env, napi_get_value_string_utf16(env, value, whole.data(), whole.size(), &size));
  return to_utf8(env, whole.data(), size, what);
}

}  // namespace border

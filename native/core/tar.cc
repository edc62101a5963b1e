#include "tar.h"
#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace cd {
namespace {

constexpr uint64_t kOctal11 = (uint64_t{1} << 33) - 1;  // what the size and mtime fields can say

void put_octal(char* field, size_t width, uint64_t value) {  // width without the closing NUL
  for (size_t i = width; i-- > 0; value >>= 3) field[i] = static_cast<char>('0' + (value & 7));
}

void put_text(char* field, const char* text, size_t size) { std::memcpy(field, text, size); }

bool is_ascii(const std::string& s) {
  return std::all_of(s.begin(), s.end(), [](unsigned char c) { return c < 0x80; });
}

// RFC 3629: no overlong forms, no surrogates.
bool is_utf8(const std::string& s) {
  for (size_t i = 0; i < s.size();) {
    const auto byte = [&](size_t k) { return k < s.size() ? static_cast<unsigned char>(s[k]) : 0u; };
    const unsigned c = byte(i), d = byte(i + 1);
    size_t more = 0;
    if (c < 0x80)
      more = 0;
    else if (c >= 0xC2 && c <= 0xDF)
      more = 1;
    else if (c >= 0xE0 && c <= 0xEF && d >= (c == 0xE0 ? 0xA0u : 0x80u) && d <= (c == 0xED ? 0x9Fu : 0xBFu))
      more = 2;
    else if (c >= 0xF0 && c <= 0xF4 && d >= (c == 0xF0 ? 0x90u : 0x80u) && d <= (c == 0xF4 ? 0x8Fu : 0xBFu))
      more = 3;
    else
      return false;
    for (size_t k = 1; k <= more; ++k)
      if ((byte(i + k) & 0xC0) != 0x80) return false;
    i += more + 1;
  }
  return true;
}

struct Name {  // as ustar divides it
  std::string prefix, name;
};

// false: does not fit a ustar header, or is not ASCII (whose meaning in ustar depends on the reader's locale).
bool divide(const std::string& path, Name& out) {
  if (!is_ascii(path)) return false;
  if (path.size() <= 100) {
    out = {"", path};
    return true;
  }
  const size_t least = path.size() - 101;  // the name after the slash has at most 100 bytes
  const size_t slash = path.find('/', least);
  if (slash == std::string::npos || slash == 0 || slash > 155 || slash + 1 == path.size()) return false;
  out = {path.substr(0, slash), path.substr(slash + 1)};
  return true;
}

std::string block(const Name& name, char type, uint32_t mode, uint64_t size, uint64_t mtime, const std::string& link) {
  std::string out(512, '\0');
  char* h = &out[0];
  put_text(h, name.name.data(), name.name.size());
  put_octal(h + 100, 7, mode & 07777);
  put_octal(h + 108, 7, 0);
  put_octal(h + 116, 7, 0);
  put_octal(h + 124, 11, size);
  put_octal(h + 136, 11, mtime);
  std::memset(h + 148, ' ', 8);
  h[156] = type;
  put_text(h + 157, link.data(), link.size());
  put_text(h + 257,
           "ustar\0"
           "00",
           8);
  put_octal(h + 329, 7, 0);
  put_octal(h + 337, 7, 0);
  put_text(h + 345, name.prefix.data(), name.prefix.size());
  uint64_t sum = 0;
  for (const char c : out) sum += static_cast<unsigned char>(c);
  put_octal(h + 148, 6, sum);
  h[154] = '\0';
  return out;
}

// "<length of this record> key=value\n"
std::string record(const std::string& key, const std::string& value) {
  const size_t body = key.size() + value.size() + 3;  // blank, '=', newline
  size_t size = body + 1;
  while (std::to_string(size).size() + body != size) size = std::to_string(size).size() + body;
  return std::to_string(size) + ' ' + key + '=' + value + '\n';
}

}  // namespace

std::string tar_header(const Entry& entry, const std::string& root) {
  static const char types[] = {'5', '0', '2', '1'};
  if (entry.kind == Kind::other) throw std::logic_error("tar_header: a kind that has no tar member: " + entry.path);
  const bool is_link = entry.kind == Kind::symlink || entry.kind == Kind::hardlink;
  const std::string folder = root.empty() ? root : root + '/';
  const std::string path = folder + entry.path + (entry.kind == Kind::directory ? "/" : "");
  std::string link = is_link ? (entry.kind == Kind::hardlink ? folder : "") + entry.target : "";
  uint64_t size = entry.kind == Kind::file ? entry.size : 0;
  uint64_t mtime = static_cast<uint64_t>(entry.mtime);

  std::string pax;
  if (entry.mtime < 0 || mtime > kOctal11) {
    pax += record("mtime", std::to_string(entry.mtime));
    mtime = 0;
  }
  if (size > kOctal11) {
    pax += record("size", std::to_string(size));
    size = 0;
  }
  std::string named;
  Name name;
  if (!divide(path, name)) {
    named += record("path", path);
    name = {"", path.substr(0, 100)};
  }
  if (link.size() > 100 || !is_ascii(link)) {
    named += record("linkpath", link);
    link.resize(std::min<size_t>(link.size(), 100));
  }
  // pax records are UTF-8 unless they say otherwise; the word must come before what it is about.
  if (!named.empty() && !is_utf8(named)) named.insert(0, record("hdrcharset", "BINARY"));
  pax += named;

  std::string out;
  if (!pax.empty()) {
    out = block({"", "PaxHeaders/" + entry.path.substr(entry.path.rfind('/') + 1, 80)}, 'x', 0644, pax.size(), 0, "");
    out += pax;
    out.append(tar_padding(pax.size()), '\0');
  }
  return out + block(name, types[static_cast<size_t>(entry.kind)], entry.mode, size, mtime, link);
}

}  // namespace cd

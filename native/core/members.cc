#include "members.h"
#include <algorithm>
#include <cstring>
#include "failure.h"
#include "tar.h"

namespace cd {
namespace {

constexpr size_t kBlock = 512;

[[noreturn]] void corrupt(size_t at, const std::string& what) {
  throw Failure("ARCHIVE_CORRUPT", "tar header at byte " + std::to_string(at) + ": " + what);
}

std::string text(const char* field, size_t width) { return std::string(field, ::strnlen(field, width)); }

// Octal, closed by a blank or NUL; or, with the top bit set, big-endian binary.
uint64_t number(const char* field, size_t width, size_t at) {
  uint64_t value = 0;
  if (static_cast<uint8_t>(field[0]) & 0x80) {
    for (size_t i = width - 8; i < width; ++i) value = value << 8 | static_cast<uint8_t>(field[i]);
    return value;
  }
  size_t i = 0;
  while (i < width && field[i] == ' ') ++i;
  for (; i < width && field[i] != ' ' && field[i] != '\0'; ++i) {
    if (field[i] < '0' || field[i] > '7') corrupt(at, "a number that is not octal");
    value = value << 3 | static_cast<uint64_t>(field[i] - '0');
  }
  return value;
}

uint64_t decimal(const std::string& digits, size_t at) {
  if (digits.empty() || digits.size() > 18 || digits.find_first_not_of("0123456789") != std::string::npos)
    corrupt(at, "a pax number: " + digits);
  return std::stoull(digits);
}

void check_sum(const char* block, size_t at) {
  uint64_t sum = 0;
  for (size_t i = 0; i < kBlock; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<uint8_t>(block[i]);
  if (number(block + 148, 8, at) != sum) corrupt(at, "its checksum is wrong");
}

Kind kind_of(char type) {
  switch (type) {
    case '0':
    case '\0': return Kind::file;
    case '1': return Kind::hardlink;
    case '2': return Kind::symlink;
    case '5': return Kind::directory;
    default: return Kind::other;
  }
}

struct Pax {
  bool has_path = false, has_target = false, has_size = false;
  std::string path, target;
  uint64_t size = 0;
};

// Records "length key=value\n"; the length counts the whole record.
Pax read_pax(const char* data, size_t size, size_t at) {
  Pax pax;
  for (size_t i = 0; i < size;) {
    const char* blank = static_cast<const char*>(std::memchr(data + i, ' ', std::min<size_t>(size - i, 20)));
    if (!blank) corrupt(at, "a pax record without a length");
    const size_t digits = static_cast<size_t>(blank - data) - i;
    const uint64_t length = decimal(std::string(data + i, digits), at);
    if (length < digits + 3 || length > size - i || data[i + length - 1] != '\n')
      corrupt(at, "a pax record of a wrong length");
    const std::string record(blank + 1, length - digits - 2);
    const size_t equals = record.find('=');
    if (equals == std::string::npos) corrupt(at, "a pax record without a value");
    const std::string key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") {
      pax.has_path = true;
      pax.path = value;
    }
    if (key == "linkpath") {
      pax.has_target = true;
      pax.target = value;
    }
    if (key == "size") {
      pax.has_size = true;
      pax.size = decimal(value, at);
    }
    i += length;
  }
  return pax;
}

}  // namespace

std::vector<Member> read_members(const char* data, size_t size, size_t from, bool& end) {
  std::vector<Member> members;
  Pax pax;
  end = false;
  for (size_t at = from; at < size;) {
    if (size - at < kBlock) corrupt(at, "cut off");
    const char* block = data + at;
    if (std::all_of(block, block + kBlock, [](char c) { return c == 0; })) {
      if (size - at != kTarEnd || std::any_of(block, data + size, [](char c) { return c != 0; }))
        corrupt(at, "something behind the end of the tar");
      end = true;
      return members;
    }
    check_sum(block, at);
    const uint64_t own = number(block + 124, 12, at);
    const size_t content = at + kBlock;
    if (block[156] == 'x') {
      if (own > size - content) corrupt(at, "pax records beyond the frame");
      pax = read_pax(data + content, own, at);
      at = content + own + tar_padding(own);
      continue;
    }
    Member m;
    m.kind = kind_of(block[156]);
    m.mode = number(block + 100, 8, at);
    const std::string name = text(block, 100),
                      prefix = std::memcmp(block + 257, "ustar", 6) == 0 ? text(block + 345, 155) : "";
    m.path = pax.has_path ? pax.path : prefix.empty() ? name : prefix + '/' + name;
    if (m.kind == Kind::directory && !m.path.empty() && m.path.back() == '/') m.path.pop_back();
    if (m.kind == Kind::symlink || m.kind == Kind::hardlink)
      m.target = pax.has_target ? pax.target : text(block + 157, 100);
    if (m.kind == Kind::file) m.size = pax.has_size ? pax.size : own;
    m.content = content;
    pax = Pax();
    members.push_back(m);
    if (m.size > size - content) return members;  // goes on in the next frame
    at = content + m.size + tar_padding(m.size);
  }
  return members;
}

}  // namespace cd

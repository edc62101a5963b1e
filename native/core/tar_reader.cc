#include "tar_reader.h"
#include <algorithm>
#include <cstring>
#include "tar.h"

namespace cd {
namespace {

constexpr unsigned kMostZeros = 32768;    // blocks behind the end: 16 MiB, far more than any writer fills up
constexpr uint64_t kMostText = 1u << 20;  // of a pax header or a long name; their real limits are a few kB

std::string field(const uint8_t* p, size_t width) {
  const char* text = reinterpret_cast<const char*>(p);
  return {text, ::strnlen(text, width)};
}

// Octal digits between blanks and NULs, or a binary number with the first bit set. false: neither.
bool number(const uint8_t* p, size_t width, int64_t& out) {
  if (p[0] & 0x80) {
    const bool negative = p[0] & 0x40;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = 0; i < width; ++i) {
      const uint8_t byte = i == 0 && !negative ? p[0] & 0x7F : p[i];
      if (i + 8 < width && byte != (negative ? 0xFF : 0)) return false;
      value = value << 8 | byte;
    }
    out = static_cast<int64_t>(value);
    return negative == (out < 0);
  }
  size_t i = 0;
  while (i < width && p[i] == ' ') ++i;
  int64_t value = 0;
  for (; i < width && p[i] >= '0' && p[i] <= '7'; ++i) value = value << 3 | (p[i] - '0');
  for (; i < width; ++i)
    if (p[i] != ' ' && p[i] != 0) return false;
  out = value;
  return true;
}

bool is_zero(const uint8_t* block) { return block[0] == 0 && std::memcmp(block, block + 1, 511) == 0; }

bool has_checksum(const uint8_t* block) {
  int64_t claimed;
  if (!number(block + 148, 8, claimed)) return false;
  // The field itself counts as blanks. Old tars added signed bytes, each of which above 127 is 256 less.
  uint32_t sum = 8 * ' ', high = 0;
  for (size_t i = 0; i < 512; ++i) sum += block[i];
  for (size_t i = 148; i < 156; ++i) sum -= block[i];
  if (claimed == sum) return true;
  for (size_t i = 0; i < 512; ++i)
    if (i < 148 || i >= 156) high += block[i] >> 7;
  return claimed == int64_t{sum} - 256 * int64_t{high};
}

std::string quoted(const std::string& name) { return '"' + name + '"'; }

const char* type_name(char type) {
  switch (type) {
    case '3': return "a character device";
    case '4': return "a block device";
    case '6': return "a fifo";
    case 'S': return "a sparse file";
    default: return "of a type that is not known";
  }
}

}  // namespace

void TarReader::broken(const std::string& what) const {
  throw Failure("ARCHIVE_CORRUPT", archive_ + " does not hold a whole tar: " + what, archive_);
}

size_t TarReader::some(uint8_t* out, size_t size) {
  if (bytes_.size == 0) bytes_ = stream_.next();
  const size_t got = std::min(size, bytes_.size);
  if (got == 0) return 0;
  if (out) std::memcpy(out, bytes_.data, got);
  bytes_.data += got;
  bytes_.size -= got;
  return got;
}

void TarReader::take(uint8_t* out, size_t size) {
  while (size > 0) {
    const size_t got = some(out, size);
    if (got == 0) broken("it ends inside a member");
    out += got;
    size -= got;
  }
}

void TarReader::skip(uint64_t size) {
  while (size > 0) {
    const size_t got = some(nullptr, static_cast<size_t>(std::min<uint64_t>(size, 1u << 30)));
    if (got == 0) broken("it ends inside a member");
    size -= got;
  }
}

// false: the end, behind whole blocks.
bool TarReader::block(uint8_t* out) {
  const size_t got = some(out, 512);
  if (got == 0) return false;
  take(out + got, 512 - got);
  return true;
}

void TarReader::read(uint8_t* out, size_t size) {
  if (size > left_) broken("more is read than a member has");
  take(out, size);
  used(out, size);
}

const uint8_t* TarReader::view(size_t size) {
  if (size > left_) broken("more is read than a member has");
  if (bytes_.size < size) bytes_ = stream_.next_behind(bytes_);
  if (bytes_.size < size || stream_.block() == Stream::kNowhere) return nullptr;
  const uint8_t* content = bytes_.data;
  bytes_.data += size;
  bytes_.size -= size;
  used(content, size);
  return content;
}

void TarReader::used(const uint8_t* content, size_t size) {
  left_ -= size;
  if (claims_.empty() || size == 0) return;
  // Some old tars note the size of the shared file in a hard link without bringing it: then a header follows, not content.
  const std::string name = std::move(claims_);
  claims_.clear();
  if (size >= 512 && std::memcmp(content + 257, "ustar", 5) == 0 && has_checksum(content))
    throw Failure("ARCHIVE_CORRUPT",
                  archive_ + ": the hard link " + quoted(name) + " claims content, but another member follows", name);
}

std::string TarReader::text(uint64_t size, const char* what) {
  if (size > kMostText) broken(std::string(what) + " of " + std::to_string(size) + " bytes");
  std::string out(static_cast<size_t>(size), '\0');
  take(reinterpret_cast<uint8_t*>(&out[0]), out.size());
  skip(tar_padding(size));
  return out;
}

// "<length of this record> key=value\n", one after another.
void TarReader::records(const std::string& text, Pax& pax, const std::string& name) const {
  for (size_t at = 0; at < text.size();) {
    size_t length = 0, digit = at;
    for (; digit < text.size() && text[digit] >= '0' && text[digit] <= '9' && length < kMostText; ++digit)
      length = length * 10 + static_cast<size_t>(text[digit] - '0');
    const size_t end = at + length, equals = text.find('=', digit);
    if (digit == at || digit >= text.size() || text[digit] != ' ' || end > text.size() || length < digit - at + 3 ||
        equals >= end || text[end - 1] != '\n')
      broken("a pax header that does not parse");
    const std::string key = text.substr(digit + 1, equals - digit - 1),
                      value = text.substr(equals + 1, end - equals - 2);
    at = end;
    if (key.compare(0, 11, "GNU.sparse.") == 0)
      throw Failure("UNSUPPORTED", archive_ + ": " + quoted(name) + " is a sparse file; an environment holds none",
                    name);
    if (key == "path") {
      pax.has_path = !value.empty();  // an empty value takes back what a global header said
      pax.path = value;
    } else if (key == "linkpath") {
      pax.has_link = !value.empty();
      pax.link = value;
    } else if (key == "size" || key == "mtime") {
      const bool negative = !value.empty() && value[0] == '-';
      uint64_t whole = 0;
      size_t i = negative ? 1 : 0;
      const size_t first = i;
      for (; i < value.size() && value[i] >= '0' && value[i] <= '9' && whole < uint64_t{1} << 56; ++i)
        whole = whole * 10 + static_cast<uint64_t>(value[i] - '0');
      const bool fraction =
          i < value.size() && value[i] == '.' && value.find_first_not_of('0', i + 1) != std::string::npos;
      const bool number = i > first && (i == value.size() || value[i] == '.');
      if (key == "size") {
        if (!number || negative || i != value.size()) broken("a pax header with the size " + quoted(value));
        pax.has_size = true;
        pax.size = whole;
      } else if (number) {
        pax.has_mtime = true;
        pax.mtime = negative ? -static_cast<int64_t>(whole) - (fraction ? 1 : 0) : static_cast<int64_t>(whole);
      }
    }
  }
}

bool TarReader::next(BatchMember& member) {
  skip(left_);
  skip(padding_);
  left_ = padding_ = 0;
  claims_.clear();
  Pax pax = global_;
  std::string long_name, long_link;
  bool begun = false;  // headers that speak of a member to come
  for (uint8_t h[512];;) {
    if (!block(h)) {
      if (begun) broken("it ends inside a member");
      if (zeros_ < 2) broken("the end of the tar is missing");
      return false;
    }
    if (is_zero(h)) {
      if (++zeros_ > kMostZeros) broken("zeros without an end stand behind it");
      continue;
    }
    zeros_ = 0;
    int64_t size, mode, mtime;
    if (!has_checksum(h)) broken("a header without its checksum");
    if (!number(h + 124, 12, size) || !number(h + 100, 8, mode) || !number(h + 136, 12, mtime) || size < 0)
      broken("a header with a number that does not parse");
    const char type = static_cast<char>(h[156]);
    const bool is_ustar = std::memcmp(h + 257, "ustar", 6) == 0;  // GNU's own format has a blank there, and no prefix
    std::string name = field(h, 100);
    if (is_ustar && h[345] != 0) name = field(h + 345, 155) + '/' + name;
    if (type == 'x' || type == 'g' || type == 'L' || type == 'K') {
      const std::string body =
          text(static_cast<uint64_t>(size), type == 'x' || type == 'g' ? "a pax header" : "a name");
      begun = begun || type != 'g';
      if (type == 'L') long_name = body.c_str();
      if (type == 'K') long_link = body.c_str();
      if (type == 'x') records(body, pax, name);
      if (type == 'g') {
        records(body, global_, name);
        pax = global_;
      }
      continue;
    }
    std::string link = field(h + 157, 100);
    if (!long_name.empty()) name = long_name;
    if (!long_link.empty()) link = long_link;
    if (pax.has_path) name = pax.path;
    if (pax.has_link) link = pax.link;
    const uint64_t content = pax.has_size ? pax.size : static_cast<uint64_t>(size);
    if (content > uint64_t{1} << 53) broken("a member of " + std::to_string(content) + " bytes");
    member = BatchMember();
    Entry& entry = member.entry;
    entry.mode = static_cast<uint32_t>(mode & 07777);
    entry.mtime = pax.has_mtime ? pax.mtime : mtime;
    switch (type) {
      case '0':
      case '7':
      case '\0': entry.kind = !name.empty() && name.back() == '/' ? Kind::directory : Kind::file; break;
      case '1':
        entry.kind = content > 0 ? Kind::file : Kind::hardlink;
        member.detached = content > 0;
        if (member.detached) claims_ = name;
        break;
      case '2': entry.kind = Kind::symlink; break;
      case '5': entry.kind = Kind::directory; break;
      default:
        throw Failure("UNSUPPORTED",
                      archive_ + ": " + quoted(name) + " is " + type_name(type) + "; an environment holds none", name);
    }
    if (entry.kind == Kind::symlink || entry.kind == Kind::hardlink) entry.target = link;
    // Some tars note the size of what a symbolic link leads to, or of a directory; their content is empty all the same.
    left_ = entry.kind == Kind::symlink ? 0 : content;
    if (entry.kind == Kind::file) entry.size = content;
    padding_ = tar_padding(left_);
    entry.path = std::move(name);
    return true;
  }
}

}  // namespace cd

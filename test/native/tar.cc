// Members as POSIX describes them, read back field by field by a reader that shares no code with the writer.
#include "tar.h"
#include <cstring>
#include <map>
#include <stdexcept>
#include "check.h"

using namespace cd;

namespace {

struct Member {
  std::string path, link;
  char type = 0;
  uint64_t mode = 0, size = 0;
  int64_t mtime = 0;
  std::map<std::string, std::string> pax;
};

uint64_t octal(const std::string& block, size_t at, size_t width) {
  uint64_t value = 0;
  for (size_t i = at; i < at + width && block[i] >= '0' && block[i] <= '7'; ++i)
    value = value * 8 + static_cast<uint64_t>(block[i] - '0');
  return value;
}

std::string text(const std::string& block, size_t at, size_t width) {
  const std::string field = block.substr(at, width);
  return field.substr(0, field.find('\0'));
}

bool well_formed(const std::string& block) {
  uint64_t sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(block[i]);
  return block.compare(257, 8,
                       std::string("ustar\0"
                                   "00",
                                   8)) == 0 &&
         octal(block, 148, 8) == sum && octal(block, 108, 8) == 0 && octal(block, 116, 8) == 0 &&
         text(block, 265, 32).empty() && text(block, 297, 32).empty();
}

Member parse(const std::string& header) {
  Member m;
  CHECK(header.size() % 512 == 0 && !header.empty());
  size_t at = 0;
  if (header[156] == 'x') {
    CHECK(well_formed(header.substr(0, 512)));
    const uint64_t size = octal(header, 124, 12);
    std::string records = header.substr(512, size);
    at = 512 + size + tar_padding(size);
    while (!records.empty()) {
      const size_t length = std::stoul(records), blank = records.find(' '), equal = records.find('=');
      CHECK(length <= records.size() && records[length - 1] == '\n' && blank < equal);
      m.pax[records.substr(blank + 1, equal - blank - 1)] = records.substr(equal + 1, length - equal - 2);
      records.erase(0, length);
    }
  }
  const std::string block = header.substr(at);
  CHECK(block.size() == 512 && well_formed(block));
  const std::string prefix = text(block, 345, 155);
  m.path = (prefix.empty() ? "" : prefix + "/") + text(block, 0, 100);
  m.link = text(block, 157, 100);
  m.type = block[156];
  m.mode = octal(block, 100, 8);
  m.size = octal(block, 124, 12);
  m.mtime = static_cast<int64_t>(octal(block, 136, 12));
  if (m.pax.count("path")) m.path = m.pax["path"];
  if (m.pax.count("linkpath")) m.link = m.pax["linkpath"];
  if (m.pax.count("size")) m.size = std::stoull(m.pax["size"]);
  if (m.pax.count("mtime")) m.mtime = std::stoll(m.pax["mtime"]);
  return m;
}

Entry make(Kind kind, const std::string& path, const std::string& target = {}) {
  Entry e;
  e.kind = kind;
  e.path = path;
  e.target = target;
  e.mode = 0755;
  e.mtime = 1700000000;
  return e;
}

void kinds() {
  Entry file = make(Kind::file, "bin/python");
  file.size = 12345;
  const Member m = parse(tar_header(file));
  CHECK(m.pax.empty() && m.path == "bin/python" && m.type == '0' && m.mode == 0755 && m.size == 12345 &&
        m.mtime == 1700000000);
  const Member d = parse(tar_header(make(Kind::directory, "bin")));
  CHECK(d.path == "bin/" && d.type == '5' && d.size == 0);
  const Member l = parse(tar_header(make(Kind::symlink, "bin/python3", "python")));
  CHECK(l.type == '2' && l.link == "python" && l.size == 0);
  const Member h = parse(tar_header(make(Kind::hardlink, "bin/python4", "bin/python")));
  CHECK(h.type == '1' && h.link == "bin/python" && h.size == 0);
  bool refused = false;
  try {
    tar_header(make(Kind::other, "socket"));
  } catch (const std::logic_error&) { refused = true; }
  CHECK(refused);
}

void limits() {
  for (size_t size :
       {1, 99, 100, 101, 102, 200, 255, 256, 257, 300, 4000}) {  // without a slash, and with one at every place
    const std::string path(size, 'p');
    CHECK_MORE(parse(tar_header(make(Kind::file, path))).path == path, std::to_string(size));
    for (size_t slash = 1; slash + 1 < size && size < 400; ++slash) {
      std::string parts = path;
      parts[slash] = '/';
      CHECK_MORE(parse(tar_header(make(Kind::file, parts))).path == parts,
                 std::to_string(size) + " / " + std::to_string(slash));
      CHECK_MORE(parse(tar_header(make(Kind::directory, parts))).path == parts + "/",
                 std::to_string(size) + " / " + std::to_string(slash));
    }
  }
  CHECK(parse(tar_header(make(Kind::file, std::string(155, 'a') + "/" + std::string(100, 'b')))).pax.empty());
  for (size_t size : {100, 101, 5000}) {
    const std::string target(size, 't');
    CHECK(parse(tar_header(make(Kind::symlink, "l", target))).link == target);
  }
  // case 17: more than 8 GiB
  Entry e = make(Kind::file, "f");
  for (const uint64_t size : {uint64_t{0}, (uint64_t{1} << 33) - 1, uint64_t{1} << 33, uint64_t{1} << 50}) {
    e.size = size;
    CHECK(parse(tar_header(e)).size == size);
  }
  e.size = 0;
  for (const int64_t mtime : {int64_t{0}, int64_t{-1}, (int64_t{1} << 33) - 1, int64_t{1} << 33, -(int64_t{1} << 40)}) {
    e.mtime = mtime;
    CHECK(parse(tar_header(e)).mtime == mtime);
  }
}

void bytes_of_names() {
  const std::string umlaut = "lib/caf\xc3\xa9.py", odd = "lib/\xff\xfe.py";
  const Member u = parse(tar_header(make(Kind::file, umlaut)));
  CHECK(u.path == umlaut && u.pax.count("path") && !u.pax.count("hdrcharset"));
  const Member o = parse(tar_header(make(Kind::symlink, odd, odd)));
  CHECK(o.path == odd && o.link == odd && o.pax.at("hdrcharset") == "BINARY");
  for (const char* bad : {"\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82",
                          "\x80"})  // overlong, surrogate, too large, cut, stray
    CHECK_MORE(parse(tar_header(make(Kind::file, bad))).pax.count("hdrcharset") == 1, bad);
  for (const char* good : {"\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf"})
    CHECK_MORE(parse(tar_header(make(Kind::file, good))).pax.count("hdrcharset") == 0, good);
}

}  // namespace

int main() {
  kinds();
  limits();
  bytes_of_names();
  CHECK(tar_padding(0) == 0 && tar_padding(1) == 511 && tar_padding(512) == 0 && tar_padding(513) == 511);
  return check::done();
}

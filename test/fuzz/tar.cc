// Tar members: any bytes can be read or refused; what the writer makes of an entry is read back as that entry.
#include "tar.h"
#include "fuzz.h"
#include "members.h"

namespace {

void back(fuzz::Input& input) {
  static constexpr cd::Kind kKinds[] = {cd::Kind::directory, cd::Kind::file, cd::Kind::symlink, cd::Kind::hardlink};
  cd::Entry entry;
  entry.kind = kKinds[input.byte() % 4];
  entry.mode = input.number() & 07777;
  entry.mtime = static_cast<int64_t>(input.number()) * (input.byte() & 1 ? -77777 : 7777777);
  if (entry.kind == cd::Kind::file) entry.size = input.number() * uint64_t{input.byte() & 1 ? 1u : 999999999u};
  const size_t name = input.number() % 600;
  if (entry.kind == cd::Kind::symlink || entry.kind == cd::Kind::hardlink)
    entry.target = input.text(input.number() % 400);
  entry.path = input.text(name);
  const auto unfit = [](const std::string& s) {
    return s.empty() || s.find('\0') != std::string::npos || s.back() == '/' || s.front() == '/';
  };
  if (unfit(entry.path) || (!entry.target.empty() && unfit(entry.target))) return;
  if (entry.target.empty() && (entry.kind == cd::Kind::symlink || entry.kind == cd::Kind::hardlink)) return;
  const std::string header = cd::tar_header(entry);
  bool end = true;
  const auto members = cd::read_members(header.data(), header.size(), 0, end);
  fuzz::check(members.size() == 1 && !end, "one member");
  const cd::Member& m = members[0];
  fuzz::check(m.path == entry.path && m.kind == entry.kind && m.size == entry.size && m.target == entry.target,
              "a member is its entry");
  fuzz::check(m.mode == entry.mode && m.content == header.size(), "its mode, and where its content begins");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* bytes = reinterpret_cast<const char*>(data);
  bool end = false;
  fuzz::accepted([&] {
    for (const cd::Member& m : cd::read_members(bytes, size, 0, end))
      fuzz::check(m.content <= size, "content begins inside the bytes");
  });
  fuzz::Input input(data, size);
  back(input);
  return 0;
}

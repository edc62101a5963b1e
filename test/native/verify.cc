// Faults are found, each under its name, in deployed trees and in archives; and nothing is called a fault that is none.
#include "archive_builder.h"
#include "check.h"
#include "jobs.h"
#include "members.h"
#include "tree.h"

using namespace cd;

static const std::string kOld = "/opt/old-prefix";

static std::string z(size_t n) { return std::string(n, '\0'); }

static std::string said(const std::vector<Fault>& faults) {
  std::string out;
  for (const Fault& f : faults) out += f.path + " " + f.kind + "; ";
  return out;
}

static build::Archive sample() {
  build::Archive a({kOld});
  a.directory("bin");
  const std::string script = "#!" + kOld + "/bin/python\n";
  const uint32_t number = a.file("bin/run", script, build::spots_of(script, kOld, 0), 0755);
  a.directory("lib");
  const std::string library = "\177ELF" + kOld + z(20) + std::string(500, 'l');
  a.file("lib/lib.so", library, build::spots_of(library, kOld, 30), 0755);
  a.file("lib/plain", "plain content");
  a.file("lib/empty", "");
  std::string large;
  for (int i = 0; i < 3000; ++i) large += std::to_string(i) + " " + kOld + "\n";
  a.file("lib/large", large, build::spots_of(large, kOld, 0));
  a.file("lib/unpatched", std::string(50000, 'u') + "end");
  a.file("meta", std::string(64, '0'), {{Encoding::digest, 0, number, 0}});
  a.hardlink("second", "lib/plain");
  a.symlink("link", "lib/plain");
  a.directory("void");
  return a;
}

static void trees() {
  Folder folder;
  build::Archive a = sample();
  const std::string archive = a.write(folder / "a"), t = folder / "t", index = t + "/.conda-deploy/index";
  const auto fresh = [&](bool read_only) {
    if (std::filesystem::exists(t)) remove_tree(t, 2, Progress());
    std::filesystem::create_directory(t);
    extract({archive, t, "/new", read_only, 2}, Progress());
  };
  const auto faults = [&](unsigned threads = 3) { return verify({t, index, threads}, Progress()).faults; };
  for (const bool read_only : {true, false}) {
    fresh(read_only);
    const Verified v = verify({t, index, 2}, Progress());
    CHECK_MORE(v.faults.empty(), said(v.faults));
    CHECK(v.entries == a.table.entries.size() && v.bytes > 50000);
  }
  const auto one = [&](const std::string& expected, auto change) {
    fresh(false);
    change();
    for (const unsigned threads : {1, 3}) {
      const std::string got = said(faults(threads));
      CHECK_MORE(got == expected, got + "expected " + expected);
    }
  };
  const auto write = [&](const std::string& path, const std::string& content) {
    std::ofstream(t + "/" + path, std::ios::binary) << content;
  };
  one("lib/plain content; ", [&] { write("lib/plain", "plain CONTENT"); });
  one("lib/plain size; ", [&] { write("lib/plain", "longer than it was"); });
  one("bin/run content; ", [&] { write("bin/run", "#!/NEW/bin/python\n"); });
  one("lib/large content; ", [&] {
    std::string c = slurp(t + "/lib/large");
    c[c.size() - 2] ^= 1;
    write("lib/large", c);
  });
  one("lib/lib.so mode; ", [&] { ::chmod((t + "/lib/lib.so").c_str(), 0644); });
  one("lib/lib.so mode; ", [&] { ::chmod((t + "/lib/lib.so").c_str(), 04755); });
  one("void mode; ", [&] { ::chmod((t + "/void").c_str(), 0700); });
  one("", [&] {
    ::chmod((t + "/lib/lib.so").c_str(), 0555);
    ::chmod((t + "/void").c_str(), 0775);
  });  // who may write does not count
  one("link target; ", [&] {
    std::filesystem::remove(t + "/link");
    std::filesystem::create_symlink("lib/empty", t + "/link");
  });
  one("link type; ", [&] {
    std::filesystem::remove(t + "/link");
    write("link", "x");
  });
  one("lib/empty type; ", [&] {
    std::filesystem::remove(t + "/lib/empty");
    std::filesystem::create_symlink("plain", t + "/lib/empty");
  });
  one("second target; ", [&] {
    std::filesystem::remove(t + "/second");
    write("second", "plain content");
  });
  one("bin missing; bin/run missing; ", [&] { std::filesystem::remove_all(t + "/bin"); });
  one("bin type; bin/run missing; ", [&] {
    std::filesystem::rename(t + "/bin", folder / "bin-elsewhere");
    std::filesystem::create_directory_symlink(folder / "bin-elsewhere", t + "/bin");
  });
  one("lib/new extra; new extra; void/link extra; ", [&] {
    write("lib/new", "x");
    std::filesystem::create_directories(t + "/new/deep");
    std::filesystem::create_symlink("x", t + "/void/link");
  });
  one("lib/plain missing; meta missing; ", [&] {
    std::filesystem::remove(t + "/lib/plain");
    std::filesystem::remove(t + "/meta");
  });
  if (::geteuid() == 0)
    std::fprintf(stderr, "skipped: to root everything is readable\n");
  else {
    one("lib mode; lib unreadable; ", [&] { ::chmod((t + "/lib").c_str(), 0000); });
    ::chmod((t + "/lib").c_str(), 0755);
    one("lib/plain mode; lib/plain unreadable; ", [&] { ::chmod((t + "/lib/plain").c_str(), 0000); });
  }
  const Fault f = [&] {
    fresh(false);
    write("lib/empty", "x");
    return faults().at(0);
  }();
  CHECK(f.path == "lib/empty" && f.kind == "size" && f.expected == "0" && f.found == "1");

  THROWS("ARCHIVE_NOT_FOUND", verify({t, folder / "absent", 1}, Progress()));
  THROWS("ARCHIVE_CORRUPT", verify({t, archive, 1}, Progress()));
  const std::string table = encode_table(a.table);
  folder.write("not-deployed", table);
  THROWS("ARCHIVE_CORRUPT", verify({t, folder / "not-deployed", 1}, Progress()));
}

static void archives() {
  const auto said_of = [](std::function<void(build::Archive&)> change,
                          std::function<void(const build::Archive&, std::string&)> damage = {}) {
    Folder folder;
    build::Archive a = sample();
    change(a);
    const std::string path = a.write(folder / "a");
    if (damage) {
      std::string bytes = slurp(path);
      damage(a, bytes);
      folder.write("a", bytes);
    }
    std::string first;
    for (const unsigned threads : {1, 4}) {
      const Verified v = verify({"", path, threads}, Progress());
      CHECK(v.entries == a.table.entries.size() && v.bytes > 50000);
      if (threads == 1)
        first = said(v.faults);
      else
        CHECK_MORE(said(v.faults) == first, said(v.faults) + "and with one thread: " + first);
    }
    return first;
  };
  const auto in_frame_with = [](const std::string& text, std::function<void(std::string&, size_t)> change) {
    return [=](build::Archive& a) {
      a.tamper_frame = [=](size_t, std::string& frame) {
        size_t at = frame.find(text);
        while (text.size() == 100 && at != std::string::npos && at % 512 != 0)
          at = frame.find(text, at + 1);  // the name field of a header
        if (at != std::string::npos) change(frame, at);
      };
    };
  };
  const auto same = [](const std::string& got, const std::string& expected) {
    CHECK_MORE(got == expected, got + "expected " + expected);
  };
  same(said_of([](build::Archive&) {}), "");
  same(said_of(in_frame_with("plain content", [](std::string& f, size_t at) { f[at] = 'P'; })), "lib/plain content; ");
  same(said_of(in_frame_with("uuuend", [](std::string& f, size_t at) { f[at] = 'U'; })), "lib/unpatched content; ");
  // A prefix that is not there, with a hash that agrees: only the spot tells.
  same(said_of([](build::Archive& a) { a.table.entries[1].spots[0].offset = 3; }), "bin/run content; ");
  same(said_of([](build::Archive& a) { a.table.entries[6].spots[2000].offset += 1; }), "lib/large content; ");
  same(said_of([](build::Archive& a) { a.table.entries[3].spots[0].slot = 60; }), "lib/lib.so content; ");
  // A tar that says something else than the table.
  const auto forge = [&](const std::string& path, std::function<void(Entry&)> change) {
    return in_frame_with(path + z(100 - path.size()), [=](std::string& frame, size_t at) {
      bool end = false;
      Entry e;
      const Member m = read_members(frame.data() + at, 512, 0, end).at(0);
      e.path = m.path;
      e.kind = m.kind;
      e.size = m.size;
      e.target = m.target;
      change(e);
      frame.replace(at, 512, tar_header(e));
    });
  };
  same(said_of(forge("lib/plain", [](Entry& e) { e.path = "lib/other"; })), "lib/other extra; ");
  same(said_of(forge("lib/plain", [](Entry& e) { e.size = 12; })), "lib/plain size; ");
  same(said_of(forge("link", [](Entry& e) { e.target = "/etc"; })), "link target; ");
  same(said_of(forge("second", [](Entry& e) { e.kind = Kind::symlink; })), "second type; ");
  same(said_of(in_frame_with("meta" + z(96), [](std::string& f, size_t at) { f[at] = 'M'; })),
       "meta unreadable; ");  // its checksum is wrong
  // Frames that cannot be decoded: every file that has bytes in them.
  same(said_of([](build::Archive&) {},
               [](const build::Archive& a, std::string& bytes) {
                 bytes[a.frames[0].position + a.frames[0].packed - 1] ^= 1;
               }),
       "bin/run unreadable; lib/empty unreadable; lib/lib.so unreadable; lib/plain unreadable; ");
  same(said_of([](build::Archive&) {},
               [](const build::Archive& a, std::string& bytes) { bytes[a.frames[3].position + 20] ^= 1; }),
       "lib/large unreadable; ");
  same(said_of([](build::Archive& a) {
         a.tamper_frame = [](size_t, std::string& f) {
           if (f.size() > 1024 && f.substr(f.size() - 1024) == z(1024)) f[f.size() - 1] = 1;
         };
       }),
       "meta unreadable; ");

  Folder folder;
  folder.write("foreign", std::string(100, 'x'));
  THROWS("ARCHIVE_UNKNOWN", verify({"", folder / "foreign", 1}, Progress()));
}

// Long and odd names take another way through tar.
static void names() {
  Folder folder;
  build::Archive a;
  std::string deep = "d";
  a.directory(deep);
  for (int i = 0; i < 6; ++i) a.directory(deep += "/" + std::string(60, static_cast<char>('a' + i)));
  a.file(deep + "/file", "x");
  a.file("d/\xC3\xA4\xC3\xB6", "umlauts");
  a.file("d/\xFF\xFE", "no UTF-8");
  a.file("d/line\nend", "x");
  a.symlink("link", deep + "/file");
  a.symlink("umlaut", "\xC3\xA4");
  a.hardlink("second", deep + "/file");
  const std::string path = a.write(folder / "a");
  const Verified v = verify({"", path, 2}, Progress());
  CHECK_MORE(v.faults.empty(), said(v.faults));
  std::filesystem::create_directory(folder / "t");
  extract({path, folder / "t", "/new", true, 2}, Progress());
  CHECK(verify({folder / "t", folder / "t/.conda-deploy/index", 2}, Progress()).faults.empty());
}

int main() {
  trees();
  archives();
  names();
  return check::done();
}

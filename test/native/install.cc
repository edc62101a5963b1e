// Unpacking and linking: what archives of packages may do to the folders around them, and what linking makes of files.
#include <cstring>
#include "check.h"
#include "jobs.h"
#include "sha256.h"
#include "tar.h"
#include "tree.h"

using namespace cd;

namespace {

Entry entry(const std::string& path, Kind kind, const std::string& target = {}, uint64_t size = 0) {
  Entry e;
  e.path = path;
  e.kind = kind;
  e.mode = 04755;
  e.mtime = 1700000000;
  e.target = target;
  e.size = size;
  return e;
}

struct Tar {
  std::string bytes;
  Tar& file(const std::string& path, const std::string& content) {
    bytes += tar_header(entry(path, Kind::file, {}, content.size())) + content;
    bytes.append((512 - content.size() % 512) % 512, '\0');
    return *this;
  }
  Tar& link(const std::string& path, const std::string& target, Kind kind = Kind::symlink) {
    bytes += tar_header(entry(path, kind, target));
    return *this;
  }
  std::string end() const { return bytes + std::string(1024, '\0'); }
};

Unpacked unpacked(const Folder& folder, const std::string& name, const std::string& tar, uint64_t most = 1u << 20) {
  folder.write(name + ".tar", tar);
  UnpackJob job;
  job.items = {{folder / (name + ".tar"), "tool", folder / name, {"cat"}}};
  job.most_bytes = most;
  job.threads = 2;
  return unpack(job, Progress())[0];
}

void test_unpack() {
  const Folder folder;
  const Unpacked done = unpacked(
      folder, "good",
      Tar().file("a/b", "first").file("a/b", "second").link("a/soft", "b").link("hard", "a/b", Kind::hardlink).end());
  CHECK(done.entries == 4 && done.bytes == 11);
  CHECK(slurp(folder / "good/a/b") == "second");
  CHECK(slurp(folder / "good/a/soft") == "second" && slurp(folder / "good/hard") == "second");
  struct stat st;
  CHECK(::stat((folder / "good/hard").c_str(), &st) == 0 && st.st_nlink == 2 && (st.st_mode & 07000) == 0);
  CHECK(st.st_mtime == 1700000000);
  const auto refused = [&](const char* code, const char* name, const Tar& tar) {
    THROWS(code, unpacked(folder, name, tar.end()));
  };
  refused("UNSAFE_PATH", "up", Tar().file("../outside", "x"));
  refused("UNSAFE_PATH", "way", Tar().link("way", "..").file("way/outside", "x"));
  refused("UNSAFE_PATH", "through", Tar().link("way", "..").link("x", "way/good/hard", Kind::hardlink));
  refused("ARCHIVE_CORRUPT", "lost", Tar().link("x", "nowhere/y", Kind::hardlink));
  THROWS("LIMIT_EXCEEDED", unpacked(folder, "large", Tar().file("x", std::string(2000, 'x')).end(), 1999));
  CHECK(::access((folder / "outside").c_str(), F_OK) != 0);
}

void test_link() {
  const Folder folder;
  const std::string placeholder = "/placeholder/of/the/package";
  folder.write("package/bin/run", "#!" + placeholder + "/bin/sh\n", 0755);
  folder.write("package/share/x", "content");
  ::symlink("x", (folder / "package/share/link").c_str());
  ::mkdir((folder / "env").c_str(), 0755);
  LinkJob job;
  job.root = folder / "env";
  job.prefix = "/new";
  job.sources = {folder / "package"};
  job.threads = 2;
  const auto add = [&](const char* path, LinkHow how, const char* from) {
    LinkEntry e;
    e.path = path;
    e.how = how;
    e.from = from;
    e.rewrite = {placeholder, true};
    job.entries.push_back(e);
  };
  add("bin/run", LinkHow::rewrite, "bin/run");
  add("share/shared", LinkHow::share, "share/x");
  add("share/copied", LinkHow::copy, "share/x");
  add("share/link", LinkHow::symlink, "share/link");
  const std::string text = "written";
  LinkEntry written;
  written.path = "conda-meta/history";
  written.how = LinkHow::write;
  written.data = {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
  written.mode = 0644;
  job.entries.push_back(written);
  const Linked done = link_packages(job, Progress());
  CHECK(slurp(folder / "env/bin/run") == "#!/new/bin/sh\n");
  CHECK(done.written.size() == 1 && done.written[0].path == "bin/run" &&
        done.written[0].sha256 == sha256("#!/new/bin/sh\n", 14));
  CHECK(done.linked + done.cloned == 1 && done.copied == 1);
  CHECK(slurp(folder / "env/share/shared") == "content" && slurp(folder / "env/share/copied") == "content");
  CHECK(std::filesystem::read_symlink(folder / "env/share/link") == "x");
  CHECK(slurp(folder / "env/conda-meta/history") == "written");
  // Nothing that is there is replaced, and nothing is reached through a link, on either side.
  job.entries = {job.entries[1]};
  THROWS("IO", link_packages(job, Progress()));
  CHECK(slurp(folder / "env/share/shared") == "content");
  job.entries[0].path = "other";
  job.entries[0].from = "share/lost";
  THROWS("PACKAGE_DAMAGED", link_packages(job, Progress()));
  job.entries[0].from = "../env/bin/run";
  THROWS("UNSAFE_PATH", link_packages(job, Progress()));
  ::symlink(folder.path().c_str(), (folder / "env/way").c_str());
  job.entries[0].path = "way/escaped";
  job.entries[0].from = "share/x";
  THROWS("UNSAFE_PATH", link_packages(job, Progress()));
  ::symlink(folder.path().c_str(), (folder / "package/way").c_str());
  job.entries[0].path = "other";
  job.entries[0].from = "way/env/bin/run";
  THROWS("UNSAFE_PATH", link_packages(job, Progress()));
}

// Binaries of many sizes, some of more than one piece: each is what it is alone, however they are laid beside each other.
void test_binaries() {
  const Folder folder;
  const std::string placeholder = "/placeholder/of/the/package";
  ::mkdir((folder / "env").c_str(), 0755);
  LinkJob job;
  job.prefix = "/new";
  job.sources = {folder / "package"};
  std::vector<std::string> expected;
  for (const size_t size : {900000, 100, 0, 262144, 262145, 5000, 600000, 300}) {
    const std::string path = "lib/" + std::to_string(size);
    std::string content(size, 'x'), after = content;
    const std::string before = placeholder + "/lib" + std::string(9, '\0'), now = "/new/lib";
    for (size_t at = 10; at + before.size() <= size; at += 77777) {
      content.replace(at, before.size(), before);
      after.replace(at, before.size(), now + std::string(before.size() - now.size(), '\0'));
    }
    folder.write("package/" + path, content, 0644);
    expected.push_back(after);
    LinkEntry e;
    e.path = job.texts.emplace_back(path);
    e.how = LinkHow::rewrite;
    e.rewrite = {placeholder, false};
    job.entries.push_back(e);
  }
  for (const unsigned threads : {1, 2, 5}) {
    job.root = folder / ("env/" + std::to_string(threads));
    ::mkdir(job.root.c_str(), 0755);
    job.threads = threads;
    const Linked done = link_packages(job, Progress());
    CHECK(done.written.size() == expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      const std::string path(job.entries[i].path);
      CHECK(slurp(job.root + '/' + path) == expected[i]);
      const auto told = std::find_if(done.written.begin(), done.written.end(),
                                     [&](const Linked::Written& one) { return one.path == path; });
      CHECK(told != done.written.end() && told->size == expected[i].size() &&
            told->sha256 == sha256(expected[i].data(), expected[i].size()));
    }
  }
  job.root = folder / "env";
  job.entries[0].from = "lib/lost";
  THROWS("PACKAGE_DAMAGED", link_packages(job, Progress()));
}

}  // namespace

int main() {
  test_binaries();
  test_unpack();
  test_link();
  return check::done();
}

// Files from memory and from other files, rewritten by search; names that are taken; parents that are links; what is
// refused.
#include "archive_builder.h"
#include "check.h"
#include "deny.h"
#include "jobs.h"
#include "tree.h"

using namespace cd;

static const std::string kOld = "/old/prefix";
static const std::string kNew = "/n";

static std::string z(size_t n) { return std::string(n, '\0'); }
static std::string digest_of(const std::string& s) { return hex(sha256(s.data(), s.size())); }

static struct stat status(const std::string& path) {
  struct stat st {};
  CHECK_MORE(::lstat(path.c_str(), &st) == 0, path);
  return st;
}

struct Job : MaterializeJob {
  Job(const std::string& at, bool protect = false) {
    root = at;
    prefix = kNew;
    read_only = protect;
    threads = 3;
  }
  MaterializeEntry& add(Kind kind, const std::string& path, const std::string& target = "", uint32_t mode = 0644) {
    MaterializeEntry e;
    e.entry.path = path;
    e.entry.kind = kind;
    e.entry.mode = mode;
    e.entry.mtime = build::kTime;
    e.entry.target = target;
    entries.push_back(e);
    return entries.back();
  }
  void data(const std::string& path, const std::string& content, std::vector<Rewrite> rewrites = {},
            uint32_t mode = 0644) {
    contents_.push_back(std::make_unique<std::string>(content));
    MaterializeEntry& e = add(Kind::file, path, "", mode);
    e.in_memory = true;
    e.data = {reinterpret_cast<const uint8_t*>(contents_.back()->data()), contents_.back()->size()};
    e.rewrites = std::move(rewrites);
  }
  void copy(const std::string& path, const std::string& source, std::vector<Rewrite> rewrites = {},
            uint32_t mode = 0644) {
    MaterializeEntry& e = add(Kind::file, path, "", mode);
    e.source = source;
    e.rewrites = std::move(rewrites);
  }
  Materialized run() { return materialize(*this, Progress()); }

 private:
  std::vector<std::unique_ptr<std::string>> contents_;
};

static size_t names_in(const std::string& directory) {
  size_t n = 0;
  for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(directory)) ++n;
  return n;
}

static void new_tree(bool read_only) {
  Folder folder;
  folder.write("source", "copied\n" + kOld + "\n");
  std::string large(5u << 20, 'x');
  large += kOld + z(1);
  folder.write("large", large);
  std::filesystem::create_directory(folder / "t");
  Job job(folder / "t", read_only);
  job.data("bin/tool", "#!" + kOld + "/bin/python\n", {{kOld, true}}, 04755);
  job.data("deep/er/and/deeper", "plain");
  job.data("lib/lib.so", "\177ELF" + kOld + "/x" + z(1), {{kOld, false}}, 0755);
  job.data("none", "nothing to do", {{kOld, true}, {"/other", false}});
  job.copy("copy", folder / "source");
  job.copy("both", folder / "source", {{"/absent", true}, {kOld, true}});
  job.copy("large", folder / "large", {{kOld, false}});
  job.data("fish", "#!" + kOld + "/" + std::string(130, 'f') + "/fish\n", {{kOld, true}});
  job.add(Kind::symlink, "link", "bin/tool");
  job.add(Kind::hardlink, "second", "bin/tool");
  job.add(Kind::hardlink, "third", "second");
  job.add(Kind::directory, "lib", "", 0775);
  job.add(Kind::directory, "deep", "", 0000);
  const Materialized m = job.run();

  CHECK(slurp(folder / "t/bin/tool") == "#!/n/bin/python\n" && slurp(folder / "t/deep/er/and/deeper") == "plain");
  CHECK(slurp(folder / "t/lib/lib.so") == "\177ELF/n/x" + z(10) && slurp(folder / "t/none") == "nothing to do");
  CHECK(slurp(folder / "t/copy") == "copied\n" + kOld + "\n" && slurp(folder / "t/both") == "copied\n/n\n");
  CHECK(slurp(folder / "t/large") == std::string(5u << 20, 'x') + "/n" + z(10));
  CHECK(slurp(folder / "source") == "copied\n" + kOld + "\n");
  const unsigned take = read_only ? 0222 : 0;
  CHECK((status(folder / "t/bin/tool").st_mode & 07777) == (0755u & ~take));  // no setuid
  CHECK((status(folder / "t/copy").st_mode & 07777) == (0644u & ~take) &&
        status(folder / "t/copy").st_mtim.tv_sec == build::kTime);
  CHECK((status(folder / "t/lib").st_mode & 07777) == (0775u & ~take) &&
        status(folder / "t/lib").st_mtim.tv_sec == build::kTime);
  CHECK((status(folder / "t/deep").st_mode & 07777) == (0700u & ~take));
  CHECK(status(folder / "t/third").st_ino == status(folder / "t/bin/tool").st_ino);
  CHECK(std::filesystem::read_symlink(folder / "t/link") == "bin/tool" &&
        status(folder / "t/link").st_mtim.tv_sec == build::kTime);

  CHECK(m.table.prefixes == std::vector<std::string>{kOld} && m.table.entries.size() == job.entries.size());
  const auto& e = m.table.entries;
  for (size_t i = 0; i < e.size(); ++i) CHECK(e[i].path == job.entries[i].entry.path);
  CHECK(e[0].mode == 0755 && e[0].spots.size() == 1 && e[0].spots[0].offset == 2 && e[0].has_deployed &&
        e[0].deployed_size == 16);
  CHECK(hex(e[0].deployed_sha256) == digest_of("#!/n/bin/python\n") &&
        hex(e[0].sha256) == digest_of("#!" + kOld + "/bin/python\n") && e[0].size == 25);
  CHECK(hex(e[1].sha256) == digest_of("plain") && e[1].spots.empty() && !e[1].has_deployed);
  CHECK(e[2].spots.size() == 1 && e[2].spots[0].encoding == Encoding::c8 && e[2].spots[0].slot == 11);
  CHECK(e[3].spots.empty() && hex(e[3].sha256) == digest_of("nothing to do"));
  CHECK(e[5].spots.size() == 1 && m.table.prefixes[e[5].spots[0].refers] == kOld);
  CHECK(e[6].size == large.size() && hex(e[6].sha256) == digest_of(large) && e[6].spots[0].offset == 5u << 20);
  CHECK(m.by_path == std::vector<std::string>{"fish"} && m.trampolines == 0);
}

static void taken_names() {
  Folder folder;
  std::filesystem::create_directory(folder / "t");
  folder.write("t/same", "a " + kOld, 0444);
  folder.write("t/plain", "nothing here", 0600);
  folder.write("t/other", "old content");
  folder.write("victim", "untouched");
  std::filesystem::create_symlink(folder / "victim", folder / "t/link");
  std::filesystem::create_hard_link(folder / "t/other", folder / "t/other2");
  const ino_t plain = status(folder / "t/plain").st_ino, same = status(folder / "t/same").st_ino;
  Job job(folder / "t");
  job.copy("same", folder / "t/same", {{kOld, true}}, 0755);    // rewritten in its own place
  job.copy("plain", folder / "t/plain", {{kOld, true}}, 0644);  // nothing found: only its mode and time
  job.data("other", "new content");
  job.data("link", "a file now");
  Materialized m = job.run();
  CHECK(slurp(folder / "t/same") == "a /n" && status(folder / "t/same").st_ino != same &&
        (status(folder / "t/same").st_mode & 0777) == 0755);
  CHECK(slurp(folder / "t/plain") == "nothing here" && status(folder / "t/plain").st_ino == plain &&
        (status(folder / "t/plain").st_mode & 0777) == 0644);
  CHECK(slurp(folder / "t/other") == "new content" && slurp(folder / "t/other2") == "old content");
  CHECK(slurp(folder / "t/link") == "a file now" && slurp(folder / "victim") == "untouched");
  CHECK(names_in(folder / "t") == 5);

  Job again(folder / "t");
  again.copy("plain", folder / "t/plain");
  again.add(Kind::symlink, "other", "plain");
  again.add(Kind::hardlink, "other2", "plain");
  again.add(Kind::hardlink, "plain2", "plain");
  again.run();
  again.run();  // a hard link over itself
  CHECK(std::filesystem::read_symlink(folder / "t/other") == "plain" && status(folder / "t/other2").st_ino == plain &&
        names_in(folder / "t") == 6);
}

static void refused() {
  Folder folder;
  folder.write("victim/file", "untouched");
  std::filesystem::create_directory(folder / "t");
  std::filesystem::create_directory_symlink(folder / "victim", folder / "t/link");
  std::filesystem::create_directories(folder / "t/directory");
  const auto with = [&](const char* code, auto fill) {
    Job job(folder / "t");
    fill(job);
    THROWS(code, job.run());
  };
  with("UNSAFE_PATH", [](Job& j) { j.data("link/file", "x"); });
  with("UNSAFE_PATH", [](Job& j) { j.data("link/deep/er", "x"); });
  with("UNSAFE_PATH", [](Job& j) { j.add(Kind::directory, "link/new"); });
  with("UNSAFE_PATH", [](Job& j) { j.add(Kind::directory, "link"); });
  with("UNSAFE_PATH", [](Job& j) { j.add(Kind::symlink, "link/x", "y"); });
  with("UNSAFE_PATH", [](Job& j) { j.add(Kind::hardlink, "x", "link/file"); });
  with("UNSAFE_PATH", [](Job& j) { j.add(Kind::hardlink, "x", "link"); });
  with("UNSAFE_PATH", [](Job& j) { j.add(Kind::hardlink, "x", "../victim/file"); });
  with("UNSAFE_PATH", [](Job& j) { j.add(Kind::symlink, "x", ""); });
  with("UNSAFE_PATH", [](Job& j) { j.data("../up", "x"); });
  with("UNSAFE_PATH", [](Job& j) { j.data("/etc/x", "x"); });
  with("UNSAFE_PATH", [](Job& j) { j.data(".conda-deploy/ready", "x"); });
  with("UNSAFE_PATH", [](Job& j) {
    j.data("twice", "x");
    j.data("twice", "y");
  });
  with("IO", [](Job& j) { j.data("directory", "a file over a directory"); });
  with("IO", [&](Job& j) { j.copy("x", folder / "absent"); });
  with("IO", [&](Job& j) { j.copy("x", "/dev/null"); });
  with("PREFIX_TOO_LONG", [](Job& j) {
    j.prefix = "/longer/than/eleven";
    j.data("x", kOld + z(30), {{kOld, false}});
  });
  with("INVALID_OPTION", [](Job& j) {
    j.prefix = "relative";
    j.data("x", kOld, {{kOld, true}});
  });
  CHECK(slurp(folder / "victim/file") == "untouched" && names_in(folder / "victim") == 1);
  for (const auto& e : std::filesystem::directory_iterator(folder / "t"))
    CHECK_MORE(e.path().filename().string()[0] != '.', e.path().string());
}

int main() {
  new_tree(false);
  new_tree(true);
  taken_names();
  refused();
  with_denied(437, ENOSYS, [] { refused(); });  // openat2
  return check::done();
}

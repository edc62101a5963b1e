// Names of a tree that change places with those of a stage: what is done, and that all of it, or any part of it, can be taken back.
#include <sys/syscall.h>
#include <algorithm>
#include <map>
#include <random>
#include "check.h"
#include "deny.h"
#include "jobs.h"
#include "tree.h"

using namespace cd;
namespace fs = std::filesystem;

namespace {

// path → kind, mode and content
std::map<std::string, std::string> lines(const std::string& root) {
  std::map<std::string, std::string> out;
  for (const auto& e : fs::recursive_directory_iterator(root)) {
    struct stat st {};
    ::lstat(e.path().c_str(), &st);
    const std::string mode = std::to_string(st.st_mode & 07777);
    out[fs::relative(e.path(), root).string()] =
        e.is_symlink() ? "link " + fs::read_symlink(e.path()).string()
                       : (e.is_directory() ? "directory " + mode : "file " + mode + slurp(e.path().string()));
  }
  return out;
}

struct Trees {
  Folder folder;
  ChangeJob job;

  Trees() {
    for (const char* name : {"env", "new", "old"}) fs::create_directory(folder / name);
    job.root = folder / "env";
    job.fresh = folder / "new";
    job.aside = folder / "old";
    job.threads = 2;
    for (int i = 0; i < 40; ++i) {
      const std::string n = std::to_string(i);
      folder.write("env/lib/kept/old" + n, "old " + n);
      folder.write("env/lib/both/f" + n, "one " + n, 0644);
      folder.write("new/lib/both/f" + n, "two " + n, 0755);
      folder.write("new/lib/both/only" + n, "two " + n);
    }
    folder.write("env/was/deep/er/file", "a");
    fs::permissions(folder / "env/was", fs::perms(0751));
    folder.write("new/was", "a file now");
    folder.write("env/turns", "a file");
    folder.write("new/turns/into", "a folder");
    fs::create_symlink("one", folder / "env/link");
    fs::create_symlink("two", folder / "new/link");
    folder.write("new/package/a/b", "whole");
    folder.write("new/package/c", "whole");
    folder.write("env/mine", "of nobody");
    std::vector<Step> early = {{"was/deep/er/file", StepHow::remove}, {"turns", StepHow::remove}};
    std::vector<Step> clear = {{"was/deep/er", StepHow::clear}, {"was/deep", StepHow::clear}, {"was", StepHow::clear}};
    std::vector<Step> add = {{"was", StepHow::add}, {"turns", StepHow::add}, {"package", StepHow::add}};
    std::vector<Step> replace = {{"link", StepHow::replace}}, remove;
    for (int i = 0; i < 40; ++i) {
      add.push_back({"lib/both/only" + std::to_string(i), StepHow::add});
      replace.push_back({"lib/both/f" + std::to_string(i), StepHow::replace});
      remove.push_back({"lib/kept/old" + std::to_string(i), StepHow::remove});
    }
    job.groups = {early, clear, add, replace, remove};
  }

  Changed run(bool back) {
    job.back = back;
    return change_tree(job, Progress());
  }
};

void there_and_back() {
  Trees t;
  const auto before = lines(t.job.root);
  const Changed done = t.run(false);
  CHECK(done.steps == 2 + 3 + 43 + 41 + 40 && done.moments == 0);
  auto wanted = before;
  for (int i = 0; i < 40; ++i) {
    const std::string n = std::to_string(i);
    wanted.erase("lib/kept/old" + n);
    wanted["lib/both/f" + n] = "file " + std::to_string(0755) + "two " + n;
    wanted["lib/both/only" + n] = "file " + std::to_string(0644) + "two " + n;
  }
  for (const char* gone : {"was/deep", "was/deep/er", "was/deep/er/file"}) wanted.erase(gone);
  wanted["was"] = "file " + std::to_string(0644) + "a file now";
  wanted["turns"] = wanted["package"] = wanted["package/a"] = "directory " + std::to_string(0755);
  wanted["turns/into"] = "file " + std::to_string(0644) + "a folder";
  wanted["package/a/b"] = wanted["package/c"] = "file " + std::to_string(0644) + "whole";
  wanted["link"] = "link two";
  CHECK(lines(t.job.root) == wanted);
  t.run(true);
  CHECK(lines(t.job.root) == before);
  t.run(true);  // once more changes nothing
  CHECK(lines(t.job.root) == before);
  // What was withdrawn stands in the stage again: another time it comes, too.
  t.job.groups.erase(t.job.groups.begin() + 3);
  t.run(false);
  CHECK(slurp(t.job.root + "/package/a/b") == "whole");
}

// A process may die after any of the steps, of which threads do several at a time.
void any_part_is_taken_back() {
  std::mt19937 random(42);
  for (int round = 0; round < 40; ++round) {
    Trees t;
    const auto before = lines(t.job.root);
    const auto all = t.job.groups;
    const size_t whole = random() % all.size();
    t.job.groups.resize(whole + 1);
    auto& last = t.job.groups.back();
    if (last[0].how != StepHow::clear) std::shuffle(last.begin(), last.end(), random);
    last.resize(random() % (last.size() + 1));
    t.run(false);
    t.job.groups = all;
    // And so may the one that takes it back.
    if (round % 2) {
      t.job.groups.erase(t.job.groups.begin(), t.job.groups.begin() + static_cast<long>(random() % all.size()));
      t.run(true);
      t.job.groups = all;
    }
    t.run(true);
    CHECK(lines(t.job.root) == before);
  }
}

// A replacement is two calls: what is left when the process dies between them.
void half_a_replacement() {
  Trees t;
  const auto before = lines(t.job.root);
  fs::create_directories(t.folder / "old/lib/both");
  fs::create_hard_link(t.folder / "env/lib/both/f1", t.folder / "old/lib/both/f1");
  fs::rename(t.folder / "env/lib/both/f2", t.folder / "old/lib/both/f2");
  t.run(true);
  CHECK(lines(t.job.root) == before);
}

void obstacles() {
  {
    Trees t;
    t.folder.write("env/package/mine", "");
    const auto before = lines(t.job.root);
    THROWS("TARGET_EXISTS", t.run(false));
    t.run(true);
    CHECK(lines(t.job.root) == before);
  }
  {
    Trees t;
    t.folder.write("env/was/deep/mine", "");
    const auto before = lines(t.job.root);
    THROWS("TARGET_EXISTS", t.run(false));
    t.run(true);
    CHECK(lines(t.job.root) == before);
  }
  {
    Trees t;
    fs::remove_all(t.folder / "env/lib/both");
    t.folder.write("other/f1", "not ours");
    fs::create_symlink(t.folder / "other", t.folder / "env/lib/both");
    THROWS("UNSAFE_PATH", t.run(false));
    CHECK(slurp(t.folder / "other/f1") == "not ours" && !fs::exists(t.folder / "other/only1"));
  }
  {
    Trees t;  // what a program made under a name that is to go, meanwhile
    fs::remove(t.folder / "env/lib/kept/old1");
    t.folder.write("env/lib/kept/old1/mine", "");
    THROWS("TARGET_EXISTS", t.run(false));
    CHECK(fs::exists(t.folder / "env/lib/kept/old1/mine"));
  }
  Trees t;
  t.job.groups = {{{"../env2", StepHow::add}}};
  THROWS("UNSAFE_PATH", t.run(false));
}

void tidying() {
  Trees t;
  t.job.groups = {{{"was/deep/er/file", StepHow::remove}},
                  {{"was/deep/er", StepHow::tidy},
                   {"was/deep", StepHow::tidy},
                   {"was", StepHow::tidy},
                   {"lib", StepHow::tidy},
                   {"absent", StepHow::tidy},
                   {"mine", StepHow::tidy}}};
  t.run(false);
  CHECK(!fs::exists(t.folder / "env/was") && fs::exists(t.folder / "env/lib/kept/old1") &&
        fs::exists(t.folder / "env/mine"));
}

void looking() {
  Trees t;
  fs::create_symlink("lib", t.folder / "env/lib64");
  CHECK(::mkfifo((t.folder / "env/fifo").c_str(), 0600) == 0);
  LookJob job;
  job.root = t.job.root;
  job.paths = {"fifo",          "lib",  "lib/both/f1", "lib/both/nothing", "lib64", "lib64/both",
               "lib64/both/f1", "link", "mine",        "mine/below",       "no/a",  "no/b",
               "turns"};
  job.threads = 2;
  const std::vector<There> wanted = {There::other,   There::directory, There::file,    There::nothing, There::symlink,
                                     There::beyond,  There::beyond,    There::symlink, There::file,    There::nothing,
                                     There::nothing, There::nothing,   There::file};
  CHECK(look(job, Progress()) == wanted);
}

}  // namespace

int main() {
  there_and_back();
  any_part_is_taken_back();
  half_a_replacement();
  obstacles();
  tidying();
  looking();
  // NFS and old Lustre know no rename without replacing; BeeGFS links no files between directories.
  with_denied(SYS_renameat2, EINVAL, there_and_back);
  with_denied(SYS_linkat, EXDEV, [] {
    Trees t;
    const auto before = lines(t.job.root);
    CHECK(t.run(false).moments == 41);
    t.run(true);
    CHECK(lines(t.job.root) == before);
    any_part_is_taken_back();
  });
  return check::done();
}

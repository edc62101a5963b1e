// Renames that replace nothing, exchanges, and locks between processes.
#include <sys/syscall.h>
#include <sys/wait.h>
#include "check.h"
#include "deny.h"
#include "jobs.h"
#include "tree.h"

using namespace cd;

static void renames(bool can_exchange) {
  Folder folder;
  folder.write("stage/file", "new");
  folder.write("taken/file", "old");
  std::filesystem::create_directory(folder / "empty");
  CHECK(!rename_no_replace(folder / "stage", folder / "taken") && slurp(folder / "taken/file") == "old");
  CHECK(!rename_no_replace(folder / "stage", folder / "empty") && slurp(folder / "stage/file") == "new");
  CHECK(rename_no_replace(folder / "stage", folder / "target") && slurp(folder / "target/file") == "new" &&
        !std::filesystem::exists(folder / "stage"));
  folder.write("f", "a file");
  CHECK(!rename_no_replace(folder / "f", folder / "taken/file") && rename_no_replace(folder / "f", folder / "g") &&
        slurp(folder / "g") == "a file");
  std::filesystem::create_symlink("/nowhere", folder / "dangling");
  CHECK(!rename_no_replace(folder / "g", folder / "dangling"));
  THROWS("IO", rename_no_replace(folder / "absent", folder / "x"));
  THROWS("IO", rename_no_replace(folder / "g", folder / "absent/x"));

  if (!can_exchange) {
    THROWS("UNSUPPORTED", rename_exchange(folder / "target", folder / "taken"));
    CHECK(slurp(folder / "target/file") == "new" && slurp(folder / "taken/file") == "old");
    return;
  }
  CHECK(rename_exchange(folder / "target", folder / "taken") && slurp(folder / "target/file") == "old" &&
        slurp(folder / "taken/file") == "new");
  CHECK(!rename_exchange(folder / "target", folder / "absent") &&
        !rename_exchange(folder / "absent", folder / "target"));
  CHECK(slurp(folder / "target/file") == "old");
}

// Answers 1 when the lock could be taken by another process.
static int elsewhere(const std::string& path, bool exclusive) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(lock_file(path, exclusive) >= 0);
  int result = 0;
  ::waitpid(child, &result, 0);
  return WEXITSTATUS(result);
}

static void locks() {
  Folder folder;
  const std::string path = folder / "lock";
  const int held = lock_file(path, true);
  CHECK(held >= 0 && elsewhere(path, true) == 0 && elsewhere(path, false) == 0);
  CHECK(lock_file(path, false) == -1);  // another descriptor is another holder
  unlock_file(held);
  const int shared = lock_file(path, false);
  CHECK(shared >= 0 && elsewhere(path, false) == 1 && elsewhere(path, true) == 0);
  std::filesystem::remove(path);
  CHECK(elsewhere(path, true) == 1);  // a removed lock keeps nobody out
  unlock_file(shared);
  folder.write("victim", "untouched", 0600);
  std::filesystem::create_symlink(folder / "victim", folder / "link");
  THROWS("UNSAFE_PATH", lock_file(folder / "link", true));
  THROWS("IO", lock_file(folder / "absent/lock", true));
  THROWS("IO", lock_file(folder.path(), true));
  THROWS("IO", unlock_file(-1));
}

int main() {
  renames(true);
  for (const unsigned error : {EINVAL, ENOSYS}) with_denied(SYS_renameat2, error, [] { renames(false); });
  locks();
  return check::done();
}

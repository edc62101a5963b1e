// Runs a body in a process of its own in which a system call fails with a chosen error, as on an older kernel or
// another file system.
#pragma once
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstddef>
#include "check.h"

template <class Body>
void with_denied(unsigned number, unsigned error, Body body) {
  constexpr int kNoFilter = 77;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program = {sizeof code / sizeof *code, code};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
      ::_exit(kNoFilter);
    check::failed = check::passed = 0;
    try {
      body();
    } catch (const cd::Failure& failure) { CHECK_MORE(false, failure.what()); }
    ::_exit(check::failed == 0 && check::passed > 0 ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNoFilter)
    std::fprintf(stderr, "skipped: no seccomp filter can be set here\n");
  else
    CHECK_MORE(status == 0, "system call " + std::to_string(number) + " denied with " + std::to_string(error));
}

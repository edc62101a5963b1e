#include "tracee.h"
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <elf.h>
#include <limits.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

namespace cd {
namespace {

bool get(pid_t tid, user_regs_struct& registers) {
  iovec all = {&registers, sizeof registers};
  return ::ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &all) == 0;
}

// process_vm_readv, or by words where a policy forbids it (the tracer may always do that).
size_t read_memory(pid_t tid, uint64_t address, void* out, size_t size) {
  iovec local = {out, size}, remote = {reinterpret_cast<void*>(address), size};
  const ssize_t got = ::process_vm_readv(tid, &local, 1, &remote, 1, 0);
  if (got > 0) return static_cast<size_t>(got);
  if (got < 0 && errno != EPERM && errno != ENOSYS) return 0;
  size_t done = 0;
  for (; done < size; done += sizeof(long)) {
    errno = 0;
    const long word = ::ptrace(PTRACE_PEEKDATA, tid, address + done, nullptr);
    if (errno != 0) break;
    std::memcpy(static_cast<char*>(out) + done, &word, std::min(sizeof word, size - done));
  }
  return std::min(done, size);
}

}  // namespace

bool read_registers(pid_t tid, Registers& out) {
  user_regs_struct r;
  if (!get(tid, r)) return false;
#ifdef __x86_64__
  const uint64_t arguments[] = {r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9};
  out.number = static_cast<long>(r.orig_rax);
#else
  const uint64_t arguments[] = {r.regs[0], r.regs[1], r.regs[2], r.regs[3], r.regs[4], r.regs[5]};
  out.number = static_cast<long>(r.regs[8]);
#endif
  std::copy(std::begin(arguments), std::end(arguments), out.arguments);
  return true;
}

bool read_result(pid_t tid, int64_t& out) {
#ifdef __x86_64__
  errno = 0;
  out = ::ptrace(PTRACE_PEEKUSER, tid, offsetof(user_regs_struct, rax), nullptr);
  return errno == 0;
#else
  user_regs_struct r;
  if (!get(tid, r)) return false;
  out = static_cast<int64_t>(r.regs[0]);
  return true;
#endif
}

bool write_result(pid_t tid, int64_t value) {
  user_regs_struct r;
  if (!get(tid, r)) return false;
#ifdef __x86_64__
  r.rax = static_cast<uint64_t>(value);
#else
  r.regs[0] = static_cast<uint64_t>(value);
#endif
  iovec all = {&r, sizeof r};
  return ::ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &all) == 0;
}

bool read_text(pid_t tid, uint64_t address, std::string& out) {
  // A read must not run into a page that may be missing; most paths end within the first piece.
  constexpr size_t kPage = 4096, kPiece = 256;
  out.clear();
  char piece[kPage];
  while (out.size() < PATH_MAX) {
    const uint64_t at = address + out.size();
    const size_t size = std::min(kPage - at % kPage, out.empty() ? kPiece : kPage);
    const size_t got = read_memory(tid, at, piece, size);
    if (got == 0) return false;
    const void* end = std::memchr(piece, 0, got);
    out.append(piece, end ? static_cast<size_t>(static_cast<const char*>(end) - piece) : got);
    if (end) return true;
  }
  return false;
}

bool read_word(pid_t tid, uint64_t address, uint64_t& out) {
  return read_memory(tid, address, &out, sizeof out) == sizeof out;
}

std::string proc_link(pid_t tid, const char* name) {
  char path[64], target[PATH_MAX];
  std::snprintf(path, sizeof path, "/proc/%d/%s", static_cast<int>(tid), name);
  const ssize_t size = ::readlink(path, target, sizeof target);
  if (size <= 0) return {};
  std::string out(target, static_cast<size_t>(size));
  const char deleted[] = " (deleted)";
  if (out.size() > sizeof deleted && out.compare(out.size() - (sizeof deleted - 1), std::string::npos, deleted) == 0)
    out.resize(out.size() - (sizeof deleted - 1));
  return out;
}

}  // namespace cd
#endif

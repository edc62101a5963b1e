#include "filter.h"
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <cstddef>
#include <cstdint>
#include "calls.h"

namespace cd {
namespace {

using trace_calls::Call;
using Code = std::vector<sock_filter>;

#ifdef __x86_64__
constexpr uint32_t kArch = AUDIT_ARCH_X86_64, kForeignExitGroup = 252;
constexpr uint32_t kForeignFrom = 0x40000000;  // x32
#else
constexpr uint32_t kArch = AUDIT_ARCH_AARCH64, kForeignExitGroup = 248;
constexpr uint32_t kForeignFrom = 0x80000000;  // none
#endif
constexpr uint32_t kForeignExit = 1;
constexpr uint32_t kAtEmptyPath = 0x1000;

void load(Code& code, size_t offset) {
  code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)));
}
void load_argument(Code& code, int i) { load(code, offsetof(seccomp_data, args) + 8 * static_cast<size_t>(i)); }
void jump(Code& code, uint16_t test, uint32_t value, uint8_t yes, uint8_t no) {
  code.push_back(BPF_JUMP(static_cast<uint16_t>(BPF_JMP | BPF_K | test), value, yes, no));
}
void answer(Code& code, uint32_t value) { code.push_back(BPF_STMT(BPF_RET | BPF_K, value)); }

// One call; the number in the accumulator is at least its own and below the next one's.
Code leaf(const Call& call, bool bytes) {
  Code code;
  Code body;
  if (call.traits & trace_calls::kMap) {  // anonymous memory is no file
    load_argument(body, 3);
    jump(body, BPF_JSET, MAP_ANONYMOUS, 0, 1);
    answer(body, SECCOMP_RET_ALLOW);
  } else if (!bytes && (call.traits & trace_calls::kStat)) {
    // fstat by another name: this flag alone, and a descriptor. 55 % of the calls of an importing Python.
    load_argument(body, call.flags);
    jump(body, BPF_JEQ, kAtEmptyPath, 0, 3);
    load_argument(body, 0);
    jump(body, BPF_JSET, 0x80000000u, 1, 0);  // AT_FDCWD is negative
    answer(body, SECCOMP_RET_ALLOW);
  }
  answer(body, SECCOMP_RET_TRACE);
  jump(code, BPF_JEQ, static_cast<uint32_t>(call.number), 0, static_cast<uint8_t>(body.size()));
  code.insert(code.end(), body.begin(), body.end());
  answer(code, SECCOMP_RET_ALLOW);
  return code;
}

// A search tree over calls[from, to): a conditional jump reaches 255 instructions, a chain of all would be walked by every call.
Code tree(const std::vector<Call>& calls, size_t from, size_t to, bool bytes) {
  if (to - from == 1) return leaf(calls[from], bytes);
  const size_t middle = from + (to - from) / 2;
  const Code low = tree(calls, from, middle, bytes), high = tree(calls, middle, to, bytes);
  Code code;
  jump(code, BPF_JGE, static_cast<uint32_t>(calls[middle].number), 0, 1);
  code.push_back(BPF_STMT(BPF_JMP | BPF_JA, static_cast<uint32_t>(low.size())));
  code.insert(code.end(), low.begin(), low.end());
  code.insert(code.end(), high.begin(), high.end());
  return code;
}

}  // namespace

std::vector<sock_filter> trace_filter(bool bytes) {
  std::vector<Call> wanted;
  for (const Call& call : trace_calls::calls())
    if (bytes || !(call.traits & trace_calls::kBytes)) wanted.push_back(call);
  Code code;
  load(code, offsetof(seccomp_data, arch));
  jump(code, BPF_JEQ, kArch, 5, 0);
  // Calls of 32-bit programs have other numbers. They are refused (see `foreign` in linux.cc), but for those that end the program.
  load(code, offsetof(seccomp_data, nr));
  jump(code, BPF_JEQ, kForeignExit, 2, 0);
  jump(code, BPF_JEQ, kForeignExitGroup, 1, 0);
  answer(code, SECCOMP_RET_TRAP);
  answer(code, SECCOMP_RET_ALLOW);
  load(code, offsetof(seccomp_data, nr));
  jump(code, BPF_JGE, kForeignFrom, 0, 1);
  answer(code, SECCOMP_RET_TRAP);
  const Code calls = tree(wanted, 0, wanted.size(), bytes);
  code.insert(code.end(), calls.begin(), calls.end());
  return code;
}

}  // namespace cd
#endif

// One stopped thread of the traced program: its registers, its memory, what its descriptors and directories are.
#pragma once
#ifdef __linux__
#include <sys/types.h>
#include <cstdint>
#include <string>
#include "calls.h"

namespace cd {

struct Registers {
  long number = -1;
  uint64_t arguments[6] = {};
};

// false: the thread has gone (it was killed); its end is reported by waitpid.
bool read_registers(pid_t tid, Registers& out);
bool read_result(pid_t tid, int64_t& out);
// The call that was stopped at is not made, and its result is `value`.
bool write_result(pid_t tid, int64_t value);
bool read_text(pid_t tid, uint64_t address, std::string& out);
bool read_word(pid_t tid, uint64_t address, uint64_t& out);
// What a link below /proc/TID leads to; empty: none.
std::string proc_link(pid_t tid, const char* name);

struct Place {  // one path of one call
  std::string path;
  bool follow = true;
};

struct Tracee {
  pid_t tid = 0;
  uint32_t program = 0;
  bool knows_program = false;
  bool elsewhere = false;  // in another mount namespace
  // Working and root directory, right as long as no one has moved since.
  uint64_t seen = 0, seen_root = 0;
  std::string cwd, root;

  // The call that the thread is in.
  const trace_calls::Call* call = nullptr;
  int paths = 0;
  Place places[2];
  int descriptor = -1;
  bool of_descriptor = false;  // the path was empty: the descriptor itself is meant
  uint64_t size = 0;           // of a map
};

}  // namespace cd
#endif

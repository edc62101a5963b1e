// The tracer: runs one program and counts every file access of its whole process tree. One backend a file: linux.cc (seccomp picks the
// calls, ptrace tells them), none.cc elsewhere. Nothing here knows roles, file systems or conda: paths and numbers go out.
#pragma once
#include <cstdint>
#include <string>
#include <vector>
#include "progress.h"

namespace cd {

struct TraceJob {
  std::vector<std::string> argv;  // the program, found by the PATH in `env`, and its arguments
  std::vector<std::string> env;   // NAME=VALUE, all of it
  std::string cwd;                // absolute
  bool bytes = false;             // follow descriptors too: reads, maps, fstat
  bool foreground = false;        // stop this process whenever the program is stopped, as a shell expects of its job
};

struct CallCount {
  uint16_t call = 0;  // number in Traced::calls
  uint64_t calls = 0;
  uint64_t misses = 0;  // ended with ENOENT or ENOTDIR
};

struct TracedPath {
  std::string path;  // absolute, as it was named: joined with the directory it was relative to
  std::string at;    // where that leads: links resolved after the run, the last one only if `follow`
  bool follow = true;
  std::vector<CallCount> counts;
  std::vector<uint32_t> programs;  // numbers in Traced::programs, the first four
  uint64_t bytes_read = 0, bytes_mapped = 0;
};

struct Traced {
  int status = -1;  // exit status, -1: ended by `signal`
  int signal = 0;
  double seconds = 0;  // until the program itself ended; its children may have lived longer
  uint64_t processes = 1, threads = 0, executions = 0;
  // What was not seen, or not as it is.
  uint64_t foreign_calls = 0;  // of 32-bit programs: refused with ENOSYS
  uint64_t rings = 0;          // io_uring set up: what goes through it is not counted
  uint64_t namespaces = 0;     // processes that left our mount namespace: their paths are taken as if they had not
  uint64_t unreadable = 0;     // calls whose path could not be read from the program's memory
  uint64_t folded = 0;         // accesses counted for their directory: too many different paths
  std::vector<std::string> calls, programs;
  std::vector<TracedPath> paths;
};

// Blocks until the last process of the tree has ended. The caller's other children are never waited for. The number of the process is
// told by `Progress::expect` once it runs, 0 again when it has ended. Cancelling kills the tree. Throws COMMAND_NOT_FOUND,
// COMMAND_NOT_EXECUTABLE, UNSUPPORTED, CANCELLED, IO.
Traced trace(const TraceJob&, Progress);

// Why tracing cannot work on this system at all; empty: it can.
std::string trace_unsupported();

}  // namespace cd

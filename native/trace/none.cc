// Where there is no backend: everything but Linux on x86-64 and arm64.
#include "tracer.h"
#if !defined(__linux__) || !(defined(__x86_64__) || defined(__aarch64__))

namespace cd {

std::string trace_unsupported() { return "file accesses are traced on Linux (x86-64 and arm64) only"; }

Traced trace(const TraceJob&, Progress) { throw Failure("UNSUPPORTED", trace_unsupported()); }

}  // namespace cd
#endif

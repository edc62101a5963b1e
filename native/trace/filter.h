// The seccomp filter: which system calls stop for the tracer. All others run at full speed.
#pragma once
#ifdef __linux__
#include <linux/filter.h>
#include <vector>

namespace cd {

std::vector<sock_filter> trace_filter(bool bytes);

}  // namespace cd
#endif

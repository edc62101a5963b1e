// The traced program before it is one: finding it, forking, the filter, exec.
#pragma once
#ifdef __linux__
#include <sys/types.h>
#include <string>
#include "tracer.h"

namespace cd {

class Child {
 public:
  // Forks; the child waits for `go`. Throws COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, IO.
  explicit Child(const TraceJob& job);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void go();
  // Throws what kept the child from becoming the program, once it has ended or become it.
  void check();

 private:
  const TraceJob& job_;
  std::string program_;
  int gate_ = -1, news_ = -1;
  pid_t pid_ = -1;
};

}  // namespace cd
#endif

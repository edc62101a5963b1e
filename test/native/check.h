// What a test of the core needs: CHECK counts and says what failed, THROWS wants a Failure of a code; main returns done().
#pragma once
#include <cstdio>
#include <string>
#include "failure.h"

namespace check {

inline int failed = 0, passed = 0;

inline void that(bool ok, const char* what, const char* file, int line, const std::string& more = {}) {
  ok ? ++passed : ++failed;
  if (!ok) std::fprintf(stderr, "%s:%d: failed: %s%s%s\n", file, line, what, more.empty() ? "" : ": ", more.c_str());
}

template <class F>
void throws(const char* code, F body, const char* what, const char* file, int line) {
  try {
    body();
  } catch (const cd::Failure& failure) {
    return that(failure.code == code, what, file, line,
                "expected " + std::string(code) + ", got " + failure.code + ": " + failure.what());
  }
  that(false, what, file, line, std::string("expected ") + code + ", nothing was thrown");
}

inline int done() {
  std::fprintf(stderr, "%d checks passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace check

#define CHECK(condition) check::that((condition), #condition, __FILE__, __LINE__)
#define CHECK_MORE(condition, more) check::that((condition), #condition, __FILE__, __LINE__, (more))
#define THROWS(code, statement) \
  check::throws(                \
      code, [&] { statement; }, #statement, __FILE__, __LINE__)

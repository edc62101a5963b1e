// The only exception type of the core. `code` is one of the codes in src/errors.ts.
#pragma once
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace cd {

struct Failure : std::runtime_error {
  std::string code;                // IO, ARCHIVE_CORRUPT, PREFIX_TOO_LONG, UNSAFE_PATH, SOURCE_CHANGED, CANCELLED, …
  std::string path;                // empty: none
  std::string syscall;             // empty: not a system call
  int error = 0;                   // errno, 0: none
  std::vector<std::string> paths;  // all files the message is about, where it names only some

  Failure(std::string code, std::string message, std::string path = {})
      : std::runtime_error(std::move(message)), code(std::move(code)), path(std::move(path)) {}

  // A system call that failed: takes errno now.
  static Failure system(const char* call, const std::string& path) { return system(call, path, errno); }
  static Failure system(const char* call, const std::string& path, int error) {
    Failure f("IO", std::string(call) + " " + path + ": " + std::strerror(error), path);
    f.syscall = call;
    f.error = error;
    return f;
  }
};

}  // namespace cd

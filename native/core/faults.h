// What verify finds, collected from all threads. Shared by the two halves of verify.
#pragma once
#include <algorithm>
#include <cstdio>
#include <mutex>
#include <tuple>
#include "jobs.h"

namespace cd {

class Faults {
 public:
  void add(const std::string& path, const char* kind, std::string expected, std::string found) {
    std::lock_guard<std::mutex> lock(guard_);
    list_.push_back({path, kind, std::move(expected), std::move(found)});
  }
  // Sorted by path; of one path and kind only the first.
  std::vector<Fault> take() {
    const auto key = [](const Fault& f) { return std::tie(f.path, f.kind); };
    std::stable_sort(list_.begin(), list_.end(), [&](const Fault& a, const Fault& b) { return key(a) < key(b); });
    list_.erase(
        std::unique(list_.begin(), list_.end(), [&](const Fault& a, const Fault& b) { return key(a) == key(b); }),
        list_.end());
    return std::move(list_);
  }

 private:
  std::mutex guard_;
  std::vector<Fault> list_;
};

inline std::string octal(uint32_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%04o", mode);
  return text;
}

inline const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::directory: return "directory";
    case Kind::file: return "file";
    case Kind::symlink: return "symlink";
    case Kind::hardlink: return "hardlink";
    case Kind::other: break;
  }
  return "something else";
}

Verified verify_archive(const VerifyJob&, Progress);  // verify_archive.cc

}  // namespace cd

// What was counted: by path and call. And where paths lead, found once the program has ended, so that nothing disturbs its own run.
#pragma once
#include <string>
#include <unordered_map>
#include <vector>
#include "tracer.h"

namespace cd {

class Tally {
 public:
  // Different paths to tell apart; beyond them accesses are counted for their directory (a run over ten million files must end too).
  explicit Tally(size_t most = 2'000'000) : most_(most) {}

  uint32_t program(const std::string& path);
  void count(const std::string& path, bool follow, uint16_t call, bool missed, uint32_t program);
  void read(const std::string& path, uint64_t bytes, bool mapped);
  uint64_t folded() const { return folded_; }
  // Ascending by path, with `at` resolved. Leaves this empty.
  std::vector<TracedPath> take();
  std::vector<std::string> programs() const { return programs_; }

 private:
  TracedPath& record(const std::string& path, bool follow);

  size_t most_;
  uint64_t folded_ = 0;
  std::vector<TracedPath> paths_;
  std::unordered_map<std::string, size_t> index_[2];  // by `follow`
  std::vector<std::string> programs_;
  std::unordered_map<std::string, uint32_t> program_index_;
};

// Resolves links as the kernel does, remembering directories. What does not exist (any more) resolves as far as it does.
class Resolver {
 public:
  std::string resolve(const std::string& path, bool follow);

 private:
  std::string directory(const std::string& path, int links);
  std::string last(const std::string& parent, const std::string& name, int links);

  std::unordered_map<std::string, std::string> directories_;
};

}  // namespace cd

#include "tally.h"
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>

namespace cd {
namespace {

constexpr size_t kPrograms = 4;  // to one path
constexpr int kLinks = 40;       // as many as the kernel follows

bool beneath(const std::string& path, const std::string& root) {
  return path.compare(0, root.size(), root) == 0 && (path.size() == root.size() || path[root.size()] == '/');
}

}  // namespace

uint32_t Tally::program(const std::string& path) {
  const auto [at, fresh] = program_index_.emplace(path, static_cast<uint32_t>(programs_.size()));
  if (fresh) programs_.push_back(path);
  return at->second;
}

TracedPath& Tally::record(const std::string& path, bool follow) {
  auto& index = index_[follow];
  if (const auto found = index.find(path); found != index.end()) return paths_[found->second];
  if (paths_.size() >= most_) {
    const size_t slash = path.rfind('/');
    if (slash != std::string::npos && slash > 0) {
      ++folded_;
      const std::string parent = path.substr(0, slash);
      const auto found = index.find(parent);
      if (found != index.end()) return paths_[found->second];
      return record(parent.substr(0, parent.find('/', 1)), follow);  // the first component: few enough for any program
    }
  }
  index.emplace(path, paths_.size());
  TracedPath fresh;
  fresh.path = path;
  fresh.follow = follow;
  paths_.push_back(std::move(fresh));
  return paths_.back();
}

void Tally::count(const std::string& path, bool follow, uint16_t call, bool missed, uint32_t program) {
  TracedPath& record = this->record(path, follow);
  auto at = std::find_if(record.counts.begin(), record.counts.end(), [&](const auto& c) { return c.call == call; });
  if (at == record.counts.end()) at = record.counts.insert(at, CallCount{call, 0, 0});
  ++at->calls;
  at->misses += missed;
  auto& programs = record.programs;
  if (programs.size() < kPrograms && std::find(programs.begin(), programs.end(), program) == programs.end())
    programs.push_back(program);
}

void Tally::read(const std::string& path, uint64_t bytes, bool mapped) {
  TracedPath& record = this->record(path, true);
  (mapped ? record.bytes_mapped : record.bytes_read) += bytes;
}

std::vector<TracedPath> Tally::take() {
  Resolver resolver;
  for (TracedPath& record : paths_) record.at = resolver.resolve(record.path, record.follow);
  std::sort(paths_.begin(), paths_.end(), [](const TracedPath& a, const TracedPath& b) {
    return a.path != b.path ? a.path < b.path : a.follow < b.follow;
  });
  for (auto& index : index_) index.clear();
  return std::move(paths_);
}

std::string Resolver::resolve(const std::string& path, bool follow) {
  // /proc/self would be ours, not the program's.
  if (beneath(path, "/proc") || beneath(path, "/sys")) return path;
  size_t end = path.size();
  while (end > 1 && path[end - 1] == '/') --end;
  const bool into = end < path.size();  // `link/` is what the link leads to
  const size_t slash = path.rfind('/', end - 1);
  if (slash == std::string::npos || end <= 1) return "/";
  const std::string name = path.substr(slash + 1, end - slash - 1);
  const std::string parent = directory(path.substr(0, slash), kLinks);
  if (name == ".") return parent;
  if (name == "..") return directory(parent + "/..", kLinks);
  if (!follow && !into) return (parent == "/" ? "" : parent) + "/" + name;
  return last(parent, name, kLinks);
}

std::string Resolver::last(const std::string& parent, const std::string& name, int links) {
  const std::string path = (parent == "/" ? "" : parent) + "/" + name;
  char target[PATH_MAX];
  const ssize_t size = ::readlink(path.c_str(), target, sizeof target);
  if (size <= 0 || links == 0) return path;
  const std::string text(target, static_cast<size_t>(size));
  return directory(text[0] == '/' ? text : parent + "/" + text, links - 1);
}

std::string Resolver::directory(const std::string& path, int links) {
  size_t end = path.size();
  while (end > 0 && path[end - 1] == '/') --end;
  if (end == 0) return "/";
  const std::string key = path.substr(0, end);
  if (const auto found = directories_.find(key); found != directories_.end()) return found->second;
  const size_t slash = key.rfind('/');
  const std::string name = slash == std::string::npos ? key : key.substr(slash + 1);
  const std::string parent = slash == std::string::npos ? "/" : directory(key.substr(0, slash), links);
  std::string out;
  if (name == ".") {
    out = parent;
  } else if (name == "..") {
    const size_t up = parent.rfind('/');
    out = up == 0 || up == std::string::npos ? "/" : parent.substr(0, up);
  } else {
    out = last(parent, name, links);
  }
  if (links == kLinks) directories_.emplace(key, out);
  return out;
}

}  // namespace cd

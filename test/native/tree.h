// A folder of a test's own, removed at its end; files made from literals.
#pragma once
#include <sys/stat.h>
#include <unistd.h>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "conda-deploy-test-XXXXXX").string();
    if (!mkdtemp(name.data())) std::abort();
    path_ = std::filesystem::canonical(name).string();
  }
  ~Folder() {
    std::error_code ignored;  // a read-only tree may be left by a failed test: make it writable first
    for (const auto& e : std::filesystem::recursive_directory_iterator(path_, ignored))
      if (e.is_directory() && !e.is_symlink()) chmod(e.path().c_str(), 0755);
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  void write(const std::string& name, const std::string& content, unsigned mode = 0644) const {
    const std::filesystem::path p = path_ + "/" + name;
    std::filesystem::create_directories(p.parent_path());
    std::ofstream(p, std::ios::binary) << content;
    chmod(p.c_str(), mode);
  }

 private:
  std::string path_;
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

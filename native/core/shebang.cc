#include "shebang.h"

namespace cd {
namespace {

bool starts(const std::string& s, const char* with) { return s.rfind(with, 0) == 0; }

bool one_of(const std::string& s, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (s == name) return true;
  return false;
}

// In double quotes, as /bin/sh reads it.
std::string quoted(const std::string& path) {
  std::string out = "\"";
  for (const char c : path) {
    if (c == '\\' || c == '"' || c == '$' || c == '`') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

std::string shebang_for(const std::string& line, size_t interpreter_begin, size_t interpreter_end, Rewriting& done) {
  const std::string path = line.substr(interpreter_begin, interpreter_end - interpreter_begin);
  if (line.size() <= kShebangMax && path.find_first_of(" \t") == std::string::npos) return line;

  const std::string base = path.substr(path.rfind('/') + 1);
  const std::string exec = "exec " + quoted(path);
  const std::string options = line.substr(interpreter_end);
  const std::string sh = "#!/bin/sh\n", self = " \"$0\" \"$@\"";
  done.trampoline = true;
  if (starts(base, "python") || starts(base, "pypy")) return sh + "'''exec' " + quoted(path) + options + self + " #'''";
  if (starts(base, "perl") || starts(base, "ruby")) return sh + exec + " -x" + self + "\n#!" + base + options;
  if (one_of(base, {"sh", "bash", "dash", "ksh", "zsh"}))
    // The interpreter reads the same lines again; it goes on because the process, and so $$, is still the one that set
    // the mark.
    return sh + "test \"${CONDA_DEPLOY_SH-}\" = $$ || { CONDA_DEPLOY_SH=$$; export CONDA_DEPLOY_SH; " + exec + options +
           self + "; }";
  if (starts(base, "tclsh") || starts(base, "wish")) return sh + "# \\\n" + exec + self;
  if (one_of(base, {"node", "nodejs"})) return sh + "':' //; " + exec + options + self;
  done.trampoline = false;
  done.by_path = true;
  return (options.empty() ? "#!/usr/bin/env " : "#!/usr/bin/env -S ") + base + options;
}

}  // namespace cd

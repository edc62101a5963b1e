// The shebang table of FORMAT.md, line by line, and the proof that its trampolines run: with every interpreter this
// machine has, at a prefix with a blank, quotes and a dollar, and at one beyond what Linux reads.
#include "shebang.h"
#include <sys/wait.h>
#include <cstdlib>
#include "check.h"
#include "tree.h"

using namespace cd;

static const std::string kOld = "/old/prefix";

struct Result {
  std::string text;
  Rewriting done;
};

static Result rewrite(const std::string& in, const std::string& prefix) {
  Result r;
  const auto* data = reinterpret_cast<const uint8_t*>(in.data());
  const std::vector<Spot> spots = find_text(data, in.size(), kOld, true);
  r.text = rewrite_spots(data, in.size(), 0, spots.data(), spots.size(), {kOld}, prefix, {}, r.done);
  return r;
}

static void becomes(const std::string& in, const std::string& prefix, const std::string& out, bool trampoline,
                    bool by_path) {
  const Result r = rewrite(in, prefix);
  CHECK_MORE(r.text == out, in + " became " + r.text);
  CHECK_MORE(r.done.trampoline == trampoline && r.done.by_path == by_path, in);
}

static void table() {
  const std::string blank = "/a b", sh = "#!/bin/sh\n";
  for (const char* base : {"python", "python3.11", "pypy3"})
    becomes("#!" + kOld + "/bin/" + base + "\nx\n", blank,
            sh + "'''exec' \"/a b/bin/" + base + "\" \"$0\" \"$@\" #'''\nx\n", true, false);
  becomes("#!" + kOld + "/bin/python -E -s\nx", blank, sh + "'''exec' \"/a b/bin/python\" -E -s \"$0\" \"$@\" #'''\nx",
          true, false);
  becomes("#! \t" + kOld + "/bin/perl -w\nx", blank, sh + "exec \"/a b/bin/perl\" -x \"$0\" \"$@\"\n#!perl -w\nx", true,
          false);
  becomes("#!" + kOld + "/bin/ruby3\nx", blank, sh + "exec \"/a b/bin/ruby3\" -x \"$0\" \"$@\"\n#!ruby3\nx", true,
          false);
  for (const char* base : {"sh", "bash", "dash", "ksh", "zsh"})
    becomes("#!" + kOld + "/bin/" + base + " -e\nx\n", blank,
            sh + "test \"${CONDA_DEPLOY_SH-}\" = $$ || { CONDA_DEPLOY_SH=$$; export CONDA_DEPLOY_SH; exec \"/a b/bin/" +
                base + "\" -e \"$0\" \"$@\"; }\nx\n",
            true, false);
  for (const char* base : {"tclsh8.6", "wish"})
    becomes("#!" + kOld + "/bin/" + base + "\nx", blank, sh + "# \\\nexec \"/a b/bin/" + base + "\" \"$0\" \"$@\"\nx",
            true, false);
  for (const char* base : {"node", "nodejs"})
    becomes("#!" + kOld + "/bin/" + base + " --no-warnings\nx", blank,
            sh + "':' //; exec \"/a b/bin/" + base + "\" --no-warnings \"$0\" \"$@\"\nx", true, false);
  becomes("#!" + kOld + "/bin/Rscript\nx", blank, "#!/usr/bin/env Rscript\nx", false, true);
  becomes("#!" + kOld + "/bin/Rscript --vanilla\nx", blank, "#!/usr/bin/env -S Rscript --vanilla\nx", false, true);
  becomes("#!" + kOld + "/bin/fish\nx", blank, "#!/usr/bin/env fish\nx", false, true);
  becomes("#!" + kOld + "/bin/node_modules\nx", blank, "#!/usr/bin/env node_modules\nx", false, true);
  becomes("#!" + kOld + "/bin/python\n", "/a\\b\"c$d`e f",
          sh + "'''exec' \"/a\\\\b\\\"c\\$d\\`e f/bin/python\" \"$0\" \"$@\" #'''\n", true, false);
}

// case 26: the length that Linux reads, blanks, options.
static void limits() {
  const auto stays = [](const std::string& in, const std::string& prefix, const std::string& out) {
    becomes(in, prefix, out, false, false);
  };
  stays("#!" + kOld + "/bin/python\n", "/n", "#!/n/bin/python\n");
  stays("#!" + kOld + "/bin/python", "/n", "#!/n/bin/python");  // no line end
  stays("#!" + kOld, "/n", "#!/n");
  stays("#!/bin/sh " + kOld + "\n", "/a b", "#!/bin/sh /a b\n");  // the interpreter is elsewhere
  stays("#!/usr/bin/env " + kOld + "/bin/python\n", "/a b", "#!/usr/bin/env /a b/bin/python\n");
  stays("\n#!" + kOld + "/bin/python\n", "/a b", "\n#!/a b/bin/python\n");  // not the first line
  stays("x#!" + kOld + "\n", "/a b", "x#!/a b\n");
  stays("#", "/a b", "#");
  const std::string tail = "/bin/python";
  const std::string fits = "/" + std::string(127 - 2 - tail.size() - 1, 'n');
  stays("#!" + kOld + tail + "\nx", fits, "#!" + fits + tail + "\nx");
  becomes("#!" + kOld + tail + "\nx", fits + "n",
          "#!/bin/sh\n'''exec' \"" + fits + "n" + tail + "\" \"$0\" \"$@\" #'''\nx", true, false);
  // The whole line counts, not the interpreter alone.
  CHECK(rewrite("#!" + kOld + tail + " -s\nx", fits).done.trampoline);
}

static std::string run(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return "cannot run";
  std::string out;
  for (int c; (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
  const int status = pclose(pipe);
  return out + "=" + std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

struct Language {
  const char* interpreter;
  std::string body;
};  // prints a mark and its two arguments, ends with status 3

static void runs() {
  const std::string say = "mark|a b|$c";
  const Language languages[] = {
      {"python3", "import sys\nprint('mark|' + '|'.join(sys.argv[1:]), end='')\nsys.exit(3)\n"},
      {"perl", "print 'mark|' . join('|', @ARGV);\nexit 3;\n"},
      {"ruby", "print 'mark|' + ARGV.join('|')\nexit 3\n"},
      {"sh", "printf %s \"mark|$1|$2\"\nexit 3\n"},
      {"bash", "[[ -n $BASH_VERSION ]] && printf %s \"mark|$1|$2\"\nexit 3\n"},
      {"dash", "printf %s \"mark|$1|$2\"\nexit 3\n"},
      {"ksh", "printf %s \"mark|$1|$2\"\nexit 3\n"},
      {"zsh", "[[ -n $ZSH_VERSION ]] && printf %s \"mark|$1|$2\"\nexit 3\n"},
      {"tclsh", "puts -nonewline \"mark|[join $argv |]\"\nexit 3\n"},
      {"node", "process.stdout.write('mark|' + process.argv.slice(2).join('|'))\nprocess.exitCode = 3\n"},
  };
  Folder folder;
  const std::string longer = folder / std::string(130, 'n');
  for (const std::string& prefix : {folder / "with a blank", folder / "quote\" $HOME `q`", longer})
    for (const Language& language : languages) {
      std::string real = run(std::string("command -v ") + language.interpreter);
      if (real.size() < 3 || real.substr(real.size() - 2) != "=0") {
        if (prefix == longer) std::fprintf(stderr, "skipped: %s is not here\n", language.interpreter);
        continue;
      }
      real.resize(real.find('\n'));
      // By a script, not a link: some programs find their home by the path they were called with.
      const std::string base = language.interpreter;
      std::filesystem::create_directories(prefix + "/bin");
      folder.write(prefix.substr(folder.path().size() + 1) + "/bin/" + base, "#!/bin/sh\nexec '" + real + "' \"$@\"\n",
                   0755);
      const Result script = rewrite("#!" + kOld + "/bin/" + base + "\n" + language.body, prefix);
      CHECK(script.done.trampoline);
      folder.write("script", script.text, 0755);
      const std::string got = run("'" + folder / "script" + "' 'a b' '$c'");
      CHECK_MORE(got == say + "=3", base + " at " + prefix + ": " + got);
      // A script that runs another of its kind: the mark of the outer one must not fool the inner one.
      if (base != "sh" && base != "bash") continue;
      const Result outer = rewrite("#!" + kOld + "/bin/" + base + "\n\"${0%outer}script\" \"$@\"\nexit $?\n", prefix);
      folder.write("outer", outer.text, 0755);
      CHECK(run("'" + folder / "outer" + "' 'a b' '$c'") == say + "=3");
    }
}

int main() {
  table();
  limits();
  runs();
  return check::done();
}

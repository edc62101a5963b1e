# Reads the variables that an environment sets (etc/conda/env_vars.d/*.json, conda-meta/state) and prints them as code for the shell
# that activates it. conda's rules: later files win; "***unset***" means none.
#   sh, fish:  a call of __conda_deploy_set NAME 'value' for each
#   csh:       setenv and unsetenv, with all the saving and (undo=1) restoring, because csh can hardly do that itself
# POSIX awk, run with LC_ALL=C. There is an awk where there is no Python; and none of it is read unless such a file exists.

function fail(what) {
  print "activate: " FILENAME_ ": " what ": its variables are not set" > "/dev/stderr"
  bad = 1
}

# --- JSON: text[at..] ---
function blanks() { while (substr(text, at, 1) ~ /^[ \t\r\n]$/) at++ }

function hex(digits,   i, n) {
  for (i = 1; i <= 4; i++) n = n * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
  return n
}

function utf8(c) {
  if (c < 128) return sprintf("%c", c)
  if (c < 2048) return byte(192 + int(c / 64)) byte(128 + c % 64)
  if (c < 65536) return byte(224 + int(c / 4096)) byte(128 + int(c / 64) % 64) byte(128 + c % 64)
  return byte(240 + int(c / 262144)) byte(128 + int(c / 4096) % 64) byte(128 + int(c / 64) % 64) byte(128 + c % 64)
}
function byte(n) { return sprintf("%c", n) }

function string(   out, c, code) {
  for (at++; at <= length(text); at++) {
    c = substr(text, at, 1)
    if (c == "\"") { at++; return out }
    if (c == "\\") {
      c = substr(text, ++at, 1)
      if (c == "u") {
        if (substr(text, at + 1, 4) !~ /^[0-9a-fA-F][0-9a-fA-F][0-9a-fA-F][0-9a-fA-F]$/) break
        code = hex(substr(text, at + 1, 4))
        at += 4
        if (code >= 55296 && code < 56320 && substr(text, at + 1, 2) == "\\u") {
          code = 65536 + (code - 55296) * 1024 + hex(substr(text, at + 3, 4)) - 56320
          at += 6
        }
        if (code == 0) break
        c = utf8(code)
      } else if (c in escape) c = escape[c]
      else break
    }
    out = out c
  }
  fail("not JSON")
}

# A value; strings as they are, numbers and words as they are spelt, objects and arrays as "". Members of the object at depth
# `wanted` beneath `key` are kept.
function value(depth, keep,   c, name, v, start) {
  blanks()
  c = substr(text, at, 1)
  if (c == "\"") return string()
  if (c == "{" || c == "[") {
    at++
    for (blanks(); substr(text, at, 1) !~ /^[\]}]?$/ && !bad; blanks()) {
      if (c == "{") {
        if (substr(text, at, 1) != "\"") { fail("not JSON"); return "" }
        name = string()
        blanks()
        if (substr(text, at++, 1) != ":") { fail("not JSON"); return "" }
        blanks()
      }
      start = substr(text, at, 1)
      v = value(depth + 1, state && depth == 0 && name == "env_vars")
      if (c == "{" && keep && !bad) {
        if (start ~ /^[{\[]$/) fail(name " is not a string")
        else note(name, v)
      }
      blanks()
      if (substr(text, at, 1) == ",") at++
    }
    if (substr(text, at++, 1) == "") fail("not JSON")
    return ""
  }
  start = at
  while (substr(text, at, 1) ~ /^[-+.0-9A-Za-z]$/) at++
  if (start == at) fail("not JSON")
  return substr(text, start, at - start)
}

function note(name, v) {
  if (name !~ /^[A-Za-z_][A-Za-z0-9_]*$/ || name ~ /^(PATH|CONDA_PREFIX|CONDA_SHLVL|CONDA_DEFAULT_ENV|CONDA_PROMPT_MODIFIER|E?[UG]ID|PPID|BASHOPTS|SHELLOPTS|BASH_VERSINFO)$/)
    print "activate: " FILENAME_ ": variable " name " cannot be set by an environment" > "/dev/stderr"
  else {
    fresh[++news] = name
    value_of[news] = v
  }
}

function read_file(   i) {
  state = FILENAME_ ~ /\/conda-meta\/state$/
  at = 1
  bad = news = 0
  value(0, !state)
  blanks()
  if (!bad && at <= length(text)) fail("not JSON")
  for (i = 1; i <= news && !bad; i++) {
    if (!(fresh[i] in found)) names[++count] = fresh[i]
    found[fresh[i]] = value_of[i]
  }
  text = ""
}

# --- shells ---
function quoted(v) {
  if (shell == "fish") {
    gsub(/\\/, "\\\\", v)
    gsub(/'/, "\\'", v)
  } else {
    gsub(/'/, "'\\''", v)
    if (shell == "csh") {
      gsub(/!/, "\\!", v)
      gsub(/\n/, "'\"$__conda_deploy_newline:q\"'", v)
    }
  }
  return "'" v "'"
}

# Reading an absent element of ENVIRON would make one.
function variable(name) { return name in ENVIRON ? ENVIRON[name] : "" }

function set(name, v) {
  if (shell != "csh") { print "__conda_deploy_set " name " " quoted(v) (shell == "fish" ? ";" : ""); return }
  if (name in ENVIRON) print "setenv __CONDA_SHLVL_" level "_" name " " quoted(ENVIRON[name]) ";"
  print "setenv " name " " quoted(v) ";"
  all = all " " name
}

# In the cache of a node an environment's folder has a digest for a name; what it was called stands in a file of one line.
function name_in_cache(prefix,   digest, line) {
  if (prefix !~ /\/conda-deploy-[^\/]+\/[0-9a-f]+(-w)?$/) return ""
  digest = prefix
  sub(/.*\//, "", digest)
  sub(/-w$/, "", digest)
  if (length(digest) != 16 || (getline line < (prefix "/.conda-deploy/ready")) <= 0) return ""
  if (!match(line, /"name":"[^"\\]+"/)) return ""
  return substr(line, RSTART + 8, RLENGTH - 9)
}

function activate_csh(   prefix, full, name, cached) {
  prefix = full = name = ENVIRON["CONDA_DEPLOY_PREFIX"]
  sub(/.*\//, "", name)
  if (prefix ~ /\/envs\/[^\/]*$/) full = name
  cached = name_in_cache(prefix)
  if (cached != "") full = name = cached
  if (name ~ /[$`\\%!]/) name = "environment"  # csh would expand it in the prompt
  if (level > 0 && variable("CONDA_PREFIX") != "") set("CONDA_PREFIX_" level, ENVIRON["CONDA_PREFIX"])
  if (level > 0) print "setenv CONDA_STACKED_" (level + 1) " true;"
  set("CONDA_PREFIX", prefix)
  set("CONDA_DEFAULT_ENV", full)
  set("CONDA_PROMPT_MODIFIER", "(" name ") ")
  set("CONDA_SHLVL", level + 1)
  print "setenv CONDA_DEPLOY_SET_" (level + 1) " " quoted(all) ";"
}

function undo_csh(   n, i, list, saved, path, own) {
  own = ":" ENVIRON["CONDA_PREFIX"] "/bin:"
  path = ":" variable("PATH") ":"
  if (i = index(path, own)) {
    path = substr(path, 1, i) substr(path, i + length(own))
    print "setenv PATH " quoted(substr(path, 2, length(path) - 2)) ";"
  }
  n = split(variable("CONDA_DEPLOY_SET_" level), list, " ")
  for (i = n; i > 0; i--) {
    if (list[i] !~ /^[A-Za-z_][A-Za-z0-9_]*$/) continue
    saved = "__CONDA_SHLVL_" (level - 1) "_" list[i]
    if (saved in ENVIRON) print "setenv " list[i] " " quoted(ENVIRON[saved]) "; unsetenv " saved ";"
    else print "unsetenv " list[i] ";"
  }
  print "unsetenv CONDA_DEPLOY_SET_" level "; unsetenv CONDA_STACKED_" level ";"
}

BEGIN {
  level = variable("CONDA_SHLVL") ~ /^[0-9]+$/ ? ENVIRON["CONDA_SHLVL"] + 0 : 0
  escape["\""] = "\""; escape["\\"] = "\\"; escape["/"] = "/"
  escape["b"] = "\b"; escape["f"] = "\f"; escape["n"] = "\n"; escape["r"] = "\r"; escape["t"] = "\t"
  if (undo) { undo_csh(); exit }
}
FNR == 1 { if (text != "") read_file(); FILENAME_ = FILENAME }
{ text = text $0 "\n" }
END {
  if (undo) exit
  if (text != "") read_file()
  for (i = 1; i <= count; i++) if (found[names[i]] != "***unset***") set(names[i], found[names[i]])
  if (shell == "csh") activate_csh()
}

// The way back of rewrite_spots: what was stored, from what was deployed. Pure.
#pragma once
#include "entry.h"

namespace cd {

// Gives the stored content of a file with spots that was deployed at `prefix`. `interpreters`: paths of files of the same tree;
// a shebang that finds its program by PATH has lost its folder, which is looked for among them. false: `deployed` is not
// what deploying gives, or what it lost cannot be found. What is returned has the SHA-256 of the entry.
bool restore_spots(const std::string& deployed, const Entry& entry, const std::vector<std::string>& prefixes,
                   const std::string& prefix, const std::vector<Entry>& interpreters, std::string& stored);

// Changes the prefix of deployed content whose spots are all C strings, where it stands: its size stays. false: it has other spots,
// the prefix is not there, or it fills a slot, so that where its string ends cannot be told without the stored hash; the
// content may be changed in part then.
bool repoint_strings(char* data, size_t size, const Entry& entry, const std::vector<std::string>& prefixes,
                     const std::string& from, const std::string& to);

}  // namespace cd

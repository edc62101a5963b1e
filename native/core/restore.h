// The way back of rewrite_spots: what was stored, from what was deployed. Pure.
#pragma once
#include "entry.h"

namespace cd {

// Gives the stored content of a file with spots that was deployed at `prefix`. `interpreters`: paths of files of the same tree;
// a shebang that finds its program by PATH has lost its folder, which is looked for among them. false: `deployed` is not
// what deploying gives, or what it lost cannot be found. What is returned has the SHA-256 of the entry.
bool restore_spots(const std::string& deployed, const Entry& entry, const std::vector<std::string>& prefixes,
                   const std::string& prefix, const std::vector<Entry>& interpreters, std::string& stored);

}  // namespace cd

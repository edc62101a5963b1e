// The entry table, the summary and the seek table of src/archive/FORMAT.md: encode and decode, pure. Decoding refuses with
// ARCHIVE_CORRUPT (or UNSAFE_PATH for names) whatever breaks a rule of that document; it never allocates from a claimed size alone.
#pragma once
#include "entry.h"

namespace cd {

std::string encode_table(const Table& table);
Table decode_table(const uint8_t* data, size_t size);

// The index of a tree deployed at `prefix`, of a table that decode_table gave: such a one obeys the rules, which are not proven again. What
// can be encoded before all files are written is.
class Indexing {
 public:
  // `done`: entries that have their deployed state; that of the others is not looked at, and may be written meanwhile.
  Indexing(const Table& table, const std::string& prefix, const std::vector<char>& done);
  std::string finish() const;  // when all have theirs

 private:
  struct Gap {
    size_t at;  // in `out_`, where the deployed state belongs
    uint32_t entry;
  };
  const std::vector<Entry>& entries_;
  std::string out_;
  std::vector<Gap> gaps_;
};

std::string encode_summary(const Summary& summary);
Summary decode_summary(const uint8_t* data, size_t size);

Digest digest_of(const std::string& encoded, const std::string& json);  // SHA-256(encoded table ‖ json)
void count(Summary& summary, const Entry& entry);                       // one more of the table
// Fills counts and longest_prefix from a table.
Summary summarize(const Table& table, const std::string& encoded, std::string json);

// A safe relative path as FORMAT.md demands it; throws UNSAFE_PATH. `known`: what stands before it was looked at, and ends with a slash.
void check_path(std::string_view path, size_t known = 0);

}  // namespace cd

// The entry table, the summary and the seek table of src/archive/FORMAT.md: encode and decode, pure. Decoding refuses with
// ARCHIVE_CORRUPT (or UNSAFE_PATH for names) whatever breaks a rule of that document; it never allocates from a claimed size alone.
#pragma once
#include "entry.h"

namespace cd {

std::string encode_table(const Table& table);
Table decode_table(const uint8_t* data, size_t size);

std::string encode_summary(const Summary& summary);
Summary decode_summary(const uint8_t* data, size_t size);

// Fills counts and longest_prefix from a table; digest = SHA-256(encoded table ‖ json).
Summary summarize(const Table& table, const std::string& encoded, std::string json);

// A safe relative path as FORMAT.md demands it; throws UNSAFE_PATH.
void check_path(std::string_view path);

}  // namespace cd

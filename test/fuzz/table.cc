// The entry table and the summary: what is read and written again says the same.
#include "table.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  cd::Table table;
  if (fuzz::accepted([&] { table = cd::decode_table(data, size); })) {
    const std::string written = cd::encode_table(table);
    const auto* bytes = reinterpret_cast<const uint8_t*>(written.data());
    fuzz::check(cd::encode_table(cd::decode_table(bytes, written.size())) == written,
                "encode ∘ decode is the identity");
    fuzz::check(written.size() <= size, "the canonical form is the shortest");
    const cd::Summary sums = cd::summarize(table, written, "{}");
    fuzz::check(sums.files <= sums.entries && sums.rewritten <= sums.files, "sums are sums");
  }
  cd::Summary summary;
  if (fuzz::accepted([&] { summary = cd::decode_summary(data, size); }))
    fuzz::check(cd::encode_summary(summary) == std::string(reinterpret_cast<const char*>(data), size),
                "a summary has one form");
  return 0;
}

// JavaScript → core: the entries of an archive, in the pieces of src/packed-entries.ts.
#include "convert_fields.h"

namespace border {
namespace {

constexpr size_t kNumbers = 7;
enum Bits : unsigned {
  kPolicy = 3,
  kData = 4,
  kDigests = 8,
  kPristine = 16,
  kSha256 = 32,
  kInstalled = 64,
  kSame = 128,
  kText = 256,
  kBinary = 512,
  kSpooled = 1024,
  kAll = 2047
};

// Items of a list, one after another.
class Items {
 public:
  Items(Value list, const char* what) : list_(list), size_(length(list, what)), what_(what) {}
  Value next() {
    if (at_ == size_) wrong(list_.Env(), what_, "as many as the entries say");
    return list_.As<Napi::Array>().Get(at_++);
  }

 private:
  Value list_;
  uint32_t size_, at_ = 0;
  const char* what_;
};

// Of the columns of one piece; returns how many there were.
template <class Add>
size_t each_of(const Fields& f, Held& held, Add add) {
  const Napi::Env env = f.env();
  const Napi::Float64Array numbers = floats(f, "numbers");
  const std::vector<std::string> placeholders = texts(f.get("placeholders"), "placeholders");
  TextColumn names(f.get("texts"), "texts"), hashes(f.get("hashes"), "hashes");
  Items data(f.get("data"), "data"), digests(f.get("digests"), "digests"), spooled(f.get("spooled"), "spooled");
  const auto number = [&](size_t i, const char* what, double least, double most) {
    return whole(numbers, i, what, least, most);
  };
  const auto hash = [&] {
    cd::Digest out;
    if (!cd::from_hex(hashes.next(), out)) wrong(env, "hashes", "64 hexadecimal digits each");
    return out;
  };
  const size_t count = numbers.ElementLength() / kNumbers;
  for (size_t i = 0; i < count; ++i) {
    const Napi::HandleScope scope(env);
    cd::PackEntry e;
    const size_t at = kNumbers * i;
    e.entry.path = names.next();
    e.entry.target = names.next();
    e.unless_rewritten = names.next();
    e.source = names.next();
    e.entry.kind = static_cast<cd::Kind>(number(at, "kind", 0, 3));
    e.entry.mode = static_cast<uint32_t>(number(at + 1, "mode", 0, 07777));
    e.entry.mtime = number(at + 2, "mtime", -0x1p53, 0x1p53);
    e.entry.size = static_cast<uint64_t>(number(at + 3, "size", 0, 0x1p53));
    e.slot = static_cast<uint32_t>(number(at + 4, "slot", 0, UINT32_MAX));
    const auto bits = static_cast<unsigned>(number(at + 5, "bits", 0, kAll));
    e.policy = static_cast<cd::Policy>(std::min(bits & kPolicy, 2u));
    e.pristine = bits & kPristine;
    e.in_memory = bits & kData;
    e.spooled = bits & kSpooled;
    if (e.spooled) e.spool_offset = natural(spooled.next(), "spooled");
    if (bits & kDigests)
      each(digests.next(), "digests", [&](Value spot, uint32_t) {
        const Fields s(spot, "a digest");
        e.digests.emplace_back(natural(s.get("offset"), "offset"), s.text("path"));
      });
    if (bits & kSha256) e.has_sha256 = true, e.sha256 = hash();
    if (bits & kInstalled) e.has_in_prefix = true, e.in_prefix = bits & kSame ? e.sha256 : hash();
    if (bits & (kText | kBinary)) e.mode = bits & kBinary ? 1 : 0;
    const auto placeholder =
        static_cast<size_t>(number(at + 6, "placeholder", 0, static_cast<double>(placeholders.size())));
    if (placeholder > 0) e.placeholder = placeholders[placeholder - 1];
    cd::Bytes* const content = add(std::move(e));
    if (bits & kData) held.add(data.next(), "data", content);
  }
  if (!names.is_done()) wrong(env, "texts", "four for each entry");
  if (!hashes.is_done()) wrong(env, "hashes", "as many as the entries say");
  return count;
}

// `add` takes an entry, and returns where its content is to be found if it is in memory.
template <class Entries, class Add>
void each_entry(Value pieces, Held& held, Entries& out, Add add) {
  const Fields f(pieces, "entries");
  const size_t length = natural(f.get("length"), "length", UINT32_MAX);
  out.reserve(length);
  const Value next = f.get("next");
  if (!next.IsFunction()) wrong(f.env(), "next", "a function");
  while (out.size() < length) {
    const Napi::HandleScope scope(f.env());
    const Fields columns(next.As<Napi::Function>().Call(pieces, {}), "columns");
    if (each_of(columns, held, add) == 0 || out.size() > length)
      wrong(f.env(), "columns", "those of as many entries as were told");
  }
}

}  // namespace

void pack_entries(Value pieces, Held& held, cd::PackEntries& out) {
  each_entry(pieces, held, out, [&](cd::PackEntry&& e) { return out.push_back(e); });
}

void pack_entries(Value pieces, Held& held, std::vector<cd::PackEntry>& out) {
  // Contents are referred to by where an entry stands: there is room for as many as were told.
  each_entry(pieces, held, out, [&](cd::PackEntry&& e) {
    if (out.size() == out.capacity()) wrong(pieces.Env(), "columns", "those of as many entries as were told");
    out.push_back(std::move(e));
    return &out.back().data;
  });
}

}  // namespace border

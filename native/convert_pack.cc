// JavaScript → core: the entries of an archive, in the columns of src/packed-entries.ts.
#include "convert_fields.h"

namespace border {
namespace {

constexpr size_t kTexts = 4, kNumbers = 7, kDigits = 64;
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
  kAll = 1023
};

// What stands one behind another, a piece at a time; ends exactly when it was all taken.
class Texts {
 public:
  Texts(Value value, const char* what) : env_(value.Env()), what_(what) {
    size_t size = 0;
    if (napi_get_value_string_utf16(env_, value, nullptr, 0, &size) != napi_ok) wrong(env_, what, "a string");
    all_.resize(size + 1);  // with a NUL behind the last one too
    must(env_, napi_get_value_string_utf16(env_, value, &all_[0], all_.size(), &size));
  }
  std::string next() {
    if (at_ >= all_.size()) wrong(env_, what_, "four for each entry");
    const size_t end = all_.find(u'\0', at_);
    std::string out = utf8(env_, &all_[at_], end - at_, what_);
    at_ = end + 1;
    return out;
  }
  bool is_done() const { return at_ == all_.size(); }

 private:
  napi_env env_;
  const char* what_;
  std::u16string all_;
  size_t at_ = 0;
};

class Hashes {
 public:
  explicit Hashes(Value value) : env_(value.Env()), all_(text(value, "hashes")) {}
  cd::Digest next() {
    cd::Digest out;
    if (all_.size() - at_ < kDigits || !cd::from_hex(std::string_view(all_).substr(at_, kDigits), out))
      wrong(env_, "hashes", "64 hexadecimal digits each");
    at_ += kDigits;
    return out;
  }
  bool is_done() const { return at_ == all_.size(); }

 private:
  napi_env env_;
  std::string all_;
  size_t at_ = 0;
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

}  // namespace

std::vector<cd::PackEntry> pack_entries(Value columns, Held& held) {
  const Napi::Env env = columns.Env();
  const Fields f(columns, "entries");
  const std::vector<std::string> placeholders = texts(f.get("placeholders"), "placeholders");
  Texts names(f.get("texts"), "texts");
  Hashes hashes(f.get("hashes"));
  Items data(f.get("data"), "data"), digests(f.get("digests"), "digests");
  const Value list = f.get("numbers");
  if (!list.IsTypedArray() || list.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array)
    wrong(env, "numbers", "a Float64Array");
  const Napi::Float64Array numbers = list.As<Napi::Float64Array>();
  // Read by number each time: what is read of a list in between may be code of the caller, and move a buffer.
  const auto whole = [&](size_t i, const char* what, double least, double most) {
    const double number = numbers[i];
    if (!(number >= least && number <= most) || number != std::floor(number))
      wrong(env, what, "an integer in its bounds");
    return static_cast<int64_t>(number);
  };
  std::vector<cd::PackEntry> out(numbers.ElementLength() / kNumbers);
  for (size_t i = 0; i < out.size(); ++i) {
    const Napi::HandleScope scope(env);
    cd::PackEntry& e = out[i];
    const size_t at = kNumbers * i;
    e.entry.path = names.next();
    e.entry.target = names.next();
    e.unless_rewritten = names.next();
    e.source = names.next();
    e.entry.kind = static_cast<cd::Kind>(whole(at, "kind", 0, 3));
    e.entry.mode = static_cast<uint32_t>(whole(at + 1, "mode", 0, 07777));
    e.entry.mtime = whole(at + 2, "mtime", -0x1p53, 0x1p53);
    e.entry.size = static_cast<uint64_t>(whole(at + 3, "size", 0, 0x1p53));
    e.slot = static_cast<uint32_t>(whole(at + 4, "slot", 0, UINT32_MAX));
    const auto bits = static_cast<unsigned>(whole(at + 5, "bits", 0, kAll));
    e.policy = static_cast<cd::Policy>(std::min(bits & kPolicy, 2u));
    e.pristine = bits & kPristine;
    if (bits & kData) {
      e.in_memory = true;
      held.add(data.next(), "data", &e.data);
    }
    if (bits & kDigests)
      each(digests.next(), "digests", [&](Value spot, uint32_t) {
        const Fields s(spot, "a digest");
        e.digests.emplace_back(natural(s.get("offset"), "offset"), s.text("path"));
      });
    if (bits & kSha256) e.has_sha256 = true, e.sha256 = hashes.next();
    if (bits & kInstalled) e.has_in_prefix = true, e.in_prefix = bits & kSame ? e.sha256 : hashes.next();
    if (bits & (kText | kBinary)) e.mode = bits & kBinary ? 1 : 0;
    const auto placeholder =
        static_cast<size_t>(whole(at + 6, "placeholder", 0, static_cast<double>(placeholders.size())));
    if (placeholder > 0) e.placeholder = placeholders[placeholder - 1];
  }
  if (!out.empty() && !names.is_done()) wrong(env, "texts", "four for each entry");
  if (!hashes.is_done()) wrong(env, "hashes", "as many as the entries say");
  return out;
}

}  // namespace border

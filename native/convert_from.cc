// JavaScript → core.
#include "convert_fields.h"

namespace border {

std::string utf8(napi_env env, const char16_t* s, size_t size, const char* what) {
  // Nearly every text is ASCII: written without asking at every character whether there is room.
  std::string out(size, '\0');
  size_t plain = 0;
  for (; plain < size && s[plain] != 0 && s[plain] < 0x80; ++plain) out[plain] = static_cast<char>(s[plain]);
  out.resize(plain);
  const auto put = [&out](std::initializer_list<char32_t> bytes) {
    for (const char32_t byte : bytes) out.push_back(static_cast<char>(byte));
  };
  for (size_t i = plain; i < size; ++i) {
    const char32_t c = s[i];
    if (c == 0) wrong(env, what, "free of NUL");
    if (c < 0x80) {
      put({c});
    } else if (c < 0x800) {
      put({0xC0 | c >> 6, 0x80 | (c & 0x3F)});
    } else if (c >= 0xD800 && c < 0xDC00 && i + 1 < size && s[i + 1] >= 0xDC00 && s[i + 1] < 0xE000) {
      const char32_t point = 0x10000 + ((c - 0xD800) << 10) + (s[++i] - 0xDC00u);
      put({0xF0 | point >> 18, 0x80 | (point >> 12 & 0x3F), 0x80 | (point >> 6 & 0x3F), 0x80 | (point & 0x3F)});
    } else if (c >= 0xDC80 && c <= 0xDCFF) {
      put({c - 0xDC00});
    } else if (c >= 0xD800 && c < 0xE000) {
      wrong(env, what, "free of lone surrogates other than U+DC80..U+DCFF");
    } else {
      put({0xE0 | c >> 12, 0x80 | (c >> 6 & 0x3F), 0x80 | (c & 0x3F)});
    }
  }
  return out;
}

namespace {

constexpr const char* kKinds[] = {"directory", "file", "symlink", "hardlink"};
constexpr const char* kModes[] = {"text", "binary"};
constexpr const char* kCodecs[] = {"zstd", "gzip", "stored"};

}  // namespace

cd::Entry entry(const Fields& f, const EntryKeys& k, bool sized) {
  cd::Entry out;
  out.path = f.text(k.path);
  out.kind = static_cast<cd::Kind>(choice(f.get(k.kind), "kind", kKinds));
  out.mode = static_cast<uint32_t>(natural(f.get(k.mode), "mode", 07777));
  out.mtime = integer(f.get(k.mtime), "mtime");
  if (sized) out.size = natural(f.get(k.size), "size");
  if (const Value target = f.get(k.target); !target.IsUndefined()) out.target = text(target, "target");
  return out;
}

std::vector<cd::Entry> plain_nodes(Value columns) {
  std::vector<cd::Entry> out;
  if (columns.IsUndefined()) return out;
  const Fields f(columns, "nodes");
  const Napi::Float64Array numbers = floats(f, "numbers");
  TextColumn names(f.get("texts"), "texts");
  out.resize(numbers.ElementLength() / 3);
  for (size_t i = 0; i < out.size(); ++i) {
    cd::Entry& e = out[i];
    e.path = names.next();
    e.target = names.next();
    e.kind = static_cast<cd::Kind>(whole(numbers, 3 * i, "kind", 0, 3));
    if (e.kind == cd::Kind::file) wrong(f.env(), "kind", "that of a link or a directory");
    e.mode = static_cast<uint32_t>(whole(numbers, 3 * i + 1, "mode", 0, 07777));
    e.mtime = whole(numbers, 3 * i + 2, "mtime", -0x1p53, 0x1p53);
  }
  if (!names.is_done()) wrong(f.env(), "texts", "two for each node");
  return out;
}

void Held::add(Value value, const char* what, cd::Bytes* bytes) {
  byte_array(value, what);
  borrowed_.emplace_back(array_.Length(), bytes);
  keep(value);
}

void Held::keep(Value value) { array_.Set(array_.Length(), value); }

void Held::take() {
  for (const auto& [index, bytes] : borrowed_) {
    const Napi::HandleScope scope(array_.Env());
    const auto view = static_cast<Value>(array_[index]).As<Napi::Uint8Array>();
    bytes->data = view.Data();
    bytes->size = view.ByteLength();
  }
}

std::string text(Value value, const char* what) {
  const napi_env env = value.Env();
  char16_t buffer[512];
  size_t size = 0;
  if (napi_get_value_string_utf16(env, value, buffer, 512, &size) != napi_ok) wrong(env, what, "a string");
  if (size + 1 < 512) return utf8(env, buffer, size, what);
  must(env, napi_get_value_string_utf16(env, value, nullptr, 0, &size));  // perhaps it was cut off
  // A long text, of a megabyte sometimes, is nearly always ASCII: as many bytes as characters say so.
  size_t bytes = 0;
  must(env, napi_get_value_string_utf8(env, value, nullptr, 0, &bytes));
  if (bytes == size) {
    std::string plain(size + 1, '\0');
    must(env, napi_get_value_string_latin1(env, value, &plain[0], plain.size(), &bytes));
    plain.resize(size);
    if (plain.find('\0') != std::string::npos) wrong(env, what, "free of NUL");
    return plain;
  }
  std::vector<char16_t> whole(size + 1);
  must(env, napi_get_value_string_utf16(env, value, whole.data(), whole.size(), &size));
  return utf8(env, whole.data(), size, what);
}

bool flag(Value value, const char* what) {
  if (!value.IsBoolean()) wrong(value.Env(), what, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::atomic<uint64_t>* counters(Value value, Held& held) {
  static_assert(sizeof(std::atomic<uint64_t>) == sizeof(uint64_t) && std::atomic<uint64_t>::is_always_lock_free,
                "counters are shared as they are");
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_biguint64_array ||
      value.As<Napi::TypedArray>().ElementLength() < 4)
    wrong(value.Env(), "counters", "a BigUint64Array of 4");
  held.keep(value);
  return reinterpret_cast<std::atomic<uint64_t>*>(value.As<Napi::BigUint64Array>().Data());
}

std::unique_ptr<cd::ScanJob> scan_job(Value value) {
  const Fields f(value, "the job");
  const Value outside = f.get("outside");
  return std::make_unique<cd::ScanJob>(cd::ScanJob{f.text("root"), texts(f.get("skip"), "skip"), f.threads(),
                                                   !outside.IsUndefined() && flag(outside, "outside")});
}

// What the two jobs share that make an archive. `output`: a path, or the number of an open descriptor.
template <class Job>
static void archive_job(const Fields& f, Job& job, Held& held) {
  const Value output = f.get("output"), codec = f.get("codec"), dest = f.get("dest");
  if (output.IsNumber())
    job.descriptor = static_cast<int>(natural(output, "output", INT32_MAX));
  else if (!output.IsNull())
    job.output = text(output, "output");
  if (!codec.IsUndefined()) job.codec = static_cast<cd::Codec>(choice(codec, "codec", kCodecs));
  if (!dest.IsUndefined()) job.dest = text(dest, "dest");
  job.prefixes = texts(f.get("prefixes"), "prefixes");
  job.level = static_cast<int>(integer(f.get("level"), "level"));
  job.frame_bytes = natural(f.get("frameBytes"), "frameBytes");
  job.threads = f.threads();
  pack_entries(f.get("entries"), held, job.entries);
}

std::unique_ptr<cd::PackJob> pack_job(Value value, Held& held) {
  const Fields f(value, "the job");
  auto job = std::make_unique<cd::PackJob>();
  job->root = f.text("root");
  job->marker = f.text("marker");
  if (const Value v = f.get("arcroot"); !v.IsUndefined()) job->arcroot = text(v, "arcroot");
  archive_job(f, *job, held);
  return job;
}

std::unique_ptr<cd::SealJob> seal_job(Value value, Held& held) {
  const Fields f(value, "the job");
  auto job = std::make_unique<cd::SealJob>();
  job->json = f.text("json");
  archive_job(f, *job, held);
  if (const Value v = f.get("spool"); !v.IsUndefined()) job->spool = static_cast<int>(natural(v, "spool", INT32_MAX));
  held.add(f.get("draft"), "draft", &job->draft);
  return job;
}

std::unique_ptr<cd::MaterializeJob> materialize_job(Value value, Held& held) {
  const Napi::Env env = value.Env();
  const Fields f(value, "the job");
  auto job = std::make_unique<cd::MaterializeJob>();
  job->root = f.text("root");
  job->prefix = f.text("prefix");
  job->read_only = flag(f.get("readOnly"), "readOnly");
  job->threads = f.threads();
  const Value list = f.get("entries");
  const EntryKeys keys(env);
  const Key data(env, "data"), source(env, "source"), rewrites_key(env, "rewrites");
  std::vector<cd::Entry> nodes = plain_nodes(f.get("nodes"));
  const size_t count = length(list, "entries");
  job->entries.resize(count + nodes.size());  // once: `held` knows where each has its data
  for (size_t i = 0; i < nodes.size(); ++i) job->entries[count + i].entry = std::move(nodes[i]);
  each(list, "entries", [&](Value item, uint32_t i) {
    const Fields g(item, "an entry");
    cd::MaterializeEntry& e = job->entries.at(i);
    e.entry = entry(g, keys, false);
    if (const Value v = g.get(rewrites_key); !v.IsUndefined()) e.rewrites = rewrites(v);
    if (const Value v = g.get(data); !v.IsUndefined()) {
      e.in_memory = true;
      held.add(v, "data", &e.data);
    }
    if (const Value v = g.get(source); !v.IsUndefined()) e.source = text(v, "source");
  });
  return job;
}

std::unique_ptr<cd::HashJob> hash_job(Value value) {
  const Fields f(value, "the job");
  const Value root = f.get("root");
  return std::make_unique<cd::HashJob>(
      cd::HashJob{root.IsNull() ? "" : text(root, "root"), texts(f.get("paths"), "paths"), f.threads()});
}

std::unique_ptr<cd::VerifyJob> verify_job(Value value) {
  const Fields f(value, "the job");
  const Value root = f.get("root");
  return std::make_unique<cd::VerifyJob>(
      cd::VerifyJob{root.IsNull() ? "" : text(root, "root"), f.text("index"), f.threads()});
}

std::pair<std::string, unsigned> remove_job(Value value) {
  const Fields f(value, "the job");
  return {f.text("root"), f.threads()};
}

std::vector<cd::Rewrite> rewrites(Value value) {
  std::vector<cd::Rewrite> out;
  each(value, "rewrites", [&](Value item, uint32_t) {
    const Fields f(item, "a rewrite");
    out.push_back({f.text("prefix"), choice(f.get("mode"), "mode", kModes) == 0});
  });
  return out;
}

}  // namespace border

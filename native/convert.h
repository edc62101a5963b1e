// JavaScript values ↔ the structs of the core. Strings cross as UTF-16: bytes that are not UTF-8 stand as U+DC80..U+DCFF there.
// Whatever has the wrong type is a TypeError naming the field; buffers are borrowed, never copied.
#pragma once
#include <napi.h>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>
#include "jobs.h"
#include "tracer.h"

namespace border {

// Buffers of a job: kept alive by one JavaScript array. Their addresses are taken last, after all conversions (which may run
// code of the caller, and so move a buffer), and written where `bytes` points then.
class Held {
 public:
  explicit Held(Napi::Env env) : array_(Napi::Array::New(env)) {}
  void add(Napi::Value value, const char* what, cd::Bytes* bytes);
  void keep(Napi::Value value);
  void take();
  Napi::Array array() const { return array_; }

 private:
  Napi::Array array_;
  std::vector<std::pair<uint32_t, cd::Bytes*>> borrowed_;
};

std::string text(Napi::Value value, const char* what);
std::string utf8(napi_env env, const char16_t* text, size_t size, const char* what);
bool flag(Napi::Value value, const char* what);
// The memory of the shared counters (see `Counters` in src/native.ts), held by `held`.
std::atomic<uint64_t>* counters(Napi::Value value, Held& held);

void pack_entries(Napi::Value pieces, Held& held, cd::PackEntries& out);
void pack_entries(Napi::Value pieces, Held& held, std::vector<cd::PackEntry>& out);
std::unique_ptr<cd::ScanJob> scan_job(Napi::Value value);
std::unique_ptr<cd::PackJob> pack_job(Napi::Value value, Held& held);
std::unique_ptr<cd::SealJob> seal_job(Napi::Value value, Held& held);
std::unique_ptr<cd::ExtractJob> extract_job(Napi::Value value);
std::unique_ptr<cd::MaterializeJob> materialize_job(Napi::Value value, Held& held);
std::unique_ptr<cd::DecodeJob> decode_job(Napi::Value value);
// The files of an answer to a batch, and whether it has to wait for the batches before.
std::pair<std::vector<cd::Answer::File>, bool> answer(Napi::Value value, const cd::Batch& batch);
std::unique_ptr<cd::UnpackJob> unpack_job(Napi::Value value);
std::unique_ptr<cd::LinkJob> link_job(Napi::Value value, Held& held);
// Whether a text may be twice in columns, of which each holds many: by their hashes.
bool any_twice(Napi::Value columns);
std::unique_ptr<cd::ChangeJob> change_job(Napi::Value value);
std::unique_ptr<cd::LookJob> look_job(Napi::Value value);
std::unique_ptr<cd::HashJob> hash_job(Napi::Value value);
std::unique_ptr<cd::VerifyJob> verify_job(Napi::Value value);
std::pair<std::string, unsigned> remove_job(Napi::Value value);
std::unique_ptr<cd::TraceJob> trace_job(Napi::Value value);
std::vector<cd::Rewrite> rewrites(Napi::Value value);
// The table of a deployed tree, sorted: prefixes as the spots name them, then `prefix`. `files` and `nodes`: further entries in columns, or undefined.
// What is answered makes it, once, on any thread: sorting tens of thousands of entries, JavaScript need not wait for. What does not fit
// together is an std::invalid_argument then, and a TypeError to JavaScript.
std::function<cd::Table()> table(Napi::Value entries, const std::string& prefix, Napi::Value files, Napi::Value nodes);

// Texts one behind another, as one string of JavaScript: of one byte a character as long as all are ASCII, since pieces of it are
// hashed and compared there. As `bytes_` and `wide_` count alike then, ends that were told before stay true.
class Joined {
 public:
  void reserve(size_t bytes) { bytes_.reserve(bytes); }
  void add(const std::string& text);
  uint32_t end() const { return static_cast<uint32_t>(wide_.size() + bytes_.size()); }
  napi_value value(napi_env env) const;

 private:
  std::string bytes_;
  std::u16string wide_;  // instead, from the first text on that needs it
};

Napi::Value to_js(Napi::Env env, const std::string& text);
Napi::Value to_js(Napi::Env env, std::vector<cd::Scanned>&& found);
Napi::Value to_js(Napi::Env env, const cd::Packed& packed);
Napi::Value to_js(Napi::Env env, const cd::Sealed& sealed);
Napi::Value to_js(Napi::Env env, const cd::Extracted& extracted);
Napi::Value to_js(Napi::Env env, const cd::Materialized& materialized);
Napi::Value to_js(Napi::Env env, const cd::Batch& batch);
Napi::Value to_js(Napi::Env env, const cd::Decoded& decoded);
Napi::Value to_js(Napi::Env env, const std::vector<cd::Unpacked>& unpacked);
Napi::Value to_js(Napi::Env env, const cd::Linked& linked);
Napi::Value to_js(Napi::Env env, const cd::Changed& changed);
Napi::Value to_js(Napi::Env env, const std::vector<cd::There>& found);
Napi::Value to_js(Napi::Env env, const std::vector<cd::Hashed>& hashed);
Napi::Value to_js(Napi::Env env, const cd::Verified& verified);
Napi::Value to_js(Napi::Env env, const cd::Removed& removed);
Napi::Value to_js(Napi::Env env, const cd::Traced& traced);
Napi::Value to_js(Napi::Env env, const cd::Index& index, bool list);
// Error & {code, path?, errno?, syscall?, paths?}; without a code for what is no Failure, which is an error of ours.
Napi::Error to_error(Napi::Env env, const std::exception& failure);

}  // namespace border

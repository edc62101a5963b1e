// The border: one function for each member of NativeBinding in src/native.ts, nothing else. Arguments are converted first,
// addresses of buffers taken last; every C++ exception becomes a JavaScript one here or in job.h.
#include <zstd.h>
#include <climits>  // tells which C library this is
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif
#include "convert.h"
#include "failure.h"
#include "job.h"
#include "receiver.h"
#include "sha256.h"
#include "table.h"

namespace border {
namespace {

using Napi::CallbackInfo;
using Napi::Value;

template <class Body>
Value guarded(Napi::Env env, Body body) {
  try {
    return body();
  } catch (const cd::Failure& failure) { throw to_error(env, failure); }
}

// A job of the form Result f(const Plan&, Progress): `read` converts the plan, `run` does it.
template <class Read, class Run>
Value start(const CallbackInfo& info, Read read, Run run) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    Held held(env);
    using Plan = decltype(read(info[0], held));
    const std::shared_ptr<Plan> plan = std::make_shared<Plan>(read(info[0], held));
    const cd::Progress progress(counters(info[1], held));
    held.take();
    using Result = decltype(run(*plan, progress));
    return Job<Result>::start(
        env, held.array(), [plan, progress, run] { return run(*plan, progress); },
        [](Napi::Env e, Result&& result) { return to_js(e, std::move(result)); });
  });
}

Value scan(const CallbackInfo& info) {
  return start(
      info, [](Value v, Held&) { return scan_job(v); },
      [](const auto& job, cd::Progress p) { return cd::scan(*job, p); });
}

Value pack(const CallbackInfo& info) {
  return start(info, pack_job, [](const auto& job, cd::Progress p) { return cd::pack(std::move(*job), p); });
}

Value seal(const CallbackInfo& info) {
  return start(info, seal_job, [](const auto& job, cd::Progress p) { return cd::seal(*job, p); });
}

Value extract(const CallbackInfo& info) {
  return start(
      info, [](Value v, Held&) { return extract_job(v); },
      [](const auto& job, cd::Progress p) { return cd::extract(*job, p); });
}

Value materialize(const CallbackInfo& info) {
  return start(info, materialize_job, [](const auto& job, cd::Progress p) { return cd::materialize(*job, p); });
}

Value hash(const CallbackInfo& info) {
  return start(
      info, [](Value v, Held&) { return hash_job(v); },
      [](const auto& job, cd::Progress p) { return cd::hash_files(*job, p); });
}

Value unpack(const CallbackInfo& info) {
  return start(
      info, [](Value v, Held&) { return unpack_job(v); },
      [](const auto& job, cd::Progress p) { return cd::unpack(*job, p); });
}

Value link(const CallbackInfo& info) {
  return start(info, link_job, [](const auto& job, cd::Progress p) { return cd::link_packages(*job, p); });
}

Value change(const CallbackInfo& info) {
  return start(
      info, [](Value v, Held&) { return change_job(v); },
      [](const auto& job, cd::Progress p) { return cd::change_tree(*job, p); });
}

Value look(const CallbackInfo& info) {
  return start(
      info, [](Value v, Held&) { return look_job(v); },
      [](const auto& job, cd::Progress p) { return cd::look(*job, p); });
}

Value decode(const CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    Held held(env);
    const std::shared_ptr<cd::DecodeJob> job = decode_job(info[0]);
    const cd::Progress progress(counters(info[1], held));
    if (!info[2].IsArray() || info[2].As<Napi::Array>().Length() == 0)
      throw Napi::TypeError::New(env, "buffers must be an array of buffers");
    if (!info[3].IsFunction()) throw Napi::TypeError::New(env, "receive must be a function");
    const Napi::Array buffers = info[2].As<Napi::Array>();
    std::vector<cd::Bytes> memory(buffers.Length());
    for (uint32_t i = 0; i < memory.size(); ++i) held.add(static_cast<Value>(buffers[i]), "a buffer", &memory[i]);
    held.take();
    return JsReceiver::start(env, job, progress, memory, held.array(), info[3].As<Napi::Function>());
  });
}

Value verify(const CallbackInfo& info) {
  return start(
      info, [](Value v, Held&) { return verify_job(v); },
      [](const auto& job, cd::Progress p) { return cd::verify(*job, p); });
}

Value remove(const CallbackInfo& info) {
  return start(
      info, [](Value v, Held&) { return remove_job(v); },
      [](const auto& job, cd::Progress p) { return cd::remove_tree(job.first, job.second, p); });
}

Value trace(const CallbackInfo& info) {
  return start(
      info, [](Value v, Held&) { return trace_job(v); },
      [](const auto& job, cd::Progress p) { return cd::trace(*job, p); });
}

Value index(const CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const std::string path = text(info[0], "path");
    const bool list = flag(info[1], "list");
    return Job<std::shared_ptr<cd::Index>>::start(
        env, Napi::Array::New(env), [path, list] { return std::shared_ptr<cd::Index>(cd::index(path, list)); },
        [list](Napi::Env e, const std::shared_ptr<cd::Index>& found) {
          return found ? to_js(e, *found, list) : e.Null();
        });
  });
}

Value encode(const CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const auto made = table(info[0], text(info[1], "prefix"), info[2], info[3]);
    return Job<std::string>::start(
        env, Napi::Array::New(env), [made] { return cd::encode_table(made()); },
        [](Napi::Env e, const std::string& bytes) { return Napi::Buffer<char>::Copy(e, bytes.data(), bytes.size()); });
  });
}

Value rewrite(const CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Value {
    const std::vector<cd::Rewrite> wanted = rewrites(info[1]);
    const std::string prefix = text(info[2], "prefix");
    cd::Bytes bytes;
    Held held(env);
    held.add(info[0], "data", &bytes);
    held.take();
    std::string out;
    std::vector<cd::Spot> spots;
    cd::Rewriting done;
    if (!cd::rewrite_search({reinterpret_cast<const char*>(bytes.data), bytes.size}, wanted, prefix, out, spots, done))
      return env.Null();
    return Napi::Buffer<char>::Copy(env, out.data(), out.size());
  });
}

Value rename(const CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const std::string from = text(info[0], "from"), to = text(info[1], "to"), how = text(info[2], "how");
    if (how != "no-replace" && how != "exchange")
      throw Napi::TypeError::New(env, "how must be one of no-replace, exchange");
    return Napi::Boolean::New(env, how == "exchange" ? cd::rename_exchange(from, to) : cd::rename_no_replace(from, to));
  });
}

Value sha256(const CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    cd::Bytes bytes;
    Held held(env);
    held.add(info[0], "data", &bytes);
    held.take();
    return Napi::String::New(env, cd::hex(cd::sha256(bytes.data, bytes.size)));
  });
}

Value repeats(const CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] { return Napi::Boolean::New(env, any_twice(info[0])); });
}

Value pipe(const CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const auto [read, write] = cd::make_pipe();
    Napi::Object out = Napi::Object::New(env);
    out.Set("read", read);
    out.Set("write", write);
    return out;
  });
}

Value lock(const CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Value {
    const std::string path = text(info[0], "path"), how = text(info[1], "how");
    if (how != "shared" && how != "exclusive") throw Napi::TypeError::New(env, "how must be one of shared, exclusive");
    const unsigned mode = info[2].IsNumber() ? info[2].As<Napi::Number>().Uint32Value() & 0666 : 0644;
    const int descriptor = cd::lock_file(path, how == "exclusive", mode);
    return descriptor < 0 ? env.Null() : Napi::Number::New(env, descriptor);
  });
}

Value unlock(const CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    if (!info[0].IsNumber()) throw Napi::TypeError::New(env, "descriptor must be a number");
    cd::unlock_file(info[0].As<Napi::Number>().Int32Value());
    return env.Undefined();
  });
}

Value features(const CallbackInfo& info) {
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("zstd", ZSTD_versionString());
  out.Set("sha256", cd::sha256_is_hardware() ? "hardware" : "portable");
#ifdef __GLIBC__
  out.Set("glibc", gnu_get_libc_version());
#else
  out.Set("glibc", info.Env().Null());
#endif
  return out;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("scan", Napi::Function::New(env, scan, "scan"));
  exports.Set("pack", Napi::Function::New(env, pack, "pack"));
  exports.Set("seal", Napi::Function::New(env, seal, "seal"));
  exports.Set("extract", Napi::Function::New(env, extract, "extract"));
  exports.Set("materialize", Napi::Function::New(env, materialize, "materialize"));
  exports.Set("unpack", Napi::Function::New(env, unpack, "unpack"));
  exports.Set("link", Napi::Function::New(env, link, "link"));
  exports.Set("change", Napi::Function::New(env, change, "change"));
  exports.Set("look", Napi::Function::New(env, look, "look"));
  exports.Set("hash", Napi::Function::New(env, hash, "hash"));
  exports.Set("decode", Napi::Function::New(env, decode, "decode"));
  exports.Set("verify", Napi::Function::New(env, verify, "verify"));
  exports.Set("remove", Napi::Function::New(env, remove, "remove"));
  exports.Set("trace", Napi::Function::New(env, trace, "trace"));
  exports.Set("index", Napi::Function::New(env, index, "index"));
  exports.Set("encode", Napi::Function::New(env, encode, "encode"));
  exports.Set("rewrite", Napi::Function::New(env, rewrite, "rewrite"));
  exports.Set("rename", Napi::Function::New(env, rename, "rename"));
  exports.Set("repeats", Napi::Function::New(env, repeats, "repeats"));
  exports.Set("sha256", Napi::Function::New(env, sha256, "sha256"));
  exports.Set("pipe", Napi::Function::New(env, pipe, "pipe"));
  exports.Set("lock", Napi::Function::New(env, lock, "lock"));
  exports.Set("unlock", Napi::Function::New(env, unlock, "unlock"));
  exports.Set("features", Napi::Function::New(env, features, "features"));
  return exports;
}

}  // namespace
}  // namespace border

static Napi::Object conda_deploy_init(Napi::Env env, Napi::Object exports) { return border::init(env, exports); }
NODE_API_MODULE(conda_deploy, conda_deploy_init)

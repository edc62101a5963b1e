// A decoding job: batches of members in columns, and the answers to them.
#include "convert_fields.h"

namespace border {

std::unique_ptr<cd::DecodeJob> decode_job(Value value) {
  const Fields f(value, "the job");
  auto job = std::make_unique<cd::DecodeJob>();
  job->archive = f.text("archive");
  job->container = f.text("container");
  job->command = texts(f.get("command"), "command");
  job->root = f.text("root");
  job->prefix = f.text("prefix");
  job->read_only = flag(f.get("readOnly"), "readOnly");
  job->most_bytes = natural(f.get("mostBytes"), "mostBytes");
  job->most_members = natural(f.get("mostMembers"), "mostMembers");
  job->threads = f.threads();
  return job;
}

std::pair<std::vector<cd::Answer::File>, bool> answer(Value value, const cd::Batch& batch) {
  const Fields f(value, "an answer");
  const Value list = f.get("files");
  if (!list.IsTypedArray() || list.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array)
    wrong(value.Env(), "files", "a Uint32Array");
  const Napi::Uint32Array numbers = list.As<Napi::Uint32Array>();
  const Value named = f.get("paths");
  const std::string paths = named.IsNull() ? "" : text(named, "paths");
  std::vector<cd::Answer::File> files(numbers.ElementLength() / 2);
  size_t at = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    files[i].member = numbers[2 * i];
    files[i].mode = numbers[2 * i + 1];
    if (named.IsNull()) {
      if (files[i].member >= batch.members.size()) wrong(value.Env(), "files", "numbers of members");
      files[i].path = batch.members[files[i].member].entry.path;
      continue;
    }
    const size_t end = paths.find("//", at);
    if (end == std::string::npos) wrong(value.Env(), "paths", "one for each file, closed by two slashes");
    files[i].path = paths.substr(at, end - at);
    at = end + 2;
  }
  each(f.get("rewrites"), "rewrites", [&](Value item, uint32_t) {
    const Fields g(item, "rewrites of a file");
    const uint64_t file = natural(g.get("file"), "file", UINT32_MAX);
    if (file >= files.size()) wrong(value.Env(), "file", "a number of a file");
    files[file].rewrites = rewrites(g.get("rewrites"));
  });
  return {std::move(files), flag(f.get("alone"), "alone")};
}

Value to_js(Napi::Env env, const cd::Batch& batch) {
  constexpr size_t kNumbers = 5;
  const size_t count = batch.members.size();
  Napi::Uint32Array ends = Napi::Uint32Array::New(env, 2 * count);
  Napi::Float64Array numbers = Napi::Float64Array::New(env, kNumbers * count);
  Napi::Array detached = Napi::Array::New(env), parts = Napi::Array::New(env);
  Joined names;
  for (size_t i = 0; i < count; ++i) {
    const cd::BatchMember& m = batch.members[i];
    names.add(m.entry.path);
    ends[2 * i] = names.end();
    if (m.entry.kind == cd::Kind::symlink || m.entry.kind == cd::Kind::hardlink) names.add(m.entry.target);
    ends[2 * i + 1] = names.end();
    double* n = numbers.Data() + kNumbers * i;
    n[0] = static_cast<double>(m.entry.kind);
    n[1] = m.entry.mode;
    n[2] = static_cast<double>(m.entry.mtime);
    n[3] = static_cast<double>(m.entry.size);
    n[4] = static_cast<double>(m.at);
    const Napi::HandleScope scope(env);
    if (m.detached) detached.Set(detached.Length(), Napi::Number::New(env, static_cast<double>(i)));
    if (m.part.empty()) continue;
    Napi::Object part = Napi::Object::New(env);
    part.Set("member", static_cast<double>(i));
    part.Set("path", to_js(env, m.part));
    parts.Set(parts.Length(), part);
  }
  Napi::Object out = Napi::Object::New(env);
  out.Set("names", names.value(env));
  out.Set("ends", ends);
  out.Set("numbers", numbers);
  out.Set("detached", detached);
  out.Set("parts", parts);
  out.Set("buffer", static_cast<double>(batch.buffer));
  return out;
}

Value to_js(Napi::Env env, const cd::Decoded& decoded) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("packedBytes", static_cast<double>(decoded.packed));
  out.Set("bytes", static_cast<double>(decoded.bytes));
  out.Set("written", to_js(env, decoded.written));
  return out;
}

}  // namespace border

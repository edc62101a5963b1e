// The job that extracts, and what it answers ↔ JavaScript.
#include "convert_fields.h"

namespace border {
namespace {

using Napi::Array;
using Napi::Env;
using Napi::Object;
using Napi::Value;

constexpr const char* kShares[] = {"never", "read-only", "always", "stays"};

template <class T>
void number(Object out, const char* name, T value) {
  out.Set(name, static_cast<double>(value));
}

Array texts(Env env, const std::vector<std::string>& items) {
  const Array out = Array::New(env, items.size());
  for (uint32_t i = 0; i < items.size(); ++i) {
    const Napi::HandleScope scope(env);
    out.Set(i, to_js(env, items[i]));
  }
  return out;
}

Array folders(Env env, const std::vector<cd::ChangedFolder>& items) {
  const Array out = Array::New(env, items.size());
  for (uint32_t i = 0; i < items.size(); ++i) {
    const Napi::HandleScope scope(env);
    Object folder = Object::New(env);
    folder.Set("path", to_js(env, items[i].path));
    number(folder, "mode", items[i].mode);
    number(folder, "mtime", items[i].mtime);
    out.Set(i, folder);
  }
  return out;
}

Object object(Env env, const cd::Reused& reused) {
  Object out = Object::New(env);
  number(out, "linked", reused.linked);
  number(out, "cloned", reused.cloned);
  number(out, "copied", reused.copied);
  number(out, "rewritten", reused.rewritten);
  number(out, "bytes", reused.bytes);
  number(out, "refused", reused.refused);
  out.Set("why", to_js(env, reused.why));
  return out;
}

Object object(Env env, const cd::Difference& difference) {
  Object out = Object::New(env);
  out.Set("incoming", texts(env, difference.incoming));
  out.Set("empty", texts(env, difference.empty));
  out.Set("outgoing", texts(env, difference.outgoing));
  out.Set("emptied", texts(env, difference.emptied));
  out.Set("before", folders(env, difference.before));
  out.Set("after", folders(env, difference.after));
  number(out, "kept", difference.kept);
  return out;
}

}  // namespace

std::unique_ptr<cd::ExtractJob> extract_job(Value value) {
  const Fields f(value, "the job");
  const Value archive = f.get("archive"), prefix = f.get("prefix");
  const bool stored = prefix.IsNull();
  auto job = std::make_unique<cd::ExtractJob>(archive.IsNull() ? "" : text(archive, "archive"), f.text("root"),
                                              stored ? "" : text(prefix, "prefix"), flag(f.get("readOnly"), "readOnly"),
                                              f.threads(), stored);
  if (const Value v = f.get("base"); !v.IsUndefined()) {
    const Fields b(v, "base");
    job->base = b.text("root");
    job->share = static_cast<cd::Share>(choice(b.get("share"), "share", kShares));
    job->check = flag(b.get("check"), "check");
  }
  return job;
}

Value to_js(Env env, const cd::Extracted& x) {
  Object out = Object::New(env);
  number(out, "files", x.files);
  number(out, "directories", x.directories);
  number(out, "symlinks", x.symlinks);
  number(out, "hardlinks", x.hardlinks);
  number(out, "bytes", x.bytes);
  number(out, "readBytes", x.read_bytes);
  number(out, "rewritten", x.rewritten);
  number(out, "spots", x.spots);
  number(out, "trampolines", x.trampolines);
  out.Set("byPath", texts(env, x.by_path));
  out.Set("reused", object(env, x.reused));
  if (x.difference) out.Set("difference", object(env, *x.difference));
  return out;
}

}  // namespace border

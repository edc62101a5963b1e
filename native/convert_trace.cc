// The tracer's job and what it counted ↔ JavaScript.
#include "convert.h"
#include "tracer.h"

namespace border {
namespace {

using Napi::Array;
using Napi::Env;
using Napi::Number;
using Napi::Object;
using Napi::Value;

std::vector<std::string> texts(Value list, const char* what) {
  if (!list.IsArray()) throw Napi::TypeError::New(list.Env(), std::string(what) + " must be an array of strings");
  const Array array = list.As<Array>();
  std::vector<std::string> out;
  for (uint32_t i = 0; i < array.Length(); ++i) out.push_back(text(array.Get(i), what));
  return out;
}

Array texts(Env env, const std::vector<std::string>& items) {
  const Array out = Array::New(env, items.size());
  for (uint32_t i = 0; i < items.size(); ++i) out.Set(i, to_js(env, items[i]));
  return out;
}

Number number(Env env, uint64_t value) { return Number::New(env, static_cast<double>(value)); }

}  // namespace

std::unique_ptr<cd::TraceJob> trace_job(Value value) {
  if (!value.IsObject()) throw Napi::TypeError::New(value.Env(), "the job must be an object");
  const Object job = value.As<Object>();
  auto out = std::make_unique<cd::TraceJob>();
  out->argv = texts(job.Get("argv"), "argv");
  out->env = texts(job.Get("env"), "env");
  out->cwd = text(job.Get("cwd"), "cwd");
  out->bytes = flag(job.Get("bytes"), "bytes");
  out->foreground = flag(job.Get("foreground"), "foreground");
  return out;
}

Value to_js(Env env, const cd::Traced& traced) {
  Object out = Object::New(env);
  out.Set("status", traced.status < 0 ? env.Null() : Value(number(env, static_cast<uint64_t>(traced.status))));
  out.Set("signal", traced.signal == 0 ? env.Null() : Value(number(env, static_cast<uint64_t>(traced.signal))));
  out.Set("seconds", traced.seconds);
  out.Set("processes", number(env, traced.processes));
  out.Set("threads", number(env, traced.threads));
  out.Set("executions", number(env, traced.executions));
  out.Set("foreignCalls", number(env, traced.foreign_calls));
  out.Set("rings", number(env, traced.rings));
  out.Set("namespaces", number(env, traced.namespaces));
  out.Set("unreadable", number(env, traced.unreadable));
  out.Set("folded", number(env, traced.folded));
  out.Set("calls", texts(env, traced.calls));
  out.Set("programs", texts(env, traced.programs));
  const Array paths = Array::New(env, traced.paths.size());
  for (uint32_t i = 0; i < traced.paths.size(); ++i) {
    const Napi::HandleScope scope(env);
    const cd::TracedPath& from = traced.paths[i];
    Object path = Object::New(env);
    path.Set("path", to_js(env, from.path));
    path.Set("at", to_js(env, from.at));
    const Array counts = Array::New(env, from.counts.size() * 3);
    uint32_t at = 0;
    for (const cd::CallCount& count : from.counts)
      for (const uint64_t value : {uint64_t{count.call}, count.calls, count.misses})
        counts.Set(at++, number(env, value));
    path.Set("counts", counts);
    const Array programs = Array::New(env, from.programs.size());
    for (uint32_t k = 0; k < from.programs.size(); ++k) programs.Set(k, number(env, from.programs[k]));
    path.Set("programs", programs);
    path.Set("bytesRead", number(env, from.bytes_read));
    path.Set("bytesMapped", number(env, from.bytes_mapped));
    paths.Set(i, path);
  }
  out.Set("paths", paths);
  return out;
}

}  // namespace border

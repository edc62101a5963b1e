// The jobs that make an environment from packages: unpack and link.
#include <algorithm>
#include <cstring>
#include <deque>
#include <string_view>
#include "convert_fields.h"

namespace border {

std::unique_ptr<cd::UnpackJob> unpack_job(Value value) {
  const Fields f(value, "the job");
  auto job = std::make_unique<cd::UnpackJob>();
  each(f.get("items"), "items", [&](Value item, uint32_t) {
    const Fields g(item, "an item");
    job->items.push_back({g.text("archive"), g.text("container"), g.text("root"), texts(g.get("command"), "command")});
  });
  job->most_bytes = natural(f.get("mostBytes"), "mostBytes");
  job->threads = f.threads();
  return job;
}

// Texts in one memory, each ended by a NUL.
class Texts {
 public:
  Texts(Napi::Env env, Value value, const char* name) : env_(env), name_(name) {
    const Napi::Uint8Array bytes = byte_array(value, name);
    at_ = reinterpret_cast<const char*>(bytes.Data());
    end_ = at_ + bytes.ByteLength();
  }
  // Of a copy, which stays when the call is over.
  Texts(const Fields& f, const char* name, std::deque<std::string>& copies) : Texts(f.env(), f.get(name), name) {
    const std::string& copy = copies.emplace_back(at_, end_);
    at_ = copy.data();
    end_ = at_ + copy.size();
  }
  bool empty() const { return at_ == end_; }
  size_t count() const { return static_cast<size_t>(std::count(at_, end_, 0)); }
  std::string_view next() {
    const void* const stop = empty() ? nullptr : std::memchr(at_, 0, static_cast<size_t>(end_ - at_));
    if (stop == nullptr) wrong(env_, name_, "one text for each path, each ended by a NUL");
    const std::string_view found(at_, static_cast<size_t>(static_cast<const char*>(stop) - at_));
    at_ += found.size() + 1;
    return found;
  }

 private:
  Napi::Env env_;
  const char* name_;
  const char *at_, *end_;  // of memory that is not moved while the call lasts
};

bool any_twice(Value columns) {
  size_t count = 0;
  each(columns, "columns", [&](Value one, uint32_t) { count += Texts(columns.Env(), one, "columns").count(); });
  size_t room = 64;
  while (room < 2 * count) room *= 2;
  std::vector<size_t> seen(room);  // hashes, each at the first free place from where it belongs
  bool twice = false;
  each(columns, "columns", [&](Value one, uint32_t) {
    for (Texts texts(columns.Env(), one, "columns"); !texts.empty();) {
      const size_t hash = std::hash<std::string_view>()(texts.next()) | 1;
      size_t at = hash / 2 % room;
      while (seen[at] != 0 && seen[at] != hash) at = (at + 1) % room;
      twice |= seen[at] == hash;
      seen[at] = hash;
    }
  });
  return twice;
}

static void add_shared(Value value, size_t source, cd::LinkJob& job) {
  const Fields f(value, "shared");
  Texts paths(f, "paths", job.texts), from(f, "from", job.texts);
  const bool elsewhere = !from.empty();
  while (!paths.empty()) {
    cd::LinkEntry& e = job.entries.emplace_back();
    e.source = source;
    e.path = paths.next();
    if (elsewhere) e.from = from.next();
  }
}

std::unique_ptr<cd::LinkJob> link_job(Value value, Held& held) {
  const Napi::Env env = value.Env();
  const Fields f(value, "the job");
  auto job = std::make_unique<cd::LinkJob>();
  job->root = f.text("root");
  job->prefix = f.text("prefix");
  job->threads = f.threads();
  const Key path(env, "path"), how(env, "how"), from(env, "from"), data(env, "data"), mode(env, "mode"),
      placeholder(env, "placeholder"), is_text(env, "text"), entries(env, "entries");
  const Value parts = f.get("parts");
  size_t count = 0;
  std::vector<size_t> numbers;  // of the sources: what is written from memory has none
  each(parts, "parts", [&](Value item, uint32_t) {
    const Fields part(item, "a part");
    const std::string source = part.text("source");
    numbers.push_back(source.empty() ? SIZE_MAX : job->sources.size());
    if (!source.empty()) job->sources.push_back(source);
    count += length(part.get(entries), "entries") +
             Texts(env, Fields(part.get("shared"), "shared").get("paths"), "paths").count();
  });
  job->entries.reserve(count);  // `held` knows where their data is noted
  each(parts, "parts", [&](Value item, uint32_t number) {
    const Fields part(item, "a part");
    each(part.get(entries), "entries", [&](Value one, uint32_t) {
      const Fields g(one, "an entry");
      cd::LinkEntry& e = job->entries.emplace_back();
      e.path = job->texts.emplace_back(g.text(path));
      e.source = numbers.at(number);
      e.how = static_cast<cd::LinkHow>(1 + choice(g.get(how), "how", {"copy", "rewrite", "symlink", "write"}));
      if (e.how == cd::LinkHow::write) {
        held.add(g.get(data), "data", &e.data);
        e.mode = static_cast<uint32_t>(natural(g.get(mode), "mode", 07777));
        return;
      }
      if (const Value v = g.get(from); !v.IsUndefined()) e.from = job->texts.emplace_back(text(v, "from"));
      if (e.how != cd::LinkHow::rewrite) return;
      e.rewrite = {g.text(placeholder), flag(g.get(is_text), "text")};
      if (e.rewrite.prefix.empty()) wrong(env, "placeholder", "a text that is not empty");
    });
  });
  // After those that take longer.
  each(parts, "parts", [&](Value item, uint32_t number) {
    add_shared(Fields(item, "a part").get("shared"), numbers.at(number), *job);
  });
  return job;
}

std::unique_ptr<cd::ChangeJob> change_job(Value value) {
  const Fields f(value, "the job");
  auto job = std::make_unique<cd::ChangeJob>();
  job->root = f.text("root");
  job->fresh = f.text("fresh");
  job->aside = f.text("aside");
  job->back = flag(f.get("back"), "back");
  job->threads = f.threads();
  const Key path(value.Env(), "path"), how(value.Env(), "how"), mode(value.Env(), "mode"), mtime(value.Env(), "mtime");
  const Value groups = f.get("groups");
  job->groups.resize(length(groups, "groups"));
  each(groups, "groups", [&](Value group, uint32_t i) {
    std::vector<cd::Step>& steps = job->groups.at(i);
    each(group, "a group", [&](Value item, uint32_t) {
      const Fields g(item, "a step");
      const size_t number = choice(g.get(how), "how", {"add", "replace", "remove", "clear", "tidy", "open", "close"});
      cd::Step& step = steps.emplace_back();
      step.path = g.text(path);
      step.how = static_cast<cd::StepHow>(number);
      if (const Value v = g.get(mode); !v.IsUndefined()) step.mode = static_cast<uint32_t>(natural(v, "mode", 07777));
      if (const Value v = g.get(mtime); !v.IsUndefined()) {
        step.dated = true;
        step.mtime = integer(v, "mtime");
      }
    });
  });
  return job;
}

std::unique_ptr<cd::LookJob> look_job(Value value) {
  const Fields f(value, "the job");
  auto job = std::make_unique<cd::LookJob>();
  job->root = f.text("root");
  job->paths = texts(f.get("paths"), "paths");
  job->threads = f.threads();
  return job;
}

Value to_js(Napi::Env env, const cd::Changed& changed) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("steps", static_cast<double>(changed.steps));
  out.Set("moments", static_cast<double>(changed.moments));
  return out;
}

Value to_js(Napi::Env env, const std::vector<cd::There>& found) {
  static constexpr const char* kNames[] = {"nothing", "file", "directory", "symlink", "other", "beyond"};
  std::vector<Value> names;
  for (const char* name : kNames) names.push_back(Napi::String::New(env, name));
  const Napi::Array out = Napi::Array::New(env, found.size());
  for (uint32_t i = 0; i < found.size(); ++i) out.Set(i, names[static_cast<size_t>(found[i])]);
  return out;
}

Value to_js(Napi::Env env, const std::vector<cd::Unpacked>& unpacked) {
  const Napi::Array out = Napi::Array::New(env, unpacked.size());
  for (uint32_t i = 0; i < unpacked.size(); ++i) {
    Napi::Object one = Napi::Object::New(env);
    one.Set("entries", static_cast<double>(unpacked[i].entries));
    one.Set("bytes", static_cast<double>(unpacked[i].bytes));
    out.Set(i, one);
  }
  return out;
}

Value to_js(Napi::Env env, const cd::Linked& linked) {
  Napi::Object out = Napi::Object::New(env);
  const Napi::Array written = Napi::Array::New(env, linked.written.size());
  for (uint32_t i = 0; i < linked.written.size(); ++i) {
    Napi::Object one = Napi::Object::New(env);
    one.Set("path", to_js(env, linked.written[i].path));
    one.Set("sha256", cd::hex(linked.written[i].sha256));
    one.Set("size", static_cast<double>(linked.written[i].size));
    written.Set(i, one);
  }
  const Napi::Array by_path = Napi::Array::New(env, linked.by_path.size());
  for (uint32_t i = 0; i < linked.by_path.size(); ++i) by_path.Set(i, to_js(env, linked.by_path[i]));
  out.Set("written", written);
  out.Set("linked", static_cast<double>(linked.linked));
  out.Set("cloned", static_cast<double>(linked.cloned));
  out.Set("copied", static_cast<double>(linked.copied));
  out.Set("trampolines", static_cast<double>(linked.trampolines));
  out.Set("byPath", by_path);
  return out;
}

}  // namespace border

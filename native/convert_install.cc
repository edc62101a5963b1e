// The jobs that make an environment from packages: unpack and link.
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

std::unique_ptr<cd::LinkJob> link_job(Value value, Held& held) {
  const Napi::Env env = value.Env();
  const Fields f(value, "the job");
  auto job = std::make_unique<cd::LinkJob>();
  job->root = f.text("root");
  job->prefix = f.text("prefix");
  job->sources = texts(f.get("sources"), "sources");
  job->threads = f.threads();
  const Key path(env, "path"), how(env, "how"), source(env, "source"), from(env, "from"), data(env, "data"),
      mode(env, "mode"), placeholder(env, "placeholder"), is_text(env, "text");
  const Value list = f.get("entries");
  job->entries.resize(length(list, "entries"));
  each(list, "entries", [&](Value item, uint32_t i) {
    const Fields g(item, "an entry");
    cd::LinkEntry& e = job->entries.at(i);
    e.path = g.text(path);
    e.how = static_cast<cd::LinkHow>(choice(g.get(how), "how", {"share", "copy", "rewrite", "symlink", "write"}));
    if (e.how == cd::LinkHow::write) {
      held.add(g.get(data), "data", &e.data);
      e.mode = static_cast<uint32_t>(natural(g.get(mode), "mode", 07777));
      return;
    }
    e.source = natural(g.get(source), "source");
    e.from = g.text(from);
    if (e.how != cd::LinkHow::rewrite) return;
    e.rewrite = {g.text(placeholder), flag(g.get(is_text), "text")};
    if (e.rewrite.prefix.empty()) wrong(env, "placeholder", "a text that is not empty");
  });
  return job;
}

}  // namespace border

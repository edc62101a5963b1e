// A decoding job: batches on their way to JavaScript, and answers on the way back. `receive(batch, done)` is called on the JavaScript
// thread for one batch after another, and for each `done` once, in the same order: `done(answer)`, or `done(null)`, which ends the job.
// It has a thread of its own: it waits for JavaScript, and libuv's pool has few.
#pragma once
#include <memory>
#include <thread>
#include <vector>
#include "convert.h"
#include "exchange.h"
#include "failure.h"

namespace border {

class JsReceiver final {
 public:
  // `buffers`: at least one; their memory is kept alive by `held`.
  static Napi::Value start(Napi::Env env, std::shared_ptr<cd::DecodeJob> job, cd::Progress progress,
                           const std::vector<cd::Bytes>& buffers, Napi::Array held, Napi::Function receive) {
    auto* self = new JsReceiver(env, progress, buffers, held, receive);  // deleted by ended()
    const Napi::Promise promise = self->deferred_.Promise();
    napi_add_env_cleanup_hook(env, leave, self);
    self->thread_ = std::thread([self, job] { self->run(*job); });
    return promise;
  }

 private:
  struct Sent {
    cd::Batch batch;
    std::shared_ptr<cd::Exchange> exchange;
  };

  JsReceiver(Napi::Env env, cd::Progress progress, const std::vector<cd::Bytes>& buffers, Napi::Array held,
             Napi::Function receive)
      : progress_(progress), deferred_(env), held_(Napi::Persistent(held.As<Napi::Object>())),
        call_(Napi::ThreadSafeFunction::New(env, receive, "conda-deploy batches", 0, 1)) {
    std::vector<cd::Exchange::Buffer> memory;
    for (const cd::Bytes& buffer : buffers) memory.push_back({const_cast<uint8_t*>(buffer.data), buffer.size});
    exchange_ = std::make_shared<cd::Exchange>(std::move(memory));
  }

  void run(const cd::DecodeJob& job) {
    const cd::Hand hand = [this](cd::Batch&& batch) {
      auto sent = std::make_unique<Sent>(Sent{std::move(batch), exchange_});
      if (call_.BlockingCall(sent.get(), deliver) != napi_ok) throw cd::Failure("CANCELLED", "the receiver has ended");
      sent.release();  // deliver() has it now
    };
    try {
      result_ = cd::decode(job, *exchange_, hand, progress_);
    } catch (const cd::Failure& failure) {
      failure_ = std::make_unique<cd::Failure>(failure);
    } catch (const std::exception& exception) { failure_ = std::make_unique<std::runtime_error>(exception.what()); }
    const Napi::ThreadSafeFunction call = call_;  // `this` may be gone once ended() was called
    call.BlockingCall(this, ended);
    Napi::ThreadSafeFunction(call).Release();
  }

  static void deliver(Napi::Env env, Napi::Function receive, Sent* raw) {
    const std::shared_ptr<Sent> sent(raw);
    if (env == nullptr) return sent->exchange->stop();
    try {
      const Napi::Value batch = to_js(env, sent->batch);
      const auto done = [sent, used = std::make_shared<bool>(false)](const Napi::CallbackInfo& info) {
        if (std::exchange(*used, true)) return;
        if (!info[0].IsObject()) return sent->exchange->stop();
        try {
          auto [files, alone] = answer(info[0], sent->batch);
          sent->exchange->answer({std::move(sent->batch), std::move(files), alone});
        } catch (...) {  // told to whoever called
          sent->exchange->stop();
          throw;
        }
      };
      receive.Call({batch, Napi::Function::New(env, done, "done")});
    } catch (const std::exception&) { sent->exchange->stop(); }  // a receiver reports by `done`, and throws nothing
  }

  static void ended(Napi::Env env, Napi::Function, JsReceiver* raw) {
    if (env == nullptr) return;  // leave() has been here
    const std::unique_ptr<JsReceiver> self(raw);
    napi_remove_env_cleanup_hook(env, leave, raw);
    self->thread_.join();
    try {
      if (self->failure_)
        self->deferred_.Reject(to_error(env, *self->failure_).Value());
      else
        self->deferred_.Resolve(to_js(env, self->result_));
    } catch (const Napi::Error& error) { self->deferred_.Reject(error.Value()); }
  }

  // Node, or the worker that started the job, ends: the buffers go with it.
  static void leave(void* raw) {
    auto* self = static_cast<JsReceiver*>(raw);
    self->exchange_->stop();
    self->thread_.join();
    self->held_.SuppressDestruct();
    delete self;
  }

  cd::Progress progress_;
  Napi::Promise::Deferred deferred_;
  Napi::ObjectReference held_;
  Napi::ThreadSafeFunction call_;
  std::shared_ptr<cd::Exchange> exchange_;
  std::thread thread_;
  cd::Decoded result_;
  std::unique_ptr<std::exception> failure_;
};

}  // namespace border

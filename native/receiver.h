// A decoding job: batches on their way to JavaScript, and their buffers on the way back. `receive(batch, done)` is called on the
// JavaScript thread for one batch after another; `done(true)` gives its buffer back, `done(false)` ends the job. It has a thread of its
// own: what works on its batches are jobs too, and would wait for a thread of libuv's pool that this one holds.
#pragma once
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>
#include "batches.h"
#include "convert.h"
#include "failure.h"

namespace border {

class JsReceiver final : public cd::Receiver {
 public:
  // `buffers`: of one size, at least one; their memory is kept alive by `held`.
  static Napi::Value start(Napi::Env env, std::shared_ptr<cd::DecodeJob> job, cd::Progress progress,
                           const std::vector<cd::Bytes>& buffers, Napi::Array held, Napi::Function receive) {
    auto* self = new JsReceiver(env, progress, buffers, held, receive);  // deleted by ended()
    const Napi::Promise promise = self->deferred_.Promise();
    napi_add_env_cleanup_hook(env, leave, self);
    self->thread_ = std::thread([self, job] { self->run(*job); });
    return promise;
  }

  size_t take() override {
    wait([&] { return !lent_->free.empty(); });
    const std::lock_guard<std::mutex> lock(lent_->guard);
    const size_t number = lent_->free.back();
    lent_->free.pop_back();
    return number;
  }
  uint8_t* data(size_t buffer) override { return const_cast<uint8_t*>(buffers_[buffer].data); }
  size_t size() const override { return buffers_.front().size; }
  void finish() override {
    wait([&] { return lent_->free.size() == buffers_.size(); });
  }
  void hand(cd::Batch&& batch) override {
    auto sent = std::make_unique<Sent>(Sent{std::move(batch), lent_});
    if (call_.BlockingCall(sent.get(), deliver) != napi_ok) throw cd::Failure("CANCELLED", "the receiver has ended");
    sent.release();  // deliver() has it now
  }

 private:
  struct Lent {
    std::mutex guard;
    std::condition_variable changed;
    std::vector<size_t> free;
    bool stopped = false;
    void back(size_t number) {
      {
        const std::lock_guard<std::mutex> lock(guard);
        free.push_back(number);
      }
      changed.notify_all();
    }
    void stop() {
      {
        const std::lock_guard<std::mutex> lock(guard);
        stopped = true;
      }
      changed.notify_all();
    }
  };
  struct Sent {
    cd::Batch batch;
    std::shared_ptr<Lent> lent;
  };

  JsReceiver(Napi::Env env, cd::Progress progress, const std::vector<cd::Bytes>& buffers, Napi::Array held,
             Napi::Function receive)
      : progress_(progress), buffers_(buffers), deferred_(env), held_(Napi::Persistent(held.As<Napi::Object>())),
        call_(Napi::ThreadSafeFunction::New(env, receive, "conda-deploy batches", 0, 1)) {
    for (size_t i = 0; i < buffers_.size(); ++i) lent_->free.push_back(i);
  }

  template <class Ready>
  void wait(Ready ready) {
    std::unique_lock<std::mutex> lock(lent_->guard);
    while (!lent_->stopped && !ready()) {
      lent_->changed.wait_for(lock, std::chrono::milliseconds(50));
      progress_.check();
    }
    if (lent_->stopped) throw cd::Failure("CANCELLED", "the receiver wants no more");
  }

  void run(const cd::DecodeJob& job) {
    try {
      result_ = cd::decode(job, *this, progress_);
    } catch (const cd::Failure& failure) {
      failure_ = std::make_unique<cd::Failure>(failure);
    } catch (const std::exception& exception) { failure_ = std::make_unique<std::runtime_error>(exception.what()); }
    const Napi::ThreadSafeFunction call = call_;  // `this` may be gone once ended() was called
    call.BlockingCall(this, ended);
    Napi::ThreadSafeFunction(call).Release();
  }

  static void deliver(Napi::Env env, Napi::Function receive, Sent* raw) {
    const std::unique_ptr<Sent> sent(raw);
    const std::shared_ptr<Lent> lent = sent->lent;
    if (env == nullptr) return lent->stop();
    try {
      const auto used = std::make_shared<bool>(false);
      const auto done = [lent, number = sent->batch.buffer, used](const Napi::CallbackInfo& info) {
        if (std::exchange(*used, true)) return;
        info[0].IsBoolean() && info[0].As<Napi::Boolean>().Value() ? lent->back(number) : lent->stop();
      };
      receive.Call({to_js(env, sent->batch), Napi::Function::New(env, done, "done")});
    } catch (const std::exception&) { lent->stop(); }  // a receiver reports by `done`, and throws nothing
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
    self->lent_->stop();
    self->thread_.join();
    self->held_.SuppressDestruct();
    delete self;
  }

  cd::Progress progress_;
  const std::vector<cd::Bytes> buffers_;
  Napi::Promise::Deferred deferred_;
  Napi::ObjectReference held_;
  Napi::ThreadSafeFunction call_;
  const std::shared_ptr<Lent> lent_ = std::make_shared<Lent>();
  std::thread thread_;
  cd::Decoded result_;
  std::unique_ptr<std::exception> failure_;
};

}  // namespace border

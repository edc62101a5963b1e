// A job: `work` runs once on a thread of libuv's pool, touching no JavaScript; its promise is settled on the JavaScript thread.
// `held` (an array) keeps alive whatever memory the work borrows. Nothing thrown in either place reaches Node.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include "convert.h"

namespace border {

template <class Result>
class Job final : public Napi::AsyncWorker {
 public:
  using Work = std::function<Result()>;
  using Answer = std::function<Napi::Value(Napi::Env, Result&&)>;

  static Napi::Value start(Napi::Env env, Napi::Array held, Work work, Answer answer) {
    auto job = std::unique_ptr<Job>(new Job(env, held, std::move(work), std::move(answer)));
    const Napi::Promise promise = job->deferred_.Promise();
    job->Queue();
    job.release();  // deletes itself when it is done
    return promise;
  }

 protected:
  void Execute() override {
    try {
      result_.emplace(work_());
    } catch (const cd::Failure& failure) {
      failure_ = std::make_unique<cd::Failure>(failure);
    } catch (const std::invalid_argument& wrong) {
      failure_ = std::make_unique<std::invalid_argument>(wrong);
    } catch (const std::bad_alloc&) {
      failure_ = std::make_unique<cd::Failure>("IO", "out of memory");
    } catch (const std::exception& exception) { failure_ = std::make_unique<std::runtime_error>(exception.what()); }
    work_ = nullptr;
  }

  void OnOK() override {
    const Napi::Env env = Env();
    // While a worker thread is being terminated its environment runs no JavaScript and the promise has no one waiting. Every call that
    // could run some then fails, and so would throwing for it; ask once, before.
    bool found = false;
    if (napi_has_named_property(env, env.Global(), "Object", &found) != napi_ok) return;
    try {
      if (result_)
        deferred_.Resolve(answer_(env, std::move(*result_)));
      else
        deferred_.Reject(to_error(env, *failure_).Value());
    } catch (const Napi::Error& error) { deferred_.Reject(error.Value()); } catch (const std::exception& exception) {
      deferred_.Reject(to_error(env, exception).Value());
    }
  }

 private:
  Job(Napi::Env env, Napi::Array held, Work work, Answer answer)
      : Napi::AsyncWorker(env, "conda-deploy"), deferred_(env), held_(Napi::Persistent(held.As<Napi::Object>())),
        work_(std::move(work)), answer_(std::move(answer)) {}

  Napi::Promise::Deferred deferred_;
  Napi::ObjectReference held_;
  Work work_;
  Answer answer_;
  std::optional<Result> result_;
  std::unique_ptr<std::exception> failure_;
};

}  // namespace border

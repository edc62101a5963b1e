// What the fuzz targets share. Each feeds bytes to one reader of the core: it may refuse them with a Failure, and nothing else; what it
// accepts must hold what the target checks. libFuzzer finds inputs, the sanitizers find what is wrong with them.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include "failure.h"

namespace fuzz {

inline void check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

// Whether `body` was done; a refusal must say why.
template <class Body>
bool accepted(Body body) {
  try {
    body();
    return true;
  } catch (const cd::Failure& failure) {
    check(!failure.code.empty() && *failure.what() != 0, "a refusal has a code and a message");
    return false;
  }
}

// Takes an input apart; gives zeros when it is used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  uint8_t byte() { return at_ < end_ ? *at_++ : 0; }
  uint32_t number() {
    const uint32_t low = byte();
    return low | static_cast<uint32_t>(byte()) << 8;
  }
  std::string text(size_t size) {
    const size_t n = size < left() ? size : left();
    std::string out(reinterpret_cast<const char*>(at_), n);
    at_ += n;
    return out;
  }
  std::string rest() { return text(left()); }
  size_t left() const { return static_cast<size_t>(end_ - at_); }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

}  // namespace fuzz

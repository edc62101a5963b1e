// How the borders of a tar are packed: as zstd frames, as members of gzip, or not at all. Each piece decodes alone, and its bytes depend on
// nothing but its content and the level: who makes it, and when, never shows.
#pragma once
#include <cstdint>
#include <memory>
#include "room.h"

namespace cd {

enum class Codec : uint8_t { zstd, gzip, stored };

class Encoder {  // one thread's
 public:
  virtual ~Encoder() = default;
  virtual void encode(const void* data, size_t size, Room& out) = 0;  // replaces out
  // Levels: zstd 0 to 19, gzip 0 to 9; INVALID_OPTION beyond. stored has none.
  static std::unique_ptr<Encoder> make(Codec codec, int level);
};

}  // namespace cd

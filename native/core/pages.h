// Memory that is written once and soon given back: what it costs is that its pages are touched first.
#pragma once
#include <sys/mman.h>
#include <cstddef>
#include <cstdint>

namespace cd {

// Asks for pages of 2 MiB, where the system gives them to who asks: one fault instead of 512. A hint; what is refused is as it was.
inline void prefer_large_pages([[maybe_unused]] void* begin, [[maybe_unused]] size_t size) {
#ifdef MADV_HUGEPAGE
  constexpr uintptr_t kLarge = 2u << 20;
  const uintptr_t from = (reinterpret_cast<uintptr_t>(begin) + kLarge - 1) & ~(kLarge - 1);
  const uintptr_t to = (reinterpret_cast<uintptr_t>(begin) + size) & ~(kLarge - 1);
  if (from < to) ::madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
#endif
}

}  // namespace cd

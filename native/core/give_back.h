#pragma once
#include <cstddef>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace cd {

// What was freed of so many entries goes back to the system, which an allocator keeps for each thread that took it. Of few it is asked for
// again at once, page by page. The number is `many` of src/list.ts.
inline void give_back([[maybe_unused]] size_t entries) {
#ifdef __GLIBC__
  if (entries >= 50000) malloc_trim(0);
#endif
}

}  // namespace cd

#include "sha256.h"
#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif
#include "jobs.h"

namespace cd {
namespace {

using Compress = void (*)(uint32_t* state, const uint8_t* blocks, size_t count);

alignas(16) constexpr uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr uint32_t kBegin[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

inline uint32_t rotate(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

void compress_portable(uint32_t* state, const uint8_t* p, size_t count) {
  for (; count; --count, p += 64) {
    uint32_t w[64];
    for (int i = 0; i < 16; ++i)
      w[i] = uint32_t{p[4 * i]} << 24 | uint32_t{p[4 * i + 1]} << 16 | uint32_t{p[4 * i + 2]} << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6],
             h = state[7];
    const auto round = [](uint32_t a, uint32_t b, uint32_t c, uint32_t& d, uint32_t e, uint32_t f, uint32_t g,
                          uint32_t& h, uint32_t kw) {
      h += (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) + kw;
      d += h;
      h += (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));
    };
    for (int i = 0; i < 64; i += 8) {  // the names turn instead of the values: twice as fast as moving them
      round(a, b, c, d, e, f, g, h, kRound[i] + w[i]);
      round(h, a, b, c, d, e, f, g, kRound[i + 1] + w[i + 1]);
      round(g, h, a, b, c, d, e, f, kRound[i + 2] + w[i + 2]);
      round(f, g, h, a, b, c, d, e, kRound[i + 3] + w[i + 3]);
      round(e, f, g, h, a, b, c, d, kRound[i + 4] + w[i + 4]);
      round(d, e, f, g, h, a, b, c, kRound[i + 5] + w[i + 5]);
      round(c, d, e, f, g, h, a, b, kRound[i + 6] + w[i + 6]);
      round(b, c, d, e, f, g, h, a, kRound[i + 7] + w[i + 7]);
    }
    const uint32_t after[8] = {a, b, c, d, e, f, g, h};
    for (int k = 0; k < 8; ++k) state[k] += after[k];
  }
}

#if defined(__x86_64__)
__attribute__((target("sha,sse4.1,ssse3"))) void compress_sha_ni(uint32_t* state, const uint8_t* p, size_t count) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
  // The instructions want the state as (a b e f) and (c d g h).
  const __m128i dcba = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state));
  const __m128i hgfe = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state + 4));
  const __m128i cdab = _mm_shuffle_epi32(dcba, 0xB1), efgh = _mm_shuffle_epi32(hgfe, 0x1B);
  __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
  for (; count; --count, p += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {  // four rounds each
      __m128i& m = w[i & 3];
      if (i < 4) {
        m = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p) + i), swap);
      } else {
        const __m128i last = w[(i + 3) & 3];
        m = _mm_add_epi32(_mm_sha256msg1_epu32(m, w[(i + 1) & 3]), _mm_alignr_epi8(last, w[(i + 2) & 3], 4));
        m = _mm_sha256msg2_epu32(m, last);
      }
      const __m128i k = _mm_add_epi32(m, _mm_load_si128(reinterpret_cast<const __m128i*>(kRound) + i));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, k);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(k, 0x0E));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

// compress_sha_ni for two states at once: each round waits for the one before it, and the other's fit in between.
__attribute__((target("sha,sse4.1,ssse3"))) void compress_two_sha_ni(uint32_t* first, const uint8_t* p,
                                                                     uint32_t* second, const uint8_t* q, size_t count) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
  __m128i abef[2], cdgh[2];
  uint32_t* const states[2] = {first, second};
  for (int s = 0; s < 2; ++s) {
    const __m128i dcba = _mm_loadu_si128(reinterpret_cast<const __m128i*>(states[s]));
    const __m128i hgfe = _mm_loadu_si128(reinterpret_cast<const __m128i*>(states[s] + 4));
    const __m128i cdab = _mm_shuffle_epi32(dcba, 0xB1), efgh = _mm_shuffle_epi32(hgfe, 0x1B);
    abef[s] = _mm_alignr_epi8(cdab, efgh, 8);
    cdgh[s] = _mm_blend_epi16(efgh, cdab, 0xF0);
  }
  for (; count; --count, p += 64, q += 64) {
    const __m128i before[4] = {abef[0], abef[1], cdgh[0], cdgh[1]};
    const uint8_t* const blocks[2] = {p, q};
    __m128i w[2][4];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      __m128i k[2];
#pragma GCC unroll 2
      for (int s = 0; s < 2; ++s) {
        __m128i& m = w[s][i & 3];
        if (i < 4) {
          m = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(blocks[s]) + i), swap);
        } else {
          const __m128i last = w[s][(i + 3) & 3];
          m = _mm_add_epi32(_mm_sha256msg1_epu32(m, w[s][(i + 1) & 3]), _mm_alignr_epi8(last, w[s][(i + 2) & 3], 4));
          m = _mm_sha256msg2_epu32(m, last);
        }
        k[s] = _mm_add_epi32(m, _mm_load_si128(reinterpret_cast<const __m128i*>(kRound) + i));
      }
      cdgh[0] = _mm_sha256rnds2_epu32(cdgh[0], abef[0], k[0]);
      cdgh[1] = _mm_sha256rnds2_epu32(cdgh[1], abef[1], k[1]);
      abef[0] = _mm_sha256rnds2_epu32(abef[0], cdgh[0], _mm_shuffle_epi32(k[0], 0x0E));
      abef[1] = _mm_sha256rnds2_epu32(abef[1], cdgh[1], _mm_shuffle_epi32(k[1], 0x0E));
    }
    for (int s = 0; s < 2; ++s) {
      abef[s] = _mm_add_epi32(abef[s], before[s]);
      cdgh[s] = _mm_add_epi32(cdgh[s], before[2 + s]);
    }
  }
  for (int s = 0; s < 2; ++s) {
    const __m128i feba = _mm_shuffle_epi32(abef[s], 0x1B), dchg = _mm_shuffle_epi32(cdgh[s], 0xB1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(states[s]), _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(states[s] + 4), _mm_alignr_epi8(dchg, feba, 8));
  }
}

bool has_sha_ni() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1)) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

Compress choose() { return has_sha_ni() ? compress_sha_ni : compress_portable; }
#else
Compress choose() { return compress_portable; }
#endif

const Compress compress = choose();

void compress_two(uint32_t* first, const uint8_t* p, uint32_t* second, const uint8_t* q, size_t count) {
#if defined(__x86_64__)
  if (compress == compress_sha_ni) return compress_two_sha_ni(first, p, second, q, count);
#endif
  compress(first, p, count);
  compress(second, q, count);
}

// The blocks that close a content of `length` bytes, of which those behind its last whole block are at `rest`; how many they are.
size_t close(const uint8_t* rest, uint64_t length, uint8_t (&closing)[128]) {
  const size_t held = length % 64, size = held < 56 ? 64 : 128;
  std::memset(closing, 0, sizeof closing);
  if (held) std::memcpy(closing, rest, held);
  closing[held] = 0x80;
  for (int i = 0; i < 8; ++i) closing[size - 1 - i] = static_cast<uint8_t>(length * 8 >> 8 * i);
  return size / 64;
}

Digest told(const uint32_t* state) {
  Digest out;
  for (int i = 0; i < 32; ++i) out[i] = static_cast<uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
  return out;
}

}  // namespace

Sha256::Sha256() { std::memcpy(state_, kBegin, sizeof state_); }

void Sha256::update(const void* data, size_t size) {
  const auto* p = static_cast<const uint8_t*>(data);
  const size_t held = length_ % 64;
  length_ += size;
  if (held) {
    const size_t take = std::min(size, 64 - held);
    std::memcpy(block_ + held, p, take);
    if (held + take < 64) return;
    compress(state_, block_, 1);
    p += take;
    size -= take;
  }
  if (size >= 64) compress(state_, p, size / 64);
  if (size % 64) std::memcpy(block_, p + size / 64 * 64, size % 64);
}

void Sha256::update_both(Sha256& a, const void* a_data, size_t a_size, Sha256& b, const void* b_data, size_t b_size) {
  const auto *p = static_cast<const uint8_t*>(a_data), *q = static_cast<const uint8_t*>(b_data);
  // What is missing of the blocks that were begun comes first, so that both stand at the begin of one.
  const size_t p_head = std::min(a_size, (64 - a.length_ % 64) % 64),
               q_head = std::min(b_size, (64 - b.length_ % 64) % 64);
  a.update(p, p_head);
  b.update(q, q_head);
  const size_t both = std::min(a_size - p_head, b_size - q_head) / 64 * 64;
  if (both) compress_two(a.state_, p + p_head, b.state_, q + q_head, both / 64);
  a.length_ += both;
  b.length_ += both;
  a.update(p + p_head + both, a_size - p_head - both);
  b.update(q + q_head + both, b_size - q_head - both);
}

Digest Sha256::finish() {
  uint8_t closing[128];
  compress(state_, closing, close(block_, length_, closing));
  return told(state_);
}

Digest sha256(const void* data, size_t size) {
  Sha256 hash;
  hash.update(data, size);
  return hash.finish();
}

void Sha256Pair::update_shared(const void* data, size_t size) {
  if (parted_) return Sha256::update_both(first_, data, size, second_, data, size);
  first_.update(data, size);
}

void Sha256Pair::update(const void* first, size_t first_size, const void* second, size_t second_size) {
  if (!parted_) second_ = first_;
  parted_ = true;
  Sha256::update_both(first_, first, first_size, second_, second, second_size);
}

void Sha256Pair::finish(Digest& of_first, Digest& of_second) {
  if (!parted_) second_ = first_;
  of_first = first_.finish();
  of_second = second_.finish();
}

namespace {

// A content on its way: its whole blocks, then those that close it.
struct Lane {
  uint32_t state[8];
  const uint8_t* next;
  size_t blocks = 0;  // from `next`; none: the lane is free
  uint8_t closing[128];
  size_t to_close;  // blocks of `closing` that are still to come
  Digest* to;

  void begin(Bytes content, Digest* digest) {
    std::memcpy(state, kBegin, sizeof state);
    to = digest;
    next = content.data;
    blocks = content.size / 64;
    to_close = close(content.data + blocks * 64, content.size, closing);
    if (blocks == 0) turn();
  }
  void turn() {
    next = closing;
    blocks = std::exchange(to_close, 0);
  }
  void passed(size_t count) {
    next += count * 64;
    blocks -= count;
    if (blocks > 0) return;
    if (to_close > 0) return turn();
    *to = told(state);
  }
};

}  // namespace

void sha256_all(const Bytes* contents, size_t count, Digest* digests) {
  // The largest first, so that the lanes end together; small ones, whose closing blocks are much of the whole, share lanes to the end.
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return contents[a].size > contents[b].size; });
  Lane a, b;
  size_t next = 0;
  for (;;) {
    for (Lane* lane : {&a, &b})
      if (lane->blocks == 0 && next < count) {
        const size_t i = order[next++];
        lane->begin(contents[i], &digests[i]);
      }
    const size_t both = std::min(a.blocks, b.blocks);
    if (both == 0) break;
    compress_two(a.state, a.next, b.state, b.next, both);
    a.passed(both);
    b.passed(both);
  }
  for (Lane* lane : {&a, &b})
    while (lane->blocks > 0) {
      const size_t all = lane->blocks;
      compress(lane->state, lane->next, all);
      lane->passed(all);
    }
}

std::string hex(const Digest& digest) {
  static const char digits[] = "0123456789abcdef";
  std::string out(64, '0');
  for (size_t i = 0; i < 32; ++i) {
    out[2 * i] = digits[digest[i] >> 4];
    out[2 * i + 1] = digits[digest[i] & 15];
  }
  return out;
}

namespace {

struct HexValues {  // no branches on digits, which nothing predicts: a plan holds tens of thousands of hashes
  uint8_t of[256];
  constexpr HexValues() : of() {
    for (int c = 0; c < 256; ++c) of[c] = 0xFF;
    for (int v = 0; v < 10; ++v) of['0' + v] = static_cast<uint8_t>(v);
    for (int v = 10; v < 16; ++v) of['a' + v - 10] = of['A' + v - 10] = static_cast<uint8_t>(v);
  }
};

constexpr HexValues kHex;

}  // namespace

bool from_hex(std::string_view text, Digest& out) {
  if (text.size() != 2 * out.size()) return false;
  unsigned wrong = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const unsigned high = kHex.of[static_cast<uint8_t>(text[2 * i])];
    const unsigned low = kHex.of[static_cast<uint8_t>(text[2 * i + 1])];
    wrong |= high | low;
    out[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return wrong < 16;
}

bool sha256_is_hardware() { return compress != compress_portable; }

}  // namespace cd

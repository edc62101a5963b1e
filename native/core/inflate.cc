#include "inflate.h"
#include <algorithm>
#include <cstring>
#include "failure.h"

#define INLINE __attribute__((always_inline))

namespace cd {
namespace {

// An entry of a table. Bits 0–7: bits to take, of the code and behind it. 8–11: bits of the code alone (of a pointer: bits of its
// subtable). From 16: the literal, the base of a length or distance, or the place of a subtable.
constexpr uint32_t kLiteral = 0x80000000u, kSpecial = 0x8000u, kPointer = 0x4000u, kEnd = 0x2000u;

constexpr uint16_t kLengthBase[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                    31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr uint8_t kLengthExtra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                    2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr uint16_t kDistanceBase[] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                      33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                      1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr uint8_t kOrder[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

uint32_t length_entry(unsigned symbol, unsigned bits) {
  if (symbol < 256) return kLiteral | symbol << 16 | bits;
  if (symbol == 256) return kSpecial | kEnd | bits;
  if (symbol > 285) return kSpecial;
  return uint32_t{kLengthBase[symbol - 257]} << 16 | bits << 8 | (bits + kLengthExtra[symbol - 257]);
}

uint32_t distance_entry(unsigned symbol, unsigned bits) {
  if (symbol > 29) return kSpecial;
  const unsigned extra = symbol < 2 ? 0 : symbol / 2 - 1;
  return uint32_t{kDistanceBase[symbol]} << 16 | bits << 8 | (bits + extra);
}

uint32_t plain_entry(unsigned symbol, unsigned bits) { return symbol << 16 | bits; }

uint32_t reversed(uint32_t code, unsigned bits) {
  code = (code & 0x5555) << 1 | (code >> 1 & 0x5555);
  code = (code & 0x3333) << 2 | (code >> 2 & 0x3333);
  code = (code & 0x0F0F) << 4 | (code >> 4 & 0x0F0F);
  code = (code & 0x00FF) << 8 | (code >> 8 & 0x00FF);
  return code >> (16 - bits);
}

// Fills a table of 2^table_bits entries and its subtables. false: not the lengths of a prefix code. One code of one bit, or none, may
// stand for a whole code where `sparse`, as zlib allows it; what it leaves open is kSpecial.
template <class Entry>
bool build(const uint8_t* lengths, unsigned symbols, unsigned table_bits, bool sparse, Entry entry, uint32_t* table,
           size_t capacity) {
  unsigned count[16] = {}, offset[17] = {};
  for (unsigned s = 0; s < symbols; ++s) ++count[lengths[s]];
  count[0] = 0;
  int left = 1;
  for (unsigned bits = 1; bits < 16; ++bits) {
    left = left * 2 - static_cast<int>(count[bits]);
    if (left < 0) return false;
    offset[bits + 1] = offset[bits] + count[bits];
  }
  const unsigned used = offset[16];
  if (left > 0 && !(sparse && used <= 1 && used == count[1])) return false;
  uint16_t sorted[288];
  for (unsigned s = 0; s < symbols; ++s)
    if (lengths[s]) sorted[offset[lengths[s]]++] = static_cast<uint16_t>(s);

  const size_t size = size_t{1} << table_bits;
  if (left > 0) std::fill(table, table + size, kSpecial);
  size_t next = size, sub = 0;
  unsigned sub_bits = 0;
  uint32_t code = 0, open = ~0u;
  unsigned bits = 0;
  for (unsigned i = 0; i < used; ++i, ++code) {
    const unsigned symbol = sorted[i];
    code <<= lengths[symbol] - bits;
    bits = lengths[symbol];
    const uint32_t at = reversed(code, bits);
    if (bits <= table_bits) {
      const uint32_t value = entry(symbol, bits);
      for (size_t k = at; k < size; k += size_t{1} << bits) table[k] = value;
      --count[bits];
      continue;
    }
    const uint32_t head = at & (static_cast<uint32_t>(size) - 1);
    if (head != open) {
      open = head;
      sub = next;
      sub_bits = bits - table_bits;
      for (unsigned all = count[bits]; all < 1u << sub_bits && table_bits + sub_bits < 15;)
        all = all * 2 + count[table_bits + ++sub_bits];
      next += size_t{1} << sub_bits;
      if (next > capacity) return false;
      table[head] = kSpecial | kPointer | static_cast<uint32_t>(sub) << 16 | sub_bits << 8 | table_bits;
    }
    const uint32_t value = entry(symbol, bits);
    for (size_t k = at >> table_bits; k < size_t{1} << sub_bits; k += size_t{1} << (bits - table_bits))
      table[sub + k] = value;
    --count[bits];
  }
  return true;
}

uint64_t load64(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  v = __builtin_bswap64(v);
#endif
  return v;
}

uint32_t below(uint64_t bits, unsigned count) { return static_cast<uint32_t>(bits & ((uint64_t{1} << count) - 1)); }

}  // namespace

void Inflate::broken(const char* what) const {
  throw Failure("ARCHIVE_CORRUPT", in_.path() + ": compressed data is broken: " + what, in_.path());
}

void Inflate::cut() const {
  throw Failure("ARCHIVE_CORRUPT", in_.path() + ": the file ends inside its compressed data", in_.path());
}

void Inflate::start() {
  bits_ = count_ = 0;
  state_ = State::between;
  last_ = false;
}

void Inflate::refill() {
  if (in_.p > in_.end + 8) cut();
  bits_ |= load64(in_.p) << count_;
  in_.p += (63 - count_) >> 3;
  count_ |= 56;
}

uint32_t Inflate::take(unsigned bits) {
  if (count_ < bits) refill();
  const uint32_t value = below(bits_, bits);
  bits_ >>= bits;
  count_ -= bits;
  return value;
}

// Gives whole bytes back to the input.
void Inflate::align() {
  in_.p -= count_ / 8;
  bits_ = count_ = 0;
  if (in_.p > in_.end) cut();
}

Inflate::Stop Inflate::run(const uint8_t* oldest, uint8_t*& out, uint8_t* limit, uint64_t stop_at) {
  for (;;) {
    switch (state_) {
      case State::between:
        if (last_) {
          align();
          return Stop::end;
        }
        if (in_.position() * 8 - count_ >= stop_at * 8) return Stop::boundary;
        header();
        break;
      case State::stored:
        stored(out, limit);
        if (left_ == 0)
          state_ = State::between;
        else if (out >= limit)
          return Stop::full;
        break;
      case State::coded:
        if (!coded(oldest, out, limit)) return Stop::full;
        state_ = State::between;
    }
  }
}

void Inflate::header() {
  in_.want(2048);  // more than any header has
  last_ = take(1) != 0;
  switch (take(2)) {
    case 0: {
      align();
      if (in_.end - in_.p < 4) cut();
      left_ = in_.p[0] | uint32_t{in_.p[1]} << 8;
      if ((left_ ^ 0xFFFF) != (in_.p[2] | uint32_t{in_.p[3]} << 8)) broken("the length of a stored block");
      in_.p += 4;
      state_ = State::stored;
      return;
    }
    case 1: fixed(); break;
    case 2: dynamic(); break;
    default: broken("a block of a type that is not known");
  }
  state_ = State::coded;
}

void Inflate::stored(uint8_t*& out, const uint8_t* limit) {
  in_.want(Input::kLeast);
  const size_t have = static_cast<size_t>(in_.end - in_.p);
  if (have == 0 && left_ > 0) cut();
  const size_t size = std::min<size_t>({left_, have, out < limit ? static_cast<size_t>(limit - out) : 0});
  std::memcpy(out, in_.p, size);
  out += size;
  in_.p += size;
  left_ -= static_cast<uint32_t>(size);
}

void Inflate::fixed() {
  uint8_t lengths[288], distances[32];
  for (unsigned s = 0; s < 288; ++s) lengths[s] = s < 144 ? 8 : s < 256 ? 9 : s < 280 ? 7 : 8;
  std::fill(distances, distances + 32, uint8_t{5});
  build(lengths, 288, kLengthBits, false, length_entry, lengths_, std::size(lengths_));
  build(distances, 32, kDistanceBits, false, distance_entry, distances_, std::size(distances_));
}

void Inflate::dynamic() {
  const unsigned lengths = take(5) + 257, distances = take(5) + 1, codes = take(4) + 4;
  if (lengths > 286 || distances > 30) broken("too many codes");
  uint8_t sizes[320] = {};
  for (unsigned i = 0; i < codes; ++i) sizes[kOrder[i]] = static_cast<uint8_t>(take(3));
  uint32_t table[128];
  if (!build(sizes, 19, 7, false, plain_entry, table, std::size(table))) broken("the code of its code lengths");
  uint8_t all[320];
  for (unsigned i = 0; i < lengths + distances;) {
    if (count_ < 14) refill();
    const uint32_t entry = table[below(bits_, 7)];
    take(entry & 0xFF);
    const unsigned symbol = entry >> 16;
    if (symbol < 16) {
      all[i++] = static_cast<uint8_t>(symbol);
      continue;
    }
    if (symbol == 16 && i == 0) broken("a repetition of nothing");
    const unsigned times = symbol == 16 ? 3 + take(2) : symbol == 17 ? 3 + take(3) : 11 + take(7);
    if (i + times > lengths + distances) broken("too many code lengths");
    std::memset(all + i, symbol == 16 ? all[i - 1] : 0, times);
    i += times;
  }
  if (all[256] == 0) broken("a block without an end");
  if (!build(all, lengths, kLengthBits, true, length_entry, lengths_, std::size(lengths_))) broken("its literal codes");
  if (!build(all + lengths, distances, kDistanceBits, true, distance_entry, distances_, std::size(distances_)))
    broken("its distance codes");
}

// The loop over the codes of a block; inlined into a function for each set of instructions. `count`: only its low byte has a meaning, so
// that what an entry takes is subtracted without being cut out of it.
struct Inflate::Codes {
  uint64_t bits;
  uint32_t count;
  const uint8_t* p;
  uint8_t* out;

  INLINE void fill() {
    bits |= load64(p) << (count & 63);
    p += 7 - (count >> 3 & 7);
    count |= 56;
  }
  INLINE void drop(uint32_t entry) {
    bits >>= entry & 63;
    count -= entry;
  }
  INLINE void put(uint32_t entry) {
    drop(entry);
    *out++ = static_cast<uint8_t>(entry >> 16);
  }
  // The base of an entry and its extra bits.
  INLINE size_t value(uint32_t entry) const {
    return (entry >> 16) + (below(bits, static_cast<uint8_t>(entry)) >> (entry >> 8 & 31));
  }

  struct Bounds {
    const uint32_t *lengths, *distances;
    const uint8_t *stop, *oldest, *limit;
  };
  enum class Met { stop, end, nonsense, beyond };
  // Until `p` reaches `stop` or `out` reaches `limit`. A round takes at most 24 bytes.
  INLINE Met run(const Bounds bounds) {
    const auto [lengths, distances, stop, oldest, limit] = bounds;
    if (p >= stop || out >= limit) return Met::stop;
    fill();
    uint32_t entry = lengths[below(bits, kLengthBits)];
    do {
      if (entry & kLiteral) {  // three literals of the first table take 33 of 56 bits
        put(entry);
        entry = lengths[below(bits, kLengthBits)];
        if (entry & kLiteral) {
          put(entry);
          entry = lengths[below(bits, kLengthBits)];
          if (entry & kLiteral) {
            put(entry);
            fill();
            entry = lengths[below(bits, kLengthBits)];
            continue;
          }
        }
      }
      if (entry & kSpecial) {
        if (entry & kPointer) entry = lengths[(entry >> 16) + below(bits >> kLengthBits, entry >> 8 & 15)];
        if (entry & kSpecial) {
          if (!(entry & kEnd)) return Met::nonsense;
          drop(entry);
          return Met::end;
        }
        if (entry & kLiteral) {
          put(entry);
          fill();
          entry = lengths[below(bits, kLengthBits)];
          continue;
        }
      }
      const size_t length = value(entry);
      drop(entry);
      // What two literals and a length leave is nearly always enough for a distance, of 28 bits at most.
      if (static_cast<uint8_t>(count) < 28) fill();
      entry = distances[below(bits, kDistanceBits)];
      if (entry & kSpecial) {
        if (entry & kPointer) entry = distances[(entry >> 16) + below(bits >> kDistanceBits, entry >> 8 & 15)];
        if (entry & kSpecial) return Met::nonsense;
      }
      const size_t distance = value(entry);
      drop(entry);
      if (distance > static_cast<size_t>(out - oldest)) return Met::beyond;
      // Looked up before the copy, which takes as long as the look.
      fill();
      entry = lengths[below(bits, kLengthBits)];
      const uint8_t* from = out - distance;
      uint8_t* to = out;
      out += length;
      const auto word = [&](size_t at) {
        uint64_t some;
        std::memcpy(&some, from + at, 8);
        std::memcpy(to + at, &some, 8);
      };
      if (distance >= 8) {
        // Most lengths are within three words: no branch to be guessed for them.
        word(0), word(8), word(16);
        for (to += 24, from += 24; to < out; to += 40, from += 40) word(0), word(8), word(16), word(24), word(32);
      } else if (distance == 1) {
        const uint64_t same = *from * uint64_t{0x0101010101010101};
        for (; to < out; to += 16) std::memcpy(to, &same, 8), std::memcpy(to + 8, &same, 8);
      } else {
        // Eight bytes at a time, of which `distance` are right.
        do {
          word(0);
          to += distance;
          from += distance;
        } while (to < out);
      }
    } while (p < stop && out < limit);
    return Met::stop;
  }

  // On a copy, which nothing that is written through `out` could be: it is in registers.
  static Met portable(Codes& codes, const Bounds& bounds) {
    Codes own = codes;
    const Met met = own.run(bounds);
    codes = own;
    return met;
  }
#if defined(__x86_64__)
  // Shifts by a variable and masks in one instruction each.
  __attribute__((target("bmi,bmi2"))) static Met bmi2(Codes& codes, const Bounds& bounds) {
    Codes own = codes;
    const Met met = own.run(bounds);
    codes = own;
    return met;
  }
#endif
};

// true: the block has ended. The bits are in registers meanwhile.
bool Inflate::coded(const uint8_t* oldest, uint8_t*& out, const uint8_t* limit) {
#if defined(__x86_64__)
  static const auto run =
      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") ? &Codes::bmi2 : &Codes::portable;
#else
  constexpr auto run = &Codes::portable;
#endif
  for (;;) {
    // What is behind the end are zeros, which a whole stream never takes.
    const uint8_t* stop = in_.eof ? in_.end + 9 : in_.end - 32;
    Codes codes{bits_, count_, in_.p, out};
    const Codes::Met met = run(codes, {lengths_, distances_, stop, oldest, limit});
    bits_ = codes.bits;
    count_ = codes.count & 0xFF;
    in_.p = codes.p;
    out = codes.out;
    switch (met) {
      case Codes::Met::end: return true;
      case Codes::Met::nonsense: broken("a code without a meaning");
      case Codes::Met::beyond: broken("it refers to what is before its beginning");
      case Codes::Met::stop: break;
    }
    if (out >= limit) return false;
    if (in_.eof) cut();
    in_.want(1024);
  }
}

}  // namespace cd

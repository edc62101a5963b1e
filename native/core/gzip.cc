#include "gzip.h"
#include <algorithm>
#include <cstring>
#include "failure.h"

namespace cd {
namespace {

constexpr uint8_t kHeaderCrc = 2, kExtra = 4, kName = 8, kComment = 16, kReserved = 0xE0;
constexpr size_t kHeader = 10, kTrailer = 8;

uint32_t little(const uint8_t* p) { return p[0] | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24; }

}  // namespace

bool looks_like_gzip(const uint8_t* p) {
  return p[0] == 0x1F && p[1] == 0x8B && p[2] == 8 && (p[3] & kReserved) == 0 &&
         (p[8] == 0 || p[8] == 2 || p[8] == 4) && (p[9] <= 13 || p[9] == 255);
}

Gzip::Gzip(int fd, const std::string& path, uint64_t position, bool inside)
    : in_(fd, path, position), inflate_(in_), inside_(inside) {
  if (inside) inflate_.start();
}

Inflate::Stop Gzip::run(size_t behind, uint8_t*& out, uint8_t* limit, uint64_t stop_at, std::vector<End>& ends) {
  const uint8_t* oldest = out - std::min<size_t>(behind, Inflate::kWindow);
  for (;;) {
    if (!inside_) {
      if (in_.position() >= stop_at) return Inflate::Stop::boundary;
      if (at_end()) return Inflate::Stop::end;
      header();
      inflate_.start();
      inside_ = true;
      oldest = out;
    }
    const Inflate::Stop stop = inflate_.run(oldest, out, limit, stop_at);
    if (stop != Inflate::Stop::end) return stop;
    inside_ = false;
    in_.want(kTrailer);
    if (in_.end - in_.p < static_cast<ptrdiff_t>(kTrailer))
      throw Failure("ARCHIVE_CORRUPT", in_.path() + ": the file ends before the checksum of its compressed data",
                    in_.path());
    ends.push_back({out, little(in_.p), little(in_.p + 4)});
    in_.p += kTrailer;
  }
}

// Zeros fill up what was written in blocks; anything else that is no member is damage.
bool Gzip::at_end() {
  in_.want(kHeader);
  if (in_.p >= in_.end) return true;
  if (*in_.p != 0) return false;
  for (; in_.p < in_.end; in_.want(1))
    if (*in_.p++ != 0)
      throw Failure("ARCHIVE_CORRUPT", in_.path() + ": something else follows its compressed data", in_.path());
  return true;
}

uint8_t Gzip::byte() {
  in_.want(1);
  if (in_.p >= in_.end)
    throw Failure("ARCHIVE_CORRUPT", in_.path() + ": the file ends inside a gzip header", in_.path());
  return *in_.p++;
}

void Gzip::header() {
  uint8_t fixed[kHeader];
  for (uint8_t& b : fixed) b = byte();
  if (fixed[0] != 0x1F || fixed[1] != 0x8B)
    throw Failure("ARCHIVE_CORRUPT", in_.path() + ": something else than gzip follows its compressed data", in_.path());
  if (fixed[2] != 8 || (fixed[3] & kReserved) != 0)
    throw Failure("ARCHIVE_CORRUPT", in_.path() + ": a gzip header of a kind that is not known", in_.path());
  if (fixed[3] & kExtra) {
    const unsigned low = byte(), size = low | unsigned{byte()} << 8;
    for (unsigned i = 0; i < size; ++i) byte();
  }
  for (const uint8_t text : {kName, kComment})
    if (fixed[3] & text)
      while (byte() != 0) {}
  if (fixed[3] & kHeaderCrc) byte(), byte();
}

}  // namespace cd

// The codecs: pieces that decode alone, levels that count, and members of gzip that say how long they are.
#include "codec.h"
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <zlib.h>
#include "packing.h"

using namespace cd;

static std::string text(size_t size) {
  std::string out;
  for (uint32_t i = 1; out.size() < size; i = i * 1664525 + 1013904223) out += "word" + std::to_string((i >> 20) % 97);
  return out.substr(0, size);
}

static std::string encoded(Encoder& encoder, const std::string& in) {
  Room out;
  encoder.encode(in.data(), in.size(), out);
  return std::string(out.data(), out.size());
}

// By zlib's own reader of gzip, one member after another; `sizes`: of the members.
static std::string gunzip(const std::string& packed, std::vector<size_t>& sizes) {
  std::string out, piece(1 << 16, '\0');
  for (size_t at = 0; at < packed.size();) {
    z_stream s{};
    if (inflateInit2(&s, 16 + MAX_WBITS) != Z_OK) std::abort();
    s.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + at));
    s.avail_in = static_cast<uInt>(packed.size() - at);
    int status = Z_OK;
    while (status == Z_OK) {
      s.next_out = reinterpret_cast<Bytef*>(&piece[0]);
      s.avail_out = static_cast<uInt>(piece.size());
      status = inflate(&s, Z_NO_FLUSH);
      out.append(piece, 0, piece.size() - s.avail_out);
    }
    CHECK(status == Z_STREAM_END);
    sizes.push_back(s.total_in);
    at += s.total_in;
    inflateEnd(&s);
    if (status != Z_STREAM_END) break;
  }
  return out;
}

static uint32_t claimed(const std::string& packed, size_t at) {
  uint32_t size = 0;
  for (size_t i = 4; i-- > 0;) size = size << 8 | static_cast<uint8_t>(packed[at + 16 + i]);
  return size;
}

static void gzip() {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{5000}, size_t{3} << 20}) {
    const std::string in = text(size);
    size_t before = SIZE_MAX;
    for (const int level : {0, 1, 6, 9}) {
      const auto encoder = Encoder::make(Codec::gzip, level);
      const std::string packed = encoded(*encoder, in);
      CHECK(encoded(*encoder, in) == packed);  // nothing stays from the piece before
      std::vector<size_t> sizes;
      CHECK(gunzip(packed, sizes) == in && sizes.size() == 1);
      CHECK(claimed(packed, 0) == packed.size() && packed.compare(12, 2, "IG") == 0);
      if (size > 5000) CHECK(packed.size() < before);
      before = packed.size();
    }
  }
}

static void levels() {
  for (const int level : {-1, 10}) THROWS("INVALID_OPTION", Encoder::make(Codec::gzip, level));
  THROWS("INVALID_OPTION", Encoder::make(Codec::zstd, 20));
  const std::string in = text(1 << 20);
  const auto low = encoded(*Encoder::make(Codec::zstd, 1), in), high = encoded(*Encoder::make(Codec::zstd, 19), in);
  CHECK(high.size() < low.size() && encoded(*Encoder::make(Codec::stored, 99), in) == in);
}

// A whole archive in each codec holds the same tar, whatever the threads.
static void archives() {
  Folder source, out;
  source.write("small", "#!" + source.path() + "/bin/x\n");
  source.write("large", text(300000));
  PlannedJob job = job_of(source, {"small", "large"});
  const std::string content = "made";
  const auto make = [&](Codec codec, const std::string& name, unsigned threads) {
    PlannedJob own = job;
    own.output = out / name;
    own.codec = codec;
    own.threads = threads;
    const Packed packed = pack(own, Progress());
    SealJob seal = seal_of(own, packed, {generated("made", content)});
    seal.codec = codec;
    const Sealed sealed = cd::seal(seal, Progress());
    CHECK(sealed.packed_bytes == slurp(out / name).size() && sealed.summary.files == 3);
    return slurp(out / name);
  };
  const std::string tar = make(Codec::stored, "tar", 1);
  CHECK(make(Codec::stored, "tar3", 3) == tar);
  const std::string members = make(Codec::gzip, "gz", 1);
  CHECK(make(Codec::gzip, "gz3", 3) == members);
  std::vector<size_t> sizes;
  CHECK(gunzip(members, sizes) == tar && sizes.size() > 3);
  size_t at = 0;
  for (const size_t size : sizes) {
    CHECK(claimed(members, at) == size);
    at += size;
  }
  make(Codec::zstd, "zst", 2);
  CHECK(ReadBack(out / "zst").tar == tar);
}

// To a descriptor, which stays open; a reader that goes away is an error.
static void descriptors() {
  Folder source, out;
  source.write("f", text(200000));
  PlannedJob job = job_of(source, {"f"});
  job.codec = Codec::stored;
  job.threads = 2;
  const int fd = open((out / "x").c_str(), O_CREAT | O_RDWR, 0600);
  job.descriptor = fd;
  const Packed packed = pack(job, Progress());
  SealJob seal = seal_of(job, packed, {});
  seal.descriptor = fd;
  seal.codec = Codec::stored;
  const Sealed sealed = cd::seal(seal, Progress());
  CHECK(fcntl(fd, F_GETFD) >= 0 && slurp(out / "x").size() == sealed.packed_bytes);
  close(fd);
  signal(SIGPIPE, SIG_IGN);
  const auto [read, write] = make_pipe();
  close(read);
  job.descriptor = write;
  THROWS("IO", pack(job, Progress()));
  close(write);
}

int main() {
  gzip();
  levels();
  archives();
  descriptors();
  return check::done();
}

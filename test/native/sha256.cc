// Vectors of NIST: FIPS 180-4 examples and SHA256ShortMsg/LongMsg of the CAVP, and agreement of every way to cut an input.
#include "sha256.h"
#include "check.h"
#include "jobs.h"

using namespace cd;

static void vectors() {
  const auto of = [](const std::string& s) { return hex(sha256(s.data(), s.size())); };
  CHECK(of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(of("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnop"
           "qrstu") == "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  CHECK(of(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  CHECK(of("\xd3") == "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1");
  CHECK(of("\x11\xaf") == "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98");
  CHECK(of("\xb4\x19\x0e") == "dff2e73091f6c05e528896c4c831b9448653dc2ff043528f6769437bc7b975c2");
}

static void cuts() {
  std::string data(1000, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 131 + i / 7);
  for (size_t size : {0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 1000}) {
    const Digest whole = sha256(data.data(), size);
    for (size_t step : {1, 3, 63, 64, 65, 200}) {
      Sha256 hash;
      for (size_t at = 0; at < size; at += step) hash.update(data.data() + at, std::min(step, size - at));
      CHECK_MORE(hash.finish() == whole, "size " + std::to_string(size) + ", step " + std::to_string(step));
    }
  }
}

static void both() {
  std::string data(1000, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 131 + i / 7);
  for (size_t a : {0, 1, 63, 64, 130, 1000})
    for (size_t b : {0, 64, 65, 128, 999}) {
      const Digest of_a = sha256(data.data(), a), of_b = sha256(data.data() + 1, b);
      const std::string sizes = std::to_string(a) + ", " + std::to_string(b);
      Sha256 c, d;  // in parts, which need not end where a block does
      Sha256::update_both(c, data.data(), a / 2, d, data.data() + 1, b / 2);
      Sha256::update_both(c, data.data() + a / 2, a - a / 2, d, data.data() + 1 + b / 2, b - b / 2);
      CHECK_MORE(c.finish() == of_a && d.finish() == of_b, sizes);
    }
}

static void pair() {
  std::string data(1000, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 57 + i / 5);
  for (size_t shared : {0, 1, 64, 100, 999, 1000})
    for (const std::string& instead : {std::string(), std::string("x"), std::string(1000 - shared, 'y')}) {
      const std::string second = data.substr(0, shared) + instead;
      const std::string sizes = std::to_string(shared) + ", " + std::to_string(instead.size());
      Sha256Pair hashes;
      Digest of_first, of_second;
      hashes.update_shared(data.data(), shared / 3);
      hashes.update_shared(data.data() + shared / 3, shared - shared / 3);
      hashes.update(data.data() + shared, 1000 - shared, instead.data(), instead.size());
      hashes.update_shared("end", 3);
      hashes.finish(of_first, of_second);
      CHECK_MORE(of_first == sha256((data + "end").data(), 1003), sizes);
      CHECK_MORE(of_second == sha256((second + "end").data(), second.size() + 3), sizes);
    }
  Sha256Pair alike;
  Digest of_first, of_second;
  alike.update_shared("abc", 3);
  alike.finish(of_first, of_second);
  CHECK(of_first == sha256("abc", 3) && of_second == of_first);
}

static void all() {
  std::string data(100000, 'x');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 + i / 253);
  std::vector<Bytes> contents;
  for (const size_t size : {70000, 0, 1, 63, 64, 65, 0, 5000, 127, 128, 9, 99990})
    contents.push_back(
        {reinterpret_cast<const uint8_t*>(data.data()) + contents.size() % 5, static_cast<size_t>(size)});
  for (size_t count = 0; count <= contents.size(); ++count) {
    std::vector<Digest> digests(count);
    sha256_all(contents.data(), count, digests.data());
    for (size_t i = 0; i < count; ++i)
      CHECK_MORE(digests[i] == sha256(contents[i].data, contents[i].size),
                 std::to_string(count) + ", " + std::to_string(i));
  }
}

static void text() {
  Digest d{}, back{};
  for (size_t i = 0; i < d.size(); ++i) d[i] = static_cast<uint8_t>(i * 9);
  CHECK(from_hex(hex(d), back) && back == d);
  CHECK(from_hex(std::string(64, 'F'), back) && back[31] == 0xFF);
  CHECK(!from_hex(std::string(63, 'f'), back));
  CHECK(!from_hex(std::string(65, 'f'), back));
  CHECK(!from_hex(std::string(63, 'f') + "g", back));
}

int main() {
  std::fprintf(stderr, "implementation: %s\n", sha256_is_hardware() ? "hardware" : "portable");
  vectors();
  cuts();
  both();
  pair();
  all();
  text();
  return check::done();
}

// Members of a tar (v7, ustar, pax, GNU) one after another, from a stream. Names come as the bytes they are; nothing judges them here.
#pragma once
#include "jobs.h"
#include "stream.h"

namespace cd {

class TarReader final : public MemberContent {
 public:
  TarReader(Stream& stream, const std::string& archive) : stream_(stream), archive_(archive) {}
  // The next member, false: the end. Throws ARCHIVE_CORRUPT, UNSUPPORTED for members that are no part of an environment. What was not
  // read of the member before is passed over.
  bool next(BatchMember& member);
  void read(uint8_t* out, size_t size) override;
  const uint8_t* view(size_t size) override;
  size_t block() const override { return stream_.block(); }

 private:
  struct Pax {
    bool has_path = false, has_link = false, has_size = false, has_mtime = false;
    std::string path, link;
    uint64_t size = 0;
    int64_t mtime = 0;
  };
  bool block(uint8_t* out);
  void take(uint8_t* out, size_t size);
  void used(const uint8_t* content, size_t size);
  size_t some(uint8_t* out, size_t size);
  void skip(uint64_t size);
  std::string text(uint64_t size, const char* what);
  void records(const std::string& text, Pax& pax, const std::string& name) const;
  [[noreturn]] void broken(const std::string& what) const;

  Stream& stream_;
  const std::string& archive_;
  Bytes bytes_;
  Pax global_;
  uint64_t left_ = 0, padding_ = 0;  // of the member's content, and behind it
  unsigned zeros_ = 0;               // zero blocks just passed: a tar ends with two
  std::string claims_;               // the name of a hard link with content, until that is seen
};

}  // namespace cd

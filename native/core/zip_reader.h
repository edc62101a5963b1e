// Members of a zip (APPNOTE 6.3: zip64, deflate and stored, Unix modes) in the order of its directory. Nothing is believed twice: a
// member must be what the directory says, in size, checksum and place, and no two may share bytes.
#pragma once
#include <memory>
#include "inflate.h"
#include "jobs.h"
#include "stream.h"

namespace cd {

class ZipReader final : public MemberContent {
 public:
  // Reads and checks the directory. `fd` is borrowed, `archive` for messages; both outlive the reader. Throws ARCHIVE_CORRUPT,
  // UNSUPPORTED for what is encrypted, packed in a way that is not known, or no part of an environment.
  ZipReader(int fd, const std::string& archive, uint64_t size, uint64_t most_members);
  bool next(BatchMember& member);
  // Exactly `size` further bytes of the member's content; with the last of them it is checked.
  void read(uint8_t* out, size_t size) override;
  uint64_t packed() const { return packed_; }

 private:
  struct Item {
    std::string name;
    uint16_t flags = 0, method = 0;
    uint32_t crc = 0, attributes = 0;
    bool is_unix = false;
    uint64_t packed = 0, size = 0, header = 0;
    int64_t mtime = 0;
  };
  struct Directory {
    uint64_t at = 0, size = 0, count = 0, end = 0;
  };
  Directory find(uint64_t size) const;
  void parse(const std::string& text, const Directory& directory, uint64_t most_members);
  void check_overlaps(uint64_t end) const;
  void open(const Item& item);
  void more();
  std::string bytes(uint64_t at, uint64_t size) const;
  [[noreturn]] void broken(const std::string& what) const;
  [[noreturn]] void broken(const Item& item, const std::string& what) const;

  const int fd_;
  const std::string& archive_;
  std::vector<Item> items_;
  size_t next_ = 0;
  uint64_t packed_ = 0;
  // The member that is open.
  const Item* item_ = nullptr;
  Input input_;
  Inflate inflate_;
  std::unique_ptr<uint8_t[]> buffer_;
  const uint8_t* ready_ = nullptr;
  size_t ready_size_ = 0;
  uint64_t data_ = 0, made_ = 0, left_ = 0;  // where its content begins; decoded, and not yet read of it
  size_t last_ = 0;                          // decoded in one go before
  uint32_t crc_ = 0;
  bool ended_ = false;
};

}  // namespace cd

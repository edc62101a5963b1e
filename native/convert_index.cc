// What the index of a deployed tree is made of: entries as objects, and many more in columns.
#include <algorithm>
#include <map>
#include <stdexcept>
#include "convert_fields.h"

namespace border {
namespace {

constexpr const char* kEncodings[] = {"text", "c8", "c16le", "c16be", "c32le", "c32be", "digest"};

std::vector<double> copied(const Napi::Float64Array& array) {
  return std::vector<double>(array.Data(), array.Data() + array.ElementLength());
}

[[noreturn]] void misused(const std::string& what, const char* expected) {
  throw std::invalid_argument(what + " must be " + expected);
}

int64_t whole(double number, double least, double most) {
  if (!(number >= least && number <= most) || number != std::floor(number))
    misused("numbers", "places, modes, times and sizes");
  return static_cast<int64_t>(number);
}

// See PlainFiles in src/jobs.ts.
struct Columns {
  std::string paths, digests;
  std::vector<double> sizes, numbers;
  size_t count() const { return numbers.size() / 3; }
  void entry(size_t i, std::string_view path, cd::Entry& e) const {
    e.path = path;
    const auto place = static_cast<size_t>(whole(numbers[3 * i], 0, UINT32_MAX));
    if (place >= sizes.size()) misused("numbers", "places that have a size");
    e.mode = static_cast<uint32_t>(whole(numbers[3 * i + 1], 0, 07777));
    e.mtime = whole(numbers[3 * i + 2], -0x1p53, 0x1p53);
    e.size = static_cast<uint64_t>(whole(sizes[place], 0, 0x1p53));
    if (64 * place > digests.size() || !cd::from_hex(std::string_view(digests).substr(64 * place, 64), e.sha256))
      misused("digests", "64 hexadecimal digits for each file");
  }
};

// Entries that are not sorted yet, and spots that name prefixes and entries which have no numbers yet.
class Draft {
 public:
  Draft(Value list, std::string prefix, Value files, Value nodes) : prefix_(std::move(prefix)) {
    take(list);
    for (cd::Entry& node : plain_nodes(nodes)) entries_.push_back(std::move(node));
    if (files.IsUndefined()) return;
    const Fields f(files, "files");
    columns_.paths = f.text("paths");
    columns_.digests = f.text("digests");
    columns_.sizes = copied(floats(f, "sizes"));
    columns_.numbers = copied(floats(f, "numbers"));
  }

  cd::Table table() {
    sort();
    cd::Table out;
    out.deployed = true;
    number(out.prefixes);
    out.prefixes.push_back(prefix_);
    // Made in their order, because entries are large: no copy of them all.
    out.entries.reserve(order_.size());
    for (const Place& place : order_) {
      if (place.number < entries_.size()) {
        out.entries.push_back(std::move(entries_[place.number]));
      } else {
        out.entries.emplace_back();
        columns_.entry(place.number - entries_.size(), place.path, out.entries.back());
      }
    }
    return out;
  }

 private:
  struct Place {
    bool hardlink;
    std::string_view path;
    size_t number;  // of an entry; beyond those of a file in columns
    bool operator<(const Place& other) const { return hardlink != other.hardlink ? other.hardlink : path < other.path; }
  };
  struct Refers {
    size_t entry, spot;
    std::string what;
  };

  void take(Value list) {
    const Napi::Env env = list.Env();
    const EntryKeys keys(env);
    const Key sha256(env, "sha256"), spots(env, "spots"), deployed(env, "deployed"), encoding(env, "encoding"),
        offset(env, "offset"), refers(env, "refers"), slot(env, "slot");
    entries_.resize(length(list, "entries"));
    each(list, "entries", [&](Value item, uint32_t i) {
      const Fields f(item, "an entry");
      cd::Entry& e = entries_.at(i);
      e = entry(f, keys, true);
      if (e.kind != cd::Kind::file) return;
      e.sha256 = digest(f.get(sha256), "sha256");
      if (const Value v = f.get(spots); !v.IsUndefined()) {
        e.spots.resize(length(v, "spots"));
        each(v, "spots", [&](Value at, uint32_t k) {
          const Fields s(at, "a spot");
          cd::Spot& spot = e.spots.at(k);
          spot.encoding = static_cast<cd::Encoding>(choice(s.get(encoding), "encoding", kEncodings));
          spot.offset = natural(s.get(offset), "offset");
          spot.slot = static_cast<uint32_t>(natural(s.get(slot), "slot", UINT32_MAX));
          refers_.push_back({i, k, s.text(refers)});
        });
      }
      if (const Value v = f.get(deployed); !v.IsUndefined()) {
        const Fields d(v, "deployed");
        e.has_deployed = true;
        e.deployed_size = natural(d.get(keys.size), "deployed.size");
        e.deployed_sha256 = digest(d.get(sha256), "deployed.sha256");
      }
    });
  }

  // What they share stands before hard links; neighbours by name share most of their paths.
  void sort() {
    order_.reserve(entries_.size() + columns_.count());
    for (size_t i = 0; i < entries_.size(); ++i)
      order_.push_back({entries_[i].kind == cd::Kind::hardlink, entries_[i].path, i});
    const std::string_view paths = columns_.paths;
    for (size_t i = 0, at = 0; i < columns_.count(); ++i) {
      const size_t end = paths.find("//", at);
      if (end == paths.npos) misused("paths", "one for each file, closed by two slashes");
      order_.push_back({false, paths.substr(at, end - at), entries_.size() + i});
      at = end + 2;
    }
    std::sort(order_.begin(), order_.end());
  }

  void number(std::vector<std::string>& prefixes) {
    std::map<std::string, uint32_t> numbers;
    for (const Refers& one : refers_) {
      cd::Spot& spot = entries_[one.entry].spots[one.spot];
      if (spot.encoding == cd::Encoding::digest) {
        spot.refers = place_of(one.what);
        continue;
      }
      const auto [at, fresh] = numbers.emplace(one.what, static_cast<uint32_t>(prefixes.size()));
      if (fresh) prefixes.push_back(one.what);
      spot.refers = at->second;
    }
  }

  uint32_t place_of(const std::string& path) const {
    for (const bool hardlink : {false, true}) {
      const auto found = std::lower_bound(order_.begin(), order_.end(), Place{hardlink, path, 0});
      if (found != order_.end() && found->hardlink == hardlink && found->path == path)
        return static_cast<uint32_t>(found - order_.begin());
    }
    misused("spot: refers '" + path + "'", "the path of an entry");
  }

  std::string prefix_;
  std::vector<cd::Entry> entries_;
  std::vector<Refers> refers_;
  Columns columns_;
  std::vector<Place> order_;
};

}  // namespace

std::function<cd::Table()> table(Value entries, const std::string& prefix, Value files, Value nodes) {
  return [draft = std::make_shared<Draft>(entries, prefix, files, nodes)] { return draft->table(); };
}

}  // namespace border

#include "draft.h"
#include <cstring>
#include "failure.h"
#include "table.h"

namespace cd {

std::string encode_draft(const Draft& draft) {
  const uint64_t head[2] = {draft.position, draft.frames.size()};
  std::string out(reinterpret_cast<const char*>(head), sizeof head);
  out.append(reinterpret_cast<const char*>(draft.frames.data()), draft.frames.size() * sizeof(Frame));
  return out + encode_table(draft.table);
}

Draft decode_draft(Bytes bytes) {
  uint64_t head[2];
  const auto invalid = [] { return Failure("INVALID_OPTION", "seal: the draft is not one that pack returned"); };
  if (bytes.size < sizeof head) throw invalid();
  std::memcpy(head, bytes.data, sizeof head);
  if (head[1] > (bytes.size - sizeof head) / sizeof(Frame)) throw invalid();
  Draft draft;
  draft.position = head[0];
  draft.frames.resize(static_cast<size_t>(head[1]));
  const size_t frames = draft.frames.size() * sizeof(Frame);
  if (frames > 0) std::memcpy(draft.frames.data(), bytes.data + sizeof head, frames);
  draft.table = decode_table(bytes.data + sizeof head + frames, bytes.size - sizeof head - frames);
  return draft;
}

}  // namespace cd

#include "backends/shared/judged.hpp"

#include <cachier/envelope.hpp>
#include <cachier/key.hpp>

#include <utility>

namespace cachier::shared {

Judged judge_envelope(Bytes envelope, const Function& function, const Digest& digest,
                      Time stored_at, const Version& version) {
  Id id{.function = &function, .digest = digest, .key = {}, .hashed = false};
  // Unverified, but only its key is taken: that of the entry cannot be known otherwise.
  const auto parts = envelope::inspect(envelope, envelope.size());
  if (parts) {
    id.key = parts->key;
    id.hashed = parts->hashed;
  }
  Judged judged;
  judged.key = as_text(id.key);
  judged.hashed = id.hashed;
  auto value = envelope::open(envelope, nullptr, id, stored_at, version);
  if (!value) {
    judged.why = value.error().cause();
    if (value.error() != ErrorCode::corrupt) judged.kind = Judged::Kind::newer;
  } else if (!*value) {
    judged.why = "its key cannot be read";
  } else if (!id.hashed && digest_of(function, id.key) != digest) {
    judged.why = "its digest is not that of its key";
  } else {
    judged.kind = Judged::Kind::sound;
    judged.value = std::move(**value);
  }
  return judged;
}

}  // namespace cachier::shared

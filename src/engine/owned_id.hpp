#pragma once

#include <cachier/store.hpp>

#include <string>

namespace cachier::engine {

/// An `Id` that owns its bytes, for what outlives the call.
struct OwnedId {
  explicit OwnedId(const Id& id)
      : function(id.function),
        digest(id.digest),
        key(as_text(id.key)),
        hashed(id.hashed) {}
  [[nodiscard]] Id view() const noexcept {
    return {function, digest, as_bytes(key), hashed};
  }

  const Function* function;
  Digest digest;
  std::string key;
  bool hashed;
};

}  // namespace cachier::engine

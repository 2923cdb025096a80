#include <cachier/signing.hpp>

#include "keys/hash.hpp"

namespace cachier {
namespace {

Error invalid(const char* cause) {
  return {ErrorCode::invalid_argument, "cannot sign entries", cause,
          "give random bytes that only your programs have, for instance 32 from "
          "/dev/urandom"};
}

}  // namespace

Result<std::shared_ptr<const Keyring>> Keyring::of(std::span<const std::string> keys) {
  if (keys.empty()) return invalid("there is no key");
  for (const std::string& key : keys) {
    if (key.size() < kShortestKey) {
      return invalid("a signing key is shorter than 16 bytes");
    }
  }
  std::shared_ptr<Keyring> made(new Keyring);
  made->keys_.assign(keys.begin(), keys.end());
  return std::shared_ptr<const Keyring>(std::move(made));
}

Keyring::Mac Keyring::sign(Bytes message) const noexcept {
  return keys::hmac_sha256(as_bytes(keys_.front()), message);
}

bool Keyring::accepts(Bytes message, const Mac& mac) const noexcept {
  if (mac == Mac{}) return false;  // of nobody: its writer had no memory
  bool accepted = false;
  for (const std::string& key : keys_) {
    accepted |= keys::equal_secrets(keys::hmac_sha256(as_bytes(key), message), mac);
  }
  return accepted;
}

Keyring::~Keyring() {
  for (std::string& key : keys_) keys::wipe(key);
}

}  // namespace cachier

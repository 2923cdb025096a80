#include <cachier/signing.hpp>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace cachier {
namespace {

Keyring::Mac mac_of(std::string_view key, Bytes message) noexcept {
  Keyring::Mac mac{};
  unsigned size = 0;
  const auto* const done =
      HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(message.data()), message.size(),
           reinterpret_cast<unsigned char*>(mac.data()), &size);
  // Without memory: what was signed so is not accepted by anybody.
  if (done == nullptr || size != mac.size()) mac.fill(std::byte{0});
  return mac;
}

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
  return mac_of(keys_.front(), message);
}

bool Keyring::accepts(Bytes message, const Mac& mac) const noexcept {
  if (mac == Mac{}) return false;
  bool accepted = false;
  for (const std::string& key : keys_) {
    const Mac ours = mac_of(key, message);
    accepted |= CRYPTO_memcmp(ours.data(), mac.data(), mac.size()) == 0;
  }
  return accepted;
}

Keyring::~Keyring() {
  for (std::string& key : keys_) OPENSSL_cleanse(key.data(), key.size());
}

}  // namespace cachier

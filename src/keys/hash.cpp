#include "keys/hash.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cachier/key.hpp>

#include <memory>
#include <new>

namespace cachier {
namespace keys {

std::uint64_t hash64(Bytes bytes) noexcept {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t hash64(std::span<const Bytes> parts) noexcept {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (const Bytes part : parts) XXH3_64bits_update(&state, part.data(), part.size());
  return XXH3_64bits_digest(&state);
}

std::array<std::byte, 32> sha256(Bytes bytes) noexcept {
  std::array<std::byte, 32> hash;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(hash.data()));
  return hash;
}

std::array<std::byte, 32> sha256(std::span<const Bytes> parts) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(
      EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  std::array<std::byte, 32> hash;
  bool done = context != nullptr &&
              EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  for (const Bytes part : parts) {
    done = done && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
  }
  auto* const to = reinterpret_cast<unsigned char*>(hash.data());
  if (!done || EVP_DigestFinal_ex(context.get(), to, nullptr) != 1) {
    throw std::bad_alloc();
  }
  return hash;
}

std::array<std::byte, 32> hmac_sha256(Bytes key, Bytes message) noexcept {
  std::array<std::byte, 32> mac{};
  unsigned size = 0;
  const auto* const done =
      HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(message.data()), message.size(),
           reinterpret_cast<unsigned char*>(mac.data()), &size);
  if (done == nullptr || size != mac.size()) mac.fill(std::byte{0});
  return mac;
}

bool equal_secrets(Bytes left, Bytes right) noexcept {
  return CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

void wipe(std::string& secret) noexcept {
  OPENSSL_cleanse(secret.data(), secret.size());
}

}  // namespace keys

Digest detail::hash_key(Bytes key, std::uint64_t seed) noexcept {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(key.data(), key.size(), seed);
  return {hash.high64, hash.low64};
}

std::string to_string(const Digest& digest) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint64_t half : {digest.high, digest.low}) {
    for (int shift = 60; shift >= 0; shift -= 4) {
      text.push_back(kDigits[half >> shift & 15]);
    }
  }
  return text;
}

void KeptKey::hash() noexcept {
  hash_ = keys::sha256(key_);
  key_ = hash_;
}

}  // namespace cachier

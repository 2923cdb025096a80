#include "keys/hash.hpp"

#include <openssl/evp.h>
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

#pragma once

/// The hashes that the stored formats are made of.

#include <cachier/entry.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace cachier::keys {

[[nodiscard]] std::uint64_t hash64(Bytes bytes) noexcept;
/// Of all, one after the other.
[[nodiscard]] std::uint64_t hash64(std::span<const Bytes> parts) noexcept;
[[nodiscard]] std::array<std::byte, 32> sha256(Bytes bytes) noexcept;
/// Of all, one after the other. Throws `std::bad_alloc`.
[[nodiscard]] std::array<std::byte, 32> sha256(std::span<const Bytes> parts);
/// RFC 2104. All zeros where there is no memory, which nobody may take for one.
[[nodiscard]] std::array<std::byte, 32> hmac_sha256(Bytes key, Bytes message) noexcept;
/// Takes as long wherever they differ. Precondition: of one size.
[[nodiscard]] bool equal_secrets(Bytes left, Bytes right) noexcept;
/// Overwrites, also where nobody reads it any more.
void wipe(std::string& secret) noexcept;

}  // namespace cachier::keys

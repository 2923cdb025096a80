#pragma once

/// The hashes that the stored formats are made of.

#include <cachier/entry.hpp>

#include <array>
#include <cstdint>
#include <span>

namespace cachier::keys {

[[nodiscard]] std::uint64_t hash64(Bytes bytes) noexcept;
/// Of all, one after the other.
[[nodiscard]] std::uint64_t hash64(std::span<const Bytes> parts) noexcept;
[[nodiscard]] std::array<std::byte, 32> sha256(Bytes bytes) noexcept;
/// Of all, one after the other. Throws `std::bad_alloc`.
[[nodiscard]] std::array<std::byte, 32> sha256(std::span<const Bytes> parts);

}  // namespace cachier::keys

#pragma once

/// The hashes that the stored formats are made of.

#include <cachier/entry.hpp>

#include <array>
#include <cstdint>

namespace cachier::keys {

[[nodiscard]] std::uint64_t hash64(Bytes bytes) noexcept;
/// Of both, one after the other.
[[nodiscard]] std::uint64_t hash64(Bytes first, Bytes then) noexcept;
[[nodiscard]] std::array<std::byte, 32> sha256(Bytes bytes) noexcept;

}  // namespace cachier::keys

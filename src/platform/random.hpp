#pragma once

#include <cachier/export.hpp>

#include <cstdint>

namespace cachier::platform {

/// 64 random bits, never 0, other ones in every process and after every fork. In some
/// 3 ns; not for secrets.
[[nodiscard]] CACHIER_API std::uint64_t random_bits() noexcept;

}  // namespace cachier::platform

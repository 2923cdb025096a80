#pragma once

/// Numbers of `docs/formats/local.md`.

#include <cachier/entry.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

namespace cachier::local {

inline constexpr char kFolder[] = "v1";

// The database.
inline constexpr std::int64_t kApplicationId = 0x63616368;
inline constexpr std::int64_t kUserVersion = 1;
inline constexpr int kDigestBits = 44;  ///< of an entry's id, below its function's
inline constexpr std::int64_t kMaxFunction = (std::int64_t{1} << 19) - 1;

/// What the first epoch of a database is a multiple of, and no later one: another one
/// says that all has been cleared since the database was made.
inline constexpr std::int64_t kFirstEpochs = 1'024;

inline constexpr std::uint64_t kMix1 = 0x9e3779b97f4a7c15;
inline constexpr std::uint64_t kMix2 = 0xbf58476d1ce4e5b9;

[[nodiscard]] constexpr std::int64_t row_of(std::int64_t function,
                                            const Digest& digest) noexcept {
  const std::uint64_t mixed = (digest.high ^ std::rotl(digest.low * kMix1, 32)) * kMix2;
  return function << kDigestBits |
         static_cast<std::int64_t>(mixed >> (64 - kDigestBits));
}

inline constexpr std::int64_t kFlagNone = 1;   ///< the value is an empty answer
inline constexpr std::int64_t kFlagApart = 2;  ///< in a file of its own

/// What an entry counts for beside the bytes of its value.
inline constexpr std::int64_t kEntryCost = 256;

// The table.
inline constexpr std::uint64_t kTableMagic = 0x3172656968636163;  // "cachier1"
inline constexpr std::uint32_t kTableFormat = 1;
inline constexpr std::uint32_t kSlots = 16'384;
inline constexpr std::uint32_t kClaimGenerations = 4'096;
inline constexpr std::size_t kEvictionsAt = 320;
inline constexpr std::size_t kClaimGenerationsAt = 4'096;
inline constexpr std::size_t kCountersAt = 20'480;
inline constexpr std::size_t kOutcomesAt = 151'552;
inline constexpr std::size_t kWakeWordsAt = 282'624;
inline constexpr std::size_t kOwnersAt = 348'160;
inline constexpr std::size_t kMarksAt = 413'696;
inline constexpr std::size_t kTableSize = 544'768;

inline constexpr std::uint32_t kMarks = 1U << 20;

[[nodiscard]] constexpr std::uint32_t mark_of(const Digest& digest) noexcept {
  return static_cast<std::uint32_t>(digest.low >> 14) & (kMarks - 1);
}
[[nodiscard]] constexpr std::uint32_t slot_of(const Digest& digest) noexcept {
  return static_cast<std::uint32_t>(digest.low) & (kSlots - 1);
}

// Locks.
inline constexpr std::uint64_t kDoor = 0;
inline constexpr std::uint64_t kGuard = 1;
inline constexpr std::uint64_t kMaking = 2;

}  // namespace cachier::local

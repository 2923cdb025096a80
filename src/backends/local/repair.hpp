#pragma once

/// Removes what is damaged in a cache directory, and saves what is not.
///
/// For `src/cli/`, like `inspect.hpp`. Programs that use the cache go on meanwhile.

#include <cachier/error.hpp>
#include <cachier/export.hpp>

#include "backends/local/inspect.hpp"

#include <cstdint>
#include <string>

namespace cachier::local {

/// What came of a database that was set aside.
struct Rescue {
  std::string database;        ///< its file; empty: there was none
  std::uint64_t saved = 0;     ///< entries that the database in use has again
  std::uint64_t damaged = 0;   ///< entries of which not all could be read
  std::uint64_t replaced = 0;  ///< sound ones, but stored or erased anew since
  std::uint64_t cleared = 0;   ///< sound ones of functions that were cleared since
  bool complete = true;        ///< whether all of it could be read
  std::string why;             ///< where none of it could be read: why
  /// Whether it was removed, since nothing is left in it that could be saved.
  bool removed = false;
};

struct Repaired {
  std::uint64_t removed_entries = 0;
  std::uint64_t removed_files = 0;  ///< value files that no entry had
  std::uint64_t left = 0;           ///< entries that the system does not let us read
  bool table_replaced = false;
  bool database_set_aside = false;
  Rescue rescue;
};

/// Throws away databases that were set aside, with all that belongs to them. Gives what
/// they took, and in `databases` how many there were.
[[nodiscard]] CACHIER_API Result<Files> discard(const std::string& directory,
                                                std::uint64_t& databases) noexcept;

/// Mends what `report`, of the same directory, says is damaged. A damaged database is
/// set aside and another begun, and what can be read of the last one that was set
/// aside, by whomever, is carried over into the one in use: entries whose checksum
/// holds, with the times at which they were stored. What was stored, erased or cleared
/// since then stays as it is.
[[nodiscard]] CACHIER_API Result<Repaired> repair(const std::string& directory,
                                                  const Report& report,
                                                  const OnProgress& progress) noexcept;

}  // namespace cachier::local

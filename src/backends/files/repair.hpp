#pragma once

/// Removes what is damaged among entries in files of their own.
///
/// For `src/cli/`, like `inspect.hpp`. Programs that use the cache go on meanwhile.

#include <cachier/error.hpp>
#include <cachier/export.hpp>

#include "backends/files/inspect.hpp"

#include <cstdint>
#include <string>

namespace cachier::files {

struct Repaired {
  std::uint64_t removed_entries = 0;
  std::uint64_t removed_files = 0;   ///< that were left half written
  std::uint64_t removed_states = 0;  ///< damaged ones, which counted as none
};

/// Removes what `report`, of the same directory, says is damaged, unless it has been
/// replaced since. An entry that somebody is computing anew is left to him.
[[nodiscard]] CACHIER_API Result<Repaired> repair(const std::string& directory,
                                                  const Report& report,
                                                  const OnProgress& progress) noexcept;

}  // namespace cachier::files

#pragma once

/// What operators ask about a cache directory: what is in it, and whether it is sound.
///
/// For `src/cli/`, which may include this and `repair.hpp` of this folder and nothing
/// else of it. Nothing here changes anything, and programs that use the cache go on
/// meanwhile.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>
#include <cachier/export.hpp>

#include "backends/shared/findings.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cachier::local {

using shared::Files;
using shared::Finding;
using shared::OnProgress;
using shared::Progress;

/// The entries of one function, or of all.
struct Entries {
  std::uint64_t count = 0;
  std::uint64_t in_database = 0;  ///< bytes of values there
  std::uint64_t in_files = 0;     ///< bytes of values that have a file of their own
  Time oldest;
  Time newest;

  [[nodiscard]] std::uint64_t bytes() const noexcept { return in_database + in_files; }
};

/// Hits and misses are not here: each process counts its own (`Store::metrics`).
struct FunctionStats {
  std::string id;
  Entries entries;
};

struct Stats {
  std::uint64_t generation = 0;  ///< of the database in use
  Entries entries;
  std::uint64_t tombstones = 0;  ///< marks of entries that were erased
  std::uint64_t evictions = 0;   ///< entries removed to keep within bounds, so far
  std::uint64_t waiting = 0;     ///< rows of cleared entries, yet to be removed
  std::vector<FunctionStats> functions;  ///< those with entries, by id
  Files database;
  Files log;  ///< of what was written and is not yet in the database
  Files value_files;
  Files others;     ///< what processes share, locks
  Files set_aside;  ///< damaged databases, with their logs and value files
  std::uint64_t databases_set_aside = 0;
};

/// Reads all rows, but not their values. Nothing: there is no cache in the directory.
[[nodiscard]] CACHIER_API Result<std::optional<Stats>> stats(
    const std::string& directory) noexcept;

struct Report {
  std::uint64_t generation = 0;
  std::uint64_t entries = 0;   ///< that are sound
  std::uint64_t newer = 0;     ///< sound, of a form that this library does not know
  std::uint64_t in_files = 0;  ///< of both, those with value files
  std::uint64_t tombstones = 0;
  std::uint64_t waiting = 0;
  std::uint64_t databases_set_aside = 0;
  Files set_aside;
  std::vector<Finding> findings;

  [[nodiscard]] bool sound() const noexcept { return findings.empty(); }
  [[nodiscard]] std::uint64_t count(Finding::Kind kind) const noexcept {
    return shared::count(findings, kind);
  }
};

/// Reads everything. What seems damaged is looked at again, as somebody may have
/// changed it meanwhile. Nothing: there is no cache in the directory.
[[nodiscard]] CACHIER_API Result<std::optional<Report>> verify(
    const std::string& directory, const OnProgress& progress) noexcept;

}  // namespace cachier::local

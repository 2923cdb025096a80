#pragma once

/// What operators ask about entries in files of their own: whether they are sound.
///
/// For `src/cli/`, which may include this and `repair.hpp` of this folder and nothing
/// else of it. Nothing here changes anything, and programs that use the cache go on
/// meanwhile.

#include <cachier/error.hpp>
#include <cachier/export.hpp>

#include "backends/shared/findings.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cachier::files {

using shared::Finding;
using shared::OnProgress;
using shared::Progress;

struct Report {
  std::uint64_t entries = 0;     ///< that are sound
  std::uint64_t newer = 0;       ///< sound, of a form that this library does not know
  std::uint64_t tombstones = 0;  ///< marks of entries that were erased
  std::vector<Finding> findings;

  [[nodiscard]] bool sound() const noexcept { return findings.empty(); }
  [[nodiscard]] std::uint64_t count(Finding::Kind kind) const noexcept {
    return shared::count(findings, kind);
  }
};

/// Reads everything. What seems damaged is looked at again, as somebody may have
/// replaced it meanwhile. Nothing: there are no such entries in the directory.
[[nodiscard]] CACHIER_API Result<std::optional<Report>> verify(
    const std::string& directory, const OnProgress& progress) noexcept;

}  // namespace cachier::files

#pragma once

/// Carries over what can still be read of a database that was set aside.

#include <cachier/error.hpp>

#include "backends/local/peek.hpp"
#include "backends/local/repair.hpp"
#include "backends/local/site.hpp"

#include <cstdint>

namespace cachier::local {

/// The newest database that was set aside in favour of `generation`; 0: there is none.
[[nodiscard]] std::uint64_t set_aside_before(const std::string& folder,
                                             std::uint64_t generation);

/// Carries its sound entries over into the database of `site`. One of which all has
/// been carried over that can be read is removed.
Result<Rescue> rescue(Peek& peek, Site& site, std::uint64_t generation,
                      const OnProgress& progress);

}  // namespace cachier::local

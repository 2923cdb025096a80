#pragma once

/// How threads of one process that wait for an entry are told to look again.

#include <cachier/export.hpp>
#include <cachier/store.hpp>

#include <cstdint>
#include <memory>

namespace cachier::shared {

/// Tells whoever watches an entry of this digest, in any store, to look again.
/// Called after the change can be seen. Some nanoseconds if nobody waits.
CACHIER_API void wake(const Digest& digest) noexcept;
/// The same for all entries.
CACHIER_API void wake_all() noexcept;

/// Watches entries of this digest: see `Store::watch`. Neither wake nor watch needs any
/// lock (or interpreter) to be held.
[[nodiscard]] CACHIER_API std::unique_ptr<Watch> watch(const Digest& digest) noexcept;

}  // namespace cachier::shared

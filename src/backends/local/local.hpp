#pragma once

/// The store on this machine's disk, for all its processes (`docs/formats/local.md`).

#include <cachier/error.hpp>
#include <cachier/store.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace cachier {

/// The store of this directory: one object per directory in this process, whatever the
/// path is called. Makes the directory where it is missing; all else is opened or made
/// with the first use. `near_cache_bytes`: of the first call for a directory.
/// Thread-safe.
///
/// Errors: `refused` for a directory that belongs to somebody else or that others may
/// write, and where permission is missing; `unavailable` where it cannot be made now.
[[nodiscard]] Result<std::shared_ptr<Store>> open_local_store(
    const std::string& directory, std::size_t near_cache_bytes = std::size_t{64} << 20);

}  // namespace cachier

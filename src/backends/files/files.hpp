#pragma once

/// The store of one file an entry (`docs/formats/files.md`).

#include <cachier/error.hpp>
#include <cachier/store.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace cachier {

/// The store of this directory: one object per directory in this process, whatever the
/// path is called. Makes the directory where it is missing; all else is made with the
/// first use. `near_cache_bytes`: of the first call for a directory. Thread-safe.
///
/// `remote`: the directory is on a network file system, which is to be asked what it
/// has by opening files, and not too often.
///
/// Errors: as of `open_local_store`.
[[nodiscard]] Result<std::shared_ptr<Store>> open_files_store(
    const std::string& directory, std::size_t near_cache_bytes = std::size_t{64} << 20,
    bool remote = false);

}  // namespace cachier

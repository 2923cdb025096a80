#pragma once

/// Finding and opening stores by name.

#include <cachier/error.hpp>
#include <cachier/export.hpp>
#include <cachier/store.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cachier {

/// Which store to open.
struct StoreSpec {
  /// `"local"` (or `"pickle"`, its older name) and `"memory"`.
  std::string backend = "local";
  /// For the local store; empty: `default_cache_dir()`. `~` is expanded.
  std::string cache_dir = {};
  /// For the local store: one file an entry instead of a database
  /// (`docs/formats/files.md`), which shares nothing with it. So is a directory on a
  /// network file system served anyway, with one warning in the log.
  bool separate_files = false;
  /// For the local store: how much of what it has read a process remembers, so that it
  /// need not be read again while it stays as it is; 0: nothing. Empty: the environment
  /// variable `CACHIER_NEAR_CACHE_BYTES`, else 64 MiB. Of those who open a directory in
  /// one process, the first decides.
  std::optional<std::size_t> near_cache_bytes = {};
  /// For the local store: how much the whole of it may keep, heeded by what this
  /// process stores (`Bounds`). Empty: the environment variables `CACHIER_MAX_ENTRIES`
  /// and `CACHIER_MAX_BYTES`, else no bounds.
  std::optional<std::uint64_t> max_entries = {};
  std::optional<std::uint64_t> max_bytes = {};
};

/// The store of this spec. Local stores of one directory are one object per process;
/// each `"memory"` is a new one. Opening touches the disk only as far as needed to say
/// that it cannot work; what is missing is made on first use. Thread-safe.
///
/// Errors: `invalid_argument` for a backend that nobody knows and a variable that is no
/// number of bytes, `refused` for a directory that is not ours to use, `unavailable`
/// for one that cannot be made or opened now.
CACHIER_API Result<std::shared_ptr<Store>> open_store(const StoreSpec& spec);

/// The same, for who would rather compute than fail: a store that is `refused` or
/// `unavailable` now is one whose verbs fail until it can be opened, which is tried
/// again as it is used. Errors: `invalid_argument`.
CACHIER_API Result<std::shared_ptr<Store>> open_store_or_later(const StoreSpec& spec);

/// `$XDG_CACHE_HOME/cachier`, else `~/.cachier`. An empty variable is an unset one.
[[nodiscard]] CACHIER_API std::string default_cache_dir();

/// One line of `cachier backends`.
struct BackendInfo {
  std::string name;
  bool ready = false;
  std::string
      detail;  ///< what it is; where it is not ready, why not and what to install
};

/// All backends that this build knows, ready or not.
[[nodiscard]] CACHIER_API std::vector<BackendInfo> backends();

}  // namespace cachier

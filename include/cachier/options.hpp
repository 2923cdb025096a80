#pragma once

/// What a program can set, for one function and for one call.

#include <cachier/entry.hpp>
#include <cachier/export.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cachier {

/// Options of one cached function. An aggregate: `{.stale_after = 24h, .next_time =
/// true}`.
struct Options {
  /// Where entries live: `"local"` (on this machine's disk, shared by its processes) or
  /// `"memory"` (this process; any copyable result, no encoding).
  std::string backend = "local";
  /// Directory of the local store. Empty: `$XDG_CACHE_HOME/cachier`, else `~/.cachier`;
  /// `~` is expanded. Made when it is needed, for this user alone.
  std::string cache_dir = {};
  /// For the local store: one file an entry instead of a database, for network file
  /// systems and whoever wants to copy or delete entries by hand.
  bool separate_files = false;
  /// For the local store: `StoreSpec::near_cache_bytes`.
  std::optional<std::size_t> near_cache_bytes = {};
  /// Namespace of the stored keys.
  std::string key_prefix = "cachier";
  /// Salts the function's id: bump it when the function gives other answers than
  /// before.
  std::string version = {};
  /// Age after which a value is stale. Zero or below: always.
  Duration stale_after = kNoLimit;
  /// A stale value now, a fresh one the next time: recompute in the background.
  bool next_time = false;
  /// Longest wait for somebody else's computation, then compute. Zero: no limit.
  Duration wait_for_calc_timeout = Duration::zero();
  /// Whether a stored empty `optional` is an answer.
  bool allow_none = false;
  /// Larger encoded values are returned, not stored; equal is stored.
  std::optional<std::uint64_t> entry_size_limit = {};
  /// How much the store keeps of this function: what is beyond is evicted in the
  /// background, least used first, as long as this process stores. An entry counts for
  /// the bytes of its value and 256. Not for `"memory"` yet.
  std::optional<std::uint64_t> max_entries = {};
  std::optional<std::uint64_t> max_bytes = {};
  /// Count hits too (`Cached::counters`); all else is counted anyway.
  bool enable_metrics = false;
  /// Store SHA-256 instead of the arguments: for arguments that are secrets.
  bool hash_stored_keys = false;
  /// Sign entries with the first of these, and use only those that one of them has
  /// signed (`signing.hpp`): for stores that others can write to. None: neither.
  std::vector<std::string> signing_keys = {};
};

/// Options of one call, over those of its function.
struct CallOptions {
  /// For this call a value may be no older than this; the strictest of it and
  /// `stale_after` counts.
  std::optional<Duration> max_age = {};
  bool skip_cache = false;       ///< neither read nor write
  bool overwrite_cache = false;  ///< do not read; run and store
  std::optional<Duration> stale_after = {};
  std::optional<bool> next_time = {};
  std::optional<bool> allow_none = {};
};

/// Caching on and off for the whole process; off, calls run their function. Starts off
/// where the environment variable `CACHIER_DISABLE` is set to anything but nothing or
/// `0`.
CACHIER_API void enable_caching() noexcept;
CACHIER_API void disable_caching() noexcept;

namespace detail {
CACHIER_API extern std::atomic<bool> caching_disabled;
}

[[nodiscard]] inline bool caching_enabled() noexcept {
  return !detail::caching_disabled.load(std::memory_order_relaxed);
}

/// Waits for the refreshes that are running in the background, and ends the threads of
/// the engine. Call it before `main` returns where `next_time` is used; later calls of
/// cached functions work, but refresh nothing, and claims that end by time are not
/// renewed.
CACHIER_API void shutdown() noexcept;

}  // namespace cachier

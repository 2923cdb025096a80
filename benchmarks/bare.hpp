#pragma once

/// The floors: what the job costs if nothing but the job is done.

#include <sqlite3.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cachier::bench {

/// A flat table in 64 shards, each under a lock, of short keys that are compared: the
/// floor of a memory store.
template <class T>
class BareMap {
 public:
  void put(std::string_view key, const T& value) {
    const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
    Shard& shard = shards_[hash.high64 >> 58U];
    const std::lock_guard lock(shard.mutex);
    Slot& slot = shard.at(hash, key);
    slot = {hash, value, static_cast<std::uint8_t>(key.size()), {}};
    std::memcpy(slot.key.data(), key.data(), key.size());
  }

  bool get(std::string_view key, T& value) {
    const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
    Shard& shard = shards_[hash.high64 >> 58U];
    const std::lock_guard lock(shard.mutex);
    const Slot& slot = shard.at(hash, key);
    if (slot.size == 0) return false;
    value = slot.value;
    return true;
  }

 private:
  static constexpr std::size_t kSlots = 1024;
  struct Slot {
    XXH128_hash_t hash{};
    T value{};
    std::uint8_t size = 0;  ///< of the key; 0: free
    std::array<char, 23> key{};
  };
  struct Shard {
    Slot& at(const XXH128_hash_t& hash, std::string_view key) {
      std::size_t at = hash.low64 & (kSlots - 1);
      for (; slots[at].size != 0; at = (at + 1) & (kSlots - 1)) {
        const Slot& slot = slots[at];
        if (slot.hash.low64 == hash.low64 && slot.hash.high64 == hash.high64 &&
            std::string_view(slot.key.data(), slot.size) == key) {
          break;
        }
      }
      return slots[at];
    }
    std::mutex mutex;
    std::vector<Slot> slots = std::vector<Slot>(kSlots);
  };
  std::array<Shard, 64> shards_;
};

/// One table of integers and bytes in SQLite, set up like the local store's database.
class BareSqlite {
 public:
  explicit BareSqlite(const std::string& path) {
    check(sqlite3_open_v2(
        path.c_str(), &database_,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr));
    run("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
        "PRAGMA cache_size=-2000; PRAGMA wal_autocheckpoint=0;"
        "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, value BLOB);");
    check(sqlite3_prepare_v3(database_, "SELECT value FROM t WHERE id = ?", -1,
                             SQLITE_PREPARE_PERSISTENT, &select_, nullptr));
    check(sqlite3_prepare_v3(database_, "REPLACE INTO t VALUES(?, ?)", -1,
                             SQLITE_PREPARE_PERSISTENT, &replace_, nullptr));
  }
  ~BareSqlite() {
    sqlite3_finalize(select_);
    sqlite3_finalize(replace_);
    sqlite3_close(database_);
  }
  BareSqlite(const BareSqlite&) = delete;
  BareSqlite& operator=(const BareSqlite&) = delete;

  void run(const char* sql) {
    check(sqlite3_exec(database_, sql, nullptr, nullptr, nullptr));
  }

  /// Its own transaction, unless one is open.
  void put(std::int64_t id, const std::string& value) {
    sqlite3_bind_int64(replace_, 1, id);
    sqlite3_bind_blob(replace_, 2, value.data(), static_cast<int>(value.size()),
                      SQLITE_STATIC);
    sqlite3_step(replace_);
    check(sqlite3_reset(replace_));
  }

  /// The bytes' number; 0: not there.
  int get(std::int64_t id) {
    sqlite3_bind_int64(select_, 1, id);
    const int size =
        sqlite3_step(select_) == SQLITE_ROW
            ? (sqlite3_column_blob(select_, 0), sqlite3_column_bytes(select_, 0))
            : 0;
    check(sqlite3_reset(select_));
    return size;
  }

 private:
  void check(int result) {
    if (result != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(database_));
  }

  sqlite3* database_ = nullptr;
  sqlite3_stmt* select_ = nullptr;
  sqlite3_stmt* replace_ = nullptr;
};

}  // namespace cachier::bench

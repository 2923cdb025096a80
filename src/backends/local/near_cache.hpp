#pragma once

/// Entries that this process has read, each good for as long as its slot's
/// counter says so (`docs/formats/local.md`, "Counters"): a hit without the database.

#include <cachier/entry.hpp>
#include <cachier/store.hpp>

#include "backends/local/near_records.hpp"
#include "backends/local/table.hpp"
#include "containers/guarded_count.hpp"
#include "platform/lock.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <typeinfo>

namespace cachier::local {

/// Thread-safe, bounded. What is not remembered, or no more, is read from the database.
class NearCache {
 public:
  /// `bound`: bytes, all in all, of values, keys and what it takes to find them.
  explicit NearCache(std::size_t bound) noexcept : bound_(bound) {}

  /// Remembers what is in use while the table says `generation`; nothing, where `table`
  /// is null. What was remembered before is forgotten. The table must be there until
  /// the next call of this. For one thread at a time.
  void serve(const Table* table, std::uint64_t generation) noexcept;

  struct Found {
    Entry entry;
    std::uint64_t epoch = 0;
    Time now;  ///< where it was needed to say that the entry is fresh
  };
  /// The fresh entry that `ask` takes, if what is remembered is what is stored.
  [[nodiscard]] std::optional<Found> find(const Id& id, const Ask& ask) noexcept;

  /// The same for a copy that `add_copy` has left.
  [[nodiscard]] bool copy(const Id& id, const Ask& ask, const std::type_info& type,
                          void* to, std::size_t size) noexcept;

  /// The entry was read by way of this table, after the counter of its slot was
  /// `counter`: not remembered where that is odd, or older than what is remembered.
  /// Neither are values so big that a few would drive everything else out, nor any
  /// without memory. Of those that lie in files `kFiles` are remembered, whatever their
  /// size.
  void remember(const Table& table, const Id& id, std::uint64_t counter,
                std::uint64_t epoch, const Entry& entry) noexcept;

  /// What the value of this version, which is remembered, decodes to: an object of this
  /// type, of so many bytes, that is copied as they are.
  void add_copy(const Id& id, const Version& version, const std::type_info& type,
                const void* from, std::size_t size) noexcept;

  static constexpr std::size_t kFiles = 64;

  /// What was found, and copied, so far.
  [[nodiscard]] std::uint64_t hits() const noexcept;

  /// What is remembered, current or not.
  [[nodiscard]] std::size_t bytes() const noexcept {
    return bytes_.load(std::memory_order_relaxed);
  }

  /// Around `fork`: keeps everything still. A child lets go of the locks and then
  /// serves nothing.
  void before_fork() noexcept;
  void after_fork() noexcept;

 private:
  struct alignas(64) Shard {
    platform::Lock lock;
    const Table* table = nullptr;
    std::uint64_t generation = 0;
    containers::GuardedCount hits;
    Records records;
    std::size_t hand = 0;  ///< of the clock
  };
  static constexpr std::size_t kShards = 64;
  /// The part of the bound that one value may have.
  static constexpr std::size_t kLargestPart = 4;

  [[nodiscard]] Shard& shard_of(const Digest& digest) noexcept {
    return shards_[digest.high % kShards];
  }
  /// Calls `use` with the record of what `ask` takes, if it is current and fresh, and
  /// with the time, if that was needed. The caller has the shard's lock.
  template <class Use>
  static bool with_current(Shard& shard, const Id& id, const Ask& ask,
                           const Use& use) noexcept;
  void count(const Record& record) noexcept;
  void discount(const Record& record) noexcept;
  /// Whether there is more than the bounds allow.
  [[nodiscard]] bool is_over() const noexcept {
    return bytes() > bound_ || files_.load(std::memory_order_relaxed) > kFiles;
  }
  /// Forgets others than `kept` until all is within the bounds. The caller has the
  /// shard's lock.
  void make_room(Shard& shard, const Record& kept) noexcept;
  /// The same in one shard, as far as that goes.
  void forget_some(Shard& shard, const Record* kept) noexcept;

  const std::size_t bound_;
  std::atomic<std::size_t> bytes_{0};
  std::atomic<std::size_t> files_{0};
  std::array<Shard, kShards> shards_;
};

}  // namespace cachier::local

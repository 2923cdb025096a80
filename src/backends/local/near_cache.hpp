#pragma once

/// Entries that this process has read, each good for as long as its slot's
/// counter says so (`docs/formats/local.md`, "Counters"): a hit without the database.

#include <cachier/entry.hpp>

#include "containers/slots.hpp"
#include "platform/lock.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

namespace cachier::local {

/// Thread-safe, bounded. What is not remembered, or no more, is read from the database.
class NearCache {
 public:
  /// `bound`: bytes, all in all, of values, keys and what it takes to find them.
  explicit NearCache(std::size_t bound) noexcept : bound_(bound) {}

  struct Found {
    Entry entry;
    std::uint64_t epoch = 0;
  };
  /// The entry, if what is remembered is what was stored when the slot's counter was
  /// `counter`.
  [[nodiscard]] std::optional<Found> find(const Id& id, std::uint64_t counter) noexcept;

  /// The entry was read after the counter of its slot was `counter`: not remembered
  /// where that is odd, or older than what is remembered. Neither are values so big
  /// that a few would drive everything else out, nor any without memory. Of those that
  /// lie in files `kFiles` are remembered, whatever their size.
  void remember(const Id& id, std::uint64_t counter, std::uint64_t epoch,
                const Entry& entry) noexcept;

  static constexpr std::size_t kFiles = 64;

  /// What is remembered, current or not.
  [[nodiscard]] std::size_t bytes() const noexcept {
    return bytes_.load(std::memory_order_relaxed);
  }

  /// Around `fork`: keeps everything still. A child lets go of the locks and then of
  /// the cache.
  void before_fork() noexcept;
  void after_fork() noexcept;

 private:
  struct Remembered {
    Value value;
    std::uint64_t counter = 0;
    std::uint64_t epoch = 0;
  };
  using Slots = containers::Slots<Remembered>;
  using Slot = Slots::Slot;
  /// Of a slot's flags, beside its own: asked for since the hand came by last.
  static constexpr std::uint8_t kAskedFor = 128;

  struct alignas(64) Shard {
    platform::Lock lock;
    Slots slots;
    std::uint32_t hand = 0;  ///< of the clock
  };
  static constexpr std::size_t kShards = 64;
  /// The part of the bound that one value may have.
  static constexpr std::size_t kLargestPart = 4;

  [[nodiscard]] Shard& shard_of(const Digest& digest) noexcept {
    return shards_[digest.high % kShards];
  }
  [[nodiscard]] static Slot* locate(const Slots& slots, const Id& id) noexcept;
  [[nodiscard]] static std::size_t cost_of(const Slot& slot) noexcept;
  void count(const Slot& slot) noexcept;
  void discount(const Slot& slot) noexcept;
  /// Whether there is more than the bounds allow.
  [[nodiscard]] bool is_over() const noexcept {
    return bytes() > bound_ || files_.load(std::memory_order_relaxed) > kFiles;
  }
  /// Forgets others than `kept` until all is within the bounds. The caller has the
  /// shard's lock.
  void make_room(Shard& shard, const Slot& kept) noexcept;
  /// The same in one shard, as far as that goes.
  void forget_some(Shard& shard, const Slot* kept) noexcept;

  const std::size_t bound_;
  std::atomic<std::size_t> bytes_{0};
  std::atomic<std::size_t> files_{0};
  std::array<Shard, kShards> shards_;
};

}  // namespace cachier::local

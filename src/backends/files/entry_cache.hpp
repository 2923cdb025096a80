#pragma once

/// Entries that this process has read, each good for as long as its file is the same
/// (`docs/formats/files.md`, "Identity of a file").

#include <cachier/entry.hpp>

#include "backends/files/disk.hpp"
#include "containers/slots.hpp"
#include "platform/lock.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

namespace cachier::files {

/// Thread-safe, bounded.
class EntryCache {
 public:
  /// `bound`: bytes, all in all, of values, keys and what it takes to find them.
  explicit EntryCache(std::size_t bound) noexcept : bound_(bound) {}

  struct Found {
    Entry entry;
    Stamp stamp;
    std::uint64_t epoch = 0;
  };
  [[nodiscard]] std::optional<Found> find(const Id& id) noexcept;

  /// Not remembered: values so big that a few would drive everything else out, and any
  /// without memory. The value's bytes are plain memory: they are freed under a lock.
  void remember(const Id& id, const Stamp& stamp, std::uint64_t epoch,
                const Entry& entry) noexcept;

  [[nodiscard]] std::size_t bytes() const noexcept {
    return bytes_.load(std::memory_order_relaxed);
  }

  /// Around `fork`: keeps everything still.
  void before_fork() noexcept;
  void after_fork_in_parent() noexcept;
  void after_fork_in_child() noexcept;

 private:
  struct Remembered {
    Value value;
    Stamp stamp;
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
  void make_room(Shard& shard, const Slot& kept) noexcept;

  const std::size_t bound_;
  std::atomic<std::size_t> bytes_{0};
  std::array<Shard, kShards> shards_;
};

}  // namespace cachier::files

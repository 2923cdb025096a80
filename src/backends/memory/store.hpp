#pragma once

/// `MemoryStore`: a table a shard, a lock a table.

#include <cachier/store.hpp>

#include "backends/memory/lock.hpp"
#include "backends/memory/memory.hpp"
#include "backends/memory/ring.hpp"
#include "backends/memory/table.hpp"
#include "backends/shared/tally.hpp"
#include "containers/guarded_count.hpp"
#include "platform/fork_aware.hpp"

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <typeinfo>
#include <vector>

namespace cachier::memory {

/// Thread-safe. No value is destroyed while a lock is held, and nothing else that
/// could run foreign code either, so these locks are the innermost ones.
class MemoryStore final : public Store, private platform::ForkAware {
 public:
  explicit MemoryStore(Clock clock);
  ~MemoryStore() override;

  [[nodiscard]] Capabilities capabilities() const noexcept override;
  Result<Look> look(const Id& id, const Ask& ask, Deadline deadline) noexcept override;
  Result<Version> commit(const Id& id, const Change& change,
                         Deadline deadline) noexcept override;
  Result<Page> scan(const Filter& filter, const Cursor& from,
                    Deadline deadline) noexcept override;
  Result<std::uint64_t> clear(const Filter& filter, Clear what,
                              Deadline deadline) noexcept override;
  bool copy_fresh(const Id& id, const Ask& ask, const std::type_info& type, void* to,
                  std::size_t size) noexcept override;
  [[nodiscard]] std::unique_ptr<Watch> watch(const Id& id) noexcept override;
  bool keep_within(const Function* function, const Bounds& bounds) noexcept override;
  [[nodiscard]] StoreMetrics metrics() const noexcept override;
  [[nodiscard]] std::string location() const override { return "memory"; }

 private:
  /// The object of a live value; of any other, and of one with something to say beside
  /// its object, the value in a box (`kBoxed`).
  using Kept = std::shared_ptr<const void>;
  using Table = memory::Table<Kept>;

  struct alignas(64) Shard {
    Lock lock;
    containers::GuardedCount hits;
    Table table;
  };

  struct Bounded {
    const Function* function = nullptr;  ///< null: all of the store
    Ring ring;
  };

  /// Tables find slots by the digest's other half.
  [[nodiscard]] Shard& shard_of(const Digest& digest) noexcept {
    return shards_[digest.high >> shard_shift_];
  }
  [[nodiscard]] std::span<Shard> shards() noexcept {
    return {shards_.get(), shard_count_};
  }
  [[nodiscard]] Time exact_time() const;
  [[nodiscard]] Time coarse_time() const;
  /// Apart, so that a hit that asks for no age pays nothing for it.
  [[nodiscard, gnu::noinline]] bool is_young(Time stored_at, Duration max_age) const;

  [[nodiscard]] static Value value_of(const Table::Slot& slot);
  Result<Version> put(const Id& id, const Change& change);
  Result<Version> erase(const Id& id);

  // Bounds (bounds.cpp). None of these is called with a shard's lock held.
  void note_stored(const Id& id, std::uint64_t version, std::uint64_t size);
  void note_gone(const Digest& digest, std::uint64_t version) noexcept;
  void note_cleared() noexcept;
  void fill(Bounded& one);
  void shrink(Bounded& one, std::vector<Kept>& evicted);

  // Nobody is in the middle of a change when a child is made, and claims end there.
  void before_fork() noexcept override;
  void after_fork_in_parent() noexcept override;
  void after_fork_in_child() noexcept override;

  const Clock clock_;
  const std::size_t shard_count_;
  const unsigned shard_shift_;
  const std::unique_ptr<Shard[]> shards_;

  shared::Tally tally_;
  Lock bounding_;  ///< taken before a shard's
  std::vector<std::unique_ptr<Bounded>> bounded_;
  std::atomic<bool> has_bounds_{false};  ///< never false again
};

}  // namespace cachier::memory

#include "backends/memory/store.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <new>
#include <utility>

/// Bounds of the memory store. A ring knows what it was told; the shards know what is
/// there. Values are given up where no lock is held.

namespace cachier::memory {

bool MemoryStore::keep_within(const Function* function, const Bounds& bounds) noexcept {
  std::vector<Kept> evicted;
  try {
    const std::lock_guard hold(bounding_);
    auto known = std::find_if(bounded_.begin(), bounded_.end(), [&](const auto& one) {
      return one->function == function;
    });
    if (known == bounded_.end()) {
      if (!bounds.any()) return true;
      auto made = std::make_unique<Bounded>();
      made->function = function;
      known = bounded_.insert(bounded_.end(), std::move(made));
      // Before what is there is listed: what is stored from now on is told.
      has_bounds_.store(true, std::memory_order_release);
      try {
        fill(**known);
      } catch (...) {
        bounded_.pop_back();
        throw;
      }
    }
    (*known)->ring.keep_within(bounds);
    shrink(**known, evicted);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void MemoryStore::fill(Bounded& one) {
  const Filter filter{one.function, {}};
  for (Shard& shard : shards()) {
    const std::lock_guard guard(shard.lock);
    Table::Position position = shard.table.begin();
    shard.table.scan(position, filter, std::numeric_limits<std::size_t>::max(),
                     [&](const Table::Slot& slot) {
                       const Value value = value_of(slot);
                       one.ring.stored(slot.digest, slot.version,
                                       value.codec() == Codec::live
                                           ? value.object_size()
                                           : value.bytes().size());
                     });
  }
}

void MemoryStore::shrink(Bounded& one, std::vector<Kept>& evicted) {
  one.ring.shrink([&](const Ring::Item& item, bool spare) {
    evicted.emplace_back();
    Shard& shard = shard_of(item.digest);
    Table::Fate fate = Table::Fate::not_there;
    {
      const std::lock_guard guard(shard.lock);
      fate = shard.table.evict(item.digest, item.version, spare, evicted.back());
    }
    if (fate != Table::Fate::evicted) evicted.pop_back();
    if (fate == Table::Fate::spared) return false;
    if (fate == Table::Fate::evicted) tally_.evicted(1);
    for (const auto& other : bounded_) {
      if (other.get() != &one) other->ring.gone(item.digest, item.version);
    }
    return true;
  });
}

void MemoryStore::note_stored(const Id& id, std::uint64_t version, std::uint64_t size) {
  std::vector<Kept> evicted;
  const std::lock_guard hold(bounding_);
  for (const auto& one : bounded_) {
    if (one->function != nullptr && one->function != id.function) continue;
    try {
      one->ring.stored(id.digest, version, size);
      shrink(*one, evicted);
    } catch (const std::bad_alloc&) {
      // It is stored, and no longer counted: memory is as short as can be.
    }
  }
}

void MemoryStore::note_gone(const Digest& digest, std::uint64_t version) noexcept {
  const std::lock_guard hold(bounding_);
  for (const auto& one : bounded_) one->ring.gone(digest, version);
}

void MemoryStore::note_cleared() noexcept {
  const std::lock_guard hold(bounding_);
  for (const auto& one : bounded_) {
    one->ring.forget_what_is_gone([&](const Digest& digest, std::uint64_t version) {
      Shard& shard = shard_of(digest);
      const std::lock_guard guard(shard.lock);
      return shard.table.has(digest, version);
    });
  }
}

}  // namespace cachier::memory

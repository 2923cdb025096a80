#include "backends/files/entry_cache.hpp"

#include <mutex>
#include <new>
#include <stdexcept>

namespace cachier::files {

std::optional<EntryCache::Found> EntryCache::find(const Id& id) noexcept {
  Shard& shard = shard_of(id.digest);
  const std::lock_guard hold(shard.lock);
  Slot* const slot = locate(shard.slots, id);
  if (slot == nullptr) return std::nullopt;
  slot->flags |= kAskedFor;
  return Found{{slot->payload.value, slot->stored_at, Version{{slot->version, 0, 0}}},
               slot->payload.stamp,
               slot->payload.epoch};
}

void EntryCache::remember(const Id& id, const Stamp& stamp, std::uint64_t epoch,
                          const Entry& entry) noexcept {
  const std::size_t largest = bound_ / kLargestPart;
  if (bound_ == 0 || id.key.size() > largest || entry.value.bytes().size() > largest)
    return;
  Shard& shard = shard_of(id.digest);
  const std::lock_guard hold(shard.lock);
  Slot* slot = locate(shard.slots, id);
  if (slot == nullptr) {
    try {
      slot = shard.slots.add(id.digest, id.key, id.hashed);
    } catch (const std::bad_alloc&) {
      return;
    } catch (const std::length_error&) {
      return;
    }
    slot->function = id.function->serial();
  } else {
    bytes_.fetch_sub(cost_of(*slot), std::memory_order_relaxed);
  }
  slot->payload = {entry.value, stamp, epoch};
  slot->stored_at = entry.stored_at;
  slot->version = entry.version.words[0];
  bytes_.fetch_add(cost_of(*slot), std::memory_order_relaxed);
  make_room(shard, *slot);
}

EntryCache::Slot* EntryCache::locate(const Slots& slots, const Id& id) noexcept {
  if (id.key.size() > Slot::kMaxKey) return nullptr;
  const std::uint32_t shape = Slot::shape_of(id.key.size(), id.hashed);
  return slots.find(id.digest, [&](const Slot& slot) noexcept {
    return slot.digest == id.digest && slot.shape == shape &&
           slot.function == id.function->serial() && slot.holds(id.key);
  });
}

std::size_t EntryCache::cost_of(const Slot& slot) noexcept {
  // The file around the value holds function and key once more, and some words.
  constexpr std::size_t kFile = 256;
  const std::size_t key = slot.key().size();
  return sizeof(Slot) + (key > Slot::kInlineKey ? key : 0) + key + kFile +
         slot.payload.value.bytes().size();
}

void EntryCache::make_room(Shard& shard, const Slot& kept) noexcept {
  while (bytes() > bound_ && shard.slots.used() > 1) {
    if (shard.hand >= shard.slots.end()) shard.hand = 0;
    Slot& slot = *shard.slots.slot_at(shard.hand++);
    if (slot.flags == 0 || &slot == &kept) continue;
    if ((slot.flags & kAskedFor) != 0) {
      slot.flags &= static_cast<std::uint8_t>(~kAskedFor);
      continue;
    }
    bytes_.fetch_sub(cost_of(slot), std::memory_order_relaxed);
    slot.payload = {};
    shard.slots.remove(&slot);
  }
}

void EntryCache::before_fork() noexcept {
  for (Shard& shard : shards_) shard.lock.lock();
}

void EntryCache::after_fork_in_parent() noexcept {
  for (Shard& shard : shards_) shard.lock.unlock();
}

void EntryCache::after_fork_in_child() noexcept {
  for (Shard& shard : shards_) shard.lock.reset_in_child();
}

}  // namespace cachier::files

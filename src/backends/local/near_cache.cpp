#include "backends/local/near_cache.hpp"

#include <mutex>
#include <new>
#include <stdexcept>

namespace cachier::local {

std::optional<NearCache::Found> NearCache::find(const Id& id,
                                                std::uint64_t counter) noexcept {
  Shard& shard = shard_of(id.digest);
  const std::lock_guard hold(shard.lock);
  Slot* const slot = locate(shard.slots, id);
  if (slot == nullptr || slot->payload.counter != counter) return std::nullopt;
  slot->flags |= kAskedFor;
  return Found{{slot->payload.value, slot->stored_at, Version{{slot->version, 0, 0}}},
               slot->payload.epoch};
}

void NearCache::remember(const Id& id, std::uint64_t counter, std::uint64_t epoch,
                         const Entry& entry) noexcept {
  const std::size_t largest = bound_ / kLargestPart;
  const bool in_file = entry.value.file() != nullptr;
  if ((counter & 1) != 0 || bound_ == 0 || id.key.size() > largest ||
      (!in_file && entry.value.bytes().size() > largest))
    return;
  Shard& shard = shard_of(id.digest);
  Value before;  // unmapped after the lock
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
    // A file may have been opened anew.
    if (slot->payload.counter > counter ||
        (slot->payload.counter == counter && !in_file))
      return;
    discount(*slot);
    before = std::move(slot->payload.value);
  }
  slot->payload = {entry.value, counter, epoch};
  slot->stored_at = entry.stored_at;
  slot->version = entry.version.words[0];
  count(*slot);
  make_room(shard, *slot);
}

NearCache::Slot* NearCache::locate(const Slots& slots, const Id& id) noexcept {
  if (id.key.size() > Slot::kMaxKey) return nullptr;
  const std::uint32_t shape = Slot::shape_of(id.key.size(), id.hashed);
  return slots.find(id.digest, [&](const Slot& slot) noexcept {
    return slot.digest == id.digest && slot.shape == shape &&
           slot.function == id.function->serial() && slot.holds(id.key);
  });
}

std::size_t NearCache::cost_of(const Slot& slot) noexcept {
  // The envelope around the value holds the key once more, and some words.
  constexpr std::size_t kEnvelope = 64;
  const std::size_t key = slot.key().size();
  // What is mapped is the system's.
  const Value& value = slot.payload.value;
  return sizeof(Slot) + (key > Slot::kInlineKey ? key : 0) + key + kEnvelope +
         (value.file() != nullptr ? 0 : value.bytes().size());
}

void NearCache::count(const Slot& slot) noexcept {
  bytes_.fetch_add(cost_of(slot), std::memory_order_relaxed);
  if (slot.payload.value.file() != nullptr)
    files_.fetch_add(1, std::memory_order_relaxed);
}

void NearCache::discount(const Slot& slot) noexcept {
  bytes_.fetch_sub(cost_of(slot), std::memory_order_relaxed);
  if (slot.payload.value.file() != nullptr)
    files_.fetch_sub(1, std::memory_order_relaxed);
}

void NearCache::make_room(Shard& shard, const Slot& kept) noexcept {
  forget_some(shard, &kept);
  // Few big values fill the cache, each in another shard. A lock that is taken is not
  // waited for: its owner makes room as well.
  const auto own = static_cast<std::size_t>(&shard - shards_.data());
  for (std::size_t step = 1; step < kShards && is_over(); ++step) {
    Shard& other = shards_[(own + step) % kShards];
    if (!other.lock.try_lock()) continue;
    const std::lock_guard hold(other.lock, std::adopt_lock);
    forget_some(other, nullptr);
  }
}

void NearCache::forget_some(Shard& shard, const Slot* kept) noexcept {
  const std::size_t fewest = kept == nullptr ? 0 : 1;
  // Twice round at most: the first time everything may have been asked for.
  const std::uint64_t most = std::uint64_t{2} * shard.slots.end();
  for (std::uint64_t seen = 0; seen < most && is_over() && shard.slots.used() > fewest;
       ++seen) {
    if (shard.hand >= shard.slots.end()) shard.hand = 0;
    Slot& slot = *shard.slots.slot_at(shard.hand++);
    if (slot.flags == 0 || &slot == kept) continue;
    // Of too many files others are not to blame.
    if (bytes() <= bound_ && slot.payload.value.file() == nullptr) continue;
    if ((slot.flags & kAskedFor) != 0) {
      slot.flags &= static_cast<std::uint8_t>(~kAskedFor);
    } else {
      discount(slot);
      slot.payload = {};
      shard.slots.remove(&slot);
    }
  }
}

void NearCache::before_fork() noexcept {
  for (Shard& shard : shards_) shard.lock.lock();
}

void NearCache::after_fork() noexcept {
  for (Shard& shard : shards_) shard.lock.unlock();
}

}  // namespace cachier::local

#include "backends/local/near_cache.hpp"

#include "platform/clock.hpp"

#include <cstring>
#include <mutex>
#include <new>
#include <utility>

namespace cachier::local {

void NearCache::serve(const Table* table, std::uint64_t generation) noexcept {
  for (Shard& shard : shards_) {
    Records before;  // gone after the lock
    {
      const std::lock_guard hold(shard.lock);
      shard.table = table;
      shard.generation = generation;
      std::swap(before, shard.records);
      shard.hand = 0;
    }
    for (std::size_t place = 0; place < before.room(); ++place) {
      if (before.at(place) != nullptr) discount(*before.at(place));
    }
    bytes_.fetch_sub(Records::cost_of(before.room()), std::memory_order_relaxed);
  }
}

template <class Use>
bool NearCache::with_current(Shard& shard, const Id& id, const Ask& ask,
                             const Use& use) noexcept {
  const Table* const table = shard.table;
  if (table == nullptr || table->generation().load() != shard.generation) return false;
  const Record::Pointer* const found = shard.records.find(id);
  if (found == nullptr) return false;
  Record& record = **found;
  if (record.counter() != table->counter(slot_of(id.digest)).load()) return false;
  if (record.is_none() && !ask.allow_none) return false;
  if (ask.unreadable && *ask.unreadable == record.version()) return false;
  if (id.function->keyring() != nullptr && !record.is_signed()) return false;
  Time now;
  if (ask.max_age != kNoLimit) {
    now = platform::wall_now();
    if (!is_fresh(record.stored_at(), now, ask.max_age)) return false;
  }
  if (!use(*found, now)) return false;
  if (!record.asked_for()) record.ask_for();
  table->mark(id.digest);
  shard.hits.raise();
  return true;
}

std::uint64_t NearCache::hits() const noexcept {
  std::uint64_t all = 0;
  for (const Shard& shard : shards_) all += shard.hits.read();
  return all;
}

std::optional<NearCache::Found> NearCache::find(const Id& id, const Ask& ask) noexcept {
  std::optional<Found> answer;
  Shard& shard = shard_of(id.digest);
  const std::lock_guard hold(shard.lock);
  with_current(shard, id, ask, [&](const Record::Pointer& record, Time now) noexcept {
    answer.emplace(
        Found{{Record::value_of(record), record->stored_at(), record->version()},
              record->epoch(),
              now});
    return true;
  });
  return answer;
}

bool NearCache::copy(const Id& id, const Ask& ask, const std::type_info& type, void* to,
                     std::size_t size) noexcept {
  Shard& shard = shard_of(id.digest);
  const std::lock_guard hold(shard.lock);
  return with_current(shard, id, ask,
                      [&](const Record::Pointer& record, Time) noexcept {
                        const Record::Copy copy = record->copy();
                        if (copy.type != &type || copy.bytes.size() != size)
                          return false;
                        std::memcpy(to, copy.bytes.data(), size);
                        return true;
                      });
}

void NearCache::remember(const Table& table, const Id& id, std::uint64_t counter,
                         std::uint64_t epoch, const Entry& entry) noexcept {
  const std::size_t largest = bound_ / kLargestPart;
  const bool in_file = entry.value.file() != nullptr;
  if ((counter & 1) != 0 || bound_ == 0 || id.key.size() > largest ||
      !Record::is_short_enough(id.key) ||
      (!in_file && entry.value.bytes().size() > largest))
    return;
  Record::Pointer record;
  try {
    record = Record::make(id, counter, epoch, entry, {});
  } catch (const std::bad_alloc&) {
    return;
  }
  Shard& shard = shard_of(id.digest);
  // What is replaced is gone, or unmapped, after the lock.
  const std::lock_guard hold(shard.lock);
  if (shard.table != &table) return;
  if (Record::Pointer* const known = shard.records.find(id)) {
    // A file may have been opened anew.
    if ((*known)->counter() > counter || ((*known)->counter() == counter && !in_file))
      return;
    discount(**known);
    known->swap(record);
    count(**known);
    make_room(shard, **known);
    return;
  }
  const std::size_t room = shard.records.room();
  try {
    const Record& added = *shard.records.add(id.digest, std::move(record));
    bytes_.fetch_add(Records::cost_of(shard.records.room()) - Records::cost_of(room),
                     std::memory_order_relaxed);
    count(added);
    make_room(shard, added);
  } catch (const std::bad_alloc&) {
    // Not remembered.
  }
}

void NearCache::add_copy(const Id& id, const Version& version,
                         const std::type_info& type, const void* from,
                         std::size_t size) noexcept {
  if (size == 0 || size > Record::kMaxCopy || !Record::is_short_enough(id.key)) return;
  Shard& shard = shard_of(id.digest);
  const std::lock_guard hold(shard.lock);
  Record::Pointer* const known = shard.records.find(id);
  if (known == nullptr || (*known)->version() != version || !(*known)->takes_copy())
    return;
  if (const auto before = (*known)->copy();
      before.type == &type && before.bytes.size() == size)
    return;
  try {
    const Entry entry{Record::value_of(*known), (*known)->stored_at(), version};
    auto record = Record::make(id, (*known)->counter(), (*known)->epoch(), entry,
                               {&type, {static_cast<const std::byte*>(from), size}});
    discount(**known);
    known->swap(record);
    count(**known);
    make_room(shard, **known);
  } catch (const std::bad_alloc&) {
    // It will be decoded each time.
  }
}

void NearCache::count(const Record& record) noexcept {
  bytes_.fetch_add(record.cost(), std::memory_order_relaxed);
  if (record.in_file()) files_.fetch_add(1, std::memory_order_relaxed);
}

void NearCache::discount(const Record& record) noexcept {
  bytes_.fetch_sub(record.cost(), std::memory_order_relaxed);
  if (record.in_file()) files_.fetch_sub(1, std::memory_order_relaxed);
}

void NearCache::make_room(Shard& shard, const Record& kept) noexcept {
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

void NearCache::forget_some(Shard& shard, const Record* kept) noexcept {
  Records& records = shard.records;
  const std::size_t fewest = kept == nullptr ? 0 : 1;
  // Twice round at most: the first time everything may have been asked for.
  const std::size_t most = 2 * records.room();
  for (std::size_t seen = 0; seen < most && is_over() && records.used() > fewest;
       ++seen) {
    if (shard.hand >= records.room()) shard.hand = 0;
    const std::size_t place = shard.hand++;
    Record* const record = records.at(place).get();
    if (record == nullptr || record == kept) continue;
    // Of too many files others are not to blame.
    if (bytes() <= bound_ && !record->in_file()) continue;
    if (record->asked_for()) {
      record->forgive();
    } else {
      discount(*record);
      (void)records.remove(place);
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

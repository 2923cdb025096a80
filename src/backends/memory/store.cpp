#include "backends/memory/store.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backends/shared/wakes.hpp"
#include "platform/clock.hpp"

namespace cachier::memory {
namespace {

/// Entries on one page of a scan.
constexpr std::size_t kPage = 256;

/// Memory may be short for the words, too.
template <class Make>
Error error_of(ErrorCode code, const Make& make) noexcept {
  try {
    return make();
  } catch (const std::bad_alloc&) {
    return Error(code);
  }
}

Error out_of_memory(const char* what) noexcept {
  return error_of(ErrorCode::unavailable, [&] {
    return Error(ErrorCode::unavailable, std::string("cannot ") + what + " in memory",
                 "out of memory");
  });
}

Error key_too_long(std::size_t size) noexcept {
  return error_of(ErrorCode::too_large, [&] {
    return Error(
        ErrorCode::too_large,
        "cannot store an entry whose key has " + std::to_string(size) + " bytes",
        "the memory store keeps keys of up to 2 GiB", "hash the arguments");
  });
}

/// As many shards as make it unlikely that two processors want the same one.
std::size_t wanted_shards() noexcept {
  static const std::size_t count = std::bit_ceil(std::clamp<std::size_t>(
      std::size_t{4} * std::thread::hardware_concurrency(), 8, 256));
  return count;
}

/// A place in the store: shard, slot, and the birth number its slots must be under.
struct Place {
  std::size_t shard = 0;
  std::uint32_t slot = 0;
  std::uint32_t born = 0;
  bool begun = false;  ///< `slot` and `born` are of that shard's scan

  [[nodiscard]] Cursor text() const {
    return std::to_string(shard) + ':' + std::to_string(slot) + ':' +
           std::to_string(born);
  }
  static bool parse(const Cursor& text, Place& place) noexcept {
    const char* at = text.data();
    const char* const end = at + text.size();
    const auto number = [&](auto& to, bool last) {
      const auto [next, error] = std::from_chars(at, end, to);
      if (error != std::errc{}) return false;
      at = next;
      if (last) return at == end;
      return at != end && *at++ == ':';
    };
    place.begun = true;
    return number(place.shard, false) && number(place.slot, false) &&
           number(place.born, true);
  }
};

}  // namespace

MemoryStore::MemoryStore(Clock clock)
    : clock_(std::move(clock)),
      shard_count_(wanted_shards()),
      shard_shift_(64 - static_cast<unsigned>(std::countr_zero(shard_count_))),
      shards_(std::make_unique<Shard[]>(shard_count_)) {
  std::uint64_t first = 0;
  for (Shard& shard : shards()) shard.table.number_tokens(++first, shard_count_);
  watch_forks();
}

MemoryStore::~MemoryStore() { ignore_forks(); }

Capabilities MemoryStore::capabilities() const noexcept {
  return {.name = "memory", .live_objects = true, .fenced = true, .wakes = true};
}

Time MemoryStore::exact_time() const {
  return clock_ ? clock_() : platform::wall_now();
}
Time MemoryStore::coarse_time() const {
  return clock_ ? clock_() : platform::coarse_wall_now();
}

Result<Look> MemoryStore::look(const Id& id, const Ask& ask, Deadline) noexcept {
  Result<Look> answer(std::in_place);
  try {
    Shard& shard = shard_of(id.digest);
    const std::lock_guard guard(shard.lock);
    const auto seen = shard.table.look(id, ask, [this] { return coarse_time(); });
    if (seen.fresh) shard.hits.raise();
    Look& look = *answer;
    if (seen.slot != nullptr) {
      look.entry.emplace(Entry{value_of(*seen.slot), seen.slot->stored_at,
                               Table::version_of(*seen.slot)});
    }
    look.fresh = seen.fresh;
    look.claim = seen.claim;
    look.outcome = seen.outcome;
    look.token = seen.token;
    look.now = seen.now;
    if (!seen.fresh) tally_.looked(look, why_none(shard.table, id, ask));
  } catch (const std::bad_alloc&) {
    answer = out_of_memory("claim an entry");
  } catch (const std::length_error&) {
    answer = key_too_long(id.key.size());
  }
  return answer;
}

namespace {

/// Most sizes are one of these, for which this is no call.
void copy_bytes(void* to, const void* from, std::size_t size) noexcept {
  switch (size) {
    case 4:
      std::memcpy(to, from, 4);
      break;
    case 8:
      std::memcpy(to, from, 8);
      break;
    case 16:
      std::memcpy(to, from, 16);
      break;
    default:
      std::memcpy(to, from, size);
  }
}

}  // namespace

bool MemoryStore::copy_fresh(const Id& id, const Ask& ask, const std::type_info&,
                             void* to, std::size_t size) noexcept {
  if (ask.unreadable) return false;
  Shard& shard = shard_of(id.digest);
  const std::lock_guard guard(shard.lock);
  const auto* const slot = shard.table.find(*id.function, id.digest, id.key, id.hashed);
  if (slot == nullptr || (slot->none() && !ask.allow_none)) return false;
  if ((slot->flags & Table::Slot::kBoxed) != 0) return false;
  if (ask.max_age != kNoLimit && !is_young(slot->stored_at, ask.max_age)) return false;
  shard.table.touch(*slot);
  shard.hits.raise();
  copy_bytes(to, slot->payload.get(), size);
  return true;
}

bool MemoryStore::is_young(Time stored_at, Duration max_age) const {
  return is_fresh(stored_at, coarse_time(), max_age);
}

StoreMetrics MemoryStore::metrics() const noexcept {
  std::uint64_t hits = 0;
  for (std::size_t n = 0; n < shard_count_; ++n) hits += shards_[n].hits.read();
  return tally_.metrics(hits);
}

Result<Version> MemoryStore::commit(const Id& id, const Change& change,
                                    Deadline) noexcept {
  Result<Version> answer{Version{}};
  try {
    switch (change.kind) {
      case Change::Kind::put:
        answer = put(id, change);
        break;
      case Change::Kind::release: {
        if (!change.token) {
          return Error(ErrorCode::invalid_argument, "cannot release a claim",
                       "a release needs a token");
        }
        Shard& shard = shard_of(id.digest);
        const Time now = exact_time();
        const std::lock_guard guard(shard.lock);
        answer = shard.table.release(id, *change.token, change.outcome, now);
        break;
      }
      case Change::Kind::renew:
        return Error(ErrorCode::unsupported, "cannot renew a claim in memory",
                     "claims of the memory store have no lease: they hold until they "
                     "are given back");
      case Change::Kind::erase:
        answer = erase(id);
        break;
    }
  } catch (const std::bad_alloc&) {
    return out_of_memory("change an entry");
  } catch (const std::length_error&) {
    return key_too_long(id.key.size());
  }
  shared::wake(id.digest);
  return answer;
}

Value MemoryStore::value_of(const Table::Slot& slot) {
  if ((slot.flags & Table::Slot::kBoxed) != 0)
    return *static_cast<const Value*>(slot.payload.get());
  Value value = Value::of_object(slot.payload);
  value.set_none(slot.none());
  return value;
}

namespace {

/// Whether the object, and whether it is an empty answer, is all there is to a value.
/// Its size is nobody's business once it is counted.
bool is_object_alone(const Value& value) noexcept {
  return value.codec() == Codec::live && value.fingerprint() == 0 &&
         value.code() == 0 && !value.is_exception();
}

std::uint64_t size_of(const Value& value) noexcept {
  return value.codec() == Codec::live ? value.object_size() : value.bytes().size();
}

}  // namespace

Result<Version> MemoryStore::put(const Id& id, const Change& change) {
  const Value& value = change.value;
  const bool alone = is_object_alone(value);
  Kept kept = alone ? value.object() : std::make_shared<const Value>(value);
  const auto marks =
      (value.is_none() ? Table::Slot::kNone : 0) | (alone ? 0 : Table::Slot::kBoxed);
  Kept replaced;
  Shard& shard = shard_of(id.digest);
  const Time now = exact_time();
  auto version = [&] {
    const std::lock_guard guard(shard.lock);
    return shard.table.put(id, change, kept, static_cast<std::uint8_t>(marks), now,
                           replaced);
  }();
  if (version && has_bounds_.load(std::memory_order_acquire))
    note_stored(id, version->words[0], size_of(value));
  return version;
}

Result<Version> MemoryStore::erase(const Id& id) {
  Kept removed;
  Shard& shard = shard_of(id.digest);
  const Version version = [&] {
    const std::lock_guard guard(shard.lock);
    return shard.table.erase(id, removed);
  }();
  if (has_bounds_.load(std::memory_order_acquire))
    note_gone(id.digest, version.words[0]);
  return version;
}

Result<Page> MemoryStore::scan(const Filter& filter, const Cursor& from,
                               Deadline) noexcept {
  Result<Page> answer{Page{}};
  try {
    Place place;
    if (!from.empty() && !Place::parse(from, place)) {
      return Error(ErrorCode::invalid_argument, "cannot go on with this scan",
                   "its cursor is not one that this store has given");
    }
    std::vector<Header>& entries = answer->entries;
    entries.reserve(kPage);
    const auto list = [&entries](const Function& function, const auto& slot) {
      const bool boxed = (slot.flags & Table::Slot::kBoxed) != 0;
      const auto* const value =
          boxed ? static_cast<const Value*>(slot.payload.get()) : nullptr;
      const bool live = value == nullptr || value->codec() == Codec::live;
      entries.push_back({
          .function = function.id(),
          .digest = slot.digest,
          .key = std::string(as_text(slot.key())),
          .hashed = slot.hashed(),
          .stored_at = slot.stored_at,
          .size = live ? 0 : value->bytes().size(),
          .codec = live ? Codec::live : value->codec(),
      });
    };
    for (; place.shard < shard_count_; ++place.shard, place.begun = false) {
      Shard& shard = shards_[place.shard];
      const std::lock_guard guard(shard.lock);
      Table::Position position =
          place.begun ? Table::Position{place.slot, place.born} : shard.table.begin();
      const bool more = shard.table.scan(
          position, filter, kPage - entries.size(),
          [&](const auto& slot) { list(shard.table.function_of(slot), slot); });
      if (more) {
        place.slot = position.slot;
        place.born = position.born;
        answer->next = place.text();
        break;
      }
    }
  } catch (const std::bad_alloc&) {
    return out_of_memory("list entries");
  }
  return answer;
}

Result<std::uint64_t> MemoryStore::clear(const Filter& filter, Clear what,
                                         Deadline) noexcept {
  Result<std::uint64_t> answer{0};
  try {
    for (Shard& shard : shards()) {
      std::vector<Kept> removed;
      const std::lock_guard guard(shard.lock);
      *answer += shard.table.clear(filter, what, removed);
    }
  } catch (const std::bad_alloc&) {
    answer = out_of_memory("clear all entries");
  }
  if (has_bounds_.load(std::memory_order_acquire) && what != Clear::claims)
    note_cleared();
  shared::wake_all();
  return answer;
}

std::unique_ptr<Watch> MemoryStore::watch(const Id& id) noexcept {
  return shared::watch(id.digest);
}

void MemoryStore::before_fork() noexcept {
  bounding_.lock();
  for (Shard& shard : shards()) shard.lock.lock();
}

void MemoryStore::after_fork_in_parent() noexcept {
  for (Shard& shard : shards()) shard.lock.unlock();
  bounding_.unlock();
}

void MemoryStore::after_fork_in_child() noexcept {
  for (Shard& shard : shards()) {
    shard.table.forget_claims();
    shard.lock.unlock();
  }
  bounding_.unlock();
}

}  // namespace cachier::memory

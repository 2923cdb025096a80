#include "live_store.hpp"

#include <time.h>

#include <array>
#include <chrono>
#include <new>
#include <utility>
#include <vector>

namespace cachier::python {
namespace {

constexpr std::size_t kPageSize = 256;

/// References given up by threads that do not hold the GIL, or hold a lock.
struct Graveyard {
  std::mutex mutex;
  std::vector<PyObject*> dead;
  bool called = false;  ///< the interpreter has been asked to come by
};

/// Never destroyed: references are given up until the very end.
Graveyard& graveyard() noexcept {
  static auto* const it = new Graveyard;
  return *it;
}

int drop_dead_objects(void*) noexcept {
  drop_what_is_dead();
  return 0;
}

void bury(PyObject* object) noexcept {
  Graveyard& yard = graveyard();
  bool call = false;
  try {
    const std::lock_guard lock(yard.mutex);
    yard.dead.push_back(object);
    call = !std::exchange(yard.called, true);
  } catch (...) {
    return;  // out of memory: one object is never freed
  }
  if (call && !is_finalizing()) Py_AddPendingCall(drop_dead_objects, nullptr);
}

Time time_of(clockid_t clock) noexcept {
  timespec now{};
  clock_gettime(clock, &now);
  return Time(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

Time now() noexcept { return time_of(CLOCK_REALTIME); }

}  // namespace

std::shared_ptr<const void> share_object(PyObject* object) {
  return {static_cast<const void*>(Py_NewRef(object)), [](const void* dead) {
            bury(static_cast<PyObject*>(const_cast<void*>(dead)));
          }};
}

void drop_what_is_dead() noexcept {
  Graveyard& yard = graveyard();
  std::vector<PyObject*> dead;
  {
    const std::lock_guard lock(yard.mutex);
    yard.called = false;
    if (yard.dead.empty()) return;
    dead.swap(yard.dead);
  }
  const ErrorsAside aside;
  for (PyObject* const object : dead) {
    interruptibly([object] { Py_DECREF(object); });
  }
}

/// Attention to the bell of one entry.
class LiveStore::Attention final : public Watch {
 public:
  explicit Attention(Bell& bell) noexcept : bell_(bell) {
    ++bell_.listeners;
    const std::lock_guard lock(bell_.mutex);
    heard_ = bell_.count;
  }
  ~Attention() override { --bell_.listeners; }
  Attention(const Attention&) = delete;
  Attention& operator=(const Attention&) = delete;

  void wait(Deadline deadline) noexcept override {
    const WithGilReleased released;
    std::unique_lock lock(bell_.mutex);
    bell_.rung.wait_until(lock, deadline, [this] { return bell_.count != heard_; });
  }

 private:
  Bell& bell_;
  std::uint64_t heard_ = 0;
};

LiveStore::LiveStore() : bells_(std::make_unique<Bells>()) {}

LiveStore::~LiveStore() { drop_all(); }

bool LiveStore::is_young(const Slot& slot, Duration max_age) noexcept {
  // The coarse clock is cheap and late by a tick at most, so it can only prove youth.
  constexpr Duration kTick = std::chrono::milliseconds(10);
  if (max_age > kTick &&
      is_fresh(slot.stored_at, time_of(CLOCK_REALTIME_COARSE), max_age - kTick)) {
    return true;
  }
  return is_fresh(slot.stored_at, now(), max_age);
}

Capabilities LiveStore::capabilities() const noexcept {
  return {.name = "memory",
          .live_objects = true,
          .persistent = false,
          .shared = false,
          .many_hosts = false,
          .fenced = true,
          .leases = false,
          .sees_death = false,
          .wakes = true};
}

Result<Look> LiveStore::look(const Id& id, const Ask& ask, Deadline) noexcept {
  try {
    const Table::Seen seen = table_.look(id, ask, now);
    Look look;
    if (seen.fresh) {
      ++hits_;
      touch(id);
    }
    if (seen.slot != nullptr) {
      Entry& entry = look.entry.emplace();
      entry.value = Value::of_object(seen.slot->payload);
      entry.value.set_none(seen.slot->none());
      entry.stored_at = seen.slot->stored_at;
      entry.version = table_.version_of(*seen.slot);
    }
    look.fresh = seen.fresh;
    look.claim = seen.claim;
    look.outcome = seen.outcome;
    look.token = seen.token;
    look.now = seen.now;
    if (!look.fresh) tally_.looked(look, memory::why_none(table_, id, ask));
    return look;
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::unavailable, "cannot look into the memory store",
                 "out of memory");
  }
}

Result<Version> LiveStore::commit(const Id& id, const Change& change,
                                  Deadline) noexcept {
  try {
    Bell& bell = bell_of(id.digest);
    std::shared_ptr<const void> removed;
    std::vector<std::shared_ptr<const void>> evicted;
    Result<Version> version = Version{};
    switch (change.kind) {
      case Change::Kind::put: {
        std::shared_ptr<const void> payload = change.value.object();
        version = table_.put(id, change, payload,
                             change.value.is_none() ? Slot::kNone : 0, now(), removed);
        if (Recency* const recency = recency_of(id.function); recency && version) {
          recency->stored(id, change.value.object_size());
          evict(id.function, *recency, evicted);
        }
        break;
      }
      case Change::Kind::release:
        if (!change.token) {
          return Error(ErrorCode::invalid_argument, "cannot release a claim",
                       "a release needs a token");
        }
        version = table_.release(id, *change.token, change.outcome, now());
        break;
      case Change::Kind::renew:
        return Error(ErrorCode::unsupported, "cannot renew a claim in memory",
                     "its claims have no lease: they hold until they are given back");
      case Change::Kind::erase:
        version = table_.erase(id, removed);
        if (Recency* const recency = recency_of(id.function)) recency->gone(id.digest);
        break;
    }
    ring(bell);
    return version;
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::unavailable, "cannot store in memory", "out of memory");
  }
}

bool LiveStore::keep_within(const Function* function, const Bounds& bounds) noexcept {
  if (function == nullptr) return !bounds.any();
  try {
    std::vector<std::shared_ptr<const void>> removed;
    Recency& recency = recencies_[function];
    recency.keep_within(bounds);
    evict(function, recency, removed);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void LiveStore::touch(const Id& id) noexcept {
  if (Recency* const recency = recency_of(id.function)) recency->touch(id.digest);
}

Recency* LiveStore::recency_of(const Function* function) noexcept {
  if (recencies_.empty()) [[likely]] {
    return nullptr;
  }
  const auto found = recencies_.find(function);
  return found == recencies_.end() ? nullptr : &found->second;
}

void LiveStore::evict(const Function* function, Recency& recency,
                      std::vector<std::shared_ptr<const void>>& removed) {
  while (const Recency::Used* const used = recency.beyond()) {
    const Id id{function, used->digest, as_bytes(used->key), used->hashed};
    std::shared_ptr<const void>& object = removed.emplace_back();
    (void)table_.erase(id, object);
    recency.gone(id.digest);
    tally_.evicted(1);
  }
}

void LiveStore::keep(const Id& id, PyObject* object, Time stored_at) noexcept {
  try {
    std::shared_ptr<const void> payload = share_object(object);
    std::shared_ptr<const void> replaced;
    (void)table_.put(id, Change(), payload, object == Py_None ? Slot::kNone : 0,
                     stored_at, replaced);
  } catch (const std::bad_alloc&) {
    return;  // the store has it
  }
}

Result<Page> LiveStore::scan(const Filter& filter, const Cursor& from,
                             Deadline) noexcept {
  try {
    Table::Position position = table_.begin();
    if (!from.empty()) {
      if (from.size() != sizeof position) {
        return Error(ErrorCode::invalid_argument, "cannot list the memory store",
                     "the cursor is not one of its own");
      }
      std::memcpy(&position, from.data(), sizeof position);
    }
    Page page;
    const auto list = [&](const Slot& slot) {
      Header& header = page.entries.emplace_back();
      header.function = table_.function_of(slot).id();
      header.digest = slot.digest;
      header.key = std::string(as_text(slot.key()));
      header.hashed = slot.hashed();
      header.stored_at = slot.stored_at;
    };
    if (table_.scan(position, filter, kPageSize, list)) {
      page.next.assign(reinterpret_cast<const char*>(&position), sizeof position);
    }
    return page;
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::unavailable, "cannot list the memory store",
                 "out of memory");
  }
}

Result<std::uint64_t> LiveStore::clear(const Filter& filter, Clear what,
                                       Deadline) noexcept {
  try {
    std::vector<std::shared_ptr<const void>> removed;
    const std::uint64_t count = table_.clear(filter, what, removed);
    for (auto& [function, recency] : recencies_) {
      if (filter.function != nullptr && filter.function != function) continue;
      recency.forget_what_is_gone([&, of = function](const Recency::Used& used) {
        return table_.find(*of, used.digest, as_bytes(used.key), used.hashed) !=
               nullptr;
      });
    }
    for (Bell& bell : *bells_) ring(bell);
    return count;
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::unavailable, "cannot clear the memory store",
                 "out of memory");
  }
}

std::vector<std::shared_ptr<const void>> LiveStore::objects_of(
    const Function& function) const {
  Filter filter;
  filter.function = &function;
  std::vector<std::shared_ptr<const void>> objects;
  Table::Position position = table_.begin();
  table_.scan(position, filter, table_.size(),
              [&](const Slot& slot) { objects.push_back(slot.payload); });
  return objects;
}

std::unique_ptr<Watch> LiveStore::watch(const Id& id) noexcept {
  return std::unique_ptr<Watch>(new (std::nothrow) Attention(bell_of(id.digest)));
}

void LiveStore::ring(Bell& bell) noexcept {
  if (bell.listeners == 0) return;
  {
    const std::lock_guard lock(bell.mutex);
    ++bell.count;
  }
  bell.rung.notify_all();
}

void LiveStore::after_fork_in_child() noexcept {
  table_.forget_claims();
  // Whoever held or awaited one of the old ones is not here to let go of it.
  (void)bells_.release();
  bells_ = std::make_unique<Bells>();
}

int LiveStore::traverse(visitproc visit, void* arg) const noexcept {
  Table::Position position = table_.begin();
  int stop = 0;
  table_.scan(position, Filter{}, table_.size(), [&](const Slot& slot) {
    if (stop == 0) stop = visit(object_of(slot.payload), arg);
  });
  return stop;
}

void LiveStore::drop_all() noexcept {
  try {
    std::vector<std::shared_ptr<const void>> removed;
    table_.clear(Filter{}, Clear::entries, removed);
  } catch (const std::bad_alloc&) {
    return;  // the collector comes again
  }
}

}  // namespace cachier::python

/// The driver for callers that may block: it does what the call machine says, on the
/// calling thread.

#include <cachier/engine.hpp>

#include <chrono>
#include <limits>
#include <utility>

#include "engine/course.hpp"

namespace cachier::engine {
namespace {

/// How soon to look again where there was no memory for a watch. Short, as a door may
/// hold a lock of its language meanwhile.
constexpr auto kNap = std::chrono::milliseconds(1);

void wait(Course& course) {
  const auto slice = course.before_wait();
  if (!slice) return;
  if (course.watch() != nullptr) {
    course.watch()->wait(SteadyClock::now() + *slice);
  } else {
    platform::pause_for(kNap);
  }
  course.after_wait();
}

Ended run(Course course, Work& work) {
  for (;;) {
    switch (course.next()) {
      case Course::Next::store:
        course.act();
        break;
      case Course::Next::wait:
        wait(course);
        break;
      case Course::Next::compute:
        course.after_compute(work.compute(course.before_compute()));
        break;
      case Course::Next::done:
        return course.end();
    }
  }
}

}  // namespace

Counters& nobodys_counters() noexcept {
  static auto* const counters = new Counters;
  return *counters;
}

namespace {
[[maybe_unused]] const Counters& made_at_load = nobodys_counters();
}

bool recall(Store& store, const Id& id, const Policy& policy, Work& work,
            Counters& counters, std::uint64_t most_bytes) noexcept {
  if (policy.skip || policy.overwrite) return false;
  Ask ask;
  ask.max_age = policy.max_age;
  ask.allow_none = policy.allow_none;
  const auto entry = store.recall(id, ask);
  if (!entry) return false;
  const bool live = entry->value.codec() == Codec::live;
  if (!live && entry->value.bytes().size() > most_bytes) return false;
  if (!work.accept(*entry)) return false;
  count(counters.hits);
  work.on(Step::entry_found);
  return true;
}

Ended call(const std::shared_ptr<Store>& store, const Id& id, const Policy& policy,
           Work& work, Counters* counters) noexcept {
  Counters& counted = counters != nullptr ? *counters : nobodys_counters();
  constexpr auto kAny = std::numeric_limits<std::uint64_t>::max();
  if (recall(*store, id, policy, work, counted, kAny)) return {};
  return run(Course(store, id, policy, work, counted), work);
}

Ended run_refresh(std::unique_ptr<Refresh> ticket, Work& work) noexcept {
  auto& granted = static_cast<GrantedRefresh&>(*ticket);
  const Id id = granted.id();
  return run(Course(granted.store(), id, granted.policy(), work, granted.counters(),
                    granted.token(), granted.use()),
             work);
}

Result<Version> precache(Store& store, const Id& id, Value value,
                         const Policy& policy) noexcept {
  Change change;
  change.kind = Change::Kind::put;
  change.value = std::move(value);
  return store.commit(id, change, SteadyClock::now() + policy.operation_timeout);
}

}  // namespace cachier::engine

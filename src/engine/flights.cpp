#include "engine/flights.hpp"

#include <algorithm>

#include "platform/fork.hpp"

namespace cachier::engine {
namespace {

bool is_of(const Frame& frame, const FlightKey& key) noexcept {
  return frame.store == key.store && frame.function == key.function &&
         frame.digest == key.digest;
}

FlightKey key_of(const Frame& frame) noexcept {
  return {frame.store, frame.function, frame.digest};
}

/// Whether `frame` is `inner` or one of those that it runs within.
bool in_chain(const Frame& frame, const Frame* inner) noexcept {
  for (; inner != nullptr; inner = inner->parent.get()) {
    if (inner == &frame) return true;
  }
  return false;
}

}  // namespace

std::shared_ptr<const Frame>& thread_frame() noexcept {
  thread_local std::shared_ptr<const Frame> innermost;
  return innermost;
}

Flights& Flights::of_process() noexcept {
  static Flights* const flights = new Flights;
  return *flights;
}

namespace {
[[maybe_unused]] const Flights& made_at_load = Flights::of_process();
}

Flights::Flights() {
  platform::at_fork({
      .before = [this] { mutex_.lock(); },
      .in_parent = [this] { mutex_.unlock(); },
      .in_child =
          [this] {
            flights_.clear();
            waits_.clear();
            mutex_.unlock();
          },
  });
}

void Flights::began(const std::shared_ptr<const Frame>& frame) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Flight>& flight = flights_[key_of(*frame)];
  if (!flight) flight = std::make_shared<Flight>();
  flight->owner = frame;
}

void Flights::ended(const Frame& frame, HandedOver handed) {
  std::shared_ptr<Flight> over;  // its last reference is dropped outside the lock
  const std::lock_guard lock(mutex_);
  const auto found = flights_.find(key_of(frame));
  if (found == flights_.end() || found->second->owner.get() != &frame) return;
  found->second->owner = nullptr;
  if (found->second->attendants == 0 || handed.shared) {
    found->second->handed = std::move(handed);
    over = std::move(found->second);
    flights_.erase(found);
  }
}

std::unique_ptr<Flights::Attention> Flights::attend(
    const FlightKey& key, const std::shared_ptr<const Frame>& enclosing) {
  for (const Frame* frame = enclosing.get(); frame != nullptr;
       frame = frame->parent.get()) {
    if (is_of(*frame, key)) return nullptr;
  }
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Flight>& flight = flights_[key];
  if (!flight) flight = std::make_shared<Flight>();
  if (enclosing) {
    if (closes_circle(*flight, *enclosing)) {
      forget_if_idle(key, *flight);
      return nullptr;
    }
    waits_.push_back({enclosing, flight});
  }
  ++flight->attendants;
  return std::unique_ptr<Attention>(new Attention(*this, key, flight, enclosing));
}

// Follows the waits from the flight's owner on: a wait within a computation keeps that
// computation, and all those around it, from ending.
bool Flights::closes_circle(const Flight& flight, const Frame& enclosing) const {
  std::vector<const Flight*> reached{&flight};
  for (std::size_t next = 0; next < reached.size(); ++next) {
    const Frame* const owner = reached[next]->owner.get();
    if (owner == nullptr) continue;
    if (in_chain(*owner, &enclosing)) return true;
    for (const Wait& wait : waits_) {
      if (!in_chain(*owner, wait.within.get())) continue;
      if (std::find(reached.begin(), reached.end(), wait.flight.get()) ==
          reached.end()) {
        reached.push_back(wait.flight.get());
      }
    }
  }
  return false;
}

void Flights::leave(const FlightKey& key, const std::shared_ptr<Flight>& flight,
                    const Frame* within) noexcept {
  const std::lock_guard lock(mutex_);
  --flight->attendants;
  if (within != nullptr) {
    const auto wait = std::find_if(waits_.begin(), waits_.end(), [&](const Wait& one) {
      return one.within.get() == within && one.flight == flight;
    });
    if (wait != waits_.end()) {
      *wait = std::move(waits_.back());
      waits_.pop_back();
    }
  }
  forget_if_idle(key, *flight);
}

void Flights::forget_if_idle(const FlightKey& key, const Flight& flight) noexcept {
  if (flight.owner || flight.attendants > 0) return;
  const auto found = flights_.find(key);
  if (found != flights_.end() && found->second.get() == &flight) flights_.erase(found);
}

Flights::Attention::~Attention() { flights_.leave(key_, flight_, within_.get()); }

HandedOver Flights::Attention::handed() const {
  const std::lock_guard lock(flights_.mutex_);
  return flight_->handed;
}

}  // namespace cachier::engine

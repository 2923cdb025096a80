#pragma once

/// Claims that end by time, over a store whose claims do not: what a server does.

#include <cachier/store.hpp>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

#include "platform/fork_aware.hpp"
#include "support/forwarding_store.hpp"

namespace cachier::test {

/// A lease that has run out ends its claim when the next caller looks. The store behind
/// must be fenced. Thread-safe.
class LeasingStore : public ForwardingStore, private platform::ForkAware {
 public:
  LeasingStore(std::shared_ptr<Store> store, std::function<Time()> clock)
      : ForwardingStore(std::move(store)), clock_(std::move(clock)) {
    watch_forks();
  }
  ~LeasingStore() override { ignore_forks(); }

  [[nodiscard]] Capabilities capabilities() const noexcept override {
    Capabilities can = behind().capabilities();
    can.leases = true;
    return can;
  }

  Result<Look> look(const Id& id, const Ask& ask, Deadline deadline) noexcept override {
    const std::lock_guard guard(lock_);
    const auto held = held_.find(place_of(id));
    if (held != held_.end() && held->second.until <= clock_()) {
      Change release;
      release.kind = Change::Kind::release;
      release.token = held->second.token;
      (void)behind().commit(id, release, deadline);
      held_.erase(held);
    }
    Result<Look> answer = behind().look(id, ask, deadline);
    if (answer && answer->claim == Look::Claim::granted) {
      held_[place_of(id)] = {answer->token, end_of(ask.lease)};
    }
    return answer;
  }

  Result<Version> commit(const Id& id, const Change& change,
                         Deadline deadline) noexcept override {
    if (change.kind == Change::Kind::renew) return renew(id, change);
    const bool ends = change.token && change.kind != Change::Kind::erase;
    // Not under the lock: a value that goes may use the store.
    Result<Version> answer = behind().commit(id, change, deadline);
    const std::lock_guard guard(lock_);
    if (ends && (answer || answer.error() == ErrorCode::claim_lost)) {
      const auto held = held_.find(place_of(id));
      if (held != held_.end() && held->second.token == *change.token) held_.erase(held);
    }
    return answer;
  }

  Result<std::uint64_t> clear(const Filter& filter, Clear what,
                              Deadline deadline) noexcept override {
    if (what == Clear::claims) {
      const std::lock_guard guard(lock_);
      std::erase_if(held_, [&](const auto& one) {
        return filter.function == nullptr || std::get<0>(one.first) == filter.function;
      });
    }
    return behind().clear(filter, what, deadline);
  }

 protected:
  virtual Result<Version> renew(const Id& id, const Change& change) {
    const std::lock_guard guard(lock_);
    if (!change.token) {
      return Error(ErrorCode::invalid_argument, "cannot renew a claim",
                   "a renewal needs a token");
    }
    const auto held = held_.find(place_of(id));
    if (held == held_.end() || !(held->second.token == *change.token))
      return ErrorCode::claim_lost;
    held->second.until = end_of(change.lease);
    return change.token->basis.version;
  }

 private:
  using Place = std::tuple<const Function*, std::uint64_t, std::uint64_t, std::string>;
  struct Held {
    Token token;
    Time until;
  };

  static Place place_of(const Id& id) {
    return {id.function, id.digest.low, id.digest.high, std::string(as_text(id.key))};
  }
  [[nodiscard]] Time end_of(Duration lease) const {
    return lease == kNoLimit ? Time::max() : clock_() + lease;
  }

  void before_fork() noexcept override { lock_.lock(); }
  void after_fork_in_parent() noexcept override { lock_.unlock(); }
  void after_fork_in_child() noexcept override {
    held_.clear();
    lock_.unlock();
  }

  std::function<Time()> clock_;
  std::mutex lock_;
  std::map<Place, Held> held_;
};

}  // namespace cachier::test

#pragma once

/// The actions of a call: what the machine says, done. Drivers choose on which thread,
/// and how its caller waits meanwhile.

#include <cachier/engine.hpp>
#include <cachier/log.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "engine/call.hpp"
#include "engine/flights.hpp"
#include "engine/owned_id.hpp"
#include "engine/renewal.hpp"
#include "platform/clock.hpp"
#include "platform/fork.hpp"

namespace cachier::engine {

using SteadyClock = std::chrono::steady_clock;

/// A wake-up is a hint, and an owner that died gives none: nobody sleeps longer than
/// this before looking again.
inline constexpr auto kLongestSlice = std::chrono::milliseconds(50);
inline constexpr auto kShortestSlice = std::chrono::milliseconds(40);
/// A wait of this length is worth a line in the log.
inline constexpr auto kLongWait = std::chrono::seconds(5);

/// Waiters that started together should not look again together.
inline Duration slice_with_jitter() noexcept {
  thread_local std::minstd_rand random(static_cast<std::minstd_rand::result_type>(
      SteadyClock::now().time_since_epoch().count()));
  constexpr Duration spread = kLongestSlice - kShortestSlice;
  return kShortestSlice +
         Duration(static_cast<Duration::rep>(random()) % spread.count());
}

inline void count(std::atomic<std::uint64_t>& counter) noexcept {
  counter.fetch_add(1, std::memory_order_relaxed);
}

/// Where calls count that nobody counts.
[[nodiscard]] Counters& nobodys_counters() noexcept;

[[nodiscard]] inline Change release_of(const Token& token,
                                       Outcome outcome = Outcome::none) noexcept {
  Change change;
  change.kind = Change::Kind::release;
  change.token = token;
  change.outcome = outcome;
  return change;
}

/// Says that somebody else has written what was found.
inline void log_untrusted(const Id& id, const Store& store) noexcept {
  try {
    log(LogLevel::warning,
        "did not use an entry of " + id.function->id() +
            "\n  cause: no signing key of ours has signed it\n  fix: find out who else "
            "writes to " +
            store.location() + "; or give all programs the same signing keys");
  } catch (const std::bad_alloc&) {  // It is counted.
  }
}

class GrantedRefresh final : public Refresh {
 public:
  GrantedRefresh(std::shared_ptr<Store> store, const Id& id, const Policy& policy,
                 const Token& token, std::unique_ptr<Renewal> renewal,
                 Counters& counters)
      : store_(std::move(store)),
        id_(id),
        policy_(policy),
        token_(token),
        renewal_(std::move(renewal)),
        counters_(&counters),
        fork_count_(platform::fork_count()) {}

  ~GrantedRefresh() override {
    renewal_ = nullptr;
    if (!used_ && platform::fork_count() == fork_count_) {
      (void)store_->commit(id_.view(), release_of(token_),
                           SteadyClock::now() + policy_.operation_timeout);
    }
  }
  GrantedRefresh(const GrantedRefresh&) = delete;
  GrantedRefresh& operator=(const GrantedRefresh&) = delete;

  /// From now on the claim is the runner's, to keep and to give back.
  [[nodiscard]] std::unique_ptr<Renewal> use() noexcept {
    used_ = true;
    return std::move(renewal_);
  }
  [[nodiscard]] const std::shared_ptr<Store>& store() const noexcept { return store_; }
  [[nodiscard]] Id id() const noexcept { return id_.view(); }
  [[nodiscard]] const Policy& policy() const noexcept { return policy_; }
  [[nodiscard]] const Token& token() const noexcept { return token_; }
  [[nodiscard]] Counters& counters() const noexcept { return *counters_; }

 private:
  std::shared_ptr<Store> store_;
  OwnedId id_;
  Policy policy_;
  Token token_;
  std::unique_ptr<Renewal> renewal_;
  Counters* counters_;
  std::uint64_t fork_count_;
  bool used_ = false;
};

[[nodiscard]] inline Wants wants_of(const Policy& policy) noexcept {
  // What will never be fresh, nobody need wait for.
  const bool never_fresh = policy.max_age <= Duration::zero() && !policy.next_time;
  return {.skip = policy.skip,
          .overwrite = policy.overwrite || never_fresh,
          .next_time = policy.next_time};
}

/// One call on its way. Used by one thread at a time.
class Course {
 public:
  using Next = Steps::Next;

  Course(const std::shared_ptr<Store>& store, const Id& id, const Policy& policy,
         Work& work, Counters& counters) noexcept
      : Course(store, id, policy, work, counters, Call<>(wants_of(policy)), nullptr) {}
  /// Of a refresh that holds the claim of `token`.
  Course(const std::shared_ptr<Store>& store, const Id& id, const Policy& policy,
         Work& work, Counters& counters, const Token& token,
         std::unique_ptr<Renewal> renewal) noexcept
      : Course(store, id, policy, work, counters, Call<>::of_refresh(token),
               std::move(renewal)) {
    refresh_ = true;
  }

  Course(const Course&) = delete;
  Course& operator=(const Course&) = delete;
  /// A caller that went away leaves nobody in flight.
  ~Course() {
    if (frame_) Flights::of_process().ended(*frame_, {});
  }

  [[nodiscard]] Next next() const noexcept {
    if (answered_) return Next::done;
    switch (next_) {
      case Do::look:
      case Do::attend:
      case Do::put:
      case Do::release:
      case Do::give_entry:
      case Do::give_stale:
      case Do::give_refresh:
        return Next::store;
      case Do::wait:
        return Next::wait;
      case Do::compute:
        return Next::compute;
      default:
        return Next::done;
    }
  }

  /// For `Next::store`: all of it, here and now.
  void act() {
    while (next() == Next::store) {
      if (next_ == Do::look) {
        const Deadline deadline = begin_look();
        looked(store_->look(id_, ask(), deadline));
      } else if (const auto change = begin_commit()) {
        committed(store_->commit(id_, *change, soon()));
      }
    }
  }

  /// `act` in halves: what needs no answer of the store, and what it is to be asked
  /// next, if anything; then `looked` or `committed`.
  [[nodiscard]] std::optional<Operation> begin() {
    while (next() == Next::store) {
      if (next_ == Do::look) return Operation{ask(), begin_look()};
      if (auto change = begin_commit()) return Operation{std::move(*change), soon()};
    }
    return std::nullopt;
  }
  void looked(Result<Look>&& answer) { next_ = end_look(std::move(answer)); }
  void committed(const Result<Version>& answer) {
    next_ = next_ == Do::put ? end_put(answer) : end_release(answer);
  }

  /// For `Next::wait`: how long to, at most. Nothing: waited long enough, the wait is
  /// over.
  [[nodiscard]] std::optional<Duration> before_wait() {
    const auto now = SteadyClock::now();
    if (!waits_since_) {
      waits_since_ = now;
      work_.on(Step::waiting);
    }
    if (!told_of_long_wait_ && now - *waits_since_ > kLongWait) {
      told_of_long_wait_ = true;
      work_.waits_for(look_.owner_process);
    }
    const Duration slice = slice_with_jitter();
    if (policy_.wait_limit == kNoLimit) return slice;
    const Duration left = policy_.wait_limit - (now - *waits_since_);
    if (left <= Duration::zero()) {
      count(counters_.wait_timeouts);
      stop_waiting();
      next_ = machine_.timed_out();
      return std::nullopt;
    }
    return std::min(slice, left);
  }
  [[nodiscard]] const std::shared_ptr<Watch>& watch() const noexcept { return watch_; }
  void after_wait() {
    if (HandedOver handed = attention_->handed(); handed.shared) {
      next_ = take(std::move(handed));
    } else {
      next_ = work_.interrupted() ? machine_.interrupted() : machine_.woke();
    }
  }

  /// For `Next::compute`: the frame that the function is to run in, null if it has
  /// none.
  [[nodiscard]] std::shared_ptr<const Frame> before_compute() {
    stop_waiting();
    if (!policy_.skip && !refresh_) {
      // Who overwrites looks for no entry.
      if (look_.entry && !policy_.overwrite) {
        count(counters_.stale_hits);
        work_.on(Step::entry_stale);
      } else {
        work_.on(Step::no_entry);
      }
      count(counters_.misses);
      count(counters_.recalculations);
    }
    look_.entry.reset();
    if (machine_.claimed()) {
      frame_ = std::make_shared<const Frame>(
          Frame{work_.enclosing(), store_.get(), id_.function, id_.digest});
      Flights::of_process().began(frame_);
    }
    work_.on(Step::calling);
    runs_since_ = SteadyClock::now();
    return frame_;
  }
  void after_compute(Work::Ran how) {
    ran_ = how;
    if (!policy_.skip) {
      const Duration took = SteadyClock::now() - runs_since_;
      counters_.run_time.fetch_add(static_cast<std::uint64_t>(took.count()),
                                   std::memory_order_relaxed);
    }
    const bool in_child = is_in_child();
    if (in_child) frame_ = nullptr;
    next_ = machine_.ran(ran_, in_child);
  }

  /// For `Next::done`.
  [[nodiscard]] Ended end() {
    if (answered_) return {};
    switch (next_) {
      case Do::give_handed:
        count(counters_.waits);
        return ended(work_.adopt(handed_));
      case Do::give_up:
        return {.how = Ended::How::interrupted, .error = {}};
      case Do::raise:
        return {.how = Ended::How::error, .error = error_};
      default:
        if (frame_) Flights::of_process().ended(*frame_, {});
        frame_ = nullptr;
        return ended(ran_);
    }
  }

  /// The answer that the store knows without waiting, where it is one of at most
  /// `most_bytes`, taken.
  [[nodiscard]] bool recall(std::uint64_t most_bytes) {
    if (next_ != Do::look && next_ != Do::attend) return answered_;
    if (!machine_.wants_claim() || machine_.attending() || unreadable_) return false;
    auto entry = store_->recall(id_, ask());
    if (!entry) return false;
    const bool live = entry->value.codec() == Codec::live;
    if (!live && entry->value.bytes().size() > most_bytes) return false;
    look_.entry = std::move(entry);
    return answered_ = accept(Do::give_entry);
  }

  /// Whether a claim is held that nothing has been computed with: before `compute`, its
  /// caller may go away.
  [[nodiscard]] bool holds_claim() const noexcept {
    return next_ == Do::compute && machine_.claimed() && !is_in_child();
  }
  /// The caller is gone before it could compute.
  void give_back() {
    if (const auto change = begin_give_back()) {
      (void)store_->commit(id_, *change, soon());
    }
  }
  /// The first half of it; the second is nothing.
  [[nodiscard]] std::optional<Operation> operation_to_give_back() {
    auto change = begin_give_back();
    if (!change) return std::nullopt;
    return Operation{std::move(*change), soon()};
  }

 private:
  static Ended ended(Work::Ran how) noexcept {
    return {.how = how == Work::Ran::threw ? Ended::How::exception : Ended::How::value,
            .error = {}};
  }

  [[nodiscard]] Deadline soon() const noexcept {
    return SteadyClock::now() + policy_.operation_timeout;
  }

  [[nodiscard]] Ask ask() const noexcept {
    Ask ask;
    ask.max_age = policy_.max_age;
    ask.allow_none = policy_.allow_none;
    ask.claim = machine_.wants_claim();
    ask.lease = policy_.lease;
    ask.unreadable = unreadable_;
    return ask;
  }
  [[nodiscard]] bool is_in_child() const noexcept {
    return platform::fork_count() != fork_count_;
  }

  [[nodiscard]] Deadline begin_look() noexcept {
    looked_at_ = SteadyClock::now();
    return looked_at_ + policy_.operation_timeout;
  }
  Do end_look(Result<Look>&& answer) {
    if (!answer) {
      const bool refused = answer.error() == ErrorCode::refused;
      const bool raise = refused ? policy_.raise_refusals : policy_.raise_outages;
      count(counters_.store_errors);
      if (raise) {
        error_ = answer.error();
      } else {
        work_.store_failed(answer.error());
      }
      return machine_.look_failed(raise);
    }
    look_ = std::move(*answer);
    if (look_.damaged) count(counters_.damaged);
    if (look_.untrusted) {
      count(counters_.untrusted);
      log_untrusted(id_, *store_);
    }
    const Do next = machine_.looked(look_);
    if (machine_.claimed()) {
      renewal_ = Renewal::of(store_, id_, machine_.token(), policy_, looked_at_);
    }
    return next;
  }

  // The order matters: attention first, then the look that the machine asks for next,
  // then the wait. So neither a release nor a handed result is missed.
  Do attend() {
    if (!attention_) {
      enclosing_ = work_.enclosing();
      attention_ = Flights::of_process().attend(
          {store_.get(), id_.function, id_.digest}, enclosing_);
      if (!attention_) return machine_.circular();
    }
    watch_ = store_->watch(id_);
    if (HandedOver handed = attention_->handed(); handed.shared) {
      return take(std::move(handed));
    }
    return machine_.attended();
  }

  Do take(HandedOver handed) {
    stop_waiting();
    if (*handed.type != work_.shared_type()) return machine_.timed_out();
    handed_ = std::move(handed.shared);
    return machine_.handed(handed.basis);
  }

  void stop_waiting() {
    watch_ = nullptr;
    attention_ = nullptr;
  }

  /// What the store is to change. Nothing: that went without it.
  [[nodiscard]] std::optional<Change> begin_commit() {
    switch (next_) {
      case Do::put:
        return begin_put();
      case Do::release:
        return begin_release();
      case Do::attend:
        next_ = attend();
        return std::nullopt;
      default:
        answered_ = accept(next_);
        if (!answered_) next_ = machine_.unreadable();
        return std::nullopt;
    }
  }

  [[nodiscard]] std::optional<Change> begin_put() {
    Result<Value> value = work_.encode(policy_.size_limit);
    stop_renewing();
    if (!value) {
      if (value.error() == ErrorCode::too_large) {
        count(counters_.size_rejections);
        work_.on(Step::too_large);
      }
      next_ = machine_.put_ended(Put::unstorable);
      return std::nullopt;
    }
    if (value->is_none() && !policy_.allow_none) {
      machine_.is_empty();
      // Before the put wakes those who wait.
      if (machine_.keeps_claim()) hand_over();
    }
    Change change = machine_.change();
    change.value = std::move(*value);
    return change;
  }
  Do end_put(const Result<Version>& stored) {
    if (stored) {
      work_.on(Step::stored);
      return machine_.put_ended(Put::stored, *stored);
    }
    if (stored.error() == ErrorCode::claim_lost) {
      count(counters_.lost_claims);
      return machine_.put_ended(Put::lost);
    }
    count(counters_.store_errors);
    work_.store_failed(stored.error());
    return machine_.put_ended(Put::failed);
  }

  void hand_over() {
    if (!frame_) return;
    Flights::of_process().ended(
        *frame_, {work_.share(), machine_.token().basis, &work_.shared_type()});
  }

  // What is under way now ends the claim. What went wrong with keeping it is told here,
  // by the thread whose call it is.
  void stop_renewing() {
    if (!renewal_) return;
    const Renewal::Report report = renewal_->end();
    renewal_ = nullptr;
    if (report.lost) count(counters_.lost_leases);
    if (report.failures == 0) return;
    counters_.store_errors.fetch_add(report.failures, std::memory_order_relaxed);
    work_.store_failed(*report.error);
  }

  // What is handed over must be there before the claim is free: whoever then finds it
  // free has either been handed the result or came later.
  [[nodiscard]] Change begin_release() {
    stop_renewing();
    hand_over();
    return release_of(machine_.token(), machine_.outcome());
  }
  Do end_release(const Result<Version>& released) {
    if (!released && !(released.error() == ErrorCode::claim_lost)) {
      count(counters_.store_errors);
      work_.store_failed(released.error());
    }
    return machine_.released();
  }

  [[nodiscard]] std::optional<Change> begin_give_back() {
    stop_waiting();
    if (!holds_claim()) return std::nullopt;
    stop_renewing();
    next_ = machine_.interrupted();
    return release_of(machine_.token());
  }

  bool accept(Do how) {
    const bool waited = attention_ != nullptr;
    stop_waiting();
    const Entry entry = std::move(*look_.entry);
    look_.entry.reset();
    if (!work_.accept(entry)) {
      count(counters_.unreadable);
      unreadable_ = entry.version;
      return false;
    }
    if (how == Do::give_entry) {
      count(waited ? counters_.waits : counters_.hits);
      work_.on(Step::entry_found);
      return true;
    }
    count(counters_.stale_hits);
    count(counters_.misses);
    work_.on(Step::entry_stale);
    if (how == Do::give_refresh) {
      count(counters_.recalculations);
      // Not started, the ticket gives the claim back as it is destroyed.
      (void)work_.start_refresh(std::make_unique<GrantedRefresh>(
          store_, id_, policy_, machine_.token(), std::move(renewal_), counters_));
    }
    return true;
  }

  Course(const std::shared_ptr<Store>& store, const Id& id, const Policy& policy,
         Work& work, Counters& counters, Call<> machine,
         std::unique_ptr<Renewal> renewal) noexcept
      : store_(store),
        id_(id),
        policy_(policy),
        work_(work),
        counters_(counters),
        machine_(machine),
        fork_count_(platform::fork_count()),
        next_(machine_.start()),
        renewal_(std::move(renewal)) {}

  const std::shared_ptr<Store>& store_;
  const Id& id_;
  const Policy& policy_;
  Work& work_;
  Counters& counters_;
  Call<> machine_;
  bool refresh_ = false;  ///< its caller has been answered and counted
  std::uint64_t fork_count_;

  Do next_;
  bool answered_ = false;  ///< by an entry
  Look look_;
  std::optional<Version> unreadable_;
  std::optional<Error> error_;
  Work::Ran ran_ = Work::Ran::returned;
  std::shared_ptr<const void> handed_;
  std::shared_ptr<const Frame> enclosing_;
  std::shared_ptr<const Frame> frame_;
  std::unique_ptr<Renewal> renewal_;  ///< of the claim, where it would end by time
  SteadyClock::time_point looked_at_;
  std::unique_ptr<Flights::Attention> attention_;
  std::shared_ptr<Watch> watch_;
  std::optional<SteadyClock::time_point> waits_since_;
  SteadyClock::time_point runs_since_;
  bool told_of_long_wait_ = false;
};

}  // namespace cachier::engine

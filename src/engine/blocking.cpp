/// The driver for callers that may block: it does what the call machine says, on the
/// calling thread.

#include <cachier/engine.hpp>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <utility>

#include "engine/call.hpp"
#include "engine/flights.hpp"
#include "platform/clock.hpp"
#include "platform/fork.hpp"

namespace cachier::engine {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// A wake-up is a hint, and an owner that died gives none: nobody sleeps longer than
/// this before looking again.
constexpr auto kLongestSlice = std::chrono::milliseconds(50);
constexpr auto kShortestSlice = std::chrono::milliseconds(40);
/// How soon to look again where there was no memory for a watch. Short, as a door may
/// hold a lock of its language meanwhile.
constexpr auto kNap = std::chrono::milliseconds(1);
/// A wait of this length is worth a line in the log.
constexpr auto kLongWait = std::chrono::seconds(5);

/// Waiters that started together should not look again together.
Duration slice_with_jitter() noexcept {
  thread_local std::minstd_rand random(static_cast<std::minstd_rand::result_type>(
      SteadyClock::now().time_since_epoch().count()));
  constexpr Duration spread = kLongestSlice - kShortestSlice;
  return kShortestSlice +
         Duration(static_cast<Duration::rep>(random()) % spread.count());
}

void count(std::atomic<std::uint64_t>& counter) noexcept {
  counter.fetch_add(1, std::memory_order_relaxed);
}

/// An `Id` that owns its bytes, for what outlives the call.
struct OwnedId {
  explicit OwnedId(const Id& id)
      : function(id.function),
        digest(id.digest),
        key(as_text(id.key)),
        hashed(id.hashed) {}
  [[nodiscard]] Id view() const noexcept {
    return {function, digest, as_bytes(key), hashed};
  }

  const Function* function;
  Digest digest;
  std::string key;
  bool hashed;
};

Counters& nobodys_counters() noexcept {
  static auto* const counters = new Counters;
  return *counters;
}

[[maybe_unused]] const Counters& made_at_load = nobodys_counters();

class GrantedRefresh final : public Refresh {
 public:
  GrantedRefresh(std::shared_ptr<Store> store, const Id& id, const Policy& policy,
                 const Token& token, Counters& counters)
      : store_(std::move(store)),
        id_(id),
        policy_(policy),
        token_(token),
        counters_(&counters),
        fork_count_(platform::fork_count()) {}

  ~GrantedRefresh() override {
    if (!used_ && platform::fork_count() == fork_count_) {
      Change change;
      change.kind = Change::Kind::release;
      change.token = token_;
      (void)store_->commit(id_.view(), change,
                           SteadyClock::now() + policy_.operation_timeout);
    }
  }
  GrantedRefresh(const GrantedRefresh&) = delete;
  GrantedRefresh& operator=(const GrantedRefresh&) = delete;

 private:
  friend Ended engine::run_refresh(std::unique_ptr<Refresh>, Work&) noexcept;

  std::shared_ptr<Store> store_;
  OwnedId id_;
  Policy policy_;
  Token token_;
  Counters* counters_;
  std::uint64_t fork_count_;
  bool used_ = false;
};

class BlockingDriver {
 public:
  BlockingDriver(const std::shared_ptr<Store>& store, const Id& id,
                 const Policy& policy, Work& work, Counters& counters, Call<> machine,
                 bool refresh) noexcept
      : store_(store),
        id_(id),
        policy_(policy),
        work_(work),
        counters_(counters),
        machine_(machine),
        refresh_(refresh),
        fork_count_(platform::fork_count()) {}

  Ended run() {
    for (Do next = machine_.start();;) {
      switch (next) {
        case Do::look:
          next = look();
          break;
        case Do::attend:
          next = attend();
          break;
        case Do::wait:
          next = wait();
          break;
        case Do::compute:
          next = compute();
          break;
        case Do::put:
          next = put();
          break;
        case Do::release:
          next = release();
          break;
        case Do::give_entry:
        case Do::give_stale:
        case Do::give_refresh:
          if (accept(next)) return {};
          next = machine_.unreadable();
          break;
        case Do::give_own:
          if (frame_) Flights::of_process().ended(*frame_, {});
          return ended(ran_);
        case Do::give_handed:
          count(counters_.waits);
          return ended(work_.adopt(handed_));
        case Do::give_up:
          return {.how = Ended::How::interrupted, .error = {}};
        case Do::raise:
          return {.how = Ended::How::error, .error = error_};
      }
    }
  }

 private:
  static Ended ended(Work::Ran how) noexcept {
    return {.how = how == Work::Ran::threw ? Ended::How::exception : Ended::How::value,
            .error = {}};
  }

  [[nodiscard]] Deadline soon() const noexcept {
    return SteadyClock::now() + policy_.operation_timeout;
  }

  Do look() {
    Ask ask;
    ask.max_age = policy_.max_age;
    ask.allow_none = policy_.allow_none;
    ask.claim = machine_.wants_claim();
    ask.unreadable = unreadable_;
    Result<Look> answer = store_->look(id_, ask, soon());
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
    return machine_.looked(look_);
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

  Do wait() {
    const auto now = SteadyClock::now();
    if (!waits_since_) {
      waits_since_ = now;
      work_.on(Step::waiting);
    }
    if (!told_of_long_wait_ && now - *waits_since_ > kLongWait) {
      told_of_long_wait_ = true;
      work_.waits_for(look_.owner_process);
    }
    Duration slice = slice_with_jitter();
    if (policy_.wait_limit != kNoLimit) {
      const Duration left = policy_.wait_limit - (now - *waits_since_);
      if (left <= Duration::zero()) return give_up_waiting();
      slice = std::min(slice, left);
    }
    if (watch_ != nullptr) {
      watch_->wait(now + slice);
    } else {
      platform::pause_for(kNap);
    }
    if (HandedOver handed = attention_->handed(); handed.shared) {
      return take(std::move(handed));
    }
    if (work_.interrupted()) return machine_.interrupted();
    return machine_.woke();
  }

  Do take(HandedOver handed) {
    stop_waiting();
    if (*handed.type != work_.shared_type()) return machine_.timed_out();
    handed_ = std::move(handed.shared);
    return machine_.handed(handed.basis);
  }

  Do give_up_waiting() {
    count(counters_.wait_timeouts);
    stop_waiting();
    return machine_.timed_out();
  }

  void stop_waiting() {
    watch_ = nullptr;
    attention_ = nullptr;
  }

  Do compute() {
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
    ran_ = work_.compute(frame_);
    const bool in_child = platform::fork_count() != fork_count_;
    if (in_child) frame_ = nullptr;
    return machine_.ran(ran_, in_child);
  }

  Do put() {
    Result<Value> value = work_.encode(policy_.size_limit);
    if (!value) {
      if (value.error() == ErrorCode::too_large) {
        count(counters_.size_rejections);
        work_.on(Step::too_large);
      }
      return machine_.put_ended(Put::unstorable);
    }
    if (value->is_none() && !policy_.allow_none) {
      machine_.is_empty();
      // Before the put wakes those who wait.
      if (machine_.keeps_claim()) hand_over();
    }
    Change change = machine_.change();
    change.value = std::move(*value);
    const Result<Version> stored = store_->commit(id_, change, soon());
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

  // What is handed over must be there before the claim is free: whoever then finds it
  // free has either been handed the result or came later.
  Do release() {
    hand_over();
    Change change;
    change.kind = Change::Kind::release;
    change.token = machine_.token();
    change.outcome = machine_.outcome();
    const Result<Version> released = store_->commit(id_, change, soon());
    if (!released && !(released.error() == ErrorCode::claim_lost)) {
      count(counters_.store_errors);
      work_.store_failed(released.error());
    }
    return machine_.released();
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
          store_, id_, policy_, machine_.token(), counters_));
    }
    return true;
  }

  const std::shared_ptr<Store>& store_;
  const Id& id_;
  const Policy& policy_;
  Work& work_;
  Counters& counters_;
  Call<> machine_;
  bool refresh_;  ///< its caller has been answered and counted
  std::uint64_t fork_count_;

  Look look_;
  std::optional<Version> unreadable_;
  std::optional<Error> error_;
  Work::Ran ran_ = Work::Ran::returned;
  std::shared_ptr<const void> handed_;
  std::shared_ptr<const Frame> enclosing_;
  std::shared_ptr<const Frame> frame_;
  std::unique_ptr<Flights::Attention> attention_;
  std::unique_ptr<Watch> watch_;
  std::optional<SteadyClock::time_point> waits_since_;
  bool told_of_long_wait_ = false;
};

}  // namespace

Ended call(const std::shared_ptr<Store>& store, const Id& id, const Policy& policy,
           Work& work, Counters* counters) noexcept {
  Counters& counted = counters != nullptr ? *counters : nobodys_counters();
  if (!policy.skip && !policy.overwrite) {
    Ask ask;
    ask.max_age = policy.max_age;
    ask.allow_none = policy.allow_none;
    if (const auto entry = store->recall(id, ask); entry && work.accept(*entry)) {
      count(counted.hits);
      work.on(Step::entry_found);
      return {};
    }
  }
  // What will never be fresh, nobody need wait for.
  const bool never_fresh = policy.max_age <= Duration::zero() && !policy.next_time;
  const Wants wants{.skip = policy.skip,
                    .overwrite = policy.overwrite || never_fresh,
                    .next_time = policy.next_time};
  return BlockingDriver(store, id, policy, work, counted, Call<>(wants), false).run();
}

Ended run_refresh(std::unique_ptr<Refresh> ticket, Work& work) noexcept {
  auto& granted = static_cast<GrantedRefresh&>(*ticket);
  granted.used_ = true;
  const Id id = granted.id_.view();
  return BlockingDriver(granted.store_, id, granted.policy_, work, *granted.counters_,
                        Call<>::of_refresh(granted.token_), true)
      .run();
}

Result<Version> precache(Store& store, const Id& id, Value value,
                         const Policy& policy) noexcept {
  Change change;
  change.kind = Change::Kind::put;
  change.value = std::move(value);
  return store.commit(id, change, SteadyClock::now() + policy.operation_timeout);
}

}  // namespace cachier::engine

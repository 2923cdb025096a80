#include "engine/renewal.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <new>
#include <utility>

#include "engine/owned_id.hpp"
#include "platform/fork.hpp"
#include "platform/futex.hpp"
#include "platform/lock.hpp"
#include "platform/thread.hpp"

namespace cachier::engine {
namespace {

using SteadyClock = std::chrono::steady_clock;
using platform::Reach;

/// A renewal may fail twice, and the claim still holds.
constexpr int kRenewalsALease = 3;
/// How often an outage is tried in the time of a lease.
constexpr int kTriesALease = 30;
constexpr Duration kLeastPause = std::chrono::milliseconds(1);

/// A store that does not answer keeps this many threads, and the others are renewed.
constexpr std::ptrdiff_t kMostAStore = 4;
constexpr std::size_t kMostThreads = 16;

bool is_outage(const Error& error) noexcept {
  return error == ErrorCode::unavailable || error == ErrorCode::deadline_exceeded;
}

}  // namespace

/// Shared by its owner and the thread that is renewing it.
struct Renewal::Claim {
  Claim(const std::shared_ptr<Store>& of, const Id& entry, const Token& granted,
        const Policy& policy)
      : store(of), id(entry), lease(policy.lease), timeout(policy.operation_timeout) {
    change.kind = Change::Kind::renew;
    change.token = granted;
    change.lease = lease;
  }

  std::shared_ptr<Store> store;
  OwnedId id;
  Change change;
  Duration lease;
  Duration timeout;
  // Under the lock of `Renewals`:
  using Queue = std::multimap<Deadline, std::shared_ptr<Claim>>;
  Queue::iterator place;  ///< where it is `queued`
  Queue::node_type node;  ///< else: what it is queued with
  bool queued = false;
  bool ended = false;
  Report report;

  [[nodiscard]] Duration pause(int parts) const noexcept {
    return std::max(lease / parts, kLeastPause);
  }
  [[nodiscard]] Result<Version> renew() const noexcept {
    const Duration time = std::min(timeout, pause(kRenewalsALease));
    return store->commit(id.view(), change, SteadyClock::now() + time);
  }
};

/// One of the threads, the leader, sleeps until the next claim is due; before it turns
/// to the store another one takes its place. Never destroyed; begins anew in the child
/// of a fork, with nothing.
class Renewals {
 public:
  using Claim = Renewal::Claim;
  using Queue = Claim::Queue;

  static Renewals& of_process() noexcept {
    static auto* const renewals = new Renewals;
    return *renewals;
  }

  void add(const std::shared_ptr<Claim>& claim, Deadline due) {
    Queue one;
    one.emplace(due, claim);
    const std::lock_guard hold(lock_);
    if (closed_) return;
    claim->node = one.extract(one.begin());
    queue(claim, due);
    if (!led_) {
      find_leader();
    } else if (due < led_until_) {
      wake(leader_);
    }
  }

  Renewal::Report remove(Claim& claim) noexcept {
    std::shared_ptr<Claim> removed;  // its last reference is dropped outside the lock
    const std::lock_guard hold(lock_);
    claim.ended = true;
    if (claim.queued) removed = take(claim.place);
    return std::move(claim.report);
  }

  void close() noexcept {
    std::size_t started = 0;
    {
      const std::lock_guard hold(lock_);
      closed_ = true;
      started = std::exchange(started_, 0);
      leader_.fetch_add(1);
      followers_.fetch_add(1);
    }
    futex_wake_all(leader_, Reach::process);
    futex_wake_all(followers_, Reach::process);
    for (std::size_t n = 0; n < started; ++n) threads_[n].join();
  }

 private:
  Renewals() {
    platform::at_fork({
        .before = [this] { lock_.lock(); },
        .in_parent = [this] { lock_.unlock(); },
        .in_child = [this] { begin_anew(); },
    });
  }

  // The threads did not come along. The claims are the parent's, and what they refer to
  // is left alone.
  void begin_anew() {
    (void)new Queue(std::move(queue_));
    queue_.clear();
    asked_.fill(nullptr);
    started_ = idle_ = 0;
    led_ = coming_ = false;
    lock_.reset_in_child();
  }

  static void wake(std::atomic<std::uint32_t>& word) noexcept {
    word.fetch_add(1);
    futex_wake_one(word, Reach::process);
  }

  void queue(const std::shared_ptr<Claim>& claim, Deadline due) noexcept {
    claim->node.key() = due;
    claim->node.mapped() = claim;
    claim->place = queue_.insert(std::move(claim->node));
    claim->queued = true;
  }
  std::shared_ptr<Claim> take(Queue::iterator place) noexcept {
    Queue::node_type node = queue_.extract(place);
    std::shared_ptr<Claim> claim = std::move(node.mapped());
    claim->node = std::move(node);
    claim->queued = false;
    return claim;
  }

  /// With the lock: has somebody wait for what is due next, if nobody does.
  void find_leader() noexcept {
    if (led_ || coming_ || queue_.empty()) return;
    if (idle_ > 0) {
      coming_ = true;
      wake(followers_);
    } else if (started_ < threads_.size()) {
      const auto body = [](void* self) { static_cast<Renewals*>(self)->work(); };
      // If not, the next claim that is added tries again.
      coming_ = threads_[started_].start("cachier-renewal", body, this);
      if (coming_) ++started_;
    }
  }

  [[nodiscard]] bool is_asked_enough(const Store* store) const noexcept {
    return std::count(asked_.begin(), asked_.end(), store) >= kMostAStore;
  }

  void work() noexcept {
    while (const auto claim = next()) {
      const auto began = SteadyClock::now();
      settle(claim, claim->renew(), began);
    }
  }

  /// Waits for the next claim that is due. Null: it is over.
  std::shared_ptr<Claim> next() noexcept {
    std::unique_lock hold(lock_);
    while (led_ && !closed_) {
      ++idle_;
      sleep(hold, followers_, Deadline::max());
      --idle_;
    }
    led_ = true;
    coming_ = false;
    while (!closed_) {
      const auto due =
          std::find_if(queue_.begin(), queue_.end(), [this](const auto& one) {
            return !is_asked_enough(one.second->store.get());
          });
      led_until_ = due == queue_.end() ? Deadline::max() : due->first;
      if (led_until_ > SteadyClock::now()) {
        sleep(hold, leader_, led_until_);
        continue;
      }
      auto claim = take(due);
      *std::find(asked_.begin(), asked_.end(), nullptr) = claim->store.get();
      led_ = false;
      find_leader();
      return claim;
    }
    return nullptr;
  }

  void settle(const std::shared_ptr<Claim>& claim, const Result<Version>& answer,
              Deadline began) noexcept {
    const std::lock_guard hold(lock_);
    const Store* const store = claim->store.get();
    // The leader has passed over the others of this store.
    if (led_ && is_asked_enough(store)) wake(leader_);
    *std::find(asked_.begin(), asked_.end(), store) = nullptr;
    if (claim->ended || closed_) return;
    if (answer) {
      queue(claim, began + claim->pause(kRenewalsALease));
    } else if (answer.error() == ErrorCode::claim_lost) {
      claim->report.lost = true;
    } else {
      ++claim->report.failures;
      claim->report.error = answer.error();
      const int parts = is_outage(answer.error()) ? kTriesALease : kRenewalsALease;
      queue(claim, SteadyClock::now() + claim->pause(parts));
    }
    if (led_ && claim->queued && claim->place->first < led_until_) wake(leader_);
  }

  static void sleep(std::unique_lock<platform::Lock>& hold,
                    const std::atomic<std::uint32_t>& word, Deadline until) noexcept {
    const std::uint32_t seen = word.load();
    hold.unlock();
    futex_wait(word, seen, until, Reach::process);
    hold.lock();
  }

  platform::Lock lock_;
  Queue queue_;  ///< by when they are due
  /// The stores that threads are asking.
  std::array<const Store*, kMostThreads> asked_{};
  std::array<platform::Thread, kMostThreads> threads_;
  std::size_t started_ = 0;
  std::size_t idle_ = 0;  ///< threads that wait for their turn to lead
  bool led_ = false;      ///< somebody sleeps until `led_until_`
  bool coming_ = false;   ///< somebody is on the way to lead
  bool closed_ = false;
  Deadline led_until_;
  std::atomic<std::uint32_t> leader_{0};  ///< what the leader sleeps on
  std::atomic<std::uint32_t> followers_{0};
};

namespace {
[[maybe_unused]] const Renewals& made_at_load = Renewals::of_process();
}

std::unique_ptr<Renewal> Renewal::of(const std::shared_ptr<Store>& store, const Id& id,
                                     const Token& token, const Policy& policy,
                                     Deadline asked_at) noexcept {
  const bool ends = policy.lease > Duration::zero() && policy.lease != kNoLimit;
  if (!ends || !store->capabilities().leases) return nullptr;
  try {
    auto claim = std::make_shared<Claim>(store, id, token, policy);
    std::unique_ptr<Renewal> renewal(new Renewal(claim));
    Renewals::of_process().add(claim, asked_at + claim->pause(kRenewalsALease));
    return renewal;
  } catch (const std::bad_alloc&) {
    return nullptr;  // it holds as long as its lease
  }
}

Renewal::Renewal(std::shared_ptr<Claim> claim) noexcept
    : claim_(std::move(claim)), fork_count_(platform::fork_count()) {}

Renewal::Report Renewal::end() noexcept {
  const auto claim = std::exchange(claim_, nullptr);
  if (!claim || platform::fork_count() != fork_count_) return {};
  return Renewals::of_process().remove(*claim);
}

void end_renewals() noexcept { Renewals::of_process().close(); }

}  // namespace cachier::engine

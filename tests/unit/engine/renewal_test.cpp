/// Leases: that the engine renews the claims of what is running, and no others.

#include <gtest/gtest.h>
#include <cachier/engine.hpp>
#include <cachier/options.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "backends/memory/memory.hpp"
#include "support/child_process.hpp"
#include "support/clock.hpp"
#include "support/eventually.hpp"
#include "support/leasing_store.hpp"
#include "unit/engine/script.hpp"

namespace cachier::test {
namespace {

using namespace std::chrono_literals;
using engine::Policy;
using engine::Steps;

#ifdef __SANITIZE_THREAD__
constexpr bool kThreadsInChildren = false;  // ThreadSanitizer starts none there
#else
constexpr bool kThreadsInChildren = true;
#endif

/// Renewals are counted by the first letter of the key.
using Counts = std::array<std::atomic<int>, 128>;

std::atomic<int>& at(Counts& counts, const Id& id) noexcept {
  return counts[static_cast<std::size_t>(id.key[0])];
}

/// A store with leases by a clock of its own, that is told how to answer renewals.
class RenewedStore final : public LeasingStore {
 public:
  explicit RenewedStore(const ManualClock& clock, bool has_leases = true)
      : LeasingStore(make_memory_store(clock), clock), has_leases_(has_leases) {}

  [[nodiscard]] Capabilities capabilities() const noexcept override {
    Capabilities can = LeasingStore::capabilities();
    can.leases = has_leases_;
    return can;
  }

  Counts tries{};
  Counts failing{};  ///< how often more
  Counts lost{};
  std::atomic<bool> hangs{false};
  std::function<void(char)> on_try = [](char) {};

 protected:
  Result<Version> renew(const Id& id, const Change& change) override {
    ++at(tries, id);
    on_try(static_cast<char>(id.key[0]));
    hangs.wait(true);
    if (at(failing, id) > 0) {
      --at(failing, id);
      return ErrorCode::unavailable;
    }
    Result<Version> answer = LeasingStore::renew(id, change);
    if (!answer) ++at(lost, id);
    return answer;
  }

 private:
  bool has_leases_;
};

class RenewalTest : public testing::Test {
 protected:
  static Id id(std::string_view key) {
    return {&Function::intern("cachier:renewal_test"),
            {std::hash<std::string_view>{}(key), 7},
            as_bytes(key),
            false};
  }
  static Policy leased(Duration lease) {
    Policy policy;
    policy.lease = lease;
    return policy;
  }

  engine::Ended call(std::string_view key, Script& script, Duration lease = kLease) {
    return engine::call(store_, id(key), leased(lease), script, &counters_);
  }
  [[nodiscard]] int tries(char key) const {
    return store_->tries[static_cast<std::size_t>(key)];
  }
  /// Returns when the claim has been renewed `more` times from now on. The first may
  /// have been under way already.
  void until_renewed(char key, int more) const {
    const int seen = tries(key);
    EXPECT_TRUE(eventually([&] { return tries(key) >= seen + more; }));
  }
  /// Time for whatever is due now and then: a claim of its own is renewed some times.
  void let_pass() {
    Script script([&] { return until_renewed('~', 5), 0; });
    (void)call("~", script);
    Change erase;
    erase.kind = Change::Kind::erase;
    EXPECT_TRUE(store_->commit(id("~"), erase, Deadline::max()));
  }
  Look look(std::string_view key) {
    Ask ask;
    ask.lease = 1h;
    return *store_->look(id(key), ask, Deadline::max());
  }

  static constexpr Duration kLease = 30ms;

  ManualClock clock_;
  std::shared_ptr<RenewedStore> store_ = std::make_shared<RenewedStore>(clock_);
  Counters counters_;
};

TEST_F(RenewalTest, AClaimHoldsAsLongAsItsFunctionRuns) {
  Script script([&] {
    for (int i = 0; i < 5; ++i) {
      clock_.advance(kLease * 2 / 3);
      until_renewed('k', 2);
      EXPECT_EQ(look("k").claim, Look::Claim::busy);
    }
    return 1;
  });

  (void)call("k", script);

  EXPECT_EQ(look("k").entry->value.bytes().size(), 1U) << "stored";
  EXPECT_EQ(counters_.lost_leases, 0U);
  EXPECT_EQ(counters_.store_errors, 0U);
}

TEST_F(RenewalTest, NothingIsRenewedAfterTheCall) {
  Script script([&] { return until_renewed('k', 1), 1; });
  (void)call("k", script);
  Script throws([&]() -> int {
    until_renewed('t', 1);
    throw std::runtime_error("no luck");
  });
  (void)call("t", throws);
  const int stored = tries('k');
  const int thrown = tries('t');

  let_pass();

  // One may have been under way.
  EXPECT_LE(tries('k'), stored + 1);
  EXPECT_LE(tries('t'), thrown + 1);
  EXPECT_EQ(counters_.lost_leases, 0U);
}

TEST_F(RenewalTest, AnOutageIsTriedAgainSoon) {
  // Shared, as one may be under way when the test has ended.
  struct Order {
    std::mutex lock;
    std::string keys;
  };
  const auto tried = std::make_shared<Order>();
  store_->on_try = [tried](char key) {
    const std::lock_guard guard(tried->lock);
    tried->keys += key;
  };
  store_->failing['a'] = 1;
  Script other([&] { return until_renewed('b', 2), 2; });
  Script script([&] {
    std::thread beside([&] { (void)call("b", other, 1500ms); });
    beside.join();
    return 1;
  });

  (void)call("a", script, 1500ms);

  const std::lock_guard guard(tried->lock);
  const std::string& order = tried->keys;
  EXPECT_LT(order.find('a', order.find('a') + 1), order.rfind('b'))
      << "before the other one's next turn: " << order;
  EXPECT_EQ(counters_.store_errors, 1U);
  EXPECT_EQ(counters_.lost_leases, 0U);
  ASSERT_TRUE(script.store_error);
  EXPECT_TRUE(*script.store_error == ErrorCode::unavailable);
  EXPECT_TRUE(look("a").fresh);
}

TEST_F(RenewalTest, AClaimThatIsLostIsRenewedNoMore) {
  Script script([&] {
    clock_.advance(2 * kLease);
    // Before a renewal comes, or after it: then it holds for another lease.
    if (look("k").claim != Look::Claim::granted) {
      EXPECT_TRUE(store_->clear({.function = id("k").function}, Clear::claims,
                                Deadline::max()));
      EXPECT_EQ(look("k").claim, Look::Claim::granted);
    }
    EXPECT_TRUE(eventually([&] { return store_->lost['k'] > 0; }));
    const int seen = tries('k');
    let_pass();
    EXPECT_EQ(tries('k'), seen);
    return 1;
  });

  EXPECT_EQ(call("k", script).how, engine::Ended::How::value);

  EXPECT_EQ(script.result, 1) << "the caller's own";
  EXPECT_EQ(counters_.lost_leases, 1U);
  EXPECT_EQ(counters_.lost_claims, 1U);
  EXPECT_FALSE(look("k").entry) << "it is the later owner's to store";
  EXPECT_FALSE(script.store_error);
}

TEST_F(RenewalTest, ARefreshIsRenewedFromItsGrantOn) {
  Script first([] { return 1; });
  (void)call("k", first);
  Policy policy = leased(kLease);
  policy.max_age = Duration::zero();
  policy.next_time = true;
  Script stale([&] { return until_renewed('k', 2), 2; });
  (void)engine::call(store_, id("k"), policy, stale, &counters_);
  ASSERT_TRUE(stale.refresh);

  until_renewed('k', 2);
  (void)engine::run_refresh(std::move(stale.refresh), stale);

  EXPECT_EQ(counters_.lost_leases, 0U);
  EXPECT_EQ(look("k").entry->value.bytes()[0], std::byte{'2'});
}

TEST_F(RenewalTest, ARefreshThatIsNotRunEndsItsRenewal) {
  Script first([] { return 1; });
  (void)call("k", first);
  Policy policy = leased(kLease);
  policy.max_age = Duration::zero();
  policy.next_time = true;
  Script stale([] { return 2; });
  (void)engine::call(store_, id("k"), policy, stale, &counters_);
  until_renewed('k', 1);
  stale.refresh = nullptr;
  const int seen = tries('k');

  let_pass();

  EXPECT_LE(tries('k'), seen + 1);
}

TEST_F(RenewalTest, StepsAreRenewedBetweenLookAndCommit) {
  Script script([] { return 1; });
  const auto steps = Steps::of_call(store_, id("k"), leased(kLease), script, counters_);
  const auto look = steps->begin();
  EXPECT_EQ(std::get<Ask>(look->what).lease, kLease);
  steps->looked(store_->look(id("k"), std::get<Ask>(look->what), look->deadline));
  until_renewed('k', 2);
  const auto frame = steps->before_compute();
  until_renewed('k', 2);
  steps->after_compute(script.compute(frame));
  until_renewed('k', 2);
  steps->act();

  EXPECT_EQ(steps->next(), Steps::Next::done);
  EXPECT_EQ(counters_.lost_leases, 0U);
  EXPECT_TRUE(this->look("k").fresh);
}

TEST_F(RenewalTest, ACallerWhoGoesAwayIsRenewedNoMore) {
  Script script([] { return 1; });
  auto gives_back = Steps::of_call(store_, id("g"), leased(kLease), script, counters_);
  gives_back->act();
  until_renewed('g', 1);
  gives_back->give_back();
  auto vanishes = Steps::of_call(store_, id("v"), leased(kLease), script, counters_);
  vanishes->act();
  until_renewed('v', 1);
  vanishes = nullptr;
  const int given_back = tries('g');
  const int vanished = tries('v');

  let_pass();

  EXPECT_LE(tries('g'), given_back + 1);
  EXPECT_LE(tries('v'), vanished + 1);
}

TEST_F(RenewalTest, WhatDoesNotEndByTimeIsNotRenewed) {
  const auto without = std::make_shared<RenewedStore>(clock_, false);
  Script plain([&] { return let_pass(), 1; });
  (void)engine::call(without, id("k"), leased(kLease), plain, &counters_);
  EXPECT_EQ(without->tries['k'], 0);

  Script endless([&] { return let_pass(), 1; });
  (void)call("k", endless, kNoLimit);
  EXPECT_EQ(tries('k'), 0);
}

TEST_F(RenewalTest, AStoreThatHangsKeepsNobodyElse) {
  const auto hanging = std::make_shared<RenewedStore>(clock_);
  hanging->hangs = true;
  std::vector<std::unique_ptr<Steps>> held;
  Script script([] { return 1; });
  for (int n = 0; n < 20; ++n) {
    const std::string key = "k" + std::to_string(n);
    held.push_back(Steps::of_call(hanging, id(key), leased(1ms), script, counters_));
    held.back()->act();
  }
  EXPECT_TRUE(eventually([&] { return hanging->tries['k'] > 0; }));

  let_pass();

  hanging->hangs = false;
  hanging->hangs.notify_all();
}

TEST_F(RenewalTest, AThousandAreRenewed) {
  std::vector<std::unique_ptr<Steps>> held;
  Script script([] { return 1; });
  for (int n = 0; n < 1000; ++n) {
    const std::string key = "k" + std::to_string(n);
    held.push_back(Steps::of_call(store_, id(key), leased(300ms), script, counters_));
    held.back()->act();
  }
  until_renewed('k', 3000);
  for (const auto& steps : held) {
    EXPECT_TRUE(steps->holds_claim());
    steps->give_back();
  }
  EXPECT_EQ(counters_.lost_leases, 0U);
}

/// How many threads of this process renew claims.
int renewing_threads() {
  int found = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name == "cachier-renewal") ++found;
  }
  return found;
}

TEST_F(RenewalTest, AChildRenewsNothingOfItsParent) {
  if (!kThreadsInChildren) GTEST_SKIP() << "no threads in forked children";
  Script script([&] {
    until_renewed('p', 1);
    ChildProcess child([&](Channel&) {
      EXPECT_EQ(renewing_threads(), 0);
      const int seen = tries('p');
      Script own([&] { return until_renewed('c', 3), 2; });
      (void)call("c", own);
      EXPECT_EQ(tries('p'), seen);
      return 0;
    });
    EXPECT_EQ(child.wait(), 0);
    until_renewed('p', 2);
    return 1;
  });

  (void)call("p", script);

  EXPECT_EQ(counters_.lost_leases, 0U);
  EXPECT_TRUE(look("p").fresh);
}

TEST_F(RenewalTest, AChildMayReturnFromWhatItsParentBegan) {
  bool in_child = false;
  Script script([&] {
    until_renewed('k', 1);
    const pid_t pid = ::fork();
    in_child = pid == 0;
    if (in_child) return 1;
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 2;
  });
  (void)call("k", script);
  if (in_child) ::_exit(script.result == 1 ? 0 : 1);
  EXPECT_EQ(look("k").entry->value.bytes()[0], std::byte{'2'});
}

TEST_F(RenewalTest, ShutdownEndsIt) {
  if (!kThreadsInChildren) GTEST_SKIP() << "no threads in forked children";
  // What is shut down stays so: in a process of its own.
  ChildProcess child([&](Channel&) {
    Script script([&] {
      until_renewed('k', 1);
      EXPECT_GT(renewing_threads(), 0);
      shutdown();
      EXPECT_EQ(renewing_threads(), 0);
      return 1;
    });
    (void)call("k", script);
    EXPECT_TRUE(look("k").fresh);
    Script later([] { return 2; });
    (void)call("l", later);
    EXPECT_TRUE(look("l").fresh);
    EXPECT_EQ(renewing_threads(), 0);
    shutdown();
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace cachier::test

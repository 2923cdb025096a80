/// The blocking driver on the real memory store: what callers in threads see.

#include <gtest/gtest.h>
#include <cachier/engine.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "backends/memory/memory.hpp"
#include "support/forwarding_store.hpp"
#include "unit/engine/script.hpp"

namespace cachier::test {
namespace {

using namespace std::chrono_literals;
using engine::Ended;
using engine::Policy;
using How = Ended::How;

class Driver : public testing::Test {
 protected:
  static Id id(std::string_view key) {
    Id id;
    id.function = &Function::intern("cachier:driver_test");
    id.key = as_bytes(key);
    id.digest = {std::hash<std::string_view>{}(key), 7};
    return id;
  }

  Ended call(std::string_view key, Script& script, const Policy& policy = {}) {
    return engine::call(store_, id(key), policy, script, &counters_);
  }

  /// Returns once somebody waits for `key`'s computation: until then `in` is held open.
  static void until(const std::atomic<std::uint64_t>& count, std::uint64_t reached) {
    while (count.load() < reached) std::this_thread::yield();
  }

  std::shared_ptr<Store> store_ = make_memory_store();
  Counters counters_;
};

/// A script that says when it begins to wait.
class Waiter : public Script {
 public:
  Waiter(std::function<int()> function, std::atomic<std::uint64_t>& waiting)
      : Script(std::move(function)), waiting_(waiting) {}
  void on(engine::Step step) noexcept override {
    if (step == engine::Step::waiting) ++waiting_;
  }

 private:
  std::atomic<std::uint64_t>& waiting_;
};

TEST_F(Driver, ComputesOnceAndAnswersFromTheStore) {
  int runs = 0;
  Script first([&] { return ++runs; });
  Script second([&] { return ++runs; });

  EXPECT_EQ(call("a", first).how, How::value);
  EXPECT_EQ(call("a", second).how, How::value);

  EXPECT_EQ(first.result, 1);
  EXPECT_EQ(second.result, 1);
  EXPECT_EQ(counters_.hits, 1U);
  EXPECT_EQ(counters_.misses, 1U);
  EXPECT_EQ(counters_.recalculations, 1U);
}

TEST_F(Driver, AllWhoWaitGetTheOneResult) {
  constexpr int kWaiters = 32;
  std::atomic<int> runs{0};
  std::atomic<std::uint64_t> waiting{0};
  std::promise<void> may_end;
  auto ended = may_end.get_future().share();
  const auto function = [&] {
    ended.wait();
    return ++runs;
  };
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int i = 0; i <= kWaiters; ++i) {
    threads.emplace_back([&] {
      Waiter waiter(function, waiting);
      EXPECT_EQ(call("slow", waiter).how, How::value);
      sum += waiter.result;
    });
  }
  until(waiting, kWaiters);
  may_end.set_value();
  for (auto& thread : threads) thread.join();

  EXPECT_EQ(runs, 1);
  EXPECT_EQ(sum, kWaiters + 1);
  EXPECT_EQ(counters_.waits, static_cast<std::uint64_t>(kWaiters));
  EXPECT_EQ(counters_.hits, 0U);
}

/// A store that has no memory for watches.
class Unwatched final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  std::unique_ptr<Watch> watch(const Id&) noexcept override { return nullptr; }
};

TEST_F(Driver, WhoCannotWatchLooksAgain) {
  store_ = std::make_shared<Unwatched>(store_);
  std::atomic<std::uint64_t> waiting{0};
  std::promise<void> may_end;
  std::atomic<bool> owned{false};
  std::thread owner([&] {
    Script script([&] {
      owned = true;
      may_end.get_future().wait();
      return 1;
    });
    EXPECT_EQ(call("k", script).how, How::value);
  });
  while (!owned) std::this_thread::yield();
  std::thread waiter([&] {
    Waiter script([] { return 2; }, waiting);
    EXPECT_EQ(call("k", script).how, How::value);
    EXPECT_EQ(script.result, 1);
  });
  until(waiting, 1);
  may_end.set_value();
  owner.join();
  waiter.join();
}

TEST_F(Driver, AnExceptionReachesOwnerAndWaitersAndIsNotStored) {
  std::atomic<int> runs{0};
  std::atomic<std::uint64_t> waiting{0};
  std::promise<void> may_end;
  auto ended = may_end.get_future().share();
  const auto function = [&]() -> int {
    ended.wait();
    ++runs;
    throw std::runtime_error("no luck");
  };
  std::atomic<int> thrown{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Waiter waiter(function, waiting);
      if (call("throws", waiter).how == How::exception && waiter.thrown) ++thrown;
    });
  }
  until(waiting, 3);
  may_end.set_value();
  for (auto& thread : threads) thread.join();

  EXPECT_EQ(thrown, 4);
  EXPECT_EQ(runs, 1);
  Script again([] { return 5; });
  EXPECT_EQ(call("throws", again).how, How::value);
  EXPECT_EQ(again.result, 5);
}

TEST_F(Driver, AnInterruptIsTheOwnersAlone) {
  std::atomic<std::uint64_t> waiting{0};
  std::promise<void> may_end;
  auto ended = may_end.get_future();
  Script owner([&]() -> int {
    ended.wait();
    throw std::runtime_error("interrupted by the keyboard");
  });
  owner.shares = false;
  Waiter waiter([] { return 2; }, waiting);
  std::thread owning([&] { EXPECT_EQ(call("k", owner).how, How::exception); });
  until(counters_.misses, 1);
  std::thread waits([&] { EXPECT_EQ(call("k", waiter).how, How::value); });
  until(waiting, 1);
  may_end.set_value();
  owning.join();
  waits.join();

  EXPECT_EQ(waiter.result, 2);
  EXPECT_FALSE(waiter.adopted);
}

TEST_F(Driver, WaitersOfAnUnstorableResultGetItHandedOver) {
  std::atomic<std::uint64_t> waiting{0};
  std::atomic<int> runs{0};
  std::promise<void> may_end;
  auto ended = may_end.get_future().share();
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      Waiter waiter(
          [&] {
            ended.wait();
            return ++runs;
          },
          waiting);
      waiter.unstorable = true;
      EXPECT_EQ(call("big", waiter).how, How::value);
      sum += waiter.result;
    });
  }
  until(waiting, 7);
  may_end.set_value();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(sum, 8);
}

TEST_F(Driver, WaitersOfAnEmptyAnswerThatDoesNotCountGetItHandedOver) {
  std::atomic<std::uint64_t> waiting{0};
  std::atomic<int> runs{0};
  std::promise<void> may_end;
  auto ended = may_end.get_future().share();
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      Waiter waiter(
          [&] {
            ended.wait();
            return ++runs;
          },
          waiting);
      waiter.empty = true;
      EXPECT_EQ(call("empty", waiter).how, How::value);
      sum += waiter.result;
    });
  }
  until(waiting, 7);
  may_end.set_value();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(sum, 8);

  // It is stored all the same, for those to whom it is an answer.
  Script other([&] { return ++runs; });
  Policy policy;
  policy.allow_none = true;
  EXPECT_EQ(call("empty", other, policy).how, How::value);
  EXPECT_EQ(other.result, 1);
  EXPECT_EQ(runs, 1);
}

TEST_F(Driver, NobodyWaitsForWhatWillNeverBeFresh) {
  Policy policy;
  policy.max_age = Duration::zero();
  // Each waits for the other one to be inside.
  std::latch both(2);
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      Script script([&] {
        both.arrive_and_wait();
        return 1;
      });
      EXPECT_EQ(call("k", script, policy).how, How::value);
    });
  }
  for (auto& thread : threads) thread.join();
  Script later([] { return 2; });
  EXPECT_EQ(call("k", later).how, How::value);
  EXPECT_EQ(later.result, 1) << "what was computed is stored";
}

TEST_F(Driver, ResultsOfAnotherTypeAreNotHandedOver) {
  std::atomic<std::uint64_t> waiting{0};
  std::promise<void> may_end;
  std::promise<void> inside;
  Script owner([&] {
    inside.set_value();
    may_end.get_future().wait();
    return 1;
  });
  owner.unstorable = true;
  std::thread owning([&] { (void)call("k", owner); });
  inside.get_future().wait();
  Waiter waiter([] { return 2; }, waiting);
  waiter.type = &typeid(double);
  std::thread other([&] { EXPECT_EQ(call("k", waiter).how, How::value); });
  until(waiting, 1);
  may_end.set_value();
  owning.join();
  other.join();
  EXPECT_FALSE(waiter.adopted);
  EXPECT_EQ(waiter.result, 2);
}

TEST_F(Driver, AfterAnUnstorableResultNobodyClaimsForAWhile) {
  Script first([] { return 1; });
  first.unstorable = true;
  EXPECT_EQ(call("k", first).how, How::value);
  // The owner is told apart by the store: a call now runs at once, also while another
  // one is running.
  std::promise<void> may_end;
  std::atomic<bool> inside{false};
  Script slow([&] {
    inside = true;
    may_end.get_future().wait();
    return 2;
  });
  slow.unstorable = true;
  std::thread running([&] { EXPECT_EQ(call("k", slow).how, How::value); });
  while (!inside) std::this_thread::yield();
  Script quick([] { return 3; });
  quick.unstorable = true;
  EXPECT_EQ(call("k", quick).how, How::value);
  EXPECT_EQ(quick.result, 3);
  may_end.set_value();
  running.join();
}

TEST_F(Driver, RecursionOnTheSameArgumentsComputesInside) {
  int depth = 0;
  std::function<int()> function = [&]() -> int {
    if (++depth > 2) return 10;
    Script inner(function);
    EXPECT_EQ(call("loop", inner).how, How::value);
    return inner.result + 1;
  };
  Script outer(function);
  EXPECT_EQ(call("loop", outer).how, How::value);
  EXPECT_EQ(outer.result, 12);
  Script again([] { return 0; });
  EXPECT_EQ(call("loop", again).how, How::value);
  EXPECT_EQ(again.result, 12);
}

TEST_F(Driver, TwoThreadsThatWouldWaitForEachOtherDoNot) {
  std::latch both_inside(2);
  const auto run = [&](std::string_view mine, std::string_view others) {
    Script outer([&, others]() -> int {
      both_inside.arrive_and_wait();
      Script inner([] { return 1; });
      EXPECT_EQ(call(others, inner).how, How::value);
      return inner.result + 1;
    });
    EXPECT_EQ(call(mine, outer).how, How::value);
    EXPECT_GT(outer.result, 1);
  };
  std::thread one([&] { run("x", "y"); });
  std::thread two([&] { run("y", "x"); });
  one.join();
  two.join();
}

TEST_F(Driver, ACircleOverThreeAndAThreadOfItsOwnIsSeen) {
  // x waits for y in a thread that it started itself, y for z, z for x.
  std::latch all_inside(3);
  const auto run = [&](std::string_view mine, std::string_view others) {
    Script outer([&, others]() -> int {
      all_inside.arrive_and_wait();
      int inside = 0;
      std::thread helper([&, here = engine::thread_frame()] {
        const engine::FrameScope scope(here);
        Script inner([] { return 1; });
        EXPECT_EQ(call(others, inner).how, How::value);
        inside = inner.result;
      });
      helper.join();
      return inside + 1;
    });
    EXPECT_EQ(call(mine, outer).how, How::value);
  };
  std::thread one([&] { run("x", "y"); });
  std::thread two([&] { run("y", "z"); });
  std::thread three([&] { run("z", "x"); });
  one.join();
  two.join();
  three.join();
}

TEST_F(Driver, AWaitThatTimesOutComputesAndKeepsTheOwnersStore) {
  std::promise<void> may_end;
  Script owner([&] {
    may_end.get_future().wait();
    return 1;
  });
  std::thread owning([&] { EXPECT_EQ(call("k", owner).how, How::value); });
  until(counters_.misses, 1);
  Policy policy;
  policy.wait_limit = 20ms;
  Script impatient([] { return 2; });
  EXPECT_EQ(call("k", impatient, policy).how, How::value);
  EXPECT_EQ(impatient.result, 2);
  EXPECT_EQ(counters_.wait_timeouts, 1U);
  may_end.set_value();
  owning.join();

  EXPECT_EQ(owner.result, 1);
  Script later([] { return 3; });
  EXPECT_EQ(call("k", later).how, How::value);
  EXPECT_EQ(later.result, 2) << "the first to store wins, the late owner does not";
}

TEST_F(Driver, AWaitCanBeInterrupted) {
  std::promise<void> may_end;
  Script owner([&] {
    may_end.get_future().wait();
    return 1;
  });
  std::thread owning([&] { (void)call("k", owner); });
  until(counters_.misses, 1);
  Script waiter([] { return 2; });
  waiter.interrupt = true;
  EXPECT_EQ(call("k", waiter).how, How::interrupted);
  may_end.set_value();
  owning.join();
}

TEST_F(Driver, StaleWithNextTimeIsHandedOutAndRefreshedOnce) {
  Script first([] { return 1; });
  (void)call("k", first);
  Policy policy;
  policy.max_age = Duration::zero();
  policy.next_time = true;
  Script stale([] { return 2; });
  EXPECT_EQ(call("k", stale, policy).how, How::value);
  EXPECT_EQ(stale.result, 1);
  ASSERT_TRUE(stale.refresh);

  Script another([] { return 3; });
  EXPECT_EQ(call("k", another, policy).how, How::value);
  EXPECT_EQ(another.result, 1);
  EXPECT_FALSE(another.refresh) << "one refresh at a time";

  EXPECT_EQ(engine::run_refresh(std::move(stale.refresh), stale).how, How::value);
  Script fresh([] { return 4; });
  EXPECT_EQ(call("k", fresh).how, How::value);
  EXPECT_EQ(fresh.result, 2);
}

TEST_F(Driver, ARefreshThatIsNeverRunGivesItsClaimBack) {
  Script first([] { return 1; });
  (void)call("k", first);
  Policy policy;
  policy.max_age = Duration::zero();
  policy.next_time = true;
  Script stale([] { return 2; });
  (void)call("k", stale, policy);
  stale.refresh = nullptr;

  Script next([] { return 3; });
  (void)call("k", next, policy);
  EXPECT_TRUE(next.refresh);
}

TEST_F(Driver, AFailedRefreshKeepsTheOldValue) {
  Script first([] { return 1; });
  (void)call("k", first);
  Policy policy;
  policy.max_age = Duration::zero();
  policy.next_time = true;
  Script stale([]() -> int { throw std::runtime_error("down"); });
  (void)call("k", stale, policy);
  EXPECT_EQ(engine::run_refresh(std::move(stale.refresh), stale).how, How::exception);

  Script next([] { return 3; });
  EXPECT_EQ(call("k", next).how, How::value);
  EXPECT_EQ(next.result, 1);
}

TEST_F(Driver, WhatIsClearedMeanwhileIsNotStored) {
  Script owner([&] {
    Filter filter;
    filter.function = id("k").function;
    EXPECT_TRUE(store_->clear(filter, Clear::entries, Deadline::max()));
    return 1;
  });
  EXPECT_EQ(call("k", owner).how, How::value);
  EXPECT_EQ(owner.result, 1);
  EXPECT_EQ(counters_.lost_claims, 1U);
  Script next([] { return 2; });
  (void)call("k", next);
  EXPECT_EQ(next.result, 2);
}

TEST_F(Driver, OverwritingIsNotStoredAcrossAClearEither) {
  Policy overwrite;
  overwrite.overwrite = true;
  Script writer([&] {
    Filter filter;
    filter.function = id("k").function;
    EXPECT_TRUE(store_->clear(filter, Clear::entries, Deadline::max()));
    return 1;
  });
  EXPECT_EQ(call("k", writer, overwrite).how, How::value);
  Script next([] { return 2; });
  (void)call("k", next);
  EXPECT_EQ(next.result, 2);
}

TEST_F(Driver, SkipNeitherReadsNorWrites) {
  Policy skip;
  skip.skip = true;
  Script first([] { return 1; });
  (void)call("k", first, skip);
  Script second([] { return 2; });
  (void)call("k", second);
  EXPECT_EQ(second.result, 2);
  Script third([] { return 3; });
  (void)call("k", third, skip);
  EXPECT_EQ(third.result, 3);
  EXPECT_EQ(counters_.misses, 1U) << "skipped calls count nothing";
}

TEST_F(Driver, TooLargeIsReturnedNotStored) {
  Policy policy;
  policy.size_limit = 2;
  Script large([] { return 100; });
  (void)call("k", large, policy);
  EXPECT_EQ(large.result, 100);
  EXPECT_EQ(counters_.size_rejections, 1U);
  Script equal([] { return 10; });
  (void)call("other", equal, policy);
  EXPECT_EQ(counters_.size_rejections, 1U);
}

TEST_F(Driver, AnUnreadableEntryIsAMissAndReplaced) {
  Script first([] { return 1; });
  (void)call("k", first);
  Script blind([] { return 2; });
  blind.unreadable = true;
  EXPECT_EQ(call("k", blind).how, How::value);
  EXPECT_EQ(blind.result, 2);
  EXPECT_EQ(counters_.unreadable, 1U);
  Script next([] { return 3; });
  (void)call("k", next);
  EXPECT_EQ(next.result, 2);
}

/// One that cannot read what the first owner stored, and says when it looks up.
class Choosy : public Waiter {
 public:
  Choosy(std::function<int()> function, std::atomic<std::uint64_t>& waiting,
         std::atomic<std::uint64_t>& woken)
      : Waiter(std::move(function), waiting), woken_(woken) {}
  bool accept(const Entry& entry) noexcept override {
    return Script::accept(entry) && result != 1;
  }
  bool interrupted() noexcept override {
    ++woken_;
    return false;
  }

 private:
  std::atomic<std::uint64_t>& woken_;
};

TEST_F(Driver, WaitersWhoCannotReadWhatWasStoredWaitForTheOneWhoReplacesIt) {
  std::promise<void> may_end;
  std::atomic<std::uint64_t> waiting{0};
  std::atomic<std::uint64_t> woken{0};
  std::atomic<int> runs{0};
  std::atomic<bool> owned{false};
  std::thread owner([&] {
    Script script([&] {
      owned = true;
      may_end.get_future().wait();
      return 1;
    });
    (void)call("k", script);
  });
  while (!owned) std::this_thread::yield();
  const auto replace = [&] {
    ++runs;
    // Long enough for the other to have met the claim and to have waited for it.
    until(woken, woken + 3);
    return 2;
  };
  std::vector<std::thread> waiters;
  for (int i = 0; i < 2; ++i) {
    waiters.emplace_back([&] {
      Choosy choosy(replace, waiting, woken);
      EXPECT_EQ(call("k", choosy).how, How::value);
      EXPECT_EQ(choosy.result, 2);
    });
  }
  until(waiting, 2);
  may_end.set_value();
  owner.join();
  for (auto& thread : waiters) thread.join();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(counters_.unreadable, 2U);
}

}  // namespace
}  // namespace cachier::test

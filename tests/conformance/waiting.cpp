/// Watching: no wake-up is lost, and every wait ends.

#include "conformance/conformance.hpp"

#include <atomic>
#include <thread>

namespace cachier::conformance {
namespace {

using namespace std::chrono_literals;

bool before(Deadline deadline) { return std::chrono::steady_clock::now() < deadline; }

TEST_P(StoreConformance, AReleaseBetweenLookAndWaitIsNotMissed) {
  for (int round = 0; round < 20; ++round) {
    const Call call = alpha("round " + std::to_string(round));
    const Token token = claim(call);
    const auto watch = store_->watch(call.id());
    ASSERT_EQ(look(call).claim, Look::Claim::busy);
    std::jthread([&] { EXPECT_TRUE(release(call, token)); }).join();

    const Deadline deadline = can_.wakes ? far_away() : soon();
    watch->wait(deadline);

    EXPECT_TRUE(before(deadline));
    EXPECT_EQ(look(call).claim, Look::Claim::granted);
  }
}

TEST_P(StoreConformance, APutBetweenLookAndWaitIsNotMissed) {
  const Token token = claim(alpha());
  const auto watch = store_->watch(alpha().id());
  ASSERT_EQ(look(alpha()).claim, Look::Claim::busy);
  ASSERT_TRUE(put(alpha(), "value", token));

  const Deadline deadline = far_away();
  watch->wait(deadline);

  EXPECT_TRUE(before(deadline));
  EXPECT_EQ(text_in(look(alpha())), "value");
}

TEST_P(StoreConformance, AWatchServesMoreThanOneWait) {
  const auto watch = store_->watch(alpha().id());
  const Deadline deadline = far_away();
  for (int round = 0; round < 20; ++round) {
    const Token token = claim(alpha());
    const std::jthread owner([&] { EXPECT_TRUE(release(alpha(), token)); });
    for (;;) {
      const Look answer = look(alpha());
      if (answer.claim == Look::Claim::granted) {
        ASSERT_TRUE(release(alpha(), answer.token));
        break;
      }
      ASSERT_TRUE(before(deadline)) << "round " << round;
      watch->wait(deadline);
    }
  }
}

TEST_P(StoreConformance, EveryWaiterSeesTheValueAfterThePut) {
  constexpr std::size_t kWaiters = 12;
  const Token token = claim(alpha());
  std::atomic<std::size_t> waiting = 0;
  std::atomic<std::size_t> seen = 0;
  in_threads(kWaiters + 1, [&](std::size_t thread) {
    if (thread == kWaiters) {
      while (waiting != kWaiters) std::this_thread::yield();
      EXPECT_TRUE(put(alpha(), "value", token));
      return;
    }
    const Deadline deadline = far_away();
    bool first = true;
    while (before(deadline)) {
      const auto watch = store_->watch(alpha().id());
      const Look answer = look(alpha());
      if (answer.fresh) {
        ++seen;
        return;
      }
      if (first) ++waiting;
      first = false;
      watch->wait(deadline);
    }
  });
  EXPECT_EQ(seen, kWaiters);
}

// The owner's claim ends with a refused put; somebody has to take over.
TEST_P(StoreConformance, ALostClaimWakesItsWaiters) {
  const Token token = claim(alpha());
  ASSERT_TRUE(erase(alpha()));
  const auto watch = store_->watch(alpha().id());
  ASSERT_EQ(look(alpha()).claim, Look::Claim::busy);
  ASSERT_EQ(put(alpha(), "late", token).error(), ErrorCode::claim_lost);

  const Deadline deadline = far_away();
  watch->wait(deadline);

  EXPECT_TRUE(before(deadline));
  EXPECT_EQ(look(alpha()).claim, Look::Claim::granted);
}

TEST_P(StoreConformance, FreedClaimsWakeTheirWaiters) {
  claim(alpha());
  const auto watch = store_->watch(alpha().id());
  ASSERT_EQ(look(alpha()).claim, Look::Claim::busy);
  ASSERT_TRUE(clear(Clear::claims));

  const Deadline deadline = far_away();
  watch->wait(deadline);

  EXPECT_TRUE(before(deadline));
  EXPECT_EQ(look(alpha()).claim, Look::Claim::granted);
}

TEST_P(StoreConformance, AWaitEndsWithItsDeadline) {
  claim(alpha());
  const auto watch = store_->watch(alpha().id());
  watch->wait(std::chrono::steady_clock::now() - 1h);
  watch->wait(Deadline{});

  const Deadline deadline = std::chrono::steady_clock::now() + 30ms;
  while (before(deadline)) watch->wait(deadline);
  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy);
}

TEST_P(StoreConformance, ClaimsGoFromHandToHand) {
  // Everybody wants the claim once, and gives it back without a value: each release has
  // to wake somebody.
  constexpr std::size_t kThreads = 8;
  std::atomic<int> owners = 0;
  std::atomic<std::size_t> turns = 0;
  in_threads(kThreads, [&](std::size_t) {
    const Deadline deadline = far_away();
    for (int turn = 0; turn < 20;) {
      if (!before(deadline)) return;
      const auto watch = store_->watch(alpha().id());
      const Look answer = look(alpha());
      if (answer.claim == Look::Claim::granted) {
        EXPECT_EQ(owners.fetch_add(1), 0);
        ++turn;
        ++turns;
        --owners;
        EXPECT_TRUE(release(alpha(), answer.token));
      } else {
        watch->wait(deadline);
      }
    }
  });
  EXPECT_EQ(turns, kThreads * 20);
}

}  // namespace
}  // namespace cachier::conformance

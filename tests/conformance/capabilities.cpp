/// What a store declares of itself is true.

#include "conformance/conformance.hpp"
#include "support/child_process.hpp"

#include <sys/types.h>

#include <chrono>
#include <thread>

namespace cachier::conformance {
namespace {

using namespace std::chrono_literals;
using test::Channel;
using test::ChildProcess;

TEST_P(StoreConformance, AStoreHasANameAndAPlace) {
  EXPECT_FALSE(can_.name.empty());
  EXPECT_FALSE(store_->location().empty());
  EXPECT_EQ(store_->capabilities().name, can_.name) << "and they stay";
}

TEST_P(StoreConformance, WhatIsSharedByMachinesIsSharedByProcesses) {
  if (can_.many_hosts) {
    EXPECT_TRUE(can_.shared);
  }
  if (can_.shared) {
    EXPECT_TRUE(can_.persistent);
  }
}

TEST_P(StoreConformance, EntriesOutliveTheHandleIfTheyPersist) {
  stored(alpha(), "value");
  store_.reset();
  store_ = subject_->open();

  EXPECT_EQ(text_at(alpha()), can_.persistent ? "value" : "(nothing)");
}

TEST_P(StoreConformance, VersionsOutliveTheHandleIfEntriesPersist) {
  if (!can_.persistent) GTEST_SKIP() << "it does not persist";
  const Version version = stored(alpha(), "value");
  const Basis gone = look(alpha("gone"), without_claim()).token.basis;
  stored(alpha("gone"), "value");
  ASSERT_TRUE(erase(alpha("gone")));
  store_.reset();
  store_ = subject_->open();

  EXPECT_EQ(look(alpha()).entry->version, version);
  EXPECT_EQ(put_on(alpha("gone"), "late", gone).error(), ErrorCode::claim_lost);
}

TEST_P(StoreConformance, TwoStoresOfAProcessAreApartUnlessTheyAreShared) {
  const std::shared_ptr<Store> other = subject_->open();
  stored(alpha("stored"), "value");
  const Token token = claim(alpha("claimed"));

  const Look there = look_at(*other, alpha("stored"), without_claim());
  EXPECT_EQ(text_in(there), can_.shared ? "value" : "(nothing)");
  const Look claimed = look_at(*other, alpha("claimed"));
  EXPECT_EQ(claimed.claim, can_.shared ? Look::Claim::busy : Look::Claim::granted);
  EXPECT_TRUE(put(alpha("claimed"), "value", token));
}

// ---- several processes

TEST_P(StoreConformance, EntriesAreSeenByOtherProcessesIfShared) {
  if (!can_.shared) GTEST_SKIP() << "it is not shared";
  ChildProcess child([&](Channel& parent) {
    const std::shared_ptr<Store> mine = subject_->open();
    parent.receive();
    if (text_in(look_at(*mine, alpha("from parent"))) != "down") return 1;
    store_ = mine;
    stored(alpha("from child"), "up");
    parent.send("stored");
    return 0;
  });
  stored(alpha("from parent"), "down");
  child.channel().send("look");
  EXPECT_EQ(child.channel().receive(), "stored");

  EXPECT_EQ(text_at(alpha("from child")), "up");
  EXPECT_EQ(child.wait(), 0);
}

TEST_P(StoreConformance, OneOfManyProcessesGetsTheClaim) {
  if (!can_.shared) GTEST_SKIP() << "it is not shared";
  constexpr int kProcesses = 8;
  constexpr int kRounds = 20;
  std::vector<std::unique_ptr<ChildProcess>> children;
  for (int n = 0; n < kProcesses; ++n) {
    children.push_back(std::make_unique<ChildProcess>([&](Channel& parent) {
      const std::shared_ptr<Store> mine = subject_->open();
      for (int round = 0; round < kRounds; ++round) {
        parent.receive();
        const Look answer = look_at(*mine, alpha(std::to_string(round)));
        parent.send(answer.claim == Look::Claim::granted ? "granted" : "busy");
      }
      parent.receive();
      return 0;
    }));
  }
  for (int round = 0; round < kRounds; ++round) {
    for (auto& child : children) child->channel().send("go");
    int granted = 0;
    for (auto& child : children) {
      granted += child->channel().receive() == "granted" ? 1 : 0;
    }
    EXPECT_EQ(granted, 1) << "round " << round;
  }
  for (auto& child : children) child->channel().send("end");
  for (auto& child : children) EXPECT_EQ(child->wait(), 0);
}

TEST_P(StoreConformance, AWaiterInAnotherProcessSeesTheValue) {
  if (!can_.shared) GTEST_SKIP() << "it is not shared";
  ChildProcess child([&](Channel& parent) {
    const std::shared_ptr<Store> mine = subject_->open();
    parent.receive();
    const Deadline deadline = far_away();
    bool told = false;
    for (;;) {
      const auto watch = mine->watch(alpha().id());
      const Look answer = look_at(*mine, alpha());
      if (answer.fresh) return text_in(answer) == "value" ? 0 : 1;
      if (answer.claim != Look::Claim::busy) return 2;
      if (!told) parent.send("waiting");
      told = true;
      if (std::chrono::steady_clock::now() > deadline) return 3;
      // A wake-up that comes from another process is a hint; the engine waits in slices
      // too.
      watch->wait(std::chrono::steady_clock::now() + 50ms);
    }
  });
  const Token token = claim(alpha());
  child.channel().send("look");
  ASSERT_EQ(child.channel().receive(), "waiting");
  ASSERT_TRUE(put(alpha(), "value", token));

  EXPECT_EQ(child.wait(), 0);
}

TEST_P(StoreConformance, ACommitIsLateForAnotherProcessToo) {
  if (!can_.shared) GTEST_SKIP() << "it is not shared";
  ChildProcess child([&](Channel& parent) {
    store_ = subject_->open();
    const Token erased = claim(alpha("erased"));
    const Token cleared = claim(beta("cleared"));
    const Token kept = claim(alpha("kept"));
    parent.send("claimed");
    parent.receive();
    EXPECT_EQ(put(alpha("erased"), "late", erased).error(), ErrorCode::claim_lost);
    EXPECT_EQ(put(beta("cleared"), "late", cleared).error(), ErrorCode::claim_lost);
    EXPECT_TRUE(put(alpha("kept"), "value", kept));
    return 0;
  });
  ASSERT_EQ(child.channel().receive(), "claimed");
  EXPECT_EQ(look(alpha("erased")).claim, Look::Claim::busy);
  ASSERT_TRUE(erase(alpha("erased")));
  ASSERT_TRUE(clear(Clear::entries, &beta_));
  child.channel().send("commit");
  EXPECT_EQ(child.wait(), 0);

  EXPECT_EQ(text_at(alpha("kept")), "value");
  EXPECT_EQ(text_at(beta("cleared")), "(nothing)");
}

TEST_P(StoreConformance, ClaimsOfOtherProcessesCanBeFreed) {
  if (!can_.shared) GTEST_SKIP() << "it is not shared";
  ChildProcess child([&](Channel& parent) {
    store_ = subject_->open();
    const Token token = claim(alpha());
    parent.send("claimed");
    parent.receive();
    EXPECT_EQ(put(alpha(), "late", token).error(), ErrorCode::claim_lost);
    return 0;
  });
  ASSERT_EQ(child.channel().receive(), "claimed");
  ASSERT_TRUE(clear(Clear::claims, &alpha_));
  ASSERT_TRUE(put(alpha(), "value", claim(alpha())));
  child.channel().send("commit");
  EXPECT_EQ(child.wait(), 0);

  EXPECT_EQ(text_at(alpha()), "value");
}

TEST_P(StoreConformance, OutcomesAreSeenByOtherProcesses) {
  if (!can_.shared) GTEST_SKIP() << "it is not shared";
  ChildProcess child([&](Channel&) {
    store_ = subject_->open();
    EXPECT_TRUE(release(alpha(), claim(alpha()), Outcome::not_storable));
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);

  const Look answer = look(alpha());
  EXPECT_EQ(answer.outcome, Outcome::not_storable);
  EXPECT_EQ(answer.claim, Look::Claim::none);
}

TEST_P(StoreConformance, AClaimEndsWithItsOwnersProcess) {
  if (!can_.sees_death) GTEST_SKIP() << "it does not see processes end";
  ChildProcess child([&](Channel& parent) {
    store_ = subject_->open();
    claim(alpha());
    parent.send("claimed");
    parent.receive();
    return 0;
  });
  ASSERT_EQ(child.channel().receive(), "claimed");
  ASSERT_EQ(look(alpha()).claim, Look::Claim::busy);
  child.kill();

  const Deadline deadline = far_away();
  for (;;) {
    const auto watch = store_->watch(alpha().id());
    if (look(alpha()).claim == Look::Claim::granted) break;
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    watch->wait(std::chrono::steady_clock::now() + 20ms);
  }
}

TEST_P(StoreConformance, TheOwnersProcessIsNamedIfItIsKnown) {
  if (!can_.shared) GTEST_SKIP() << "it is not shared";
  ChildProcess child([&](Channel& parent) {
    store_ = subject_->open();
    claim(alpha());
    parent.send("claimed");
    parent.receive();
    return 0;
  });
  ASSERT_EQ(child.channel().receive(), "claimed");
  const Look answer = look(alpha());
  EXPECT_EQ(answer.claim, Look::Claim::busy);
  if (answer.owner_process != 0) {
    EXPECT_EQ(answer.owner_process, static_cast<std::uint32_t>(child.pid()));
  }
  child.channel().send("end");
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace cachier::conformance

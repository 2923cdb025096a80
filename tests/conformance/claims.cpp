/// Claims: who gets one, how it ends, and that it is one.

#include "conformance/conformance.hpp"

#include <atomic>
#include <set>

namespace cachier::conformance {
namespace {

using namespace std::chrono_literals;

TEST_P(StoreConformance, AClaimIsGivenOnlyWhereItIsAskedFor) {
  EXPECT_EQ(look(alpha(), without_claim()).claim, Look::Claim::none);
  EXPECT_EQ(look(alpha(), without_claim()).claim, Look::Claim::none);

  EXPECT_EQ(look(alpha()).claim, Look::Claim::granted);
}

TEST_P(StoreConformance, AFreshEntryNeedsNoClaim) {
  stored(alpha(), "value");

  EXPECT_EQ(look(alpha()).claim, Look::Claim::none);
  EXPECT_EQ(look(alpha(), aged(24h)).claim, Look::Claim::none);
}

TEST_P(StoreConformance, TheNextCallerFindsItBusy) {
  claim(alpha());

  const Look answer = look(alpha());

  EXPECT_EQ(answer.claim, Look::Claim::busy);
  EXPECT_EQ(answer.token.serial, 0U);
  EXPECT_EQ(look(alpha(), without_claim()).claim, Look::Claim::none);
}

TEST_P(StoreConformance, AStaleEntryComesWithTheClaimOrWithBusy) {
  stored(alpha(), "stale");

  const Look first = look(alpha(), never_fresh());
  EXPECT_EQ(text_in(first), "stale");
  EXPECT_EQ(first.claim, Look::Claim::granted);

  const Look second = look(alpha(), never_fresh());
  EXPECT_EQ(text_in(second), "stale");
  EXPECT_EQ(second.claim, Look::Claim::busy);
}

TEST_P(StoreConformance, WhoTakesTheEntryIsNotHinderedByAClaim) {
  stored(alpha(), "value");
  claim(alpha(), never_fresh());

  const Look answer = look(alpha());

  EXPECT_TRUE(answer.fresh);
  EXPECT_EQ(answer.claim, Look::Claim::none);
}

TEST_P(StoreConformance, ReleaseEndsTheClaim) {
  const Token token = claim(alpha());
  ASSERT_TRUE(release(alpha(), token));

  const Look answer = look(alpha());
  EXPECT_FALSE(answer.entry);
  EXPECT_EQ(answer.claim, Look::Claim::granted);
  EXPECT_EQ(answer.outcome, Outcome::none);
}

TEST_P(StoreConformance, AReleaseNeedsAToken) {
  Change change;
  change.kind = Change::Kind::release;
  const Result<Version> answer = store_->commit(alpha().id(), change, soon());

  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), ErrorCode::invalid_argument);
  EXPECT_FALSE(answer.error().what().empty());
}

TEST_P(StoreConformance, ReleaseKeepsTheStaleEntry) {
  stored(alpha(), "old");
  const Token token = claim(alpha(), never_fresh());
  ASSERT_TRUE(release(alpha(), token, Outcome::failed));

  EXPECT_EQ(text_at(alpha()), "old");
}

TEST_P(StoreConformance, PutEndsTheClaim) {
  const Token token = claim(alpha());
  ASSERT_TRUE(put(alpha(), "value", token));

  EXPECT_EQ(text_in(look(alpha())), "value");
  claim(alpha(), never_fresh());
}

TEST_P(StoreConformance, APutThatComesTooLateEndsTheClaim) {
  const Token token = claim(alpha());
  ASSERT_TRUE(erase(alpha()));

  EXPECT_EQ(put(alpha(), "late", token).error(), ErrorCode::claim_lost);

  claim(alpha());
}

TEST_P(StoreConformance, AClaimIsUsedUpByThePut) {
  const Token token = claim(alpha());
  ASSERT_TRUE(put(alpha(), "value", token));

  EXPECT_EQ(put(alpha(), "again", token).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "value");
}

TEST_P(StoreConformance, AClaimThatIsOverTakesNothingFromItsSuccessor) {
  const Token first = claim(alpha());
  ASSERT_TRUE(release(alpha(), first));
  const Token second = claim(alpha());

  (void)release(alpha(), first);
  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy);
  ASSERT_TRUE(put(alpha(), "value", second));

  EXPECT_EQ(text_at(alpha()), "value");
}

TEST_P(StoreConformance, NoTwoClaimsAreTheSame) {
  std::vector<Token> tokens;
  for (int n = 0; n < 50; ++n) {
    const Token here = claim(alpha());
    ASSERT_TRUE(release(alpha(), here));
    tokens.push_back(here);
    tokens.push_back(claim(alpha("key " + std::to_string(n))));
    tokens.push_back(claim(beta("key " + std::to_string(n))));
  }

  for (std::size_t a = 0; a < tokens.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      EXPECT_FALSE(tokens[a] == tokens[b]) << a << " and " << b;
    }
  }
}

TEST_P(StoreConformance, ClaimsOfDifferentCallsHaveNothingToDoWithEachOther) {
  const Digest same{42, 42};
  const Call calls[] = {
      {alpha_, "key", same},
      {alpha_, "other", same},
      {beta_, "key", Digest{43, 42}},
      {alpha_, "key", Digest{42, 43}},
  };
  // Calls of one digest may share a claim (they cannot be told apart everywhere), but
  // never more than that.
  EXPECT_EQ(look(calls[0]).claim, Look::Claim::granted);
  EXPECT_EQ(look(calls[2]).claim, Look::Claim::granted);
  EXPECT_EQ(look(calls[3]).claim, Look::Claim::granted);
}

TEST_P(StoreConformance, ManyClaimsAreHeldAtOnce) {
  const int claims = count(3000, 300);
  // Longer than a slow server takes for all of them.
  const Ask ask = leased(std::chrono::minutes(10));
  std::vector<Token> tokens;
  for (int n = 0; n < claims; ++n) {
    tokens.push_back(claim(alpha(std::to_string(n)), ask));
  }
  for (int n = 0; n < claims; ++n) {
    EXPECT_EQ(look(alpha(std::to_string(n))).claim, Look::Claim::busy);
  }
  for (int n = 0; n < claims; ++n) {
    ASSERT_TRUE(release(alpha(std::to_string(n)), tokens[static_cast<std::size_t>(n)]));
  }
  claim(alpha("0"));
}

TEST_P(StoreConformance, OneOfManyThreadsGetsTheClaim) {
  constexpr std::size_t kThreads = 16;
  for (int round = 0; round < 30; ++round) {
    const Call call = alpha("round " + std::to_string(round));
    std::atomic<int> granted = 0;
    std::atomic<int> busy = 0;
    in_threads(kThreads, [&](std::size_t) {
      const Look answer = look(call);
      if (answer.claim == Look::Claim::granted) ++granted;
      if (answer.claim == Look::Claim::busy) ++busy;
    });
    EXPECT_EQ(granted, 1);
    EXPECT_EQ(busy, static_cast<int>(kThreads) - 1);
  }
}

TEST_P(StoreConformance, OneThreadComputesAndAllGetTheValue) {
  constexpr std::size_t kThreads = 16;
  for (int round = 0; round < 10; ++round) {
    const Call call = alpha("round " + std::to_string(round));
    std::atomic<int> computed = 0;
    std::atomic<int> got = 0;
    in_threads(kThreads, [&](std::size_t) {
      for (;;) {
        const auto watch = store_->watch(call.id());
        const Look answer = look(call);
        if (answer.fresh) {
          if (text_in(answer) == "value") ++got;
          return;
        }
        if (answer.claim == Look::Claim::granted) {
          ++computed;
          EXPECT_TRUE(put(call, "value", answer.token));
        } else {
          watch->wait(std::chrono::steady_clock::now() + 50ms);
        }
      }
    });
    EXPECT_EQ(computed, 1);
    EXPECT_EQ(got, static_cast<int>(kThreads));
  }
}

// A grant after a look that saw nothing would compute what has just been stored.
TEST_P(StoreConformance, WhoIsGrantedHasSeenEveryFinishedPut) {
  const Call call = alpha();
  std::atomic<int> stored_last = 0;
  std::atomic<int> overlooked = 0;
  in_threads(8, [&](std::size_t) {
    for (int n = 0; n < 200; ++n) {
      const int finished = stored_last.load();
      const Look answer = look(call, never_fresh());
      if (answer.claim != Look::Claim::granted) continue;
      const int seen = answer.entry ? std::stoi(text_in(answer)) : 0;
      if (seen < finished) ++overlooked;
      // Only the owner of the claim writes, so that the numbers only grow.
      if (put(call, std::to_string(seen + 1), answer.token)) stored_last = seen + 1;
    }
  });
  EXPECT_EQ(overlooked, 0);
  EXPECT_GT(stored_last, 0);
}

TEST_P(StoreConformance, AClaimCannotBeRenewedWhereClaimsHaveNoLease) {
  if (can_.leases) GTEST_SKIP() << "its claims have leases";
  Change change;
  change.kind = Change::Kind::renew;
  change.token = claim(alpha());

  const Result<Version> answer = store_->commit(alpha().id(), change, soon());

  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), ErrorCode::unsupported);
  EXPECT_FALSE(answer.error().what().empty());
  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy) << "the claim stands";
}

// ---- freed claims

TEST_P(StoreConformance, FreedClaimsAreGivenOnAtOnce) {
  claim(alpha());
  EXPECT_EQ(*clear(Clear::claims), 0U);

  const Token second = claim(alpha());
  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy);
  EXPECT_TRUE(put(alpha(), "value", second));
}

TEST_P(StoreConformance, TheOwnerOfAFreedClaimMayStoreIfNobodyElseDid) {
  const Token token = claim(alpha());
  ASSERT_TRUE(clear(Clear::claims));

  EXPECT_TRUE(put(alpha(), "value", token));
  EXPECT_EQ(text_at(alpha()), "value");
}

TEST_P(StoreConformance, TheOwnerOfAFreedClaimMayNotStoreAfterSomebodyElse) {
  const Token first = claim(alpha());
  ASSERT_TRUE(clear(Clear::claims));
  const Token second = claim(alpha());
  ASSERT_TRUE(put(alpha(), "second", second));

  EXPECT_EQ(put(alpha(), "first", first).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "second");
}

TEST_P(StoreConformance, AFencedStoreKnowsThatTheClaimWasGivenOn) {
  if (!can_.fenced) GTEST_SKIP() << "it is not fenced";
  const Token first = claim(alpha());
  ASSERT_TRUE(clear(Clear::claims));
  const Token second = claim(alpha());

  EXPECT_EQ(put(alpha(), "first", first).error(), ErrorCode::claim_lost);
  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy) << "the second owner's holds";
  EXPECT_TRUE(put(alpha(), "second", second));
  EXPECT_EQ(text_at(alpha()), "second");
}

TEST_P(StoreConformance, AFencedStoreRemembersThatTheClaimWasGivenOn) {
  if (!can_.fenced) GTEST_SKIP() << "it is not fenced";
  const Token first = claim(alpha());
  ASSERT_TRUE(clear(Clear::claims));
  const Token second = claim(alpha());
  ASSERT_TRUE(release(alpha(), second));

  EXPECT_EQ(put(alpha(), "first", first).error(), ErrorCode::claim_lost);
}

TEST_P(StoreConformance, TheOwnerOfAFreedClaimTakesNothingFromItsSuccessor) {
  const Token first = claim(alpha());
  ASSERT_TRUE(clear(Clear::claims));
  const Token second = claim(alpha());

  (void)release(alpha(), first);

  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy);
  EXPECT_TRUE(put(alpha(), "second", second));
}

TEST_P(StoreConformance, FreeingClaimsOfAFunctionLeavesThoseOfOthers) {
  claim(alpha());
  const Token other = claim(beta());
  ASSERT_TRUE(clear(Clear::claims, &alpha_));

  EXPECT_EQ(look(alpha()).claim, Look::Claim::granted);
  EXPECT_EQ(look(beta()).claim, Look::Claim::busy);
  EXPECT_TRUE(put(beta(), "value", other));
}

TEST_P(StoreConformance, FreeingClaimsLeavesEntries) {
  stored(alpha(), "value");
  EXPECT_EQ(*clear(Clear::claims), 0U);

  EXPECT_EQ(text_at(alpha()), "value");
}

}  // namespace
}  // namespace cachier::conformance

/// Versions, epochs, and the commits that lose because of them.

#include "conformance/conformance.hpp"

namespace cachier::conformance {
namespace {

TEST_P(StoreConformance, ALateCommitLosesAgainstAnErase) {
  stored(alpha(), "old");
  const Token token = claim(alpha(), never_fresh());
  ASSERT_TRUE(erase(alpha()));

  EXPECT_EQ(put(alpha(), "late", token).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "(nothing)");
}

TEST_P(StoreConformance, ALateCommitLosesAgainstAnEraseOfNothing) {
  const Token token = claim(alpha());
  ASSERT_TRUE(erase(alpha()));

  EXPECT_EQ(put(alpha(), "late", token).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "(nothing)");
}

TEST_P(StoreConformance, ALateCommitLosesAgainstAClearOfItsFunction) {
  const Token token = claim(alpha());
  ASSERT_TRUE(clear(Clear::entries, &alpha_));

  EXPECT_EQ(put(alpha(), "late", token).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "(nothing)");
}

TEST_P(StoreConformance, ALateCommitLosesAgainstAClearOfEverything) {
  const Token token = claim(alpha());
  ASSERT_TRUE(clear(Clear::entries));

  EXPECT_EQ(put(alpha(), "late", token).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "(nothing)");
}

TEST_P(StoreConformance, ACommitIsNotLateBecauseAnotherFunctionWasCleared) {
  const Token token = claim(alpha());
  const Token longer = claim(beta());
  ASSERT_TRUE(clear(Clear::entries, &beta_));

  EXPECT_TRUE(put(alpha(), "value", token));
  EXPECT_EQ(put(beta(), "late", longer).error(), ErrorCode::claim_lost);
}

TEST_P(StoreConformance, ALateCommitLosesAgainstAPutWithoutAClaim) {
  const Token token = claim(alpha());
  stored(alpha(), "overwritten");

  EXPECT_EQ(put(alpha(), "late", token).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "overwritten");
}

TEST_P(StoreConformance, ACommitAfterAClearBelongsToTheNewEpoch) {
  ASSERT_TRUE(clear(Clear::entries, &alpha_));
  const Token token = claim(alpha());

  EXPECT_TRUE(put(alpha(), "value", token));
  EXPECT_EQ(text_at(alpha()), "value");
}

TEST_P(StoreConformance, OtherEntriesDoNotMakeACommitLate) {
  const Token token = claim(alpha("mine"));
  for (int n = 0; n < 300; ++n) {
    const Call other = alpha("other " + std::to_string(n));
    stored(other, "value");
    ASSERT_TRUE(erase(other));
  }

  EXPECT_TRUE(put(alpha("mine"), "value", token));
}

// ---- puts on a basis

TEST_P(StoreConformance, APutOnWhatALookSawHappensIfItStillHolds) {
  const Basis nothing = look(alpha(), without_claim()).token.basis;
  ASSERT_TRUE(put_on(alpha(), "first", nothing));
  EXPECT_EQ(text_at(alpha()), "first");

  const Basis first = look(alpha(), without_claim()).token.basis;
  ASSERT_TRUE(put_on(alpha(), "second", first));
  EXPECT_EQ(text_at(alpha()), "second");
}

TEST_P(StoreConformance, APutOnWhatALookSawLosesIfItChanged) {
  const Basis nothing = look(alpha(), without_claim()).token.basis;
  stored(alpha(), "value");
  EXPECT_EQ(put_on(alpha(), "late", nothing).error(), ErrorCode::claim_lost);

  const Basis value = look(alpha(), without_claim()).token.basis;
  stored(alpha(), "value");
  EXPECT_EQ(put_on(alpha(), "late", value).error(), ErrorCode::claim_lost)
      << "the same value stored again is a change";

  const Basis again = look(alpha(), without_claim()).token.basis;
  ASSERT_TRUE(erase(alpha()));
  EXPECT_EQ(put_on(alpha(), "late", again).error(), ErrorCode::claim_lost);

  EXPECT_EQ(put_on(alpha(), "late", nothing).error(), ErrorCode::claim_lost)
      << "nothing is there once more, but something was";
  EXPECT_EQ(text_at(alpha()), "(nothing)");
}

TEST_P(StoreConformance, APutOnWhatALookSawLosesAgainstAClear) {
  const Basis basis = look(alpha(), without_claim()).token.basis;
  ASSERT_TRUE(clear(Clear::entries, &alpha_));

  EXPECT_EQ(put_on(alpha(), "late", basis).error(), ErrorCode::claim_lost);
}

TEST_P(StoreConformance, APutOnWhatALookSawLosesAgainstAnEraseOfNothing) {
  const Basis basis = look(alpha(), without_claim()).token.basis;
  ASSERT_TRUE(erase(alpha()));

  EXPECT_EQ(put_on(alpha(), "late", basis).error(), ErrorCode::claim_lost);
}

// A caller whose wait timed out computes beside the owner; whoever is first stores.
TEST_P(StoreConformance, APutOnABasisMayOvertakeAnOwner) {
  const Token token = claim(alpha());
  const Look busy = look(alpha());
  ASSERT_EQ(busy.claim, Look::Claim::busy);
  ASSERT_TRUE(put_on(alpha(), "overtaker", busy.token.basis));

  EXPECT_EQ(put(alpha(), "owner", token).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "overtaker");
}

TEST_P(StoreConformance, AnOwnerMayOvertakeAPutOnABasis) {
  const Token token = claim(alpha());
  const Look busy = look(alpha());
  ASSERT_TRUE(put(alpha(), "owner", token));

  EXPECT_EQ(put_on(alpha(), "late", busy.token.basis).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "owner");
}

// ---- puts since an epoch

TEST_P(StoreConformance, APutSinceAnEpochOverwritesWhateverIsThere) {
  const std::uint64_t epoch = look(alpha(), without_claim()).token.basis.epoch;
  stored(alpha(), "between");
  ASSERT_TRUE(put_since(alpha(), "value", epoch));
  EXPECT_EQ(text_at(alpha()), "value");

  ASSERT_TRUE(erase(alpha()));
  EXPECT_TRUE(put_since(alpha(), "value", epoch));
}

TEST_P(StoreConformance, APutSinceAnEpochLosesAgainstAClear) {
  const std::uint64_t epoch = look(alpha(), without_claim()).token.basis.epoch;
  ASSERT_TRUE(clear(Clear::entries, &alpha_));
  EXPECT_EQ(put_since(alpha(), "late", epoch).error(), ErrorCode::claim_lost);

  const std::uint64_t next = look(alpha(), without_claim()).token.basis.epoch;
  EXPECT_NE(next, epoch);
  ASSERT_TRUE(clear(Clear::entries));
  EXPECT_EQ(put_since(alpha(), "late", next).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "(nothing)");
}

TEST_P(StoreConformance, APutSinceAnEpochDoesNotCareForOtherFunctions) {
  const std::uint64_t epoch = look(alpha(), without_claim()).token.basis.epoch;
  ASSERT_TRUE(clear(Clear::entries, &beta_));
  stored(beta(), "value");

  EXPECT_TRUE(put_since(alpha(), "value", epoch));
}

// ---- versions

TEST_P(StoreConformance, AVersionNeverReturns) {
  std::vector<Basis> seen;
  const auto note = [&](const char* what) {
    const Basis basis = look(alpha(), without_claim()).token.basis;
    for (const Basis& earlier : seen) {
      EXPECT_FALSE(basis == earlier) << "after " << what << ", step " << seen.size();
    }
    seen.push_back(basis);
  };
  note("nothing");
  for (int round = 0; round < 3; ++round) {
    stored(alpha(), "value");
    note("a put");
    stored(alpha(), "value");
    note("a put of the same value");
    ASSERT_TRUE(erase(alpha()));
    note("an erase");
    ASSERT_TRUE(erase(alpha()));
    note("an erase of nothing");
    ASSERT_TRUE(clear(Clear::entries, &alpha_));
    note("a clear of nothing");
    stored(alpha(), "value");
    note("a put after a clear");
    ASSERT_TRUE(clear(Clear::entries));
    note("a clear of everything");
    ASSERT_TRUE(put(alpha(), "value", claim(alpha())));
    note("a put with a claim");
  }
}

TEST_P(StoreConformance, AVersionNeverReturnsHoweverMuchIsErased) {
  const Call call = alpha("watched");
  std::vector<Basis> seen{look(call, without_claim()).token.basis};
  stored(call, "value");
  seen.push_back(look(call, without_claim()).token.basis);
  ASSERT_TRUE(erase(call));
  for (std::uint64_t n = 0; n < 500; ++n) {
    // As near to the watched one as can be, wherever stores divide their entries.
    const Call other(alpha_, "other " + std::to_string(n), {call.digest().high, n});
    stored(other, "value");
    ASSERT_TRUE(erase(other));
    const Basis now = look(call, without_claim()).token.basis;
    for (const Basis& earlier : seen) ASSERT_FALSE(now == earlier) << n;
  }
  for (const Basis& earlier : seen) {
    EXPECT_EQ(put_on(call, "late", earlier).error(), ErrorCode::claim_lost);
  }
}

TEST_P(StoreConformance, LooksDoNotChangeTheVersion) {
  const Basis nothing = look(alpha(), without_claim()).token.basis;
  const Token first = claim(alpha());
  EXPECT_EQ(first.basis, nothing);
  EXPECT_EQ(look(alpha()).token.basis, nothing) << "busy";
  ASSERT_TRUE(release(alpha(), first, Outcome::failed));
  EXPECT_EQ(look(alpha(), without_claim()).token.basis, nothing) << "released";
}

TEST_P(StoreConformance, AnEraseOfNothingIsDone) {
  EXPECT_TRUE(erase(alpha()));
  EXPECT_EQ(text_at(alpha()), "(nothing)");
}

TEST_P(StoreConformance, AnEraseRemovesOneEntry) {
  stored(alpha("one"), "1");
  stored(alpha("two"), "2");
  stored(beta("one"), "3");
  ASSERT_TRUE(erase(alpha("one")));

  EXPECT_EQ(text_at(alpha("one")), "(nothing)");
  EXPECT_EQ(text_at(alpha("two")), "2");
  EXPECT_EQ(text_at(beta("one")), "3");
}

TEST_P(StoreConformance, ErasedEntriesCanBeStoredAgain) {
  stored(alpha(), "old");
  ASSERT_TRUE(erase(alpha()));
  ASSERT_TRUE(put(alpha(), "new", claim(alpha())));

  EXPECT_EQ(text_at(alpha()), "new");
}

}  // namespace
}  // namespace cachier::conformance

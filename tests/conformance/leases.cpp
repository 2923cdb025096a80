/// Leases: claims that end by time, and are renewed.

#include "conformance/conformance.hpp"

namespace cachier::conformance {
namespace {

constexpr const char* kNone = "its claims have no lease";

TEST_P(StoreConformance, AClaimThatIsNotRenewedIsGivenOn) {
  if (!can_.leases) GTEST_SKIP() << kNone;
  claim(alpha(), leased(kShortLease));
  outlive_short_leases();

  claim(alpha(), leased(kLongLease));
}

TEST_P(StoreConformance, AClaimHoldsAsLongAsItsLease) {
  if (!can_.leases) GTEST_SKIP() << kNone;
  claim(alpha(), leased(kLongLease));
  outlive_short_leases();

  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy);
}

TEST_P(StoreConformance, ARenewedClaimHoldsForAnotherLease) {
  if (!can_.leases) GTEST_SKIP() << kNone;
  const Token token = claim(alpha(), leased(kShortLease));
  ASSERT_TRUE(renew(alpha(), token, kLongLease));
  outlive_short_leases();

  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy);
  EXPECT_TRUE(put(alpha(), "value", token));
  EXPECT_EQ(text_at(alpha()), "value");
}

TEST_P(StoreConformance, LaterOwnerWinsOverPausedOne) {
  if (!can_.leases) GTEST_SKIP() << kNone;
  const Token slow = claim(alpha(), leased(kShortLease));
  outlive_short_leases();
  const Token quick = claim(alpha(), leased(kLongLease));
  ASSERT_TRUE(put(alpha(), "new", quick));

  EXPECT_EQ(put(alpha(), "old", slow).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "new");
}

TEST_P(StoreConformance, AClaimThatWasGivenOnIsLost) {
  if (!can_.leases) GTEST_SKIP() << kNone;
  const Token slow = claim(alpha(), leased(kShortLease));
  outlive_short_leases();
  const Token quick = claim(alpha(), leased(kLongLease));

  EXPECT_EQ(renew(alpha(), slow, kLongLease).error(), ErrorCode::claim_lost);
  if (can_.fenced) {
    EXPECT_EQ(put(alpha(), "old", slow).error(), ErrorCode::claim_lost);
  }
  (void)release(alpha(), slow);

  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy) << "the second owner's holds";
  EXPECT_TRUE(put(alpha(), "new", quick));
  EXPECT_EQ(text_at(alpha()), "new");
}

TEST_P(StoreConformance, AClaimThatIsOverCannotBeRenewed) {
  if (!can_.leases) GTEST_SKIP() << kNone;
  const Token used = claim(alpha(), leased(kLongLease));
  ASSERT_TRUE(put(alpha(), "value", used));
  EXPECT_EQ(renew(alpha(), used, kLongLease).error(), ErrorCode::claim_lost);
  EXPECT_EQ(text_at(alpha()), "value");
  EXPECT_EQ(look(alpha(), never_fresh()).claim, Look::Claim::granted);

  const Token released = claim(alpha("other"), leased(kLongLease));
  ASSERT_TRUE(release(alpha("other"), released));
  EXPECT_EQ(renew(alpha("other"), released, kLongLease).error(), ErrorCode::claim_lost);
  EXPECT_EQ(look(alpha("other")).claim, Look::Claim::granted);
}

TEST_P(StoreConformance, AFreedClaimCannotBeRenewedByItsFirstOwner) {
  if (!can_.leases) GTEST_SKIP() << kNone;
  const Token first = claim(alpha(), leased(kLongLease));
  ASSERT_TRUE(clear(Clear::claims));
  const Token second = claim(alpha(), leased(kLongLease));

  EXPECT_EQ(renew(alpha(), first, kLongLease).error(), ErrorCode::claim_lost);
  EXPECT_TRUE(renew(alpha(), second, kLongLease));
}

TEST_P(StoreConformance, ARenewalChangesNothingElse) {
  if (!can_.leases) GTEST_SKIP() << kNone;
  const Version version = stored(alpha(), "old");
  Ask ask = never_fresh();
  ask.lease = kLongLease;
  const Token token = claim(alpha(), ask);
  ASSERT_TRUE(renew(alpha(), token, kLongLease));

  const Look answer = look(alpha());
  EXPECT_EQ(text_in(answer), "old");
  EXPECT_EQ(answer.entry->version, version);
  EXPECT_TRUE(put(alpha(), "new", token));
}

TEST_P(StoreConformance, ARenewalNeedsAToken) {
  if (!can_.leases) GTEST_SKIP() << kNone;
  const Result<Version> answer = renew(alpha(), std::nullopt, kLongLease);

  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), ErrorCode::invalid_argument);
  EXPECT_FALSE(answer.error().what().empty());
}

}  // namespace
}  // namespace cachier::conformance

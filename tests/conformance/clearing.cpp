/// Clearing: what goes, what stays, and what is counted.

#include "conformance/conformance.hpp"

#include <atomic>

namespace cachier::conformance {
namespace {

using namespace std::chrono_literals;

TEST_P(StoreConformance, ClearRemovesAndCountsTheEntriesOfAFunction) {
  for (int n = 0; n < 5; ++n) stored(alpha(std::to_string(n)), "value");
  for (int n = 0; n < 3; ++n) stored(beta(std::to_string(n)), "value");

  EXPECT_EQ(*clear(Clear::entries, &alpha_), 5U);

  for (int n = 0; n < 5; ++n) EXPECT_EQ(text_at(alpha(std::to_string(n))), "(nothing)");
  for (int n = 0; n < 3; ++n) EXPECT_EQ(text_at(beta(std::to_string(n))), "value");
  EXPECT_EQ(*clear(Clear::entries, &alpha_), 0U);
  EXPECT_EQ(*clear(Clear::entries, &beta_), 3U);
}

TEST_P(StoreConformance, ClearWithoutAFunctionRemovesAndCountsEverything) {
  for (int n = 0; n < 5; ++n) stored(alpha(std::to_string(n)), "value");
  for (int n = 0; n < 3; ++n) stored(beta(std::to_string(n)), "value");

  EXPECT_EQ(*clear(Clear::entries), 8U);

  EXPECT_EQ(text_at(alpha("0")), "(nothing)");
  EXPECT_EQ(text_at(beta("0")), "(nothing)");
  EXPECT_EQ(*clear(Clear::entries), 0U);
}

TEST_P(StoreConformance, ClearCountsWhatIsThere) {
  stored(alpha("kept"), "old");
  stored(alpha("kept"), "new");
  stored(alpha("erased"), "value");
  ASSERT_TRUE(erase(alpha("erased")));
  ASSERT_TRUE(erase(alpha("never there")));
  claim(alpha("claimed"));
  ASSERT_TRUE(
      release(alpha("released"), claim(alpha("released")), Outcome::not_storable));

  EXPECT_EQ(*clear(Clear::entries, &alpha_), 1U);
}

TEST_P(StoreConformance, ManyEntriesAreClearedAndCounted) {
  const int entries = count(3000, 1200);
  for (int n = 0; n < entries; ++n) stored(alpha(std::to_string(n)), "value");
  stored(beta(), "value");

  EXPECT_EQ(*clear(Clear::entries, &alpha_), static_cast<std::uint64_t>(entries));
  EXPECT_EQ(scan().size(), 1U);
}

TEST_P(StoreConformance, ClearedFunctionsCanBeFilledAgain) {
  for (int round = 0; round < 3; ++round) {
    stored(alpha(), "round " + std::to_string(round));
    EXPECT_EQ(text_at(alpha()), "round " + std::to_string(round));
    EXPECT_EQ(*clear(Clear::entries, &alpha_), 1U);
    EXPECT_EQ(text_at(alpha()), "(nothing)");
  }
}

// Every entry is counted by one clear, or is still there.
TEST_P(StoreConformance, ClearsCountExactlyWhileOthersStore) {
  constexpr std::size_t kWriters = 4;
  constexpr int kEach = 150;
  std::atomic<std::uint64_t> removed = 0;
  std::atomic<std::size_t> writing = kWriters;
  in_threads(kWriters + 2, [&](std::size_t thread) {
    if (thread >= kWriters) {
      while (writing != 0) {
        const auto cleared = clear(Clear::entries, &alpha_);
        EXPECT_TRUE(cleared) << cleared.error().message();
        if (cleared) removed += *cleared;
      }
      return;
    }
    for (int n = 0; n < kEach; ++n) {
      stored(alpha(std::to_string(thread) + '/' + std::to_string(n)), "value");
    }
    --writing;
  });
  removed += *clear(Clear::entries, &alpha_);

  EXPECT_EQ(removed, kWriters * kEach);
  EXPECT_TRUE(scan().empty());
}

// ---- by age

TEST_P(StoreConformance, ClearOfStaleEntriesLeavesNewerOnes) {
  stored(alpha("old"), "old");
  tick();
  stored(alpha("new"), "new");
  const Time then = look(alpha("new"), without_claim()).entry->stored_at;

  EXPECT_EQ(*clear(Clear::stale, &alpha_, then), 1U);

  EXPECT_EQ(text_at(alpha("old")), "(nothing)");
  EXPECT_EQ(text_at(alpha("new")), "new") << "stored at that time, not before";
}

TEST_P(StoreConformance, ClearOfStaleEntriesLeavesOtherFunctions) {
  stored(alpha(), "old");
  stored(beta(), "old");
  tick();
  stored(alpha("new"), "new");
  const Time then = look(alpha("new"), without_claim()).entry->stored_at;

  EXPECT_EQ(*clear(Clear::stale, &alpha_, then), 1U);
  EXPECT_EQ(text_at(beta()), "old");

  EXPECT_EQ(*clear(Clear::stale, nullptr, then), 1U);
  EXPECT_EQ(text_at(beta()), "(nothing)");
}

TEST_P(StoreConformance, AnEntryStoredAgainIsNotStale) {
  stored(alpha(), "old");
  tick();
  stored(alpha(), "new");
  const Time then = look(alpha(), without_claim()).entry->stored_at;

  EXPECT_EQ(*clear(Clear::stale, &alpha_, then), 0U);
  EXPECT_EQ(text_at(alpha()), "new");
}

TEST_P(StoreConformance, ClearOfStaleEntriesDisturbsNoComputation) {
  const Token token = claim(alpha("running"));
  const Basis basis = look(alpha("waiting"), without_claim()).token.basis;
  stored(alpha("old"), "old");
  const std::uint64_t epoch = look(alpha("old"), without_claim()).token.basis.epoch;
  tick();
  stored(alpha("new"), "new");
  const Time then = look(alpha("new"), without_claim()).entry->stored_at;
  ASSERT_EQ(*clear(Clear::stale, &alpha_, then), 1U);

  EXPECT_EQ(look(alpha("running")).claim, Look::Claim::busy);
  EXPECT_TRUE(put(alpha("running"), "value", token));
  EXPECT_TRUE(put_on(alpha("waiting"), "value", basis));
  EXPECT_TRUE(put_since(alpha("old"), "value", epoch));
}

// Whose refresh of an old entry is running when cleaning up takes the entry away.
TEST_P(StoreConformance, ClearOfStaleEntriesDisturbsNoRefresh) {
  stored(alpha(), "old");
  const Token token = claim(alpha(), never_fresh());
  tick();
  stored(alpha("new"), "new");
  const Time then = look(alpha("new"), without_claim()).entry->stored_at;
  ASSERT_EQ(*clear(Clear::stale, &alpha_, then), 1U);
  EXPECT_EQ(text_at(alpha()), "(nothing)");

  EXPECT_TRUE(put(alpha(), "refreshed", token));
  EXPECT_EQ(text_at(alpha()), "refreshed");
}

// ---- outcomes

TEST_P(StoreConformance, WhoComesAfterAFailureIsToldAndComputes) {
  ASSERT_TRUE(release(alpha(), claim(alpha()), Outcome::failed));

  const Look next = look(alpha());
  EXPECT_EQ(next.outcome, Outcome::failed);
  EXPECT_EQ(next.claim, Look::Claim::granted);
  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy) << "one of them takes over";
}

TEST_P(StoreConformance, NobodyNeedsAClaimForWhatCannotBeStored) {
  ASSERT_TRUE(release(alpha(), claim(alpha()), Outcome::not_storable));

  for (int caller = 0; caller < 3; ++caller) {
    const Look answer = look(alpha());
    EXPECT_EQ(answer.outcome, Outcome::not_storable);
    EXPECT_EQ(answer.claim, Look::Claim::none);
    EXPECT_FALSE(answer.entry);
  }
}

TEST_P(StoreConformance, AnOwnerMayStoreBesideItsClaimAndThenSayThatNothingCounts) {
  Token token = claim(alpha());
  Change change;
  change.value = subject_->value_of("empty");
  change.value.set_none(true);
  change.basis = token.basis;
  const Result<Version> stored = store_->commit(alpha().id(), change, soon());
  ASSERT_TRUE(stored) << stored.error().message();
  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy);

  token.basis.version = *stored;
  ASSERT_TRUE(release(alpha(), token, Outcome::not_storable));
  const Look answer = look(alpha());
  EXPECT_EQ(answer.outcome, Outcome::not_storable);
  EXPECT_EQ(answer.claim, Look::Claim::none);
  Ask ask;
  ask.allow_none = true;
  EXPECT_TRUE(look(alpha(), ask).fresh);
}

TEST_P(StoreConformance, AnOutcomeDoesNotHideAStaleEntry) {
  stored(alpha(), "old");
  ASSERT_TRUE(release(alpha(), claim(alpha(), never_fresh()), Outcome::not_storable));

  const Look stale = look(alpha(), never_fresh());
  EXPECT_EQ(text_in(stale), "old");
  EXPECT_FALSE(stale.fresh);
  EXPECT_EQ(stale.claim, Look::Claim::none);
  EXPECT_EQ(stale.outcome, Outcome::not_storable);
  EXPECT_TRUE(look(alpha()).fresh) << "for whoever is content with it";
}

TEST_P(StoreConformance, AnOutcomeIsOfOneCall) {
  ASSERT_TRUE(release(alpha(), claim(alpha()), Outcome::not_storable));

  EXPECT_EQ(look(alpha("other")).outcome, Outcome::none);
  EXPECT_EQ(look(beta()).outcome, Outcome::none);
  EXPECT_EQ(look(alpha("other")).claim, Look::Claim::busy);
}

TEST_P(StoreConformance, AnOutcomeIsForgottenByALaterPut) {
  for (const Outcome outcome : {Outcome::failed, Outcome::not_storable}) {
    ASSERT_TRUE(release(alpha(), claim(alpha(), never_fresh()), outcome));
    stored(alpha(), "value");

    const Look answer = look(alpha(), never_fresh());
    EXPECT_EQ(answer.outcome, Outcome::none);
    EXPECT_EQ(answer.claim, Look::Claim::granted);
    ASSERT_TRUE(release(alpha(), answer.token));
  }
}

TEST_P(StoreConformance, AnOutcomeIsForgottenByThePutOfWhoeverTookOver) {
  ASSERT_TRUE(release(alpha(), claim(alpha()), Outcome::failed));
  ASSERT_TRUE(put(alpha(), "value", claim(alpha())));

  EXPECT_EQ(look(alpha(), never_fresh()).outcome, Outcome::none);
}

TEST_P(StoreConformance, OutcomesAreForgottenByAClear) {
  for (const Function* function : {&alpha_, static_cast<const Function*>(nullptr)}) {
    ASSERT_TRUE(release(alpha(), claim(alpha()), Outcome::not_storable));
    ASSERT_TRUE(clear(Clear::entries, function));

    const Look answer = look(alpha());
    EXPECT_EQ(answer.outcome, Outcome::none);
    EXPECT_EQ(answer.claim, Look::Claim::granted);
    ASSERT_TRUE(release(alpha(), answer.token));
  }
}

TEST_P(StoreConformance, AnOutcomeFromBeforeAChangeCountsForNobody) {
  const std::pair<const char*, std::function<bool()>> changes[] = {
      {"a clear of the function",
       [this] { return bool(clear(Clear::entries, &alpha_)); }},
      {"a clear of everything", [this] { return bool(clear(Clear::entries)); }},
      {"an erase", [this] { return bool(erase(alpha())); }},
      {"a put", [this] { return bool(put(alpha(), "theirs")); }},
  };
  for (const auto& [name, change] : changes) {
    for (const Outcome outcome : {Outcome::failed, Outcome::not_storable}) {
      const Token token = claim(alpha(), never_fresh());
      ASSERT_TRUE(change()) << name;
      (void)release(alpha(), token, outcome);

      const Look answer = look(alpha(), never_fresh());
      EXPECT_EQ(answer.outcome, Outcome::none) << name;
      EXPECT_EQ(answer.claim, Look::Claim::granted) << name;
      ASSERT_TRUE(release(alpha(), answer.token)) << name;
    }
  }
}

TEST_P(StoreConformance, OutcomesAreForgottenAfterAWhile) {
  ASSERT_TRUE(release(alpha(), claim(alpha()), Outcome::not_storable));
  if (!subject_->advances_outcomes()) GTEST_SKIP() << "its clock cannot be moved";

  subject_->advance(kOutcomeLife - 1s);
  EXPECT_EQ(look(alpha()).outcome, Outcome::not_storable);

  subject_->advance(2s);
  const Look answer = look(alpha());
  EXPECT_EQ(answer.outcome, Outcome::none);
  EXPECT_EQ(answer.claim, Look::Claim::granted);
}

TEST_P(StoreConformance, OutcomesAreForgottenWhenTheClockIsSetBack) {
  ASSERT_TRUE(release(alpha(), claim(alpha()), Outcome::not_storable));
  if (!subject_->advances_outcomes()) GTEST_SKIP() << "its clock cannot be moved";

  subject_->advance(-24h);
  EXPECT_EQ(look(alpha()).outcome, Outcome::none);
}

}  // namespace
}  // namespace cachier::conformance

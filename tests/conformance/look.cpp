/// What a look answers: hit, miss and failure, and what counts as fresh.

#include "conformance/conformance.hpp"

namespace cachier::conformance {
namespace {

using namespace std::chrono_literals;

TEST_P(StoreConformance, NothingIsThereAtFirst) {
  const Look answer = look(alpha(), without_claim());

  EXPECT_FALSE(answer.entry);
  EXPECT_FALSE(answer.fresh);
  EXPECT_FALSE(answer.damaged);
  EXPECT_EQ(answer.claim, Look::Claim::none);
  EXPECT_EQ(answer.outcome, Outcome::none);
  EXPECT_EQ(answer.token.serial, 0U);
  EXPECT_EQ(answer.token.basis.version, Version{});
}

TEST_P(StoreConformance, WhatIsStoredIsFound) {
  const Version version = stored(alpha(), "value");

  const Look answer = look(alpha());

  ASSERT_TRUE(answer.entry);
  EXPECT_EQ(text_in(answer), "value");
  EXPECT_TRUE(answer.fresh);
  EXPECT_FALSE(answer.damaged);
  EXPECT_EQ(answer.claim, Look::Claim::none);
  EXPECT_EQ(answer.token.serial, 0U);
  EXPECT_EQ(answer.entry->version, version);
  EXPECT_EQ(answer.token.basis.version, version);
  EXPECT_NE(version, Version{});
}

TEST_P(StoreConformance, WhatIsStoredLastIsFound) {
  stored(alpha(), "old");
  stored(alpha(), "new");

  EXPECT_EQ(text_at(alpha()), "new");
}

TEST_P(StoreConformance, DescriptionsOfValuesAreKept) {
  if (!subject_->keeps_bytes()) GTEST_SKIP() << "live objects only";
  Value value = Value::of_bytes(Codec::pickle, "bytes");
  value.set_fingerprint(0xfedcba9876543210);
  ASSERT_TRUE(put_value(alpha(), value));

  const Look answer = look(alpha());

  ASSERT_TRUE(answer.entry);
  EXPECT_EQ(answer.entry->value.codec(), Codec::pickle);
  EXPECT_EQ(answer.entry->value.fingerprint(), 0xfedcba9876543210);
  EXPECT_FALSE(answer.entry->value.is_none());
}

TEST_P(StoreConformance, AValueOutlivesItsEntry) {
  stored(alpha(), "first");
  const Look answer = look(alpha());
  stored(alpha(), "second");
  ASSERT_TRUE(erase(alpha()));
  ASSERT_TRUE(clear(Clear::entries));

  EXPECT_EQ(text_in(answer), "first");
}

TEST_P(StoreConformance, NoAgeIsYoungEnoughForZero) {
  stored(alpha(), "value");

  for (const Duration max_age : {Duration::zero(), Duration(-1), -kNoLimit}) {
    Ask ask = aged(max_age);
    ask.claim = false;
    const Look answer = look(alpha(), ask);
    EXPECT_FALSE(answer.fresh) << max_age.count();
    EXPECT_EQ(text_in(answer), "value") << "stale entries are given too";
  }
}

TEST_P(StoreConformance, AnyAgeIsYoungEnoughWithoutALimit) {
  stored(alpha(), "value");
  if (!subject_->advance(24h * 365 * 20)) GTEST_SKIP() << "its clock cannot be moved";

  EXPECT_TRUE(look(alpha()).fresh);
}

TEST_P(StoreConformance, AnAgeEqualToTheLimitIsYoungEnough) {
  stored(alpha(), "value");
  if (!subject_->advance(60s)) GTEST_SKIP() << "its clock cannot be moved";

  EXPECT_TRUE(look(alpha(), aged(60s)).fresh);
  EXPECT_TRUE(look(alpha(), aged(61s)).fresh);
  EXPECT_FALSE(look(alpha(), aged(59s)).fresh);
}

TEST_P(StoreConformance, AnEntryGetsTooOld) {
  stored(alpha(), "value");
  if (!subject_->advance(61s)) GTEST_SKIP() << "its clock cannot be moved";

  const Look answer = look(alpha(), aged(60s));

  EXPECT_EQ(text_in(answer), "value");
  EXPECT_FALSE(answer.fresh);
  EXPECT_EQ(answer.claim, Look::Claim::granted);
  EXPECT_GE(answer.now - answer.entry->stored_at, 61s);
}

TEST_P(StoreConformance, AnEntryFromTheFutureIsStaleBeyondTheSlack) {
  stored(alpha(), "value");
  if (!subject_->advance(-kClockSlack)) GTEST_SKIP() << "its clock cannot be moved";
  EXPECT_TRUE(look(alpha(), aged(60s)).fresh);

  subject_->advance(-1s);
  EXPECT_FALSE(look(alpha(), aged(60s)).fresh);
  EXPECT_TRUE(look(alpha()).fresh) << "no limit counts whatever the clock says";

  subject_->advance(1s + kClockSlack);
  EXPECT_TRUE(look(alpha(), aged(60s)).fresh) << "the clock came back";
}

TEST_P(StoreConformance, EntriesCarryTheTimeOfTheirCommit) {
  stored(alpha("first"), "value");
  if (!subject_->advance(10s)) GTEST_SKIP() << "its clock cannot be moved";
  stored(alpha("second"), "value");

  const Look first = look(alpha("first"), aged(60s));
  const Look second = look(alpha("second"), aged(60s));

  ASSERT_TRUE(first.entry && second.entry);
  EXPECT_EQ(second.entry->stored_at - first.entry->stored_at, 10s);
  EXPECT_GE(second.now, second.entry->stored_at);
}

TEST_P(StoreConformance, StoringAgainMakesYoung) {
  stored(alpha(), "value");
  if (!subject_->advance(61s)) GTEST_SKIP() << "its clock cannot be moved";
  stored(alpha(), "value");

  EXPECT_TRUE(look(alpha(), aged(60s)).fresh);
}

TEST_P(StoreConformance, AnEmptyAnswerCountsOnlyWhereItIsAllowed) {
  Value value = subject_->value_of("nothing");
  value.set_none(true);
  ASSERT_TRUE(put_value(alpha(), value));

  Ask allowing;
  allowing.allow_none = true;
  const Look allowed = look(alpha(), allowing);
  EXPECT_TRUE(allowed.fresh);
  ASSERT_TRUE(allowed.entry);
  EXPECT_TRUE(allowed.entry->value.is_none());
  EXPECT_EQ(allowed.claim, Look::Claim::none);

  const Look refused = look(alpha());
  EXPECT_FALSE(refused.entry);
  EXPECT_FALSE(refused.fresh);
  EXPECT_EQ(refused.claim, Look::Claim::granted);
}

TEST_P(StoreConformance, AnEmptyAnswerThatDoesNotCountCanBeReplaced) {
  Value value = subject_->value_of("nothing");
  value.set_none(true);
  ASSERT_TRUE(put_value(alpha(), value));

  const Token token = claim(alpha());
  ASSERT_TRUE(put(alpha(), "something", token));

  EXPECT_EQ(text_in(look(alpha())), "something");
}

TEST_P(StoreConformance, AnUnreadableVersionIsAsGoodAsNone) {
  Ask ask;
  ask.unreadable = stored(alpha(), "strange");

  const Look answer = look(alpha(), ask);
  EXPECT_FALSE(answer.entry);
  EXPECT_FALSE(answer.fresh);
  EXPECT_EQ(answer.claim, Look::Claim::granted);
  ASSERT_TRUE(put(alpha(), "readable", answer.token));

  const Look again = look(alpha(), ask);
  EXPECT_EQ(text_in(again), "readable") << "only that version is unreadable";
  EXPECT_TRUE(again.fresh);
}

TEST_P(StoreConformance, WhatCannotBeReadHereIsThereForOthers) {
  Ask ask = without_claim();
  ask.unreadable = stored(alpha(), "value");
  EXPECT_FALSE(look(alpha(), ask).entry);

  EXPECT_EQ(text_at(alpha()), "value");
}

TEST_P(StoreConformance, WhatIsRecalledIsWhatIsStored) {
  if (!subject_->keeps_bytes()) GTEST_SKIP() << "live objects only";
  const auto recalled = [&](const Ask& ask = {}) {
    const auto entry = store_->recall(alpha().id(), ask);
    return entry ? std::string(as_text(entry->value.bytes())) : "(nothing)";
  };
  // A store may know nothing without looking; what it knows is never something else.
  const auto knows = [&](const std::string& text) {
    const std::string known = recalled();
    return known == text || known == "(nothing)";
  };
  EXPECT_EQ(recalled(), "(nothing)");
  for (const char* text : {"first", "second", "third"}) {
    const Version version = stored(alpha(), text);
    EXPECT_TRUE(knows(text));
    EXPECT_EQ(text_at(alpha()), text);
    EXPECT_TRUE(knows(text));
    Ask unreadable;
    unreadable.unreadable = version;
    EXPECT_EQ(recalled(unreadable), "(nothing)");
    EXPECT_EQ(recalled(never_fresh()), "(nothing)");
  }
  ASSERT_TRUE(erase(alpha()));
  EXPECT_EQ(recalled(), "(nothing)");
  stored(alpha(), "fourth");
  EXPECT_EQ(text_at(alpha()), "fourth");
  ASSERT_TRUE(clear(Clear::entries, &alpha_));
  EXPECT_EQ(recalled(), "(nothing)");
}

}  // namespace
}  // namespace cachier::conformance

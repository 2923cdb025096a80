/// Functions with signing keys: what others have written is not there.

#include <cachier/signing.hpp>

#include "conformance/conformance.hpp"

namespace cachier::conformance {
namespace {

/// Signs the entries of a function for as long as it lives.
class Signs {
 public:
  Signs(const Function& function, const std::vector<std::string>& keys)
      : function_(function) {
    function_.sign_with(Keyring::of(keys).value());
  }
  ~Signs() { function_.sign_with(nullptr); }
  Signs(const Signs&) = delete;
  Signs& operator=(const Signs&) = delete;

 private:
  const Function& function_;
};

constexpr char kOurs[] = "the key of our programs";
constexpr char kTheirs[] = "a key of somebody else";

TEST_P(StoreConformance, WhatIsSignedIsFound) {
  if (!can_.shared) GTEST_SKIP() << "nobody else can write to it";
  const Signs signs(alpha_, {kOurs});
  const std::string large(100'000, 'x');
  stored(alpha("small"), "value");
  stored(alpha("large"), large);

  for (int again = 0; again < 3; ++again) {
    const Look small = look(alpha("small"));
    EXPECT_EQ(text_in(small), "value");
    EXPECT_TRUE(small.entry->value.is_signed());
    EXPECT_FALSE(small.untrusted);
    const Look found = look(alpha("large"));
    EXPECT_EQ(text_in(found), large);
    EXPECT_TRUE(found.entry->value.is_signed());
  }
}

TEST_P(StoreConformance, WhatNobodySignedIsAMiss) {
  if (!can_.shared) GTEST_SKIP() << "nobody else can write to it";
  stored(alpha(), "forged");
  EXPECT_EQ(text_at(alpha()), "forged");  // a store may remember that
  const Signs signs(alpha_, {kOurs});

  const Look seen = look(alpha(), without_claim());
  EXPECT_FALSE(seen.entry);
  EXPECT_FALSE(seen.fresh);
  EXPECT_TRUE(seen.untrusted);
  EXPECT_FALSE(seen.damaged);
  EXPECT_FALSE(store_->recall(alpha().id(), Ask()));

  const Look owned = look(alpha());
  ASSERT_EQ(owned.claim, Look::Claim::granted);
  EXPECT_TRUE(owned.untrusted);
  ASSERT_TRUE(put(alpha(), "ours", owned.token));
  EXPECT_EQ(text_at(alpha()), "ours");
  EXPECT_FALSE(look(alpha()).untrusted);
}

TEST_P(StoreConformance, WhatOthersSignedIsAMiss) {
  if (!can_.shared) GTEST_SKIP() << "nobody else can write to it";
  {
    const Signs others(alpha_, {kTheirs});
    stored(alpha(), "theirs");
  }
  const Signs signs(alpha_, {kOurs});

  const Look seen = look(alpha(), without_claim());

  EXPECT_FALSE(seen.entry);
  EXPECT_TRUE(seen.untrusted);
}

TEST_P(StoreConformance, UntrustedEntriesAreCounted) {
  if (!can_.shared) GTEST_SKIP() << "nobody else can write to it";
  stored(alpha(), "forged");
  (void)look(alpha("unknown"), without_claim());
  const StoreMetrics before = store_->metrics();
  if (before == StoreMetrics{}) GTEST_SKIP() << "it does not count";
  const Signs signs(alpha_, {kOurs});

  (void)look(alpha(), without_claim());

  EXPECT_EQ(store_->metrics().untrusted - before.untrusted, 1U);
  EXPECT_EQ(store_->metrics().misses() - before.misses(), 1U);
}

TEST_P(StoreConformance, SignedEntriesAreListedAndCleared) {
  if (!can_.shared) GTEST_SKIP() << "nobody else can write to it";
  const Signs signs(alpha_, {kOurs});
  stored(alpha("one"), "value");
  stored(alpha("two"), "value");

  EXPECT_EQ(*clear(Clear::entries, &alpha_), 2U);
}

}  // namespace
}  // namespace cachier::conformance

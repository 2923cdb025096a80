/// What a store says it did.

#include "conformance/conformance.hpp"

namespace cachier::conformance {
namespace {

TEST_P(StoreConformance, HitsAndMissesAreCountedByCause) {
  stored(alpha("known"), "value");
  (void)look(alpha("known"));
  const StoreMetrics before = store_->metrics();
  if (before == StoreMetrics{}) GTEST_SKIP() << "it does not count";
  const auto hits = [&] { return store_->metrics().hits() - before.hits(); };
  const auto misses = [&] { return store_->metrics().misses() - before.misses(); };

  for (int n = 0; n < 3; ++n) (void)look(alpha("known"));
  EXPECT_EQ(hits(), 3U);
  EXPECT_EQ(misses(), 0U);

  (void)look(alpha("unknown"), without_claim());
  EXPECT_EQ(store_->metrics().absent - before.absent, 1U);
  (void)look(alpha("known"), never_fresh());
  EXPECT_EQ(store_->metrics().stale - before.stale, 1U);
  Ask other = without_claim();
  other.unreadable = look(alpha("known")).entry->version;
  (void)look(alpha("known"), other);
  EXPECT_EQ(store_->metrics().unreadable - before.unreadable, 1U);
  EXPECT_EQ(hits(), 4U);
  EXPECT_EQ(misses(), 3U);
  EXPECT_EQ(store_->metrics().failures, before.failures);
}

TEST_P(StoreConformance, WhoFindsSomebodyComputingHasNotMissed) {
  stored(alpha("known"), "value");
  (void)look(alpha("known"));
  if (store_->metrics() == StoreMetrics{}) GTEST_SKIP() << "it does not count";
  (void)claim(alpha("unknown"));
  const StoreMetrics before = store_->metrics();
  EXPECT_EQ(look(alpha("unknown")).claim, Look::Claim::busy);
  EXPECT_EQ(store_->metrics(), before);
}

}  // namespace
}  // namespace cachier::conformance

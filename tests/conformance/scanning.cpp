/// Scans: every entry once, and nothing but entries.

#include "conformance/conformance.hpp"

#include <atomic>
#include <map>
#include <set>

namespace cachier::conformance {
namespace {

TEST_P(StoreConformance, AnEmptyStoreListsNothing) {
  const Result<Page> page = store_->scan({}, {}, soon());
  ASSERT_TRUE(page);
  EXPECT_TRUE(page->entries.empty());
  EXPECT_TRUE(page->next.empty());
}

TEST_P(StoreConformance, AScanSaysAllButTheValue) {
  const Call call = alpha(std::string("key\0with\xff", 9));
  stored(call, "value");
  const Entry entry = *look(call).entry;

  const std::vector<Header> all = scan();

  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].function, alpha_.id());
  EXPECT_EQ(all[0].digest, call.digest());
  EXPECT_EQ(all[0].key, call.key());
  EXPECT_FALSE(all[0].hashed);
  EXPECT_EQ(all[0].stored_at, entry.stored_at);
  EXPECT_EQ(all[0].codec, entry.value.codec());
}

TEST_P(StoreConformance, AScanSaysHowBigValuesAre) {
  if (!subject_->keeps_bytes()) GTEST_SKIP() << "live objects only";
  for (const std::size_t size : {0UL, 1'000UL, 1'000'000UL}) {
    ASSERT_TRUE(put_value(alpha(std::to_string(size)),
                          Value::of_bytes(Codec::cbor, std::string(size, 'x'))));
  }
  for (const Header& header : scan()) {
    const std::uint64_t size = std::stoull(header.key);
    EXPECT_GE(header.size, size);
    EXPECT_LE(header.size, size + 4096) << "what a store adds is small";
  }
}

TEST_P(StoreConformance, AScanListsOneFunctionOrAll) {
  for (int n = 0; n < 10; ++n) stored(alpha(std::to_string(n)), "value");
  for (int n = 0; n < 7; ++n) stored(beta(std::to_string(n)), "value");

  EXPECT_EQ(scan().size(), 17U);
  const std::vector<Header> shorter = scan({&alpha_, {}});
  EXPECT_EQ(shorter.size(), 10U);
  for (const Header& header : shorter) EXPECT_EQ(header.function, alpha_.id());
  const std::vector<Header> longer = scan({&beta_, {}});
  EXPECT_EQ(longer.size(), 7U);
  for (const Header& header : longer) EXPECT_EQ(header.function, beta_.id());
}

TEST_P(StoreConformance, AScanListsWhatIsOlder) {
  stored(alpha("old"), "value");
  tick();
  stored(alpha("new"), "value");
  const Time then = look(alpha("new")).entry->stored_at;

  const std::vector<Header> old = scan({&alpha_, then});

  ASSERT_EQ(old.size(), 1U);
  EXPECT_EQ(old[0].key, "old");
}

TEST_P(StoreConformance, AScanListsEntriesOnly) {
  stored(alpha("stored"), "value");
  stored(alpha("erased"), "value");
  ASSERT_TRUE(erase(alpha("erased")));
  ASSERT_TRUE(erase(alpha("never there")));
  claim(alpha("claimed"));
  ASSERT_TRUE(release(alpha("failed"), claim(alpha("failed")), Outcome::failed));

  const std::vector<Header> all = scan();

  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].key, "stored");
}

TEST_P(StoreConformance, AScanOfManyPagesListsEachEntryOnce) {
  const int entries = count(2500, 1200);
  for (int n = 0; n < entries; ++n) stored(alpha(std::to_string(n)), "value");

  std::set<std::string> keys;
  for (const Header& header : scan()) EXPECT_TRUE(keys.insert(header.key).second);

  EXPECT_EQ(keys.size(), static_cast<std::size_t>(entries));
}

TEST_P(StoreConformance, AScanWhileOthersWriteListsConstantEntriesOnce) {
  const int constant = count(600, 150);
  constexpr std::size_t kWriters = 3;
  for (int n = 0; n < constant; ++n) {
    stored(alpha("constant " + std::to_string(n)), "value");
  }
  std::atomic<bool> done = false;
  in_threads(kWriters + 1, [&](std::size_t thread) {
    if (thread == kWriters) {
      for (int round = 0; round < 5; ++round) {
        std::map<std::string, int> listed;
        for (const Header& header : scan({&alpha_, {}})) ++listed[header.key];
        for (int n = 0; n < constant; ++n) {
          EXPECT_EQ(listed["constant " + std::to_string(n)], 1) << n;
        }
        for (const auto& [key, times] : listed) EXPECT_LE(times, 1) << key;
      }
      done = true;
      return;
    }
    const std::string name = "writer " + std::to_string(thread) + " ";
    for (int n = 0; !done; ++n) {
      // Comes and goes, also again under the same name, and makes room to be moved to.
      const Call passing = alpha(name + std::to_string(n % 100));
      stored(passing, "value");
      if (n % 3 != 0) {
        EXPECT_TRUE(erase(passing));
      }
      // An entry that is stored again is there all the time.
      stored(alpha("constant " + std::to_string(n % constant)), "again");
      stored(beta(name + std::to_string(n % 50)), "value");
      if (n % 64 == 0) {
        EXPECT_TRUE(clear(Clear::entries, &beta_));
      }
    }
  });
}

// An entry may be removed while a page is on its way; the scan goes on behind it.
TEST_P(StoreConformance, AScanGoesOnWhereItsPlaceIsGone) {
  const int entries = count(1500, 1100);
  for (int n = 0; n < entries; ++n) stored(alpha(std::to_string(n)), "value");
  Result<Page> page = store_->scan({}, {}, soon());
  ASSERT_TRUE(page);
  std::set<std::string> keys;
  for (const Header& header : page->entries) keys.insert(header.key);
  for (const std::string& key : keys) ASSERT_TRUE(erase(alpha(key)));

  while (!page->next.empty()) {
    page = store_->scan({}, page->next, soon());
    ASSERT_TRUE(page);
    for (const Header& header : page->entries) {
      EXPECT_TRUE(keys.insert(header.key).second) << header.key;
    }
  }
  EXPECT_EQ(keys.size(), static_cast<std::size_t>(entries));
}

TEST_P(StoreConformance, AScanListsNothingTwiceThatWentAndCameBack) {
  const int entries = count(1500, 1100);
  for (int n = 0; n < entries; ++n) stored(alpha(std::to_string(n)), "value");
  Result<Page> page = store_->scan({}, {}, soon());
  ASSERT_TRUE(page);
  std::set<std::string> keys;
  for (const Header& header : page->entries) keys.insert(header.key);
  ASSERT_EQ(*clear(Clear::entries), static_cast<std::uint64_t>(entries));
  for (int n = entries; n-- > 0;) stored(alpha(std::to_string(n)), "value");

  while (!page->next.empty()) {
    page = store_->scan({}, page->next, soon());
    ASSERT_TRUE(page);
    for (const Header& header : page->entries) {
      EXPECT_TRUE(keys.insert(header.key).second) << header.key;
    }
  }
}

}  // namespace
}  // namespace cachier::conformance

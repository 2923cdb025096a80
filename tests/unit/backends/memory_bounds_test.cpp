/// Bounds of the memory store.

#include "backends/memory/memory.hpp"
#include "support/bytes.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace cachier {
namespace {

/// What an entry counts for beside its value.
constexpr std::uint64_t kEntryCost = 256;

class MemoryBounds : public ::testing::Test {
 protected:
  [[nodiscard]] static Id id_of(const Function& function, std::string_view key) {
    const std::uint64_t hash = std::hash<std::string_view>{}(key) ^ function.seed();
    return {&function,
            {hash * 0x9e3779b97f4a7c15, hash * 0xbf58476d1ce4e5b9 + 1},
            as_bytes(key)};
  }
  void store(const Function& function, std::string_view key, Value value) {
    Change change;
    change.value = std::move(value);
    ASSERT_TRUE(store_->commit(id_of(function, key), change, {}));
  }
  void store(std::string_view key, std::size_t size = 1) {
    store(function_, key, Value::of_bytes(Codec::cbor, std::string(size, 'v')));
  }
  [[nodiscard]] bool has(std::string_view key) { return has(function_, key); }
  [[nodiscard]] bool has(const Function& function, std::string_view key) {
    Ask ask;
    ask.claim = false;
    return store_->look(id_of(function, key), ask, {})->entry.has_value();
  }
  [[nodiscard]] std::size_t kept(const Function* function = nullptr) {
    std::size_t count = 0;
    Cursor cursor;
    do {
      const Page page = *store_->scan({function, {}}, cursor, {});
      count += page.entries.size();
      cursor = page.next;
    } while (!cursor.empty());
    return count;
  }

  const Function& function_ = Function::intern("memory bounds test");
  const Function& other_ = Function::intern("memory bounds test: another");
  std::shared_ptr<Store> store_ = make_memory_store();
};

TEST_F(MemoryBounds, FilledToTenTimesItsBoundItStaysWithinIt) {
  ASSERT_TRUE(store_->keep_within(&function_, {.entries = 100}));
  for (int n = 0; n < 1'000; ++n) {
    store(std::to_string(n));
    if (n % 50 == 49) {
      ASSERT_LE(kept(), 100U) << n;
    }
  }
  EXPECT_EQ(kept(), 100U);
  EXPECT_TRUE(has("999"));
}

TEST_F(MemoryBounds, BytesAreThoseOfValuesAndSomeMore) {
  ASSERT_TRUE(store_->keep_within(nullptr, {.bytes = 10 * (1'000 + kEntryCost)}));
  for (int n = 0; n < 100; ++n) store(std::to_string(n), 1'000);
  EXPECT_EQ(kept(), 10U);
  store("a big one", 5 * (1'000 + kEntryCost) - kEntryCost);
  EXPECT_EQ(kept(), 6U);
}

TEST_F(MemoryBounds, WhatIsAskedForStays) {
  ASSERT_TRUE(store_->keep_within(&function_, {.entries = 10}));
  store("hot");
  for (int n = 0; n < 1'000; ++n) {
    store(std::to_string(n));
    ASSERT_TRUE(has("hot")) << n;
  }
}

TEST_F(MemoryBounds, OtherFunctionsLoseNothing) {
  for (int n = 0; n < 50; ++n) {
    store(other_, std::to_string(n), Value::of_bytes(Codec::cbor, "v"));
  }
  ASSERT_TRUE(store_->keep_within(&function_, {.entries = 5}));
  for (int n = 0; n < 50; ++n) store(std::to_string(n));
  EXPECT_EQ(kept(&function_), 5U);
  EXPECT_EQ(kept(&other_), 50U);
}

TEST_F(MemoryBounds, ABoundOfAFunctionAndOneOfAllHoldTogether) {
  ASSERT_TRUE(store_->keep_within(&function_, {.entries = 20}));
  ASSERT_TRUE(store_->keep_within(nullptr, {.entries = 30}));
  for (int n = 0; n < 100; ++n) {
    store(std::to_string(n));
    store(other_, std::to_string(n), Value::of_bytes(Codec::cbor, "v"));
    ASSERT_LE(kept(&function_), 20U);
    ASSERT_LE(kept(), 30U);
  }
  EXPECT_EQ(kept(), 30U);
}

TEST_F(MemoryBounds, WhatIsThereAlreadyCounts) {
  for (int n = 0; n < 50; ++n) store(std::to_string(n));
  ASSERT_TRUE(store_->keep_within(&function_, {.entries = 20}));
  EXPECT_EQ(kept(), 20U);
  ASSERT_TRUE(store_->keep_within(&function_, {.entries = 10}));
  EXPECT_EQ(kept(), 10U);
  ASSERT_TRUE(store_->keep_within(&function_, {}));
  for (int n = 0; n < 50; ++n) store(std::to_string(n));
  EXPECT_EQ(kept(), 50U);
}

TEST_F(MemoryBounds, WhatIsReplacedErasedOrClearedCountsNoMore) {
  ASSERT_TRUE(store_->keep_within(&function_, {.entries = 10}));
  for (int n = 0; n < 100; ++n) store("the same");
  for (int n = 0; n < 9; ++n) store(std::to_string(n));
  EXPECT_EQ(kept(), 10U);

  Change erase;
  erase.kind = Change::Kind::erase;
  ASSERT_TRUE(store_->commit(id_of(function_, "the same"), erase, {}));
  store("in its place");
  EXPECT_EQ(kept(), 10U);
  EXPECT_TRUE(has("0"));

  ASSERT_TRUE(store_->clear({&function_, {}}, Clear::entries, {}));
  for (int n = 0; n < 10; ++n) store(std::to_string(n));
  EXPECT_EQ(kept(), 10U);
  for (int n = 0; n < 10; ++n) EXPECT_TRUE(has(std::to_string(n)));
}

TEST_F(MemoryBounds, WhatIsBeingComputedAnewIsNotDisturbed) {
  ASSERT_TRUE(store_->keep_within(&function_, {.entries = 5}));
  store("k");
  Ask never;
  never.max_age = Duration::zero();
  const Id id = id_of(function_, "k");
  const auto owner = store_->look(id, never, {});
  ASSERT_EQ(owner->claim, Look::Claim::granted);
  for (int n = 0; n < 100; ++n) store(std::to_string(n));
  ASSERT_FALSE(has("k"));

  Change change;
  change.value = Value::of_bytes(Codec::cbor, "new");
  change.token = owner->token;
  EXPECT_TRUE(store_->commit(id, change, {}));
  EXPECT_TRUE(has("k"));
}

TEST_F(MemoryBounds, ValuesMayUseTheStoreWhenTheyAreEvicted) {
  struct User {
    Store& store;
    const Function& function;
    ~User() { (void)store.clear({&function, {}}, Clear::claims, {}); }
  };
  ASSERT_TRUE(store_->keep_within(&function_, {.entries = 3}));
  for (int n = 0; n < 10; ++n) {
    store(function_, std::to_string(n),
          Value::of_object(std::make_shared<const User>(*store_, function_)));
  }
  EXPECT_EQ(kept(), 3U);
  ASSERT_TRUE(store_->clear({}, Clear::entries, {}));
}

TEST_F(MemoryBounds, ManyThreadsKeepOneBound) {
  ASSERT_TRUE(store_->keep_within(&function_, {.entries = 100}));
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      for (int n = 0; n < 2'000; ++n) {
        const std::string key = std::to_string((n * 7 + thread) % 400);
        switch (n % 5) {
          case 0: {
            Change erase;
            erase.kind = Change::Kind::erase;
            (void)store_->commit(id_of(function_, key), erase, {});
            break;
          }
          case 1:
            (void)has(key);
            break;
          default:
            store(key);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(kept(), 100U);
  // Nothing is counted that is not there.
  for (int n = 0; n < 100; ++n) store("afterwards " + std::to_string(n));
  EXPECT_EQ(kept(), 100U);
}

}  // namespace
}  // namespace cachier

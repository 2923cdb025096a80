/// What the memory store does beyond the contract of stores.

#include "backends/memory/memory.hpp"
#include "support/child_process.hpp"
#include "support/clock.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace cachier {
namespace {

using namespace std::chrono_literals;

Id id_of(const Function& function, std::string_view key) {
  return {&function, {std::hash<std::string_view>{}(key), 1}, as_bytes(key), false};
}

class MemoryStoreTest : public ::testing::Test {
 protected:
  Result<Version> put(std::string_view key, std::string text,
                      std::optional<Token> token = {}) {
    Change change;
    change.value = Value::of_bytes(Codec::cbor, std::move(text));
    change.token = token;
    return store_->commit(id_of(function_, key), change, {});
  }
  Look look(std::string_view key, const Ask& ask = {}) {
    return *store_->look(id_of(function_, key), ask, {});
  }

  const Function& function_ = Function::intern("memory store test");
  std::shared_ptr<Store> store_ = make_memory_store();
};

TEST_F(MemoryStoreTest, DeclaresWhatItIs) {
  const Capabilities can = store_->capabilities();
  EXPECT_EQ(can.name, "memory");
  EXPECT_TRUE(can.live_objects && can.fenced && can.wakes);
  EXPECT_FALSE(can.persistent || can.shared || can.many_hosts || can.leases ||
               can.sees_death);
  EXPECT_EQ(store_->location(), "memory");
}

TEST_F(MemoryStoreTest, GoesByTheMachinesClockUnlessToldOtherwise) {
  const Time before = std::chrono::system_clock::now();
  ASSERT_TRUE(put("key", "value"));
  const Time after = std::chrono::system_clock::now();
  Ask ask;
  ask.max_age = 1h;

  const Look answer = look("key", ask);

  EXPECT_TRUE(answer.fresh);
  EXPECT_LE(before, answer.entry->stored_at);
  EXPECT_LE(answer.entry->stored_at, after);
  EXPECT_LT(answer.now - before, 1h);
}

// What it was just told is not stale because the coarse clock of looks is behind.
TEST_F(MemoryStoreTest, AnEntryOfThisMomentIsFresh) {
  Ask ask;
  ask.max_age = 10s;
  for (int n = 0; n < 1000; ++n) {
    ASSERT_TRUE(put("key", "value"));
    ASSERT_TRUE(look("key", ask).fresh);
  }
}

TEST_F(MemoryStoreTest, RefusesCursorsThatAreNotItsOwn) {
  for (const char* cursor : {"x", "1", "1:2", "1:2:", "1:2:3:4", "1:2:3 ", "-1:2:3",
                             "99999999999999999999:0:0"}) {
    const Result<Page> page = store_->scan({}, cursor, {});
    ASSERT_FALSE(page) << cursor;
    EXPECT_EQ(page.error(), ErrorCode::invalid_argument) << cursor;
    EXPECT_FALSE(page.error().what().empty());
  }
  EXPECT_TRUE(store_->scan({}, "1000000:0:0", {})) << "past the end";
}

TEST_F(MemoryStoreTest, ReleaseNeedsAToken) {
  Change change;
  change.kind = Change::Kind::release;
  EXPECT_EQ(store_->commit(id_of(function_, "key"), change, {}).error(),
            ErrorCode::invalid_argument);
}

TEST_F(MemoryStoreTest, RefusesKeysThatAreTooLong) {
  // Nobody reads the bytes of a key of this length.
  static const std::byte first{};
  const Id id{&function_, {1, 1}, Bytes(&first, std::size_t{1} << 31), false};
  Change put;
  Change erase;
  erase.kind = Change::Kind::erase;

  const Result<Look> looked = store_->look(id, {}, {});
  ASSERT_FALSE(looked);
  EXPECT_EQ(looked.error(), ErrorCode::too_large);
  EXPECT_NE(looked.error().message().find("hash"), std::string::npos);
  EXPECT_EQ(store_->commit(id, put, {}).error(), ErrorCode::too_large);
  EXPECT_EQ(store_->commit(id, erase, {}).error(), ErrorCode::too_large);
}

TEST_F(MemoryStoreTest, TokensFromBeforeAForkAreRefusedInTheChild) {
  const Token token = look("claimed").token;
  ASSERT_NE(token.serial, 0U);

  test::ChildProcess child([&](test::Channel&) {
    EXPECT_EQ(put("claimed", "value", token).error(), ErrorCode::claim_lost);
    EXPECT_EQ(look("claimed").claim, Look::Claim::granted);
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);

  EXPECT_TRUE(put("claimed", "value", token)) << "the parent's is as good as before";
}

TEST_F(MemoryStoreTest, StoresComeAndGoBetweenForks) {
  for (int round = 0; round < 3; ++round) {
    const auto other = make_memory_store();
    test::ChildProcess child([&](test::Channel&) {
      const auto made_in_child = make_memory_store();
      return put("key", "value") ? 0 : 1;
    });
    EXPECT_EQ(child.wait(), 0);
  }
}

}  // namespace
}  // namespace cachier

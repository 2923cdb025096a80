/// What `Table` promises beyond the contract of stores: where payloads die, what is
/// asked of the clock, and that nothing is kept for ever.

#include "backends/memory/table.hpp"

#include "support/bytes.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace cachier::memory {
namespace {

using namespace std::chrono_literals;

/// Knows how many there are, and whether one dies while the table is being changed.
class Guarded {
 public:
  Guarded() = default;
  explicit Guarded(int number) : number_(number) { ++alive; }
  Guarded(Guarded&& other) noexcept : number_(std::exchange(other.number_, 0)) {}
  Guarded& operator=(Guarded&& other) noexcept {
    drop();
    number_ = std::exchange(other.number_, 0);
    return *this;
  }
  ~Guarded() { drop(); }

  [[nodiscard]] int number() const { return number_; }

  static inline int alive = 0;
  static inline int died_inside = 0;
  static inline bool inside = false;

 private:
  void drop() noexcept {
    if (number_ == 0) return;
    --alive;
    if (inside) ++died_inside;
    number_ = 0;
  }

  int number_ = 0;
};

class TableTest : public ::testing::Test {
 protected:
  using GuardedTable = Table<Guarded>;

  void SetUp() override {
    Guarded::alive = 0;
    Guarded::died_inside = 0;
  }
  void TearDown() override { EXPECT_EQ(Guarded::died_inside, 0); }

  /// Runs an operation of the table, inside which no payload may die.
  template <class Operation>
  static auto inside(const Operation& operation) {
    Guarded::inside = true;
    auto answer = operation();
    Guarded::inside = false;
    return answer;
  }

  Id id(const std::string& key) {
    const auto hash = std::hash<std::string>{}(key);
    return {&function_, {hash, hash * 31}, as_bytes(*keys_.insert(key).first), false};
  }
  GuardedTable::Seen look(const Id& which, const Ask& ask = {}) {
    return table_.look(which, ask, [this] { return now_; });
  }
  Result<Version> put(const Id& which, int number, const Change& change = {}) {
    Guarded payload(number);
    Guarded replaced;
    return inside(
        [&] { return table_.put(which, change, payload, 0, now_, replaced); });
  }
  void erase(const Id& which) {
    Guarded removed;
    inside([&] { return table_.erase(which, removed); });
  }
  std::uint64_t clear(const Filter& filter = {}, Clear what = Clear::entries) {
    std::vector<Guarded> removed;
    return inside([&] { return table_.clear(filter, what, removed); });
  }

  const Function& function_ = Function::intern("memory table test");
  std::set<std::string> keys_;
  Time now_{1000h};
  GuardedTable table_;
};

TEST_F(TableTest, PayloadsDieOutside) {
  ASSERT_TRUE(put(id("a"), 1));
  ASSERT_TRUE(put(id("a"), 2));
  EXPECT_EQ(Guarded::alive, 1);
  erase(id("a"));
  EXPECT_EQ(Guarded::alive, 0);
  for (int n = 1; n <= 1000; ++n) ASSERT_TRUE(put(id(std::to_string(n)), n));
  EXPECT_EQ(Guarded::alive, 1000);
  EXPECT_EQ(clear(), 1000U);
  EXPECT_EQ(Guarded::alive, 0);
}

TEST_F(TableTest, APayloadThatIsNotStoredStaysWithTheCaller) {
  Change change;
  change.basis = look(id("a")).token.basis;
  ASSERT_TRUE(put(id("a"), 1));
  Guarded payload(2);
  Guarded replaced;

  const auto answer = table_.put(id("a"), change, payload, 0, now_, replaced);

  EXPECT_EQ(answer.error(), ErrorCode::claim_lost);
  EXPECT_EQ(payload.number(), 2);
  EXPECT_EQ(replaced.number(), 0);
}

TEST_F(TableTest, WhatIsLeftDiesWithTheTable) {
  {
    GuardedTable table;
    Guarded payload(1);
    Guarded replaced;
    ASSERT_TRUE(table.put(id("a"), Change{}, payload, 0, now_, replaced));
    EXPECT_EQ(Guarded::alive, 1);
  }
  EXPECT_EQ(Guarded::alive, 0);
}

TEST_F(TableTest, FindGivesTheEntryAndItsMarks) {
  EXPECT_EQ(table_.find(function_, id("a").digest, id("a").key), nullptr);
  const Version version = *put(id("a"), 7);
  now_ += 1h;

  const auto* slot = table_.find(function_, id("a").digest, id("a").key);

  ASSERT_NE(slot, nullptr);
  EXPECT_EQ(slot->payload.number(), 7);
  EXPECT_EQ(slot->stored_at, now_ - 1h);
  EXPECT_EQ(GuardedTable::version_of(*slot), version);
  EXPECT_FALSE(slot->none());
  EXPECT_EQ(&table_.function_of(*slot), &function_);
  EXPECT_EQ(table_.find(function_, id("a").digest, id("a").key, true), nullptr);
}

TEST_F(TableTest, FindDoesNotFindClaims) {
  EXPECT_EQ(look(id("a")).claim, Look::Claim::granted);
  EXPECT_EQ(table_.find(function_, id("a").digest, id("a").key), nullptr);
}

TEST_F(TableTest, SlotsStayWhereTheyAre) {
  ASSERT_TRUE(put(id("first"), 1));
  const auto* slot = table_.find(function_, id("first").digest, id("first").key);
  for (int n = 2; n <= 5000; ++n) ASSERT_TRUE(put(id(std::to_string(n)), n));

  EXPECT_EQ(table_.find(function_, id("first").digest, id("first").key), slot);
  EXPECT_EQ(slot->payload.number(), 1);
}

TEST_F(TableTest, TheClockIsReadOnlyWhereTheAnswerDependsOnIt) {
  int read = 0;
  const auto clock = [&] {
    ++read;
    return now_;
  };
  const auto reads = [&](const std::string& key, Duration max_age) {
    read = 0;
    Ask ask;
    ask.max_age = max_age;
    const auto seen = table_.look(id(key), ask, clock);
    if (seen.claim == Look::Claim::granted) {
      EXPECT_TRUE(table_.release(id(key), seen.token, Outcome::none, now_));
    }
    return read;
  };
  ASSERT_TRUE(put(id("a"), 1));
  EXPECT_EQ(reads("a", kNoLimit), 0);
  EXPECT_EQ(reads("a", 0s), 0);
  EXPECT_EQ(reads("a", 1h), 1);
  EXPECT_EQ(reads("nothing", kNoLimit), 0);
  EXPECT_EQ(reads("nothing", 1h), 0);

  ASSERT_TRUE(table_.release(id("b"), look(id("b")).token, Outcome::failed, now_));
  EXPECT_EQ(reads("b", kNoLimit), 1) << "the outcome may be over";
  now_ += 2h;
  ASSERT_TRUE(put(id("c"), 1));
  Ask never;
  never.max_age = 0s;
  const auto seen = look(id("c"), never);
  ASSERT_TRUE(table_.release(id("c"), seen.token, Outcome::failed, now_));
  now_ += 2s;
  EXPECT_EQ(reads("c", 1s), 1) << "once for both";
}

TEST_F(TableTest, ReleasedClaimsLeaveNothing) {
  for (int n = 0; n < 10'000; ++n) {
    const auto seen = look(id(std::to_string(n)));
    ASSERT_TRUE(table_.release(id(std::to_string(n)), seen.token, Outcome::none, now_));
  }
  EXPECT_EQ(table_.slots(), 0U);
}

TEST_F(TableTest, WhatIsErasedIsForgottenSomeTime) {
  for (int n = 1; n <= 10'000; ++n) {
    ASSERT_TRUE(put(id(std::to_string(n)), n));
    erase(id(std::to_string(n)));
    erase(id("never there " + std::to_string(n)));
  }
  EXPECT_LT(table_.slots(), 200U);
}

TEST_F(TableTest, OutcomesThatAreOverAreForgottenSomeTime) {
  for (int n = 0; n < 10'000; ++n) {
    const auto seen = look(id(std::to_string(n)));
    ASSERT_TRUE(
        table_.release(id(std::to_string(n)), seen.token, Outcome::failed, now_));
    now_ += 1s;
  }
  EXPECT_LT(table_.slots(), 600U);
}

TEST_F(TableTest, OutcomesThatAreNotOverAreKeptHoweverManyThereAre) {
  constexpr int kMany = 3000;
  for (int n = 0; n < kMany; ++n) {
    const auto seen = look(id(std::to_string(n)));
    ASSERT_TRUE(
        table_.release(id(std::to_string(n)), seen.token, Outcome::not_storable, now_));
  }
  for (int n = 0; n < kMany; ++n) {
    EXPECT_EQ(look(id(std::to_string(n))).outcome, Outcome::not_storable) << n;
  }
}

TEST_F(TableTest, ForgottenClaimsAreRefused) {
  const auto held = look(id("held"));
  const auto freed = look(id("freed"));
  ASSERT_TRUE(put(id("kept"), 3));
  clear({}, Clear::claims);
  const auto again = look(id("again"));
  table_.forget_claims();

  for (const auto& [key, token] :
       {std::pair{"held", held.token}, std::pair{"freed", freed.token},
        std::pair{"again", again.token}}) {
    Change change;
    change.token = token;
    EXPECT_EQ(put(id(key), 1, change).error(), ErrorCode::claim_lost) << key;
    EXPECT_EQ(table_.release(id(key), token, Outcome::none, now_).error(),
              ErrorCode::claim_lost)
        << key;
    EXPECT_EQ(look(id(key)).claim, Look::Claim::granted) << key;
  }
  EXPECT_TRUE(look(id("kept")).fresh);
}

TEST_F(TableTest, SerialsAreNumberedAsAsked) {
  table_.number_tokens(3, 8);
  EXPECT_EQ(look(id("a")).token.serial, 3U);
  EXPECT_EQ(look(id("b")).token.serial, 11U);
}

TEST_F(TableTest, FunctionsMayBeMany) {
  std::vector<const Function*> functions;
  for (int n = 0; n < 300; ++n) {
    functions.push_back(&Function::intern("memory table test " + std::to_string(n)));
  }
  int number = 0;
  for (const Function* function : functions) {
    Id which = id("key");
    which.function = function;
    ASSERT_TRUE(put(which, ++number));
  }
  EXPECT_EQ(table_.size(), 300U);
  number = 0;
  for (const Function* function : functions) {
    ++number;
    const auto* slot = table_.find(*function, id("key").digest, id("key").key);
    ASSERT_NE(slot, nullptr);
    EXPECT_EQ(slot->payload.number(), number);
    EXPECT_EQ(&table_.function_of(*slot), function);
    EXPECT_EQ(clear({function, {}}), 1U);
  }
  EXPECT_EQ(table_.size(), 0U);
}

TEST(EqualBytes, LooksAtEachByte) {
  for (std::size_t size = 0; size < 150; ++size) {
    const std::string one = test::random_bytes(size, size);
    std::string other = one;
    const auto equal = [&] {
      return containers::equal_bytes(as_bytes(one).data(), as_bytes(other).data(),
                                     size);
    };
    EXPECT_TRUE(equal()) << size;
    for (std::size_t at = 0; at < size; ++at) {
      other[at] = static_cast<char>(other[at] ^ 0x80);
      EXPECT_FALSE(equal()) << size << ' ' << at;
      other[at] = one[at];
    }
  }
}

}  // namespace
}  // namespace cachier::memory

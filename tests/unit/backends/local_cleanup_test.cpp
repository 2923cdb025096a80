#include "counted_sql.hpp"
#include "local_fixture.hpp"

#include <sqlite3.h>

#include <cstdint>
#include <string>

#include "platform/housekeeper.hpp"
#include "support/eventually.hpp"

namespace cachier::test {
namespace {

class CleanupTest : public LocalStoreTest {
 protected:
  /// Above so many entries of a function a clean-up makes an index.
  static constexpr int kMany = 1'100;
  /// Above so many it makes none: others would have to wait for it.
  static constexpr int kTooMany = 10'100;

  static Time now() {
    return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  }
  void fill(const std::string& prefix, int count, const Function& function) {
    for (int i = 0; i < count; ++i) {
      const Call call(prefix + std::to_string(i), function);
      const auto version = store_->commit(call.id, put("v"), soon());
      ASSERT_TRUE(version) << version.error().message();
    }
  }
  void fill(const std::string& prefix, int count) {
    fill(prefix, count, usual_function());
  }
  std::uint64_t remove_older(Time than, const Function* of = &usual_function()) {
    Filter filter;
    filter.function = of;
    filter.stored_before = than;
    const auto removed = store_->clear(filter, Clear::stale, soon());
    EXPECT_TRUE(removed) << removed.error().message();
    return removed ? *removed : 0;
  }
  /// Does what a process does that has been here a while.
  void make_index() {
    fill("early", kMany);
    EXPECT_EQ(remove_older(now() + Duration(1)), static_cast<std::uint64_t>(kMany));
    ASSERT_TRUE(has_index());
  }
  bool has_index() const {
    return number(
               "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND "
               "name = 'entries_by_age'") == 1;
  }
  std::int64_t number(const std::string& sql) const {
    sqlite3* database = nullptr;
    sqlite3_stmt* statement = nullptr;
    std::int64_t number = -1;
    const std::string path = (directory_.path() / "v1/c1.db").string();
    sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READWRITE, nullptr);
    sqlite3_busy_timeout(database, 20'000);
    if (sqlite3_prepare_v2(database, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK)
      number = sqlite3_step(statement) == SQLITE_ROW
                   ? sqlite3_column_int64(statement, 0)
                   : 0;
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return number;
  }
};

TEST_F(CleanupTest, CostsWhatItRemovesAndNotWhatIsThere) {
  const CountedSql counted;
  make_index();
  const auto steps_beside = [&](int others) {
    const std::string name = std::to_string(others);
    fill("old" + name, 10);
    const Time then = now() + Duration(1);
    fill("young" + name, others);
    fill("elsewhere" + name, others, Function::intern("cachier:test:g"));
    CountedSql::take_steps();
    EXPECT_EQ(remove_older(then), 10U);
    const std::int64_t steps = CountedSql::take_steps();
    remove_older(now() + Duration(1));
    return steps;
  };
  const std::int64_t beside_few = steps_beside(100);
  const std::int64_t beside_many = steps_beside(4'000);
  EXPECT_GT(beside_few, 0);
  EXPECT_LE(beside_many, beside_few + 100);
}

TEST_F(CleanupTest, WhereNothingIsStaleNothingIsLookedAt) {
  const CountedSql counted;
  make_index();
  const Time then = now();
  fill("k", 3'000);
  CountedSql::take_steps();
  EXPECT_EQ(remove_older(then, nullptr), 0U);
  EXPECT_LT(CountedSql::take_steps(), 1'000);
}

TEST_F(CleanupTest, WithFewEntriesThereIsNoIndexToPayFor) {
  fill("k", 100);
  EXPECT_EQ(remove_older(now() + Duration(1)), 100U);
  EXPECT_FALSE(has_index());
}

TEST_F(CleanupTest, WithSoManyEntriesNobodyWaitsUntilThereIsAnIndex) {
  fill("old", 3);
  const Time then = now() + Duration(1);
  fill("k", kTooMany);
  EXPECT_EQ(remove_older(then), 3U);
  EXPECT_FALSE(has_index());
  EXPECT_EQ(remove_older(now() + Duration(1)), static_cast<std::uint64_t>(kTooMany));
}

TEST_F(CleanupTest, OfWhatAClearLeftBehindNobodyWaitsForAnIndexEither) {
  fill("k", kTooMany);
  ASSERT_EQ(number("UPDATE functions SET epoch = epoch + 1, entries = 0, bytes = 0"),
            0);
  fill("k", 1);
  EXPECT_EQ(remove_older(Time(Duration(1))), 0U);
  EXPECT_EQ(number("SELECT count(*) FROM entries"), 1);
  EXPECT_FALSE(has_index());
}

TEST_F(CleanupTest, TheIndexIsThereBeforeThereAreSoManyEntries) {
  fill("k", 10);
  EXPECT_EQ(remove_older(Time(Duration(1))), 0U);
  EXPECT_FALSE(has_index());
  fill("more", kMany);
  // Made by the housekeeper, or here.
  EXPECT_TRUE(eventually([&] {
    dynamic_cast<platform::Chore&>(*store_).run();
    return has_index();
  }));
}

TEST_F(CleanupTest, WhoNeverRemovesWhatIsStaleHasNoIndex) {
  fill("k", 2 * kMany);
  dynamic_cast<platform::Chore&>(*store_).run();
  EXPECT_FALSE(has_index());
}

TEST_F(CleanupTest, ByIndexItRemovesOfEveryFunctionWhatIsOld) {
  make_index();
  const Function& g = Function::intern("cachier:test:g");
  fill("old", 1'500);
  fill("old", 3, g);
  const Time then = now() + Duration(1);
  fill("young", 5);
  fill("young", 2, g);
  EXPECT_EQ(remove_older(then, nullptr), 1'503U);
  EXPECT_EQ(number("SELECT count(*) FROM entries"), 7);
  EXPECT_EQ(number("SELECT entries FROM functions WHERE id = 0"), 7);
  EXPECT_EQ(stored(*store_, Call("young1", g)), "v");
  EXPECT_EQ(stored(*store_, Call("old1")), "nothing");
}

TEST_F(CleanupTest, ByIndexItDisturbsNobodyWhoRecomputes) {
  make_index();
  const Call call("k");
  ASSERT_TRUE(store_->commit(call.id, put("old"), soon()));
  Ask never_fresh;
  never_fresh.max_age = Duration(0);
  const auto look = store_->look(call.id, never_fresh, soon());
  ASSERT_TRUE(look);
  ASSERT_EQ(look->claim, Look::Claim::granted);
  EXPECT_EQ(remove_older(now() + Duration(1)), 1U);
  EXPECT_EQ(stored(*store_, call), "nothing");
  EXPECT_EQ(remove_older(now() + Duration(1)), 0U);
  EXPECT_TRUE(store_->commit(call.id, put("new", look->token), soon()));
  EXPECT_EQ(stored(*store_, call), "new");
}

TEST_F(CleanupTest, ByIndexItRemovesWhatAClearLeftBehind) {
  make_index();
  fill("k", 20);
  // What a process does that dies before it has removed the rows.
  ASSERT_EQ(number("UPDATE functions SET epoch = epoch + 1, entries = 0, bytes = 0 "
                   "WHERE name = 'cachier:test:f'"),
            0);
  EXPECT_EQ(remove_older(Time(Duration(1))), 0U);
  EXPECT_EQ(number("SELECT count(*) FROM entries"), 0);
}

}  // namespace
}  // namespace cachier::test

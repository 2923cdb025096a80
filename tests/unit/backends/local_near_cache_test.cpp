/// What a process remembers of the local store.

#include "backends/local/near_cache.hpp"

#include "local_fixture.hpp"

#include <sqlite3.h>

namespace cachier::test {
namespace {

using local::NearCache;
using local::Table;

Entry entry_of(std::string bytes, std::uint64_t version = 1) {
  return {Value::of_bytes(Codec::cbor, std::move(bytes)), Time(Duration(7)),
          Version{{version, 0, 0}}};
}

/// A near cache with a table of its own.
class NearCacheTest : public testing::Test {
 protected:
  static constexpr std::size_t kBound = std::size_t{1} << 20;

  void SetUp() override {
    auto table = Table::in_memory();
    ASSERT_TRUE(table);
    table_ = std::move(*table);
    table_.generation() = 1;
    cache_.serve(&table_, 1);
  }

  void set_counter(const Call& call, std::uint64_t counter) {
    table_.counter(local::slot_of(call.id.digest)) = counter;
  }
  void remember(const Id& id, std::uint64_t counter, const Entry& entry,
                std::uint64_t epoch = 0) {
    cache_.remember(table_, id, counter, epoch, entry);
  }
  std::string text_of(const Id& id, const Ask& ask = {}) {
    const auto found = cache_.find(id, ask);
    return found ? std::string(as_text(found->entry.value.bytes())) : "(nothing)";
  }
  std::string text_of(const Call& call, std::uint64_t counter) {
    set_counter(call, counter);
    return text_of(call.id);
  }
  /// The number that was left with the entry; 0: none.
  int copied(const Call& call, const Ask& ask = {}) {
    int number = 0;
    return cache_.copy(call.id, ask, typeid(int), &number, sizeof number) ? number : 0;
  }

  Table table_;
  NearCache cache_{kBound};
};

TEST_F(NearCacheTest, GivesWhatWasRememberedAtThisCount) {
  const Call call("k");
  EXPECT_EQ(text_of(call, 0), "(nothing)");
  remember(call.id, 4, entry_of("value", 17), 9);
  set_counter(call, 4);
  const auto found = cache_.find(call.id, {});
  ASSERT_TRUE(found);
  EXPECT_EQ(as_text(found->entry.value.bytes()), "value");
  EXPECT_EQ(found->entry.value.codec(), Codec::cbor);
  EXPECT_EQ(found->entry.stored_at, Time(Duration(7)));
  EXPECT_EQ(found->entry.version.words[0], 17U);
  EXPECT_EQ(found->epoch, 9U);
  EXPECT_EQ(text_of(call, 2), "(nothing)");
  EXPECT_EQ(text_of(call, 5), "(nothing)");
  EXPECT_EQ(text_of(call, 6), "(nothing)");
}

TEST_F(NearCacheTest, GivesAValueOfAnyLength) {
  for (const std::size_t size :
       {0U, 1U, 7U, 8U, 9U, 1023U, 1024U, 1025U, 4096U, 60000U}) {
    const Call call("key of " + std::to_string(size));
    const std::string value(size, 'v');
    remember(call.id, 2, entry_of(value));
    EXPECT_EQ(text_of(call, 2), value);
    const auto kept = cache_.find(call.id, {});
    remember(call.id, 4, entry_of("other"));
    EXPECT_EQ(as_text(kept->entry.value.bytes()), value) << "it outlives its place";
  }
}

TEST_F(NearCacheTest, GivesWhatIsAskedFor) {
  const Call call("k");
  Entry empty = entry_of("nothing", 5);
  empty.value.set_none(true);
  remember(call.id, 2, empty);
  set_counter(call, 2);
  Ask ask;
  EXPECT_EQ(text_of(call.id, ask), "(nothing)");
  ask.allow_none = true;
  EXPECT_TRUE(cache_.find(call.id, ask)->entry.value.is_none());
  ask.max_age = std::chrono::hours(1);
  EXPECT_EQ(text_of(call.id, ask), "(nothing)") << "it is from 1970";
  ask.max_age = kNoLimit;
  ask.unreadable = Version{{5, 0, 0}};
  EXPECT_EQ(text_of(call.id, ask), "(nothing)");
}

TEST_F(NearCacheTest, TellsCallsOfOneDigestApart) {
  const Call one("one");
  const Call other("other", usual_function());
  const Call elsewhere("one", "cachier:test:g");
  Id forged = other.id;
  forged.digest = one.id.digest;
  Id abroad = elsewhere.id;
  abroad.digest = one.id.digest;
  set_counter(one, 2);
  remember(one.id, 2, entry_of("one"));
  EXPECT_EQ(text_of(forged), "(nothing)");
  EXPECT_EQ(text_of(abroad), "(nothing)");
  remember(forged, 2, entry_of("other"));
  EXPECT_EQ(text_of(forged), "other");
  EXPECT_EQ(text_of(one, 2), "one");
}

TEST_F(NearCacheTest, RemembersNothingOfAChangeUnderWayAndNothingOlder) {
  const Call call("k");
  remember(call.id, 3, entry_of("half"));
  EXPECT_EQ(text_of(call, 3), "(nothing)");
  remember(call.id, 6, entry_of("new"));
  remember(call.id, 4, entry_of("old"));
  EXPECT_EQ(text_of(call, 6), "new");
  EXPECT_EQ(text_of(call, 4), "(nothing)");
}

TEST_F(NearCacheTest, ForgetsWhatIsOfAnotherTableOrGeneration) {
  const Call call("k");
  set_counter(call, 2);
  remember(call.id, 2, entry_of("value"));
  table_.generation() = 2;
  EXPECT_EQ(text_of(call.id), "(nothing)");
  table_.generation() = 1;
  EXPECT_EQ(text_of(call.id), "value");

  const auto other = Table::in_memory();
  ASSERT_TRUE(other);
  cache_.remember(*other, Call("late").id, 2, 0, entry_of("of the other"));
  EXPECT_EQ(text_of(Call("late"), 2), "(nothing)");
  cache_.serve(nullptr, 0);
  EXPECT_EQ(text_of(call.id), "(nothing)");
  EXPECT_EQ(cache_.bytes(), 0U);
  cache_.serve(&table_, 1);
  EXPECT_EQ(text_of(call.id), "(nothing)");
}

TEST_F(NearCacheTest, GivesCopiesOfWhatItsBytesDecodeTo) {
  const Call call("k");
  set_counter(call, 2);
  const int seven = 7;
  cache_.add_copy(call.id, Version{{17, 0, 0}}, typeid(int), &seven, sizeof seven);
  EXPECT_EQ(copied(call), 0) << "nothing is remembered";
  remember(call.id, 2, entry_of("seven", 17), 9);
  EXPECT_EQ(copied(call), 0);
  cache_.add_copy(call.id, Version{{16, 0, 0}}, typeid(int), &seven, sizeof seven);
  EXPECT_EQ(copied(call), 0) << "it is of another version";
  cache_.add_copy(call.id, Version{{17, 0, 0}}, typeid(int), &seven, sizeof seven);
  EXPECT_EQ(copied(call), 7);
  EXPECT_EQ(text_of(call.id), "seven");
  EXPECT_EQ(cache_.find(call.id, {})->epoch, 9U);

  unsigned other = 0;
  EXPECT_FALSE(cache_.copy(call.id, {}, typeid(unsigned), &other, sizeof other));
  Ask ask;
  ask.max_age = std::chrono::hours(1);
  EXPECT_EQ(copied(call, ask), 0) << "it is from 1970";
  set_counter(call, 4);
  EXPECT_EQ(copied(call), 0) << "it has changed";
}

TEST_F(NearCacheTest, FindsEachOfMany) {
  constexpr int kMany = 3'000;
  for (int n = 0; n < kMany; ++n) {
    const std::string key = "key " + std::to_string(n);
    remember(Call(key).id, 2, entry_of(key));
  }
  for (int n = 0; n < kMany; ++n) {
    const std::string key = "key " + std::to_string(n);
    ASSERT_EQ(text_of(Call(key), 2), key);
  }
}

TEST_F(NearCacheTest, StaysWithinItsBoundAndKeepsWhatIsAskedFor) {
  const Call wanted("wanted");
  remember(wanted.id, 2, entry_of("value"));
  for (int n = 0; n < 20'000; ++n) {
    EXPECT_EQ(text_of(wanted, 2), "value") << n;
    remember(Call("key " + std::to_string(n)).id, 2, entry_of(std::string(500, 'x')));
    ASSERT_LE(cache_.bytes(), kBound);
  }
  EXPECT_GT(cache_.bytes(), kBound / 2);
}

TEST_F(NearCacheTest, StaysWithinItsBoundWhereAFewValuesFillIt) {
  for (int n = 0; n < 200; ++n) {
    const Call call("key " + std::to_string(n));
    remember(call.id, 2, entry_of(std::string(200'000, 'x')));
    ASSERT_LE(cache_.bytes(), kBound) << n;
    EXPECT_NE(text_of(call, 2), "(nothing)") << n;
  }
  EXPECT_GT(cache_.bytes(), kBound / 2);
}

TEST_F(NearCacheTest, ValuesThatWouldDriveEverythingOutAreNotKept) {
  const Call call("k");
  remember(call.id, 2, entry_of(std::string(1 << 19, 'x')));
  EXPECT_EQ(text_of(call, 2), "(nothing)");
  NearCache none(0);
  none.serve(&table_, 1);
  none.remember(table_, call.id, 2, 0, entry_of(""));
  EXPECT_FALSE(none.find(call.id, {}));
  EXPECT_EQ(none.bytes(), 0U);
}

using LocalNearTest = LocalStoreTest;

/// Takes the rows away behind the store's back: what then is found was remembered.
void delete_rows(const std::filesystem::path& directory) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open((directory / "v1/c1.db").c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(database, "DELETE FROM entries", nullptr, nullptr, nullptr),
            SQLITE_OK)
      << sqlite3_errmsg(database);
  sqlite3_close(database);
}

TEST_F(LocalNearTest, WhatHasNotChangedIsNotReadAgain) {
  const Call call("k");
  ASSERT_TRUE(store_->commit(call.id, put("value"), soon()));
  ASSERT_EQ(stored(*store_, call), "value");
  ChildProcess child([&](Channel&) {
    delete_rows(directory_.path());
    return 0;
  });
  ASSERT_EQ(child.wait(), 0);
  EXPECT_EQ(stored(*store_, call), "value");
  // Any change of the slot ends that; a clear changes all of them.
  ASSERT_TRUE(
      store_->clear({&Function::intern("another"), {}}, Clear::entries, soon()));
  EXPECT_EQ(stored(*store_, call), "nothing");
}

TEST_F(LocalNearTest, AnotherProcessesChangesAreSeenAtOnce) {
  const Call call("k");
  ChildProcess other([&](Channel& parent) {
    while (const auto wanted = parent.receive()) {
      if (*wanted == "end") return 0;
      const bool done =
          *wanted == "clear"
              ? store_->clear({&usual_function(), {}}, Clear::entries, soon())
                    .has_value()
              : store_->commit(call.id, put(*wanted), soon()).has_value();
      parent.send(done ? "done" : "failed");
    }
    return 1;
  });
  for (const char* value : {"a", "b", "c"}) {
    other.channel().send(value);
    ASSERT_EQ(other.channel().receive(), "done");
    EXPECT_EQ(stored(*store_, call), value);
    EXPECT_EQ(stored(*store_, call), value);
  }
  other.channel().send("clear");
  ASSERT_EQ(other.channel().receive(), "done");
  EXPECT_EQ(stored(*store_, call), "nothing");
  other.channel().send("end");
  EXPECT_EQ(other.wait(), 0);
}

}  // namespace
}  // namespace cachier::test

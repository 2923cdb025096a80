/// What a process remembers of the local store.

#include "backends/local/near_cache.hpp"

#include "local_fixture.hpp"

#include <sqlite3.h>

namespace cachier::test {
namespace {

using local::NearCache;

Entry entry_of(std::string bytes, std::uint64_t version = 1) {
  return {Value::of_bytes(Codec::cbor, std::move(bytes)), Time(Duration(7)),
          Version{{version, 0, 0}}};
}

std::string text_of(NearCache& cache, const Call& call, std::uint64_t counter) {
  const auto found = cache.find(call.id, counter);
  return found ? std::string(as_text(found->entry.value.bytes())) : "(nothing)";
}

TEST(NearCache, GivesWhatWasRememberedAtThisCount) {
  NearCache cache(1 << 20);
  const Call call("k");
  EXPECT_EQ(text_of(cache, call, 0), "(nothing)");
  cache.remember(call.id, 4, 9, entry_of("value", 17));
  const auto found = cache.find(call.id, 4);
  ASSERT_TRUE(found);
  EXPECT_EQ(as_text(found->entry.value.bytes()), "value");
  EXPECT_EQ(found->entry.stored_at, Time(Duration(7)));
  EXPECT_EQ(found->entry.version.words[0], 17U);
  EXPECT_EQ(found->epoch, 9U);
  EXPECT_EQ(text_of(cache, call, 2), "(nothing)");
  EXPECT_EQ(text_of(cache, call, 5), "(nothing)");
  EXPECT_EQ(text_of(cache, call, 6), "(nothing)");
}

TEST(NearCache, TellsCallsOfOneDigestApart) {
  NearCache cache(1 << 20);
  const Call one("one");
  const Call other("other", usual_function());
  const Call elsewhere("one", "cachier:test:g");
  Id forged = other.id;
  forged.digest = one.id.digest;
  Id abroad = elsewhere.id;
  abroad.digest = one.id.digest;
  cache.remember(one.id, 2, 0, entry_of("one"));
  EXPECT_FALSE(cache.find(forged, 2));
  EXPECT_FALSE(cache.find(abroad, 2));
  cache.remember(forged, 2, 0, entry_of("other"));
  EXPECT_EQ(as_text(cache.find(forged, 2)->entry.value.bytes()), "other");
  EXPECT_EQ(text_of(cache, one, 2), "one");
}

TEST(NearCache, RemembersNothingOfAChangeUnderWayAndNothingOlder) {
  NearCache cache(1 << 20);
  const Call call("k");
  cache.remember(call.id, 3, 0, entry_of("half"));
  EXPECT_EQ(text_of(cache, call, 3), "(nothing)");
  cache.remember(call.id, 6, 0, entry_of("new"));
  cache.remember(call.id, 4, 0, entry_of("old"));
  EXPECT_EQ(text_of(cache, call, 6), "new");
  EXPECT_EQ(text_of(cache, call, 4), "(nothing)");
}

TEST(NearCache, StaysWithinItsBoundAndKeepsWhatIsAskedFor) {
  constexpr std::size_t kBound = 1 << 20;
  NearCache cache(kBound);
  const Call wanted("wanted");
  cache.remember(wanted.id, 2, 0, entry_of("value"));
  for (int n = 0; n < 20'000; ++n) {
    EXPECT_EQ(text_of(cache, wanted, 2), "value") << n;
    cache.remember(Call("key " + std::to_string(n)).id, 2, 0,
                   entry_of(std::string(500, 'x')));
    ASSERT_LE(cache.bytes(), kBound);
  }
  EXPECT_GT(cache.bytes(), kBound / 2);
}

TEST(NearCache, StaysWithinItsBoundWhereAFewValuesFillIt) {
  constexpr std::size_t kBound = 1 << 20;
  NearCache cache(kBound);
  for (int n = 0; n < 200; ++n) {
    const Call call("key " + std::to_string(n));
    cache.remember(call.id, 2, 0, entry_of(std::string(200'000, 'x')));
    ASSERT_LE(cache.bytes(), kBound) << n;
    EXPECT_TRUE(cache.find(call.id, 2)) << n;
  }
  EXPECT_GT(cache.bytes(), kBound / 2);
}

TEST(NearCache, ValuesThatWouldDriveEverythingOutAreNotKept) {
  NearCache cache(1 << 20);
  const Call call("k");
  cache.remember(call.id, 2, 0, entry_of(std::string(1 << 19, 'x')));
  EXPECT_FALSE(cache.find(call.id, 2));
  NearCache none(0);
  none.remember(call.id, 2, 0, entry_of(""));
  EXPECT_FALSE(none.find(call.id, 2));
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

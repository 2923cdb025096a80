#include "local_fixture.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <set>

namespace cachier::test {
namespace {

TEST_F(LocalStoreTest, WhatIsComputedOnceIsThereForTheNext) {
  const Call call("k");
  const auto first = store_->look(call.id, {}, soon());
  ASSERT_TRUE(first) << first.error().message();
  ASSERT_EQ(first->claim, Look::Claim::granted);
  EXPECT_FALSE(first->entry);

  const auto version = store_->commit(call.id, put("value", first->token), soon());
  ASSERT_TRUE(version) << version.error().message();

  const auto second = store_->look(call.id, {}, soon());
  ASSERT_TRUE(second);
  ASSERT_TRUE(second->entry);
  EXPECT_TRUE(second->fresh);
  EXPECT_EQ(second->claim, Look::Claim::none);
  EXPECT_EQ(second->entry->version, *version);
  EXPECT_EQ(as_text(second->entry->value.bytes()), "value");
}

TEST_F(LocalStoreTest, OneClaimAtATime) {
  const Call call("k");
  const auto first = store_->look(call.id, {}, soon());
  const auto second = store_->look(call.id, {}, soon());
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->claim, Look::Claim::granted);
  EXPECT_EQ(second->claim, Look::Claim::busy);
  EXPECT_EQ(second->owner_process, static_cast<std::uint32_t>(::getpid()));

  ASSERT_TRUE(store_->commit(call.id, release(first->token), soon()));
  EXPECT_EQ(store_->look(call.id, {}, soon())->claim, Look::Claim::granted);
}

TEST_F(LocalStoreTest, ReleaseWakesWhoWatched) {
  const Call call("k");
  const auto owner = store_->look(call.id, {}, soon());
  ASSERT_TRUE(owner);
  const auto watch = store_->watch(call.id);
  ASSERT_EQ(store_->look(call.id, {}, soon())->claim, Look::Claim::busy);
  std::thread releasing(
      [&] { EXPECT_TRUE(store_->commit(call.id, put("v", owner->token), soon())); });
  // A minute and no test would pass if nobody woke it: the time-out of the test is
  // less.
  while (stored(*store_, call) == "nothing")
    watch->wait(std::chrono::steady_clock::now() + std::chrono::minutes(10));
  releasing.join();
  EXPECT_EQ(stored(*store_, call), "v");
}

TEST_F(LocalStoreTest, ErasedWhileComputingIsNotStored) {
  const Call call("k");
  const auto owner = store_->look(call.id, {}, soon());
  ASSERT_TRUE(owner);
  ASSERT_TRUE(store_->commit(call.id, erase(), soon()));
  const auto late = store_->commit(call.id, put("late", owner->token), soon());
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), ErrorCode::claim_lost);
  EXPECT_EQ(stored(*store_, call), "nothing");
}

TEST_F(LocalStoreTest, ClearedWhileComputingIsNotStored) {
  const Call call("k");
  for (const Function* which :
       {call.id.function, static_cast<const Function*>(nullptr)}) {
    const auto owner = store_->look(call.id, {}, soon());
    ASSERT_TRUE(owner);
    ASSERT_EQ(owner->claim, Look::Claim::granted);
    ASSERT_TRUE(store_->clear({which, {}}, Clear::entries, soon()));
    const auto late = store_->commit(call.id, put("late", owner->token), soon());
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error(), ErrorCode::claim_lost);
  }
}

TEST_F(LocalStoreTest, ClearRemovesAndCounts) {
  for (int i = 0; i < 2500; ++i) {
    ASSERT_TRUE(store_->commit(Call(std::to_string(i), "f").id, put("v"), soon()));
  }
  ASSERT_TRUE(store_->commit(Call("other", "g").id, put("v"), soon()));
  ASSERT_TRUE(store_->commit(Call("7", "f").id, erase(), soon()));
  const auto count =
      store_->clear({&Function::intern("f"), {}}, Clear::entries, soon());
  ASSERT_TRUE(count) << count.error().message();
  EXPECT_EQ(*count, 2499U);
  EXPECT_EQ(stored(*store_, Call("1", "f")), "nothing");
  EXPECT_EQ(stored(*store_, Call("other", "g")), "v");
}

TEST_F(LocalStoreTest, ClearDoesNotWriteWhatItRemoves) {
  for (int i = 0; i < 20; ++i) {
    const Call call(std::to_string(i));
    ASSERT_TRUE(store_->commit(call.id, put(std::string(1'000'000, 'v')), soon()));
  }
  const auto log = directory_ / "v1" / "c1.db-wal";
  // It is emptied now and then, and never shortened while the store is open.
  const auto before = std::filesystem::file_size(log);
  ASSERT_TRUE(store_->clear({}, Clear::entries, soon()));
  EXPECT_LT(std::filesystem::file_size(log), before + 5'000'000);
}

TEST_F(LocalStoreTest, ScanListsEachOnce) {
  std::set<std::string> expected;
  for (int i = 0; i < 1300; ++i) {
    const std::string key = "key " + std::to_string(i);
    ASSERT_TRUE(store_->commit(Call(key).id, put(std::to_string(i)), soon()));
    expected.insert(key);
  }
  std::set<std::string> listed;
  Cursor cursor;
  do {
    const auto page = store_->scan({}, cursor, soon());
    ASSERT_TRUE(page) << page.error().message();
    for (const Header& one : page->entries) EXPECT_TRUE(listed.insert(one.key).second);
    cursor = page->next;
  } while (!cursor.empty());
  EXPECT_EQ(listed, expected);
}

TEST_F(LocalStoreTest, ValuesOfEverySize) {
  for (const std::size_t size : {0UL, 1UL, 4095UL, 4096UL, 100'000UL, 64UL << 20}) {
    const Call call("size " + std::to_string(size));
    const std::string value = random_bytes(size, size);
    ASSERT_TRUE(store_->commit(call.id, put(value), soon()));
    EXPECT_TRUE(stored(*store_, call) == value) << size;
  }
}

TEST_F(LocalStoreTest, OneObjectPerDirectory) {
  const std::string link = directory_.string() + "-link";
  ASSERT_EQ(::symlink(directory_.string().c_str(), link.c_str()), 0);
  EXPECT_EQ(opened(link), store_);
  EXPECT_EQ(opened(directory_.string() + "/."), store_);
  ::unlink(link.c_str());
}

TEST_F(LocalStoreTest, OnlyForThisUser) {
  ASSERT_TRUE(store_->commit(Call("k").id, put("v"), soon()));
  for (const auto& one :
       std::filesystem::recursive_directory_iterator(directory_.path())) {
    struct stat status {};
    ASSERT_EQ(::stat(one.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 077U, 0U) << one.path();
  }
}

}  // namespace
}  // namespace cachier::test

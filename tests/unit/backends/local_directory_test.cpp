/// What is refused, what is survived: the files of a cache directory in a bad way.

#include "local_fixture.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace cachier::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

void execute(const std::string& path, const std::string& sql) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(database);
  sqlite3_close(database);
}

class LocalDirectoryTest : public LocalStoreTest {
 protected:
  /// Leaves an entry behind and nothing open.
  void SetUp() override {
    ASSERT_TRUE(store_->commit(call_.id, put("value"), soon()));
    store_.reset();
  }
  void reopen() { store_ = opened(directory_.string()); }

  [[nodiscard]] std::string file(const std::string& name) const {
    return (directory_ / ("v1/" + name)).string();
  }

  Call call_{"k"};
};

TEST_F(LocalDirectoryTest, EntriesAreThereAfterAllWasClosed) {
  reopen();
  EXPECT_EQ(stored(*store_, call_), "value");
}

TEST_F(LocalDirectoryTest, AnotherVersionsDatabaseIsLeftAlone) {
  execute(file("c1.db"), "PRAGMA user_version=2");
  reopen();
  const auto look = store_->look(call_.id, {}, soon());
  ASSERT_FALSE(look);
  EXPECT_EQ(look.error(), ErrorCode::version_mismatch);
  EXPECT_THAT(look.error().what(), HasSubstr(file("c1.db")));
  EXPECT_THAT(look.error().cause(), HasSubstr("format is 2"));
  EXPECT_THAT(look.error().fix(), HasSubstr("cache_dir"));
  EXPECT_FALSE(store_->commit(call_.id, put("new"), soon()));
  EXPECT_FALSE(store_->clear({}, Clear::entries, soon()));

  execute(file("c1.db"), "PRAGMA user_version=1");
  EXPECT_EQ(stored(*store_, call_), "value") << "nothing was lost";
}

TEST_F(LocalDirectoryTest, AnotherProgramsDatabaseIsRefused) {
  execute(file("c1.db"), "PRAGMA application_id=77");
  reopen();
  const auto look = store_->look(call_.id, {}, soon());
  ASSERT_FALSE(look);
  EXPECT_EQ(look.error(), ErrorCode::refused);
  EXPECT_THAT(look.error().cause(), HasSubstr("another program"));
}

TEST_F(LocalDirectoryTest, AFlippedBitInAnEntryIsAMissThatSaysSo) {
  execute(file("c1.db"),
          "UPDATE entries SET envelope = CAST(replace(CAST(envelope AS TEXT), 'value', "
          "'valuf') AS BLOB)");
  reopen();
  const auto look = store_->look(call_.id, {}, soon());
  ASSERT_TRUE(look) << look.error().message();
  EXPECT_TRUE(look->damaged);
  EXPECT_FALSE(look->entry);
  ASSERT_EQ(look->claim, Look::Claim::granted);
  EXPECT_TRUE(store_->commit(call_.id, put("again", look->token), soon()));
  EXPECT_EQ(stored(*store_, call_), "again");
}

TEST_F(LocalDirectoryTest, ColumnsBesideTheEnvelopeAreChecked) {
  for (const char* change : {"version = version + 1", "stored_at = stored_at + 1"}) {
    execute(file("c1.db"), std::string("UPDATE entries SET ") + change);
    reopen();
    EXPECT_EQ(stored(*store_, call_), "damaged") << change;
    ASSERT_TRUE(store_->commit(call_.id, put("value"), soon()));
    store_.reset();
  }
}

TEST_F(LocalDirectoryTest, RemovedWhileOpenItBeginsAnew) {
  reopen();
  ASSERT_EQ(stored(*store_, call_), "value");
  const auto claimed = store_->look(Call("computing").id, {}, soon());
  ASSERT_TRUE(claimed);
  fs::remove_all(directory_.path());

  ASSERT_TRUE(store_->commit(call_.id, put("new"), soon()));
  EXPECT_TRUE(fs::exists(file("c1.db")));
  EXPECT_EQ(stored(*store_, call_), "new");
  // Its claim was on what is no longer there.
  const auto late =
      store_->commit(Call("computing").id, put("late", claimed->token), soon());
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), ErrorCode::claim_lost);
  EXPECT_EQ(store_->look(Call("computing").id, {}, soon())->claim,
            Look::Claim::granted);
  EXPECT_EQ(opened(directory_.string()), store_) << "still one object";
}

std::ptrdiff_t open_files() {
  return std::distance(fs::directory_iterator("/proc/self/fd"), {});
}

TEST_F(LocalDirectoryTest, RemovedAgainAndAgainItLeavesNothingOpen) {
  reopen();
  const auto begin_anew = [&] {
    fs::remove_all(directory_.path());
    EXPECT_TRUE(store_->commit(call_.id, put("value"), soon()));
    const auto claimed = store_->look(Call("other").id, {}, soon());
    ASSERT_TRUE(claimed);
    EXPECT_TRUE(store_->commit(Call("other").id, release(claimed->token), soon()));
  };
  begin_anew();
  const auto files = open_files();
  for (int n = 0; n < 10; ++n) begin_anew();
  EXPECT_EQ(open_files(), files);
}

TEST_F(LocalDirectoryTest, RemovedWhileOpenIsNoticedByLooks) {
  reopen();
  ASSERT_EQ(stored(*store_, call_), "value");
  fs::remove_all(file(""));
  // Within 50 ms, which is nothing that a test can see; only that it ends matters.
  while (stored(*store_, call_) != "nothing") {
  }
  EXPECT_EQ(store_->look(call_.id, {}, soon())->claim, Look::Claim::granted);
}

TEST_F(LocalDirectoryTest, OnlyTheDatabaseRemovedKeepsTheRest) {
  reopen();
  ASSERT_EQ(stored(*store_, call_), "value");
  for (const char* name : {"c1.db", "c1.db-wal", "c1.db-shm"}) fs::remove(file(name));
  ASSERT_TRUE(store_->commit(call_.id, put("new"), soon()));
  EXPECT_EQ(stored(*store_, call_), "new");
}

TEST_F(LocalDirectoryTest, OnlyTheTableRemovedIsMadeAnew) {
  fs::remove(file("table"));
  reopen();
  EXPECT_EQ(stored(*store_, call_), "value");
  EXPECT_TRUE(fs::exists(file("table")));
}

TEST_F(LocalDirectoryTest, ANewerGenerationIsFoundWithoutTheTable) {
  for (const char* suffix : {"", "-wal", "-shm"}) {
    if (fs::exists(file("c1.db") + suffix))
      fs::rename(file("c1.db") + suffix, file("c12.db") + suffix);
  }
  fs::remove(file("table"));
  reopen();
  EXPECT_EQ(stored(*store_, call_), "value");
}

TEST_F(LocalDirectoryTest, LeftoversOfADeathWhileMakingAreNoHindrance) {
  for (const char* name : {"c1.db", "c1.db-wal", "c1.db-shm", "table"})
    fs::remove(file(name));
  for (const char* name :
       {"c1.db.new", "c1.db.new-journal", "c1.db.new-wal", "table.new"})
    std::ofstream(file(name)) << "half a file";
  reopen();
  EXPECT_TRUE(store_->commit(call_.id, put("new"), soon()));
  EXPECT_EQ(stored(*store_, call_), "new");
}

TEST_F(LocalDirectoryTest, OneThatOthersMayWriteIsRefused) {
  for (const auto& [path, mode] :
       {std::pair(directory_.path(), 0702U), std::pair(directory_ / "v1", 0720U)}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    auto store = open_local_store(directory_.string());
    const Error error =
        store ? (*store)->look(call_.id, {}, soon()).error() : store.error();
    EXPECT_EQ(error, ErrorCode::refused);
    EXPECT_THAT(error.what(), HasSubstr(path.string()));
    EXPECT_THAT(error.cause(), HasSubstr("other users may write"));
    EXPECT_THAT(error.fix(), HasSubstr("chmod"));
    ASSERT_EQ(::chmod(path.c_str(), 0700), 0);
  }
}

TEST_F(LocalDirectoryTest, OneOpenToTheGroupWillDoAsWhatIsReadLiesDeeper) {
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0775), 0);
  reopen();
  EXPECT_EQ(stored(*store_, call_), "value");
}

TEST_F(LocalDirectoryTest, WithoutPermissionToReadItSaysSo) {
  ASSERT_EQ(::chmod(file("c1.db").c_str(), 0), 0);
  const std::string answer = as_other_user(directory_.path(), [&] {
    const auto store = open_local_store(directory_.string());
    if (!store) return store.error().message();
    const auto look = (*store)->look(call_.id, {}, soon());
    if (look) return std::string("an answer");
    return std::string(look.error() == ErrorCode::refused ? "refused: " : "") +
           look.error().message();
  });
  EXPECT_THAT(answer, HasSubstr("refused: "));
  EXPECT_THAT(answer, HasSubstr("Permission denied"));
  EXPECT_THAT(answer, HasSubstr("fix:"));
}

TEST_F(LocalDirectoryTest, WithoutPermissionToWriteWhatIsThereCanBeRead) {
  for (const auto& one : fs::directory_iterator(directory_ / "v1"))
    ASSERT_EQ(::chmod(one.path().c_str(), 0400), 0);
  ASSERT_EQ(::chmod((directory_ / "v1").c_str(), 0500), 0);
  const std::string answer = as_other_user(directory_.path(), [&] {
    const auto store = open_local_store(directory_.string());
    if (!store) return store.error().message();
    std::string text = stored(**store, call_) + "; ";
    const auto written = (*store)->commit(call_.id, put("new"), soon());
    text += written ? "written; " : written.error().message() + "; ";
    // Computing goes on, one at a time in this process.
    const Call other("other");
    const auto first = (*store)->look(other.id, {}, soon());
    const auto second = (*store)->look(other.id, {}, soon());
    if (!first || !second) return text + "no claims";
    text += first->claim == Look::Claim::granted ? "granted, " : "not granted, ";
    text += second->claim == Look::Claim::busy ? "busy; " : "not busy; ";
    text += stored(**store, call_);
    return text;
  });
  EXPECT_THAT(answer, ::testing::StartsWith("value; cannot"));
  EXPECT_THAT(answer, HasSubstr("Permission denied"));
  EXPECT_THAT(answer, ::testing::EndsWith("; granted, busy; value"));
}

}  // namespace
}  // namespace cachier::test

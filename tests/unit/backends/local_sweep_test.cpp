/// Removing much: what others have to wait for comes in small steps. A program of its
/// own, as it replaces `unlink`.

#include "counted_sql.hpp"
#include "local_fixture.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "support/eventually.hpp"

namespace {

/// Value files that this thread has deleted.
thread_local int deleted = 0;

}  // namespace

extern "C" int unlink(const char* path) noexcept {
  const std::string_view name = path;
  if (name.find(".values/") != std::string_view::npos && !name.ends_with(".new"))
    ++deleted;
  return static_cast<int>(::syscall(SYS_unlink, path));
}

namespace cachier::test {
namespace {

namespace fs = std::filesystem;

constexpr int kEntries = 200;
/// In the database: what is freed at a time is at most 2 MiB.
constexpr std::size_t kLarge = 60'000;
constexpr int kCommitsForLarge = kEntries * static_cast<int>(kLarge) / (2 << 20);
/// With files: at most 64 at a time.
constexpr std::size_t kHuge = 70'000;
constexpr int kCommitsForHuge = kEntries / 64;

class SweepTest : public LocalStoreTest {
 protected:
  void fill(std::size_t size) {
    for (int i = 0; i < kEntries; ++i) {
      const Call call("k" + std::to_string(i));
      const auto version = store_->commit(call.id, put(std::string(size, 'x')), soon());
      ASSERT_TRUE(version) << version.error().message();
    }
  }
  [[nodiscard]] std::ptrdiff_t value_files() const {
    std::error_code error;
    const fs::recursive_directory_iterator all(directory_ / "v1/c1.values", error);
    return std::count_if(begin(all), end(all), [](const fs::directory_entry& one) {
      std::error_code gone;
      return one.is_regular_file(gone);
    });
  }
  [[nodiscard]] std::int64_t rows_with_files() const {
    sqlite3* database = nullptr;
    sqlite3_stmt* statement = nullptr;
    const std::string path = (directory_ / "v1/c1.db").string();
    std::int64_t rows = -1;
    if (sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READONLY, nullptr) ==
            SQLITE_OK &&
        sqlite3_prepare_v2(database, "SELECT count(*) FROM entries WHERE flags & 2", -1,
                           &statement, nullptr) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
      rows = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return rows;
  }
  /// Removes all in one way; gives in how many commits.
  std::int64_t commits_of(Clear what) {
    Filter filter;
    filter.function = &usual_function();
    if (what == Clear::stale) filter.stored_before = Time::max();
    CountedSql::take_commits();
    const auto removed = store_->clear(filter, what, soon());
    EXPECT_TRUE(removed);
    EXPECT_EQ(removed ? *removed : 0, static_cast<std::uint64_t>(kEntries));
    return CountedSql::take_commits();
  }

  const CountedSql counted_;
};

TEST_F(SweepTest, AClearFreesLittleAtATime) {
  fill(kLarge);
  EXPECT_GT(commits_of(Clear::entries), kCommitsForLarge);
}

TEST_F(SweepTest, AClearDeletesFewFilesAtATime) {
  fill(kHuge);
  deleted = 0;
  EXPECT_GT(commits_of(Clear::entries), kCommitsForHuge);
  EXPECT_EQ(deleted, kEntries) << "by whoever clears";
  EXPECT_EQ(value_files(), 0);
}

TEST_F(SweepTest, ACleanUpFreesLittleAtATime) {
  fill(kLarge);
  EXPECT_GE(commits_of(Clear::stale), kCommitsForLarge);
}

TEST_F(SweepTest, ACleanUpDeletesFewFilesAtATime) {
  fill(kHuge);
  EXPECT_GE(commits_of(Clear::stale), kCommitsForHuge);
  EXPECT_EQ(value_files(), 0);
}

TEST_F(SweepTest, APutThatEvictsLeavesTheFilesToTheHousekeeper) {
  Bounds bounds;
  bounds.entries = 10;
  ASSERT_TRUE(store_->keep_within(&usual_function(), bounds));
  deleted = 0;
  fill(kHuge);
  EXPECT_EQ(deleted, 0) << "a put may not wait for that";
  EXPECT_TRUE(eventually([&] { return value_files() <= 11; })) << value_files();
}

TEST_F(SweepTest, FilesThatAreLeftGoWithTheStore) {
  Bounds bounds;
  bounds.entries = 10;
  ASSERT_TRUE(store_->keep_within(&usual_function(), bounds));
  fill(kHuge);
  store_ = nullptr;
  EXPECT_TRUE(eventually([&] { return value_files() == rows_with_files(); }))
      << value_files() << " files, " << rows_with_files() << " rows";
}

}  // namespace
}  // namespace cachier::test

/// Repairs that run out of room.

#include "backends/files/files.hpp"
#include "backends/files/repair.hpp"
#include "backends/local/repair.hpp"
#include "fault/small_disk.hpp"
#include "support/eventually.hpp"
#include "unit/backends/local_fixture.hpp"

#include <cachier/key.hpp>

#include <sqlite3.h>

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <vector>

namespace cachier::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kEntries = 400;
constexpr int kBigOnes = 3;

/// A call as doors make them: repairs compare digests with keys.
struct RealCall : Call {
  explicit RealCall(const std::string& argument) : Call(argument) {
    cbor::Writer writer;
    encode_call(writer, argument);
    key.assign(as_text(writer.view()));
    id.key = as_bytes(key);
    id.digest = digest_of(*id.function, id.key);
  }
};

/// Flips the bits of some bytes of a file.
void flip(const fs::path& path, std::uintmax_t from, std::size_t size) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  std::string bytes(size, '\0');
  file.seekg(static_cast<std::streamoff>(from));
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  for (char& byte : bytes) byte = static_cast<char>(byte ^ 0x55);
  file.seekp(static_cast<std::streamoff>(from));
  file.write(bytes.data(), static_cast<std::streamsize>(size));
}

/// A database with a damaged page, of which nobody has anything open.
bool make_damaged_database(const fs::path& directory) {
  {
    auto store = opened(directory.string());
    for (int i = 0; i < kEntries; ++i) {
      if (!store->commit(RealCall(std::to_string(i)).id, put(std::string(1'000, 'v')),
                         soon()))
        return false;
    }
    for (int i = 0; i < kBigOnes; ++i) {
      if (!store->commit(RealCall("big" + std::to_string(i)).id,
                         put(std::string(100'000, 'v')), soon()))
        return false;
    }
    const std::weak_ptr<Store> held = std::exchange(store, nullptr);
    if (!eventually([&] { return held.expired(); })) return false;
  }
  const fs::path path = directory / "v1/c1.db";
  sqlite3* database = nullptr;
  // The store is expired a moment before its last connection is closed.
  const bool moved =
      sqlite3_open(path.c_str(), &database) == SQLITE_OK &&
      sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr) ==
          SQLITE_OK &&
      // Who has not read yet does not know that there is a log.
      sqlite3_exec(database, "SELECT 1 FROM sqlite_master", nullptr, nullptr,
                   nullptr) == SQLITE_OK &&
      eventually([&] {
        return sqlite3_wal_checkpoint_v2(database, nullptr, SQLITE_CHECKPOINT_TRUNCATE,
                                         nullptr, nullptr) == SQLITE_OK;
      });
  sqlite3_close(database);
  flip(path, fs::file_size(path) / 4096 / 2 * 4096, 4096);
  return moved;
}

/// Leaves room for so many pages.
void leave_room(const fs::path& directory, std::uintmax_t pages) {
  fill_disk(directory);
  const fs::path filler = directory / "filler";
  std::error_code ignored;
  const auto full = fs::file_size(filler, ignored);
  fs::resize_file(filler, full - std::min(full, pages * 4096), ignored);
}

/// What is stored and sound after all.
std::string what_is_left(const fs::path& directory) {
  const auto store = opened(directory.string());
  int small = 0;
  int big = 0;
  for (int i = 0; i < kEntries; ++i)
    small += stored(*store, RealCall(std::to_string(i))) == std::string(1'000, 'v');
  for (int i = 0; i < kBigOnes; ++i)
    big += stored(*store, RealCall("big" + std::to_string(i))) ==
           std::string(100'000, 'v');
  return std::to_string(small) + " and " + std::to_string(big);
}

/// Repairs with room for so many pages, then with enough. Gives what is left at the
/// end and, behind it, what the first repair said.
std::string repaired_in_two_goes(const fs::path& directory, std::uintmax_t pages) {
  if (!make_damaged_database(directory)) return "no damaged database";
  leave_room(directory, pages);
  std::string said = "; it was done";
  const auto first = local::verify(directory.string(), {});
  if (!first) {
    said = "; " + first.error().message();
  } else if (const auto done = local::repair(directory.string(), **first, {}); !done) {
    said = "; " + done.error().message();
  }
  fs::remove(directory / "filler");
  const auto second = local::verify(directory.string(), {});
  if (!second) return "not verified: " + second.error().message();
  const auto done = local::repair(directory.string(), **second, {});
  if (!done) return "not repaired: " + done.error().message();
  const auto last = local::verify(directory.string(), {});
  if (!last || !(*last)->sound()) return "not sound";
  return what_is_left(directory) + said;
}

TEST(RepairDisk, FullItEndsWithAClearErrorAndLosesNothing) {
  const TempDirectory directory;
  std::string with_room;
  std::size_t failed = 0;
  for (const unsigned pages : {100'000U, 0U, 3U, 13U, 55U}) {
    const auto answer = on_small_disk(directory.path(), "16m", [&] {
      return repaired_in_two_goes(directory.path(), pages);
    });
    if (!answer) GTEST_SKIP() << "no mounts for tests here";
    const std::string left = answer->substr(0, answer->find(';'));
    const std::string said = answer->substr(std::min(answer->size(), left.size()));
    if (with_room.empty()) {
      with_room = left;
      EXPECT_THAT(left, HasSubstr(" and 3"));
      EXPECT_EQ(said, "; it was done");
    }
    EXPECT_EQ(left, with_room) << "with room for " << pages << " pages" << said;
    if (said == "; it was done") continue;
    ++failed;
    EXPECT_THAT(said, StartsWith("; cannot ")) << pages;
    EXPECT_THAT(said, HasSubstr("fix:   free some space")) << pages;
  }
  EXPECT_GE(failed, 3U) << "there was never too little room";
}

TEST(RepairDisk, FullDamagedEntryFilesAreRemovedAllTheSame) {
  const TempDirectory directory;
  const auto answer = on_small_disk(directory.path(), "4m", [&]() -> std::string {
    auto store = open_files_store(directory.string());
    if (!store) return "no store";
    for (int i = 0; i < 20; ++i) {
      if (!(*store)->commit(RealCall(std::to_string(i)).id, put("v"), soon()))
        return "not stored";
    }
    int flipped = 0;
    for (const auto& one :
         fs::recursive_directory_iterator(directory.path() / "v1-files/f")) {
      if (one.path().filename().string().size() != 32 || flipped == 10) continue;
      flip(one.path(), 10, 1);
      ++flipped;
    }
    fill_disk(directory.path());
    const auto report = files::verify(directory.string(), {});
    if (!report) return report.error().message();
    const auto done = files::repair(directory.string(), **report, {});
    if (!done) return done.error().message();
    const auto after = files::verify(directory.string(), {});
    return std::to_string(done->removed_entries) + " of " +
           std::to_string((*report)->findings.size()) + ", " +
           std::to_string((*after)->entries) + " are sound";
  });
  if (!answer) GTEST_SKIP() << "no mounts for tests here";
  EXPECT_EQ(*answer, "10 of 10, 10 are sound");
}

}  // namespace
}  // namespace cachier::test

/// The store of one file an entry: its files, whole and damaged.

#include "backends/files/files.hpp"

#include "backends/files/disk.hpp"
#include "backends/files/store.hpp"

#include "local_fixture.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

namespace cachier::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::shared_ptr<Store> opened_files(const std::string& directory, bool remote = false) {
  auto store = open_files_store(directory, std::size_t{64} << 20, remote);
  if (store) return *store;
  ADD_FAILURE() << store.error().message();
  return nullptr;
}

std::string contents(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& one : fs::directory_iterator(directory))
    names.push_back(one.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

class FilesStoreTest : public ::testing::Test {
 protected:
  [[nodiscard]] fs::path file_of(const Call& call) const {
    return fs::path(disk_.entries(*call.id.function)) /
           files::Disk::name_of(call.id.digest);
  }
  [[nodiscard]] fs::path folder() const { return disk_.folder(); }
  void stores(const Call& call, const std::string& text) {
    const auto done = store_->commit(call.id, put(text), soon());
    ASSERT_TRUE(done) << done.error().message();
  }
  /// As another process would see it, which remembers nothing.
  [[nodiscard]] std::string seen_anew(const Call& call) {
    store_.reset();
    store_ = opened_files(directory_.string());
    return stored(*store_, call);
  }

  TempDirectory directory_;
  const files::Disk disk_{directory_.string(), false};
  std::shared_ptr<Store> store_ = opened_files(directory_.string());
  Call call_{"k"};
};

// ---- its files

TEST_F(FilesStoreTest, AnEntryIsOneFileThatOnlyItsUserReads) {
  ::umask(0);
  stores(call_, "value");
  ::umask(022);
  struct stat status {};
  ASSERT_EQ(::stat(file_of(call_).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  for (const auto& one : fs::recursive_directory_iterator(folder())) {
    ASSERT_EQ(::stat(one.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 077, 0U) << one.path();
  }
  EXPECT_EQ(names_in(folder()),
            (std::vector<std::string>{"aside", "f", "locks", "state", "trash"}));
  EXPECT_THAT(names_in(folder() / "aside"), IsEmpty());
  EXPECT_THAT(file_of(call_).string(), HasSubstr("v1-files/f/cachier_test_f-"));
}

TEST_F(FilesStoreTest, AFileIsWhatThePageSays) {
  stores(call_, "value");
  const std::string bytes = contents(file_of(call_));
  ASSERT_GT(bytes.size(), 128U);
  const auto number = [&](std::size_t at, std::size_t size) {
    std::uint64_t all = 0;
    while (size-- > 0) all = all << 8 | static_cast<unsigned char>(bytes[at + size]);
    return all;
  };
  EXPECT_EQ(bytes.substr(0, 8), "cachier\x01");
  const auto look = store_->look(call_.id, {}, soon());
  ASSERT_TRUE(look && look->entry);
  EXPECT_EQ(number(8, 8), static_cast<std::uint64_t>(
                              look->entry->stored_at.time_since_epoch().count()));
  EXPECT_EQ(number(16, 8), look->entry->version.words[0]);
  EXPECT_EQ(number(24, 8), call_.id.digest.high);
  EXPECT_EQ(number(32, 8), call_.id.digest.low);
  const std::string& function = call_.id.function->id();
  const std::size_t head = (56 + function.size() + 63) / 64 * 64;
  EXPECT_EQ(number(40, 8), bytes.size() - head);
  EXPECT_EQ(number(48, 4), function.size());
  EXPECT_EQ(number(52, 4), 0U);
  EXPECT_EQ(bytes.substr(56, function.size()), function);
  EXPECT_EQ(bytes.substr(56 + function.size(), head - 56 - function.size()),
            std::string(head - 56 - function.size(), '\0'));
}

TEST_F(FilesStoreTest, LargeValuesAreAligned) {
  for (const std::size_t size : {4'096UL, 5'000'001UL}) {
    stores(call_, std::string(size, 'x'));
    const auto look = store_->look(call_.id, {}, soon());
    ASSERT_TRUE(look && look->entry);
    EXPECT_EQ(look->entry->value.bytes().size(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(look->entry->value.bytes().data()) % 64,
              0U);
  }
}

TEST_F(FilesStoreTest, LongNamesAndLongKeysHaveFilesToo) {
  const Call calls[] = {
      Call("k", std::string(5'000, 'f')), Call("k", "cachier:a/../../b(c='\n')"),
      Call(std::string(100'000, 'k')), Call("k", std::string("\0/x", 3))};
  for (const Call& call : calls) {
    stores(call, call.key);
    EXPECT_EQ(seen_anew(call), call.key);
  }
  const auto page = store_->scan({}, {}, soon());
  ASSERT_TRUE(page);
  EXPECT_EQ(page->entries.size(), 4U);
  for (const Call& call : calls) {
    const auto one = store_->scan({call.id.function, {}}, {}, soon());
    ASSERT_TRUE(one);
    ASSERT_EQ(one->entries.size(), 1U);
    EXPECT_EQ(one->entries[0].function, call.id.function->id());
    EXPECT_EQ(one->entries[0].key, call.key);
    EXPECT_EQ(one->entries[0].size, call.key.size());
  }
}

TEST_F(FilesStoreTest, OneObjectADirectoryAndBesideTheDatabase) {
  EXPECT_EQ(opened_files(directory_.string() + "/./"), store_);
  const auto database = opened(directory_.string());
  stores(call_, "in a file");
  EXPECT_EQ(stored(*database, call_), "nothing");
  ASSERT_TRUE(database->commit(call_.id, put("in the database"), soon()));
  EXPECT_EQ(stored(*store_, call_), "in a file");
  EXPECT_EQ(*store_->clear({}, Clear::entries, soon()), 1U);
  EXPECT_EQ(stored(*database, call_), "in the database");
}

// ---- damage

class FilesDamageTest : public FilesStoreTest {
 protected:
  void SetUp() override {
    stores(call_, "value");
    whole_ = contents(file_of(call_));
    store_.reset();
  }

  /// A miss that is counted; whoever computes it anew can store it.
  void is_damaged(const std::string& what) {
    store_ = opened_files(directory_.string());
    const auto look = store_->look(call_.id, {}, soon());
    ASSERT_TRUE(look) << what << ": " << look.error().message();
    EXPECT_TRUE(look->damaged) << what;
    EXPECT_FALSE(look->entry) << what;
    ASSERT_EQ(look->claim, Look::Claim::granted) << what;
    const auto done = store_->commit(call_.id, put("again", look->token), soon());
    ASSERT_TRUE(done) << what << ": " << done.error().message();
    EXPECT_EQ(stored(*store_, call_), "again") << what;
    store_.reset();
  }

  std::string whole_;
};

TEST_F(FilesDamageTest, WhateverItsLengthIs) {
  for (std::size_t size = 0; size < whole_.size(); ++size) {
    write(file_of(call_), whole_.substr(0, size));
    is_damaged("cut to " + std::to_string(size));
  }
  write(file_of(call_), whole_ + "x");
  is_damaged("longer");
}

TEST_F(FilesDamageTest, LongerThanMemoryByAHole) {
  constexpr std::size_t kMoreThanMemory = std::size_t{8} << 40;
  const auto lengthen = [&] { fs::resize_file(file_of(call_), kMoreThanMemory); };
  lengthen();
  store_ = opened_files(directory_.string());
  const auto page = store_->scan({}, {}, soon());
  ASSERT_TRUE(page) << page.error().message();
  EXPECT_EQ(page->entries.size(), 0U);
  store_.reset();
  is_damaged("a hole behind it");
  lengthen();
  write(file_of(call_), "");
  lengthen();
  is_damaged("nothing but a hole");
}

TEST_F(FilesDamageTest, WhateverBitIsFlipped) {
  for (std::size_t at = 0; at < whole_.size(); ++at) {
    std::string flipped = whole_;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
    write(file_of(call_), flipped);
    is_damaged("bit of byte " + std::to_string(at));
  }
}

TEST_F(FilesDamageTest, ZerosAndText) {
  write(file_of(call_), std::string(whole_.size(), '\0'));
  is_damaged("zeros");
  write(file_of(call_), std::string(128, '\0') + whole_.substr(128));
  is_damaged("a head of zeros");
  write(file_of(call_), whole_.substr(0, 128) + std::string(whole_.size() - 128, '\0'));
  is_damaged("an envelope of zeros");
  write(file_of(call_), "Dear diary, today nobody called me.\n");
  is_damaged("text");
}

TEST_F(FilesDamageTest, FilesThatChangedPlaces) {
  const Call other("other");
  const Call elsewhere("k", "cachier:test:g");
  store_ = opened_files(directory_.string());
  stores(other, "other");
  stores(elsewhere, "elsewhere");
  write(file_of(call_), contents(file_of(other)));
  is_damaged("another entry's");
  // With the digest that is expected, in a head of another function's.
  std::string foreign = contents(file_of(elsewhere));
  foreign.replace(24, 16, whole_.substr(24, 16));
  write(file_of(call_), foreign);
  is_damaged("another function's");
  // With the head that is expected.
  write(file_of(call_), whole_.substr(0, 128) + contents(file_of(other)).substr(128));
  is_damaged("another value");
}

TEST_F(FilesDamageTest, WhatIsNoFileOfOurs) {
  const fs::path real = directory_ / "real";
  fs::rename(file_of(call_), real);
  fs::create_symlink(real, file_of(call_));
  is_damaged("a link");
  EXPECT_EQ(contents(real), whole_) << "it is replaced, not written through";

  ASSERT_EQ(::chmod(file_of(call_).c_str(), 0622), 0);
  is_damaged("others may write it");

  fs::remove(file_of(call_));
  ASSERT_EQ(::mkfifo(file_of(call_).c_str(), 0600), 0);
  is_damaged("a FIFO");
}

TEST_F(FilesDamageTest, ALateCommitLosesWhereADamagedFileHasChanged) {
  write(file_of(call_), "damaged");
  store_ = opened_files(directory_.string());
  const auto look = store_->look(call_.id, {}, soon());
  ASSERT_TRUE(look);
  write(file_of(call_), "damaged otherwise");
  const auto late = store_->commit(call_.id, put("late", look->token), soon());
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), ErrorCode::claim_lost);
}

TEST_F(FilesDamageTest, OfStatesMakesLateCommitsLoseAndNoMore) {
  const fs::path states[] = {
      folder() / "state",
      fs::path(disk_.function(*call_.id.function)) / "state",
  };
  store_ = opened_files(directory_.string());
  ASSERT_TRUE(store_->clear({call_.id.function, {}}, Clear::entries, soon()));
  for (const fs::path& state : states) {
    for (const std::string& bytes :
         {std::string(), std::string(32, '\0'), std::string("text")}) {
      stores(call_, "value");
      const auto look = store_->look(Call("late").id, {}, soon());
      ASSERT_TRUE(look);
      write(state, bytes);
      const auto late =
          store_->commit(Call("late").id, put("late", look->token), soon());
      ASSERT_FALSE(late);
      EXPECT_EQ(late.error(), ErrorCode::claim_lost);
      EXPECT_EQ(seen_anew(call_), "value");
      const auto again = store_->look(Call("late").id, {}, soon());
      ASSERT_TRUE(again) << again.error().message();
      ASSERT_TRUE(store_->commit(Call("late").id, put("again", again->token), soon()));
      EXPECT_EQ(*store_->clear({call_.id.function, {}}, Clear::entries, soon()), 2U);
    }
  }
}

// ---- removed, replaced, forbidden

TEST_F(FilesStoreTest, RemovedWhileOpenItBeginsAnew) {
  stores(call_, "value");
  ASSERT_EQ(stored(*store_, call_), "value");
  const auto claimed = store_->look(Call("computing").id, {}, soon());
  ASSERT_TRUE(claimed);
  for (const fs::path& removed : {folder(), directory_.path()}) {
    fs::remove_all(removed);
    EXPECT_EQ(stored(*store_, call_), "nothing");
    stores(call_, "new");
    EXPECT_EQ(stored(*store_, call_), "new");
    const auto late =
        store_->commit(Call("computing").id, put("late", claimed->token), soon());
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error(), ErrorCode::claim_lost);
    const auto next = store_->look(Call("next").id, {}, soon());
    ASSERT_TRUE(next);
    EXPECT_EQ(next->claim, Look::Claim::granted);
    ASSERT_TRUE(store_->commit(Call("next").id, put("next", next->token), soon()));
  }
  EXPECT_EQ(opened_files(directory_.string()), store_) << "still one object";
}

TEST_F(FilesStoreTest, EveryPartOfItMayBeMissing) {
  for (const char* part : {"f", "aside", "trash", "locks", "state"}) {
    stores(call_, "value");
    fs::remove_all(folder() / part);
    EXPECT_EQ(stored(*store_, call_), part == std::string("f") ? "nothing" : "value");
    stores(call_, part);
    EXPECT_EQ(stored(*store_, call_), part);
    EXPECT_EQ(*store_->clear({}, Clear::entries, soon()), 1U) << part;
  }
}

TEST_F(FilesStoreTest, AFolderThatOthersMayWriteIsRefused) {
  stores(call_, "value");
  store_.reset();
  store_ = opened_files(directory_.string());
  fs::permissions(folder(), fs::perms::others_write, fs::perm_options::add);
  const auto look = store_->look(call_.id, {}, soon());
  ASSERT_FALSE(look);
  EXPECT_EQ(look.error(), ErrorCode::refused);
  EXPECT_FALSE(store_->commit(call_.id, put("x"), soon()));
}

TEST_F(FilesStoreTest, WhatMayNotBeWrittenIsRead) {
  stores(call_, "value");
  store_.reset();
  const auto answer = as_other_user(directory_.path(), [&]() -> std::string {
    for (const auto& one : fs::recursive_directory_iterator(directory_.path()))
      fs::permissions(one.path(), one.is_directory()
                                      ? fs::perms::owner_read | fs::perms::owner_exec
                                      : fs::perms::owner_read);
    fs::permissions(directory_.path(), fs::perms::owner_read | fs::perms::owner_exec);
    const auto store = opened_files(directory_.string());
    std::string text = stored(*store, call_) + "; ";
    const auto look = store->look(Call("other").id, {}, soon());
    text += !look                                 ? "no look; "
            : look->claim == Look::Claim::granted ? "granted; "
                                                  : "not granted; ";
    const auto put_there = store->commit(call_.id, put("x"), soon());
    text += put_there ? "stored" : put_there.error().message();
    text += store->scan({}, {}, soon()) ? "; listed" : "; not listed";
    return text;
  });
  EXPECT_THAT(answer, HasSubstr("value; granted; cannot make"));
  EXPECT_THAT(answer, HasSubstr("Permission denied"));
  EXPECT_THAT(answer, HasSubstr("fix:"));
  EXPECT_THAT(answer, HasSubstr("; listed"));
}

// ---- what is remembered

TEST_F(FilesStoreTest, AHitOpensNothing) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP()
      << "UndefinedBehaviorSanitizer itself needs descriptors to look at types";
#endif
  stores(call_, "value");
  ChildProcess child([&](Channel& parent) {
    const std::string first = stored(*store_, call_);
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return 1;
    parent.send(first + " " + stored(*store_, call_) + " " +
                stored(*store_, Call("unread")).substr(0, 5));
    return 0;
  });
  EXPECT_EQ(child.channel().receive(), "value value error");
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(FilesStoreTest, WhatOthersStoreIsNoticedAtOnce) {
  ChildProcess other([&](Channel& parent) {
    while (const auto wanted = parent.receive()) {
      const bool done =
          *wanted == "erase" ? store_->commit(call_.id, erase(), soon()).has_value()
          : *wanted == "clear"
              ? store_->clear({}, Clear::entries, soon()).has_value()
              : store_->commit(call_.id, put(*wanted), soon()).has_value();
      parent.send(done ? "done" : "not done");
    }
    return 0;
  });
  // Of one length, and soon after each other: files of the same size, and perhaps
  // inode.
  for (int round = 0; round < 200; ++round) {
    const std::string text = std::to_string(1'000 + round);
    other.channel().send(text);
    ASSERT_EQ(other.channel().receive(), "done");
    ASSERT_EQ(stored(*store_, call_), text);
    other.channel().send(round % 2 == 0 ? "erase" : "clear");
    ASSERT_EQ(other.channel().receive(), "done");
    ASSERT_EQ(stored(*store_, call_), "nothing");
  }
  other.channel().close();
  EXPECT_EQ(other.wait(), 0);
}

TEST_F(FilesStoreTest, ACacheOfNothingRemembersNothing) {
  const TempDirectory directory;
  auto store = open_files_store(directory.string(), 0);
  ASSERT_TRUE(store);
  for (const char* text : {"one", "two"}) {
    ASSERT_TRUE((*store)->commit(call_.id, put(text), soon()));
    EXPECT_EQ(stored(**store, call_), text);
    EXPECT_EQ(stored(**store, call_), text);
  }
}

TEST(FilesEntryCache, StaysWithinItsBound) {
  constexpr std::size_t kBound = 1 << 20;
  files::EntryCache cache(kBound);
  const files::Stamp stamp{1, 2, 3, 4, 5};
  const auto remember = [&](const Call& call, std::size_t size) {
    const Entry entry{Value::of_bytes(Codec::cbor, std::string(size, 'x')), Time(),
                      Version{{7, 0, 0}}};
    cache.remember(call.id, stamp, 9, entry);
  };
  remember(Call("too large"), kBound / 2);
  EXPECT_FALSE(cache.find(Call("too large").id));
  for (int n = 0; n < 2'000; ++n) {
    remember(Call(std::to_string(n)), 5'000);
    ASSERT_LE(cache.bytes(), kBound + 64 * 6'000) << "one in each part";
  }
  const auto last = cache.find(Call("1999").id);
  ASSERT_TRUE(last);
  EXPECT_EQ(last->stamp, stamp);
  EXPECT_EQ(last->epoch, 9U);
  EXPECT_EQ(last->entry.version.words[0], 7U);
  EXPECT_FALSE(cache.find(Call("0").id)) << "asked for by nobody";
  EXPECT_FALSE(cache.find(Call("1999", "cachier:test:g").id));
}

// ---- what is left behind

TEST_F(FilesStoreTest, FailedAndLostCommitsLeaveNothingBehind) {
  const auto look = store_->look(call_.id, {}, soon());
  ASSERT_TRUE(look);
  stores(call_, "value");
  EXPECT_FALSE(store_->commit(call_.id, put("late", look->token), soon()));
  EXPECT_THAT(names_in(folder() / "aside"), IsEmpty());
  EXPECT_EQ(*store_->clear({}, Clear::entries, soon()), 1U);
  EXPECT_THAT(names_in(folder() / "trash"), IsEmpty());
}

TEST_F(FilesStoreTest, GarbageOfTheDeadGoesAfterAnHour) {
  stores(call_, "value");
  const std::int64_t now = ::time(nullptr);
  const auto made = [&](const fs::path& path, std::int64_t age) {
    write(path, "x");
    const timeval then{static_cast<time_t>(now - age), 0};
    const timeval times[] = {then, then};
    ASSERT_EQ(::utimes(path.c_str(), times), 0);
  };
  made(folder() / "aside/0123456789abcdef.new", 3'700);
  made(folder() / "aside/fedcba9876543210.new", 3'500);
  const auto trash = [&](std::int64_t age) {
    char name[64];
    std::snprintf(name, sizeof name, "trash/%016llx-0123456789abcdef",
                  static_cast<unsigned long long>(now - age));
    fs::create_directories(folder() / name / "e");
    write(folder() / name / "e/some", "x");
    return fs::path(name).filename().string();
  };
  trash(3'700);
  const std::string young = trash(3'500);

  // The first commit of a store that is opened tidies.
  store_.reset();
  store_ = opened_files(directory_.string());
  stores(call_, "again");
  EXPECT_EQ(names_in(folder() / "aside"),
            (std::vector<std::string>{"fedcba9876543210.new"}));
  EXPECT_EQ(names_in(folder() / "trash"), (std::vector<std::string>{young}));
}

TEST_F(FilesStoreTest, OutcomesWhoseTimeIsOverAreDeleted) {
  const auto look = store_->look(call_.id, {}, soon());
  ASSERT_TRUE(look);
  ASSERT_TRUE(store_->commit(call_.id, release(look->token, Outcome::failed), soon()));
  const fs::path outcome = file_of(call_).string() + ".o";
  ASSERT_TRUE(fs::exists(outcome));
  const timeval past[] = {{1, 0}, {1, 0}};
  ASSERT_EQ(::utimes(outcome.c_str(), past), 0);
  const auto next = store_->look(call_.id, {}, soon());
  ASSERT_TRUE(next);
  EXPECT_EQ(next->outcome, Outcome::none);
  EXPECT_FALSE(fs::exists(outcome));
}

TEST_F(FilesStoreTest, AClearThatRanOutOfTimeHidesAll) {
  for (int n = 0; n < 300; ++n) stores(Call(std::to_string(n)), "value");
  const auto cleared =
      store_->clear({}, Clear::entries, std::chrono::steady_clock::now());
  if (!cleared) {
    EXPECT_EQ(cleared.error(), ErrorCode::deadline_exceeded);
  }
  const auto page = store_->scan({}, {}, soon());
  ASSERT_TRUE(page);
  EXPECT_THAT(page->entries, IsEmpty());
}

// ---- removing what is old

TEST_F(FilesStoreTest, ClearingWithATimeKeepsWhatIsNewerAndStopsComputations) {
  stores(Call("old"), "old");
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  stores(Call("new"), "new");
  const auto fresh = store_->look(Call("new").id, {}, soon());
  const auto computing = store_->look(Call("computing").id, {}, soon());
  ASSERT_TRUE(fresh && computing);

  EXPECT_EQ(*store_->clear({&usual_function(), fresh->entry->stored_at}, Clear::entries,
                           soon()),
            1U);
  EXPECT_EQ(stored(*store_, Call("old")), "nothing");
  EXPECT_EQ(stored(*store_, Call("new")), "new");
  EXPECT_EQ(store_->commit(Call("computing").id, put("late", computing->token), soon())
                .error(),
            ErrorCode::claim_lost);
}

TEST_F(FilesStoreTest, TombstonesGoWithWhatIsStale) {
  stores(call_, "value");
  ASSERT_TRUE(store_->commit(call_.id, erase(), soon()));
  ASSERT_TRUE(fs::exists(file_of(call_)));
  const Time later = platform::wall_now() + std::chrono::hours(1);
  EXPECT_EQ(*store_->clear({&usual_function(), later}, Clear::stale, soon()), 0U);
  EXPECT_FALSE(fs::exists(file_of(call_)));
}

}  // namespace
}  // namespace cachier::test

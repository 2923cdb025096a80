#include "local_fixture.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "backends/local/near_cache.hpp"
#include "platform/housekeeper.hpp"
#include "support/eventually.hpp"

namespace cachier::test {
namespace {

namespace fs = std::filesystem;

/// Over the size from which on a value has a file of its own.
constexpr std::size_t kBig = 65'537;
/// Over the size from which on a pickle is mapped.
constexpr std::size_t kMapped = std::size_t{3} << 20;
/// A file of holes may be as long.
constexpr std::size_t kMoreThanMemory = std::size_t{8} << 40;

std::string big(char letter, std::size_t size = kBig) {
  return std::string(size, letter);
}

Change put_pickle(std::string bytes) {
  Change change;
  change.value = Value::of_bytes(Codec::pickle, std::move(bytes));
  return change;
}

class ValueFilesTest : public LocalStoreTest {
 protected:
  [[nodiscard]] std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    const fs::path folder = directory_.path() / "v1/c1.values";
    if (!fs::exists(folder)) return found;
    for (const auto& one : fs::recursive_directory_iterator(folder)) {
      if (one.is_regular_file()) found.push_back(one.path());
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  void store(const Call& call, Change change) {
    const auto version = store_->commit(call.id, change, soon());
    ASSERT_TRUE(version) << version.error().message();
  }
  void forget_what_was_read() {
    store_.reset();
    store_ = opened(directory_.string());
  }
  /// What the housekeeper does, at once.
  void tidy() { dynamic_cast<platform::Chore&>(*store_).run(); }
};

TEST_F(ValueFilesTest, OnlyWhatIsBigHasAFile) {
  const Call small("small");
  const Call large("large");
  store(small, put(big('s', kBig - 1)));
  EXPECT_EQ(files().size(), 0u);
  store(large, put(big('l')));
  ASSERT_EQ(files().size(), 1u);
  EXPECT_EQ(stored(*store_, small), big('s', kBig - 1));
  EXPECT_EQ(stored(*store_, large), big('l'));
  forget_what_was_read();
  EXPECT_EQ(stored(*store_, large), big('l'));
  struct stat status {};
  ASSERT_EQ(::stat(files()[0].c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(ValueFilesTest, TheFileGoesWithItsEntry) {
  const Call call("k");
  store(call, put(big('1')));
  const auto before = files();
  store(call, put(big('2')));
  ASSERT_EQ(files().size(), 1u);
  EXPECT_NE(files(), before);
  EXPECT_EQ(stored(*store_, call), big('2'));
  store(call, put("small"));
  EXPECT_EQ(files().size(), 0u);

  store(call, put(big('3')));
  ASSERT_TRUE(store_->commit(call.id, erase(), soon()));
  EXPECT_EQ(files().size(), 0u);

  store(call, put(big('4')));
  ASSERT_TRUE(store_->clear({call.id.function, {}}, Clear::entries, soon()));
  EXPECT_EQ(files().size(), 0u);

  store(call, put(big('5')));
  ASSERT_TRUE(store_->clear({nullptr, Time::max()}, Clear::stale, soon()));
  EXPECT_EQ(files().size(), 0u);
}

TEST_F(ValueFilesTest, WhatIsNotStoredLeavesNoFile) {
  const Call call("k");
  const auto owner = store_->look(call.id, {}, soon());
  ASSERT_TRUE(owner);
  ASSERT_TRUE(store_->commit(call.id, erase(), soon()));
  const auto late = store_->commit(call.id, put(big('l'), owner->token), soon());
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), ErrorCode::claim_lost);
  EXPECT_EQ(files().size(), 0u);
}

TEST_F(ValueFilesTest, AListingNamesTheKey) {
  const Call call("the key");
  store(call, put(big('v')));
  const auto page = store_->scan({}, {}, soon());
  ASSERT_TRUE(page);
  ASSERT_EQ(page->entries.size(), 1u);
  EXPECT_EQ(page->entries[0].key, "the key");
  EXPECT_EQ(page->entries[0].size, kBig);
}

TEST_F(ValueFilesTest, ADamagedFileIsAMiss) {
  for (const std::size_t size : {kBig, kMapped}) {
    const Call call("k" + std::to_string(size));
    const Call other("other" + std::to_string(size));
    const auto damaged = [&](const char* how) {
      forget_what_was_read();
      const auto look = store_->look(call.id, no_claim(), soon());
      ASSERT_TRUE(look) << how << look.error().message();
      EXPECT_FALSE(look->entry) << how;
      EXPECT_TRUE(look->damaged) << how;
    };
    const auto again = [&] {
      ASSERT_TRUE(store_->clear({}, Clear::entries, soon()));
      store(call, put_pickle(big('k', size)));
      ASSERT_EQ(files().size(), 1u);
    };
    for (std::size_t length = 0; length < size; length += 1 + size / 16) {
      again();
      fs::resize_file(files()[0], length);
      damaged("shortened");
    }
    for (std::size_t at = 0; at < size; at += 1 + size / 16) {
      again();
      std::fstream file(files()[0], std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(static_cast<std::streamoff>(at));
      const int was = file.get();
      file.seekp(static_cast<std::streamoff>(at));
      file.put(static_cast<char>(was ^ 1));
      file.close();
      damaged("a bit flipped");
    }
    again();
    fs::resize_file(files()[0], size + 4096);
    damaged("longer");
    again();
    fs::resize_file(files()[0], kMoreThanMemory);
    damaged("longer than memory");
    again();
    fs::remove(files()[0]);
    damaged("removed");
    again();
    fs::path instead = files()[0];
    fs::remove(instead);
    fs::create_directory(instead);
    damaged("a directory");
    fs::remove(instead);
    again();
    instead = files()[0];
    fs::remove(instead);
    ASSERT_EQ(::mkfifo(instead.c_str(), 0600), 0);
    damaged("a FIFO");
    again();
    fs::remove_all(directory_.path() / "v1/c1.values");
    damaged("all removed");
    again();
    const fs::path mine = files()[0];
    store(other, put_pickle(big('o', size)));
    for (const fs::path& one : files()) {
      if (one != mine) fs::copy_file(one, mine, fs::copy_options::overwrite_existing);
    }
    damaged("another's");
  }
}

TEST_F(ValueFilesTest, WhatIsLostCanBeStoredAgain) {
  const Call call("k");
  store(call, put(big('1')));
  fs::remove_all(directory_.path() / "v1/c1.values");
  forget_what_was_read();
  const auto look = store_->look(call.id, {}, soon());
  ASSERT_TRUE(look);
  ASSERT_EQ(look->claim, Look::Claim::granted);
  Change change = put(big('2'));
  change.token = look->token;
  store(call, change);
  EXPECT_EQ(stored(*store_, call), big('2'));
}

TEST_F(ValueFilesTest, ABigPickleIsMappedAndEverybodyMayChangeHisOwn) {
  const Call call("k");
  store(call, put_pickle(big('p', kMapped)));
  const auto look = store_->look(call.id, no_claim(), soon());
  ASSERT_TRUE(look && look->entry);
  const Value& value = look->entry->value;
  ASSERT_NE(value.file(), nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(value.bytes().data()) % 64, 0u);
  EXPECT_EQ(as_text(value.bytes()), big('p', kMapped));

  const auto mine = value.file()->private_copy();
  const auto yours = value.file()->private_copy();
  ASSERT_TRUE(mine && yours);
  const auto offset = value.bytes().data() - value.file()->bytes().data();
  mine.get()[offset] = std::byte{'x'};
  EXPECT_EQ(yours.get()[offset], std::byte{'p'});
  EXPECT_EQ(stored(*store_, call), big('p', kMapped));

  // Good for as long as anybody has them.
  ASSERT_TRUE(store_->commit(call.id, erase(), soon()));
  EXPECT_EQ(yours.get()[offset], std::byte{'p'});
  EXPECT_EQ(as_text(value.bytes()), big('p', kMapped));
}

TEST_F(ValueFilesTest, WhatIsNoPickleIsRead) {
  const Call call("k");
  store(call, put(big('c', kMapped)));
  const auto look = store_->look(call.id, no_claim(), soon());
  ASSERT_TRUE(look && look->entry);
  EXPECT_EQ(look->entry->value.file(), nullptr);
}

TEST_F(ValueFilesTest, AMappedFileIsComparedOnEveryHit) {
  const Call call("k");
  store(call, put_pickle(big('p', kMapped)));
  const auto entry = [&] {
    auto look = store_->look(call.id, no_claim(), soon());
    return look && look->entry ? std::optional(std::move(*look->entry)) : std::nullopt;
  };
  const auto first = entry();
  ASSERT_TRUE(first);
  EXPECT_EQ(entry()->value.file(), first->value.file());

  // Its times changed: its checksum is verified anew, and it holds.
  const timespec times[2] = {{1, 0}, {1, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, files()[0].c_str(), times, 0), 0);
  EXPECT_FALSE(first->value.file()->is_unchanged());
  const auto second = entry();
  ASSERT_TRUE(second);
  EXPECT_NE(second->value.file(), first->value.file());
  EXPECT_EQ(entry()->value.file(), second->value.file());

  fs::resize_file(files()[0], 4096);
  EXPECT_FALSE(second->value.file()->is_unchanged());
  EXPECT_FALSE(entry());
  // Zeros, and no SIGBUS.
  EXPECT_EQ(second->value.bytes()[kMapped - 1], std::byte{0});
}

TEST_F(ValueFilesTest, WhatNoRowNamesIsRemoved) {
  const Call call("k");
  // By another process, as each looks once.
  ChildProcess writer([&](Channel&) {
    return opened(directory_.string())->commit(call.id, put(big('1')), soon()) ? 0 : 1;
  });
  ASSERT_EQ(writer.wait(), 0);
  const fs::path kept = files()[0];
  const auto stray = [&](const char* name) {
    const fs::path path = kept.parent_path() / name;
    std::ofstream(path) << "stray";
    return path;
  };
  // Of a version that its row does not have, and of a row that is not there.
  std::string old = kept.filename().string();
  old.back() = old.back() == '0' ? '1' : '0';
  const fs::path replaced = stray(old.c_str());
  const fs::path lost = stray(
      ("00001234567890" + kept.parent_path().filename().string() + "-0123456789abcdef")
          .c_str());
  const fs::path foreign = stray("notes.txt");
  const fs::path folder = kept.parent_path().parent_path();
  std::ofstream(folder / "0123456789abcdef.new") << "being written";
  std::ofstream(folder / "fedcba9876543210.new") << "left";
  const timespec long_ago[2] = {{1'000'000, 0}, {1'000'000, 0}};
  ASSERT_EQ(
      ::utimensat(AT_FDCWD, (folder / "fedcba9876543210.new").c_str(), long_ago, 0), 0);

  store(Call("another"), put(big('2')));
  // The housekeeper may be in the middle of it.
  EXPECT_TRUE(eventually([&] {
    tidy();
    return !fs::exists(replaced) && !fs::exists(lost) &&
           !fs::exists(folder / "fedcba9876543210.new");
  }));
  EXPECT_TRUE(fs::exists(kept));
  EXPECT_TRUE(fs::exists(foreign));
  EXPECT_TRUE(fs::exists(folder / "0123456789abcdef.new"));
  EXPECT_EQ(stored(*store_, call), big('1'));
}

TEST(NearCache, OfMappedFilesItRemembersAFew) {
  const TempDirectory directory;
  const auto store = opened(directory.string());
  constexpr std::size_t kMany = 3 * local::NearCache::kFiles;
  for (std::size_t n = 0; n < kMany; ++n) {
    const Call call(std::to_string(n));
    ASSERT_TRUE(
        store->commit(call.id, put_pickle(big('p', std::size_t{1} << 20)), soon()));
    EXPECT_NE(stored(*store, call), "nothing");
  }
  const auto open_files = [] {
    const auto all = fs::directory_iterator("/proc/self/fd");
    return static_cast<std::size_t>(
        std::count_if(fs::begin(all), fs::end(all), [](const fs::directory_entry& one) {
          std::error_code gone;
          return fs::read_symlink(one, gone).string().find(".values/") !=
                 std::string::npos;
        }));
  };
  EXPECT_GT(open_files(), 0u);
  EXPECT_LE(open_files(), local::NearCache::kFiles);
}

}  // namespace
}  // namespace cachier::test

#include "backends/local/coherence.hpp"
#include "backends/local/table.hpp"
#include "support/temp_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace cachier::local {
namespace {

using test::TempDirectory;
using ::testing::HasSubstr;

constexpr Time kNow{std::chrono::hours(24 * 20'000)};

class TableTest : public ::testing::Test {
 protected:
  Result<Table> open() {
    bool missing = false;
    return Table::open(path_, missing);
  }
  Result<Table> make() { return Table::make(path_, path_ + ".new", 3); }

  /// Changes one byte of the file.
  void spoil(std::streamoff at, char value) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at).put(value);
  }

  TempDirectory directory_;
  std::string path_ = (directory_ / "table").string();
};

TEST_F(TableTest, IsSharedByAllWhoOpenIt) {
  bool missing = false;
  EXPECT_FALSE(Table::open(path_, missing));
  EXPECT_TRUE(missing);

  const auto made = make();
  ASSERT_TRUE(made) << made.error().message();
  const auto opened = open();
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ(opened->identity(), made->identity());
  EXPECT_TRUE(opened->is_shared());
  EXPECT_EQ(opened->generation().load(), 3U);
  made->wake_word(16'383).store(5);
  EXPECT_EQ(opened->wake_word(16'383).load(), 5U);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(TableTest, HasTheSizeAndPlacesOfItsPage) {
  ASSERT_TRUE(make());
  EXPECT_EQ(std::filesystem::file_size(path_), 544'768U);
  const auto table = open();
  ASSERT_TRUE(table);
  table->pending().store(0x1122334455667788);
  table->owner(16'383).store(0xaabbccdd);
  std::ifstream file(path_, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(bytes.substr(0, 8), "cachier1");
  EXPECT_EQ(bytes.substr(128, 8), "\x88\x77\x66\x55\x44\x33\x22\x11");
  EXPECT_EQ(bytes.substr(413'692, 4), "\xdd\xcc\xbb\xaa");
}

TEST_F(TableTest, CountersOfTwoTablesBeginApart) {
  const auto one = make();
  ASSERT_TRUE(one);
  const std::uint64_t first = one->counter(0).load();
  EXPECT_EQ(first % 2, 0U);
  EXPECT_EQ(one->counter(kSlots - 1).load(), first);
  const auto other = make();
  ASSERT_TRUE(other);
  EXPECT_NE(other->counter(0).load(), first);
  EXPECT_NE(first, 0U);
}

TEST_F(TableTest, AWakeWordSaysWhetherSomebodyWaits) {
  const auto made = make();
  ASSERT_TRUE(made);
  auto& word = made->wake_word(7);
  made->wake(7);
  EXPECT_EQ(word.load(), 2U);
  EXPECT_EQ(made->attend(7), 3U);
  EXPECT_EQ(made->attend(7), 3U) << "there may be several";
  EXPECT_EQ(word.load(), 3U);
  made->wake(7);
  EXPECT_EQ(word.load(), 4U);
  EXPECT_EQ(made->wake_word(8).load(), 0U);
  EXPECT_EQ(made->attend(8), 1U);
  made->wake_all();
  EXPECT_EQ(made->wake_word(8).load(), 2U);
  EXPECT_EQ(word.load(), 6U);
}

TEST_F(TableTest, WordsDoNotOverlap) {
  const auto made = make();
  ASSERT_TRUE(made);
  const Table& table = *made;
  const std::uint64_t first = table.counter(0).load();
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
    table.counter(slot).fetch_add(1);
    table.wake_word(slot).fetch_add(1);
    table.owner(slot).fetch_add(1);
  }
  table.raise_claim_generation(nullptr);
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
    ASSERT_EQ(table.counter(slot).load(), first + 1) << slot;
    ASSERT_EQ(table.wake_word(slot).load(), 1U) << slot;
    ASSERT_EQ(table.owner(slot).load(), 1U) << slot;
    ASSERT_EQ(table.outcome({slot, slot}, kNow), Outcome::none) << slot;
  }
  EXPECT_EQ(table.claim_generation(Function::intern("f")).load(), 1U);
  EXPECT_EQ(table.generation().load(), 3U);
}

TEST_F(TableTest, ADamagedOneIsAClearError) {
  ASSERT_TRUE(make());
  spoil(3, 'X');
  const auto table = open();
  ASSERT_FALSE(table);
  EXPECT_EQ(table.error(), ErrorCode::corrupt);
  EXPECT_THAT(table.error().what(), HasSubstr(path_));
  EXPECT_THAT(table.error().cause(), HasSubstr("magic"));
  EXPECT_THAT(table.error().fix(), HasSubstr("delete"));
}

TEST_F(TableTest, ATruncatedOneIsNotMapped) {
  ASSERT_TRUE(make());
  for (const std::uintmax_t size : {544'767U, 4096U, 23U, 0U}) {
    std::filesystem::resize_file(path_, size);
    const auto table = open();
    ASSERT_FALSE(table);
    EXPECT_EQ(table.error(), ErrorCode::corrupt);
    EXPECT_THAT(table.error().cause(), HasSubstr(std::to_string(size) + " bytes"));
  }
}

TEST_F(TableTest, AnotherVersionIsLeftAlone) {
  ASSERT_TRUE(make());
  spoil(8, 9);
  const auto table = open();
  ASSERT_FALSE(table);
  EXPECT_EQ(table.error(), ErrorCode::version_mismatch);
  EXPECT_THAT(table.error().cause(), HasSubstr("format is 9"));
  EXPECT_EQ(std::filesystem::file_size(path_), 544'768U);
}

TEST_F(TableTest, OutcomesAreRememberedForTheirLife) {
  const auto table = Table::in_memory();
  ASSERT_TRUE(table);
  const Digest mine{1, 0x12345678};
  const Digest other_of_slot{1, 0x12345678 + (std::uint64_t{1} << 20)};
  ASSERT_EQ(slot_of(mine), slot_of(other_of_slot));

  table->set_outcome(mine, Outcome::not_storable, kNow);
  EXPECT_EQ(table->outcome(mine, kNow), Outcome::not_storable);
  EXPECT_EQ(table->outcome(other_of_slot, kNow), Outcome::none);
  const Time last = kNow + kOutcomeLife - std::chrono::milliseconds(1);
  EXPECT_EQ(table->outcome(mine, last), Outcome::not_storable);
  EXPECT_EQ(table->outcome(mine, kNow + kOutcomeLife), Outcome::none);
  EXPECT_EQ(table->outcome(mine, kNow + std::chrono::hours(24 * 365)), Outcome::none);
  EXPECT_EQ(table->outcome(mine, kNow - std::chrono::hours(1)), Outcome::none)
      << "a clock that was set back makes nothing last";

  table->forget_outcome(other_of_slot);
  EXPECT_EQ(table->outcome(mine, kNow), Outcome::not_storable);
  table->forget_outcome(mine);
  EXPECT_EQ(table->outcome(mine, kNow), Outcome::none);
  table->set_outcome(mine, Outcome::failed, kNow);
  EXPECT_EQ(table->outcome(mine, kNow), Outcome::failed);
  table->forget_outcomes();
  EXPECT_EQ(table->outcome(mine, kNow), Outcome::none);
}

// ---- counters

TEST_F(TableTest, AnAnnouncedSlotIsOddUntilItsEnd) {
  const auto table = Table::in_memory();
  ASSERT_TRUE(table);
  {
    const Announcement announced(*table, 7);
    EXPECT_EQ(table->pending().load(), 8U);
    EXPECT_EQ(table->counter(7).load(), 1U);
    EXPECT_EQ(table->counter(6).load(), 0U);
  }
  EXPECT_EQ(table->counter(7).load(), 2U);
  EXPECT_EQ(table->pending().load(), 8U) << "never cleared";
}

TEST_F(TableTest, TheNextWriterEndsWhatADeadOneLeft) {
  const auto table = Table::in_memory();
  ASSERT_TRUE(table);
  const auto dead = new Announcement(*table, 7);  // its writer never got to the end
  settle_last_writer(*table);
  EXPECT_EQ(table->counter(7).load(), 2U);
  {
    const Announcement next(*table, 7);
    EXPECT_EQ(table->counter(7).load(), 3U);
    delete dead;  // late: it was only slow, and must not end what is not its own
    EXPECT_EQ(table->counter(7).load(), 3U);
  }
  EXPECT_EQ(table->counter(7).load(), 4U);
}

TEST_F(TableTest, AllSlotsAtOnce) {
  const auto table = Table::in_memory();
  ASSERT_TRUE(table);
  const auto slow = new Announcement(*table, kAllSlots);
  for (std::uint32_t slot = 0; slot < kSlots; ++slot)
    ASSERT_EQ(table->counter(slot).load(), 1U);
  settle_last_writer(*table);
  for (std::uint32_t slot = 0; slot < kSlots; ++slot)
    ASSERT_EQ(table->counter(slot).load(), 2U);
  const Announcement next(*table, 5);
  delete slow;
  EXPECT_EQ(table->counter(5).load(), 3U) << "the next writer's, not the late one's";
  EXPECT_EQ(table->counter(6).load(), 2U);
}

}  // namespace
}  // namespace cachier::local

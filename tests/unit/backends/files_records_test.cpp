#include "backends/files/records.hpp"

#include <gtest/gtest.h>

namespace cachier::files {
namespace {

Head head() {
  Head made;
  made.stored_at = Time(Duration(1'700'000'000'000'000'000));
  made.version = 0x0123456789abcdef;
  made.digest = {1, 2};
  made.envelope_size = 10;
  made.function = "cachier:f";
  return made;
}

TEST(FilesHead, IsReadAsItWasWritten) {
  for (const std::size_t length : {1UL, 8UL, 9UL, 72UL, 1'000UL}) {
    Head written = head();
    const std::string name(length, 'f');
    written.function = name;
    const std::string bytes = write_head(written);
    EXPECT_EQ(bytes.size(), head_size(length));
    EXPECT_EQ(bytes.size() % 64, 0U);
    const auto read = read_head(as_bytes(bytes), bytes.size() + 10);
    ASSERT_TRUE(read) << length;
    EXPECT_EQ(read->stored_at, written.stored_at);
    EXPECT_EQ(read->version, written.version);
    EXPECT_EQ(read->digest, written.digest);
    EXPECT_EQ(read->envelope_size, 10U);
    EXPECT_EQ(read->function, name);
    EXPECT_EQ(read->size, bytes.size());
    EXPECT_FALSE(read->is_tombstone());
    EXPECT_TRUE(begins_like_an_entry(as_bytes(bytes)));
  }
}

TEST(FilesHead, OfATombstoneHasNoEnvelope) {
  Head written = head();
  written.stored_at = {};
  EXPECT_FALSE(read_head(as_bytes(write_head(written)), 138));
  written.envelope_size = 0;
  const auto read = read_head(as_bytes(write_head(written)), 128);
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->is_tombstone());
  EXPECT_FALSE(begins_like_an_entry(as_bytes(write_head(written))));
}

TEST(FilesHead, IsDamagedWhereItSaysWhatCannotBe) {
  const std::string sound = write_head(head());
  EXPECT_FALSE(read_head(as_bytes(sound), sound.size() + 9)) << "the file is too short";
  EXPECT_FALSE(read_head(as_bytes(sound), sound.size() + 11)) << "or too long";
  EXPECT_FALSE(read_head(as_bytes(sound).first(127), sound.size() + 10));
  EXPECT_FALSE(read_head({}, 0));
  for (const std::size_t at : {0UL, 7UL, 43UL, 48UL, 51UL, 52UL, 70UL, 127UL}) {
    std::string bytes = sound;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x40);
    EXPECT_FALSE(read_head(as_bytes(bytes), bytes.size() + 10)) << at;
  }
  Head without = head();
  without.version = 0;
  EXPECT_FALSE(read_head(as_bytes(write_head(without)), sound.size() + 10));
}

TEST(FilesState, IsReadAsItWasWrittenAndNotOtherwise) {
  const State state{0x1111222233334444, 0x5555666677778888};
  const std::string bytes = write_state(state);
  ASSERT_EQ(bytes.size(), kStateSize);
  EXPECT_EQ(bytes.substr(0, 8), "cachier\x02");
  EXPECT_EQ(read_state(as_bytes(bytes)), state);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    EXPECT_FALSE(read_state(as_bytes(flipped))) << at;
  }
  EXPECT_FALSE(read_state(as_bytes(bytes).first(31)));
  EXPECT_FALSE(read_state(as_bytes(bytes + "x")));
  EXPECT_FALSE(read_state(as_bytes(std::string(32, '\0'))));
}

}  // namespace
}  // namespace cachier::files

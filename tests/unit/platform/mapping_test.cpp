#include "platform/mapping.hpp"
#include "support/temp_directory.hpp"

#include <fcntl.h>

#include <gtest/gtest.h>

#include <cerrno>
#include <utility>

namespace cachier::platform {
namespace {

TEST(Mapping, SharesAFile) {
  const test::TempDirectory directory;
  const File file = File::open((directory / "f").string(), O_RDWR | O_CREAT);
  ASSERT_EQ(::ftruncate(file.descriptor(), 4096), 0);
  const Mapping one = Mapping::of_file(file, 4096);
  Mapping two = Mapping::of_file(file, 4096);
  ASSERT_TRUE(one);
  ASSERT_TRUE(two);
  one.start()[17] = std::byte{5};
  EXPECT_EQ(two.start()[17], std::byte{5});

  const Mapping moved = std::move(two);
  EXPECT_EQ(moved.start()[17], std::byte{5});
  EXPECT_EQ(moved.size(), 4096U);
}

TEST(Mapping, SaysWhyThereIsNone) {
  const Mapping none = Mapping::of_file(File(), 4096);
  EXPECT_FALSE(none);
  EXPECT_EQ(errno, EBADF);
}

TEST(Mapping, AnonymousIsZeros) {
  const Mapping memory = Mapping::anonymous(8192);
  ASSERT_TRUE(memory);
  for (std::size_t at = 0; at < memory.size(); ++at)
    ASSERT_EQ(memory.start()[at], std::byte{0});
}

}  // namespace
}  // namespace cachier::platform

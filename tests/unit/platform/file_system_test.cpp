#include "platform/file_system.hpp"

#include "support/temp_directory.hpp"

#include <sys/vfs.h>

#include <gtest/gtest.h>

namespace cachier::platform {
namespace {

TEST(FileSystem, IsWhatTheSystemSays) {
  const test::TempDirectory directory;
  struct statfs status {};
  ASSERT_EQ(::statfs(directory.string().c_str(), &status), 0);
  EXPECT_EQ(file_system_of(directory.string()),
            static_cast<std::uint32_t>(status.f_type));
  EXPECT_EQ(file_system_of((directory / "missing").string()), 0U);
}

TEST(FileSystem, OfNetworksAreNotOfOneMachine) {
  for (const std::uint64_t network :
       {0x6969ULL, 0xff534d42ULL, 0xfe534d42ULL, 0x01021997ULL, 0x65735546ULL,
        0x0bd00bd0ULL, 0x00c36400ULL, 0x12345678ULL}) {
    EXPECT_FALSE(is_of_one_machine(network)) << std::hex << network;
  }
  for (const std::uint64_t own : {0xef53ULL, 0x58465342ULL, 0x9123683eULL,
                                  0x2fc12fc1ULL, 0x01021994ULL, 0x794c7630ULL, 0ULL}) {
    EXPECT_TRUE(is_of_one_machine(own)) << std::hex << own;
  }
}

TEST(FileSystem, HasANameForPeople) {
  EXPECT_EQ(name_of_file_system(0x6969), "NFS");
  EXPECT_EQ(name_of_file_system(0xfe534d42), "SMB");
  EXPECT_EQ(name_of_file_system(0x12345678), "a file system of type 0x12345678");
}

}  // namespace
}  // namespace cachier::platform

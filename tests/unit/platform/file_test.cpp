#include "platform/file.hpp"
#include "support/child_process.hpp"
#include "support/temp_directory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace cachier::platform {
namespace {

using test::Channel;
using test::ChildProcess;
using test::TempDirectory;
using ::testing::HasSubstr;

constexpr int kMake = O_RDWR | O_CREAT;

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777U;
}

TEST(File, IsMadeForThisUserAndClosedOnExec) {
  const TempDirectory directory;
  const File file = File::open((directory / "f").string(), kMake);
  ASSERT_TRUE(file);
  EXPECT_EQ(mode_of((directory / "f").string()), 0600U);
  EXPECT_EQ(::fcntl(file.descriptor(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(File, SaysWhyItIsNotOpen) {
  const File file = File::open("/nowhere/at/all", O_RDONLY);
  EXPECT_FALSE(file);
  EXPECT_EQ(errno, ENOENT);
}

TEST(File, IdentityIsTheFilesNotTheNames) {
  const TempDirectory directory;
  const std::string path = (directory / "f").string();
  const File file = File::open(path, kMake);
  const std::string other = (directory / "g").string();
  ASSERT_EQ(::link(path.c_str(), other.c_str()), 0);
  EXPECT_EQ(identity_of(path), identity_of(other));
  EXPECT_EQ(identity_of(path), identity_of(file));
  EXPECT_FALSE(identity_of((directory / "h").string()));

  ::unlink(path.c_str());
  EXPECT_TRUE(has_name(file));
  ::unlink(other.c_str());
  EXPECT_FALSE(has_name(file));
}

TEST(ByteLocks, KeepTwoDescriptionsApartByteByByte) {
  const TempDirectory directory;
  const std::string path = (directory / "f").string();
  const File one = File::open(path, kMake);
  const File two = File::open(path, kMake);
  const std::uint64_t far = (std::uint64_t{1} << 62) - 1;
  for (const std::uint64_t byte : {std::uint64_t{0}, std::uint64_t{7}, far}) {
    ASSERT_TRUE(lock_byte(one, byte, ByteLock::exclusive));
    EXPECT_FALSE(lock_byte(two, byte, ByteLock::exclusive));
    EXPECT_EQ(errno, EAGAIN);
    EXPECT_FALSE(lock_byte(two, byte, ByteLock::shared));
  }
  EXPECT_TRUE(lock_byte(two, 8, ByteLock::exclusive));
  unlock_byte(one, 7);
  EXPECT_TRUE(lock_byte(two, 7, ByteLock::exclusive));
}

TEST(ByteLocks, SharedOnesGoTogether) {
  const TempDirectory directory;
  const std::string path = (directory / "f").string();
  const File one = File::open(path, kMake);
  const File two = File::open(path, kMake);
  ASSERT_TRUE(lock_byte(one, 0, ByteLock::shared));
  EXPECT_TRUE(lock_byte(two, 0, ByteLock::shared));
  unlock_byte(two, 0);
  EXPECT_FALSE(lock_byte(two, 0, ByteLock::exclusive));
}

TEST(ByteLocks, EndWithTheirOwner) {
  const TempDirectory directory;
  const std::string path = (directory / "f").string();
  ChildProcess child([&](Channel& parent) {
    const File file = File::open(path, kMake);
    parent.send(lock_byte(file, 3, ByteLock::exclusive) ? "held" : "not held");
    (void)parent.receive();  // until it is killed
    return 0;
  });
  ASSERT_EQ(child.channel().receive(), "held");
  const File file = File::open(path, kMake);
  EXPECT_FALSE(lock_byte(file, 3, ByteLock::exclusive));
  child.kill();
  child.wait();
  EXPECT_TRUE(lock_byte(file, 3, ByteLock::exclusive));
}

TEST(PrivateDirectory, IsMadeWithItsParentsForThisUserAlone) {
  const TempDirectory directory;
  const std::string path = (directory / "a").string() + "/b/c";
  const auto made = make_private_directory(path);
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(*made, identity_of(path));
  EXPECT_EQ(mode_of(path), 0700U);
  EXPECT_EQ(mode_of((directory / "a").string()), 0700U);
  EXPECT_EQ(*make_private_directory(path + "/"), *made)
      << "and it may be there already";
}

TEST(PrivateDirectory, RefusesOneThatOthersMayWrite) {
  const TempDirectory directory;
  for (const mode_t mode : {0770U, 0707U, 0777U}) {
    ASSERT_EQ(::chmod(directory.string().c_str(), mode), 0);
    const auto answer = make_private_directory(directory.string());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error(), ErrorCode::refused);
    EXPECT_THAT(answer.error().message(), HasSubstr(directory.string()));
    EXPECT_THAT(answer.error().cause(), HasSubstr("other users may write"));
    EXPECT_THAT(answer.error().fix(), HasSubstr("chmod go-w"));
  }
  ASSERT_EQ(::chmod(directory.string().c_str(), 0755), 0);
  EXPECT_TRUE(make_private_directory(directory.string()));
}

TEST(PrivateDirectory, MayBeOpenToItsGroupWhereThatIsWanted) {
  const TempDirectory directory;
  ASSERT_EQ(::chmod(directory.string().c_str(), 0775), 0);
  EXPECT_TRUE(make_private_directory(directory.string(), Group::may_write));
  ASSERT_EQ(::chmod(directory.string().c_str(), 0777), 0);
  EXPECT_FALSE(make_private_directory(directory.string(), Group::may_write));
}

TEST(PrivateDirectory, RefusesSomebodyElses) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a directory away";
  const TempDirectory directory;
  const std::string path = (directory / "theirs").string();
  ASSERT_TRUE(make_private_directory(path));
  ASSERT_EQ(::chown(path.c_str(), 12345, 12345), 0);
  const auto answer = make_private_directory(path);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), ErrorCode::refused);
  EXPECT_THAT(answer.error().cause(), HasSubstr("it belongs to user 12345"));
  EXPECT_THAT(answer.error().fix(), HasSubstr("cache_dir"));
}

TEST(PrivateDirectory, RefusesAFile) {
  const TempDirectory directory;
  const std::string path = (directory / "f").string();
  ASSERT_TRUE(File::open(path, kMake));
  for (const std::string& one : {path, path + "/below"}) {
    const auto answer = make_private_directory(one);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error(), ErrorCode::refused);
    EXPECT_THAT(answer.error().cause(), HasSubstr("Not a directory"));
  }
}

TEST(PrivateDirectory, SaysThatPermissionIsMissing) {
  const TempDirectory directory;
  ASSERT_EQ(::chmod(directory.string().c_str(), 0555), 0);
  ChildProcess child([&](Channel& parent) {
    // Root may do everything: it would pass for nothing.
    if (::geteuid() == 0 && (::setegid(12345) != 0 || ::seteuid(12345) != 0)) return 1;
    const auto answer = make_private_directory((directory / "new").string());
    parent.send(answer ? "made" : answer.error().message());
    return 0;
  });
  const auto message = child.channel().receive();
  ASSERT_TRUE(message);
  EXPECT_THAT(*message, HasSubstr("cannot make the cache directory"));
  EXPECT_THAT(*message, HasSubstr("Permission denied"));
  EXPECT_EQ(child.wait(), 0);
}

TEST(SystemError, IsAMatterOfPermissionOrPasses) {
  EXPECT_EQ(system_error("x", EACCES), ErrorCode::refused);
  EXPECT_EQ(system_error("x", EROFS), ErrorCode::refused);
  EXPECT_EQ(system_error("x", ENOSPC), ErrorCode::unavailable);
  EXPECT_EQ(system_error("x", EMFILE), ErrorCode::unavailable);
  const Error error = system_error("cannot do it", ENOSPC);
  EXPECT_EQ(error.what(), "cannot do it");
  EXPECT_THAT(error.cause(), HasSubstr("No space left"));
  EXPECT_THAT(error.fix(), HasSubstr("free some space"));
}

}  // namespace
}  // namespace cachier::platform

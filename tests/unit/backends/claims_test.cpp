#include "backends/shared/claims.hpp"
#include "platform/file.hpp"
#include "support/child_process.hpp"
#include "support/temp_directory.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

namespace cachier::shared {
namespace {

using test::Channel;
using test::ChildProcess;
using test::TempDirectory;

constexpr Digest kDigest{0x1111222233334444, 0x5555666677778888};

class ClaimsTest : public ::testing::Test {
 protected:
  TempDirectory directory_;
  Claims mine_{directory_.string()};
  Claims theirs_{directory_.string()};  // as another process has them
};

TEST_F(ClaimsTest, OneAtATimeHereAndElsewhere) {
  const auto first = mine_.take(kDigest, 0);
  ASSERT_NE(first.serial, 0U);
  const auto again = mine_.take(kDigest, 0);
  EXPECT_EQ(again.serial, 0U);
  EXPECT_TRUE(again.here);
  const auto elsewhere = theirs_.take(kDigest, 0);
  EXPECT_EQ(elsewhere.serial, 0U);
  EXPECT_FALSE(elsewhere.here);

  EXPECT_TRUE(mine_.holds(kDigest, first.serial));
  EXPECT_FALSE(theirs_.holds(kDigest, first.serial));
  EXPECT_FALSE(theirs_.end(kDigest, first.serial));
  EXPECT_FALSE(mine_.end(kDigest, first.serial + 1));
  EXPECT_TRUE(mine_.end(kDigest, first.serial));
  EXPECT_FALSE(mine_.end(kDigest, first.serial)) << "once";
  EXPECT_NE(theirs_.take(kDigest, 0).serial, 0U);
}

TEST_F(ClaimsTest, OthersAreFree) {
  ASSERT_NE(mine_.take(kDigest, 0).serial, 0U);
  EXPECT_NE(theirs_.take({kDigest.high, kDigest.low + 4}, 0).serial, 0U);
  EXPECT_NE(mine_.take({kDigest.high + 1, kDigest.low ^ (1U << 15)}, 0).serial, 0U);
}

TEST_F(ClaimsTest, ARaisedGenerationFreesThemAndKeepsTheOwnersApart) {
  const auto old = mine_.take(kDigest, 0);
  const auto fresh = theirs_.take(kDigest, 1);
  ASSERT_NE(fresh.serial, 0U);
  EXPECT_EQ(mine_.take(kDigest, 1).serial, 0U) << "of this generation it is taken";
  EXPECT_TRUE(mine_.end(kDigest, old.serial));
  EXPECT_EQ(mine_.take(kDigest, 1).serial, 0U)
      << "the end of the old one leaves the new one alone";
  EXPECT_TRUE(theirs_.end(kDigest, fresh.serial));
}

TEST_F(ClaimsTest, EndWithTheirProcess) {
  ChildProcess child([&](Channel& parent) {
    Claims claims(directory_.string());
    parent.send(claims.take(kDigest, 0).serial != 0 ? "mine" : "busy");
    (void)parent.receive();
    return 0;
  });
  ASSERT_EQ(child.channel().receive(), "mine");
  EXPECT_EQ(mine_.take(kDigest, 0).serial, 0U);
  child.kill();
  child.wait();
  EXPECT_NE(mine_.take(kDigest, 0).serial, 0U);
}

TEST_F(ClaimsTest, AForkedChildLeavesThemToItsParent) {
  const auto claim = mine_.take(kDigest, 0);
  ASSERT_NE(claim.serial, 0U);
  mine_.before_fork();
  ChildProcess child([&](Channel& parent) {
    mine_.after_fork_in_child();
    const bool held = mine_.holds(kDigest, claim.serial);
    const bool ended = mine_.end(kDigest, claim.serial);
    const bool taken = mine_.take(kDigest, 0).serial != 0;
    parent.send(held || ended || taken ? "wrong" : "right");
    (void)parent.receive();
    return 0;
  });
  mine_.after_fork_in_parent();
  EXPECT_EQ(child.channel().receive(), "right");
  EXPECT_TRUE(mine_.holds(kDigest, claim.serial));
  EXPECT_EQ(theirs_.take(kDigest, 0).serial, 0U);
  // The child lives, and yet:
  EXPECT_TRUE(mine_.end(kDigest, claim.serial));
  EXPECT_NE(theirs_.take(kDigest, 0).serial, 0U);
}

TEST_F(ClaimsTest, ManyThreadsOneWinner) {
  for (int round = 0; round < 50; ++round) {
    const Digest digest{0, static_cast<std::uint64_t>(round) << 20};
    std::atomic<int> winners{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        Claims& claims = i % 2 == 0 ? mine_ : theirs_;
        if (claims.take(digest, 0).serial != 0) winners.fetch_add(1);
      });
    }
    for (auto& thread : threads) thread.join();
    ASSERT_EQ(winners.load(), 1) << round;
  }
}

TEST_F(ClaimsTest, FewDescriptorsHoweverMany) {
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = open_files();
  for (std::uint64_t i = 0; i < 5'000; ++i)
    ASSERT_NE(mine_.take({i, i << 7}, 0).serial, 0U) << i;
  EXPECT_LE(open_files(), before + 16);
}

TEST_F(ClaimsTest, ARemovedFileIsReplaced) {
  const auto first = mine_.take(kDigest, 0);
  ASSERT_TRUE(mine_.end(kDigest, first.serial));
  for (const auto& one : std::filesystem::directory_iterator(directory_.path()))
    std::filesystem::remove(one.path());
  ASSERT_NE(theirs_.take(kDigest, 0).serial, 0U) << "by a file of the same name";
  EXPECT_EQ(mine_.take(kDigest, 0).serial, 0U) << "seen, though the old one was open";
}

TEST(Claims, WithoutFilesTheyHoldInThisProcess) {
  Claims claims("/nowhere/at/all");
  EXPECT_NE(claims.take(kDigest, 0).serial, 0U);
  EXPECT_EQ(claims.take(kDigest, 0).serial, 0U);
}

}  // namespace
}  // namespace cachier::shared

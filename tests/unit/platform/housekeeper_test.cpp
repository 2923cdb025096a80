#include "platform/housekeeper.hpp"
#include "platform/futex.hpp"
#include "support/child_process.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace cachier::platform {
namespace {

using test::Channel;
using test::ChildProcess;

#ifdef __SANITIZE_THREAD__
constexpr bool kThreadsInChildren = false;  // ThreadSanitizer starts none there
#else
constexpr bool kThreadsInChildren = true;
#endif

class Count final : public Chore {
 public:
  void run() noexcept override { raise(runs); }
  void run_at_exit() noexcept override { raise(exits); }

  /// Until it has run more often than `seen`.
  void wait_for_more_than(std::uint32_t seen) const {
    while (runs.load() <= seen) futex_wait(runs, seen, Deadline::max(), Reach::process);
  }

  std::atomic<std::uint32_t> runs{0};
  std::atomic<std::uint32_t> exits{0};

 private:
  static void raise(std::atomic<std::uint32_t>& word) noexcept {
    word.fetch_add(1);
    futex_wake_all(word, Reach::process);
  }
};

TEST(Housekeeper, RunsWhatIsAskedFor) {
  const auto chore = std::make_shared<Count>();
  const auto other = std::make_shared<Count>();
  add_chore(chore);
  add_chore(other);
  for (std::uint32_t round = 0; round < 100; ++round) {
    const std::uint32_t seen = chore->runs.load();
    request_chore(*chore);
    chore->wait_for_more_than(seen);
  }
  EXPECT_EQ(other->runs.load(), 0U);
  EXPECT_EQ(chore->exits.load(), 0U);
}

TEST(Housekeeper, StartsAnewInAChild) {
  if (!kThreadsInChildren) GTEST_SKIP() << "no threads in forked children";
  const auto chore = std::make_shared<Count>();
  add_chore(chore);
  request_chore(*chore);
  chore->wait_for_more_than(0);
  ChildProcess child([&](Channel&) {
    const std::uint32_t seen = chore->runs.load();
    request_chore(*chore);
    chore->wait_for_more_than(seen);
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);
}

TEST(Housekeeper, ShutDownRunsTheLastOfItOnce) {
  if (!kThreadsInChildren) GTEST_SKIP() << "no threads in forked children";
  const auto chore = std::make_shared<Count>();
  add_chore(chore);
  ChildProcess child([&](Channel&) {
    request_chore(*chore);
    chore->wait_for_more_than(0);
    shutdown_housekeeper();
    shutdown_housekeeper();
    const std::uint32_t runs = chore->runs.load();
    request_chore(*chore);
    return chore->exits.load() == 1 && chore->runs.load() == runs ? 0 : 1;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(chore->exits.load(), 0U);
}

}  // namespace
}  // namespace cachier::platform

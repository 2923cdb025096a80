#include "platform/mapping.hpp"
#include "platform/futex.hpp"
#include "platform/housekeeper.hpp"
#include "support/child_process.hpp"
#include "support/temp_directory.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
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

using test::Channel;
using test::ChildProcess;

constexpr std::size_t kSize = 3 * 4096;

/// A file of that size, in a directory that lives as long.
struct Shortened {
  Shortened() {
    file = File::open((directory / "f").string(), O_RDWR | O_CREAT);
    EXPECT_EQ(::ftruncate(file.descriptor(), kSize), 0);
  }
  void shorten() const { EXPECT_EQ(::ftruncate(file.descriptor(), 100), 0); }

  const test::TempDirectory directory;
  File file;
};

TEST(ShortenedMapping, BecomesZeros) {
  const Shortened it;
  ChildProcess child([&](Channel&) {
    const Mapping one = Mapping::of_file(it.file, kSize);
    const Mapping two = Mapping::of_file(it.file, kSize);
    one.start()[50] = one.start()[5'000] = std::byte{7};
    it.shorten();
    if (two.start()[50] != std::byte{7}) return 1;  // what is left is still there
    if (one.start()[5'000] != std::byte{0}) return 2;
    if (one.start()[50] != std::byte{0}) return 3;
    one.start()[9'000] = std::byte{8};
    if (one.start()[9'000] != std::byte{8}) return 4;
    return two.start()[9'000] == std::byte{0} ? 0 : 5;
  });
  EXPECT_EQ(child.wait(), 0);
}

const std::byte* map_without_guard(const File& file) {
  void* const start =
      ::mmap(nullptr, kSize, PROT_READ, MAP_SHARED, file.descriptor(), 0);
  return static_cast<const std::byte*>(start);
}

TEST(ShortenedMapping, BecomesZerosForTheHousekeeperToo) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "no threads in forked children";
#endif
  class Reads final : public Chore {
   public:
    explicit Reads(const std::byte* at) noexcept : at_(at) {}
    void run() noexcept override {
      found = 1 + std::to_integer<std::uint32_t>(
                      *static_cast<const volatile std::byte*>(at_));
      futex_wake_all(found, Reach::process);
    }
    void run_at_exit() noexcept override {}

    std::atomic<std::uint32_t> found{0};

   private:
    const std::byte* at_;
  };
  const Shortened it;
  ChildProcess child([&](Channel&) {
    const Mapping one = Mapping::of_file(it.file, kSize);
    one.start()[5'000] = std::byte{7};
    const auto reads = std::make_shared<Reads>(one.start() + 5'000);
    add_chore(reads);
    it.shorten();
    request_chore(*reads);
    while (reads->found == 0)
      futex_wait(reads->found, 0, Deadline::max(), Reach::process);
    return static_cast<int>(reads->found) - 1;
  });
  EXPECT_EQ(child.wait(), 0);
}

TEST(ShortenedMapping, OfSomebodyElseIsHisAffair) {
  const Shortened it;
  ChildProcess child([&](Channel&) {
    ::signal(SIGBUS, SIG_DFL);  // not what a sanitizer makes of it
    const Mapping ours = Mapping::of_file(it.file, kSize);
    const std::byte* const theirs = map_without_guard(it.file);
    it.shorten();
    return std::to_integer<int>(const_cast<const volatile std::byte*>(theirs)[5'000]);
  });
  EXPECT_EQ(child.wait(), 128 + SIGBUS);
}

TEST(ShortenedMapping, OfSomebodyElseReachesHisHandler) {
  const Shortened it;
  ChildProcess child([&](Channel&) {
    ::signal(SIGBUS, [](int) { ::_exit(42); });
    const Mapping ours = Mapping::of_file(it.file, kSize);
    const std::byte* const theirs = map_without_guard(it.file);
    it.shorten();
    return std::to_integer<int>(const_cast<const volatile std::byte*>(theirs)[5'000]);
  });
  EXPECT_EQ(child.wait(), 42);
}

TEST(ShortenedMapping, OnesEndIsAnothersBeginning) {
  const Shortened it;
  ChildProcess child([&](Channel&) {
    for (int n = 0; n < 1'000; ++n) (void)Mapping::of_file(it.file, kSize);
    const Mapping one = Mapping::of_file(it.file, kSize);
    it.shorten();
    return std::to_integer<int>(one.start()[5'000]);
  });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace cachier::platform

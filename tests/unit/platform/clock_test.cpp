#include "platform/clock.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace cachier::platform {
namespace {

TEST(Clock, WallIsTheSystemsUnlessReplaced) {
  const Time before = std::chrono::system_clock::now();
  const Time now = wall_now();
  const Time after = std::chrono::system_clock::now();
  EXPECT_LE(before, now);
  EXPECT_LE(now, after);

  set_wall_clock([]() noexcept { return Time(Duration(42)); });
  EXPECT_EQ(wall_now(), Time(Duration(42)));
  set_wall_clock(nullptr);
  EXPECT_GE(wall_now(), after);
}

TEST(Clock, CoarseWallIsTheWallOfAMomentAgo) {
  const Time coarse = coarse_wall_now();
  const Time now = wall_now();
  EXPECT_LE(coarse, now);
  EXPECT_LT(now - coarse, std::chrono::minutes(1));

  set_wall_clock([]() noexcept { return Time(Duration(42)); });
  EXPECT_EQ(coarse_wall_now(), Time(Duration(42)));
  set_wall_clock(nullptr);
}

TEST(Clock, MonotonicClocksAgree) {
  const std::int64_t coarse = coarse_now();
  const auto fine = std::chrono::steady_clock::now().time_since_epoch();
  const std::uint64_t milliseconds = monotonic_milliseconds();
  EXPECT_LE(coarse, fine.count());
  EXPECT_LE(static_cast<std::uint64_t>(fine.count()) / 1'000'000, milliseconds);
}

TEST(Clock, PausesAtLeastAsLongAsAskedFor) {
  const auto before = std::chrono::steady_clock::now();
  pause_for(std::chrono::microseconds(1'500));
  EXPECT_GE(std::chrono::steady_clock::now() - before,
            std::chrono::microseconds(1'500));
}

}  // namespace
}  // namespace cachier::platform

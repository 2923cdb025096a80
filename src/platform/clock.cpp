#include "platform/clock.hpp"

#include <time.h>

#include <atomic>
#include <chrono>

namespace cachier::platform {
namespace {

std::atomic<Time (*)() noexcept> wall_clock{nullptr};

std::int64_t nanoseconds_of(clockid_t clock) noexcept {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

Time wall_now() noexcept {
  if (const auto clock = wall_clock.load(std::memory_order_relaxed)) return clock();
  return Time(Duration(nanoseconds_of(CLOCK_REALTIME)));
}

Time coarse_wall_now() noexcept {
  if (const auto clock = wall_clock.load(std::memory_order_relaxed)) return clock();
  return Time(Duration(nanoseconds_of(CLOCK_REALTIME_COARSE)));
}

void set_wall_clock(Time (*clock)() noexcept) noexcept {
  wall_clock.store(clock, std::memory_order_relaxed);
}

std::int64_t coarse_now() noexcept { return nanoseconds_of(CLOCK_MONOTONIC_COARSE); }

std::uint64_t monotonic_milliseconds() noexcept {
  return static_cast<std::uint64_t>(nanoseconds_of(CLOCK_MONOTONIC)) / 1'000'000;
}

void pause_for(std::chrono::microseconds time) noexcept {
  timespec wish{};
  wish.tv_sec = static_cast<time_t>(time.count() / 1'000'000);
  wish.tv_nsec = static_cast<long>(time.count() % 1'000'000) * 1000;
  ::nanosleep(&wish, nullptr);
}

}  // namespace cachier::platform

#include "platform/random.hpp"

#include "platform/fork.hpp"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

namespace cachier::platform {
namespace {

std::uint64_t seed() noexcept {
  std::uint64_t bits = 0;
  if (::getrandom(&bits, sizeof bits, 0) == sizeof bits) return bits;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_nsec) << 32 ^
         static_cast<std::uint64_t>(::getpid());
}

}  // namespace

std::uint64_t random_bits() noexcept {
  // SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
  thread_local std::uint64_t state = 0;
  thread_local std::uint64_t seeded_after = ~std::uint64_t{0};
  if (const std::uint64_t forks = fork_count(); seeded_after != forks) {
    seeded_after = forks;
    state = seed();
  }
  std::uint64_t bits = 0;
  do {
    bits = state += 0x9e3779b97f4a7c15;
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111eb;
    bits ^= bits >> 31;
  } while (bits == 0);
  return bits;
}

}  // namespace cachier::platform

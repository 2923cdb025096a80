#include "platform/sigbus.hpp"

#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace cachier::platform {
namespace {

struct Range {
  std::atomic<std::byte*> start{nullptr};  // null: free
  std::atomic<std::size_t> size{0};
};

constinit std::array<Range, 256> ranges;
constinit std::atomic<bool> installed{false};
struct sigaction before;  // the handler that was there

bool holds(const Range& range, const void* at) noexcept {
  const auto start = reinterpret_cast<std::uintptr_t>(range.start.load());
  const auto place = reinterpret_cast<std::uintptr_t>(at);
  return start != 0 && place >= start && place - start < range.size.load();
}

// Only what a signal handler may do (signal-safety(7); mmap is a bare system call).
void on_sigbus(int number, siginfo_t* info, void* context) {
  const int error_number = errno;
  const bool is_access = info->si_code > 0;
  for (const Range& range : ranges) {
    if (!is_access || !holds(range, info->si_addr)) continue;
    const void* const mapped =
        ::mmap(range.start.load(), range.size.load(), PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    errno = error_number;
    if (mapped != MAP_FAILED) return;
  }
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(number, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(number);
  } else {
    // As if there were none: an access happens again as soon as this returns.
    ::signal(SIGBUS, before.sa_handler);
    if (!is_access) ::raise(SIGBUS);
  }
}

bool is_wanted() noexcept {
  const char* const set = std::getenv("CACHIER_NO_SIGBUS_HANDLER");
  return set == nullptr || *set == '\0' || std::string_view(set) == "0";
}

void install_once() noexcept {
  if (!is_wanted() || installed.exchange(true)) return;
  struct sigaction ours {};
  ours.sa_sigaction = on_sigbus;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&ours.sa_mask);
  ::sigaction(SIGBUS, nullptr, &before);
  ::sigaction(SIGBUS, &ours, nullptr);
}

}  // namespace

void guard_range(std::byte* start, std::size_t size) noexcept {
  install_once();
  for (Range& range : ranges) {
    // The size takes the place, the start makes it count.
    std::size_t none = 0;
    if (!range.size.compare_exchange_strong(none, size)) continue;
    range.start.store(start);
    return;
  }
}

void unguard_range(const std::byte* start) noexcept {
  for (Range& range : ranges) {
    if (range.start.load() != start) continue;
    range.start.store(nullptr);
    range.size.store(0);
    return;
  }
}

}  // namespace cachier::platform

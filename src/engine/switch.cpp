/// Caching on and off for the whole process.

#include <cachier/options.hpp>

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace cachier {
namespace {

bool enabled_by_environment() noexcept {
  const char* const disable = std::getenv("CACHIER_DISABLE");
  if (disable == nullptr) return true;
  const std::string_view value(disable);
  return value.empty() || value == "0";
}

std::atomic<bool>& enabled() noexcept {
  static std::atomic<bool> on{enabled_by_environment()};
  return on;
}

}  // namespace

void enable_caching() noexcept { enabled().store(true, std::memory_order_relaxed); }
void disable_caching() noexcept { enabled().store(false, std::memory_order_relaxed); }
bool caching_enabled() noexcept { return enabled().load(std::memory_order_relaxed); }

}  // namespace cachier

/// Caching on and off for the whole process.

#include <cachier/options.hpp>

#include <cstdlib>
#include <string_view>

namespace cachier {
namespace {

bool disabled_by_environment() noexcept {
  const char* const disable = std::getenv("CACHIER_DISABLE");
  if (disable == nullptr) return false;
  const std::string_view value(disable);
  return !value.empty() && value != "0";
}

}  // namespace

// Set when the library is loaded; before that, nothing, and caching is on.
std::atomic<bool> detail::caching_disabled{disabled_by_environment()};

void enable_caching() noexcept {
  detail::caching_disabled.store(false, std::memory_order_relaxed);
}
void disable_caching() noexcept {
  detail::caching_disabled.store(true, std::memory_order_relaxed);
}

}  // namespace cachier

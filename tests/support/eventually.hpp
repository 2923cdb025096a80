#pragma once

/// Waiting for what another thread or process does, where nothing announces it.

#include <chrono>
#include <functional>
#include <thread>

namespace cachier::test {

/// Whether `holds` comes true, asked again and again for up to 20 s.
[[nodiscard]] inline bool eventually(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace cachier::test

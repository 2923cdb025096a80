#pragma once

/// Where this user's things are.

#include <string>

namespace cachier::plugins {

/// `path` with a leading `~` or `~name` replaced by that user's home directory, as
/// shells do it; unchanged where there is none. Thread-safe.
[[nodiscard]] std::string expand_user(const std::string& path);

}  // namespace cachier::plugins

#pragma once

/// Where the library's own messages go. It never prints.

#include <cachier/export.hpp>

#include <cstdint>
#include <functional>
#include <string_view>

namespace cachier {

enum class LogLevel : std::uint8_t { info, warning, error };

/// Receives every message, possibly from several threads at once; must not throw and
/// must not call cached functions. Several lines come as one message.
using LogSink = std::function<void(LogLevel level, std::string_view message)>;

/// From now on messages go to `sink`; an empty one silences them, as at the start.
/// Thread-safe; a message that is on its way may still reach the former sink.
CACHIER_API void set_log_sink(LogSink sink);

/// Hands a message to the sink, if there is one.
CACHIER_API void log(LogLevel level, std::string_view message) noexcept;

/// The same for what would be said at every call: each sink gets one message of a
/// `subject`, the first.
CACHIER_API void log_once(LogLevel level, std::string_view subject,
                          std::string_view message) noexcept;

}  // namespace cachier

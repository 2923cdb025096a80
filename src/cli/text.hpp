#pragma once

/// Numbers, times and foreign text as people and programs read them.

#include <cachier/entry.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cachier::cli {

/// `812 B`, `3.4 KB`, `1.2 GB`: powers of 1024.
[[nodiscard]] std::string human_size(std::uint64_t bytes);
/// `1 entry`, `3 entries`: the number and the word that goes with it.
[[nodiscard]] std::string plural(std::uint64_t count, std::string_view one,
                                 std::string_view many);
/// `45 s`, `3 min`, `5 h`, `2 d`; `now` below a second, also where clocks differ.
[[nodiscard]] std::string human_age(Duration age);
/// `2026-03-01T12:00:00Z`, with as many digits of the second as it has.
[[nodiscard]] std::string iso_time(Time time);
/// A length of time as options take it: `90s`, `15m`, `12h`, `7d`, `2w`. Nothing: it is
/// not one, or longer than 292 years.
[[nodiscard]] std::optional<Duration> parse_duration(std::string_view text);

/// The text with what could steer a terminal, or is not UTF-8, written as `\xNN`.
[[nodiscard]] std::string printable(std::string_view text);
/// How many columns a printable text takes, a character a column.
[[nodiscard]] std::size_t columns(std::string_view text) noexcept;
/// The text in at most `width` columns; where it is cut, it ends in an ellipsis.
[[nodiscard]] std::string cut(std::string_view text, std::size_t width);

[[nodiscard]] std::string hexadecimal(Bytes bytes);

/// A JSON object that is written field by field, in order. Text that is not UTF-8 is
/// given with U+FFFD for each byte that is at fault.
class JsonObject {
 public:
  JsonObject& text(std::string_view name, std::string_view value);
  JsonObject& number(std::string_view name, std::uint64_t value);
  JsonObject& boolean(std::string_view name, bool value);
  JsonObject& null(std::string_view name);
  /// The object, on one line without its end.
  [[nodiscard]] std::string take();

 private:
  void name(std::string_view name);
  std::string text_;
};

}  // namespace cachier::cli

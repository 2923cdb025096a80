#include "cli/text.hpp"

#include <cachier/cbor.hpp>

#include <array>
#include <charconv>
#include <cstdio>

namespace cachier::cli {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

void append_hex(std::string& text, unsigned byte) {
  text += kHexDigits[byte >> 4 & 15u];
  text += kHexDigits[byte & 15u];
}

/// Length of the character that `text` begins with; 0: it is not UTF-8.
std::size_t character(std::string_view text) noexcept {
  for (std::size_t size = 1; size <= std::min<std::size_t>(4, text.size()); ++size) {
    if (cbor::is_utf8(text.substr(0, size))) return size;
  }
  return 0;
}

/// C0 and C1 controls, DEL, and the marks that reorder or hide what stands beside them.
bool steers(std::string_view one) noexcept {
  const auto first = static_cast<unsigned char>(one[0]);
  if (one.size() == 1) return first < 0x20 || first == 0x7f;
  const auto second = static_cast<unsigned char>(one[1]);
  if (one.size() == 2) return first == 0xc2 && second < 0xa0;
  if (one.size() != 3 || first != 0xe2) return false;
  const auto third = static_cast<unsigned char>(one[2]);
  if (second == 0x80)
    return (third >= 0x8b && third <= 0x8f) || (third >= 0xa8 && third <= 0xae);
  return second == 0x81 && third >= 0xa6 && third <= 0xa9;
}

std::string quoted(std::string_view text) {
  std::string json = "\"";
  while (!text.empty()) {
    const std::size_t size = character(text);
    if (size == 0) {
      json += "\\ufffd";
      text.remove_prefix(1);
      continue;
    }
    const std::string_view one = text.substr(0, size);
    text.remove_prefix(size);
    if (one == "\"" || one == "\\") {
      json += '\\';
      json += one;
    } else if (one == "\n") {
      json += "\\n";
    } else if (size == 1 && static_cast<unsigned char>(one[0]) < 0x20) {
      json += "\\u00";
      append_hex(json, static_cast<unsigned char>(one[0]));
    } else {
      json += one;
    }
  }
  return json + "\"";
}

std::string one_decimal(double number, std::string_view unit) {
  std::array<char, 32> text;
  const int size = std::snprintf(text.data(), text.size(), "%.1f ", number);
  return std::string(text.data(), static_cast<std::size_t>(size)) + std::string(unit);
}

}  // namespace

std::string human_size(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  constexpr std::array<std::string_view, 6> kUnits = {"KB", "MB", "GB",
                                                      "TB", "PB", "EB"};
  double number = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  // 1023.95 would be shown as 1024.0.
  while (number >= 1023.95 && unit + 1 < kUnits.size()) {
    number /= 1024;
    ++unit;
  }
  return one_decimal(number, kUnits[unit]);
}

std::string plural(std::uint64_t count, std::string_view one, std::string_view many) {
  return std::to_string(count) + " " + std::string(count == 1 ? one : many);
}

std::string human_age(Duration age) {
  using std::chrono::floor;
  const auto count = [](auto time, std::string_view unit) {
    return std::to_string(time.count()) + " " + std::string(unit);
  };
  if (age < std::chrono::seconds(1)) return "now";
  if (age < std::chrono::minutes(2))
    return count(floor<std::chrono::seconds>(age), "s");
  if (age < std::chrono::hours(2)) {
    return count(floor<std::chrono::minutes>(age), "min");
  }
  if (age < std::chrono::days(2)) return count(floor<std::chrono::hours>(age), "h");
  return count(floor<std::chrono::days>(age), "d");
}

std::string iso_time(Time time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss<Duration> clock(time - day);
  std::array<char, 64> text;
  int size = std::snprintf(
      text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d",
      static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
      static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
      static_cast<int>(clock.minutes().count()),
      static_cast<int>(clock.seconds().count()));
  std::string result(text.data(), static_cast<std::size_t>(size));
  if (const auto rest = clock.subseconds().count(); rest != 0) {
    size = std::snprintf(text.data(), text.size(), ".%09lld",
                         static_cast<long long>(rest));
    result.append(text.data(), static_cast<std::size_t>(size));
    result.erase(result.find_last_not_of('0') + 1);
  }
  return result + "Z";
}

std::optional<Duration> parse_duration(std::string_view text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failed] = std::from_chars(text.data(), end, number);
  if (failed != std::errc() || rest + 1 != end) return std::nullopt;
  std::uint64_t seconds = 0;
  switch (*rest) {
    case 's':
      seconds = 1;
      break;
    case 'm':
      seconds = 60;
      break;
    case 'h':
      seconds = 3'600;
      break;
    case 'd':
      seconds = 86'400;
      break;
    case 'w':
      seconds = 604'800;
      break;
    default:
      return std::nullopt;
  }
  constexpr auto kMost = static_cast<std::uint64_t>(Duration::max().count());
  constexpr std::uint64_t kSecond = 1'000'000'000;
  if (number > kMost / kSecond / seconds) return std::nullopt;
  return Duration(static_cast<Duration::rep>(number * seconds * kSecond));
}

std::string printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::size_t size = std::max<std::size_t>(character(text), 1);
    const std::string_view one = text.substr(0, size);
    const bool sound = character(one) != 0;
    if (sound && !steers(one)) {
      result += one;
    } else {
      for (const char byte : one) {
        result += "\\x";
        append_hex(result, static_cast<unsigned char>(byte));
      }
    }
    text.remove_prefix(size);
  }
  return result;
}

std::size_t columns(std::string_view text) noexcept {
  std::size_t count = 0;
  for (const char byte : text) {
    if ((static_cast<unsigned char>(byte) & 0xc0u) != 0x80u) ++count;
  }
  return count;
}

std::string cut(std::string_view text, std::size_t width) {
  if (columns(text) <= width) return std::string(text);
  std::size_t end = 0;
  std::size_t taken = 0;
  while (end < text.size() && taken + 1 < width) {
    end += std::max<std::size_t>(character(text.substr(end)), 1);
    ++taken;
  }
  return std::string(text.substr(0, end)) + (width > 0 ? "…" : "");
}

std::string hexadecimal(Bytes bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) append_hex(text, std::to_integer<unsigned>(byte));
  return text;
}

void JsonObject::name(std::string_view name) {
  text_ += text_.empty() ? "{" : ", ";
  text_ += quoted(name);
  text_ += ": ";
}

JsonObject& JsonObject::text(std::string_view field, std::string_view value) {
  name(field);
  text_ += quoted(value);
  return *this;
}

JsonObject& JsonObject::number(std::string_view field, std::uint64_t value) {
  name(field);
  text_ += std::to_string(value);
  return *this;
}

JsonObject& JsonObject::boolean(std::string_view field, bool value) {
  name(field);
  text_ += value ? "true" : "false";
  return *this;
}

JsonObject& JsonObject::null(std::string_view field) {
  name(field);
  text_ += "null";
  return *this;
}

std::string JsonObject::take() {
  if (text_.empty()) text_ = "{";
  return std::move(text_) + "}";
}

}  // namespace cachier::cli

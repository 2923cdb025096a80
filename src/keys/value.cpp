#include <cachier/value.hpp>

namespace cachier::detail {
namespace {

constexpr std::int64_t kNanosecondsOfSecond = 1'000'000'000;

bool in_range(std::int64_t number, std::int64_t low, std::int64_t high) noexcept {
  return number >= low && number <= high;
}

/// Microseconds as an integer, or nanoseconds as tag 4 [-3, n].
bool decode_fraction(cbor::Reader& reader, std::int64_t& nanoseconds) {
  constexpr const char* kExpected = "a part of a second";
  if (reader.peek() == 0xc4) {
    std::uint64_t parts = 0;
    std::int64_t exponent = 0;
    if (!tag(reader, Tag::decimal_fraction) || !reader.array(parts)) return false;
    if (parts != 2) return reader.refuse(kExpected);
    if (!reader.integer(exponent) || !reader.integer(nanoseconds)) return false;
    return (exponent == -3 && in_range(nanoseconds, 0, kNanosecondsOfSecond - 1)) ||
           reader.refuse(kExpected);
  }
  if (!reader.integer(nanoseconds)) return false;
  if (!in_range(nanoseconds, 0, 999'999)) return reader.refuse(kExpected);
  nanoseconds *= 1000;
  return true;
}

bool decode_day(cbor::Reader& reader, std::chrono::year_month_day& date) {
  std::int64_t year = 0;
  std::int64_t month = 0;
  std::int64_t day = 0;
  if (!reader.integer(year) || !reader.integer(month) || !reader.integer(day)) {
    return false;
  }
  if (in_range(year, -32'767, 32'767) && in_range(month, 1, 12) &&
      in_range(day, 1, 31)) {
    date = {std::chrono::year(static_cast<int>(year)),
            std::chrono::month(static_cast<unsigned>(month)),
            std::chrono::day(static_cast<unsigned>(day))};
    if (date.ok()) return true;
  }
  return reader.refuse("a date");
}

bool decode_utc(cbor::Reader& reader) {
  std::uint64_t parts = 0;
  std::int64_t offset = 0;
  if (!tag(reader, Tag::timezone) || !reader.array(parts)) return false;
  if (parts != 1) return reader.refuse("the zone UTC");
  return reader.integer(offset) && (offset == 0 || reader.refuse("the zone UTC"));
}

}  // namespace

bool decode_duration(cbor::Reader& reader, DaysAndRest& time) {
  std::uint64_t parts = 0;
  std::int64_t seconds = 0;
  std::int64_t fraction = 0;
  if (!tag(reader, Tag::timedelta) || !reader.array(parts)) return false;
  if (parts != 3) return reader.refuse("days, seconds and microseconds");
  if (!reader.integer(time.days) || !reader.integer(seconds)) return false;
  if (!in_range(seconds, 0, kSecondsOfDay - 1)) {
    return reader.refuse("seconds of one day");
  }
  if (!decode_fraction(reader, fraction)) return false;
  time.nanoseconds = seconds * kNanosecondsOfSecond + fraction;
  return true;
}

bool decode_datetime(cbor::Reader& reader, DaysAndRest& time, bool utc) {
  std::uint64_t parts = 0;
  std::chrono::year_month_day date;
  std::int64_t hour = 0;
  std::int64_t minute = 0;
  std::int64_t second = 0;
  std::int64_t fraction = 0;
  if (!tag(reader, Tag::datetime) || !reader.array(parts)) return false;
  if (parts != (utc ? 8u : 7u)) {
    return reader.refuse(utc ? "a time with the zone UTC" : "a time without a zone");
  }
  if (!decode_day(reader, date) || !reader.integer(hour) || !reader.integer(minute) ||
      !reader.integer(second)) {
    return false;
  }
  if (!in_range(hour, 0, 23) || !in_range(minute, 0, 59) || !in_range(second, 0, 59)) {
    return reader.refuse("a time of day");
  }
  if (!decode_fraction(reader, fraction)) return false;
  time.days = std::chrono::sys_days(date).time_since_epoch().count();
  time.nanoseconds =
      (hour * 3600 + minute * 60 + second) * kNanosecondsOfSecond + fraction;
  return !utc || decode_utc(reader);
}

bool decode_date(cbor::Reader& reader, std::chrono::year_month_day& date) {
  std::uint64_t parts = 0;
  if (!tag(reader, Tag::date) || !reader.array(parts)) return false;
  return parts == 3 ? decode_day(reader, date) : reader.refuse("a date");
}

bool decode_text(cbor::Reader& reader, std::string& text) {
  cbor::Item item;
  if (!reader.next(item)) return false;
  if (item.kind == cbor::Kind::tag &&
      item.number == static_cast<std::uint64_t>(Tag::other_text)) {
    Bytes bytes;
    if (!reader.bytes(bytes)) return false;
    text.assign(as_text(bytes));
    return true;
  }
  if (item.kind != cbor::Kind::text) return reader.refuse("text");
  text.assign(item.text());
  return true;
}

}  // namespace cachier::detail

#include <cachier/key.hpp>

namespace cachier::detail {
namespace {

constexpr std::int64_t kNanosecondsOfSecond = 1'000'000'000;

struct Civil {
  std::int64_t year;
  unsigned month, day;
};

/// The date of a day counted from 1970-01-01, in the Gregorian calendar without end.
Civil civil_of(std::int64_t days) noexcept {
  // Counted from a 1st of March at the beginning of a cycle of 400 years, leap days
  // come last.
  constexpr std::int64_t kCycle = 146'097;
  constexpr std::int64_t kFromMarchOfYear0 = 719'468;
  std::int64_t cycle = days / kCycle;
  std::int64_t in_cycle = days % kCycle + kFromMarchOfYear0;
  cycle += in_cycle / kCycle;
  in_cycle %= kCycle;
  if (in_cycle < 0) {
    in_cycle += kCycle;
    --cycle;
  }
  const std::int64_t year_of_cycle =
      (in_cycle - in_cycle / 1460 + in_cycle / 36'524 - in_cycle / 146'096) / 365;
  const std::int64_t day_of_year =
      in_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
  const std::int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const auto day =
      static_cast<unsigned>(day_of_year - (153 * month_from_march + 2) / 5 + 1);
  const auto month = static_cast<unsigned>(
      month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
  return {400 * cycle + year_of_cycle + (month <= 2 ? 1 : 0), month, day};
}

void encode_fraction(cbor::Writer& writer, std::int64_t nanoseconds) {
  if (nanoseconds % 1000 == 0) return writer.integer(nanoseconds / 1000);
  tag(writer, Tag::decimal_fraction);
  writer.array(2);
  writer.integer(-3);
  writer.integer(nanoseconds);
}

}  // namespace

void encode_duration(cbor::Writer& writer, DaysAndRest time) {
  tag(writer, Tag::timedelta);
  writer.array(3);
  writer.integer(time.days);
  writer.integer(time.nanoseconds / kNanosecondsOfSecond);
  encode_fraction(writer, time.nanoseconds % kNanosecondsOfSecond);
}

void encode_datetime(cbor::Writer& writer, DaysAndRest time, bool utc) {
  const Civil date = civil_of(time.days);
  const std::int64_t seconds = time.nanoseconds / kNanosecondsOfSecond;
  tag(writer, Tag::datetime);
  writer.array(utc ? 8 : 7);
  writer.integer(date.year);
  writer.unsigned_int(date.month);
  writer.unsigned_int(date.day);
  writer.integer(seconds / 3600);
  writer.integer(seconds / 60 % 60);
  writer.integer(seconds % 60);
  encode_fraction(writer, time.nanoseconds % kNanosecondsOfSecond);
  if (utc) {
    tag(writer, Tag::timezone);
    writer.array(1);
    writer.integer(0);
  }
}

void encode_date(cbor::Writer& writer, std::int64_t year, unsigned month,
                 unsigned day) {
  tag(writer, Tag::date);
  writer.array(3);
  writer.integer(year);
  writer.unsigned_int(month);
  writer.unsigned_int(day);
}

}  // namespace cachier::detail

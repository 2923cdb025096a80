#include "cli/text.hpp"

#include <gtest/gtest.h>

namespace cachier::cli {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(HumanSize, HasAUnitAndADecimal) {
  EXPECT_EQ(human_size(0), "0 B");
  EXPECT_EQ(human_size(1023), "1023 B");
  EXPECT_EQ(human_size(1024), "1.0 KB");
  EXPECT_EQ(human_size(1024 * 1024 - 1), "1.0 MB");
  EXPECT_EQ(human_size(std::uint64_t{5} << 30U), "5.0 GB");
  EXPECT_EQ(human_size(~std::uint64_t{0}), "16.0 EB");
}

TEST(HumanAge, RoundsDown) {
  EXPECT_EQ(human_age(nanoseconds(0)), "now");
  EXPECT_EQ(human_age(seconds(-5)), "now");
  EXPECT_EQ(human_age(seconds(119)), "119 s");
  EXPECT_EQ(human_age(seconds(120)), "2 min");
  EXPECT_EQ(human_age(minutes(119)), "119 min");
  EXPECT_EQ(human_age(hours(47)), "47 h");
  EXPECT_EQ(human_age(days(2)), "2 d");
}

TEST(IsoTime, IsUtcWithTheDigitsThatCount) {
  EXPECT_EQ(iso_time(Time{}), "1970-01-01T00:00:00Z");
  EXPECT_EQ(iso_time(Time{seconds(1'700'000'000)}), "2023-11-14T22:13:20Z");
  EXPECT_EQ(iso_time(Time{nanoseconds(500'000'000)}), "1970-01-01T00:00:00.5Z");
  EXPECT_EQ(iso_time(Time{nanoseconds(-1)}), "1969-12-31T23:59:59.999999999Z");
}

TEST(ParseDuration, TakesOneNumberAndOneUnit) {
  EXPECT_EQ(parse_duration("90s"), seconds(90));
  EXPECT_EQ(parse_duration("15m"), minutes(15));
  EXPECT_EQ(parse_duration("12h"), hours(12));
  EXPECT_EQ(parse_duration("7d"), days(7));
  EXPECT_EQ(parse_duration("2w"), days(14));
  EXPECT_EQ(parse_duration("0s"), seconds(0));
}

TEST(ParseDuration, RefusesEverythingElse) {
  for (const char* text : {"", "7", "d", "-7d", "7 d", "7dd", "1d12h", "7y", "1.5h",
                           "+7d", "99999999999999999999d", "9999999999w"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(Printable, KeepsText) {
  EXPECT_EQ(printable("plain 'text' \\ ü 漢 😀"), "plain 'text' \\ ü 漢 😀");
}

TEST(Printable, DisarmsWhatSteersATerminal) {
  EXPECT_EQ(printable("a\x1b[31mb\n"), "a\\x1b[31mb\\x0a");
  EXPECT_EQ(printable("\x7f"), "\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");           // CSI in one character
  EXPECT_EQ(printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");  // right-to-left override
}

TEST(Printable, ShowsBytesThatAreNotText) {
  EXPECT_EQ(printable("a\xff\xc3"), "a\\xff\\xc3");
}

TEST(Cut, LeavesRoomForTheEllipsis) {
  EXPECT_EQ(cut("abcdef", 6), "abcdef");
  EXPECT_EQ(cut("abcdef", 4), "abc…");
  EXPECT_EQ(cut("äöüß", 3), "äö…");
  EXPECT_EQ(columns(cut("äöüß", 3)), 3U);
  EXPECT_EQ(cut("ab", 0), "");
}

TEST(JsonObject, EscapesText) {
  EXPECT_EQ(JsonObject().text("a", "\"\\\n\x01 ü\xff").take(),
            "{\"a\": \"\\\"\\\\\\n\\u0001 ü\\ufffd\"}");
}

TEST(JsonObject, KeepsTheOrderOfItsFields) {
  EXPECT_EQ(JsonObject().number("b", 1).boolean("a", true).null("c").take(),
            R"({"b": 1, "a": true, "c": null})");
  EXPECT_EQ(JsonObject().take(), "{}");
}

}  // namespace
}  // namespace cachier::cli

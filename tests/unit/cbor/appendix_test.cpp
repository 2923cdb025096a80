/// The examples of RFC 8949, appendix A.

#include <gtest/gtest.h>

#include <cachier/cbor.hpp>

#include <charconv>
#include <cmath>

#include "support/hex.hpp"

namespace cachier::cbor {
namespace {

using test::from_hex;
using test::to_hex;

struct Example {
  const char* hex;
  const char* notation;
};

void PrintTo(const Example& example, std::ostream* out) { *out << example.hex; }

/// All but those of indefinite length. Floats are written as shortest digits.
constexpr Example kExamples[] = {
    {"00", "0"},
    {"01", "1"},
    {"0a", "10"},
    {"17", "23"},
    {"1818", "24"},
    {"1819", "25"},
    {"1864", "100"},
    {"1903e8", "1000"},
    {"1a000f4240", "1000000"},
    {"1b000000e8d4a51000", "1000000000000"},
    {"1bffffffffffffffff", "18446744073709551615"},
    {"c249010000000000000000", "2(h'010000000000000000')"},
    {"3bffffffffffffffff", "-1-18446744073709551615"},
    {"c349010000000000000000", "3(h'010000000000000000')"},
    {"20", "-1-0"},
    {"29", "-1-9"},
    {"3863", "-1-99"},
    {"3903e7", "-1-999"},
    {"f90000", "0."},
    {"f98000", "-0."},
    {"f93c00", "1."},
    {"fb3ff199999999999a", "1.1"},
    {"f93e00", "1.5"},
    {"f97bff", "65504."},
    {"fa47c35000", "1e+05"},
    {"fa7f7fffff", "3.4028234663852886e+38"},
    {"fb7e37e43c8800759c", "1e+300"},
    {"f90001", "5.960464477539063e-08"},
    {"f90400", "6.103515625e-05"},
    {"f9c400", "-4."},
    {"fbc010666666666666", "-4.1"},
    {"f97c00", "inf"},
    {"f97e00", "nan"},
    {"f9fc00", "-inf"},
    {"f4", "false"},
    {"f5", "true"},
    {"f6", "null"},
    {"f7", "undefined"},
    {"f0", "simple(16)"},
    {"f8ff", "simple(255)"},
    {"c074323031332d30332d32315432303a30343a30305a", "0(\"2013-03-21T20:04:00Z\")"},
    {"c11a514b67b0", "1(1363896240)"},
    {"c1fb41d452d9ec200000", "1(1363896240.5)"},
    {"d74401020304", "23(h'01020304')"},
    {"d818456449455446", "24(h'6449455446')"},
    {"d82076687474703a2f2f7777772e6578616d706c652e636f6d",
     "32(\"http://www.example.com\")"},
    {"40", "h''"},
    {"4401020304", "h'01020304'"},
    {"60", "\"\""},
    {"6161", "\"a\""},
    {"6449455446", "\"IETF\""},
    {"62225c", "\"\"\\\""},
    {"62c3bc", "\"\u00fc\""},
    {"63e6b0b4", "\"\u6c34\""},
    {"64f0908591", "\"\U00010151\""},
    {"80", "[]"},
    {"83010203", "[1, 2, 3]"},
    {"8301820203820405", "[1, [2, 3], [4, 5]]"},
    {"98190102030405060708090a0b0c0d0e0f101112131415161718181819",
     "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, "
     "23, 24, 25]"},
    {"a0", "{}"},
    {"a201020304", "{1: 2, 3: 4}"},
    {"a26161016162820203", "{\"a\": 1, \"b\": [2, 3]}"},
    {"826161a161626163", "[\"a\", {\"b\": \"c\"}]"},
    {"a56161614161626142616361436164614461656145",
     "{\"a\": \"A\", \"b\": \"B\", \"c\": \"C\", \"d\": \"D\", \"e\": \"E\"}"},
};

/// Sound, but a shorter form says the same: read, not written.
constexpr Example kLonger[] = {
    {"fa7f800000", "inf"},         {"fa7fc00000", "nan"},
    {"faff800000", "-inf"},        {"fb7ff0000000000000", "inf"},
    {"fb7ff8000000000000", "nan"}, {"fbfff0000000000000", "-inf"},
};

constexpr const char* kIndefinite[] = {
    "5f42010243030405ff",
    "7f657374726561646d696e67ff",
    "9fff",
    "9f018202039f0405ffff",
    "9f01820203820405ff",
    "83018202039f0405ff",
    "83019f0203ff820405",
    "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff",
    "bf61610161629f0203ffff",
    "826161bf61626163ff",
    "bf6346756ef563416d7421ff",
};

std::string notation_of(Reader& reader, Writer& again);

std::string items_of(Reader& reader, Writer& again, std::uint64_t count, bool pairs) {
  std::string text;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i > 0) text += pairs && i % 2 == 1 ? ": " : ", ";
    text += notation_of(reader, again);
  }
  return text;
}

std::string real_notation(double value) {
  char digits[40];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  std::string text(digits, end);
  return text.find_first_of(".enf") == std::string::npos ? text + "." : text;
}

/// Reads an item and writes it again.
std::string notation_of(Reader& reader, Writer& again) {
  Item item;
  if (!reader.next(item)) return reader.error().message();
  const std::string number = std::to_string(item.number);
  switch (item.kind) {
    case Kind::unsigned_int:
      again.unsigned_int(item.number);
      return number;
    case Kind::negative:
      again.negative(item.number);
      return "-1-" + number;
    case Kind::bytes:
      again.bytes(item.view);
      return "h'" + to_hex(item.view) + "'";
    case Kind::text:
      again.text(item.text());
      return "\"" + std::string(item.text()) + "\"";
    case Kind::array:
      again.array(item.number);
      return "[" + items_of(reader, again, item.number, false) + "]";
    case Kind::map:
      again.map(item.number);
      return "{" + items_of(reader, again, 2 * item.number, true) + "}";
    case Kind::tag:
      again.tag(item.number);
      return number + "(" + notation_of(reader, again) + ")";
    case Kind::simple: {
      again.simple(static_cast<std::uint8_t>(item.number));
      constexpr const char* kNames[] = {"false", "true", "null", "undefined"};
      const bool named = item.number >= kFalse && item.number <= kUndefined;
      return named ? kNames[item.number - kFalse] : "simple(" + number + ")";
    }
    case Kind::real:
      again.real(item.real);
      return real_notation(item.real);
  }
  return "?";
}

class AppendixA : public testing::TestWithParam<Example> {};
class AppendixALonger : public testing::TestWithParam<Example> {};
class AppendixAIndefinite : public testing::TestWithParam<const char*> {};

TEST_P(AppendixA, IsReadAndWrittenAgain) {
  const std::string bytes = from_hex(GetParam().hex);
  Reader reader(as_bytes(bytes));
  Writer again;

  EXPECT_EQ(notation_of(reader, again), GetParam().notation);

  EXPECT_TRUE(reader.finish());
  EXPECT_EQ(to_hex(again.view()), GetParam().hex);
  EXPECT_TRUE(check_deterministic(as_bytes(bytes)));
}

TEST_P(AppendixALonger, IsReadButNotDeterministic) {
  const std::string bytes = from_hex(GetParam().hex);
  Reader reader(as_bytes(bytes));
  Writer again;

  EXPECT_EQ(notation_of(reader, again), GetParam().notation);

  EXPECT_EQ(again.size(), 3u);
  const auto checked = check_deterministic(as_bytes(bytes));
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error(), ErrorCode::corrupt);
}

TEST_P(AppendixAIndefinite, IsRefused) {
  const std::string bytes = from_hex(GetParam());
  Reader reader(as_bytes(bytes));

  EXPECT_FALSE(reader.skip());

  EXPECT_EQ(reader.error(), ErrorCode::corrupt);
  EXPECT_NE(reader.error().cause().find("indefinite length"), std::string_view::npos)
      << reader.error().message();
}

INSTANTIATE_TEST_SUITE_P(Rfc8949, AppendixA, testing::ValuesIn(kExamples));
INSTANTIATE_TEST_SUITE_P(Rfc8949, AppendixALonger, testing::ValuesIn(kLonger));
INSTANTIATE_TEST_SUITE_P(Rfc8949, AppendixAIndefinite, testing::ValuesIn(kIndefinite));

}  // namespace
}  // namespace cachier::cbor

#include <gtest/gtest.h>

#include <cachier/key.hpp>

#include "support/bytes.hpp"
#include "support/hex.hpp"

namespace cachier {
namespace {

using test::from_hex;

template <class... Args>
std::string shown(std::string_view parameters, const Args&... args) {
  cbor::Writer writer;
  encode_call(writer, args...);
  return display_key(writer.view(), parameters);
}

std::string shown_hex(std::string_view hex, std::string_view parameters = "") {
  const std::string key = from_hex(hex);
  return display_key(as_bytes(key), parameters);
}

TEST(DisplayKey, NamesArgumentsWhereTheirNamesAreKnown) {
  EXPECT_EQ(shown("path,n", "/usr/lib/x.py", 3), "path='/usr/lib/x.py', n=3");
  EXPECT_EQ(shown("", "/usr/lib/x.py", 3), "'/usr/lib/x.py', 3");
  EXPECT_EQ(shown("a", 1, 2), "a=1, 2");
  EXPECT_EQ(shown(""), "");
  EXPECT_EQ(shown_hex("81 01 82 02 03 a1 6178 04", "a,*rest,**more"), "a=1, 2, 3, x=4");
}

TEST(DisplayKey, ShowsValuesAsPeopleWriteThem) {
  EXPECT_EQ(shown("", true, nullptr, 1.0, -0.0, 1e300),
            "True, None, 1.0, -0.0, 1e+300");
  EXPECT_EQ(shown("", std::vector{1, 2}, std::tuple(1), std::pair(1, 2)),
            "[1, 2], (1,), (1, 2)");
  EXPECT_EQ(shown("", std::map<std::string, int>{{"a", 1}}, std::set{1, 2}),
            "{'a': 1}, {1, 2}");
  EXPECT_EQ(shown("", std::filesystem::path("/x"), std::chrono::seconds(90)),
            "Path('/x'), timedelta(0, 90, 0)");
  EXPECT_EQ(shown("", std::vector{std::byte{'a'}, std::byte{0xff}}), "b'a\\xff'");
  EXPECT_EQ(shown_hex("81 d9cacd 83 6a 73686f702e436f6c6f72 63 524544 01"),
            "Color.RED");
  EXPECT_EQ(shown_hex("81 d9cacd 83 6a 73686f702e436f6c6f72 82 6152 6157 03"),
            "Color(3)");
  EXPECT_EQ(shown_hex("81 d9cacd 83 82 6a 73686f702e436f6c6f72 40 63 524544 01"),
            "Color.RED");
  EXPECT_EQ(shown_hex("81 d9cad2 82 6a 73686f702e506f696e74 a2 6178 01 6179 f94000"),
            "Point(x=1, y=2.0)");
  EXPECT_EQ(shown_hex("81 c2 49 010000000000000000"), "0x010000000000000000");
  EXPECT_EQ(shown_hex("81 c3 49 010000000000000000"), "-0x010000000000000001");
  EXPECT_EQ(shown_hex("81 3bffffffffffffffff"), "-18446744073709551616");
  EXPECT_EQ(shown_hex("d9cad0 63616263"), "hash_func('abc')");
  EXPECT_EQ(shown_hex("81 d9caff 01"), "tag51967(1)");
}

TEST(DisplayKey, HasNothingThatATerminalWouldObey) {
  EXPECT_EQ(shown("", "a\x1b[2J\n\x7f\u009b'\\"), "'a\\x1b[2J\\n\\x7f\\x9b\\'\\\\'");
  EXPECT_EQ(shown("", "\xff\xc3\xa9"), "'\\xff\\xc3\\xa9'");
  EXPECT_EQ(shown("", "\u00e9"), "'\u00e9'");
}

TEST(DisplayKey, IsBoundedAndEndsInAnEllipsis) {
  cbor::Writer writer;
  encode_call(writer, std::string(100'000, 'x'));
  const std::string text = display_key(writer.view(), "path", 50);
  EXPECT_EQ(text, "path='" + std::string(41, 'x') + "\u2026");
  EXPECT_EQ(text.size(), 50u);

  cbor::Writer accents;
  std::string accented;
  for (int i = 0; i < 100; ++i) accented += "\u00e9";
  encode_call(accents, accented);
  for (std::size_t limit = 0; limit < 60; ++limit) {
    EXPECT_TRUE(cbor::valid_text(display_key(accents.view(), "", limit))) << limit;
  }
}

TEST(DisplayKey, StopsAtDepthsThatNobodyReads) {
  const std::string deep = "\x81" + std::string(100, '\x81') + "\x01";
  const std::string text = display_key(as_bytes(deep), "", 1000);
  EXPECT_NE(text.find("\u2026"), std::string::npos);
  EXPECT_LT(text.size(), 100u);
}

TEST(DisplayKey, ShowsWhatIsNoKeyAsDigits) {
  EXPECT_EQ(shown_hex("ff00"), "ff00");
  EXPECT_EQ(shown_hex("01"), "01");
  EXPECT_EQ(shown_hex("8101 01"), "810101");
  EXPECT_EQ(shown_hex("81 d9cacd 01"), "81d9cacd01");
  EXPECT_EQ(shown_hex(""), "");
  const std::string hash(32, '\xee');
  EXPECT_EQ(display_key(as_bytes(hash), "a", 20), "eeeeeeeeeeeeeeeeeeee\u2026");
}

}  // namespace
}  // namespace cachier

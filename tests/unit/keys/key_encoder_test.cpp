#include <gtest/gtest.h>

#include <cachier/key.hpp>

#include "support/hex.hpp"

namespace shop {

struct Point {
  int x = 0;
  int y = 0;
};
struct Opaque {};
enum class Level : std::uint8_t { low = 3 };

}  // namespace shop

template <>
struct cachier::key_encoder<shop::Point> {
  static void encode(cbor::Writer& writer, const shop::Point& point) {
    writer.array(2);
    encode_key(writer, point.x);
    encode_key(writer, point.y);
  }
};

namespace cachier {
namespace {

using test::to_hex;
using namespace std::chrono_literals;

template <class... Args>
std::string key_of(const Args&... args) {
  cbor::Writer writer;
  encode_call(writer, args...);
  return to_hex(writer.view());
}

TEST(KeyEncoder, WidthOfAnIntegerDoesNotCountItsTypeDoes) {
  EXPECT_EQ(key_of(std::int8_t{5}), key_of(std::uint64_t{5}));
  EXPECT_NE(key_of(1), key_of(1.0));
  EXPECT_NE(key_of(1), key_of(true));
  EXPECT_NE(key_of("1"), key_of(1));
}

TEST(KeyEncoder, EverySpellingOfTextIsOneKey) {
  const char buffer[8] = "abc";
  const char full[3] = {'a', 'b', 'c'};
  char changeable[] = "abc";
  EXPECT_EQ(key_of(std::string("abc")), "8163616263");
  EXPECT_EQ(key_of("abc"), key_of(std::string("abc")));
  EXPECT_EQ(key_of(std::string_view("abc")), key_of("abc"));
  EXPECT_EQ(key_of(buffer), key_of("abc"));
  EXPECT_EQ(key_of(full), key_of("abc"));
  EXPECT_EQ(key_of(static_cast<const char*>("abc")), key_of("abc"));
  EXPECT_EQ(key_of(static_cast<char*>(changeable)), key_of("abc"));
  EXPECT_EQ(key_of(std::u8string(u8"abc")), key_of("abc"));
  EXPECT_EQ(key_of(static_cast<const char*>(nullptr)), key_of(nullptr));
  EXPECT_NE(key_of(std::string("abc\0", 4)), key_of("abc"));
}

TEST(KeyEncoder, TextThatIsNotUtf8IsTaggedAndTellsItsBytesApart) {
  EXPECT_EQ(key_of("\xff"), "81d9cac341ff");
  EXPECT_NE(key_of("\xff"), key_of("\xfe"));
  EXPECT_NE(key_of("\xff"), key_of(std::vector<std::byte>{std::byte{0xff}}));
}

TEST(KeyEncoder, SequencesOfOneContentAreOneKey) {
  const int plain[] = {1, 2};
  const std::string expected = "81820102";
  EXPECT_EQ(key_of(std::vector{1, 2}), expected);
  EXPECT_EQ(key_of(std::array{1, 2}), expected);
  EXPECT_EQ(key_of(std::deque{1, 2}), expected);
  EXPECT_EQ(key_of(std::list{1, 2}), expected);
  EXPECT_EQ(key_of(std::forward_list{1, 2}), expected);
  EXPECT_EQ(key_of(std::span<const int>(plain)), expected);
  EXPECT_EQ(key_of(plain), expected);
  EXPECT_EQ(key_of(std::vector{true, false}), "8182f5f4");
}

TEST(KeyEncoder, BytesAreNoArray) {
  const std::array bytes = {std::byte{1}, std::byte{2}};
  EXPECT_EQ(key_of(bytes), "81420102");
  EXPECT_EQ(key_of(std::span(bytes)), key_of(bytes));
  EXPECT_EQ(key_of(std::vector(bytes.begin(), bytes.end())), key_of(bytes));
  EXPECT_EQ(key_of(std::vector<std::uint8_t>{1, 2}), "81820102");
}

TEST(KeyEncoder, OrderOfHashingDoesNotCount) {
  std::unordered_map<std::string, int> map;
  std::unordered_set<int> set;
  for (int i = 0; i < 100; ++i) {
    map["k" + std::to_string(i)] = i;
    set.insert(i);
  }
  std::unordered_map<std::string, int> other(1000);
  std::unordered_set<int> other_set(1000);
  for (int i = 99; i >= 0; --i) {
    other["k" + std::to_string(i)] = i;
    other_set.insert(i);
  }
  EXPECT_EQ(key_of(map), key_of(other));
  EXPECT_EQ(key_of(map), key_of(std::map<std::string, int>(map.begin(), map.end())));
  EXPECT_EQ(key_of(set), key_of(other_set));
  EXPECT_EQ(key_of(set), key_of(std::set<int>(set.begin(), set.end())));
  EXPECT_EQ(key_of(set), key_of(std::set<int, std::greater<>>(set.begin(), set.end())));
}

TEST(KeyEncoder, TuplesAreNoArrays) {
  EXPECT_EQ(key_of(std::tuple(1, "a")), "81d9cac082016161");
  EXPECT_EQ(key_of(std::pair(1, 2)), key_of(std::tuple(1, 2)));
  EXPECT_NE(key_of(std::pair(1, 2)), key_of(std::array{1, 2}));
}

TEST(KeyEncoder, EmptyOptionalIsNull) {
  EXPECT_EQ(key_of(std::optional<int>()), "81f6");
  EXPECT_EQ(key_of(std::nullopt), "81f6");
  EXPECT_EQ(key_of(std::monostate()), "81f6");
  EXPECT_EQ(key_of(std::optional(7)), key_of(7));
}

TEST(KeyEncoder, VariantIsItsAlternativeWhereThatTellsWhich) {
  using Apart = std::variant<std::monostate, bool, int, double, std::string,
                             std::vector<int>, std::filesystem::path>;
  EXPECT_EQ(key_of(Apart()), "81f6");
  EXPECT_EQ(key_of(Apart(5)), key_of(5));
  EXPECT_EQ(key_of(Apart(std::string("x"))), key_of("x"));
}

TEST(KeyEncoder, VariantOfAlikeAlternativesSaysWhich) {
  using Widths = std::variant<int, long>;
  EXPECT_EQ(key_of(Widths(std::in_place_index<0>, 5)), "81d9cac0820005");
  EXPECT_EQ(key_of(Widths(std::in_place_index<1>, 5)), "81d9cac0820105");
  using Numbered = std::variant<int, shop::Level>;
  EXPECT_NE(key_of(Numbered(3)), key_of(Numbered(shop::Level::low)));
  using OfUser = std::variant<shop::Point, std::vector<int>>;
  EXPECT_NE(key_of(OfUser(shop::Point{1, 2})), key_of(OfUser(std::vector{1, 2})));
}

TEST(KeyEncoder, EnumIsItsNumber) { EXPECT_EQ(key_of(shop::Level::low), "8103"); }

TEST(KeyEncoder, ReferenceWrapperIsWhatItRefersTo) {
  const int number = 5;
  EXPECT_EQ(key_of(std::cref(number)), key_of(5));
}

TEST(KeyEncoder, LengthsOfTimeAreOneKeyInEveryUnit) {
  EXPECT_EQ(key_of(std::chrono::hours(24)), "81d9cac983010000");
  EXPECT_EQ(key_of(std::chrono::days(1)), key_of(24h));
  EXPECT_EQ(key_of(std::chrono::seconds(86400)), key_of(24h));
  EXPECT_EQ(key_of(std::chrono::nanoseconds(24h)), key_of(24h));
  EXPECT_EQ(key_of(std::chrono::weeks(1)), key_of(168h));
  EXPECT_EQ(key_of(std::chrono::duration<std::uint32_t>(86400)), key_of(24h));
  EXPECT_EQ(key_of(std::chrono::months(-1)),
            key_of(std::chrono::seconds(std::chrono::months(-1))));
  EXPECT_EQ(key_of(-1ns), "81d9cac983201a0001517fc482221a3b9ac9ff");
  EXPECT_NE(key_of(1ns), key_of(2ns));
}

TEST(KeyEncoder, LongestLengthsOfTimeHaveNoOverflow) {
  using std::chrono::nanoseconds;
  // -106752 days, 763 s, 145224192 ns
  EXPECT_EQ(key_of(nanoseconds::min()), "81d9cac9833a0001a0ff1902fbc482221a08a7f200");
  EXPECT_NE(key_of(nanoseconds::min()), key_of(nanoseconds::max()));
  EXPECT_NE(key_of(std::chrono::seconds::max()), key_of(std::chrono::seconds::min()));
  EXPECT_NE(key_of(std::chrono::duration<std::uint64_t>(~std::uint64_t{0})),
            key_of(std::chrono::seconds(-1)));
}

TEST(KeyEncoder, DatesOfAllYears) {
  using namespace std::chrono;
  // Every day of the range that <chrono> knows, against its own calendar.
  for (auto day = sys_days(year(-32767) / 1 / 1); day < sys_days(year(32767) / 12 / 31);
       day += days(37)) {
    cbor::Writer expected;
    const year_month_day date(day);
    expected.array(1);
    detail::tag(expected, Tag::datetime);
    expected.array(8);
    expected.integer(static_cast<int>(date.year()));
    expected.integer(static_cast<unsigned>(date.month()));
    expected.integer(static_cast<unsigned>(date.day()));
    for (int i = 0; i < 4; ++i) expected.integer(0);
    detail::tag(expected, Tag::timezone);
    expected.array(1);
    expected.integer(0);
    ASSERT_EQ(key_of(sys_seconds(day)), to_hex(expected.view()));
  }
}

TEST(KeyEncoder, TimesFarBeyondTheCalendarAreToldApart) {
  using namespace std::chrono;
  EXPECT_NE(key_of(sys_seconds::max()), key_of(sys_seconds::min()));
  EXPECT_NE(key_of(sys_seconds::max()), key_of(sys_seconds::max() - 1s));
}

TEST(KeyEncoder, IgnoredArgumentsAreLeftOut) {
  shop::Opaque opaque;
  EXPECT_EQ(key_of(1, ignored(opaque), 2), key_of(1, 2));
  EXPECT_EQ(key_of(ignored(shop::Opaque())), key_of());
  EXPECT_EQ(&ignored(opaque).get(), &opaque);
}

TEST(KeyEncoder, TypesOfUsersAreWhatTheirEncoderWrites) {
  EXPECT_EQ(key_of(shop::Point{1, 2}), "81820102");
  EXPECT_EQ(key_of(std::vector{shop::Point{1, 2}}), "8181820102");
  EXPECT_EQ(key_of(std::optional(shop::Point{1, 2})), key_of(shop::Point{1, 2}));
}

TEST(KeyEncoder, WhatCannotBeAKeyIsKnownBeforeItIsTried) {
  static_assert(Keyable<const std::string&>);
  static_assert(Keyable<std::vector<std::map<std::string, shop::Point>>>);
  static_assert(!Keyable<shop::Opaque>);
  static_assert(!Keyable<std::vector<shop::Opaque>>);
  static_assert(!Keyable<std::tuple<int, shop::Opaque>>);
  static_assert(!Keyable<int*>, "an address is not a content");
  static_assert(!Keyable<std::optional<std::optional<int>>>, "two nulls");
  static_assert(!Keyable<std::optional<std::variant<std::monostate, int>>>);
  static_assert(!Keyable<std::chrono::duration<double>>, "not exact");
  static_assert(!Keyable<long double>);
}

TEST(KeyEncoder, SmallKeysStayInTheInlineBuffer) {
  // What `view` gives lies within the writer itself.
  cbor::Writer writer;
  encode_call(writer, 1, "a text of some length", std::array{1, 2, 3});
  const auto* const begin = reinterpret_cast<const std::byte*>(&writer);
  EXPECT_GE(writer.view().data(), begin);
  EXPECT_LT(writer.view().data(), begin + sizeof writer);
}

TEST(KeptKey, IsTheKeyUpToItsBound) {
  const std::string key(kMaxKeptKey, 'k');
  const KeptKey kept(as_bytes(key));
  EXPECT_FALSE(kept.hashed());
  EXPECT_EQ(as_text(kept.bytes()), key);
}

TEST(KeptKey, IsASha256OfLongAndOfSecretKeys) {
  const std::string key(kMaxKeptKey + 1, 'k');
  const KeptKey longer(as_bytes(key));
  EXPECT_TRUE(longer.hashed());
  EXPECT_EQ(longer.bytes().size(), 32u);

  const KeptKey secret(as_bytes("abc"), true);
  EXPECT_TRUE(secret.hashed());
  EXPECT_EQ(to_hex(secret.bytes()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace cachier

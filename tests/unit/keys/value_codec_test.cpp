#include <gtest/gtest.h>

#include <cachier/value.hpp>

#include <bit>
#include <cmath>
#include <limits>

#include "support/bytes.hpp"
#include "support/hex.hpp"

namespace shop {

struct Item {
  std::string name;
  double price = 0;
  friend bool operator==(const Item&, const Item&) = default;
};
struct Opaque {};
enum class Level : std::int8_t { low = -3, high = 5 };

}  // namespace shop

template <>
struct cachier::value_codec<shop::Item> {
  static void encode(cbor::Writer& writer, const shop::Item& item) {
    writer.array(2);
    store_value(writer, item.name);
    store_value(writer, item.price);
  }
  static bool decode(cbor::Reader& reader, shop::Item& item) {
    std::uint64_t parts = 0;
    return reader.array(parts) && (parts == 2 || reader.refuse("two parts")) &&
           load_value(reader, item.name) && load_value(reader, item.price);
  }
};

namespace cachier {
namespace {

using test::from_hex;
using test::to_hex;

template <class T>
std::optional<T> decoded(std::string_view hex) {
  const std::string bytes = from_hex(hex);
  return decode_value<T>(as_bytes(bytes));
}

template <class T>
void expect_back(const T& value) {
  const std::string bytes = encode_value(value);
  const std::optional<T> back = decode_value<T>(as_bytes(bytes));
  ASSERT_TRUE(back.has_value()) << to_hex(bytes);
  EXPECT_EQ(*back, value);
  // Nothing shorter, and nothing with more after it, is taken for it.
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_value<T>(as_bytes(bytes).first(size)).has_value());
  }
  const std::string more = bytes + '\0';
  EXPECT_FALSE(decode_value<T>(as_bytes(more)).has_value());
}

TEST(ValueCodec, StandardTypesComeBackEqual) {
  expect_back(true);
  expect_back(std::numeric_limits<std::int64_t>::min());
  expect_back(std::numeric_limits<std::uint64_t>::max());
  expect_back('x');
  expect_back(std::int8_t{-128});
  expect_back(1.5f);
  expect_back(0.1);
  expect_back(std::complex<double>(1, -2));
  expect_back(std::string("text \u00e9"));
  expect_back(std::string("\xff\x00", 2));
  expect_back(shop::Level::low);
  expect_back(std::monostate());
  expect_back(std::optional<int>());
  expect_back(std::optional<int>(5));
  expect_back(std::vector<int>{1, 2, 3});
  expect_back(std::vector<bool>{true, false});
  expect_back(std::vector<std::byte>{std::byte{1}, std::byte{255}});
  expect_back(std::array<std::string, 2>{"a", "b"});
  expect_back(std::array<std::byte, 2>{std::byte{1}, std::byte{2}});
  expect_back(std::deque<int>{1, 2});
  expect_back(std::list<std::string>{"a", ""});
  expect_back(std::pair<int, std::string>(1, "x"));
  expect_back(std::tuple<int, double, std::string>(1, 2, "3"));
  expect_back(std::map<std::string, std::vector<int>>{{"a", {1}}, {"bb", {}}});
  expect_back(std::unordered_map<int, std::string>{{1, "a"}, {-7, "b"}});
  expect_back(std::set<int>{3, 1, 2});
  expect_back(std::unordered_set<std::string>{"x", "y"});
  expect_back(std::variant<int, long, std::string>(std::in_place_index<1>, 7));
  expect_back(std::filesystem::path("/a/b"));
  expect_back(std::filesystem::path("\xff"));
  expect_back(shop::Item{"tea", 2.5});
  expect_back(std::map<std::string, shop::Item>{{"a", {"tea", 2.5}}});
}

TEST(ValueCodec, TimesComeBackEqual) {
  using namespace std::chrono;
  for (const auto count : {std::int64_t{0}, std::int64_t{1}, std::int64_t{-1},
                           std::numeric_limits<std::int64_t>::min(),
                           std::numeric_limits<std::int64_t>::max()}) {
    expect_back(nanoseconds(count));
    expect_back(microseconds(count));
    expect_back(seconds(count));
    expect_back(sys_time<nanoseconds>(nanoseconds(count)));
    expect_back(sys_time<milliseconds>(milliseconds(count % 1'000'000'000'000)));
  }
  expect_back(hours(-25));
  expect_back(days(-400));
  expect_back(weeks(3));
  expect_back(months(-7));
  expect_back(duration<std::uint32_t>(5));
  expect_back(year_month_day(year(2024) / 2 / 29));
  expect_back(local_seconds(seconds(1'700'000'000)));
}

TEST(ValueCodec, FloatsKeepEveryBit) {
  const auto nan = std::bit_cast<double>(std::uint64_t{0x7ff8000000001234});
  const auto back = decode_value<double>(as_bytes(encode_value(nan)));
  ASSERT_TRUE(back);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(*back), 0x7ff8000000001234u);
  EXPECT_EQ(to_hex(encode_value(1.0)), "fb3ff0000000000000");
  const auto zero = decode_value<double>(as_bytes(encode_value(-0.0)));
  EXPECT_TRUE(std::signbit(*zero));
}

TEST(ValueCodec, ReadsWhatPythonWrites) {
  EXPECT_EQ(decoded<int>("05"), 5);
  EXPECT_EQ((decoded<std::map<std::string, int>>("a2 6161 01 626262 20")),
            (std::map<std::string, int>{{"a", 1}, {"bb", -1}}));
  EXPECT_EQ((decoded<std::map<int, double>>("a1 01 fb3ff0000000000000")),
            (std::map<int, double>{{1, 1.0}}));
  EXPECT_EQ((decoded<std::tuple<int, std::string>>("d9cac0 82 01 6161")),
            (std::tuple<int, std::string>(1, "a")));
  EXPECT_EQ(decoded<std::set<int>>("d90102 82 02 01"), (std::set{1, 2}));
  const auto none = decoded<std::optional<std::string>>("f6");
  EXPECT_TRUE(none.has_value() && !none->has_value());
}

TEST(ValueCodec, NeverTakesOneThingForAnother) {
  EXPECT_FALSE(decoded<std::int8_t>("1880"));  // 128
  EXPECT_FALSE(decoded<std::int8_t>("3880"));  // -129
  EXPECT_FALSE(decoded<unsigned>("20"));
  EXPECT_FALSE(decoded<std::uint32_t>("1b0000000100000000"));
  EXPECT_FALSE(decoded<std::int64_t>("1b8000000000000000"));
  EXPECT_FALSE(decoded<std::int64_t>("c249010000000000000000"));
  EXPECT_FALSE(decoded<std::uint64_t>("c249010000000000000000"));
  EXPECT_FALSE(decoded<shop::Level>("1880"));
  EXPECT_FALSE(decoded<int>("fb3ff0000000000000"));
  EXPECT_FALSE(decoded<int>("f5"));
  EXPECT_FALSE(decoded<bool>("01"));
  EXPECT_FALSE(decoded<double>("01"));
  EXPECT_FALSE(decoded<float>("fb3fb999999999999a"));  // 0.1 has no float
  EXPECT_FALSE(decoded<float>("fb7e37e43c8800759c"));
  EXPECT_FALSE(decoded<std::string>("43616263"));
  EXPECT_FALSE(decoded<std::vector<std::byte>>("63616263"));
  EXPECT_FALSE(decoded<std::vector<int>>("d9cac0820102"));
  EXPECT_FALSE((decoded<std::pair<int, int>>("820102")));
  EXPECT_FALSE((decoded<std::pair<int, int>>("d9cac083010203")));
  EXPECT_FALSE((decoded<std::array<int, 2>>("83010203")));
  EXPECT_FALSE((decoded<std::map<int, int>>("a2 01 02 01 03")));
  EXPECT_FALSE(decoded<std::set<int>>("d90102 82 01 01"));
  EXPECT_FALSE(decoded<std::set<int>>("820102"));
  EXPECT_FALSE((decoded<std::variant<int, bool>>("d9cac0 82 02 f5")));
  EXPECT_FALSE((decoded<std::variant<int, bool>>("d9cac0 82 00 f5")));
  EXPECT_FALSE(decoded<std::optional<int>>("6161"));
  EXPECT_FALSE(decoded<std::monostate>("f5"));
  EXPECT_FALSE(decoded<shop::Item>("816161"));
}

TEST(ValueCodec, RefusesTimesThatTheTypeCannotHold) {
  using namespace std::chrono;
  EXPECT_FALSE(decoded<seconds>("d9cac9 83 00 01 01"));               // 1 s and 1 us
  EXPECT_FALSE(decoded<microseconds>("d9cac9 83 00 00 c48222 01"));   // 1 ns
  EXPECT_FALSE(decoded<nanoseconds>("d9cac9 83 1a 3b9ac9ff 00 00"));  // too long
  EXPECT_FALSE(decoded<hours>("d9cac9 83 00 01 00"));
  EXPECT_FALSE((decoded<duration<std::uint8_t>>("d9cac9 83 01 00 00")));
  EXPECT_FALSE(decoded<seconds>("d9cac9 83 00 1a 00015180 00"));  // 86400 s of a day
  EXPECT_FALSE(decoded<seconds>("d9cac9 83 00 00 1a 000f4240"));  // 1000000 us
  EXPECT_FALSE(decoded<sys_seconds>("d9cac6 87 1907e8 01 01 00 00 00 00"));  // naive
  EXPECT_FALSE(decoded<sys_seconds>("d9cac6 88 1907e8 02 181e 00 00 00 00 d9caca8100"));
  EXPECT_FALSE(decoded<sys_seconds>("d9cac6 88 1907e8 01 01 00 00 00 00 d9caca8101"));
  EXPECT_FALSE(decoded<sys_seconds>("d9cac6 88 1907e8 01 01 1818 00 00 00 d9caca8100"));
  EXPECT_FALSE(decoded<year_month_day>("d9cac7 83 1907e7 02 181d"));
}

TEST(ValueCodec, DamagedLengthsDoNotReserveMemory) {
  using Big = std::array<double, 1000>;
  EXPECT_FALSE(decoded<std::vector<Big>>("9a 7fffffff 00"));
  EXPECT_FALSE(decoded<std::string>("7b 7fffffffffffffff 00"));
}

TEST(ValueCodec, ArbitraryBytesAreNoValueOfTheWrongKind) {
  using Nested =
      std::map<std::string, std::vector<std::optional<std::pair<int, bool>>>>;
  for (std::uint64_t seed = 0; seed < 20'000; ++seed) {
    const std::string bytes = test::random_bytes(seed % 40, seed);
    const auto value = decode_value<Nested>(as_bytes(bytes));
    if (!value) continue;
    const std::string again = encode_value(*value);
    EXPECT_EQ(decode_value<Nested>(as_bytes(again)), value);
  }
}

TEST(ValueCodec, KnowsWhatItCannotStore) {
  static_assert(Storable<std::map<std::string, std::vector<double>>>);
  static_assert(Storable<shop::Item>);
  static_assert(!Storable<shop::Opaque>);
  static_assert(!Storable<std::vector<shop::Opaque>>);
  static_assert(!Storable<std::string_view>, "nobody would own its text");
  static_assert(!Storable<const char*>);
  static_assert(!Storable<std::optional<std::optional<int>>>);
}

}  // namespace
}  // namespace cachier

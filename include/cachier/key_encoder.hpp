#pragma once

/// How values of C++ are written in keys (`docs/formats/key.md`).
///
/// A type of your own becomes keyable by saying which of its parts count:
///
///     template <>
///     struct cachier::key_encoder<Point> {
///       static void encode(cbor::Writer& writer, const Point& point) {
///         writer.array(2);
///         encode_key(writer, point.x);
///         encode_key(writer, point.y);
///       }
///     };
///
/// It must write exactly one CBOR item, the same for values that are the same to the
/// function. Everything here is thread-safe.

#include <cachier/cbor.hpp>
#include <cachier/entry.hpp>
#include <cachier/export.hpp>
#include <cachier/tag.hpp>

#include <array>
#include <chrono>
#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <functional>
#include <iterator>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace cachier {

/// Writes a `T` as one item of a key, by a static `encode(cbor::Writer&, const T&)`.
/// Specialize it for your types.
template <class T>
struct key_encoder;

/// A type that can be (part of) an argument of a cached function.
template <class T>
concept Keyable = requires(cbor::Writer& writer, const std::remove_cvref_t<T>& value) {
  key_encoder<std::remove_cvref_t<T>>::encode(writer, value);
};

/// Writes a part of a key: for encoders of types that have parts.
template <class T>
void encode_key(cbor::Writer& writer, const T& value) {
  static_assert(
      Keyable<T>,
      "cachier: this type cannot be part of a key. Specialize "
      "cachier::key_encoder<T> for it (see cachier/key_encoder.hpp), or leave the "
      "argument out of the key with cachier::ignored(argument).");
  key_encoder<T>::encode(writer, value);
}

/// An argument that is not part of the key: a logger, a connection, a thread count.
/// `T` is an lvalue reference where an lvalue was wrapped.
template <class T>
class Ignored {
 public:
  explicit Ignored(T&& value) : value_(std::forward<T>(value)) {}
  /// What was wrapped.
  [[nodiscard]] std::remove_reference_t<T>& get() noexcept { return value_; }
  [[nodiscard]] const std::remove_reference_t<T>& get() const noexcept {
    return value_;
  }

 private:
  T value_;
};

/// Leaves an argument out of the key, as if the function did not have it: calls that
/// differ only in it are the same call.
template <class T>
[[nodiscard]] Ignored<T> ignored(T&& value) {
  return Ignored<T>(std::forward<T>(value));
}

namespace detail {

template <class T>
inline constexpr bool is_ignored = false;
template <class T>
inline constexpr bool is_ignored<Ignored<T>> = true;

/// Which items an encoder writes, where it says so by its member `kShape`: a tag of
/// ours or one of these. Tells whether the types of a variant can be written alike.
enum class Shape : std::uint64_t {
  unknown = 0,
  boolean = 10'001,
  integer,
  real,
  text,
  bytes,
  array,
  map,
  null,
};

template <class T>
[[nodiscard]] constexpr Shape shape_of() noexcept {
  using Encoder = key_encoder<std::remove_cvref_t<T>>;
  if constexpr (requires { Encoder::kShape; }) return Shape{Encoder::kShape};
  return Shape::unknown;
}

template <class T>
inline constexpr Shape sequence_shape =
    std::is_same_v<std::remove_cv_t<T>, std::byte> ? Shape::bytes : Shape::array;

/// Whether each is written as another kind of item than all others.
template <class... T>
[[nodiscard]] constexpr bool tell_apart() noexcept {
  const std::array<Shape, sizeof...(T)> shapes = {shape_of<T>()...};
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (shapes[i] == Shape::unknown) return false;
    for (std::size_t j = 0; j < i; ++j) {
      if (shapes[i] == shapes[j]) return false;
    }
  }
  return true;
}

/// Types with a value that is written as null.
template <class T>
inline constexpr bool may_be_null = false;
template <>
inline constexpr bool may_be_null<std::nullptr_t> = true;
template <>
inline constexpr bool may_be_null<std::nullopt_t> = true;
template <>
inline constexpr bool may_be_null<std::monostate> = true;
template <>
inline constexpr bool may_be_null<const char*> = true;
template <>
inline constexpr bool may_be_null<char*> = true;
template <class T>
inline constexpr bool may_be_null<std::optional<T>> = true;
template <class... T>
inline constexpr bool may_be_null<std::variant<T...>> = (... || may_be_null<T>);
template <class T>
inline constexpr bool may_be_null<std::reference_wrapper<T>> =
    may_be_null<std::remove_cv_t<T>>;

inline void tag(cbor::Writer& writer, Tag tag) {
  writer.tag(static_cast<std::uint64_t>(tag));
}

inline void encode_text(cbor::Writer& writer, std::string_view text) {
  if (cbor::valid_text(text)) [[likely]] {
    writer.text(text);
  } else {
    tag(writer, Tag::other_text);
    writer.bytes(as_bytes(text));
  }
}

/// A length of time: whole days, rounded down, and nanoseconds below one day.
struct DaysAndRest {
  std::int64_t days = 0;
  std::int64_t nanoseconds = 0;
};

inline constexpr std::int64_t kSecondsOfDay = 86'400;
inline constexpr std::int64_t kNanosecondsOfDay = kSecondsOfDay * 1'000'000'000;

/// Periods that split into days and nanoseconds without loss.
template <class Period>
inline constexpr bool divides_day =
    std::ratio_divide<std::ratio<kSecondsOfDay>, Period>::den == 1 &&
    std::ratio_divide<Period, std::nano>::den == 1;
template <class Period>
inline constexpr bool is_exact_period = divides_day<Period> || Period::den == 1;

template <class Rep, class Period>
[[nodiscard]] constexpr DaysAndRest split(
    std::chrono::duration<Rep, Period> time) noexcept {
  // The sum below would overflow in days only, after 2^63 of them.
  using Wide = std::conditional_t<std::is_signed_v<Rep>, std::int64_t, std::uint64_t>;
  const auto count = static_cast<Wide>(time.count());
  const auto floor_to = [](Wide number, Wide unit, Wide& rest) {
    Wide whole = number / unit;
    rest = number % unit;
    if constexpr (std::is_signed_v<Wide>) {
      if (rest < 0) {
        rest += unit;
        --whole;
      }
    }
    return whole;
  };
  Wide rest = 0;
  if constexpr (divides_day<Period>) {
    constexpr auto kUnits =
        static_cast<Wide>(std::ratio_divide<std::ratio<kSecondsOfDay>, Period>::num);
    const Wide days = floor_to(count, kUnits, rest);
    constexpr auto kUnit = static_cast<Wide>(std::ratio_divide<Period, std::nano>::num);
    return {static_cast<std::int64_t>(days), static_cast<std::int64_t>(rest * kUnit)};
  } else {
    constexpr auto kDay = static_cast<Wide>(kSecondsOfDay);
    const Wide rounds = floor_to(count, kDay, rest);
    Wide seconds = 0;
    const Wide more = floor_to(rest * static_cast<Wide>(Period::num), kDay, seconds);
    const auto days =
        static_cast<std::uint64_t>(rounds) * static_cast<std::uint64_t>(Period::num) +
        static_cast<std::uint64_t>(more);
    return {static_cast<std::int64_t>(days),
            static_cast<std::int64_t>(seconds) * 1'000'000'000};
  }
}

CACHIER_API void encode_duration(cbor::Writer& writer, DaysAndRest time);
/// `utc`: with that zone; else without any. Days are counted from 1970-01-01.
CACHIER_API void encode_datetime(cbor::Writer& writer, DaysAndRest time, bool utc);
CACHIER_API void encode_date(cbor::Writer& writer, std::int64_t year, unsigned month,
                             unsigned day);

template <class Range>
void encode_items(cbor::Writer& writer, const Range& range) {
  using Element = std::remove_cvref_t<decltype(*std::begin(range))>;
  using T =
      std::conditional_t<std::is_same_v<Element, std::vector<bool>::const_reference>,
                         bool, Element>;
  for (const auto& item : range) encode_key<T>(writer, item);
}

template <class Range>
void encode_array(cbor::Writer& writer, const Range& range) {
  writer.array(
      static_cast<std::uint64_t>(std::distance(std::begin(range), std::end(range))));
  encode_items(writer, range);
}

template <class Map>
void encode_map(cbor::Writer& writer, const Map& map) {
  writer.map(map.size());
  cbor::Sorter sorter(writer);
  for (const auto& [key, value] : map) {
    sorter.item();
    encode_key(writer, key);
    encode_key(writer, value);
  }
  sorter.finish();
}

template <class Set>
void encode_set(cbor::Writer& writer, const Set& set) {
  tag(writer, Tag::set);
  writer.array(set.size());
  cbor::Sorter sorter(writer);
  for (const auto& item : set) {
    sorter.item();
    encode_key(writer, item);
  }
  sorter.finish();
}

template <class Tuple>
void encode_tuple(cbor::Writer& writer, const Tuple& tuple) {
  tag(writer, Tag::tuple);
  writer.array(std::tuple_size_v<Tuple>);
  std::apply([&](const auto&... part) { (encode_key(writer, part), ...); }, tuple);
}

}  // namespace detail

template <>
struct key_encoder<bool> {
  static constexpr auto kShape = detail::Shape::boolean;
  static void encode(cbor::Writer& writer, bool value) { writer.boolean(value); }
};

template <std::integral T>
requires(sizeof(T) <= 8) struct key_encoder<T> {
  static constexpr auto kShape = detail::Shape::integer;
  static void encode(cbor::Writer& writer, T value) {
    if constexpr (std::is_signed_v<T>) {
      writer.integer(value);
    } else {
      writer.unsigned_int(value);
    }
  }
};

/// By its number, so that languages which have no such type can share.
template <class T>
requires std::is_enum_v<T>
struct key_encoder<T> {
  static constexpr auto kShape = detail::shape_of<std::underlying_type_t<T>>();
  static void encode(cbor::Writer& writer, T value) {
    encode_key(writer, static_cast<std::underlying_type_t<T>>(value));
  }
};

template <>
struct key_encoder<float> {
  static constexpr auto kShape = detail::Shape::real;
  static void encode(cbor::Writer& writer, float value) { writer.real(value); }
};
template <>
struct key_encoder<double> {
  static constexpr auto kShape = detail::Shape::real;
  static void encode(cbor::Writer& writer, double value) { writer.real(value); }
};

template <class T>
requires Keyable<T>
struct key_encoder<std::complex<T>> {
  static constexpr auto kShape = static_cast<detail::Shape>(Tag::complex);
  static void encode(cbor::Writer& writer, const std::complex<T>& value) {
    detail::tag(writer, Tag::complex);
    writer.array(2);
    encode_key(writer, value.real());
    encode_key(writer, value.imag());
  }
};

template <class Traits, class Allocator>
struct key_encoder<std::basic_string<char, Traits, Allocator>> {
  static constexpr auto kShape = detail::Shape::text;
  static void encode(cbor::Writer& writer,
                     const std::basic_string<char, Traits, Allocator>& value) {
    detail::encode_text(writer, {value.data(), value.size()});
  }
};
template <class Traits>
struct key_encoder<std::basic_string_view<char, Traits>> {
  static constexpr auto kShape = detail::Shape::text;
  static void encode(cbor::Writer& writer, std::basic_string_view<char, Traits> value) {
    detail::encode_text(writer, {value.data(), value.size()});
  }
};
template <>
struct key_encoder<std::u8string> {
  static constexpr auto kShape = detail::Shape::text;
  static void encode(cbor::Writer& writer, const std::u8string& value) {
    detail::encode_text(writer,
                        {reinterpret_cast<const char*>(value.data()), value.size()});
  }
};
/// A null pointer is null.
template <>
struct key_encoder<const char*> {
  static void encode(cbor::Writer& writer, const char* value) {
    if (value == nullptr) {
      writer.null();
    } else {
      detail::encode_text(writer, value);
    }
  }
};
template <>
struct key_encoder<char*> : key_encoder<const char*> {};
/// A literal: up to its first zero.
template <std::size_t N>
struct key_encoder<char[N]> {
  static void encode(cbor::Writer& writer, const char (&value)[N]) {
    const void* const zero = std::memchr(value, 0, N);
    const auto size =
        zero == nullptr
            ? N
            : static_cast<std::size_t>(static_cast<const char*>(zero) - value);
    detail::encode_text(writer, {value, size});
  }
};

template <>
struct key_encoder<std::nullptr_t> {
  static constexpr auto kShape = detail::Shape::null;
  static void encode(cbor::Writer& writer, std::nullptr_t) { writer.null(); }
};
template <>
struct key_encoder<std::nullopt_t> {
  static void encode(cbor::Writer& writer, std::nullopt_t) { writer.null(); }
};
template <>
struct key_encoder<std::monostate> {
  static constexpr auto kShape = detail::Shape::null;
  static void encode(cbor::Writer& writer, std::monostate) { writer.null(); }
};
/// Not of what can itself be null: two values would have one key.
template <Keyable T>
requires(!detail::may_be_null<T>) struct key_encoder<std::optional<T>> {
  static void encode(cbor::Writer& writer, const std::optional<T>& value) {
    if (value) {
      encode_key(writer, *value);
    } else {
      writer.null();
    }
  }
};
/// As the value of its alternative where the alternatives are of different kinds
/// (`std::variant<int, std::string>`), else as a tuple of its index and that value.
/// Undefined where an exception left it without one.
template <Keyable... T>
struct key_encoder<std::variant<T...>> {
  static void encode(cbor::Writer& writer, const std::variant<T...>& value) {
    if (value.valueless_by_exception()) return writer.simple(cbor::kUndefined);
    if constexpr (!detail::tell_apart<T...>()) {
      detail::tag(writer, Tag::tuple);
      writer.array(2);
      writer.unsigned_int(value.index());
    }
    std::visit([&](const auto& held) { encode_key(writer, held); }, value);
  }
};
template <Keyable T>
struct key_encoder<std::reference_wrapper<T>> {
  static void encode(cbor::Writer& writer, std::reference_wrapper<T> value) {
    encode_key<std::remove_cv_t<T>>(writer, value.get());
  }
};

/// Elements of `std::byte` are bytes, all others an array.
template <class T, std::size_t Extent>
requires Keyable<T>
struct key_encoder<std::span<T, Extent>> {
  static constexpr auto kShape = detail::sequence_shape<T>;
  static void encode(cbor::Writer& writer, std::span<T, Extent> value) {
    if constexpr (std::is_same_v<std::remove_cv_t<T>, std::byte>) {
      writer.bytes(value);
    } else {
      detail::encode_array(writer, value);
    }
  }
};
template <Keyable T, class Allocator>
struct key_encoder<std::vector<T, Allocator>> {
  static constexpr auto kShape = detail::sequence_shape<T>;
  static void encode(cbor::Writer& writer, const std::vector<T, Allocator>& value) {
    if constexpr (std::is_same_v<T, std::byte>) {
      writer.bytes(value);
    } else {
      detail::encode_array(writer, value);
    }
  }
};
template <Keyable T, std::size_t N>
struct key_encoder<std::array<T, N>> {
  static constexpr auto kShape = detail::sequence_shape<T>;
  static void encode(cbor::Writer& writer, const std::array<T, N>& value) {
    encode_key(writer, std::span<const T>(value));
  }
};
template <Keyable T, std::size_t N>
struct key_encoder<T[N]> {
  static void encode(cbor::Writer& writer, const T (&value)[N]) {
    encode_key(writer, std::span<const T>(value));
  }
};
template <Keyable T, class Allocator>
struct key_encoder<std::deque<T, Allocator>> {
  static constexpr auto kShape = detail::Shape::array;
  static void encode(cbor::Writer& writer, const std::deque<T, Allocator>& value) {
    detail::encode_array(writer, value);
  }
};
template <Keyable T, class Allocator>
struct key_encoder<std::list<T, Allocator>> {
  static constexpr auto kShape = detail::Shape::array;
  static void encode(cbor::Writer& writer, const std::list<T, Allocator>& value) {
    detail::encode_array(writer, value);
  }
};
template <Keyable T, class Allocator>
struct key_encoder<std::forward_list<T, Allocator>> {
  static constexpr auto kShape = detail::Shape::array;
  static void encode(cbor::Writer& writer,
                     const std::forward_list<T, Allocator>& value) {
    detail::encode_array(writer, value);
  }
};

template <Keyable First, Keyable Second>
struct key_encoder<std::pair<First, Second>> {
  static constexpr auto kShape = static_cast<detail::Shape>(Tag::tuple);
  static void encode(cbor::Writer& writer, const std::pair<First, Second>& value) {
    detail::encode_tuple(writer, value);
  }
};
template <Keyable... T>
struct key_encoder<std::tuple<T...>> {
  static constexpr auto kShape = static_cast<detail::Shape>(Tag::tuple);
  static void encode(cbor::Writer& writer, const std::tuple<T...>& value) {
    detail::encode_tuple(writer, value);
  }
};

template <Keyable Key, Keyable T, class Compare, class Allocator>
struct key_encoder<std::map<Key, T, Compare, Allocator>> {
  static constexpr auto kShape = detail::Shape::map;
  static void encode(cbor::Writer& writer,
                     const std::map<Key, T, Compare, Allocator>& value) {
    detail::encode_map(writer, value);
  }
};
template <Keyable Key, Keyable T, class Hash, class Equal, class Allocator>
struct key_encoder<std::unordered_map<Key, T, Hash, Equal, Allocator>> {
  static constexpr auto kShape = detail::Shape::map;
  static void encode(cbor::Writer& writer,
                     const std::unordered_map<Key, T, Hash, Equal, Allocator>& value) {
    detail::encode_map(writer, value);
  }
};
template <Keyable T, class Compare, class Allocator>
struct key_encoder<std::set<T, Compare, Allocator>> {
  static constexpr auto kShape = static_cast<detail::Shape>(Tag::set);
  static void encode(cbor::Writer& writer,
                     const std::set<T, Compare, Allocator>& value) {
    detail::encode_set(writer, value);
  }
};
template <Keyable T, class Hash, class Equal, class Allocator>
struct key_encoder<std::unordered_set<T, Hash, Equal, Allocator>> {
  static constexpr auto kShape = static_cast<detail::Shape>(Tag::set);
  static void encode(cbor::Writer& writer,
                     const std::unordered_set<T, Hash, Equal, Allocator>& value) {
    detail::encode_set(writer, value);
  }
};

/// Integer counts of nanoseconds or more; others do not split into days exactly.
template <std::integral Rep, class Period>
requires detail::is_exact_period<Period>
struct key_encoder<std::chrono::duration<Rep, Period>> {
  static constexpr auto kShape = static_cast<detail::Shape>(Tag::timedelta);
  static void encode(cbor::Writer& writer, std::chrono::duration<Rep, Period> value) {
    detail::encode_duration(writer, detail::split(value));
  }
};
template <Keyable Duration>
struct key_encoder<std::chrono::sys_time<Duration>> {
  static constexpr auto kShape = static_cast<detail::Shape>(Tag::datetime);
  static void encode(cbor::Writer& writer, std::chrono::sys_time<Duration> value) {
    detail::encode_datetime(writer, detail::split(value.time_since_epoch()), true);
  }
};
template <Keyable Duration>
struct key_encoder<std::chrono::local_time<Duration>> {
  static constexpr auto kShape = static_cast<detail::Shape>(Tag::datetime);
  static void encode(cbor::Writer& writer, std::chrono::local_time<Duration> value) {
    detail::encode_datetime(writer, detail::split(value.time_since_epoch()), false);
  }
};
template <>
struct key_encoder<std::chrono::year_month_day> {
  static constexpr auto kShape = static_cast<detail::Shape>(Tag::date);
  static void encode(cbor::Writer& writer, std::chrono::year_month_day value) {
    detail::encode_date(writer, static_cast<int>(value.year()),
                        static_cast<unsigned>(value.month()),
                        static_cast<unsigned>(value.day()));
  }
};

/// As it is spelled: `a/b` and `a//b` are two keys.
template <>
struct key_encoder<std::filesystem::path> {
  static constexpr auto kShape = static_cast<detail::Shape>(Tag::path);
  static void encode(cbor::Writer& writer, const std::filesystem::path& value) {
    detail::tag(writer, Tag::path);
    if constexpr (std::is_same_v<std::filesystem::path::value_type, char>) {
      detail::encode_text(writer, value.native());
    } else {
      encode_key(writer, value.u8string());
    }
  }
};

}  // namespace cachier

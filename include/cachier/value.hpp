#pragma once

/// How results become bytes and results again (`docs/formats/value.md`).
///
/// A type of your own becomes storable by saying how it is written and read:
///
///     template <>
///     struct cachier::value_codec<Point> {
///       static void encode(cbor::Writer& writer, const Point& point) {
///         writer.array(2);
///         store_value(writer, point.x);
///         store_value(writer, point.y);
///       }
///       static bool decode(cbor::Reader& reader, Point& point) {
///         std::uint64_t parts = 0;
///         return reader.array(parts) && (parts == 2 || reader.refuse("two parts")) &&
///                load_value(reader, point.x) && load_value(reader, point.y);
///       }
///     };
///
/// `encode` writes exactly one CBOR item; `decode` reads it and answers whether it is
/// a `T`: what is not is a miss, so it must never guess. Everything here is
/// thread-safe.

#include <cachier/cbor.hpp>
#include <cachier/entry.hpp>
#include <cachier/export.hpp>
#include <cachier/key_encoder.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <limits>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace cachier {

/// Writes and reads a `T` as one item. Specialize it for your types.
template <class T>
struct value_codec;

/// A type that a persistent store can keep.
template <class T>
concept Storable = std::default_initializable<T> &&
    requires(cbor::Writer& writer, cbor::Reader& reader, const T& stored, T& loaded) {
  value_codec<T>::encode(writer, stored);
  { value_codec<T>::decode(reader, loaded) } -> std::same_as<bool>;
};

/// Writes a part of a value: for codecs of types that have parts.
template <class T>
void store_value(cbor::Writer& writer, const T& value) {
  static_assert(Storable<T>,
                "cachier: this type has no stored form. Specialize "
                "cachier::value_codec<T> for it (see cachier/value.hpp), or cache its "
                "function in backend \"memory\".");
  value_codec<T>::encode(writer, value);
}

/// Reads a part of a value.
template <class T>
[[nodiscard]] bool load_value(cbor::Reader& reader, T& value) {
  static_assert(Storable<T>,
                "cachier: this type has no stored form. Specialize "
                "cachier::value_codec<T> for it (see cachier/value.hpp), or cache its "
                "function in backend \"memory\".");
  return value_codec<T>::decode(reader, value);
}

/// The bytes of a value, for `Codec::cbor`.
template <Storable T>
[[nodiscard]] std::string encode_value(const T& value) {
  cbor::Writer writer;
  store_value(writer, value);
  return writer.take();
}

/// The value again; nothing if the bytes are not exactly a `T`.
template <Storable T>
[[nodiscard]] std::optional<T> decode_value(Bytes bytes) {
  cbor::Reader reader(bytes);
  std::optional<T> value(std::in_place);
  if (!load_value(reader, *value) || !reader.finish()) value.reset();
  return value;
}

namespace detail {

[[nodiscard]] CACHIER_API bool decode_text(cbor::Reader& reader, std::string& text);
[[nodiscard]] CACHIER_API bool decode_duration(cbor::Reader& reader, DaysAndRest& time);
[[nodiscard]] CACHIER_API bool decode_datetime(cbor::Reader& reader, DaysAndRest& time,
                                               bool utc);
[[nodiscard]] CACHIER_API bool decode_date(cbor::Reader& reader,
                                           std::chrono::year_month_day& date);

[[nodiscard]] inline bool tag(cbor::Reader& reader, Tag tag) {
  return reader.tag(static_cast<std::uint64_t>(tag));
}

/// The duration of exactly this length, if there is one.
template <class Rep, class Period>
[[nodiscard]] bool join(DaysAndRest time, std::chrono::duration<Rep, Period>& joined) {
  std::int64_t unit = 1'000'000'000;  // nanoseconds of the unit that is counted
  std::int64_t units_of_day = kSecondsOfDay;
  std::int64_t units_of_tick = 1;
  if constexpr (divides_day<Period>) {
    unit = std::ratio_divide<Period, std::nano>::num;
    units_of_day = kNanosecondsOfDay / unit;
  } else {
    units_of_tick = Period::num;
  }
  if (time.nanoseconds % unit != 0) return false;
  std::int64_t days = time.days;
  std::int64_t rest = time.nanoseconds / unit;
  if (days < 0 && rest != 0) {  // towards zero, or the lowest counts would overflow
    ++days;
    rest -= units_of_day;
  }
  std::int64_t count = 0;
  if (__builtin_mul_overflow(days, units_of_day, &count) ||
      __builtin_add_overflow(count, rest, &count) || count % units_of_tick != 0) {
    return false;
  }
  count /= units_of_tick;
  if (!std::in_range<Rep>(count)) return false;
  joined = std::chrono::duration<Rep, Period>(static_cast<Rep>(count));
  return true;
}

/// Room to make before reading, however much a damaged length announces.
[[nodiscard]] inline std::size_t first_room(std::uint64_t items) noexcept {
  return static_cast<std::size_t>(std::min<std::uint64_t>(items, 1024));
}

template <class Range>
void store_items(cbor::Writer& writer, const Range& range) {
  for (const auto& item : range) {
    store_value<typename Range::value_type>(writer, item);
  }
}

template <class Sequence>
[[nodiscard]] bool load_sequence(cbor::Reader& reader, Sequence& sequence) {
  std::uint64_t items = 0;
  if (!reader.array(items)) return false;
  sequence.clear();
  if constexpr (requires { sequence.reserve(std::size_t{}); }) {
    sequence.reserve(first_room(items));
  }
  for (; items > 0; --items) {
    typename Sequence::value_type item{};
    if (!load_value(reader, item)) return false;
    sequence.push_back(std::move(item));
  }
  return true;
}

template <class Map>
void store_map(cbor::Writer& writer, const Map& map) {
  writer.map(map.size());
  for (const auto& [key, value] : map) {
    store_value(writer, key);
    store_value(writer, value);
  }
}

template <class Map>
[[nodiscard]] bool load_map(cbor::Reader& reader, Map& map) {
  std::uint64_t pairs = 0;
  if (!reader.map(pairs)) return false;
  map.clear();
  for (; pairs > 0; --pairs) {
    typename Map::key_type key{};
    typename Map::mapped_type value{};
    if (!load_value(reader, key) || !load_value(reader, value)) return false;
    if (!map.emplace(std::move(key), std::move(value)).second) {
      return reader.refuse("a key that was not there before");
    }
  }
  return true;
}

template <class Set>
void store_set(cbor::Writer& writer, const Set& set) {
  tag(writer, Tag::set);
  writer.array(set.size());
  store_items(writer, set);
}

template <class Set>
[[nodiscard]] bool load_set(cbor::Reader& reader, Set& set) {
  std::uint64_t items = 0;
  if (!tag(reader, Tag::set) || !reader.array(items)) return false;
  set.clear();
  for (; items > 0; --items) {
    typename Set::value_type item{};
    if (!load_value(reader, item)) return false;
    if (!set.insert(std::move(item)).second) {
      return reader.refuse("an item that was not there before");
    }
  }
  return true;
}

template <class Tuple>
void store_tuple(cbor::Writer& writer, const Tuple& tuple) {
  tag(writer, Tag::tuple);
  writer.array(std::tuple_size_v<Tuple>);
  std::apply([&](const auto&... part) { (store_value(writer, part), ...); }, tuple);
}

template <class Tuple>
[[nodiscard]] bool load_tuple(cbor::Reader& reader, Tuple& tuple) {
  std::uint64_t items = 0;
  if (!tag(reader, Tag::tuple) || !reader.array(items)) return false;
  if (items != std::tuple_size_v<Tuple>) {
    return reader.refuse("a tuple of another length");
  }
  return std::apply([&](auto&... part) { return (load_value(reader, part) && ...); },
                    tuple);
}

}  // namespace detail

template <>
struct value_codec<bool> {
  static void encode(cbor::Writer& writer, bool value) { writer.boolean(value); }
  static bool decode(cbor::Reader& reader, bool& value) {
    return reader.boolean(value);
  }
};

/// Read only if the type can hold it.
template <std::integral T>
requires(sizeof(T) <= 8) struct value_codec<T> {
  static void encode(cbor::Writer& writer, T value) {
    key_encoder<T>::encode(writer, value);
  }
  static bool decode(cbor::Reader& reader, T& value) {
    if constexpr (std::is_signed_v<T>) {
      std::int64_t number = 0;
      if (!reader.integer(number)) return false;
      if (!fits(number)) return reader.refuse(kRange);
      value = static_cast<T>(number);
    } else {
      std::uint64_t number = 0;
      if (!reader.unsigned_int(number)) return false;
      if (!fits(number)) return reader.refuse(kRange);
      value = static_cast<T>(number);
    }
    return true;
  }

 private:
  /// `std::in_range` refuses character types.
  template <class Number>
  static constexpr bool fits(Number number) noexcept {
    return number >= Number{std::numeric_limits<T>::min()} &&
           number <= Number{std::numeric_limits<T>::max()};
  }
  static constexpr const char* kRange = "an integer that the type can hold";
};
template <class T>
requires std::is_enum_v<T>
struct value_codec<T> {
  static void encode(cbor::Writer& writer, T value) {
    store_value(writer, static_cast<std::underlying_type_t<T>>(value));
  }
  static bool decode(cbor::Reader& reader, T& value) {
    std::underlying_type_t<T> number{};
    if (!load_value(reader, number)) return false;
    value = static_cast<T>(number);
    return true;
  }
};

template <>
struct value_codec<double> {
  static void encode(cbor::Writer& writer, double value) { writer.real64(value); }
  static bool decode(cbor::Reader& reader, double& value) { return reader.real(value); }
};
template <>
struct value_codec<float> {
  static void encode(cbor::Writer& writer, float value) { writer.real64(value); }
  static bool decode(cbor::Reader& reader, float& value) {
    double wide = 0;
    if (!reader.real(wide)) return false;
    constexpr double kLargest = std::numeric_limits<float>::max();
    const bool in_range = !std::isfinite(wide) || std::abs(wide) <= kLargest;
    if (!in_range || (!std::isnan(wide) && static_cast<float>(wide) != wide)) {
      return reader.refuse("a float of single precision");
    }
    value = static_cast<float>(wide);
    return true;
  }
};
template <Storable T>
struct value_codec<std::complex<T>> {
  static void encode(cbor::Writer& writer, const std::complex<T>& value) {
    detail::tag(writer, Tag::complex);
    writer.array(2);
    store_value(writer, value.real());
    store_value(writer, value.imag());
  }
  static bool decode(cbor::Reader& reader, std::complex<T>& value) {
    std::uint64_t parts = 0;
    T real{};
    T imaginary{};
    if (!detail::tag(reader, Tag::complex) || !reader.array(parts)) return false;
    if (parts != 2) return reader.refuse("two parts of a complex number");
    if (!load_value(reader, real) || !load_value(reader, imaginary)) return false;
    value = {real, imaginary};
    return true;
  }
};

template <>
struct value_codec<std::string> {
  static void encode(cbor::Writer& writer, const std::string& value) {
    detail::encode_text(writer, value);
  }
  static bool decode(cbor::Reader& reader, std::string& value) {
    return detail::decode_text(reader, value);
  }
};
template <>
struct value_codec<std::filesystem::path> {
  static void encode(cbor::Writer& writer, const std::filesystem::path& value) {
    key_encoder<std::filesystem::path>::encode(writer, value);
  }
  static bool decode(cbor::Reader& reader, std::filesystem::path& value) {
    std::string text;
    if (!detail::tag(reader, Tag::path) || !detail::decode_text(reader, text)) {
      return false;
    }
    value = std::filesystem::path(std::move(text));
    return true;
  }
};

template <>
struct value_codec<std::nullptr_t> {
  static void encode(cbor::Writer& writer, std::nullptr_t) { writer.null(); }
  static bool decode(cbor::Reader& reader, std::nullptr_t&) { return reader.null(); }
};
template <>
struct value_codec<std::monostate> {
  static void encode(cbor::Writer& writer, std::monostate) { writer.null(); }
  static bool decode(cbor::Reader& reader, std::monostate&) { return reader.null(); }
};
/// Not of what can itself be null: two values would be stored alike.
template <Storable T>
requires(!detail::may_be_null<T>) struct value_codec<std::optional<T>> {
  static void encode(cbor::Writer& writer, const std::optional<T>& value) {
    if (value) {
      store_value(writer, *value);
    } else {
      writer.null();
    }
  }
  static bool decode(cbor::Reader& reader, std::optional<T>& value) {
    value.reset();
    return reader.take_null() || load_value(reader, value.emplace());
  }
};
template <Storable... T>
struct value_codec<std::variant<T...>> {
  static void encode(cbor::Writer& writer, const std::variant<T...>& value) {
    detail::tag(writer, Tag::tuple);
    writer.array(2);
    writer.unsigned_int(value.index());
    if (value.valueless_by_exception()) {
      writer.null();  // its index is no alternative's, so it is not read again
    } else {
      std::visit([&](const auto& held) { store_value(writer, held); }, value);
    }
  }
  static bool decode(cbor::Reader& reader, std::variant<T...>& value) {
    std::uint64_t items = 0;
    std::uint64_t index = 0;
    if (!detail::tag(reader, Tag::tuple) || !reader.array(items)) return false;
    if (items != 2) return reader.refuse("the two parts of a variant");
    if (!reader.unsigned_int(index)) return false;
    if (index >= sizeof...(T)) return reader.refuse("the index of an alternative");
    return load(reader, value, index, std::index_sequence_for<T...>());
  }

 private:
  template <std::size_t... I>
  static bool load(cbor::Reader& reader, std::variant<T...>& value, std::uint64_t index,
                   std::index_sequence<I...>) {
    return ((I == index && load_value(reader, value.template emplace<I>())) || ...);
  }
};

template <Storable T, class Allocator>
struct value_codec<std::vector<T, Allocator>> {
  static void encode(cbor::Writer& writer, const std::vector<T, Allocator>& value) {
    if constexpr (std::is_same_v<T, std::byte>) {
      writer.bytes(value);
    } else {
      writer.array(value.size());
      detail::store_items(writer, value);
    }
  }
  static bool decode(cbor::Reader& reader, std::vector<T, Allocator>& value) {
    if constexpr (std::is_same_v<T, std::byte>) {
      Bytes bytes;
      if (!reader.bytes(bytes)) return false;
      value.assign(bytes.begin(), bytes.end());
      return true;
    } else {
      return detail::load_sequence(reader, value);
    }
  }
};
template <Storable T, std::size_t N>
struct value_codec<std::array<T, N>> {
  static void encode(cbor::Writer& writer, const std::array<T, N>& value) {
    if constexpr (std::is_same_v<T, std::byte>) {
      writer.bytes(value);
    } else {
      writer.array(N);
      detail::store_items(writer, value);
    }
  }
  static bool decode(cbor::Reader& reader, std::array<T, N>& value) {
    static constexpr const char* kLength = "as many items as the array has";
    if constexpr (std::is_same_v<T, std::byte>) {
      Bytes bytes;
      if (!reader.bytes(bytes)) return false;
      if (bytes.size() != N) return reader.refuse(kLength);
      std::copy(bytes.begin(), bytes.end(), value.begin());
    } else {
      std::uint64_t items = 0;
      if (!reader.array(items)) return false;
      if (items != N) return reader.refuse(kLength);
      for (T& item : value) {
        if (!load_value(reader, item)) return false;
      }
    }
    return true;
  }
};
template <Storable T, class Allocator>
struct value_codec<std::deque<T, Allocator>> {
  static void encode(cbor::Writer& writer, const std::deque<T, Allocator>& value) {
    writer.array(value.size());
    detail::store_items(writer, value);
  }
  static bool decode(cbor::Reader& reader, std::deque<T, Allocator>& value) {
    return detail::load_sequence(reader, value);
  }
};
template <Storable T, class Allocator>
struct value_codec<std::list<T, Allocator>> {
  static void encode(cbor::Writer& writer, const std::list<T, Allocator>& value) {
    writer.array(value.size());
    detail::store_items(writer, value);
  }
  static bool decode(cbor::Reader& reader, std::list<T, Allocator>& value) {
    return detail::load_sequence(reader, value);
  }
};

template <Storable First, Storable Second>
struct value_codec<std::pair<First, Second>> {
  static void encode(cbor::Writer& writer, const std::pair<First, Second>& value) {
    detail::store_tuple(writer, value);
  }
  static bool decode(cbor::Reader& reader, std::pair<First, Second>& value) {
    return detail::load_tuple(reader, value);
  }
};
template <Storable... T>
struct value_codec<std::tuple<T...>> {
  static void encode(cbor::Writer& writer, const std::tuple<T...>& value) {
    detail::store_tuple(writer, value);
  }
  static bool decode(cbor::Reader& reader, std::tuple<T...>& value) {
    return detail::load_tuple(reader, value);
  }
};

template <Storable Key, Storable T, class Compare, class Allocator>
struct value_codec<std::map<Key, T, Compare, Allocator>> {
  using Map = std::map<Key, T, Compare, Allocator>;
  static void encode(cbor::Writer& writer, const Map& value) {
    detail::store_map(writer, value);
  }
  static bool decode(cbor::Reader& reader, Map& value) {
    return detail::load_map(reader, value);
  }
};
template <Storable Key, Storable T, class Hash, class Equal, class Allocator>
struct value_codec<std::unordered_map<Key, T, Hash, Equal, Allocator>> {
  using Map = std::unordered_map<Key, T, Hash, Equal, Allocator>;
  static void encode(cbor::Writer& writer, const Map& value) {
    detail::store_map(writer, value);
  }
  static bool decode(cbor::Reader& reader, Map& value) {
    return detail::load_map(reader, value);
  }
};
template <Storable T, class Compare, class Allocator>
struct value_codec<std::set<T, Compare, Allocator>> {
  using Set = std::set<T, Compare, Allocator>;
  static void encode(cbor::Writer& writer, const Set& value) {
    detail::store_set(writer, value);
  }
  static bool decode(cbor::Reader& reader, Set& value) {
    return detail::load_set(reader, value);
  }
};
template <Storable T, class Hash, class Equal, class Allocator>
struct value_codec<std::unordered_set<T, Hash, Equal, Allocator>> {
  using Set = std::unordered_set<T, Hash, Equal, Allocator>;
  static void encode(cbor::Writer& writer, const Set& value) {
    detail::store_set(writer, value);
  }
  static bool decode(cbor::Reader& reader, Set& value) {
    return detail::load_set(reader, value);
  }
};

template <std::integral Rep, class Period>
requires detail::is_exact_period<Period>
struct value_codec<std::chrono::duration<Rep, Period>> {
  using Time = std::chrono::duration<Rep, Period>;
  static void encode(cbor::Writer& writer, Time value) {
    key_encoder<Time>::encode(writer, value);
  }
  static bool decode(cbor::Reader& reader, Time& value) {
    detail::DaysAndRest time;
    if (!detail::decode_duration(reader, time)) return false;
    return detail::join(time, value) ||
           reader.refuse("a length of time that the type can hold");
  }
};
template <Storable Duration>
struct value_codec<std::chrono::sys_time<Duration>> {
  using Time = std::chrono::sys_time<Duration>;
  static void encode(cbor::Writer& writer, Time value) {
    key_encoder<Time>::encode(writer, value);
  }
  static bool decode(cbor::Reader& reader, Time& value) {
    detail::DaysAndRest time;
    Duration since{};
    if (!detail::decode_datetime(reader, time, true)) return false;
    if (!detail::join(time, since)) {
      return reader.refuse("a time that the type can hold");
    }
    value = Time(since);
    return true;
  }
};
template <Storable Duration>
struct value_codec<std::chrono::local_time<Duration>> {
  using Time = std::chrono::local_time<Duration>;
  static void encode(cbor::Writer& writer, Time value) {
    key_encoder<Time>::encode(writer, value);
  }
  static bool decode(cbor::Reader& reader, Time& value) {
    detail::DaysAndRest time;
    Duration since{};
    if (!detail::decode_datetime(reader, time, false)) return false;
    if (!detail::join(time, since)) {
      return reader.refuse("a time that the type can hold");
    }
    value = Time(since);
    return true;
  }
};
template <>
struct value_codec<std::chrono::year_month_day> {
  static void encode(cbor::Writer& writer, std::chrono::year_month_day value) {
    key_encoder<std::chrono::year_month_day>::encode(writer, value);
  }
  static bool decode(cbor::Reader& reader, std::chrono::year_month_day& value) {
    return detail::decode_date(reader, value);
  }
};

}  // namespace cachier

#pragma once

/// CBOR (RFC 8949), one writer and one reader, for keys, values and envelopes.
///
/// Definite lengths only. The writer writes shortest heads, so that what it writes is
/// deterministic if its caller sorts maps (`Sorter`). The reader never recurses, never
/// allocates in its plain form, and hands out views of its input.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>
#include <cachier/export.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace cachier::cbor {

/// Arrays, maps and tags within each other, at most.
inline constexpr std::size_t kMaxDepth = 512;

inline constexpr std::uint64_t kFalse = 20;
inline constexpr std::uint64_t kTrue = 21;
inline constexpr std::uint64_t kNull = 22;
inline constexpr std::uint64_t kUndefined = 23;

/// Whether it is sound UTF-8: no surrogates, no overlong forms, nothing above U+10FFFF.
[[nodiscard]] CACHIER_API bool is_utf8(std::string_view text) noexcept;

namespace detail {

template <class Word>
[[nodiscard]] inline Word high_bits(const char* text) noexcept {
  Word word;
  std::memcpy(&word, text, sizeof word);
  return static_cast<Word>(word & static_cast<Word>(0x8080808080808080u));
}

/// By whole words, the last of which may overlap the one before.
[[nodiscard]] inline bool is_ascii(const char* text, std::size_t size) noexcept {
  if (size >= 8) {
    const char* const last = text + size - 8;
    for (; text < last; text += 8) {
      if (high_bits<std::uint64_t>(text) != 0) return false;
    }
    return high_bits<std::uint64_t>(last) == 0;
  }
  if (size >= 4) {
    return (high_bits<std::uint32_t>(text) |
            high_bits<std::uint32_t>(text + size - 4)) == 0;
  }
  unsigned all = 0;
  for (std::size_t i = 0; i < size; ++i) all |= static_cast<unsigned char>(text[i]);
  return all < 0x80;
}

template <class T>
[[nodiscard]] constexpr T swap_bytes(T value) noexcept {
  if constexpr (sizeof(T) == 1) {
    return value;
  } else if constexpr (sizeof(T) == 2) {
    return __builtin_bswap16(value);
  } else if constexpr (sizeof(T) == 4) {
    return __builtin_bswap32(value);
  } else {
    return __builtin_bswap64(value);
  }
}

template <class T>
[[nodiscard]] constexpr T big_endian(T value) noexcept {
  return std::endian::native == std::endian::big ? value : swap_bytes(value);
}

/// An initial byte and the number after it. Gives where they end.
template <class T>
[[nodiscard]] inline unsigned char* write_fixed(unsigned char* at, unsigned initial,
                                                T value) noexcept {
  *at = static_cast<unsigned char>(initial);
  const T stored = big_endian(value);
  std::memcpy(at + 1, &stored, sizeof stored);
  return at + 1 + sizeof stored;
}

/// Bytes of a head, at most.
inline constexpr std::size_t kMaxHead = 9;

/// The shortest head of this major type. Gives where it ends. Precondition: there is
/// room for `kMaxHead` bytes.
[[nodiscard]] inline unsigned char* write_head(unsigned char* at, unsigned major,
                                               std::uint64_t number) noexcept {
  if (number < 24) {
    *at = static_cast<unsigned char>(major | static_cast<unsigned>(number));
    return at + 1;
  }
  if (number <= 0xff) {
    return write_fixed(at, major | 24u, static_cast<std::uint8_t>(number));
  }
  if (number <= 0xffff) {
    return write_fixed(at, major | 25u, static_cast<std::uint16_t>(number));
  }
  if (number <= 0xffffffff) {
    return write_fixed(at, major | 26u, static_cast<std::uint32_t>(number));
  }
  return write_fixed(at, major | 27u, number);
}

}  // namespace detail

/// The same, decided inline where it is all ASCII.
[[nodiscard]] inline bool valid_text(std::string_view text) noexcept {
  return detail::is_ascii(text.data(), text.size()) || is_utf8(text);
}

/// Writes items one after the other into a buffer that starts on the stack.
///
/// 512 bytes are inline, more goes to the heap (`std::bad_alloc` if there is none).
/// Not checked: that arrays and maps get as many items as they announce, that text is
/// UTF-8 (`valid_text`). Not thread-safe.
class Writer {
 public:
  Writer() noexcept : begin_(inline_), at_(inline_), end_(inline_ + sizeof inline_) {}
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    if (begin_ != inline_) std::free(begin_);
  }

  void unsigned_int(std::uint64_t value) { head(0x00, value); }
  /// The integer -1 - `n`.
  void negative(std::uint64_t n) { head(0x20, n); }
  void integer(std::int64_t value) {
    if (value >= 0) {
      head(0x00, static_cast<std::uint64_t>(value));
    } else {
      head(0x20, ~static_cast<std::uint64_t>(value));
    }
  }

  /// The shortest of the three forms that is exact; every NaN is the same one. For
  /// keys.
  void real(double value) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    const auto sign = static_cast<std::uint16_t>(bits >> 48 & 0x8000u);
    const int exponent = static_cast<int>(bits >> 52 & 0x7ffu) - 1023;
    const std::uint64_t fraction = bits & 0xfffffffffffffu;
    if (exponent == 1024) {
      half(fraction != 0 ? std::uint16_t{0x7e00}
                         : static_cast<std::uint16_t>(sign | 0x7c00u));
    } else if (exponent == -1023 && fraction == 0) {
      half(sign);
    } else if (exponent >= -14 && exponent <= 15 && low_bits(fraction, 42) == 0) {
      half(static_cast<std::uint16_t>(
          sign | static_cast<unsigned>(exponent + 15) << 10 | fraction >> 42));
    } else if (const std::uint64_t whole = fraction | std::uint64_t{1} << 52;
               exponent >= -24 && exponent < -14 &&
               low_bits(whole, 28 - exponent) == 0) {
      half(static_cast<std::uint16_t>(sign | whole >> (28 - exponent)));
    } else if ((exponent >= -126 && exponent <= 127 && low_bits(fraction, 29) == 0) ||
               (exponent >= -149 && exponent < -126 &&
                low_bits(whole, -97 - exponent) == 0)) {
      fixed<std::uint32_t>(0xfa,
                           std::bit_cast<std::uint32_t>(static_cast<float>(value)));
    } else {
      real64(value);
    }
  }

  /// Always nine bytes, every bit kept. For values.
  void real64(double value) {
    fixed<std::uint64_t>(0xfb, std::bit_cast<std::uint64_t>(value));
  }

  void boolean(bool value) { put(value ? 0xf5 : 0xf4); }
  void null() { put(0xf6); }
  /// Precondition: below 20, or from 32 to 255.
  void simple(std::uint8_t value) { head(0xe0, value); }

  void text(std::string_view value) {
    head(0x60, value.size());
    append(value.data(), value.size());
  }
  void bytes(Bytes value) {
    head(0x40, value.size());
    append(value.data(), value.size());
  }
  /// The head of bytes that are written elsewhere, or by `raw`.
  void bytes_head(std::uint64_t size) { head(0x40, size); }
  /// `items` items follow.
  void array(std::uint64_t items) { head(0x80, items); }
  /// `pairs` keys with a value each follow.
  void map(std::uint64_t pairs) { head(0xa0, pairs); }
  /// The item that follows is meant by this tag.
  void tag(std::uint64_t number) { head(0xc0, number); }

  /// Bytes that are items already.
  void raw(Bytes encoded) { append(encoded.data(), encoded.size()); }

  /// Until the next write.
  [[nodiscard]] Bytes view() const noexcept {
    return {reinterpret_cast<const std::byte*>(begin_), size()};
  }
  [[nodiscard]] std::size_t size() const noexcept {
    return static_cast<std::size_t>(at_ - begin_);
  }
  /// Takes back all after the first `size` bytes. Precondition: `size <= size()`.
  void truncate(std::size_t size) noexcept { at_ = begin_ + size; }
  void clear() noexcept { at_ = begin_; }
  /// Puts other bytes in the place of some. Precondition: `at + bytes.size() <=
  /// size()`.
  void overwrite(std::size_t at, Bytes bytes) noexcept {
    if (!bytes.empty()) std::memcpy(begin_ + at, bytes.data(), bytes.size());
  }
  /// What was written, as a string; the writer is empty afterwards.
  [[nodiscard]] std::string take() {
    std::string written(reinterpret_cast<const char*>(begin_), size());
    clear();
    return written;
  }

 private:
  [[nodiscard]] static std::uint64_t low_bits(std::uint64_t value, int count) noexcept {
    return value & ((std::uint64_t{1} << count) - 1);
  }

  void reserve(std::size_t more) {
    if (static_cast<std::size_t>(end_ - at_) < more) [[unlikely]] {
      grow(more);
    }
  }

  void put(unsigned initial) {
    reserve(1);
    *at_++ = static_cast<unsigned char>(initial);
  }

  template <class T>
  void fixed(unsigned initial, T value) {
    reserve(1 + sizeof value);
    at_ = detail::write_fixed(at_, initial, value);
  }

  void half(std::uint16_t bits) { fixed<std::uint16_t>(0xf9, bits); }

  void head(unsigned major, std::uint64_t number) {
    reserve(detail::kMaxHead);
    at_ = detail::write_head(at_, major, number);
  }

  void append(const void* data, std::size_t size) {
    if (size == 0) return;
    reserve(size);
    std::memcpy(at_, data, size);
    at_ += size;
  }

  CACHIER_API void grow(std::size_t more);

  unsigned char* begin_;
  unsigned char* at_;
  unsigned char* end_;
  unsigned char inline_[512];
};

/// Puts the items of a map or set in order of their encoded bytes.
///
///     writer.map(n);
///     cbor::Sorter sorter(writer);
///     for (...) { sorter.item(); encode(key); encode(value); }
///     sorter.finish();
///
/// Nothing else may be written in between. Sorters may be nested.
class Sorter {
 public:
  explicit Sorter(Writer& writer) noexcept : writer_(writer) {}

  /// An item of the set, or a key and its value, begins here.
  void item() {
    if (count_ < first_.size()) {
      first_[count_] = writer_.size();
    } else {
      more_.push_back(writer_.size());
    }
    ++count_;
  }

  /// The last one has ended.
  void finish() {
    if (count_ > 1) order();
  }

 private:
  [[nodiscard]] std::size_t start(std::size_t index) const noexcept {
    return index < first_.size() ? first_[index] : more_[index - first_.size()];
  }
  CACHIER_API void order();

  Writer& writer_;
  std::size_t count_ = 0;
  std::array<std::size_t, 32> first_;
  std::vector<std::size_t> more_;
};

/// The major types, floats apart from the simple values.
enum class Kind : std::uint8_t {
  unsigned_int,  ///< `number`
  negative,      ///< -1 - `number`
  bytes,         ///< `view`
  text,          ///< `view`, sound UTF-8
  array,         ///< `number` items follow
  map,           ///< `number` pairs follow
  tag,           ///< `number`; the item it is for follows
  simple,        ///< `number`: `kFalse`, `kTrue`, `kNull`, `kUndefined`, or another
  real,          ///< `real`, of any width
};

/// "text", "an array", ...: for messages.
[[nodiscard]] CACHIER_API std::string_view name_of(Kind kind) noexcept;

/// One item, or the head of one that others follow.
struct Item {
  Kind kind = Kind::simple;
  std::uint64_t number = 0;
  double real = 0;
  Bytes view;  ///< in the reader's input

  [[nodiscard]] std::string_view text() const noexcept { return as_text(view); }
  [[nodiscard]] bool is_null() const noexcept {
    return kind == Kind::simple && number == kNull;
  }
};

/// Reads items one after the other.
///
/// Every verb answers whether it could; the first failure is kept (`error()`), and all
/// that follow fail too, so a caller may read on and look once. The reader counts the
/// items of arrays and maps itself: bounds on depth and on announced lengths hold
/// whatever the caller does. Any well-formed item of definite length is taken, also one
/// that is not deterministic (`check_deterministic`). The input must outlive the reader
/// and the views. Not thread-safe.
class Reader {
 public:
  explicit Reader(Bytes input) noexcept
      : begin_(input.data()),
        at_(input.data()),
        end_(input.data() + input.size()),
        last_(input.data()) {
    left_[0] = std::numeric_limits<std::uint64_t>::max();
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// The next item, or the head of one that others follow.
  [[nodiscard]] bool next(Item& item) noexcept {
    last_ = at_;
    if (at_ == end_) [[unlikely]] {
      return fail_end();
    }
    while (left_[depth_] == 0) --depth_;
    --left_[depth_];
    const auto initial = std::to_integer<unsigned>(*at_++);
    std::uint64_t number = initial & 31u;
    if (number >= 24 && !long_number(initial, number)) return false;
    item.number = number;
    switch (initial >> 5) {
      case 0:
        item.kind = Kind::unsigned_int;
        return true;
      case 1:
        item.kind = Kind::negative;
        return true;
      case 2:
        item.kind = Kind::bytes;
        return take(number, item.view);
      case 3:
        item.kind = Kind::text;
        return take(number, item.view) && (valid_text(item.text()) || fail_text());
      case 4:
        item.kind = Kind::array;
        return number <= rest() ? enter(number) : fail_length();
      case 5:
        item.kind = Kind::map;
        return number <= rest() / 2 ? enter(2 * number) : fail_length();
      case 6:
        item.kind = Kind::tag;
        return enter(1);
      default:
        if (initial == 0xfb) {
          item.kind = Kind::real;
          item.real = std::bit_cast<double>(number);
          return true;
        }
        item.kind = Kind::simple;
        return initial < 0xf8 || short_real_or_simple(initial, item);
    }
  }

  [[nodiscard]] bool unsigned_int(std::uint64_t& value) noexcept {
    Item item;
    if (!want(item, Kind::unsigned_int)) return false;
    value = item.number;
    return true;
  }
  /// An integer that fits into 64 bits with its sign.
  [[nodiscard]] bool integer(std::int64_t& value) noexcept {
    Item item;
    if (!next(item)) return false;
    if (item.kind > Kind::negative) return refuse("an integer");
    if (item.number > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      return refuse("an integer of at most 64 bits with its sign");
    }
    value = static_cast<std::int64_t>(item.kind == Kind::negative ? ~item.number
                                                                  : item.number);
    return true;
  }
  /// A float of any width.
  [[nodiscard]] bool real(double& value) noexcept {
    Item item;
    if (!want(item, Kind::real)) return false;
    value = item.real;
    return true;
  }
  [[nodiscard]] bool boolean(bool& value) noexcept {
    Item item;
    if (!next(item)) return false;
    if (item.kind != Kind::simple || (item.number | 1) != kTrue) {
      return refuse("true or false");
    }
    value = item.number == kTrue;
    return true;
  }
  [[nodiscard]] bool null() noexcept {
    Item item;
    return next(item) && (item.is_null() || refuse("null"));
  }
  /// Reads a null if one is next; else reads nothing and answers false, which is no
  /// failure.
  [[nodiscard]] bool take_null() noexcept { return peek() == 0xf6 && null(); }
  [[nodiscard]] bool text(std::string_view& value) noexcept {
    Item item;
    if (!want(item, Kind::text)) return false;
    value = item.text();
    return true;
  }
  [[nodiscard]] bool bytes(Bytes& value) noexcept {
    Item item;
    if (!want(item, Kind::bytes)) return false;
    value = item.view;
    return true;
  }
  /// An array's head. `items` is at most the number of bytes that are left.
  [[nodiscard]] bool array(std::uint64_t& items) noexcept {
    Item item;
    if (!want(item, Kind::array)) return false;
    items = item.number;
    return true;
  }
  /// A map's head. `pairs` is at most half the number of bytes that are left.
  [[nodiscard]] bool map(std::uint64_t& pairs) noexcept {
    Item item;
    if (!want(item, Kind::map)) return false;
    pairs = item.number;
    return true;
  }
  /// Exactly this tag; the item it is for is next.
  [[nodiscard]] bool tag(std::uint64_t number) noexcept {
    Item item;
    if (!want(item, Kind::tag)) return false;
    return item.number == number || fail_tag(number);
  }

  /// Reads one item with all that is in it.
  [[nodiscard]] CACHIER_API bool skip() noexcept;
  /// The same, and gives its bytes.
  [[nodiscard]] bool skip(Bytes& whole) noexcept {
    const std::byte* const start = at_;
    if (!skip()) return false;
    whole = {start, at_};
    return true;
  }

  /// Whether every item is complete and nothing follows; what is missing or too much is
  /// a failure.
  [[nodiscard]] CACHIER_API bool finish() noexcept;

  /// Fails: `expected` ("an integer of 32 bits", a literal) was not what was read last.
  /// For decoders above.
  CACHIER_API bool refuse(const char* expected) noexcept;

  [[nodiscard]] bool at_end() const noexcept { return at_ == end_; }
  /// The first byte of what comes next; 0xff, which begins nothing, at the end.
  [[nodiscard]] std::uint8_t peek() const noexcept {
    return at_ == end_ ? std::uint8_t{0xff} : std::to_integer<std::uint8_t>(*at_);
  }
  /// Bytes read so far.
  [[nodiscard]] std::size_t offset() const noexcept {
    return static_cast<std::size_t>(at_ - begin_);
  }
  /// Arrays, maps and tags that the item read last is within or begins.
  [[nodiscard]] std::size_t depth() const noexcept { return depth_; }

  [[nodiscard]] bool failed() const noexcept {
    return fault_.kind != Fault::Kind::none;
  }
  /// Where and what. `corrupt`: not CBOR as we take it; `unsupported`: sound, but
  /// another item was expected; `too_large`: nested too deep. Precondition: `failed()`.
  [[nodiscard]] CACHIER_API Error error() const;

 private:
  struct Fault {
    enum class Kind : std::uint8_t {
      none,
      end,         ///< input ends where an item is to begin
      cut,         ///< input ends within a head
      head,        ///< a head that means nothing
      indefinite,  ///< an indefinite length
      length,      ///< announces more than there is
      text,        ///< not UTF-8
      depth,
      trailing,
      expected,  ///< `expected`, but found another
      tag,       ///< tag `number` expected
    };
    Kind kind = Kind::none;
    std::size_t offset = 0;
    const char* expected = nullptr;
    std::uint64_t number = 0;
  };

  [[nodiscard]] std::size_t rest() const noexcept {
    return static_cast<std::size_t>(end_ - at_);
  }

  bool want(Item& item, Kind kind) noexcept {
    return next(item) && (item.kind == kind || fail_kind(kind));
  }

  bool take(std::uint64_t size, Bytes& view) noexcept {
    if (size > rest()) [[unlikely]] {
      return fail_length();
    }
    view = {at_, static_cast<std::size_t>(size)};
    at_ += size;
    return true;
  }

  bool enter(std::uint64_t items) noexcept {
    if (depth_ + 1 >= left_.size()) [[unlikely]] {
      return fail_depth();
    }
    left_[++depth_] = items;
    return true;
  }

  template <class T>
  bool load(std::uint64_t& number) noexcept {
    if (rest() < sizeof(T)) [[unlikely]] {
      return fail_cut();
    }
    T stored;
    std::memcpy(&stored, at_, sizeof stored);
    at_ += sizeof stored;
    number = detail::big_endian(stored);
    return true;
  }

  bool long_number(unsigned initial, std::uint64_t& number) noexcept {
    switch (initial & 31u) {
      case 24:
        return load<std::uint8_t>(number);
      case 25:
        return load<std::uint16_t>(number);
      case 26:
        return load<std::uint32_t>(number);
      case 27:
        return load<std::uint64_t>(number);
      default:
        return fail_head(initial);
    }
  }

  CACHIER_API bool short_real_or_simple(unsigned initial, Item& item) noexcept;
  CACHIER_API bool fail_end() noexcept;
  CACHIER_API bool fail_cut() noexcept;
  CACHIER_API bool fail_head(unsigned initial) noexcept;
  CACHIER_API bool fail_length() noexcept;
  CACHIER_API bool fail_text() noexcept;
  CACHIER_API bool fail_depth() noexcept;
  CACHIER_API bool fail_kind(Kind expected) noexcept;
  CACHIER_API bool fail_tag(std::uint64_t expected) noexcept;
  bool fail(Fault::Kind kind, const std::byte* where) noexcept;
  [[nodiscard]] std::string found_at(std::size_t offset) const;

  const std::byte* begin_;
  const std::byte* at_;
  const std::byte* end_;
  const std::byte* last_;  ///< where the item that was read last begins
  std::size_t depth_ = 0;
  /// Items still to come at each depth; those at depth 0 are without number.
  std::array<std::uint64_t, kMaxDepth + 1> left_;
  Fault fault_;
};

/// Whether `input` is a sequence of items in deterministic form (RFC 8949 section
/// 4.2.1): shortest heads, floats and big integers, maps sorted without repeated keys.
/// Keys must be. The error (`corrupt`) names the byte.
[[nodiscard]] CACHIER_API Result<Done> check_deterministic(Bytes input);

}  // namespace cachier::cbor

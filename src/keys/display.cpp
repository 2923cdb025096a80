#include <cachier/key.hpp>

#include <algorithm>
#include <charconv>

namespace cachier {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kEllipsis = "\u2026";
/// People do not read deeper ones.
constexpr std::size_t kMaxShownDepth = 24;

/// The tags that read well as a call of this name; others have a form of their own.
constexpr std::pair<Tag, std::string_view> kNames[] = {
    {Tag::decimal_fraction, "decimal_fraction"},
    {Tag::rational, "Fraction"},
    {Tag::uuid, "UUID"},
    {Tag::frozenset, "frozenset"},
    {Tag::bytearray, "bytearray"},
    {Tag::complex, "complex"},
    {Tag::datetime, "datetime"},
    {Tag::date, "date"},
    {Tag::time, "time"},
    {Tag::timedelta, "timedelta"},
    {Tag::timezone, "timezone"},
    {Tag::decimal, "Decimal"},
    {Tag::path, "Path"},
    {Tag::range, "range"},
    {Tag::slice, "slice"},
    {Tag::hash_func, "hash_func"},
    {Tag::numpy_dtype, "dtype"},
    {Tag::numpy_scalar, "numpy"},
    {Tag::numpy_array, "array"},
    {Tag::bound_method, "method"},
    {Tag::partial, "partial"},
    {Tag::module, "module"},
};

/// Renders one key. Every step answers whether the bytes had the form it expects; it
/// stops early, as if that were so, when there is enough text.
class Display {
 public:
  Display(Bytes key, std::size_t limit) : reader_(key), limit_(limit) {}

  /// False: not a key.
  bool call(std::string_view parameters) {
    cbor::Item item;
    if (!reader_.next(item)) return false;
    if (item.kind == cbor::Kind::tag && Tag{item.number} == Tag::hash_func) {
      return show(item, 0) && (full() || reader_.finish());
    }
    if (item.kind != cbor::Kind::array) return false;
    if (!arguments(item.number, parameters)) return false;
    if (full() || reader_.at_end()) return full() || reader_.finish();
    std::uint64_t surplus = 0;
    if (!reader_.array(surplus) || !arguments(surplus, "")) return false;
    if (full() || reader_.at_end()) return full() || reader_.finish();
    std::uint64_t keywords = 0;
    return reader_.map(keywords) && fields(keywords, 0) && (full() || reader_.finish());
  }

  std::string take() {
    if (!full()) return std::move(text_);
    std::size_t end = limit_ - std::min(limit_, kEllipsis.size());
    const auto continues = [&] {
      return end > 0 && (static_cast<unsigned char>(text_[end]) & 0xc0) == 0x80;
    };
    while (continues()) --end;
    text_.resize(end);
    return std::move(text_.append(kEllipsis));
  }

 private:
  [[nodiscard]] bool full() const noexcept { return text_.size() > limit_; }

  void comma() {
    if (!text_.empty() && text_.back() != '(' && text_.back() != '[' &&
        text_.back() != '{') {
      text_.append(", ");
    }
  }

  /// Items with the names that they have, if they have one.
  bool arguments(std::uint64_t count, std::string_view parameters) {
    for (; count > 0 && !full(); --count) {
      if (!text_.empty()) text_.append(", ");
      const std::string_view name = parameters.substr(0, parameters.find(','));
      parameters.remove_prefix(std::min(parameters.size(), name.size() + 1));
      if (!name.empty() && name.front() != '*') text_.append(name).push_back('=');
      if (!next(0)) return false;
    }
    return true;
  }

  /// `name=item` of a map with text keys.
  bool fields(std::uint64_t pairs, std::size_t depth) {
    for (; pairs > 0 && !full(); --pairs) {
      std::string_view name;
      if (!reader_.text(name)) return false;
      comma();
      escape(name, '\0');
      text_.push_back('=');
      if (!next(depth)) return false;
    }
    return true;
  }

  bool items(std::uint64_t count, std::size_t depth) {
    for (; count > 0 && !full(); --count) {
      comma();
      if (!next(depth)) return false;
    }
    return true;
  }

  bool pairs(std::uint64_t count, std::size_t depth) {
    text_.push_back('{');
    for (; count > 0 && !full(); --count) {
      comma();
      if (!next(depth)) return false;
      text_.append(": ");
      if (!next(depth)) return false;
    }
    text_.push_back('}');
    return true;
  }

  bool next(std::size_t depth) {
    if (full()) return true;
    if (depth >= kMaxShownDepth) {
      text_.append(kEllipsis);
      return reader_.skip();
    }
    cbor::Item item;
    return reader_.next(item) && show(item, depth);
  }

  bool show(const cbor::Item& item, std::size_t depth) {
    switch (item.kind) {
      case cbor::Kind::unsigned_int:
        text_.append(std::to_string(item.number));
        return true;
      case cbor::Kind::negative:
        text_.push_back('-');
        // One more than the largest has no number of its own here.
        text_.append(item.number + 1 == 0 ? "18446744073709551616"
                                          : std::to_string(item.number + 1));
        return true;
      case cbor::Kind::bytes:
        text_.push_back('b');
        return quoted(item.text(), true);
      case cbor::Kind::text:
        return quoted(item.text(), false);
      case cbor::Kind::array:
        text_.push_back('[');
        if (!items(item.number, depth + 1)) return false;
        text_.push_back(']');
        return true;
      case cbor::Kind::map:
        return pairs(item.number, depth + 1);
      case cbor::Kind::tag:
        return tagged(Tag{item.number}, depth + 1);
      case cbor::Kind::simple:
        return simple(item.number);
      case cbor::Kind::real:
        return real(item.real);
    }
    return false;
  }

  bool simple(std::uint64_t number) {
    switch (number) {
      case cbor::kFalse:
        text_.append("False");
        return true;
      case cbor::kTrue:
        text_.append("True");
        return true;
      case cbor::kNull:
        text_.append("None");
        return true;
      default:
        text_.append("simple(").append(std::to_string(number)).push_back(')');
        return true;
    }
  }

  bool real(double value) {
    std::array<char, 32> digits;
    const auto end = std::to_chars(digits.begin(), digits.end(), value).ptr;
    const std::string_view number(digits.data(),
                                  static_cast<std::size_t>(end - digits.begin()));
    text_.append(number);
    if (number.find_first_of(".eni") == std::string_view::npos) text_.append(".0");
    return true;
  }

  bool tagged(Tag tag, std::size_t depth) {
    switch (tag) {
      case Tag::positive_bignum:
      case Tag::negative_bignum:
        return bignum(tag == Tag::negative_bignum);
      case Tag::tuple:
        return tuple(depth);
      case Tag::set:
        return between("{", "}", depth);
      case Tag::pairs:
        return ordered_pairs(depth);
      case Tag::other_text: {
        Bytes bytes;
        return reader_.bytes(bytes) && quoted(as_text(bytes), false);
      }
      case Tag::enum_member:
        return enum_member(depth);
      case Tag::class_:
      case Tag::function:
        return named_code();
      case Tag::subclass:
      case Tag::dataclass:
      case Tag::named_tuple:
      case Tag::own_key:
      case Tag::reduced:
        return instance(depth);
      default:
        return call_like(tag, depth);
    }
  }

  bool between(std::string_view before, std::string_view after, std::size_t depth) {
    std::uint64_t count = 0;
    if (!reader_.array(count)) return false;
    text_.append(before);
    if (!items(count, depth)) return false;
    text_.append(after);
    return true;
  }

  bool tuple(std::size_t depth) {
    std::uint64_t count = 0;
    if (!reader_.array(count)) return false;
    text_.push_back('(');
    if (!items(count, depth)) return false;
    text_.append(count == 1 ? ",)" : ")");
    return true;
  }

  bool ordered_pairs(std::size_t depth) {
    std::uint64_t count = 0;
    return reader_.array(count) && count % 2 == 0 && pairs(count / 2, depth);
  }

  /// Name(items of the array) or Name(item).
  bool call_like(Tag tag, std::size_t depth) {
    const auto* const known =
        std::find_if(std::begin(kNames), std::end(kNames),
                     [tag](const auto& entry) { return entry.first == tag; });
    if (known != std::end(kNames)) {
      text_.append(known->second);
    } else {
      text_.append("tag").append(std::to_string(static_cast<std::uint64_t>(tag)));
    }
    if (reader_.peek() >> 5 == 4) return between("(", ")", depth);
    text_.push_back('(');
    if (!next(depth)) return false;
    text_.push_back(')');
    return true;
  }

  /// The array that begins with a type, of whose name the last part is shown.
  bool type_name(std::uint64_t& count) {
    std::string_view name;
    if (!reader_.array(count) || count == 0) return false;
    std::uint64_t parts = 1;
    if (reader_.peek() >> 5 == 4 && (!reader_.array(parts) || parts == 0)) return false;
    if (!reader_.text(name)) return false;
    for (; parts > 1; --parts) {
      if (!reader_.skip()) return false;
    }
    escape(name.substr(name.rfind('.') + 1), '\0');
    --count;
    return true;
  }

  bool enum_member(std::size_t depth) {
    std::uint64_t count = 0;
    if (!type_name(count) || count != 2) return false;
    if (reader_.peek() >> 5 != 3) {
      // A flag: the names of its bits, which its value says too.
      if (!reader_.skip()) return false;
      text_.push_back('(');
      if (!next(depth)) return false;
      text_.push_back(')');
      return true;
    }
    std::string_view member;
    if (!reader_.text(member)) return false;
    text_.push_back('.');
    escape(member, '\0');
    return reader_.skip();
  }

  bool instance(std::size_t depth) {
    std::uint64_t count = 0;
    if (!type_name(count)) return false;
    text_.push_back('(');
    if (count == 1 && reader_.peek() >> 5 == 5) {
      std::uint64_t named = 0;
      if (!reader_.map(named) || !fields(named, depth)) return false;
    } else if (!items(count, depth)) {
      return false;
    }
    text_.push_back(')');
    return true;
  }

  bool named_code() {
    std::string_view name;
    if (reader_.peek() >> 5 == 3) {
      if (!reader_.text(name)) return false;
      escape(name, '\0');
      return true;
    }
    std::uint64_t count = 0;
    if (!reader_.array(count) || count == 0 || !reader_.text(name)) return false;
    escape(name, '\0');
    for (--count; count > 0; --count) {
      if (!reader_.skip()) return false;
    }
    return true;
  }

  bool bignum(bool negative) {
    Bytes bytes;
    if (!reader_.bytes(bytes)) return false;
    std::string digits(as_text(bytes));
    if (negative) {  // stands for -1 - n
      auto at = digits.rbegin();
      while (at != digits.rend() && ++*at == 0) ++at;
      if (at == digits.rend()) digits.insert(digits.begin(), '\1');
      text_.push_back('-');
    }
    text_.append("0x");
    hex(digits);
    return true;
  }

  void hex(std::string_view bytes) {
    for (const char byte : bytes) {
      if (full()) return;
      const auto value = static_cast<unsigned char>(byte);
      text_.push_back(kHexDigits[value >> 4]);
      text_.push_back(kHexDigits[value & 15]);
    }
  }

  bool quoted(std::string_view text, bool bytes) {
    text_.push_back('\'');
    escape(text, '\'', bytes);
    text_.push_back('\'');
    return true;
  }

  /// Nothing that a terminal would obey, and no line breaks.
  void escape(std::string_view text, char quote, bool bytes = false) {
    const bool plain = !bytes && cbor::valid_text(text);
    for (std::size_t i = 0; i < text.size() && !full(); ++i) {
      const auto value = static_cast<unsigned char>(text[i]);
      const bool c1 = value == 0xc2 && i + 1 < text.size() &&
                      static_cast<unsigned char>(text[i + 1]) < 0xa0;
      if (text[i] == '\n') {
        text_.append("\\n");
      } else if (text[i] == '\\' || (quote != '\0' && text[i] == quote)) {
        text_.push_back('\\');
        text_.push_back(text[i]);
      } else if (value < 0x20 || value == 0x7f || (value >= 0x80 && !plain)) {
        text_.append("\\x");
        hex(text.substr(i, 1));
      } else if (c1) {
        text_.append("\\x");
        hex(text.substr(++i, 1));
      } else {
        text_.push_back(text[i]);
      }
    }
  }

  cbor::Reader reader_;
  std::string text_;
  std::size_t limit_;
};

std::string hexadecimal(Bytes bytes, std::size_t limit) {
  const bool cut = 2 * bytes.size() > limit;
  const std::size_t shown = cut ? limit / 2 : bytes.size();
  std::string text;
  for (const std::byte byte : bytes.first(shown)) {
    const auto value = std::to_integer<unsigned>(byte);
    text.push_back(kHexDigits[value >> 4]);
    text.push_back(kHexDigits[value & 15]);
  }
  if (cut) text.append(kEllipsis);
  return text;
}

}  // namespace

std::string display_key(Bytes key, std::string_view parameters, std::size_t limit) {
  Display display(key, limit);
  return display.call(parameters) ? display.take() : hexadecimal(key, limit);
}

}  // namespace cachier

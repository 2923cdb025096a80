#include <cachier/cbor.hpp>

#include <cmath>

namespace cachier::cbor {
namespace {

double from_half(std::uint64_t bits) noexcept {
  const auto exponent = static_cast<int>(bits >> 10 & 0x1f);
  const auto fraction = static_cast<int>(bits & 0x3ff);
  double value;
  if (exponent == 0) {
    value = std::ldexp(fraction, -24);
  } else if (exponent < 31) {
    value = std::ldexp(fraction + 1024, exponent - 25);
  } else {
    value = fraction == 0 ? std::numeric_limits<double>::infinity()
                          : std::numeric_limits<double>::quiet_NaN();
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

/// Of a first byte, however it goes on.
std::string describe(unsigned initial) {
  switch (initial) {
    case 0xf4:
      return "false";
    case 0xf5:
      return "true";
    case 0xf6:
      return "null";
    case 0xf9:
    case 0xfa:
    case 0xfb:
      return std::string(name_of(Kind::real));
    default:
      return std::string(name_of(static_cast<Kind>(initial >> 5)));
  }
}

}  // namespace

std::string_view name_of(Kind kind) noexcept {
  switch (kind) {
    case Kind::unsigned_int:
      return "a positive integer or zero";
    case Kind::negative:
      return "a negative integer";
    case Kind::bytes:
      return "bytes";
    case Kind::text:
      return "text";
    case Kind::array:
      return "an array";
    case Kind::map:
      return "a map";
    case Kind::tag:
      return "a tag";
    case Kind::simple:
      return "a simple value";
    case Kind::real:
      return "a float";
  }
  return "an unknown kind";
}

bool Reader::short_real_or_simple(unsigned initial, Item& item) noexcept {
  if (initial == 0xf8) {
    // Below 32 there is the one-byte form, and two spellings would be two values.
    return item.number >= 32 || fail(Fault::Kind::head, last_);
  }
  item.kind = Kind::real;
  item.real = initial == 0xf9
                  ? from_half(item.number)
                  : std::bit_cast<float>(static_cast<std::uint32_t>(item.number));
  return true;
}

bool Reader::skip() noexcept {
  Item item;
  if (!next(item)) return false;
  // What `next` entered is above this depth, unless it announced no items.
  const bool opened =
      item.kind == Kind::array || item.kind == Kind::map || item.kind == Kind::tag;
  if (!opened) return true;
  const std::size_t outside = depth_ - 1;
  while (true) {
    while (depth_ > outside && left_[depth_] == 0) --depth_;
    if (depth_ == outside) return true;
    if (!next(item)) return false;
  }
}

bool Reader::finish() noexcept {
  if (failed()) return false;
  if (at_ != end_) return fail(Fault::Kind::trailing, at_);
  while (depth_ > 0 && left_[depth_] == 0) --depth_;
  return depth_ == 0 || fail(Fault::Kind::end, at_);
}

bool Reader::fail(Fault::Kind kind, const std::byte* where) noexcept {
  if (!failed()) {
    fault_.kind = kind;
    fault_.offset = static_cast<std::size_t>(where - begin_);
  }
  at_ = end_;  // so that whatever is read next fails too
  return false;
}

bool Reader::refuse(const char* expected) noexcept {
  if (!failed()) fault_.expected = expected;
  return fail(Fault::Kind::expected, last_);
}

bool Reader::fail_end() noexcept { return fail(Fault::Kind::end, at_); }
bool Reader::fail_cut() noexcept { return fail(Fault::Kind::cut, last_); }
bool Reader::fail_length() noexcept { return fail(Fault::Kind::length, last_); }
bool Reader::fail_text() noexcept { return fail(Fault::Kind::text, last_); }
bool Reader::fail_depth() noexcept { return fail(Fault::Kind::depth, last_); }

bool Reader::fail_head(unsigned initial) noexcept {
  const unsigned major = initial >> 5;
  const bool indefinite = (initial & 31u) == 31 && major >= 2 && major <= 5;
  return fail(indefinite ? Fault::Kind::indefinite : Fault::Kind::head, last_);
}

bool Reader::fail_kind(Kind expected) noexcept {
  return refuse(name_of(expected).data());
}

bool Reader::fail_tag(std::uint64_t expected) noexcept {
  if (!failed()) fault_.number = expected;
  return fail(Fault::Kind::tag, last_);
}

std::string Reader::found_at(std::size_t offset) const {
  if (begin_ + offset == end_) return "the end of the input";
  Reader reader({begin_ + offset, end_});
  Item item;
  if (reader.next(item) && item.kind == Kind::tag) {
    return "tag " + std::to_string(item.number);
  }
  return describe(std::to_integer<unsigned>(begin_[offset]));
}

Error Reader::error() const {
  const std::string where = " at byte " + std::to_string(fault_.offset);
  const auto size = static_cast<std::size_t>(end_ - begin_);
  const auto corrupt = [&](std::string cause) {
    return Error(ErrorCode::corrupt, "cannot read CBOR" + where, std::move(cause));
  };
  const auto announced = [&] { return found_at(fault_.offset); };
  switch (fault_.kind) {
    case Fault::Kind::none:
      break;
    case Fault::Kind::end:
      return corrupt("expected an item, found the end of the input");
    case Fault::Kind::cut:
      return corrupt(announced() + " whose head is cut short by the end of the input");
    case Fault::Kind::head:
      return corrupt("expected an item, found a byte that begins none");
    case Fault::Kind::indefinite:
      return corrupt(announced() + " of indefinite length, expected a definite one");
    case Fault::Kind::length:
      return corrupt(announced() + " that announces more than the " +
                     std::to_string(size) + " bytes of the input hold");
    case Fault::Kind::text:
      return corrupt("text that is not UTF-8");
    case Fault::Kind::trailing:
      return corrupt("expected the end of the input, found " + announced());
    case Fault::Kind::depth:
      return {ErrorCode::too_large, "cannot read CBOR" + where,
              "nested deeper than " + std::to_string(kMaxDepth)};
    case Fault::Kind::expected:
      return {ErrorCode::unsupported, "cannot decode what is stored" + where,
              "expected " + std::string(fault_.expected) + ", found " + announced()};
    case Fault::Kind::tag:
      return {
          ErrorCode::unsupported, "cannot decode what is stored" + where,
          "expected tag " + std::to_string(fault_.number) + ", found " + announced()};
  }
  return Error(ErrorCode::internal, "the reader has not failed");
}

}  // namespace cachier::cbor

#include <cachier/cbor.hpp>
#include <cachier/envelope.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "keys/hash.hpp"

namespace cachier::envelope {
namespace {

enum Field : std::uint64_t {
  kChecksum = 0,
  kCodec = 1,
  kCodecVersion = 2,
  kFingerprint = 3,
  kNone = 4,
  kKey = 5,
  kKeyHash = 6,
  kException = 7,
  kFirstIgnorable = 24,
  kCode = kFirstIgnorable,
  kPadding = 25,
};
constexpr std::byte kValueField{0x20};  // the integer -1

// The map's head, field 0, the head of its 8 bytes.
constexpr std::size_t kChecksumAt = 3;
constexpr std::size_t kBodyAt = kChecksumAt + 8;
constexpr std::size_t kMaxFields = 23;
constexpr std::size_t kHashSize = 32;

constexpr std::uint64_t kCborVersion = 1;
constexpr std::uint64_t kPickleVersion = 1;

constexpr std::uint64_t version_of(Codec codec) noexcept {
  return codec == Codec::cbor ? kCborVersion : kPickleVersion;
}

template <class T>
void store(std::byte* to, T value) noexcept {
  std::memcpy(to, &value, sizeof value);
}

/// What is big-endian in the checksum field, little-endian in what it is computed of.
std::uint64_t little_endian(std::uint64_t value) noexcept {
  return std::endian::native == std::endian::little ? value : __builtin_bswap64(value);
}

std::uint64_t checksum(std::uint64_t body, std::uint64_t fields, std::uint64_t seed,
                       Time stored_at, const Version& version) noexcept {
  const std::array<std::uint64_t, 7> words = {
      little_endian(body),
      little_endian(fields),
      little_endian(seed),
      little_endian(static_cast<std::uint64_t>(stored_at.time_since_epoch().count())),
      little_endian(version.words[0]),
      little_endian(version.words[1]),
      little_endian(version.words[2])};
  return keys::hash64(std::as_bytes(std::span(words)));
}

std::uint64_t field_count(std::byte head) noexcept {
  return std::to_integer<std::uint64_t>(head) - 0xa0;
}

std::size_t head_size(std::uint64_t number) noexcept {
  if (number < 24) return 1;
  if (number <= 0xff) return 2;
  if (number <= 0xffff) return 3;
  return number <= 0xffffffff ? 5 : 9;
}

/// Zeros to write, with their field and head, for the value's content to come out
/// aligned.
std::size_t padding_for(std::size_t written, std::size_t value_size) noexcept {
  const std::size_t fixed = written + head_size(kPadding) + 1 + head_size(value_size);
  std::size_t zeros = 0;
  while ((fixed + head_size(zeros) + zeros) % kAlignment != 0) ++zeros;
  return zeros;
}

void write_padding(cbor::Writer& writer, std::size_t value_size) {
  static constexpr std::array<std::byte, 2 * kAlignment> kZeros{};
  const std::size_t zeros = padding_for(writer.size(), value_size);
  writer.unsigned_int(kPadding);
  writer.bytes(std::span(kZeros).first(zeros));
}

Error corrupt(const char* cause) {
  return {ErrorCode::corrupt, "cannot read a stored entry", cause};
}

Error unknown(std::string cause) {
  return {ErrorCode::version_mismatch, "cannot read a stored entry", std::move(cause),
          "it was stored by a newer version of cachier: upgrade this one"};
}

/// Reads the head of the value's bytes at `at`, of which nothing but the head need be
/// there. Everything after it is the value.
bool read_value_head(Bytes beginning, std::size_t at, std::uint64_t size,
                     Parts& parts) noexcept {
  if (at >= beginning.size()) return false;
  const auto initial = std::to_integer<unsigned>(beginning[at]);
  if (initial < 0x40 || initial > 0x5b) return false;
  const unsigned info = initial & 31u;
  std::uint64_t announced = info;
  std::size_t content = at + 1;
  if (info >= 24) {
    const std::size_t width = std::size_t{1} << (info - 24);
    if (beginning.size() - content < width) return false;
    announced = 0;
    for (std::size_t i = 0; i < width; ++i) {
      announced =
          announced << 8 | std::to_integer<std::uint64_t>(beginning[content + i]);
    }
    content += width;
  }
  parts.value_offset = content;
  parts.value_size = announced;
  return size >= content && size - content == announced;
}

bool read_code(cbor::Reader& reader, std::uint32_t& code) {
  std::uint64_t number = 0;
  if (!reader.unsigned_int(number)) return false;
  code = static_cast<std::uint32_t>(number);
  return number == code;
}

Result<Parts> read_fields(Bytes beginning, std::uint64_t size) {
  cbor::Reader reader(beginning);
  std::uint64_t fields = 0;
  if (!reader.map(fields)) return corrupt("it is not an envelope");
  Parts parts;
  bool has_codec = false;
  bool has_version = false;
  int keys = 0;
  std::uint64_t previous = 0;
  for (std::uint64_t i = 0; i + 1 < fields; ++i) {
    std::uint64_t field = 0;
    bool sound = reader.unsigned_int(field) && (i == 0 || field > previous);
    previous = field;
    std::uint64_t codec = 0;
    if (!sound) return corrupt("its fields are not numbered in order");
    switch (field) {
      case kCodec:
        sound = reader.unsigned_int(codec);
        has_codec = true;
        if (codec > std::uint64_t{static_cast<std::uint8_t>(Codec::pickle)}) {
          return unknown("unknown codec " + std::to_string(codec));
        }
        parts.codec = static_cast<Codec>(codec);
        break;
      case kCodecVersion:
        sound = reader.unsigned_int(parts.codec_version);
        has_version = true;
        break;
      case kFingerprint:
        sound = reader.unsigned_int(parts.fingerprint);
        break;
      case kNone:
        sound = reader.boolean(parts.none);
        break;
      case kException:
        sound = reader.boolean(parts.exception) && parts.exception;
        break;
      case kCode:
        sound = read_code(reader, parts.code);
        break;
      case kKeyHash:
        parts.hashed = true;
        [[fallthrough]];
      case kKey:
        sound =
            reader.bytes(parts.key) && (!parts.hashed || parts.key.size() == kHashSize);
        ++keys;
        break;
      default:
        if (field > kChecksum && field < kFirstIgnorable) {
          return unknown("unknown field " + std::to_string(field));
        }
        sound = reader.skip();
    }
    if (!sound) return corrupt("a field is malformed");
  }
  if (!has_codec || !has_version || keys != 1) return corrupt("a field is missing");
  if (parts.codec == Codec::live) return corrupt("live objects are not stored");
  if (parts.codec_version != version_of(parts.codec)) {
    return unknown("unknown codec version " + std::to_string(parts.codec_version));
  }
  const std::size_t at = reader.offset();
  if (at >= beginning.size() || beginning[at] != kValueField ||
      !read_value_head(beginning, at + 1, size, parts)) {
    return corrupt("its value is not where it is to be");
  }
  return parts;
}

bool has_prefix(Bytes envelope) noexcept {
  return envelope.size() >= kBodyAt && envelope[0] > std::byte{0xa0} &&
         envelope[0] <= std::byte{0xa0 + kMaxFields} &&
         envelope[1] == std::byte{kChecksum} && envelope[2] == std::byte{0x48};
}

bool equal(Bytes left, Bytes right) noexcept { return as_text(left) == as_text(right); }

/// Whether the stored key, or its hash, is that of the call.
bool is_key_of(const Parts& parts, const Id& id) noexcept {
  if (parts.hashed == id.hashed) return equal(parts.key, id.key);
  return parts.hashed ? equal(parts.key, keys::sha256(id.key))
                      : equal(keys::sha256(parts.key), id.key);
}

}  // namespace

Draft::Draft(const Id& id, Value value)
    : value_(std::move(value)), seed_(id.function->seed()) {
  const Bytes content = value_.bytes();
  const bool padded = content.size() >= kAlignedFrom;
  std::uint64_t fields = 5;
  if (value_.fingerprint() != 0) ++fields;
  if (value_.is_none()) ++fields;
  if (value_.is_exception()) ++fields;
  if (value_.code() != 0) ++fields;
  if (padded) ++fields;

  cbor::Writer head;
  head.map(fields);
  head.unsigned_int(kChecksum);
  head.bytes(std::array<std::byte, 8>{});
  head.unsigned_int(kCodec);
  head.unsigned_int(static_cast<std::uint8_t>(value_.codec()));
  head.unsigned_int(kCodecVersion);
  head.unsigned_int(version_of(value_.codec()));
  if (value_.fingerprint() != 0) {
    head.unsigned_int(kFingerprint);
    head.unsigned_int(value_.fingerprint());
  }
  if (value_.is_none()) {
    head.unsigned_int(kNone);
    head.boolean(true);
  }
  head.unsigned_int(id.hashed ? kKeyHash : kKey);
  head.bytes(id.key);
  if (value_.is_exception()) {
    head.unsigned_int(kException);
    head.boolean(true);
  }
  if (value_.code() != 0) {
    head.unsigned_int(kCode);
    head.unsigned_int(value_.code());
  }
  if (padded) write_padding(head, content.size());
  head.negative(0);

  head.bytes_head(content.size());
  head_ = as_text(head.view());
  body_ = keys::hash64(as_bytes(head_).subspan(kBodyAt), content);
}

std::string Draft::whole() const {
  std::string bytes;
  bytes.reserve(head_.size() + content().size());
  bytes.append(head_).append(as_text(content()));
  return bytes;
}

void Draft::stamp(Time stored_at, const Version& version) noexcept {
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(head_));
  store(bytes.data() + kChecksumAt,
        cbor::detail::big_endian(
            checksum(body_, field_count(bytes[0]), seed_, stored_at, version)));
}

std::string seal(const Id& id, const Value& value, Time stored_at,
                 const Version& version) {
  Draft draft(id, value);
  draft.stamp(stored_at, version);
  return draft.whole();
}

Result<std::optional<Value>> open(Bytes envelope, std::shared_ptr<const void> owner,
                                  const Id& id, Time stored_at,
                                  const Version& version) {
  if (!has_prefix(envelope)) return corrupt("it is not an envelope");
  std::uint64_t stored;
  std::memcpy(&stored, envelope.data() + kChecksumAt, sizeof stored);
  const std::uint64_t body = keys::hash64(envelope.subspan(kBodyAt));
  if (cbor::detail::big_endian(stored) != checksum(body, field_count(envelope[0]),
                                                   id.function->seed(), stored_at,
                                                   version)) {
    return corrupt("its checksum does not hold");
  }
  const auto parts = read_fields(envelope, envelope.size());
  if (!parts) return parts.error();
  if (!is_key_of(*parts, id)) return std::optional<Value>();
  Value value(parts->codec,
              envelope.subspan(static_cast<std::size_t>(parts->value_offset)),
              std::move(owner));
  value.set_fingerprint(parts->fingerprint);
  value.set_none(parts->none);
  value.set_exception(parts->exception);
  value.set_code(parts->code);
  return std::optional<Value>(std::move(value));
}

Result<Parts> inspect(Bytes beginning, std::uint64_t size) {
  if (!has_prefix(beginning)) return corrupt("it is not an envelope");
  return read_fields(beginning, size);
}

}  // namespace cachier::envelope

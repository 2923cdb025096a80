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
  kSignature = 9,
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
constexpr std::size_t kSignatureSize = 32;
constexpr std::string_view kSignedMark = "cachier signed entry 1";

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

/// What the checksum and the signature cover beside the envelope's own bytes.
struct Marks {
  std::uint64_t fields;
  Time stored_at;
  const Version& version;

  [[nodiscard]] std::array<std::uint64_t, 5> words() const noexcept {
    const auto time = static_cast<std::uint64_t>(stored_at.time_since_epoch().count());
    return {little_endian(fields), little_endian(time), little_endian(version.words[0]),
            little_endian(version.words[1]), little_endian(version.words[2])};
  }
};

std::uint64_t checksum(std::uint64_t body, std::uint64_t seed,
                       const Marks& marks) noexcept {
  const auto [fields, time, first, second, third] = marks.words();
  const std::array<std::uint64_t, 7> words = {
      little_endian(body), fields, little_endian(seed), time, first, second, third};
  return keys::hash64(std::as_bytes(std::span(words)));
}

/// What is signed: it leads with what no other message of ours does.
std::string signed_message(const std::array<std::byte, kHashSize>& body,
                           const Function& function, const Marks& marks) {
  const auto words = marks.words();
  std::string message;
  message.reserve(kSignedMark.size() + body.size() + sizeof words +
                  function.id().size());
  message.append(kSignedMark).append(as_text(body));
  message.append(as_text(std::as_bytes(std::span(words)))).append(function.id());
  return message;
}

/// The bytes after the checksum, with zeros for the signature at this offset of the
/// envelope; 0: there is none.
std::array<Bytes, 3> body_of(Bytes envelope, std::size_t signature_at) noexcept {
  static constexpr std::array<std::byte, kSignatureSize> kZeros{};
  if (signature_at == 0) return {envelope.subspan(kBodyAt)};
  return {envelope.subspan(kBodyAt, signature_at - kBodyAt), kZeros,
          envelope.subspan(signature_at + kSignatureSize)};
}

std::uint64_t hash_of(const std::array<Bytes, 3>& body) noexcept {
  return body[1].empty() ? keys::hash64(body[0]) : keys::hash64(body);
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

Error untrusted(const char* cause) {
  return {ErrorCode::untrusted, "did not use a stored entry", cause,
          "find out who else writes to the store; or give all programs the same "
          "signing keys"};
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
      case kSignature: {
        Bytes signature;
        sound = reader.bytes(signature) && signature.size() == kSignatureSize;
        parts.is_signed = true;
        parts.signature_offset = reader.offset() - kSignatureSize;
        break;
      }
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
    : value_(std::move(value)),
      function_(id.function),
      keyring_(id.function->keyring()) {
  const Bytes content = value_.bytes();
  const bool padded = content.size() >= kAlignedFrom;
  std::uint64_t fields = 5;
  if (value_.fingerprint() != 0) ++fields;
  if (value_.is_none()) ++fields;
  if (value_.is_exception()) ++fields;
  if (keyring_ != nullptr) ++fields;
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
  if (keyring_ != nullptr) {
    head.unsigned_int(kSignature);
    head.bytes(std::array<std::byte, kSignatureSize>{});
    signature_at_ = head.size() - kSignatureSize;
  }
  if (value_.code() != 0) {
    head.unsigned_int(kCode);
    head.unsigned_int(value_.code());
  }
  if (padded) write_padding(head, content.size());
  head.negative(0);

  head.bytes_head(content.size());
  head_ = as_text(head.view());
  const std::array<Bytes, 2> body = {as_bytes(head_).subspan(kBodyAt), content};
  body_ = keys::hash64(body);
  if (keyring_ != nullptr) signed_body_ = keys::sha256(body);
}

std::string Draft::whole() const {
  std::string bytes;
  bytes.reserve(head_.size() + content().size());
  bytes.append(head_).append(as_text(content()));
  return bytes;
}

void Draft::stamp(Time stored_at, const Version& version) {
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(head_));
  const Marks marks{field_count(bytes[0]), stored_at, version};
  store(bytes.data() + kChecksumAt,
        cbor::detail::big_endian(checksum(body_, function_->seed(), marks)));
  if (keyring_ == nullptr) return;
  const std::string message = signed_message(signed_body_, *function_, marks);
  store(bytes.data() + signature_at_, keyring_->sign(as_bytes(message)));
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
  const Marks marks{field_count(envelope[0]), stored_at, version};
  const auto parts = read_fields(envelope, envelope.size());
  const auto signature_at =
      parts ? static_cast<std::size_t>(parts->signature_offset) : 0;
  const std::array<Bytes, 3> body = body_of(envelope, signature_at);
  if (cbor::detail::big_endian(stored) !=
      checksum(hash_of(body), id.function->seed(), marks)) {
    return corrupt("its checksum does not hold");
  }
  if (!parts) return parts.error();
  const Keyring* const keyring = id.function->keyring();
  if (keyring != nullptr) {
    if (!parts->is_signed) return untrusted("it is not signed");
    const std::string message = signed_message(keys::sha256(body), *id.function, marks);
    Keyring::Mac mac;
    std::memcpy(mac.data(), envelope.data() + signature_at, mac.size());
    if (!keyring->accepts(as_bytes(message), mac)) {
      return untrusted("none of our keys has signed it");
    }
  }
  if (!is_key_of(*parts, id)) return std::optional<Value>();
  Value value(parts->codec,
              envelope.subspan(static_cast<std::size_t>(parts->value_offset)),
              std::move(owner));
  value.set_fingerprint(parts->fingerprint);
  value.set_none(parts->none);
  value.set_exception(parts->exception);
  value.set_code(parts->code);
  value.set_signed(keyring != nullptr);
  return std::optional<Value>(std::move(value));
}

Result<Parts> inspect(Bytes beginning, std::uint64_t size) {
  if (!has_prefix(beginning)) return corrupt("it is not an envelope");
  return read_fields(beginning, size);
}

}  // namespace cachier::envelope

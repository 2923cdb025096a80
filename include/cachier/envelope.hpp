#pragma once

/// What a persistent store writes for an entry (`docs/formats/envelope.md`): value, key
/// and checksum in one piece of bytes; signed, where its function has keys
/// (`signing.hpp`).
///
/// For those who write stores. All is thread-safe and pure; what allocates may throw
/// `std::bad_alloc`.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>
#include <cachier/export.hpp>
#include <cachier/signing.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace cachier::envelope {

/// The value of an envelope that is this big or bigger begins at a multiple of
/// `kAlignment` bytes from the beginning of the envelope, so that it can be mapped.
inline constexpr std::size_t kAlignedFrom = 4096;
inline constexpr std::size_t kAlignment = 64;

/// An envelope in the making: hashed once, stamped when time and version are known. It
/// is in two parts, so that a large value need not be copied.
class CACHIER_API Draft {
 public:
  /// For the entry of this call. Precondition: the value's codec is not `live`.
  Draft(const Id& id, Value value);

  /// Writes checksum and signature, into the head. Cheap, whatever the size; may be
  /// done again.
  void stamp(Time stored_at, const Version& version);

  /// All before the value. Good for an entry once it is stamped with that entry's
  /// marks; its size does not change.
  [[nodiscard]] Bytes head() const noexcept { return as_bytes(head_); }
  /// The value: the rest.
  [[nodiscard]] Bytes content() const noexcept { return value_.bytes(); }
  /// Both, in one piece.
  [[nodiscard]] std::string whole() const;

 private:
  std::string head_;
  Value value_;
  const Function* function_;
  std::uint64_t body_ = 0;
  const Keyring* keyring_;  ///< null: it is not signed
  std::size_t signature_at_ = 0;
  std::array<std::byte, 32> signed_body_{};
};

/// The envelope of an entry, stamped.
[[nodiscard]] CACHIER_API std::string seal(const Id& id, const Value& value,
                                           Time stored_at, const Version& version);

/// The value in `envelope`, a view that shares `owner`, after the checksum and the key
/// have been compared.
///
/// Empty: sound, but of another call (the digests collide): a miss. Errors: `corrupt`,
/// damaged or not an envelope; `version_mismatch`, sound, but of a form that this
/// library does not know; `untrusted`, the function has keys, and none of them has
/// signed it.
[[nodiscard]] CACHIER_API Result<std::optional<Value>> open(
    Bytes envelope, std::shared_ptr<const void> owner, const Id& id, Time stored_at,
    const Version& version);

/// What an envelope says of itself, unverified: for listings.
struct Parts {
  Bytes key;  ///< a view
  bool hashed = false;
  Codec codec = Codec::cbor;
  std::uint64_t codec_version = 0;
  std::uint64_t fingerprint = 0;
  bool none = false;
  bool exception = false;
  bool is_signed = false;
  std::uint64_t signature_offset = 0;
  std::uint32_t code = 0;
  std::uint64_t value_offset = 0;
  std::uint64_t value_size = 0;
};

/// Reads an envelope of `size` bytes of which only the beginning need be there: all up
/// to the value (less than the key's size and 256 bytes). Errors as of `open`.
[[nodiscard]] CACHIER_API Result<Parts> inspect(Bytes beginning, std::uint64_t size);

}  // namespace cachier::envelope

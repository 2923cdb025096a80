#pragma once

/// Signed entries: what somebody else has written to a shared store is not taken for a
/// result (`docs/formats/envelope.md`, "Signature").

#include <cachier/entry.hpp>
#include <cachier/error.hpp>
#include <cachier/export.hpp>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cachier {

/// Secrets that entries are signed with: HMAC-SHA256 (RFC 2104). Never changed, so that
/// it may be used from several threads; its memory is wiped at the end.
class CACHIER_API Keyring {
 public:
  using Mac = std::array<std::byte, 32>;
  /// Bytes that a key has at least.
  static constexpr std::size_t kShortestKey = 16;

  /// The first of the keys signs, all of them are taken. To change a key, put the new
  /// one first, everywhere; leave the old one out when what it signed is no longer
  /// needed.
  ///
  /// Errors: `invalid_argument`: there is none, or one is shorter than `kShortestKey`.
  /// May throw `std::bad_alloc`.
  static Result<std::shared_ptr<const Keyring>> of(std::span<const std::string> keys);

  /// The signature of a message, under the first key.
  [[nodiscard]] Mac sign(Bytes message) const noexcept;
  /// Whether one of the keys gives this signature. Takes as long for a wrong one.
  [[nodiscard]] bool accepts(Bytes message, const Mac& mac) const noexcept;

  Keyring(const Keyring&) = delete;
  Keyring& operator=(const Keyring&) = delete;
  ~Keyring();

 private:
  Keyring() = default;

  std::vector<std::string> keys_;
};

}  // namespace cachier

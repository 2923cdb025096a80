#pragma once

/// How a call becomes its key (`docs/formats/key.md`), and the ids of functions.
/// Everything here is thread-safe.

#include <cachier/cbor.hpp>
#include <cachier/entry.hpp>
#include <cachier/export.hpp>
#include <cachier/key_encoder.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace cachier {

/// Of the encoding that this library writes; goes into every digest.
inline constexpr std::uint8_t kKeyEncodingVersion = 1;
/// Keys over this are refused.
inline constexpr std::size_t kMaxKeySize = std::size_t{64} << 20;
/// Keys over this are kept as their SHA-256.
inline constexpr std::size_t kMaxKeptKey = 1024;

/// Writes the key of a call: the array of its arguments, ignored ones left out.
/// Callers refuse keys over `kMaxKeySize`.
template <class... Args>
void encode_call(cbor::Writer& writer, const Args&... args) {
  constexpr std::size_t kIgnored = (0 + ... + (detail::is_ignored<Args> ? 1 : 0));
  writer.array(sizeof...(Args) - kIgnored);
  [[maybe_unused]] const auto encode = [&writer](const auto& argument) {
    using T = std::remove_cvref_t<decltype(argument)>;
    if constexpr (!detail::is_ignored<T>) encode_key<T>(writer, argument);
  };
  (encode(args), ...);
}

/// Places the call of `function` that has this key.
[[nodiscard]] CACHIER_API Digest digest_of(const Function& function,
                                           Bytes key) noexcept;

/// 32 hexadecimal digits, as in listings.
[[nodiscard]] CACHIER_API std::string to_string(const Digest& digest);

/// What stores keep of a key: its bytes, a view, or their SHA-256 where they are long
/// or `hide` is set. For `Id::key` and `Id::hashed`; must outlive the `Id`.
class KeptKey {
 public:
  explicit KeptKey(Bytes key, bool hide = false) noexcept
      : hashed_(hide || key.size() > kMaxKeptKey), key_(key) {
    if (hashed_) [[unlikely]] {
      hash();
    }
  }
  KeptKey(const KeptKey&) = delete;
  KeptKey& operator=(const KeptKey&) = delete;

  [[nodiscard]] Bytes bytes() const noexcept { return key_; }
  [[nodiscard]] bool hashed() const noexcept { return hashed_; }

 private:
  CACHIER_API void hash() noexcept;

  bool hashed_;
  Bytes key_;
  std::array<std::byte, 32> hash_;
};

/// The parts of a function's id, unescaped.
struct FunctionIdParts {
  std::string key_prefix = "cachier";
  /// As the user gave it, else `module.qualname`.
  std::string name;
  /// What tells functions of one name apart; empty where the name does.
  std::string code;
  /// Parameter names with commas between; none where the user gave the name.
  std::optional<std::string> parameters;
  std::string version;

  friend bool operator==(const FunctionIdParts&, const FunctionIdParts&) = default;
};

/// The id as text. Different parts never give the same.
[[nodiscard]] CACHIER_API std::string function_id(const FunctionIdParts& parts);

/// The id of a function whose name the user gave: the same from every language.
[[nodiscard]] CACHIER_API std::string function_id(std::string_view key_prefix,
                                                  std::string_view name,
                                                  std::string_view version);

/// The parts again, for listings; nothing if `id` is not of this form.
[[nodiscard]] CACHIER_API std::optional<FunctionIdParts> parse_function_id(
    std::string_view id);

/// A key for people: `path='/usr/lib/x.py', n=3`, one line, at most about `limit`
/// bytes, what is longer ends in an ellipsis. `parameters` as in `FunctionIdParts`; may
/// be empty. Never fails: what is not a key is shown as hexadecimal digits.
[[nodiscard]] CACHIER_API std::string display_key(Bytes key,
                                                  std::string_view parameters,
                                                  std::size_t limit = 200);

}  // namespace cachier

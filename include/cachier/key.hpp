#pragma once

/// How a call becomes its key (`docs/formats/key.md`), and the ids of functions.
/// Everything here is thread-safe.

#include <cachier/cbor.hpp>
#include <cachier/entry.hpp>
#include <cachier/export.hpp>
#include <cachier/key_encoder.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
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

namespace detail {

/// XXH3_128bits_withSeed, of a key of any length.
[[nodiscard]] CACHIER_API Digest hash_key(Bytes key, std::uint64_t seed) noexcept;

/// Keys of up to this are hashed inline.
inline constexpr std::size_t kShortKey = 16;

/// The product, of 128 bits.
[[nodiscard]] inline Digest multiply(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return {static_cast<std::uint64_t>(product >> 64),
          static_cast<std::uint64_t>(product)};
}

/// A little-endian number.
template <class Word>
[[nodiscard]] inline Word load(const std::byte* at) noexcept {
  Word word;
  std::memcpy(&word, at, sizeof word);
  if constexpr (std::endian::native == std::endian::big) {
    word = cbor::detail::swap_bytes(word);
  }
  return word;
}

/// `hash_key` of keys that are a few arguments: a call into the library would take
/// longer than the hash. The constants are those of XXH3: its primes, and words of its
/// secret that it combines the same way every time.
/// Precondition: 1 to `kShortKey` bytes.
[[nodiscard, gnu::always_inline]] inline Digest hash_short_key(
    Bytes key, std::uint64_t seed) noexcept {
  constexpr std::uint64_t kPrime1 = 0x9e3779b185ebca87;
  constexpr std::uint64_t kPrime2 = 0xc2b2ae3d27d4eb4f;
  constexpr std::uint64_t kPrime3 = 0x165667b19e3779f9;
  const std::byte* const first = key.data();
  const std::size_t size = key.size();
  const auto mix = [](std::uint64_t hash) noexcept {
    hash = (hash ^ hash >> 37) * 0x165667919e3779f9;
    return hash ^ hash >> 32;
  };
  if (size <= 3) {
    const auto low = std::to_integer<std::uint32_t>(first[size - 1]) |
                     static_cast<std::uint32_t>(size) << 8 |
                     std::to_integer<std::uint32_t>(first[0]) << 16 |
                     std::to_integer<std::uint32_t>(first[size >> 1]) << 24;
    const std::uint32_t high = std::rotl(cbor::detail::swap_bytes(low), 13);
    const auto mix_short = [](std::uint64_t hash) noexcept {
      hash = (hash ^ hash >> 33) * kPrime2;
      hash = (hash ^ hash >> 29) * kPrime3;
      return hash ^ hash >> 32;
    };
    return {mix_short(high ^ (0x302c208b - seed)),
            mix_short(low ^ (0x87275a9b + seed))};
  }
  if (size <= 8) {
    seed ^= std::uint64_t{cbor::detail::swap_bytes(static_cast<std::uint32_t>(seed))}
            << 32;
    const std::uint64_t whole = load<std::uint32_t>(first) |
                                std::uint64_t{load<std::uint32_t>(first + size - 4)}
                                    << 32;
    Digest hash = multiply(whole ^ (0xc4f023344dc994ac + seed), kPrime1 + (size << 2));
    hash.high += hash.low << 1;
    hash.low ^= hash.high >> 3;
    hash.low = (hash.low ^ hash.low >> 35) * 0x9fb21c651e98df25;
    return {mix(hash.high), hash.low ^ hash.low >> 28};
  }
  const auto low = load<std::uint64_t>(first);
  auto high = load<std::uint64_t>(first + size - 8);
  Digest hash = multiply(low ^ high ^ (0x59973f0033362349 - seed), kPrime1);
  hash.low += std::uint64_t{size - 1} << 54;
  high ^= 0xc202797692d63d58 + seed;
  hash.high += high + (high & 0xffffffff) * 0x85ebca76;
  hash.low ^= cbor::detail::swap_bytes(hash.high);
  const std::uint64_t rest = hash.high * kPrime2;
  hash = multiply(hash.low, kPrime2);
  return {mix(hash.high + rest), mix(hash.low)};
}

}  // namespace detail

/// Places the call of `function` that has this key.
[[nodiscard]] inline Digest digest_of(const Function& function, Bytes key) noexcept {
  if (key.empty() || key.size() > detail::kShortKey) {
    return detail::hash_key(key, function.seed());
  }
  return detail::hash_short_key(key, function.seed());
}

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

#pragma once

/// The bytes of `docs/formats/files.md` that are not an envelope.

#include <cachier/entry.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cachier::files {

/// What an entry's file begins with.
struct Head {
  Time stored_at;  ///< the epoch's beginning: a tombstone
  std::uint64_t version = 0;
  Digest digest;
  std::uint64_t envelope_size = 0;
  std::string_view function;  ///< a view
  std::size_t size = 0;       ///< of the head: where the envelope begins

  [[nodiscard]] bool is_tombstone() const noexcept {
    return stored_at.time_since_epoch().count() == 0;
  }
};

/// How long the head of an entry of a function with such an id is.
[[nodiscard]] constexpr std::size_t head_size(std::size_t function_id) noexcept {
  constexpr std::size_t kFixed = 56;
  constexpr std::size_t kUnit = 64;
  return (kFixed + function_id + kUnit - 1) / kUnit * kUnit;
}

/// Enough to read, but for ids of an odd length: of those no listing shows anything.
inline constexpr std::size_t kLongestHead = 16'384;

/// The bytes of a head. `size` need not be set.
[[nodiscard]] std::string write_head(const Head& head);

/// Reads the head of a file of `file_size` bytes, of which all of the head must be
/// there. Nothing: damaged, or `beginning` is too short.
[[nodiscard]] std::optional<Head> read_head(Bytes beginning,
                                            std::uint64_t file_size) noexcept;

/// Whether it is an entry, not a tombstone, going by the first `head_size(0)` bytes.
[[nodiscard]] bool begins_like_an_entry(Bytes beginning) noexcept;

/// Of a function or of the store.
struct State {
  std::uint64_t epoch = 0;
  std::uint64_t claims = 0;
  friend bool operator==(const State&, const State&) = default;
};
inline constexpr std::size_t kStateSize = 32;
[[nodiscard]] std::string write_state(const State& state);
[[nodiscard]] std::optional<State> read_state(Bytes bytes) noexcept;

}  // namespace cachier::files

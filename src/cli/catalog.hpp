#pragma once

/// A cache directory as the commands see it: what is in it, and what a user's words for
/// a function or an entry mean there.

#include <cachier/store.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cachier::cli {

/// Whether a user's word means a function: its id; its name, as it is or from a dot on
/// (`run` means `weather.models.run`); or, where the word has `*`, `?` or `[`, a
/// pattern that the whole id or name fits. An empty word means every function.
class FunctionPattern {
 public:
  explicit FunctionPattern(std::string word) : word_(std::move(word)) {}

  [[nodiscard]] bool matches(std::string_view function_id) const;
  [[nodiscard]] bool everything() const noexcept { return word_.empty(); }
  /// Meant to match several.
  [[nodiscard]] bool is_pattern() const noexcept {
    return word_.find_first_of("*?[") != std::string::npos;
  }
  [[nodiscard]] const std::string& word() const noexcept { return word_; }

 private:
  std::string word_;
};

/// A function's id for people: without the usual prefix and escapes.
[[nodiscard]] std::string shown_function(const std::string& id);
/// The call an entry belongs to: `weather.run(model='gfs', step=3)`.
[[nodiscard]] std::string shown_call(const Header& entry, std::size_t limit = 200);
[[nodiscard]] std::string_view shown_codec(Codec codec) noexcept;

/// The cache directory that an option means; empty: the default one.
[[nodiscard]] std::string location_of(const std::string& directory);

/// All entries of one function together.
struct FunctionSummary {
  std::string id;
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  Time oldest;
  Time newest;
};

/// The cache of a directory. Looking never makes a directory that is not there. Throws
/// `cachier::Exception`.
class Catalog {
 public:
  /// `directory` empty: the default one.
  explicit Catalog(const std::string& directory);

  /// Nothing there: no directory, or an empty one.
  [[nodiscard]] bool absent() const noexcept { return stores_.empty(); }
  /// One for the database, one for files of their own; as far as there are any.
  [[nodiscard]] const std::vector<std::shared_ptr<Store>>& stores() const noexcept {
    return stores_;
  }
  [[nodiscard]] const std::string& location() const noexcept { return location_; }

  /// Calls `each` for every entry of the functions that are meant, as they come.
  void scan(const FunctionPattern& pattern,
            const std::function<void(const Header&)>& each) const;
  /// The functions that are meant, sorted by id.
  [[nodiscard]] std::vector<FunctionSummary> functions(
      const FunctionPattern& pattern) const;
  /// The entries whose digest begins so; at most `most`.
  [[nodiscard]] std::vector<Header> by_digest(std::string_view prefix,
                                              std::size_t most) const;

 private:
  std::string location_;
  std::vector<std::shared_ptr<Store>> stores_;
};

/// Whether both are of one call.
[[nodiscard]] bool same_call(const Header& a, const Header& b) noexcept;

/// Whether a word can be the beginning of a digest: four or more hexadecimal digits.
[[nodiscard]] bool like_digest(std::string_view word) noexcept;

/// The time by this machine's clock.
[[nodiscard]] Time now() noexcept;
/// When an operation of the store is given up.
[[nodiscard]] Deadline soon() noexcept;

}  // namespace cachier::cli

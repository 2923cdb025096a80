#pragma once

/// What a store keeps for one call, and the rule that says whether it still counts.

#include <cachier/export.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace cachier {

/// UTC by a store's own clock. A server's stores use the server's.
using Time = std::chrono::sys_time<std::chrono::nanoseconds>;
using Duration = std::chrono::nanoseconds;
/// An absolute end of waiting, by this machine's monotonic clock.
using Deadline = std::chrono::steady_clock::time_point;

/// Longer than any age: no limit.
inline constexpr Duration kNoLimit = Duration::max();

using Bytes = std::span<const std::byte>;

/// The bytes of a text, for keys and tests.
[[nodiscard]] inline Bytes as_bytes(std::string_view text) noexcept {
  return std::as_bytes(std::span(text.data(), text.size()));
}
/// The same bytes as characters.
[[nodiscard]] inline std::string_view as_text(Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// 128 bits that place an entry (`docs/formats/key.md`). Equal digests of different
/// keys are expected to be told apart by the key: a collision is a miss, never a wrong
/// value.
struct Digest {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes <=> for a pointer's 0
  friend auto operator<=>(const Digest&, const Digest&) = default;
};

class Keyring;

/// A cached function as stores know it. Made once by `Function::intern`, never
/// destroyed, so that a reference to it is always good and comparing addresses compares
/// functions.
class CACHIER_API Function {
 public:
  /// The function of this id, the same object for the same id in the whole process.
  /// Thread-safe.
  ///
  /// `id`: the namespace, the name and the version as `function_id()` writes them
  /// (`docs/formats/key.md`).
  static const Function& intern(std::string_view id);

  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  /// Starts the digest of each of its keys.
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
  /// Counts from 0 in this process: an index for tables that stores keep by function.
  [[nodiscard]] std::uint32_t serial() const noexcept { return serial_; }

  /// What its entries are signed with in this process (`signing.hpp`); null: nothing.
  [[nodiscard]] const Keyring* keyring() const noexcept {
    return keyring_.load(std::memory_order_acquire);
  }
  /// From now on its entries are signed, and only signed ones count. Keys that are
  /// replaced are kept for who may be using them. Thread-safe; may throw
  /// `std::bad_alloc`.
  void sign_with(std::shared_ptr<const Keyring> keyring) const;

  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

 private:
  Function(std::string id, std::uint64_t seed, std::uint32_t serial)
      : id_(std::move(id)), seed_(seed), serial_(serial) {}

  std::string id_;
  std::uint64_t seed_;
  std::uint32_t serial_;
  mutable std::atomic<const Keyring*> keyring_{nullptr};
};

/// One call of one function. Borrows its bytes: good for as long as the caller's are.
struct Id {
  const Function* function = nullptr;
  Digest digest;
  /// What tells this call from others of the same digest: the canonical bytes of its
  /// arguments, or their SHA-256 where they are long or secret (`docs/formats/key.md`).
  /// Stored with the entry.
  Bytes key;
  bool hashed = false;  ///< `key` is a SHA-256
};

/// An opaque mark of one state of an entry, new at each change; only ever compared for
/// equality. A row's version, an ETag, a count. All zero: there is no entry and there
/// was none.
struct Version {
  std::array<std::uint64_t, 3> words{};
  friend bool operator==(const Version&, const Version&) = default;
};

/// How the bytes of a value are to be read (`docs/formats/value.md`).
enum class Codec : std::uint8_t {
  live = 0,    ///< not bytes at all: an object of this process, only in memory
  cbor = 1,    ///< deterministic where it matters, readable from every language
  pickle = 2,  ///< Python pickle, protocol 5 with its buffers
};

/// Bytes that lie in a file and are used where they lie. Thread-safe.
class CACHIER_API FileBytes {
 public:
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;
  virtual ~FileBytes() = default;

  /// The whole file, to be read. Zeros where somebody has shortened it: what was made
  /// of them counts only if it `is_unchanged` afterwards.
  [[nodiscard]] virtual Bytes bytes() const noexcept = 0;
  /// Whether nobody has written to the file since its bytes were verified.
  [[nodiscard]] virtual bool is_unchanged() const noexcept = 0;
  /// The first of the same bytes, of the caller's own, who may change them: pages are
  /// copied as they are written to. Null: the system refuses. Who shortens the file
  /// takes them away from here, too: using them is a SIGBUS then.
  [[nodiscard]] virtual std::shared_ptr<std::byte> private_copy() const noexcept = 0;

 protected:
  FileBytes() = default;
};

/// A value in its stored form: bytes and how to read them, or a live object.
///
/// Shares what it holds: copying is cheap, the bytes are never changed after they are
/// handed over. Reading from several threads is safe.
class Value {
 public:
  Value() = default;

  /// Bytes whose life is `owner`'s (a buffer, a mapping).
  Value(Codec codec, Bytes bytes, std::shared_ptr<const void> owner) noexcept
      : owner_(std::move(owner)),
        data_(bytes.data()),
        size_(bytes.size()),
        codec_(codec) {}

  /// Bytes that lie in a file, of which they are a part.
  static Value in_file(Codec codec, Bytes bytes,
                       std::shared_ptr<const FileBytes> file) noexcept {
    Value value(codec, bytes, std::move(file));
    value.in_file_ = true;
    return value;
  }

  /// Bytes of its own, moved in.
  static Value of_bytes(Codec codec, std::string bytes) {
    auto owned = std::make_shared<const std::string>(std::move(bytes));
    const Bytes view = as_bytes(*owned);
    return {codec, view, std::move(owned)};
  }

  /// An object of this process, kept alive with the entry. `size`: the bytes of its
  /// stored form, where somebody asked for them.
  static Value of_object(std::shared_ptr<const void> object,
                         std::size_t size = 0) noexcept {
    Value value;
    value.owner_ = std::move(object);
    value.size_ = size;
    return value;
  }

  [[nodiscard]] Codec codec() const noexcept { return codec_; }
  /// Precondition: the codec is not `live`.
  [[nodiscard]] Bytes bytes() const noexcept { return {data_, size_}; }
  /// The file that the bytes lie in; null: they are plain memory.
  [[nodiscard]] const FileBytes* file() const noexcept {
    return in_file_ ? static_cast<const FileBytes*>(owner_.get()) : nullptr;
  }
  /// Precondition: the codec is `live`.
  [[nodiscard]] const std::shared_ptr<const void>& object() const noexcept {
    return owner_;
  }

  /// What was said of its size to the store, which need not keep it. Precondition: the
  /// codec is `live`.
  [[nodiscard]] std::size_t object_size() const noexcept { return size_; }

  /// The object, given up by this value. Precondition: the codec is `live`.
  [[nodiscard]] std::shared_ptr<const void> take_object() noexcept {
    return std::move(owner_);
  }

  /// Says whether the codec-specific description of the value is the reader's; 0: not
  /// described.
  [[nodiscard]] std::uint64_t fingerprint() const noexcept { return fingerprint_; }
  void set_fingerprint(std::uint64_t fingerprint) noexcept {
    fingerprint_ = fingerprint;
  }

  /// An empty answer (`None`, an empty `optional`), which counts only where
  /// `allow_none` says so.
  [[nodiscard]] bool is_none() const noexcept { return none_; }
  void set_none(bool none) noexcept { none_ = none; }

  /// What the call threw, not what it returned.
  [[nodiscard]] bool is_exception() const noexcept { return exception_; }
  void set_exception(bool exception) noexcept { exception_ = exception; }

  /// Tells the code that computed it from other code; 0: not noted.
  [[nodiscard]] std::uint32_t code() const noexcept { return code_; }
  void set_code(std::uint32_t code) noexcept { code_ = code; }

  /// Read from a store, with a signature by a key of ours.
  [[nodiscard]] bool is_signed() const noexcept { return signed_; }
  void set_signed(bool is_signed) noexcept { signed_ = is_signed; }

  /// Takes over all that is said above of another value.
  void set_marks_of(const Value& other) noexcept {
    fingerprint_ = other.fingerprint_;
    code_ = other.code_;
    none_ = other.none_;
    exception_ = other.exception_;
    signed_ = other.signed_;
  }

 private:
  std::shared_ptr<const void> owner_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::uint64_t fingerprint_ = 0;
  std::uint32_t code_ = 0;
  Codec codec_ = Codec::live;
  bool none_ = false;
  bool exception_ = false;
  bool signed_ = false;
  bool in_file_ = false;  ///< `owner_` is a `FileBytes`
};

/// A stored value with the marks its store gave it.
struct Entry {
  Value value;
  Time stored_at;  ///< when it was committed, by the store's clock
  Version version;
};

/// How far ahead of the store's clock an entry may be before it is taken for stale:
/// clocks step.
inline constexpr Duration kClockSlack = std::chrono::seconds(1);

/// The one rule of freshness. `max_age` zero or below: never fresh, even if the clock
/// has not ticked. No limit: always, whatever the clocks say. Else the age may be equal
/// to the limit, and an entry from more than `kClockSlack` in the future is stale.
[[nodiscard]] constexpr bool is_fresh(Time stored_at, Time now,
                                      Duration max_age) noexcept {
  if (max_age <= Duration::zero()) return false;
  if (max_age == kNoLimit) return true;
  const Duration age = now - stored_at;
  return age <= max_age && age >= -kClockSlack;
}

}  // namespace cachier

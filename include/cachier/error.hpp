#pragma once

/// Errors as values: what a store or an encoder answers when it cannot do what it was
/// asked.
///
/// Nothing below the doors throws. A verb that can fail gives a `Result<T>`, our own
/// small class of the shape of `std::expected` (C++23, [expected]), so that these
/// headers need no third party. The doors (`cached.hpp`, the Python module) turn an
/// `Error` into an exception of their language.

#include <cachier/export.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace cachier {

/// What kind of failure it was: the part of an error that programs branch on.
enum class ErrorCode : std::uint8_t {
  invalid_argument,  ///< an option or argument is out of its range; calling again will
                     ///< not help
  unsupported,       ///< the value, the store or the platform cannot do this
  too_large,         ///< over a bound of ours or of the store
  claim_lost,        ///< another owner, a put or a clear came between claim and commit
  unavailable,  ///< an outage that is expected to pass: cannot connect, busy, disk full
  refused,      ///< a lasting refusal: permission, authentication, schema, not ours
  deadline_exceeded,  ///< the operation's deadline passed first
  corrupt,            ///< stored bytes are damaged or not of our making
  version_mismatch,   ///< stored by a format that this library does not know
  untrusted,          ///< stored by somebody who does not have our signing keys
  internal,           ///< a fault of ours; please report it
};

/// The code's name, as in the enumeration: for messages and logs.
[[nodiscard]] CACHIER_API std::string_view name_of(ErrorCode code) noexcept;

/// A failure: its code and, for people, what failed, why, and what to do.
///
/// Cheap to copy (the text is shared) and, without text, free to make.
class CACHIER_API Error {
 public:
  /// An error that only programs see (a lost claim, say).
  explicit Error(ErrorCode code) noexcept : code_(code) {}

  /// `what` failed; `cause` in the system's own words; `fix`: what the reader can do.
  /// The last two may be empty. Callers mask secrets before they get here.
  Error(ErrorCode code, std::string what, std::string cause = {}, std::string fix = {});

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  [[nodiscard]] std::string_view what() const noexcept;
  [[nodiscard]] std::string_view cause() const noexcept;
  [[nodiscard]] std::string_view fix() const noexcept;

  /// The same error with what its door knows it by, an exception of another language
  /// for one. Opaque to all others.
  [[nodiscard]] Error caused_by(std::shared_ptr<const void> origin) const;
  [[nodiscard]] std::shared_ptr<const void> origin() const noexcept;

  /// The whole for people: one line each for what failed, `cause:` and `fix:`.
  [[nodiscard]] std::string message() const;

  friend bool operator==(const Error& error, ErrorCode code) noexcept {
    return error.code_ == code;
  }

 private:
  struct Text {
    std::string what, cause, fix;
    std::shared_ptr<const void> origin;
  };

  ErrorCode code_;
  std::shared_ptr<const Text> text_;
};

/// What the C++ door throws for an `Error` that must reach the caller.
class CACHIER_API Exception : public std::exception {
 public:
  explicit Exception(Error error)
      : error_(std::move(error)), message_(error_.message()) {}
  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }
  [[nodiscard]] const Error& error() const noexcept { return error_; }

 private:
  Error error_;
  std::string message_;
};

/// A `T` or the `Error` that kept it from being.
///
/// Precondition of `*`, `->`: it holds a value; of `error()`: it does not.
template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) noexcept(
      std::is_nothrow_move_constructible_v<T>)  // NOLINT: implicit on purpose
      : ok_(true) {
    ::new (static_cast<void*>(&value_)) T(std::move(value));
  }
  /// A `T` made in place, to be filled by its owner: spares a hot path the move of a
  /// big one.
  explicit Result(std::in_place_t) noexcept(std::is_nothrow_default_constructible_v<T>)
      : ok_(true) {
    ::new (static_cast<void*>(&value_)) T;
  }
  Result(Error error) noexcept : ok_(false) {  // NOLINT: implicit on purpose
    ::new (static_cast<void*>(&error_)) Error(std::move(error));
  }
  Result(ErrorCode code) noexcept
      : Result(Error(code)) {}  // NOLINT: implicit on purpose

  Result(const Result& other) : ok_(other.ok_) {
    if (ok_) {
      ::new (static_cast<void*>(&value_)) T(other.value_);
    } else {
      ::new (static_cast<void*>(&error_)) Error(other.error_);
    }
  }
  Result(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
      : ok_(other.ok_) {
    if (ok_) {
      ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
    } else {
      ::new (static_cast<void*>(&error_)) Error(std::move(other.error_));
    }
  }
  Result& operator=(Result other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    std::destroy_at(this);
    ::new (static_cast<void*>(this)) Result(std::move(other));
    return *this;
  }
  ~Result() {
    if (ok_) {
      value_.~T();
    } else {
      error_.~Error();
    }
  }

  [[nodiscard]] bool has_value() const noexcept { return ok_; }
  [[nodiscard]] explicit operator bool() const noexcept { return ok_; }

  [[nodiscard]] T& operator*() & noexcept { return value_; }
  [[nodiscard]] const T& operator*() const& noexcept { return value_; }
  [[nodiscard]] T&& operator*() && noexcept { return std::move(value_); }
  [[nodiscard]] T* operator->() noexcept { return &value_; }
  [[nodiscard]] const T* operator->() const noexcept { return &value_; }

  /// The value, or an `Exception` with the error's message.
  [[nodiscard]] T& value() & {
    if (!ok_) throw Exception(error_);
    return value_;
  }
  [[nodiscard]] T&& value() && {
    if (!ok_) throw Exception(error_);
    return std::move(value_);
  }

  [[nodiscard]] const Error& error() const noexcept { return error_; }

 private:
  union {
    T value_;
    Error error_;
  };
  bool ok_;
};

/// Success without a value.
struct Done {
  friend bool operator==(Done, Done) noexcept { return true; }
};

}  // namespace cachier

#pragma once

/// What the conformance suite has to know of a store besides `<cachier/store.hpp>`.

#include <cachier/store.hpp>

#include <functional>
#include <memory>
#include <string>

namespace cachier::conformance {

/// A store under test, with what belongs to it (a directory, a server's database).
/// Every test gets a new one.
class Subject {
 public:
  virtual ~Subject() = default;

  /// Another handle to the same data, as another program would open it. A store that
  /// is neither shared nor persistent gives a new, empty one. The suite calls it first
  /// in each test, in children after a fork too.
  virtual std::shared_ptr<Store> open() = 0;

  /// Why there is no store to be had here, a server that is not installed for one;
  /// empty: there is. Asked first; tests are skipped with it.
  [[nodiscard]] virtual std::string why_not() const { return {}; }

  /// Moves the clock by which the store judges the age of entries. False: it cannot be
  /// moved, and tests that need that are skipped.
  virtual bool advance(Duration by) {
    (void)by;
    return false;
  }
  /// Whether `advance` also moves the clock by which outcomes are forgotten.
  [[nodiscard]] virtual bool advances_outcomes() const { return false; }
  /// Whether `advance` also moves the clock by which leases run out. If not, they are
  /// waited for.
  [[nodiscard]] virtual bool advances_leases() const { return false; }

  /// Whether an operation takes a processor milliseconds: tests do fewer of them.
  [[nodiscard]] virtual bool is_slow() const { return false; }

  /// A value of the kind that the store keeps, made of this text.
  [[nodiscard]] virtual Value value_of(std::string text) {
    return Value::of_bytes(Codec::cbor, std::move(text));
  }
  /// The text that a value was made of.
  [[nodiscard]] virtual std::string text_of(const Value& value) {
    return std::string(as_text(value.bytes()));
  }
  /// Whether values may be bytes. If not, those of `value_of` are live objects.
  [[nodiscard]] virtual bool keeps_bytes() const { return true; }
  /// Whether forked children may use the store, as far as this test program is
  /// concerned.
  [[nodiscard]] virtual bool survives_fork() const { return true; }
};

/// A store to be tested: its name, as part of the names of tests, and how to get one.
struct Candidate {
  std::string name;
  std::function<std::unique_ptr<Subject>()> make;
};

}  // namespace cachier::conformance

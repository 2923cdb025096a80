#pragma once

/// The computations of this process: who owns which, who waits for which.
///
/// Stores keep claims; this keeps what only one process can know: that a wait would
/// never end because the owner is in the waiter's own chain or waits for it, and the
/// live result or exception of an owner that could not store, for those who wait here.

#include <cachier/engine.hpp>

#include <memory>
#include <mutex>
#include <typeinfo>
#include <unordered_map>
#include <vector>

namespace cachier::engine {

/// What one computation is of: an entry of one store.
struct FlightKey {
  const Store* store = nullptr;
  const Function* function = nullptr;
  Digest digest;
  friend bool operator==(const FlightKey&, const FlightKey&) = default;
};

struct FlightKeyHash {
  std::size_t operator()(const FlightKey& key) const noexcept {
    return static_cast<std::size_t>(key.digest.low ^ (key.digest.high >> 1U));
  }
};

/// What an owner that could not store leaves to those who wait for it in this process.
struct HandedOver {
  std::shared_ptr<const void> shared;    ///< as `Work::share` made it
  Basis basis;                           ///< what its computation was claimed with
  const std::type_info* type = nullptr;  ///< `Work::shared_type`
};

/// Thread-safe. One for the process, never destroyed; in the child of a fork it begins
/// anew, as the threads that computed and waited are not there.
class Flights {
 public:
  class Attention;

  static Flights& of_process() noexcept;

  /// `frame` has been granted its claim. Before it is given back: `ended`.
  void began(const std::shared_ptr<const Frame>& frame);
  /// Those who attend now get `handed`, if there is anything.
  void ended(const Frame& frame, HandedOver handed);

  /// Begins to attend to the computation of `key` for a caller within `enclosing`.
  /// Null: waiting would close a circle.
  std::unique_ptr<Attention> attend(const FlightKey& key,
                                    const std::shared_ptr<const Frame>& enclosing);

  Flights(const Flights&) = delete;
  Flights& operator=(const Flights&) = delete;

 private:
  struct Flight {
    std::shared_ptr<const Frame> owner;  ///< null: not of this process, as far as known
    HandedOver handed;
    std::size_t attendants = 0;
  };
  struct Wait {
    std::shared_ptr<const Frame> within;
    std::shared_ptr<Flight> flight;
  };

  Flights();

  bool closes_circle(const Flight& flight, const Frame& enclosing) const;
  void leave(const FlightKey& key, const std::shared_ptr<Flight>& flight,
             const Frame* within) noexcept;
  void forget_if_idle(const FlightKey& key, const Flight& flight) noexcept;

  std::mutex mutex_;
  std::unordered_map<FlightKey, std::shared_ptr<Flight>, FlightKeyHash> flights_;
  /// Only waits within a computation: others cannot be part of a circle.
  std::vector<Wait> waits_;
};

/// The attention of one waiter, until destroyed.
class Flights::Attention {
 public:
  ~Attention();
  Attention(const Attention&) = delete;
  Attention& operator=(const Attention&) = delete;

  /// What the owner handed over since; `shared` is null: nothing.
  [[nodiscard]] HandedOver handed() const;

 private:
  friend class Flights;
  Attention(Flights& flights, const FlightKey& key, std::shared_ptr<Flight> flight,
            std::shared_ptr<const Frame> within)
      : flights_(flights),
        key_(key),
        flight_(std::move(flight)),
        within_(std::move(within)) {}

  Flights& flights_;
  FlightKey key_;
  std::shared_ptr<Flight> flight_;
  std::shared_ptr<const Frame> within_;
};

}  // namespace cachier::engine

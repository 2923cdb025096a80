#pragma once

/// Claims that end by time, kept alive while their functions run.

#include <cachier/engine.hpp>

#include <cstdint>
#include <memory>
#include <optional>

namespace cachier::engine {

/// A claim that threads of the engine renew every third of its lease, until this is
/// ended or destroyed.
///
/// In the child of a fork it is nothing: the claim is the parent's.
class Renewal {
 public:
  /// What came of it.
  struct Report {
    bool lost = false;           ///< the store said that the claim is over
    std::uint64_t failures = 0;  ///< renewals that the store could not make
    std::optional<Error> error;  ///< of the last of them
  };

  /// Null where claims of `store` last until they are given back, or none was asked to
  /// end. `asked_at`: before the look that was granted it.
  static std::unique_ptr<Renewal> of(const std::shared_ptr<Store>& store, const Id& id,
                                     const Token& token, const Policy& policy,
                                     Deadline asked_at) noexcept;
  ~Renewal() { (void)end(); }
  Renewal(const Renewal&) = delete;
  Renewal& operator=(const Renewal&) = delete;

  /// Does not wait for a renewal that is under way: what the store makes of it then is
  /// of no interest.
  Report end() noexcept;

 private:
  friend class Renewals;
  struct Claim;
  explicit Renewal(std::shared_ptr<Claim> claim) noexcept;

  std::shared_ptr<Claim> claim_;
  std::uint64_t fork_count_;
};

/// Ends the threads, after what they are doing. Claims are renewed no more.
void end_renewals() noexcept;

}  // namespace cachier::engine

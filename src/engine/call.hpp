#pragma once

/// The life of one call, as a state machine that does no I/O.
///
/// It is told what happened and answers what to do next. It holds no lock, opens no
/// socket, knows no thread and no language, so that every driver (threads, an event
/// loop, the model test) takes the same decisions. `docs/engine.md` draws it.

#include <cachier/engine.hpp>
#include <cachier/store.hpp>

#include <cstdint>

namespace cachier::engine {

/// What the driver is to do next.
enum class Do : std::uint8_t {
  look,    ///< ask the store; then `looked` or `look_failed`
  attend,  ///< begin to watch entry and owner; then `attended` or `circular`
  wait,  ///< until something may have changed; then `woke`, `handed`, `timed_out`, ...
  compute,       ///< run the function; then `ran`
  put,           ///< store the result with `change()`; then `put_ended`
  release,       ///< give the claim back with `outcome()`; then `released`
  give_entry,    ///< done: the entry that was looked up, or `unreadable`
  give_stale,    ///< done: the stale entry, somebody is refreshing it, or `unreadable`
  give_refresh,  ///< done: the stale entry; refresh it with `token()`, or `unreadable`
  give_own,      ///< done: what `compute` left
  give_handed,   ///< done: what another call of this process handed over
  give_up,       ///< done: interrupted
  raise,         ///< done: the store's error
};

/// How a put ended.
enum class Put : std::uint8_t { stored, lost, failed, unstorable };

/// What a call wants, as far as its course depends on it.
struct Wants {
  bool skip = false;
  bool overwrite = false;
  bool next_time = false;
  friend bool operator==(const Wants&, const Wants&) = default;
};

/// Faults that the model test plants, to see that it finds them. All false in the
/// library. Those of a store are planted in the model's store.
struct Rules {
  bool release_before_put = false;  ///< the claim is given back, then the value stored
  bool trust_wakeups = false;       ///< a woken waiter takes itself for the owner
  bool wait_unattended = false;     ///< waits without having looked again: lost wake-up
  bool keep_claim_on_throw = false;  ///< an owner that throws leaves its claim standing
  bool put_after_fork = false;  ///< the child of a fork stores with its parent's claim
  bool take_outdated = false;   ///< takes what is handed over, however old it is
  /// Takes itself for attending still, after an entry that it could not read.
  bool stay_attending = false;
  bool store_ignores_epoch = false;  ///< commit does not compare the function's epoch
  bool store_ignores_owner =
      false;                       ///< commit does not see that the claim was given on
  bool store_wakes_early = false;  ///< release wakes before the claim is free
};

template <Rules kRules = Rules{}>
class Call {
 public:
  explicit Call(Wants wants) noexcept : wants_(wants) {}

  /// The course of a refresh that holds its claim already: starts at `compute`.
  static Call of_refresh(const Token& token) noexcept {
    Call call{Wants{}};
    call.token_ = token;
    call.store_how_ = Store::claimed;
    return call;
  }

  [[nodiscard]] Do start() noexcept {
    if (wants_.skip || store_how_ == Store::claimed) return Do::compute;
    return Do::look;
  }

  [[nodiscard]] Do looked(const Look& look) noexcept {
    token_ = look.token;
    if (wants_.overwrite) {
      store_how_ = Store::if_uncleared;
      return Do::compute;
    }
    if (look.fresh) return Do::give_entry;
    const bool stale = wants_.next_time && look.entry.has_value();
    switch (look.claim) {
      case Look::Claim::granted:
        store_how_ = Store::claimed;
        return stale ? Do::give_refresh : Do::compute;
      case Look::Claim::none:
        store_how_ = Store::if_unchanged;
        return stale ? Do::give_stale : Do::compute;
      case Look::Claim::busy:
        break;
    }
    if (stale) return Do::give_stale;
    if (kRules.wait_unattended) return Do::wait;
    return attending_ ? Do::wait : Do::attend;
  }

  /// The store did not answer. `raise`: the caller is to know.
  [[nodiscard]] Do look_failed(bool raise) noexcept {
    if (raise) return Do::raise;
    store_how_ = Store::no;
    return Do::compute;
  }

  /// The entry to give cannot be read by this caller; looks from now on ignore it. Its
  /// attention has ended with the wait that the entry was the end of.
  [[nodiscard]] Do unreadable() noexcept {
    if (store_how_ == Store::claimed) return Do::compute;
    store_how_ = Store::no;
    if (!kRules.stay_attending) attending_ = false;
    return Do::look;
  }

  [[nodiscard]] Do attended() noexcept {
    attending_ = true;
    return Do::look;
  }

  /// The owner is in this call's own chain, or waits for it: waiting would never end.
  [[nodiscard]] Do circular() noexcept {
    store_how_ = Store::no;
    return Do::compute;
  }

  [[nodiscard]] Do woke() noexcept {
    attending_ = false;
    if (kRules.trust_wakeups) {
      store_how_ = Store::if_uncleared;
      return Do::compute;
    }
    if (kRules.wait_unattended) return Do::look;
    return Do::attend;
  }

  /// Another call of this process hands over what it could not store, computed with
  /// `basis`. Cleared, erased or replaced since: it is too old, as if it were not
  /// there.
  [[nodiscard]] Do handed(const Basis& basis) noexcept {
    if (basis == token_.basis || kRules.take_outdated) return Do::give_handed;
    attending_ = false;
    return Do::attend;
  }

  /// Waited long enough, or for what is not to be had: compute, and store unless
  /// somebody else does meanwhile.
  [[nodiscard]] Do timed_out() noexcept {
    store_how_ = Store::if_unchanged;
    return Do::compute;
  }

  [[nodiscard]] Do interrupted() noexcept { return Do::give_up; }

  /// `in_child`: the process has been forked since, and this is the child: the claim is
  /// its parent's.
  [[nodiscard]] Do ran(Work::Ran how, bool in_child) noexcept {
    if (in_child && !kRules.put_after_fork) return Do::give_own;
    if (how == Work::Ran::threw) {
      if (store_how_ != Store::claimed || kRules.keep_claim_on_throw)
        return Do::give_own;
      outcome_ = Outcome::failed;
      return Do::release;
    }
    if (store_how_ == Store::no) return Do::give_own;
    if (kRules.release_before_put && store_how_ == Store::claimed) {
      store_how_ = Store::if_unchanged;
      return Do::release;
    }
    return Do::put;
  }

  /// Before `put`: the result is an empty answer that does not count for those who
  /// wait. It is stored for those to whom it does, and is to be handed over before; the
  /// claim outlives the put, so that its end can say that nothing is to be waited for.
  void is_empty() noexcept { keeps_claim_ = store_how_ == Store::claimed; }

  /// `version`: of what was stored.
  [[nodiscard]] Do put_ended(Put how, const Version& version = {}) noexcept {
    if (keeps_claim_) {
      if (how == Put::stored) token_.basis.version = version;
      outcome_ = Outcome::not_storable;
      return Do::release;
    }
    const bool claim_ended = how == Put::stored || how == Put::lost;
    if (claim_ended || store_how_ != Store::claimed) return Do::give_own;
    outcome_ = Outcome::not_storable;
    return Do::release;
  }

  [[nodiscard]] Do released() noexcept {
    if (kRules.release_before_put && store_how_ == Store::if_unchanged) {
      return Do::put;
    }
    return Do::give_own;
  }

  /// For `put`: under which condition it may happen. The value is the driver's.
  [[nodiscard]] Change change() const noexcept {
    Change change;
    change.kind = Change::Kind::put;
    switch (store_how_) {
      case Store::claimed:
        if (keeps_claim_) {
          change.basis = token_.basis;
        } else {
          change.token = token_;
        }
        break;
      case Store::if_unchanged:
        change.basis = token_.basis;
        break;
      case Store::if_uncleared:
        change.epoch = token_.basis.epoch;
        break;
      case Store::no:
        break;
    }
    return change;
  }

  /// For `release`.
  [[nodiscard]] Outcome outcome() const noexcept { return outcome_; }
  [[nodiscard]] const Token& token() const noexcept { return token_; }
  /// Whether this call holds the claim of its token.
  [[nodiscard]] bool claimed() const noexcept { return store_how_ == Store::claimed; }
  /// Whether its put leaves it the claim.
  [[nodiscard]] bool keeps_claim() const noexcept { return keeps_claim_; }
  [[nodiscard]] bool attending() const noexcept { return attending_; }
  /// Whether looks of this call are to ask for the claim.
  [[nodiscard]] bool wants_claim() const noexcept { return !wants_.overwrite; }

  friend bool operator==(const Call&, const Call&) = default;

 private:
  /// What becomes of the result.
  enum class Store : std::uint8_t {
    no,            ///< it is the caller's alone
    claimed,       ///< stored with the claim's token
    if_unchanged,  ///< stored if nobody stored or cleared since the look
    if_uncleared,  ///< stored if nobody cleared since the look
  };

  Wants wants_;
  bool attending_ = false;
  bool keeps_claim_ = false;
  Store store_how_ = Store::no;
  Outcome outcome_ = Outcome::none;
  Token token_;
};

}  // namespace cachier::engine

#pragma once

/// The contract between the engine and a store. Users say "backend"; this is what one
/// fulfils.
///
/// A store keeps entries, hands out claims (the exclusive right to compute one entry)
/// and tells waiters to look again. Everything clever is above it, in the engine.
/// `docs/store.md` is the page for those who write one; `tests/conformance/` is what it
/// must pass.
///
/// Every verb is thread-safe, never throws, never runs user code and is done by its
/// deadline (a local store may overstep by one operation of the disk). Hit, miss and
/// failure are three different answers: a miss is a `Look` without an entry, a failure
/// is an `Error`.
///
/// ### What makes a late commit lose
///
/// A `Basis` is what a look saw: the function's epoch and the entry's version. A commit
/// that names one happens only if both still hold, decided in the same atomic step as
/// the write. Clearing a function raises its epoch; each put and each erase changes the
/// version, and it never returns to an earlier one. A store that is `fenced` also
/// refuses the commit of an owner whose claim has since been given to another.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>
#include <cachier/export.hpp>
#include <cachier/metrics.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

namespace cachier {

/// What a store declares of itself; the conformance suite holds it to that.
struct Capabilities {
  std::string_view
      name;  ///< "memory", "local", ...: for messages and `cachier backends`
  bool live_objects =
      false;  ///< keeps objects of this process; else values must be bytes
  bool persistent = false;  ///< entries outlive the process
  bool shared = false;      ///< other processes see them
  bool many_hosts = false;  ///< so do other machines
  bool fenced = false;      ///< a claim given on is known at commit (see above)
  bool leases = false;      ///< a claim ends by time; its owner renews it
  bool sees_death = false;  ///< a claim ends with its owner's process, at once
  bool wakes =
      false;  ///< `Watch::wait` returns on release; else it only sleeps its slice
};

/// What a look saw, for commits that must find it unchanged. Opaque to all but the
/// store.
struct Basis {
  std::uint64_t epoch = 0;
  Version version;
  friend bool operator==(const Basis&, const Basis&) = default;
};

/// Proof of a claim, given by `look`, taken by `commit`. Opaque; two claims never have
/// equal ones.
struct Token {
  Basis basis;
  std::uint64_t serial = 0;  ///< never 0 in a granted token
  friend bool operator==(const Token&, const Token&) = default;
};

/// What the last owner left behind for those who waited, remembered for a few seconds.
enum class Outcome : std::uint8_t {
  none,
  failed,        ///< its function threw; whoever comes next computes
  not_storable,  ///< it has a result that this store cannot keep; all may compute at
                 ///< once
};

/// How long a store remembers an outcome.
inline constexpr Duration kOutcomeLife = std::chrono::seconds(5);

/// What the caller of `look` would take.
struct Ask {
  Duration max_age = kNoLimit;  ///< older entries are not fresh (`is_fresh`)
  bool allow_none = false;      ///< whether an entry that `is_none` counts as an entry
  bool claim = true;  ///< take the claim if there is no fresh entry and it is free
  Duration lease =
      kNoLimit;  ///< for stores with leases: how long the claim holds unrenewed
  /// An entry of this version is as good as none: the caller could not read it.
  std::optional<Version> unreadable = {};
};

/// The answer to `look`.
struct Look {
  enum class Claim : std::uint8_t {
    /// Not asked for, not needed, or `outcome` says that nobody needs one.
    none,
    /// `token` is the caller's, until it commits a put with it or releases it.
    granted,
    /// Somebody else is computing.
    busy,
  };

  std::optional<Entry> entry;  ///< whatever is stored and counts, fresh or not
  bool fresh = false;          ///< `entry` is there and young enough
  bool damaged = false;        ///< something was stored, but its checksum or form fails
  bool untrusted = false;      ///< something was stored, not signed by a key of ours
  Claim claim = Claim::none;
  Outcome outcome = Outcome::none;
  /// `token.basis` is always what this look saw; `token.serial` only when granted.
  Token token;
  /// The store's clock, where the answer needed it.
  Time now;
  /// The process that is computing, where it is busy and the store knows; for logs.
  std::uint32_t owner_process = 0;
};

/// A change to one entry.
struct Change {
  enum class Kind : std::uint8_t {
    /// Store `value`. Done or `claim_lost`, the claim of `token` ends; after any other
    /// error it stands, so that its owner can say why (`release` with an outcome).
    put,
    /// End the claim of `token` without a value; leave `outcome` for those who waited,
    /// if the token's basis still holds.
    release,
    /// Let the claim of `token` hold for another `lease`.
    renew,
    /// Remove the entry; a computation that is running will not be stored.
    erase,
  };

  Kind kind = Kind::put;
  Value value;
  /// The claim that is used up (put, release) or renewed. A release without one is an
  /// `invalid_argument`.
  std::optional<Token> token = {};
  /// For a put without a claim: it happens only if this still holds.
  std::optional<Basis> basis = {};
  /// For a put that overwrites: it happens only if the function has not been cleared
  /// since this epoch, which a look at the same call saw. None of the three: it always
  /// happens.
  std::optional<std::uint64_t> epoch = {};
  Outcome outcome = Outcome::none;
  Duration lease = kNoLimit;
};

/// Which entries of which function. No function: all of the store.
struct Filter {
  const Function* function = nullptr;
  /// Only entries stored before this, by the store's clock.
  std::optional<Time> stored_before = {};
};

/// One entry as `scan` lists it: everything but the value.
struct Header {
  std::string function;  ///< the function's id
  Digest digest;
  std::string key;  ///< as in `Id`
  bool hashed = false;
  Time stored_at;
  std::uint64_t size = 0;  ///< bytes of the value as stored; 0 for live objects
  Codec codec = Codec::live;
};

/// Where a scan goes on. Empty: at the start; given back empty: it is done.
using Cursor = std::string;

struct Page {
  std::vector<Header> entries;
  Cursor next;
};

/// How much may be kept. What is beyond is evicted, least used first.
struct Bounds {
  static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t entries = kNone;
  /// Bytes of values, and some hundred an entry for the rest.
  std::uint64_t bytes = kNone;

  [[nodiscard]] bool any() const noexcept { return entries != kNone || bytes != kNone; }
  friend bool operator==(const Bounds&, const Bounds&) = default;
};

/// What `clear` does.
enum class Clear : std::uint8_t {
  entries,  ///< removes them; computations that are running will not be stored
  stale,    ///< removes those stored before `Filter::stored_before`; nobody else is
            ///< disturbed
  claims,   ///< frees every claim: later callers compute at once, running owners may
            ///< still store
};

/// Attention to one entry, from before a look until the wait that follows it.
///
/// Made first, then look, then `wait`: a release between look and wait is not missed.
/// Used by one thread at a time. Must not outlive its store.
class CACHIER_API Watch {
 public:
  virtual ~Watch() = default;
  /// Returns when the entry may have changed or the deadline has passed, whichever is
  /// first; may return early for no reason. A hint: only `look` says what is true.
  virtual void wait(Deadline deadline) noexcept = 0;
};

class CACHIER_API Store {
 public:
  virtual ~Store() = default;

  [[nodiscard]] virtual Capabilities capabilities() const noexcept = 0;

  /// One round trip: the entry if there is one and, where it is missing or too old and
  /// `ask.claim`, the claim if it is free. Whoever has been granted the claim has
  /// looked after getting it: no finished put is overlooked.
  virtual Result<Look> look(const Id& id, const Ask& ask,
                            Deadline deadline) noexcept = 0;

  /// Changes the entry, all or nothing. Gives the version that the entry now has.
  /// `claim_lost` if the token's or the given basis no longer holds. A released or lost
  /// claim wakes its waiters; a put does so after the value can be seen.
  virtual Result<Version> commit(const Id& id, const Change& change,
                                 Deadline deadline) noexcept = 0;

  /// Some entries from `from` on, in no order that is promised. An entry that is there
  /// all the time is listed exactly once; one that comes or goes meanwhile, at most
  /// once.
  virtual Result<Page> scan(const Filter& filter, const Cursor& from,
                            Deadline deadline) noexcept = 0;

  /// Gives the number of entries that it removed (0 for `Clear::claims`). With
  /// `Clear::entries` nothing stored earlier is returned by a look that begins after
  /// `clear` has returned, also if it returns an error but for `unavailable`, `refused`
  /// and `deadline_exceeded`.
  virtual Result<std::uint64_t> clear(const Filter& filter, Clear what,
                                      Deadline deadline) noexcept = 0;

  /// Begins to watch an entry. Null: there is no memory for it; the caller looks again
  /// soon.
  [[nodiscard]] virtual std::unique_ptr<Watch> watch(const Id& id) noexcept = 0;

  /// The fresh entry that a `look` would give now, where the store knows it without
  /// waiting and without a system call. Nothing: look.
  [[nodiscard]] virtual std::optional<Entry> recall(const Id& id,
                                                    const Ask& ask) noexcept {
    (void)id;
    (void)ask;
    return std::nullopt;
  }

  /// A hit at the price of the copy: if there is a fresh live object, or one of this
  /// type that `keep_copy` has left, copies its bytes, of which there are `size`, under
  /// a lock of the store: for small objects of types that are copied as bytes are.
  /// False: nothing was copied; look.
  virtual bool copy_fresh(const Id& id, const Ask& ask, const std::type_info& type,
                          void* to, std::size_t size) noexcept {
    (void)id;
    (void)ask;
    (void)type;
    (void)to;
    (void)size;
    return false;
  }

  /// A hint: what the value of the entry of this version decodes to, an object of this
  /// type that is copied as its bytes are, of which there are `size`, 256 at most. A
  /// store that answers from this process's memory copies it the next time.
  virtual void keep_copy(const Id& id, const Version& version,
                         const std::type_info& type, const void* from,
                         std::size_t size) noexcept {
    (void)id;
    (void)version;
    (void)type;
    (void)from;
    (void)size;
  }

  /// Bounds for what one function keeps here (null: for the whole store), heeded by
  /// what this process stores from now on. False: this store knows no bounds.
  virtual bool keep_within(const Function* function, const Bounds& bounds) noexcept {
    (void)function;
    (void)bounds;
    return !bounds.any();
  }

  /// What it did for this process so far. A store that does not count says zeros.
  [[nodiscard]] virtual StoreMetrics metrics() const noexcept { return {}; }

  /// Where the store lives, for people: a directory, a URL without its password.
  [[nodiscard]] virtual std::string location() const = 0;

 protected:
  Store() = default;
  Store(const Store&) = default;
  Store& operator=(const Store&) = default;
};

}  // namespace cachier

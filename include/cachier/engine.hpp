#pragma once

/// The engine as its doors see it: one call in, its result out, computed at most once.
///
/// For the C++ template in `cached.hpp`, the Python module, and whoever brings another
/// language. A door binds and encodes the arguments, says what this call wants
/// (`Policy`) and lends its user's code to the engine (`Work`). Programs use
/// `cached.hpp`.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>
#include <cachier/export.hpp>
#include <cachier/metrics.hpp>
#include <cachier/store.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <typeinfo>
#include <utility>
#include <variant>

namespace cachier::engine {

/// What one call wants, after the options of the call, of the function and the global
/// ones have been merged.
struct Policy {
  Duration max_age = kNoLimit;     ///< the strictest of `stale_after` and `max_age`
  Duration wait_limit = kNoLimit;  ///< longest wait for somebody else's computation
  std::uint64_t size_limit =
      std::numeric_limits<std::uint64_t>::max();  ///< bytes of a value
  Duration operation_timeout =
      std::chrono::seconds(5);  ///< deadline of each verb of the store
  /// Where claims end by time (`Capabilities::leases`): after this, unless they are
  /// renewed, which threads of the engine do every third of it while the function runs.
  Duration lease = std::chrono::seconds(10);
  bool next_time = false;      ///< hand out what is stale, refresh it in the background
  bool allow_none = false;     ///< a stored empty answer counts
  bool skip = false;           ///< neither read nor write (also: caching is off)
  bool overwrite = false;      ///< do not read; run and store
  bool raise_outages = false;  ///< a store that cannot answer now fails the call
  bool raise_refusals = false;  ///< a store that will not answer fails the call
};

/// One computation in the chain of computations that led to a call: who owns which
/// claim. The door keeps the innermost one where its language keeps such things (a
/// `thread_local`, a context variable) while the function runs, so that a call that
/// meets a claim of its own chain, or would close a circle of waiting, is recognized
/// and computes instead.
struct Frame {
  std::shared_ptr<const Frame> parent;
  const Store* store = nullptr;
  const Function* function = nullptr;
  Digest digest;
};

/// The innermost frame of this thread, for doors whose language goes by threads. Work
/// that a cached function hands to another thread can take it along (`FrameScope`), so
/// that what it calls there still knows where it comes from.
CACHIER_API std::shared_ptr<const Frame>& thread_frame() noexcept;

/// Makes `frame` this thread's innermost one, until destroyed.
class FrameScope {
 public:
  explicit FrameScope(std::shared_ptr<const Frame> frame) noexcept
      : outer_(std::exchange(thread_frame(), std::move(frame))) {}
  ~FrameScope() { thread_frame() = std::move(outer_); }
  FrameScope(const FrameScope&) = delete;
  FrameScope& operator=(const FrameScope&) = delete;

 private:
  std::shared_ptr<const Frame> outer_;
};

/// What happened on the way, for verbose modes and metrics of a door.
enum class Step : std::uint8_t {
  entry_found,
  entry_stale,
  no_entry,
  waiting,
  calling,
  stored,
  too_large,
};

/// A refresh in the background that has been granted its claim. Owned by whoever is to
/// run it; destroyed without `run`, it gives the claim back, which may block (`Steps`
/// made of it can do so by an operation).
class CACHIER_API Refresh {
 public:
  virtual ~Refresh() = default;
};

/// A call's user code. The engine uses it from the calling thread only, holds no lock
/// meanwhile, and a `Work` lives as long as that call.
class CACHIER_API Work {
 public:
  /// How the function ended.
  enum class Ran : std::uint8_t { returned, threw };

  virtual ~Work() = default;

  /// Takes an entry as this call's result. False: it cannot be read here; the engine
  /// counts that and computes.
  virtual bool accept(const Entry& entry) noexcept = 0;

  /// Runs the function and keeps its result or its exception as this call's. `frame` is
  /// to be the innermost one while it runs; null where nothing is claimed.
  virtual Ran compute(std::shared_ptr<const Frame> frame) noexcept = 0;

  /// The stored form of what `compute` returned. An error: it has none, or
  /// (`too_large`) it was given up above `size_limit` bytes.
  virtual Result<Value> encode(std::uint64_t size_limit) noexcept = 0;

  /// The result or exception of `compute` as an object that other calls of the same
  /// function in this process can take with `adopt`, for when it cannot be stored.
  /// Null: it is this caller's alone (an interrupt); one of those who wait computes.
  virtual std::shared_ptr<const void> share() noexcept = 0;
  /// The type behind what this work shares: nothing is handed over between works of
  /// one function that have different ones.
  [[nodiscard]] virtual const std::type_info& shared_type() const noexcept {
    return typeid(void);
  }
  /// Takes what another call shared as this call's result or exception.
  virtual Ran adopt(const std::shared_ptr<const void>& shared) noexcept = 0;

  /// The innermost frame of the caller.
  virtual std::shared_ptr<const Frame> enclosing() noexcept = 0;

  /// Asked at least every 50 ms of a wait. True: stop waiting, the call ends as
  /// `interrupted`.
  virtual bool interrupted() noexcept { return false; }

  /// Starts a copy of this call in the background, which is to call `run_refresh` with
  /// the ticket. False: it could not be started.
  virtual bool start_refresh(std::unique_ptr<Refresh> ticket) noexcept = 0;

  /// Told of each step, in order.
  virtual void on(Step step) noexcept { (void)step; }

  /// Told of a failure of the store that the call gets over: it computes, does not
  /// store, or held its claim unrenewed.
  virtual void store_failed(const Error& error) noexcept { (void)error; }

  /// Told once, in a wait of more than 5 s, which process is computing (0: not known).
  virtual void waits_for(std::uint32_t process) noexcept { (void)process; }
};

/// How a call ended.
struct Ended {
  enum class How : std::uint8_t {
    value,        ///< the work holds a result
    exception,    ///< the work holds an exception
    interrupted,  ///< the work said so while waiting
    error,        ///< `error`: the store refused, and callers are to know
  };
  How how = How::value;
  std::optional<Error> error;
};

/// Answers one call: from the store, from somebody else's computation, or by running
/// the function.
///
/// Blocks while the function runs and while it waits. Thread-safe. `counters` may be
/// null.
CACHIER_API Ended call(const std::shared_ptr<Store>& store, const Id& id,
                       const Policy& policy, Work& work, Counters* counters) noexcept;

/// The part of `call` that neither waits nor blocks: takes the answer that the store
/// knows, if it is not larger than `most_bytes`. False: `call` it, or go through
/// `Steps`.
CACHIER_API bool recall(Store& store, const Id& id, const Policy& policy, Work& work,
                        Counters& counters, std::uint64_t most_bytes) noexcept;

/// Runs the function for a refresh that `Work::start_refresh` was given, and stores the
/// result. A failure keeps the old value. The work is the background copy.
CACHIER_API Ended run_refresh(std::unique_ptr<Refresh> ticket, Work& work) noexcept;

/// What a call asks of its store: a look, or a commit of a change.
struct Operation {
  std::variant<Ask, Change> what;
  Deadline deadline;
};

/// One call in steps, for doors whose callers must not be blocked: event loops. The
/// same course as `call`; the door runs what may block on a thread of its own, and
/// awaits. Or it does each operation of the store itself, through an asynchronous
/// client say, and hands in the answer.
///
/// Used by one thread at a time. The work, which outlives it, is asked for nothing of
/// the language's flow of control: `compute`, `interrupted` are not called, `enclosing`
/// must answer from any thread.
class CACHIER_API Steps {
 public:
  enum class Next : std::uint8_t {
    store,    ///< `act`: operations of the store, which may block; or `begin`
    wait,     ///< `before_wait`, wait, `after_wait`
    compute,  ///< `before_compute`, run the function, `after_compute`
    done,     ///< `end`
  };

  static std::unique_ptr<Steps> of_call(const std::shared_ptr<Store>& store,
                                        const Id& id, const Policy& policy, Work& work,
                                        Counters& counters);
  static std::unique_ptr<Steps> of_refresh(std::unique_ptr<Refresh> ticket, Work& work);

  virtual ~Steps() = default;

  [[nodiscard]] virtual Next next() const noexcept = 0;
  /// Before `act`: takes the answer that the store knows without waiting, if it is not
  /// larger than `most_bytes`. Then it is done.
  virtual bool recall(std::uint64_t most_bytes) = 0;
  /// Goes on as far as the store is concerned.
  virtual void act() = 0;
  /// Instead of `act`: goes on as far as the store need not answer (a value is encoded
  /// or decoded), and gives what it is to be asked now. Nothing: see `next`. After each
  /// look `looked`, after each commit `committed`, then `begin` again. What has been
  /// begun is finished, whether the caller is there still or not: it may be granted a
  /// claim.
  virtual std::optional<Operation> begin() = 0;
  /// An error is what `Store` says of it: `unavailable` for a client that cannot
  /// connect, `deadline_exceeded`.
  virtual void looked(Result<Look> answer) = 0;
  virtual void committed(Result<Version> answer) = 0;
  /// How long to wait at most. Nothing: the wait is over, see `next`.
  virtual std::optional<Duration> before_wait() = 0;
  /// What tells that the wait may be over; null: there was no memory for it.
  [[nodiscard]] virtual std::shared_ptr<Watch> watch() const noexcept = 0;
  virtual void after_wait() = 0;
  virtual std::shared_ptr<const Frame> before_compute() = 0;
  virtual void after_compute(Work::Ran how) = 0;
  virtual Ended end() = 0;

  /// The caller went away before it could compute: a claim that is held for it is given
  /// back, which may block. Then destroy it.
  [[nodiscard]] virtual bool holds_claim() const noexcept = 0;
  virtual void give_back() = 0;
  /// Instead of `give_back`: what the store is to be asked, if anything. What it
  /// answers is of no interest.
  virtual std::optional<Operation> begin_give_back() = 0;

  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;

 protected:
  Steps() = default;
};

/// Something to run once in the background.
class CACHIER_API Job {
 public:
  virtual ~Job() = default;
  virtual void run() noexcept = 0;
};

/// Runs a job on one of at most 8 threads of the engine, made when needed, and destroys
/// it there. False after `shutdown()`: the job is destroyed unrun. For doors whose
/// language has no threads of its own to prefer.
CACHIER_API bool run_in_background(std::unique_ptr<Job> job) noexcept;

/// Stores `value` as the result of a call that was never run.
CACHIER_API Result<Version> precache(Store& store, const Id& id, Value value,
                                     const Policy& policy) noexcept;

}  // namespace cachier::engine

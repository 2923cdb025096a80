#pragma once

/// The C++ door: a function in, the same function with its results cached out.
///
///     auto forecast = cachier::cached("forecast", simulate, {.stale_after = 24h});
///     forecast("gfs", 3);  // computes and stores
///     forecast("gfs", 3);  // answered from the store, also after a restart
///
/// The name is the identity: what a lambda has captured, and which function it is, are
/// not part of the key. Two that can answer differently need two names, or what tells
/// them apart as an argument.

#include <cachier/backend.hpp>
#include <cachier/cbor.hpp>
#include <cachier/engine.hpp>
#include <cachier/entry.hpp>
#include <cachier/error.hpp>
#include <cachier/key.hpp>
#include <cachier/log.hpp>
#include <cachier/metrics.hpp>
#include <cachier/options.hpp>
#include <cachier/signing.hpp>
#include <cachier/store.hpp>
#include <cachier/value.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace cachier {

namespace detail {

/// Parameters and result of a callable that has exactly one call operator.
template <class F>
struct Signature : Signature<decltype(&F::operator())> {};
template <class R, class... A>
struct Signature<R (*)(A...)> {
  using Result = R;
  using Parameters = std::tuple<A...>;
};
template <class R, class... A>
struct Signature<R (*)(A...) noexcept> : Signature<R (*)(A...)> {};
template <class C, class R, class... A>
struct Signature<R (C::*)(A...)> : Signature<R (*)(A...)> {};
template <class C, class R, class... A>
struct Signature<R (C::*)(A...) const> : Signature<R (*)(A...)> {};
template <class C, class R, class... A>
struct Signature<R (C::*)(A...) noexcept> : Signature<R (*)(A...)> {};
template <class C, class R, class... A>
struct Signature<R (C::*)(A...) const noexcept> : Signature<R (*)(A...)> {};

template <class F>
using ResultOf = typename Signature<std::decay_t<F>>::Result;
template <class F>
using ParametersOf = typename Signature<std::decay_t<F>>::Parameters;

/// By value or by const reference: what the function cannot hand results out through.
template <class P>
inline constexpr bool kIsInput =
    !std::is_reference_v<P> ||
    (std::is_lvalue_reference_v<P> && std::is_const_v<std::remove_reference_t<P>>);

template <class Parameters>
inline constexpr bool kAreInputs = false;
template <class... P>
inline constexpr bool kAreInputs<std::tuple<P...>> = (kIsInput<P> && ...);

template <class Parameters>
inline constexpr bool kAreKeyable = false;
template <class... P>
inline constexpr bool kAreKeyable<std::tuple<P...>> =
    ((Keyable<std::remove_cvref_t<P>> || is_ignored<std::remove_cvref_t<P>>)&&...);

/// What an argument is kept as when the call goes on after its caller: texts own their
/// characters then.
template <class T>
struct Kept {
  using type = T;
};
template <>
struct Kept<std::string_view> {
  using type = std::string;
};
template <class P>
using KeptAs = typename Kept<std::remove_cvref_t<P>>::type;

/// What calls of one function in one process hand over: a result or an exception.
template <class R>
struct Shared {
  std::shared_ptr<const R> value;
  std::exception_ptr thrown;
};

/// Whether what an argument is kept as is good without its caller: other views and
/// pointers are not, and neither is what is made of them.
template <class T>
inline constexpr bool kOwnsItself = !std::is_pointer_v<T>;
template <class T, std::size_t N>
inline constexpr bool kOwnsItself<std::span<T, N>> = false;
template <>
inline constexpr bool kOwnsItself<std::string_view> = false;
template <template <class...> class Of, class... T>
inline constexpr bool kOwnsItself<Of<T...>> = (kOwnsItself<T> && ...);
template <class P>
inline constexpr bool kOutlivesCaller =
    std::copy_constructible<KeptAs<P>>&& kOwnsItself<KeptAs<P>>;

template <class R>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

/// It runs in several threads at once, so it may not change itself: no `mutable`
/// lambda.
template <class F, class Parameters>
inline constexpr bool kRunsAsConst = false;
template <class F, class... P>
inline constexpr bool kRunsAsConst<F, std::tuple<P...>> =
    std::is_invocable_v<const F&, P...>;

/// A result that can be copied is handed out as it is, another one is shared.
template <class R>
using Handed =
    std::conditional_t<std::copy_constructible<R>, R, std::shared_ptr<const R>>;

}  // namespace detail

/// What `cached` takes: one call operator, which is const, inputs by value or const
/// reference that `key_encoder` knows, and a result by value.
template <class F>
concept Cacheable = requires {
  typename detail::ResultOf<F>;
}
&&std::is_object_v<detail::ResultOf<F>>&& detail::kAreInputs<detail::ParametersOf<F>>&&
    detail::kAreKeyable<detail::ParametersOf<F>>&&
        detail::kRunsAsConst<F, detail::ParametersOf<F>>;

template <class F, class Parameters = detail::ParametersOf<F>>
class Cached;

/// A function whose results are cached; made by `cached`.
///
/// Threads: it may be shared and copied; copies are the same cached function.
template <class F, class... P>
class Cached<F, std::tuple<P...>> {
 public:
  using Result = detail::ResultOf<F>;
  using Handed = detail::Handed<Result>;
  /// A hit is a copy of so many bytes.
  static constexpr bool kCopied =
      std::is_trivially_copyable_v<Result> && sizeof(Result) <= 256;

  /// The result for these arguments: from the store, from somebody else's computation,
  /// or by running the function. What the function throws reaches the caller and is not
  /// stored.
  Handed operator()(const std::remove_cvref_t<P>&... args) const {
    return answer(state_->defaults, state_->ask, args...);
  }

  /// The same with options for this call.
  Handed call(const CallOptions& options, const std::remove_cvref_t<P>&... args) const {
    const engine::Policy policy = state_->policy_of(options);
    return answer(policy, State::ask_of(policy), args...);
  }

  /// The result, shared instead of copied; from a memory store without any copy.
  std::shared_ptr<const Result> get(const std::remove_cvref_t<P>&... args) const {
    const CallKey key(*state_, args...);
    if (state_->live && caching_enabled()) {
      if (auto hit = quick_hit(state_->ask, key)) return hit;
    }
    Work work(state_, args...);
    run(state_->defaults, key, work);
    return work.shared();
  }

  /// What is stored and fresh, if anything; computes nothing and waits for nobody.
  std::optional<Handed> peek(const std::remove_cvref_t<P>&... args) const {
    const CallKey key(*state_, args...);
    auto look = state_->store->look(key.id, state_->ask, state_->soon());
    if (!look || !look->fresh) return std::nullopt;
    Work work(state_, args...);
    if (!work.accept(*look->entry)) return std::nullopt;
    return work.take();
  }

  /// Stores `value` as the result for these arguments, without running the function.
  void precache(Result value, const std::remove_cvref_t<P>&... args) const {
    const CallKey key(*state_, args...);
    Work work(state_, args...);
    work.own(std::move(value));
    auto encoded = work.encode(state_->defaults.size_limit);
    if (!encoded) throw Exception(encoded.error());
    (void)engine::precache(*state_->store, key.id, std::move(*encoded),
                           state_->defaults)
        .value();
  }

  /// Removes the entry for these arguments. A computation of it that is running will
  /// not be stored.
  void invalidate(const std::remove_cvref_t<P>&... args) const {
    const CallKey key(*state_, args...);
    Change change;
    change.kind = Change::Kind::erase;
    (void)state_->store->commit(key.id, change, state_->soon()).value();
  }

  /// Removes all entries of this function and gives their number. Computations that are
  /// running will not be stored. Throws `Exception` if the store cannot.
  std::uint64_t clear() const {
    return state_->store
        ->clear({.function = state_->function, .stored_before = {}}, Clear::entries,
                state_->soon())
        .value();
  }

  /// Frees every claim of this function: later callers compute at once, running owners
  /// finish.
  void clear_being_calculated() const {
    (void)state_->store
        ->clear({.function = state_->function, .stored_before = {}}, Clear::claims,
                state_->soon())
        .value();
  }

  /// What happened to the calls of this function in this process.
  [[nodiscard]] const Counters& counters() const noexcept { return state_->counters; }
  /// The id under which stores know this function.
  [[nodiscard]] const std::string& id() const noexcept {
    return state_->function->id();
  }

 private:
  template <class G>
  requires Cacheable<std::decay_t<G>>
  friend auto cached(std::string_view name, G&& fn, Options options);

  struct State {
    template <class G>
    explicit State(G&& wrapped) : fn(std::forward<G>(wrapped)) {}

    F fn;
    const Function* function = nullptr;
    std::shared_ptr<Store> store;
    engine::Policy defaults;
    Ask ask;            ///< for a hit, by the defaults
    bool live = false;  ///< the store keeps objects
    bool count_hits = false;
    bool hash_keys = false;                    ///< keys are stored as SHA-256
    std::uint64_t most_bytes = Bounds::kNone;  ///< that may be kept, all in all
    Duration stale_after = kNoLimit;
    mutable Counters counters;

    [[nodiscard]] static Ask ask_of(const engine::Policy& policy) noexcept {
      Ask ask;
      ask.max_age = policy.max_age;
      ask.allow_none = policy.allow_none;
      ask.claim = false;
      return ask;
    }

    [[nodiscard]] Deadline soon() const noexcept {
      return std::chrono::steady_clock::now() + defaults.operation_timeout;
    }

    [[nodiscard]] engine::Policy policy_of(const CallOptions& options) const {
      engine::Policy policy = defaults;
      policy.max_age = std::min(options.stale_after.value_or(stale_after),
                                options.max_age.value_or(kNoLimit));
      policy.next_time = options.next_time.value_or(policy.next_time);
      policy.allow_none = options.allow_none.value_or(policy.allow_none);
      policy.skip = options.skip_cache;
      policy.overwrite = options.overwrite_cache;
      return policy;
    }
  };

  /// The key of one call, for as long as that call.
  struct CallKey {
    CallKey(const State& state, const std::remove_cvref_t<P>&... args)
        : kept(written(writer, args...), state.hash_keys),
          id{.function = state.function,
             .digest = digest_of(*state.function, writer.view()),
             .key = kept.bytes(),
             .hashed = kept.hashed()} {}
    CallKey(const CallKey&) = delete;
    CallKey& operator=(const CallKey&) = delete;

    cbor::Writer writer;
    KeptKey kept;
    Id id;

   private:
    static Bytes written(cbor::Writer& writer, const std::remove_cvref_t<P>&... args) {
      encode_call(writer, args...);
      if (writer.size() > kMaxKeySize) [[unlikely]] {
        refuse(writer.size());
      }
      return writer.view();
    }

    [[noreturn]] static void refuse(std::size_t size) {
      throw Exception(Error(ErrorCode::too_large, "cannot make a key of this call",
                            "its arguments have " + std::to_string(size) +
                                " bytes, more than " + std::to_string(kMaxKeySize),
                            "leave large ones out with cachier::ignored, or give a "
                            "key_encoder that hashes them"));
    }
  };

  /// What stored bytes stand for; nothing: they cannot be read.
  static std::optional<Result> decoded(const Value& value) noexcept {
    // A description of a type is nobody's here yet: it is another one's.
    if (value.codec() != Codec::cbor || value.fingerprint() != 0 ||
        value.is_exception())
      return std::nullopt;
    try {
      return decode_value<Result>(value.bytes());
    } catch (...) {
      return std::nullopt;  // no memory for it: as good as unreadable
    }
  }

  /// One call as the engine sees it. Borrows the arguments.
  class Work final : public engine::Work {
   public:
    Work(std::shared_ptr<const State> state, const std::remove_cvref_t<P>&... args)
        : state_(std::move(state)), args_(args...) {}

    bool accept(const Entry& entry) noexcept override {
      const Value& value = entry.value;
      if (value.codec() == Codec::live) {
        shared_ = std::static_pointer_cast<const Result>(value.object());
        return true;
      }
      if constexpr (Storable<Result>) own_ = decoded(value);
      return own_.has_value();
    }

    Ran compute(std::shared_ptr<const engine::Frame> frame) noexcept override {
      std::optional<engine::FrameScope> scope;
      if (frame) scope.emplace(std::move(frame));
      try {
        const auto run = [this](const auto&... args) { return state_->fn(args...); };
        if (state_->live) {
          shared_ = std::make_shared<const Result>(std::apply(run, args_));
        } else {
          own_.emplace(std::apply(run, args_));
        }
        return Ran::returned;
      } catch (...) {
        thrown_ = std::current_exception();
        return Ran::threw;
      }
    }

    cachier::Result<Value> encode(std::uint64_t size_limit) noexcept override {
      try {
        return encode_result(size_limit);
      } catch (const std::exception& error) {
        return Error(ErrorCode::unsupported, "cannot encode a result", error.what());
      } catch (...) {
        return Error(ErrorCode::unsupported, "cannot encode a result");
      }
    }

    std::shared_ptr<const void> share() noexcept override {
      try {
        if (thrown_) return std::make_shared<const Shared>(Shared{nullptr, thrown_});
        if constexpr (std::copy_constructible<Result>) {
          auto value = shared_ ? shared_ : std::make_shared<const Result>(*own_);
          return std::make_shared<const Shared>(Shared{std::move(value), nullptr});
        } else if (shared_) {
          return std::make_shared<const Shared>(Shared{shared_, nullptr});
        }
      } catch (...) {
        // Nothing to hand over then: those who wait compute.
      }
      return nullptr;
    }

    const std::type_info& shared_type() const noexcept override {
      return typeid(Shared);
    }

    Ran adopt(const std::shared_ptr<const void>& shared) noexcept override {
      const auto& from = *static_cast<const Shared*>(shared.get());
      shared_ = from.value;
      thrown_ = from.thrown;
      return thrown_ ? Ran::threw : Ran::returned;
    }

    std::shared_ptr<const engine::Frame> enclosing() noexcept override {
      return engine::thread_frame();
    }

    bool start_refresh(std::unique_ptr<engine::Refresh> ticket) noexcept override {
      if constexpr ((detail::kOutlivesCaller<P> && ...)) {
        try {
          auto job = std::apply(
              [&](const auto&... args) {
                return std::make_unique<RefreshJob>(state_, std::move(ticket), args...);
              },
              args_);
          return engine::run_in_background(std::move(job));
        } catch (...) {
          return false;
        }
      } else {
        return false;
      }
    }

    void store_failed(const Error& error) noexcept override {
      try {
        const std::string kind = std::to_string(static_cast<int>(error.code()));
        log_once(LogLevel::warning, state_->store->location() + ' ' + kind,
                 error.message() +
                     "\n  meanwhile: functions run uncached; this is "
                     "said once");
      } catch (...) {
        // A line less in the log.
      }
    }

    void waits_for(std::uint32_t process) noexcept override {
      try {
        log(LogLevel::info, "waiting for more than 5 s for " + state_->function->id() +
                                ", which process " + std::to_string(process) +
                                " is computing");
      } catch (...) {
        // A line less in the log.
      }
    }

    void own(Result value) {
      if (state_->live) {
        shared_ = std::make_shared<const Result>(std::move(value));
      } else {
        own_.emplace(std::move(value));
      }
    }

    /// The result. Precondition: the call ended with a value.
    Handed take() {
      if constexpr (std::same_as<Handed, Result>) {
        if (own_) return std::move(*own_);
        return *shared_;
      } else {
        return shared();
      }
    }

    std::shared_ptr<const Result> shared() {
      if (!shared_) shared_ = std::make_shared<const Result>(std::move(*own_));
      return shared_;
    }

    [[noreturn]] void rethrow() const { std::rethrow_exception(thrown_); }

   private:
    using Shared = detail::Shared<Result>;

    cachier::Result<Value> encode_result(std::uint64_t size_limit) {
      Value value;
      if (state_->live) {
        std::size_t size = 0;
        // What is larger than all that may be kept would only drive the others out.
        if (size_limit = std::min(size_limit, state_->most_bytes);
            size_limit != std::numeric_limits<std::uint64_t>::max()) {
          if constexpr (Storable<Result>) size = encode_value(*shared_).size();
          if (size > size_limit) return ErrorCode::too_large;
        }
        value = Value::of_object(shared_, size);
        value.set_none(is_none(*shared_));
        return value;
      }
      if constexpr (Storable<Result>) {
        std::string bytes = encode_value(*own_);
        if (bytes.size() > size_limit) return ErrorCode::too_large;
        value = Value::of_bytes(Codec::cbor, std::move(bytes));
        value.set_none(is_none(*own_));
        return value;
      } else {
        return ErrorCode::unsupported;  // `cached` refuses such a function before
      }
    }

    static bool is_none(const Result& result) noexcept {
      if constexpr (detail::kIsOptional<Result>) return !result.has_value();
      (void)result;
      return false;
    }

    std::shared_ptr<const State> state_;
    std::tuple<const std::remove_cvref_t<P>&...> args_;
    std::optional<Result> own_;
    std::shared_ptr<const Result> shared_;
    std::exception_ptr thrown_;
  };

  /// A copy of a call that goes on after its caller.
  class RefreshJob final : public engine::Job {
   public:
    RefreshJob(std::shared_ptr<const State> state,
               std::unique_ptr<engine::Refresh> ticket,
               const std::remove_cvref_t<P>&... args)
        : state_(std::move(state)), ticket_(std::move(ticket)), args_(args...) {}

    void run() noexcept override {
      try {
        // The function's own types again, of what is kept, for as long as it runs.
        std::apply(
            [this](const auto&... kept) {
              const std::tuple<std::remove_cvref_t<P>...> args(kept...);
              std::apply([this](const auto&... arg) { refresh(arg...); }, args);
            },
            args_);
      } catch (...) {
        // They could not be copied. The ticket, unused, gives the claim back.
        tell([] { throw; });
      }
    }

   private:
    void refresh(const std::remove_cvref_t<P>&... args) noexcept {
      Work work(state_, args...);
      const engine::Ended ended = engine::run_refresh(std::move(ticket_), work);
      if (ended.how == engine::Ended::How::exception) tell([&] { work.rethrow(); });
    }
    template <class Rethrow>
    void tell(const Rethrow& rethrow) noexcept {
      const std::string_view function = state_->function->id();
      try {
        rethrow();
      } catch (const std::exception& error) {
        log_failure(function, error.what());
      } catch (...) {
        log_failure(function, "an exception that is no std::exception");
      }
    }
    static void log_failure(std::string_view function, const char* cause) noexcept {
      try {
        log(LogLevel::error, "a refresh of " + std::string(function) +
                                 " in the background failed; the old value stays\n"
                                 "  cause: " +
                                 cause);
      } catch (...) {
        // A line less in the log.
      }
    }

    std::shared_ptr<const State> state_;
    std::unique_ptr<engine::Refresh> ticket_;
    std::tuple<detail::KeptAs<P>...> args_;
  };

  explicit Cached(std::shared_ptr<const State> state) : state_(std::move(state)) {}

  Handed answer(const engine::Policy& policy, const Ask& ask,
                const std::remove_cvref_t<P>&... args) const {
    const CallKey key(*state_, args...);
    if (!policy.skip && !policy.overwrite && caching_enabled()) {
      if constexpr (kCopied) {
        alignas(Result) std::byte copy[sizeof(Result)];
        if (state_->store->copy_fresh(key.id, ask, typeid(Result), copy, sizeof copy)) {
          count_hit();
          return *std::launder(reinterpret_cast<const Result*>(copy));
        }
      } else if constexpr (std::same_as<Handed, Result>) {
        if (state_->live) {
          if (const auto hit = quick_hit(ask, key)) return *hit;
        }
      }
      if constexpr (Storable<Result> && std::same_as<Handed, Result>) {
        if (!state_->live) {
          if (auto hit = recalled(ask, key)) return *std::move(hit);
        }
      }
    }
    return answer_by_engine(policy, key, args...);
  }

  /// Apart, so that a quick hit pays nothing for it.
  [[gnu::noinline]] Handed answer_by_engine(
      const engine::Policy& policy, const CallKey& key,
      const std::remove_cvref_t<P>&... args) const {
    Work work(state_, args...);
    run(policy, key, work);
    return work.take();
  }

  void count_hit() const noexcept {
    if (state_->count_hits) {
      state_->counters.hits.fetch_add(1, std::memory_order_relaxed);
    }
  }

  /// A fresh live object, found without any of the machinery. Precondition: the store
  /// keeps live objects, and this call is to be answered from it.
  std::shared_ptr<const Result> quick_hit(const Ask& ask, const CallKey& key) const {
    auto look = state_->store->look(key.id, ask, Deadline::max());
    if (!look || !look->fresh) return nullptr;
    count_hit();
    return std::static_pointer_cast<const Result>(look->entry->value.take_object());
  }

  /// A fresh value that the store still knows the bytes of. Precondition: as of
  /// `quick_hit`, for bytes.
  [[gnu::noinline]] std::optional<Result> recalled(const Ask& ask,
                                                   const CallKey& key) const {
    const auto entry = state_->store->recall(key.id, ask);
    if (!entry) return std::nullopt;
    auto value = decoded(entry->value);
    if (!value) return std::nullopt;
    if constexpr (kCopied)
      state_->store->keep_copy(key.id, entry->version, typeid(Result), &*value,
                               sizeof(Result));
    count_hit();
    return value;
  }

  void run(const engine::Policy& policy, const CallKey& key, Work& work) const {
    engine::Policy asked = policy;
    asked.skip = asked.skip || !caching_enabled();
    const engine::Ended ended =
        engine::call(state_->store, key.id, asked, work, &state_->counters);
    switch (ended.how) {
      case engine::Ended::How::value:
        return;
      case engine::Ended::How::exception:
        work.rethrow();
      case engine::Ended::How::interrupted:
      case engine::Ended::How::error:
        throw Exception(ended.error.value_or(Error(ErrorCode::internal)));
    }
  }

  std::shared_ptr<const State> state_;
};

/// Wraps `fn` so that a call with the same arguments is answered from
/// `options.backend`.
///
/// Key: `name`, `options.version` and each argument as `key_encoder` writes it. Two
/// functions of one name in one store are one function, also if they are of different
/// programs or languages.
/// Threads: the wrapper may be shared and copied. One caller computes a missing entry;
/// the others wait, at most `Options::wait_for_calc_timeout`.
/// Errors: what `fn` throws reaches its caller and is not stored. A store that fails
/// never fails a call: it computes, and warns once in the log (`set_log_sink`).
/// Throws `Exception` for an option out of range and a backend that nobody knows.
template <class G>
requires Cacheable<std::decay_t<G>>
[[nodiscard]] auto cached(std::string_view name, G&& fn, Options options = {}) {
  using Wrapper = Cached<std::decay_t<G>>;
  using State = typename Wrapper::State;
  using Result = typename Wrapper::Result;
  const auto refuse = [&](std::string cause, std::string fix) {
    throw Exception(Error(ErrorCode::invalid_argument,
                          "cannot cache '" + std::string(name) + "'", std::move(cause),
                          std::move(fix)));
  };
  if (name.empty()) {
    refuse("the name is empty", "give the function a name that is its own");
  }
  if (options.wait_for_calc_timeout < Duration::zero()) {
    refuse("wait_for_calc_timeout is negative", "give a time, or zero for no limit");
  }

  auto state = std::make_shared<State>(std::forward<G>(fn));
  state->function =
      &Function::intern(function_id(options.key_prefix, name, options.version));
  // A directory that cannot be used is no reason for a program to fail.
  state->store = open_store_or_later({.backend = options.backend,
                                      .cache_dir = options.cache_dir,
                                      .separate_files = options.separate_files,
                                      .near_cache_bytes = options.near_cache_bytes})
                     .value();
  if (!options.signing_keys.empty()) {
    state->function->sign_with(Keyring::of(options.signing_keys).value());
  }
  if (options.max_entries || options.max_bytes) {
    const Bounds bounds{.entries = options.max_entries.value_or(Bounds::kNone),
                        .bytes = options.max_bytes.value_or(Bounds::kNone)};
    if (options.max_bytes) state->most_bytes = *options.max_bytes;
    if (!state->store->keep_within(state->function, bounds)) {
      refuse("backend '" + options.backend + "' knows no max_entries and max_bytes",
             "leave them out, or use backend \"local\" or \"memory\"");
    }
  }
  state->live = state->store->capabilities().live_objects;
  if (!Storable<Result> && (options.max_bytes || options.entry_size_limit)) {
    refuse(
        "its result has no stored form, whose size max_bytes and entry_size_limit are "
        "about",
        "specialise cachier::value_codec for it, or use max_entries");
  }
  if (!Storable<Result> && !state->live) {
    refuse(
        "its result has no stored form, which backend '" + options.backend + "' needs",
        "specialise cachier::value_codec for it, or use backend \"memory\"");
  }
  state->hash_keys = options.hash_stored_keys;
  state->count_hits = options.enable_metrics;
  state->stale_after = options.stale_after;
  engine::Policy& policy = state->defaults;
  policy.max_age = options.stale_after;
  if (options.wait_for_calc_timeout > Duration::zero()) {
    policy.wait_limit = options.wait_for_calc_timeout;
  }
  if (options.entry_size_limit) policy.size_limit = *options.entry_size_limit;
  policy.next_time = options.next_time;
  policy.allow_none = options.allow_none;
  state->ask = State::ask_of(policy);
  return Wrapper(std::move(state));
}

}  // namespace cachier

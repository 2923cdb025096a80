#pragma once

/// One cached function: all that its calls need.

#include "python.hpp"

#include <cachier/cbor.hpp>
#include <cachier/engine.hpp>
#include <cachier/entry.hpp>
#include <cachier/metrics.hpp>
#include <cachier/store.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "call_options.hpp"
#include "live_store.hpp"
#include "parameters.hpp"
#include "value_codec.hpp"

namespace cachier::python {

/// What the function and the program have set, merged. Read anew when either changed.
struct Settings {
  Duration stale_after = kNoLimit;
  Duration wait_limit = kNoLimit;
  Duration cleanup_interval = std::chrono::hours(24);
  Duration operation_timeout = std::chrono::seconds(5);
  bool next_time = false;
  bool allow_none = false;
  bool enabled = true;
  bool cleanup_stale = false;
};

/// Functions of more parameters than this are not called in a hurry.
inline constexpr std::size_t kQuickParameters = 16;

/// Raised when settings of the program change. Under the GIL.
extern std::uint64_t settings_epoch;

struct Cached {
  Ref function;  ///< what is called
  Ref store_handle;
  Ref options;    ///< `resolve()` of it gives the settings
  Ref hash_func;  ///< empty: keys are made here
  Ref metrics;    ///< empty: none
  Ref answer;     ///< of a coroutine function: what makes the coroutine of a call
  /// What a partial or a bound method adds before and beside the arguments of a call;
  /// part of the key. Empty: nothing.
  Ref bound_arguments, bound_keywords;
  std::string name;  ///< for messages
  Parameters parameters;
  /// Those of the function itself, where `parameters` are what is behind a wrapper that
  /// takes anything: for calls that do not fit them.
  std::optional<Parameters> own;
  const Function* id = nullptr;
  std::shared_ptr<Store> store;  ///< null until it is first needed
  LiveStore* live = nullptr;     ///< the same store, if it keeps objects
  std::uint64_t size_limit = std::numeric_limits<std::uint64_t>::max();
  Buffers buffers = Buffers::mapped;
  Pickles pickles = Pickles::taken;
  Bounds bounds;  ///< of what the store keeps of it
  /// What the process holds of a store that others share; null: it always asks.
  std::shared_ptr<LiveStore> held;
  std::uint64_t held_epoch = 0;  ///< raised by whatever `held` must not survive
  Ref exceptions;                ///< types that are stored, a tuple; empty: none
  bool copies = false;           ///< of live objects, for each caller
  /// Tells the function's code from other code; 0: nobody asks.
  std::uint32_t code = 0;
  enum class OtherCode : std::uint8_t { ignore, warn, recompute };
  OtherCode other_code = OtherCode::ignore;  ///< what its results are good for
  bool raise_outages = false;
  bool raise_refusals = true;
  bool raise_unstorable = true;  ///< results with no stored form; else they are told of
  Counters counters;

  Settings settings;
  std::uint64_t settings_seen = 0;  ///< of `settings_epoch`
  bool quick = false;               ///< a hit needs nothing but key and store
  bool quick_by_name = false;       ///< so does one with keywords
  std::optional<std::chrono::steady_clock::time_point> last_cleanup;

  /// Opens the store if it is not open yet, and counts a failure.
  [[nodiscard]] std::optional<Error> open();

  /// From now on its entries are in `opened`; null: not known yet.
  void use(std::shared_ptr<Store> opened) noexcept;

  /// Holds no longer what it has of one call, or (null) of any.
  void let_go(const Id* of) noexcept;

  /// Reads the settings if they have changed. False: an exception is set.
  [[nodiscard]] bool update_settings() {
    return settings_seen == settings_epoch || read_settings();
  }

 private:
  [[nodiscard]] bool read_settings();
};

/// What came of making a key.
enum class Keyed : std::uint8_t {
  made,
  refused,  ///< the arguments do not fit the function
  failed,   ///< an exception is set
};

/// Writes the key of a call.
[[nodiscard]] Keyed write_key(const Cached& cached, const Arguments& arguments,
                              cbor::Writer& writer);

/// The object in Python: a function with `cached` behind it.
struct CachedFunction {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* attributes;
  PyObject* weak_references;
  Cached* cached;
};

[[nodiscard]] inline Cached& cached_of(PyObject* function) noexcept {
  return *reinterpret_cast<CachedFunction*>(function)->cached;
}

/// Answers a call of `self`, whatever it asks for.
[[nodiscard]] PyObject* call_cached(PyObject* self, const Arguments& arguments);

/// A hit in memory that needs nothing but key and store; null without an exception set:
/// it is something else.
[[nodiscard]] PyObject* find_in_memory(PyObject* self, const Arguments& arguments);

/// Begins a call of `self`, a coroutine function: gives its result if it is known
/// without waiting, else a `Steps` to be gone through. `Py_NotImplemented`: its store
/// has to be opened first, which may block; `open` does it here.
[[nodiscard]] PyObject* begin_call(PyObject* self, const Arguments& arguments,
                                   bool open);

/// Stores `value` as the result of a call. Null: an exception is set.
[[nodiscard]] PyObject* precache(PyObject* self, const Arguments& arguments,
                                 PyObject* value);

/// The exception that callers get for an error of a store. Sets it, gives null.
PyObject* raise_error(const Error& error);

/// Warns of a failure of the store, or, where that is wanted, raises it: false.
[[nodiscard]] bool get_over(const Cached& cached, const Error& error);

/// Warns, once a store, of a failure that calls get over.
void report_failure(const Cached& cached, const Error& error) noexcept;

}  // namespace cachier::python

#include "cached.hpp"

#include <cachier/cbor.hpp>
#include <cachier/key.hpp>

#include <algorithm>
#include <utility>

#include "key_types.hpp"
#include "key_walk.hpp"
#include "objects.hpp"
#include "refresh.hpp"
#include "report.hpp"
#include "steps_object.hpp"
#include "value_codec.hpp"
#include "work.hpp"

namespace cachier::python {

std::uint64_t settings_epoch = 1;

namespace {

/// An attribute of what `resolve()` gives: a duration in nanoseconds, None: no limit.
bool read_limit(PyObject* number, Duration& limit) {
  if (number == Py_None) {
    limit = kNoLimit;
    return true;
  }
  int overflow = 0;
  const long long count = PyLong_AsLongLongAndOverflow(number, &overflow);
  if (count == -1 && PyErr_Occurred() != nullptr) return false;
  limit = overflow > 0 ? kNoLimit : (overflow < 0 ? Duration::min() : Duration(count));
  return true;
}

/// Says which argument has no key, why, and what to do. Keeps what was raised as the
/// cause; what is not an `Exception` goes on as it is.
void raise_unkeyable(const Cached& cached, const char* part, PyObject* name,
                     const std::string& reason) {
  Raised cause = Raised::take();
  if (cause && !cause.is(PyExc_Exception)) {
    cause.restore();
    return;
  }
  const Ref why = Ref::steal(interruptibly([&] {
    return cause ? PyUnicode_FromFormat("%.100s: %S", Py_TYPE(cause.get())->tp_name,
                                        cause.get())
                 : PyUnicode_FromString(reason.c_str());
  }));
  if (!why) return;
  PyErr_Format(
      PyExc_TypeError,
      "cannot make a key of %s '%U' of %s()\n"
      "  cause: %U\n"
      "  fix:   give its class a __cachier_key__ method that returns what tells "
      "one object from another, or make the key yourself with "
      "cachier(hash_func=...), where an argument can be left out",
      part, name, cached.name.c_str(), why.get());
  if (!cause) return;
  Raised raised = Raised::take();
  PyException_SetCause(raised.get(), Py_NewRef(cause.get()));
  raised.restore();
}

bool write_interruptibly(KeyWalk& walk, PyObject* value) {
  bool written = false;
  bool memory = true;
  interruptibly([&] {
    try {
      written = walk.write(value);
    } catch (const std::bad_alloc&) {
      memory = false;
    }
  });
  if (!memory) throw std::bad_alloc();
  return written;
}

bool write_argument(const Cached& cached, KeyWalk& walk, cbor::Writer& writer,
                    PyObject* value, PyObject* name) {
  const bool written = write_simple(writer, value) || write_interruptibly(walk, value);
  if (written && writer.size() <= kMaxKeySize) [[likely]] {
    return true;
  }
  raise_unkeyable(cached, "argument", name, written ? too_large() : walk.reason());
  return false;
}

bool write_bound(const Cached& cached, const Parameters& parameters, const Bound& bound,
                 cbor::Writer& writer) {
  KeyWalk walk(writer);
  writer.array(parameters.keyed_count());
  for (std::size_t at = parameters.unkeyed; at < parameters.count(); ++at) {
    if (!parameters.is_keyed(at)) continue;
    if (!write_argument(cached, walk, writer, bound.slots[at],
                        parameters.names[at].get())) {
      return false;
    }
  }
  if (bound.surplus_count == 0 && bound.extra.empty()) return true;
  writer.array(bound.surplus_count);
  for (std::size_t at = 0; at < bound.surplus_count; ++at) {
    if (!write_argument(cached, walk, writer, bound.surplus[at],
                        parameters.surplus_name.get())) {
      return false;
    }
  }
  if (bound.extra.empty()) return true;
  writer.map(bound.extra.size());
  cbor::Sorter sorter(writer);
  for (const auto& [name, value] : bound.extra) {
    sorter.item();
    if (!write_str(writer, name) ||
        !write_argument(cached, walk, writer, value, name)) {
      return false;
    }
  }
  sorter.finish();
  return true;
}

/// The `kwds` that a `hash_func` gets: every argument under a name, sorted by name.
Ref arguments_by_name(const Parameters& parameters, const Bound& bound) {
  Ref all = Ref::steal(PyDict_New());
  if (!all) return {};
  for (std::size_t at = parameters.unkeyed; at < parameters.count(); ++at) {
    if (!parameters.is_keyed(at)) continue;
    if (PyDict_SetItem(all.get(), parameters.names[at].get(), bound.slots[at]) < 0) {
      return {};
    }
  }
  for (std::size_t at = 0; at < bound.surplus_count; ++at) {
    const std::string name = "__varargs_" + std::to_string(at) + "__";
    if (PyDict_SetItemString(all.get(), name.c_str(), bound.surplus[at]) < 0) return {};
  }
  for (const auto& [name, value] : bound.extra) {
    // A positional-only parameter, or `__varargs_0__`, may have the name already.
    Ref free = Ref::borrow(name);
    int taken = 0;
    while (free && (taken = PyDict_Contains(all.get(), free.get())) > 0) {
      free = Ref::steal(PyUnicode_FromFormat("__kwargs_%U__", free.get()));
    }
    if (!free || taken < 0 || PyDict_SetItem(all.get(), free.get(), value) < 0) {
      return {};
    }
  }
  const Ref names = Ref::steal(PyDict_Keys(all.get()));
  if (!names || PyList_Sort(names.get()) < 0) return {};
  Ref sorted = Ref::steal(PyDict_New());
  for (Py_ssize_t at = 0; sorted && at < PyList_GET_SIZE(names.get()); ++at) {
    PyObject* const name = PyList_GET_ITEM(names.get(), at);
    PyObject* const value = PyDict_GetItemWithError(all.get(), name);
    if (value == nullptr || PyDict_SetItem(sorted.get(), name, value) < 0) return {};
  }
  return sorted;
}

bool write_own_key(const Cached& cached, const Parameters& parameters,
                   const Bound& bound, cbor::Writer& writer) {
  const Ref keywords = arguments_by_name(parameters, bound);
  const Ref empty = keywords ? Ref::steal(PyTuple_New(0)) : Ref();
  if (!empty) return false;
  const Ref key = Ref::steal(interruptibly([&] {
    return PyObject_CallFunctionObjArgs(cached.hash_func.get(), empty.get(),
                                        keywords.get(), nullptr);
  }));
  if (!key) return false;
  writer.tag(static_cast<std::uint64_t>(Tag::hash_func));
  KeyWalk walk(writer);
  if (write_simple(writer, key.get()) || write_interruptibly(walk, key.get())) {
    return true;
  }
  const Ref name = Ref::steal(PyUnicode_FromString("hash_func"));
  if (name) raise_unkeyable(cached, "what was returned by", name.get(), walk.reason());
  return false;
}

/// The arguments of a call with those that a partial binds.
bool merge_bound(const Cached& cached, const Arguments& arguments,
                 OwnedArguments& merged) {
  PyObject* const first = cached.bound_arguments.get();
  for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(first); ++at) {
    merged.add_positional(PyTuple_GET_ITEM(first, at));
  }
  for (std::size_t at = 0; at < arguments.positional; ++at) {
    merged.add_positional(arguments.values[at]);
  }
  if (cached.bound_keywords) {
    Py_ssize_t position = 0;
    PyObject *name = nullptr, *value = nullptr;
    while (PyDict_Next(cached.bound_keywords.get(), &position, &name, &value) != 0) {
      if (!merged.add_keyword(name, value)) return false;
    }
  }
  for (std::size_t at = 0; at < arguments.keyword_count(); ++at) {
    if (!merged.add_keyword(arguments.keyword(at), arguments.keyword_value(at))) {
      return false;
    }
  }
  return merged.finish_keywords();
}

PyObject* call_uncached(const Cached& cached, const Arguments& arguments) {
  return interruptibly([&] {
    return PyObject_Vectorcall(cached.function.get(), arguments.values,
                               arguments.positional, arguments.keywords);
  });
}

/// What this call wants of the engine.
engine::Policy policy_of(const Cached& cached, const CallOptions& options) {
  const Settings& settings = cached.settings;
  engine::Policy policy;
  policy.max_age = options.stale_after.value_or(settings.stale_after);
  if (options.max_age) policy.max_age = std::min(policy.max_age, *options.max_age);
  policy.wait_limit = settings.wait_limit;
  policy.size_limit = cached.size_limit;
  policy.operation_timeout = settings.operation_timeout;
  policy.next_time = options.next_time.value_or(settings.next_time);
  policy.allow_none = options.allow_none.value_or(settings.allow_none);
  policy.overwrite = options.overwrite_cache;
  policy.raise_outages = cached.raise_outages;
  policy.raise_refusals = cached.raise_refusals;
  return policy;
}

/// What this process holds of the store, counted and told as any hit. Null: nothing
/// that counts, or, with an exception set, that it cannot be handed out.
PyObject* find_held(PyObject* self, const Arguments& arguments, const Id& id,
                    const engine::Policy& policy, const CallOptions& options) {
  Cached& cached = cached_of(self);
  PyObject* const found = cached.held->find(*id.function, id.digest, id.key, id.hashed,
                                            policy.max_age, policy.allow_none);
  if (found == nullptr) return nullptr;
  const Ref result = Ref::borrow(found);
  cached.counters.hits.fetch_add(1, std::memory_order_relaxed);
  if (cached.metrics || options.verbose) {
    const auto began = std::chrono::steady_clock::now();
    PythonWork(self, arguments, options.verbose).on(engine::Step::entry_found);
    if (cached.metrics) {
      record_call(cached.metrics.get(), std::chrono::steady_clock::now() - began,
                  false);
    }
  }
  return Py_NewRef(result.get());
}

void clean_up_if_due(PyObject* self, const CallOptions& options) {
  Cached& cached = cached_of(self);
  const Settings& settings = cached.settings;
  if (!options.cleanup_stale.value_or(settings.cleanup_stale)) return;
  const Duration stale_after = options.stale_after.value_or(settings.stale_after);
  if (stale_after == kNoLimit) return;
  const auto now = std::chrono::steady_clock::now();
  const Duration interval =
      options.cleanup_interval.value_or(settings.cleanup_interval);
  if (cached.last_cleanup && now - *cached.last_cleanup < interval) return;
  cached.last_cleanup = now;
  start_cleanup_of(self, stale_after);
}

Keyed write_key_by(const Cached& cached, const Parameters& parameters,
                   const Arguments& arguments, cbor::Writer& writer) {
  Bound bound(parameters);
  if (!parameters.bind(arguments, bound)) {
    return PyErr_Occurred() != nullptr ? Keyed::failed : Keyed::refused;
  }
  const bool written = cached.hash_func
                           ? write_own_key(cached, parameters, bound, writer)
                           : write_bound(cached, parameters, bound, writer);
  return written ? Keyed::made : Keyed::failed;
}

/// Key, digest and what is kept of the key, for as long as the writer is left alone.
struct Placed {
  Placed(const Cached& cached, const cbor::Writer& writer)
      : kept(writer.view()),
        id{cached.id, digest_of(*cached.id, writer.view()), kept.bytes(),
           kept.hashed()} {}

  KeptKey kept;
  Id id;
};

}  // namespace

std::optional<Error> Cached::open() {
  if (store != nullptr) [[likely]] {
    return std::nullopt;
  }
  auto opened = store_of(store_handle.get());
  if (!opened) {
    counters.store_errors.fetch_add(1, std::memory_order_relaxed);
    return opened.error();
  }
  if (store == nullptr) use(*opened);
  return std::nullopt;
}

void Cached::use(std::shared_ptr<Store> opened) noexcept {
  store = std::move(opened);
  if (store != nullptr && bounds.any()) store->keep_within(id, bounds);
}

void Cached::let_go(const Id* of) noexcept {
  ++held_epoch;
  if (!held) return;
  if (of == nullptr) {
    held->drop_all();
    return;
  }
  Change change;
  change.kind = Change::Kind::erase;
  (void)held->commit(*of, change, Deadline::max());
}

bool Cached::read_settings() {
  const std::uint64_t epoch = settings_epoch;
  const Ref resolved = Ref::steal(interruptibly(
      [this] { return PyObject_CallMethod(options.get(), "resolve", nullptr); }));
  if (!resolved) return false;
  PyObject *stale = nullptr, *wait = nullptr, *interval = nullptr, *timeout = nullptr;
  int refresh = 0, none = 0, on = 0, cleanup = 0;
  if (!PyArg_ParseTuple(resolved.get(), "OpOpppOO", &stale, &refresh, &wait, &none, &on,
                        &cleanup, &interval, &timeout)) {
    return false;
  }
  Settings read;
  if (!read_limit(stale, read.stale_after) || !read_limit(wait, read.wait_limit) ||
      !read_limit(interval, read.cleanup_interval) ||
      !read_limit(timeout, read.operation_timeout)) {
    return false;
  }
  read.next_time = refresh != 0;
  read.allow_none = none != 0;
  read.enabled = on != 0;
  read.cleanup_stale = cleanup != 0;
  settings = read;
  settings_seen = epoch;
  quick = live != nullptr && !hash_func && !bound_arguments && !metrics &&
          read.enabled && !read.cleanup_stale && parameters.function &&
          !parameters.leaves_out() && !copies && !exceptions && !bounds.any();
  const auto is_option = [](const Ref& one) { return is_call_option(one.get()); };
  quick_by_name = quick && parameters.count() <= kQuickParameters &&
                  std::ranges::none_of(parameters.names, is_option);
  return true;
}

Keyed write_key(const Cached& cached, const Arguments& arguments,
                cbor::Writer& writer) {
  OwnedArguments merged;
  Arguments all = arguments;
  if (cached.bound_arguments) {
    if (!merge_bound(cached, arguments, merged)) return Keyed::failed;
    all = merged.view();
  }
  const Keyed keyed = write_key_by(cached, cached.parameters, all, writer);
  if (keyed != Keyed::refused || !cached.own) return keyed;
  return write_key_by(cached, *cached.own, all, writer);
}

PyObject* call_cached(PyObject* self, const Arguments& given) {
  Cached& cached = cached_of(self);
  if (!cached.update_settings()) return nullptr;
  Arguments arguments = given;
  CallOptions options;
  Stripped stripped;
  if (arguments.keywords != nullptr && !stripped.take(arguments, options)) {
    return nullptr;
  }
  if (!cached.settings.enabled || options.skip_cache) {
    return call_uncached(cached, arguments);
  }

  if (const std::optional<Error> failure = cached.open()) [[unlikely]] {
    return get_over(cached, *failure) ? call_uncached(cached, arguments) : nullptr;
  }
  cbor::Writer key;
  switch (write_key(cached, arguments, key)) {
    case Keyed::made:
      break;
    case Keyed::refused:
      return call_uncached(cached, arguments);
    case Keyed::failed:
      return nullptr;
  }
  const Placed placed(cached, key);
  const engine::Policy policy = policy_of(cached, options);
  clean_up_if_due(self, options);
  if (cached.live != nullptr && !policy.overwrite && !options.verbose &&
      !cached.metrics) {
    PyObject* const found =
        cached.live->find(*cached.id, placed.id.digest, placed.id.key, placed.id.hashed,
                          policy.max_age, policy.allow_none);
    if (found != nullptr) {
      cached.counters.hits.fetch_add(1, std::memory_order_relaxed);
      if (cached.bounds.any()) cached.live->touch(placed.id);
      return hand_out(cached, found);
    }
  }
  if (cached.held && !policy.overwrite) {
    PyObject* const found = find_held(self, arguments, placed.id, policy, options);
    if (found != nullptr) return found;
  }
  const std::uint64_t held_since = cached.held_epoch;

  // The object may be gone before the call is over; what it is made of must not.
  const Ref kept = Ref::borrow(self);
  PyObject* result = nullptr;
  {
    const auto began = std::chrono::steady_clock::now();
    PythonWork work(self, arguments, options.verbose);
    const std::shared_ptr<Store> store = cached.store;  // it may be given another
    const engine::Ended ended =
        engine::call(store, placed.id, policy, work, &cached.counters);
    if (cached.metrics) {
      record_call(cached.metrics.get(), std::chrono::steady_clock::now() - began,
                  work.timed_out());
    }
    result = work.finish(ended);
    if (cached.held && result != nullptr && work.stored_at() &&
        held_since == cached.held_epoch) {
      cached.held->keep(placed.id, result, *work.stored_at());
    }
  }
  drop_what_is_dead();
  report_engine_messages();
  return result;
}

PyObject* begin_call(PyObject* self, const Arguments& given, bool open) {
  Cached& cached = cached_of(self);
  if (!cached.update_settings()) return nullptr;
  Arguments arguments = given;
  CallOptions options;
  Stripped stripped;
  if (arguments.keywords != nullptr && !stripped.take(arguments, options)) {
    return nullptr;
  }
  if (!cached.settings.enabled || options.skip_cache) return make_skipping_steps(self);
  if (cached.store == nullptr) {
    if (!open) return Py_NewRef(Py_NotImplemented);
    if (const std::optional<Error> failure = cached.open()) {
      return get_over(cached, *failure) ? make_skipping_steps(self) : nullptr;
    }
  }
  cbor::Writer key;
  switch (write_key(cached, arguments, key)) {
    case Keyed::made:
      break;
    case Keyed::refused:
      return make_skipping_steps(self);
    case Keyed::failed:
      return nullptr;
  }
  const Placed placed(cached, key);
  const engine::Policy policy = policy_of(cached, options);
  clean_up_if_due(self, options);
  if (cached.live != nullptr && !policy.overwrite && !options.verbose &&
      !cached.metrics) {
    PyObject* const found =
        cached.live->find(*cached.id, placed.id.digest, placed.id.key, placed.id.hashed,
                          policy.max_age, policy.allow_none);
    if (found != nullptr) {
      cached.counters.hits.fetch_add(1, std::memory_order_relaxed);
      if (cached.bounds.any()) cached.live->touch(placed.id);
      return hand_out(cached, found);
    }
  }
  if (cached.held && !policy.overwrite) {
    PyObject* const found = find_held(self, arguments, placed.id, policy, options);
    if (found != nullptr) return found;
  }
  return begin_steps(self, placed.id, policy, options.verbose);
}

PyObject* precache(PyObject* self, const Arguments& arguments, PyObject* value) {
  Cached& cached = cached_of(self);
  if (!cached.update_settings()) return nullptr;
  if (const std::optional<Error> failure = cached.open()) [[unlikely]] {
    return get_over(cached, *failure) ? Py_NewRef(value) : nullptr;
  }
  cbor::Writer key;
  switch (write_key(cached, arguments, key)) {
    case Keyed::made:
      break;
    case Keyed::refused:
      PyErr_Format(PyExc_TypeError,
                   "cannot precache a value of %s(): the arguments do not fit its "
                   "parameters\n  fix: give them as in a call, and the value as "
                   "value_to_cache=",
                   cached.name.c_str());
      return nullptr;
    case Keyed::failed:
      return nullptr;
  }
  const Placed placed(cached, key);
  Ref kept;
  Result<Value> stored = cached.live == nullptr
                             ? encode_value(value, cached.size_limit, cached.pickles)
                             : encode_live(cached, value, cached.size_limit, kept);
  if (!stored) {
    if (PyErr_Occurred() != nullptr) return nullptr;
    return Py_NewRef(value);
  }
  stored->set_code(cached.code);
  const engine::Policy policy = policy_of(cached, {});
  const std::shared_ptr<Store> store = cached.store;
  const Result<Version> put =
      engine::precache(*store, placed.id, std::move(*stored), policy);
  cached.let_go(&placed.id);
  drop_what_is_dead();
  report_engine_messages();
  if (!put && !(put.error() == ErrorCode::claim_lost) &&
      !get_over(cached, put.error())) {
    return nullptr;
  }
  return Py_NewRef(value);
}

PyObject* raise_error(const Error& error) {
  if (const auto origin = error.origin()) {
    // The client's own exception: programs know that type.
    Raised::of(Ref::borrow(object_of(origin))).restore();
    return nullptr;
  }
  PyObject* type = PyExc_RuntimeError;
  switch (error.code()) {
    case ErrorCode::invalid_argument:
    case ErrorCode::too_large:
      type = PyExc_ValueError;
      break;
    case ErrorCode::unsupported:
      type = PyExc_TypeError;
      break;
    case ErrorCode::refused:
      type = PyExc_PermissionError;
      break;
    case ErrorCode::deadline_exceeded:
      type = PyExc_TimeoutError;
      break;
    case ErrorCode::unavailable:
    case ErrorCode::corrupt:
    case ErrorCode::version_mismatch:
    case ErrorCode::untrusted:
      type = PyExc_OSError;
      break;
    case ErrorCode::claim_lost:
    case ErrorCode::internal:
      break;
  }
  PyErr_SetString(type, error.message().c_str());
  return nullptr;
}

bool get_over(const Cached& cached, const Error& error) {
  const bool refused = error.code() == ErrorCode::refused;
  if (refused ? cached.raise_refusals : cached.raise_outages) {
    raise_error(error);
    return false;
  }
  report_failure(cached, error);
  return true;
}

void report_failure(const Cached& cached, const Error& error) noexcept {
  // An interrupt is its caller's, and no failure of the store.
  const auto origin = error.origin();
  if (origin && PyErr_GivenExceptionMatches(object_of(origin), PyExc_Exception) == 0) {
    return;
  }
  report_store_failure(location_of(cached.store_handle.get()), error.message());
}

}  // namespace cachier::python

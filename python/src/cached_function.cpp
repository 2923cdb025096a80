/// `cachier._core.CachedFunction`: what `cachier(...)` makes of a function, after the
/// manner of what `functools.lru_cache` makes.

#include "python.hpp"

#include <structmember.h>

#include <cachier/cbor.hpp>
#include <cachier/key.hpp>
#include <cachier/signing.hpp>

#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <vector>

#include "cached.hpp"
#include "client_store.hpp"
#include "key_walk.hpp"
#include "objects.hpp"
#include "questions.hpp"
#include "report.hpp"
#include "value_codec.hpp"

namespace cachier::python {

PyTypeObject* cached_function_type = nullptr;

namespace {

/// For what looks at all entries of a function, which takes several operations.
Deadline patiently(const Cached& cached) noexcept {
  return std::chrono::steady_clock::now() + 5 * cached.settings.operation_timeout;
}

CachedFunction& object_at(PyObject* self) noexcept {
  return *reinterpret_cast<CachedFunction*>(self);
}

inline PyObject* find_key(Cached& cached, const cbor::Writer& key) {
  const Bytes bytes = key.view();
  if (bytes.size() > kMaxKeptKey) return nullptr;
  PyObject* const found =
      cached.live->find(*cached.id, digest_of(*cached.id, bytes), bytes, false,
                        cached.settings.stale_after, cached.settings.allow_none);
  if (found == nullptr) return nullptr;
  cached.counters.hits.fetch_add(1, std::memory_order_relaxed);
  return Py_NewRef(found);
}

/// A hit in memory of a call by position with simple arguments, or null: it is
/// something else. No allocation, no Python code, no release of the GIL.
PyObject* find_quickly(Cached& cached, PyObject* const* values, std::size_t count) {
  const Parameters& parameters = cached.parameters;
  const std::size_t all = parameters.positional;
  if (count > all || parameters.count() != all) return nullptr;
  cbor::Writer key;
  key.array(all - parameters.unkeyed);
  for (std::size_t at = parameters.unkeyed; at < count; ++at) {
    if (!write_simple(key, values[at])) return nullptr;
  }
  if (count < all) {
    PyObject* const defaults = PyFunction_GET_DEFAULTS(parameters.function.get());
    if (defaults == nullptr) return nullptr;
    const auto size = static_cast<std::size_t>(PyTuple_GET_SIZE(defaults));
    if (all - count > size || count < parameters.unkeyed) return nullptr;
    for (std::size_t at = count; at < all; ++at) {
      PyObject* const value =
          PyTuple_GET_ITEM(defaults, static_cast<Py_ssize_t>(at + size - all));
      if (!write_simple(key, value)) return nullptr;
    }
  }
  return find_key(cached, key);
}

/// The same of a call with keywords. They mostly come in the order of the parameters.
PyObject* find_quickly_by_name(Cached& cached, PyObject* const* values,
                               std::size_t count, PyObject* keywords) {
  const Parameters& parameters = cached.parameters;
  const std::size_t all = parameters.count();
  const auto named = static_cast<std::size_t>(PyTuple_GET_SIZE(keywords));
  if (count > parameters.positional || count + named > all) return nullptr;
  std::array<PyObject*, kQuickParameters> slots;
  std::copy_n(values, count, slots.begin());
  std::fill(slots.begin() + count, slots.begin() + all, nullptr);
  std::size_t next = count;
  for (std::size_t n = 0; n < named; ++n, ++next) {
    PyObject* const name = PyTuple_GET_ITEM(keywords, static_cast<Py_ssize_t>(n));
    if (next >= all || parameters.names[next].get() != name) {
      next = count;
      while (next < all && parameters.names[next].get() != name) ++next;
      if (next == all) return nullptr;
    }
    if (next < parameters.positional_only || slots[next] != nullptr) return nullptr;
    slots[next] = values[count + n];
  }

  PyObject* const defaults = PyFunction_GET_DEFAULTS(parameters.function.get());
  const std::size_t size =
      defaults == nullptr ? 0 : static_cast<std::size_t>(PyTuple_GET_SIZE(defaults));
  cbor::Writer key;
  key.array(all - parameters.unkeyed);
  for (std::size_t at = 0; at < all; ++at) {
    PyObject* value = slots[at];
    if (value == nullptr) {
      // Defaults of keyword-only parameters are in a dict: they take the longer way.
      if (at >= parameters.positional || at + size < parameters.positional) {
        return nullptr;
      }
      value = PyTuple_GET_ITEM(
          defaults, static_cast<Py_ssize_t>(at + size - parameters.positional));
    }
    if (at >= parameters.unkeyed && !write_simple(key, value)) return nullptr;
  }
  return find_key(cached, key);
}

/// A hit in memory that needs nothing but key and store, or null.
inline PyObject* find_in_a_hurry(Cached& cached, PyObject* const* values,
                                 std::size_t positional, PyObject* keywords) {
  if (cached.settings_seen != settings_epoch) return nullptr;
  if (keywords == nullptr) {
    return cached.quick ? find_quickly(cached, values, positional) : nullptr;
  }
  if (!cached.quick_by_name) return nullptr;
  return find_quickly_by_name(cached, values, positional, keywords);
}

PyObject* call(PyObject* self, PyObject* const* values, std::size_t count,
               PyObject* keywords) {
  const auto positional = static_cast<std::size_t>(PyVectorcall_NARGS(count));
  PyObject* const found =
      find_in_a_hurry(cached_of(self), values, positional, keywords);
  if (found != nullptr) [[likely]] {
    return found;
  }
  return call_cached(self, {values, positional, keywords});
}

/// A call of a coroutine function: the coroutine that is to answer it. It begins when
/// it is awaited. Made of two plain arguments, which costs CPython less than to gather
/// `*args` and `**kwds` and to spread them again.
PyObject* call_coroutine(PyObject* self, PyObject* const* values, std::size_t count,
                         PyObject* keywords) {
  const std::size_t all =
      static_cast<std::size_t>(PyVectorcall_NARGS(count)) +
      (keywords == nullptr ? 0 : static_cast<std::size_t>(PyTuple_GET_SIZE(keywords)));
  const Ref given = Ref::steal(PyTuple_New(static_cast<Py_ssize_t>(all) + 1));
  if (!given) return nullptr;
  PyTuple_SET_ITEM(given.get(), 0, Py_NewRef(self));
  for (std::size_t at = 0; at < all; ++at) {
    PyTuple_SET_ITEM(given.get(), static_cast<Py_ssize_t>(at) + 1,
                     Py_NewRef(values[at]));
  }
  PyObject* const arguments[]{given.get(), keywords == nullptr ? Py_None : keywords};
  return PyObject_Vectorcall(cached_of(self).answer.get(), arguments, 2, nullptr);
}

// Management
// ---------------------------------------------------------------------------

PyObject* clear(PyObject* self, Clear what) {
  Cached& cached = cached_of(self);
  if (!cached.update_settings()) return nullptr;
  if (const std::optional<Error> failure = cached.open()) return raise_error(*failure);
  if (cached.answer) {
    const auto* const client = dynamic_cast<const ClientStore*>(cached.store.get());
    if (const Ref adapter = client != nullptr ? client->awaited() : Ref()) {
      const Ref module = import_module("cachier._coroutines");
      Ref begun = module ? Ref::steal(interruptibly([&] {
        return PyObject_CallMethod(
            module.get(), "begin_clearing", "OOs", self, adapter.get(),
            what == Clear::entries ? "clear_cache" : "clear_being_calculated");
      }))
                         : Ref();
      if (!begun || begun.get() != Py_None) return begun.release();
    }
  }
  Filter filter;
  filter.function = cached.id;
  const std::shared_ptr<Store> store = cached.store;
  const auto cleared = store->clear(filter, what, patiently(cached));
  if (what == Clear::entries) cached.let_go(nullptr);
  drop_what_is_dead();
  report_engine_messages();
  if (!cleared) return raise_error(cleared.error());
  if (!cached.answer) return Py_NewRef(Py_None);
  // What is done may be awaited.
  const Ref module = import_module("cachier._coroutines");
  return module ? PyObject_GetAttrString(module.get(), "DONE") : nullptr;
}

PyObject* clear_cache(PyObject* self, PyObject*) { return clear(self, Clear::entries); }
PyObject* clear_being_calculated(PyObject* self, PyObject*) {
  return clear(self, Clear::claims);
}

PyObject* clear_awaited(PyObject* self, const char* name) {
  const Ref module = import_module("cachier._coroutines");
  return module ? PyObject_CallMethod(module.get(), name, "O", self) : nullptr;
}
PyObject* aclear_cache(PyObject* self, PyObject*) {
  return clear_awaited(self, "aclear_cache");
}
PyObject* aclear_being_calculated(PyObject* self, PyObject*) {
  return clear_awaited(self, "aclear_being_calculated");
}

/// Opens its store. A failure is told by the call that needs it.
PyObject* open(PyObject* self, PyObject*) {
  (void)cached_of(self).open();
  report_engine_messages();
  return Py_NewRef(Py_None);
}

/// From now on it is a coroutine function, whose calls `answer` makes the coroutines
/// of.
PyObject* answer_with(PyObject* self, PyObject* answer) {
  cached_of(self).answer = Ref::borrow(answer);
  object_at(self).vectorcall = guarded<call_coroutine>;
  return Py_NewRef(Py_None);
}

PyObject* get_is_coroutine_function(PyObject* self, void*) {
  return PyBool_FromLong(cached_of(self).answer ? 1 : 0);
}

/// How many entries the function has, and their bytes together.
PyObject* measure(PyObject* self, PyObject*) {
  Cached& cached = cached_of(self);
  if (!cached.update_settings()) return nullptr;
  if (const std::optional<Error> failure = cached.open()) return raise_error(*failure);
  unsigned long long count = 0;
  unsigned long long bytes = 0;
  if (cached.live != nullptr) {
    for (const auto& object : cached.live->objects_of(*cached.id)) {
      ++count;
      const auto value = encode_value(
          object_of(object), std::numeric_limits<std::uint64_t>::max(), Pickles::taken);
      if (value) bytes += value->bytes().size();
      if (!drop_exception()) return nullptr;  // what has no stored form has no size
    }
    drop_what_is_dead();
    return Py_BuildValue("KK", count, bytes);
  }
  Filter filter;
  filter.function = cached.id;
  Cursor from;
  const std::shared_ptr<Store> store = cached.store;
  do {
    auto page = store->scan(filter, from, patiently(cached));
    if (!page) return raise_error(page.error());
    for (const Header& header : page->entries) bytes += header.size;
    count += page->entries.size();
    from = std::move(page->next);
  } while (!from.empty());
  report_engine_messages();
  return Py_BuildValue("KK", count, bytes);
}

PyObject* cache_dpath(PyObject* self, PyObject*) {
  return PyObject_GetAttrString(cached_of(self).options.get(), "cache_dpath");
}

PyObject* precache_value(PyObject* self, PyObject* const* values, Py_ssize_t count,
                         PyObject* keywords) {
  Arguments given{values, static_cast<std::size_t>(count), keywords};
  OwnedArguments rest;
  PyObject* value = nullptr;
  for (std::size_t at = 0; at < given.positional; ++at) {
    rest.add_positional(given.values[at]);
  }
  for (std::size_t at = 0; at < given.keyword_count(); ++at) {
    PyObject* const name = given.keyword(at);
    if (PyUnicode_CompareWithASCIIString(name, "value_to_cache") == 0) {
      value = given.keyword_value(at);
    } else if (!rest.add_keyword(name, given.keyword_value(at))) {
      return nullptr;
    }
  }
  if (value == nullptr) {
    PyErr_SetString(
        PyExc_TypeError,
        "precache_value() needs the value to store\n"
        "  fix: give it as value_to_cache=, after the arguments of the call");
    return nullptr;
  }
  if (!rest.finish_keywords()) return nullptr;
  return precache(self, rest.view(), value);
}

/// Has entries signed with these keys, a tuple of bytes.
bool sign_with(const Function& function, PyObject* keys) {
  std::vector<std::string> secrets;
  for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(keys); ++at) {
    char* data = nullptr;
    Py_ssize_t size = 0;
    if (PyBytes_AsStringAndSize(PyTuple_GET_ITEM(keys, at), &data, &size) < 0) {
      return false;
    }
    secrets.emplace_back(data, static_cast<std::size_t>(size));
  }
  auto keyring = Keyring::of(secrets);
  if (!keyring) {
    raise_error(keyring.error());
    return false;
  }
  function.sign_with(std::move(*keyring));
  return true;
}

/// _configure(ignore, exceptions, copies, holds, code, other_code, keys, pickles): what
/// few functions want. Before the first call.
PyObject* configure(PyObject* self, PyObject* arguments) {
  Cached& cached = cached_of(self);
  PyObject *ignore = nullptr, *exceptions = nullptr, *keys = nullptr;
  int copies = 0, holds = 0, other_code = 0, pickles = 0;
  unsigned int code = 0;
  if (!PyArg_ParseTuple(arguments, "O!O!ppIiO!p", &PyTuple_Type, &ignore, &PyTuple_Type,
                        &exceptions, &copies, &holds, &code, &other_code, &PyTuple_Type,
                        &keys, &pickles)) {
    return nullptr;
  }
  if (PyTuple_GET_SIZE(keys) > 0 && !sign_with(*cached.id, keys)) return nullptr;
  cached.pickles = pickles != 0 ? Pickles::taken : Pickles::refused;
  cached.parameters.leave_out(ignore);
  if (cached.own) cached.own->leave_out(ignore);
  if (PyTuple_GET_SIZE(exceptions) > 0) cached.exceptions = Ref::borrow(exceptions);
  cached.copies = copies != 0 && cached.live != nullptr;
  if (holds != 0 && cached.live == nullptr) cached.held = std::make_shared<LiveStore>();
  cached.code = code;
  cached.other_code = static_cast<Cached::OtherCode>(other_code);
  return Py_NewRef(Py_None);
}

/// _use_store(store): its entries are there from now on, and what it has read is
/// forgotten. For tests of programs; not while it is being called.
PyObject* use_store(PyObject* self, PyObject* store) {
  Cached& cached = cached_of(self);
  if (!PyObject_TypeCheck(store, store_handle_type)) {
    PyErr_SetString(PyExc_TypeError, "a store is needed");
    return nullptr;
  }
  const auto& handle = *reinterpret_cast<StoreHandle*>(store);
  cached.store_handle = Ref::borrow(store);
  cached.live = handle.live;
  cached.use(*handle.store);
  cached.let_go(nullptr);
  cached.settings_seen = 0;
  drop_what_is_dead();
  return Py_NewRef(Py_None);
}

PyObject* get_store(PyObject* self, void*) {
  return Py_NewRef(cached_of(self).store_handle.get());
}

PyObject* reduce_ex(PyObject* self, PyObject* protocol) {
  const Ref module = Ref::steal(PyImport_ImportModule("cachier._pickling"));
  return module ? PyObject_CallMethod(module.get(), "reduce", "OO", self, protocol)
                : nullptr;
}

PyObject* copy(PyObject* self, PyObject*) { return Py_NewRef(self); }

// What others ask a function for
// -------------------------------------------------------

PyObject* get_of_function(PyObject* self, void* name) {
  const Cached& cached = cached_of(self);
  // A partial of a coroutine function, say, has no code to be known by.
  if (cached.answer && !PyFunction_Check(cached.function.get())) {
    return PyObject_GetAttrString(cached.answer.get(), static_cast<const char*>(name));
  }
  return PyObject_GetAttrString(cached_of(self).function.get(),
                                static_cast<const char*>(name));
}

PyObject* get_metrics(PyObject* self, void*) {
  const Ref& metrics = cached_of(self).metrics;
  return Py_NewRef(metrics ? metrics.get() : Py_None);
}

PyObject* get_function_id(PyObject* self, void*) {
  const std::string& id = cached_of(self).id->id();
  return PyUnicode_DecodeUTF8(id.data(), static_cast<Py_ssize_t>(id.size()), "replace");
}

PyObject* get_options(PyObject* self, void*) {
  return Py_NewRef(cached_of(self).options.get());
}

PyObject* get_counters(PyObject* self, void*) {
  const Counters& counters = cached_of(self).counters;
  const auto read = [](const std::atomic<std::uint64_t>& counter) {
    return static_cast<unsigned long long>(counter.load(std::memory_order_relaxed));
  };
  return Py_BuildValue(
      "{s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K}", "hits",
      read(counters.hits), "misses", read(counters.misses), "stale_hits",
      read(counters.stale_hits), "recalculations", read(counters.recalculations),
      "waits", read(counters.waits), "wait_timeouts", read(counters.wait_timeouts),
      "size_rejections", read(counters.size_rejections), "damaged",
      read(counters.damaged), "untrusted", read(counters.untrusted), "unreadable",
      read(counters.unreadable), "lost_claims", read(counters.lost_claims),
      "lost_leases", read(counters.lost_leases), "store_errors",
      read(counters.store_errors), "run_time", read(counters.run_time));
}

PyObject* represent(PyObject* self) {
  const Ref name = Ref::steal(PyObject_GetAttrString(self, "__qualname__"));
  if (!name) {
    PyErr_Clear();
    return PyUnicode_FromFormat("<cached function of %R>",
                                cached_of(self).function.get());
  }
  return PyUnicode_FromFormat("<cached function %S at %p>", name.get(), self);
}

PyObject* get_bound(PyObject* self, PyObject* object, PyObject*) {
  if (object == nullptr || object == Py_None) return Py_NewRef(self);
  return bind_function(self, object);
}

// Life
// ---------------------------------------------------------------------------------

bool read_bound(PyObject* given, std::uint64_t& bound) {
  if (given == Py_None) return true;
  bound = PyLong_AsUnsignedLongLong(given);
  return PyErr_Occurred() == nullptr;
}

/// CachedFunction(function, store, options, function_id, name, parameters, unkeyed,
/// bound_arguments, bound_keywords, hash_func, metrics, size_limit, raise_outages,
/// raise_refusals, mapped, max_entries, max_bytes): see `_core.pyi`.
PyObject* make(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  static const char* names[] = {
      "function",       "store",          "options", "function_id",
      "name",           "parameters",     "unkeyed", "bound_arguments",
      "bound_keywords", "hash_func",      "metrics", "size_limit",
      "raise_outages",  "raise_refusals", "mapped",  "max_entries",
      "max_bytes",      nullptr};
  PyObject *function = nullptr, *store = nullptr, *options = nullptr, *name = nullptr,
           *id = nullptr, *parameters = nullptr, *bound = nullptr,
           *bound_keywords = nullptr, *hash_func = nullptr, *metrics = nullptr,
           *size_limit = nullptr, *max_entries = nullptr, *max_bytes = nullptr;
  Py_ssize_t unkeyed = 0;
  int raise_outages = 0, raise_refusals = 1, mapped = 1;
  if (!PyArg_ParseTupleAndKeywords(
          arguments, keywords, "OO!OUUOnOOOOOpppOO:CachedFunction",
          const_cast<char**>(names), &function, store_handle_type, &store, &options,
          &id, &name, &parameters, &unkeyed, &bound, &bound_keywords, &hash_func,
          &metrics, &size_limit, &raise_outages, &raise_refusals, &mapped, &max_entries,
          &max_bytes)) {
    return nullptr;
  }
  const auto given = [](PyObject* object) {
    return object == Py_None ? Ref() : Ref::borrow(object);
  };
  auto cached = std::make_unique<Cached>();
  cached->function = Ref::borrow(function);
  cached->store_handle = Ref::borrow(store);
  cached->options = Ref::borrow(options);
  cached->hash_func = given(hash_func);
  cached->metrics = given(metrics);
  cached->bound_arguments = given(bound);
  cached->bound_keywords = given(bound_keywords);
  cached->name = utf8_of(name);
  const std::string_view id_text = utf8_of(id);
  if (PyErr_Occurred() != nullptr) return nullptr;
  PyObject* own = nullptr;
  if (PyTuple_Check(parameters) &&
      !PyArg_ParseTuple(parameters, "OO!", &parameters, &PyFunction_Type, &own)) {
    return nullptr;
  }
  const bool plain = PyFunction_Check(parameters);
  if (plain ? !cached->parameters.read_code(parameters)
            : !cached->parameters.read_description(parameters)) {
    return nullptr;
  }
  cached->parameters.unkeyed = static_cast<std::size_t>(unkeyed);
  if (own != nullptr) {
    if (!cached->own.emplace().read_code(own)) return nullptr;
    const auto first = static_cast<std::size_t>(unkeyed);
    cached->own->unkeyed = std::min(first, cached->own->positional);
    cached->own->unkeyed_surplus = first - cached->own->unkeyed;
  }
  cached->id = &Function::intern(id_text);
  const auto& handle = *reinterpret_cast<StoreHandle*>(store);
  if (!read_bound(max_entries, cached->bounds.entries) ||
      !read_bound(max_bytes, cached->bounds.bytes)) {
    return nullptr;
  }
  cached->use(*handle.store);
  cached->live = handle.live;
  const std::string& backend = handle.spec->backend;
  cached->raise_unstorable = backend != "redis" && backend != "s3";
  if (size_limit != Py_None) {
    cached->size_limit = PyLong_AsUnsignedLongLong(size_limit);
    if (PyErr_Occurred() != nullptr) return nullptr;
  }
  cached->raise_outages = raise_outages != 0;
  cached->raise_refusals = raise_refusals != 0;
  cached->buffers = mapped != 0 ? Buffers::mapped : Buffers::copied;

  PyObject* const self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  CachedFunction& object = object_at(self);
  object.vectorcall = guarded<call>;
  object.cached = cached.release();
  return self;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  CachedFunction& object = object_at(self);
  Py_VISIT(object.attributes);
  if (object.cached == nullptr) return 0;
  const Cached& cached = *object.cached;
  for (const Ref* const ref :
       {&cached.function, &cached.store_handle, &cached.options, &cached.hash_func,
        &cached.metrics, &cached.answer, &cached.bound_arguments,
        &cached.bound_keywords, &cached.exceptions}) {
    Py_VISIT(ref->get());
  }
  int stop = cached.held ? cached.held->traverse(visit, arg) : 0;
  cached.parameters.traverse(visit, arg, stop);
  if (cached.own) cached.own->traverse(visit, arg, stop);
  return stop;
}

int clear_references(PyObject* self) {
  CachedFunction& object = object_at(self);
  Py_CLEAR(object.attributes);
  // The function itself goes with the object: until then it may still be called, by
  // finalizers of what is collected with it. Cycles end at what it holds.
  if (object.cached != nullptr) {
    object.cached->hash_func.clear();
    object.cached->metrics.clear();
    object.cached->let_go(nullptr);
    drop_what_is_dead();
  }
  return 0;
}

void deallocate(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  CachedFunction& object = object_at(self);
  if (object.weak_references != nullptr) PyObject_ClearWeakRefs(self);
  Py_CLEAR(object.attributes);
  delete std::exchange(object.cached, nullptr);
  type->tp_free(self);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"clear_cache", guarded<clear_cache>, METH_NOARGS,
     PyDoc_STR(
         "clear_cache($self, /)\n--\n\n"
         "Remove every entry of this function. What is being computed will not be "
         "stored.")},
    {"clear_being_calculated", guarded<clear_being_calculated>, METH_NOARGS,
     PyDoc_STR("clear_being_calculated($self, /)\n--\n\n"
               "Free every claim of this function: later calls compute at once.")},
    {"cache_dpath", cache_dpath, METH_NOARGS,
     PyDoc_STR("cache_dpath($self, /)\n--\n\n"
               "Give the directory of the local store, None for other backends.")},
    {"precache_value", as_cfunction(guarded<precache_value>),
     METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("precache_value($self, /, *args, value_to_cache, **kwds)\n--\n\n"
               "Store a value as the result of the call with these arguments, and "
               "give it.")},
    {"key", as_cfunction(guarded<key_of_call>), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("key($self, /, *args, **kwds)\n--\n\n"
               "Give the digest of the call with these arguments, as `cachier ls` "
               "shows it.")},
    {"is_cached", as_cfunction(guarded<is_cached>), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("is_cached($self, /, *args, **kwds)\n--\n\n"
               "Tell whether a fresh result of the call with these arguments is "
               "stored.")},
    {"peek", as_cfunction(guarded<peek>), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("peek($self, /, *args, **kwds)\n--\n\n"
               "Give the fresh result that is stored for the call with these "
               "arguments, else None. Runs nothing and waits for nobody.")},
    {"invalidate", as_cfunction(guarded<invalidate>), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("invalidate($self, /, *args, **kwds)\n--\n\n"
               "Remove the entry of the call with these arguments, and tell whether "
               "there was one. What is being computed for it will not be stored.")},
    {"explain", as_cfunction(guarded<explain>), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("explain($self, /, *args, **kwds)\n--\n\n"
               "Say in words what the call with these arguments would do now, and "
               "why.")},
    {"_configure", guarded<configure>, METH_VARARGS, nullptr},
    {"_use_store", guarded<use_store>, METH_O, nullptr},
    {"aclear_cache", aclear_cache, METH_NOARGS,
     PyDoc_STR("aclear_cache($self, /)\n--\n\n"
               "Do what clear_cache() does, without blocking the event loop.")},
    {"aclear_being_calculated", aclear_being_calculated, METH_NOARGS,
     PyDoc_STR("aclear_being_calculated($self, /)\n--\n\n"
               "Do what clear_being_calculated() does, without blocking the event "
               "loop.")},
    {"_open", guarded<open>, METH_NOARGS, nullptr},
    {"_answer_with", answer_with, METH_O, nullptr},
    {"_measure", guarded<measure>, METH_NOARGS, nullptr},
    {"__reduce_ex__", reduce_ex, METH_O, nullptr},
    {"__copy__", copy, METH_NOARGS, nullptr},
    {"__deepcopy__", copy, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr}};

char* attribute_name(const char* name) { return const_cast<char*>(name); }

PyGetSetDef properties[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {"__code__", get_of_function, nullptr, nullptr, attribute_name("__code__")},
    {"__defaults__", get_of_function, nullptr, nullptr, attribute_name("__defaults__")},
    {"__kwdefaults__", get_of_function, nullptr, nullptr,
     attribute_name("__kwdefaults__")},
    {"_is_coroutine_function", get_is_coroutine_function, nullptr,
     "Whether calls give coroutines.", nullptr},
    {"metrics", get_metrics, nullptr, "The metrics, None unless enabled.", nullptr},
    {"_function_id", get_function_id, nullptr, "The function's id in the store.",
     nullptr},
    {"_store", get_store, nullptr, "Where its entries are.", nullptr},
    {"_options", get_options, nullptr, "What it was decorated with.", nullptr},
    {"_counters", get_counters, nullptr, "What the engine has counted.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {{"__dictoffset__", T_PYSSIZET,
                          offsetof(CachedFunction, attributes), READONLY, nullptr},
                         {"__weaklistoffset__", T_PYSSIZET,
                          offsetof(CachedFunction, weak_references), READONLY, nullptr},
                         {"__vectorcalloffset__", T_PYSSIZET,
                          offsetof(CachedFunction, vectorcall), READONLY, nullptr},
                         {nullptr, 0, 0, 0, nullptr}};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("A function whose results are cached.")},
    {Py_tp_new, as_slot(guarded<make>)},
    {Py_tp_call, as_slot(PyVectorcall_Call)},
    {Py_tp_descr_get, as_slot(get_bound)},
    {Py_tp_traverse, as_slot(traverse)},
    {Py_tp_clear, as_slot(clear_references)},
    {Py_tp_dealloc, as_slot(deallocate)},
    {Py_tp_repr, as_slot(represent)},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {Py_tp_members, members},
    {0, nullptr}};

PyType_Spec spec = {
    "cachier._core.CachedFunction", sizeof(CachedFunction), 0,
    static_cast<unsigned>(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                          Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
                          Py_TPFLAGS_IMMUTABLETYPE),
    slots};

}  // namespace

PyObject* find_in_memory(PyObject* self, const Arguments& arguments) {
  return find_in_a_hurry(cached_of(self), arguments.values, arguments.positional,
                         arguments.keywords);
}

bool add_cached_function_type(PyObject* module) {
  return add_type(module, spec, cached_function_type) != nullptr;
}

}  // namespace cachier::python

#include "steps_object.hpp"

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "cached.hpp"
#include "client_store.hpp"
#include "client_talk.hpp"
#include "objects.hpp"
#include "report.hpp"
#include "work.hpp"

namespace cachier::python {
namespace {

PyTypeObject* steps_type = nullptr;
/// What `begin` raises, with what is there instead of a result.
PyObject* undone = nullptr;

/// Larger values are decoded where no event loop waits.
constexpr std::uint64_t kSmall = 256 * 1024;

/// For what is set right behind a caller that is gone.
constexpr Duration kTimeout = std::chrono::seconds(1);

/// A call whose function is run by whoever drives its steps.
class SteppedWork final : public PythonWork {
 public:
  SteppedWork(PyObject* self, bool verbose, bool quiet)
      : PythonWork(self, {}, verbose), enclosing_(innermost_frame()), quiet_(quiet) {}

  using PythonWork::forget;
  using PythonWork::returned;
  using PythonWork::threw;

  Ran compute(std::shared_ptr<const engine::Frame>) noexcept override {
    return Ran::threw;  // never asked for
  }
  bool interrupted() noexcept override { return false; }
  std::shared_ptr<const engine::Frame> enclosing() noexcept override {
    return enclosing_;
  }
  bool start_refresh(std::unique_ptr<engine::Refresh> ticket) noexcept override {
    ticket_ = std::move(ticket);
    return true;
  }
  void on(engine::Step step) noexcept override {
    if (!quiet_) PythonWork::on(step);
  }

  [[nodiscard]] std::unique_ptr<engine::Refresh> take_ticket() noexcept {
    return std::move(ticket_);
  }

 private:
  std::shared_ptr<const engine::Frame> enclosing_;
  std::unique_ptr<engine::Refresh> ticket_;
  bool quiet_;  ///< it counts nowhere
};

/// Which call it is, for longer than the key that was made for it.
class KeptId {
 public:
  explicit KeptId(const Id& id) : key_(id.key.begin(), id.key.end()), id_(id) {}

  [[nodiscard]] Id get() const noexcept {
    Id id = id_;
    id.key = key_;
    return id;
  }

 private:
  std::vector<std::byte> key_;
  Id id_;
};

/// What a `Steps` object is made of. Under the GIL; `act` and `wait` let others in.
struct Going {
  Going(PyObject* of, bool verbose, bool counts)
      : self(Ref::borrow(of)), work(of, verbose, !counts), counted(counts) {}

  Ref self;
  SteppedWork work;
  std::unique_ptr<engine::Steps> steps;
  std::shared_ptr<const engine::Frame> frame;
  Ref entered;  ///< what `leave_frame` wants
  std::array<char, 2 * sizeof(void*) + sizeof(Digest)> place{};
  /// Which call this is, where it may be asked.
  std::optional<KeptId> id;
  /// Where the adapter of the store is awaited: the store, and what it is being asked.
  std::shared_ptr<ClientStore> client;
  std::unique_ptr<ClientTalk> talk;
  bool gives_back = false;  ///< that is the last of it
  std::uint64_t held_since = 0;
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
  bool counted;
  bool acting = false;
  bool abandoned = false;
};

struct StepsObject {
  PyObject_HEAD Going* going;
};

Going& going_of(PyObject* self) noexcept {
  return *reinterpret_cast<StepsObject*>(self)->going;
}

/// Its caller is gone.
void forget(Going& going) {
  going.work.forget();
  // It may have been stored after all.
  if (going.id) cached_of(going.self.get()).let_go(nullptr);
}

void tell_what_happened() {
  drop_what_is_dead();
  report_engine_messages();
}

PyObject* make_steps(std::unique_ptr<Going> going) {
  PyObject* const made = steps_type->tp_alloc(steps_type, 0);
  if (made == nullptr) return nullptr;
  reinterpret_cast<StepsObject*>(made)->going = going.release();
  return made;
}

/// Lets the process hold what came of a call, if it does and that is still the newest.
void hold(Going& going, PyObject* result) {
  Cached& cached = cached_of(going.self.get());
  if (!going.id || !cached.held) return;
  const Id id = going.id->get();
  if (!going.counted) {
    cached.let_go(&id);  // a refresh: the next call reads what it may have stored
  } else if (result != nullptr && going.work.stored_at() &&
             going.held_since == cached.held_epoch) {
    cached.held->keep(id, result, *going.work.stored_at());
  }
}

PyObject* finish_call(Going& going) {
  const engine::Ended ended = going.steps->end();
  const Cached& cached = cached_of(going.self.get());
  if (going.counted && cached.metrics) {
    record_call(cached.metrics.get(), std::chrono::steady_clock::now() - going.began,
                going.work.timed_out());
  }
  PyObject* const result = going.work.finish(ended);
  const ErrorsAside aside;
  hold(going, result);
  tell_what_happened();
  return result;
}

PyObject* get_next(PyObject* self, void*) {
  return PyLong_FromLong(static_cast<long>(going_of(self).steps->next()));
}

PyObject* get_function(PyObject* self, void*) {
  return Py_NewRef(cached_of(going_of(self).self.get()).function.get());
}

PyObject* get_limited(PyObject* self, void*) {
  const Cached& cached = cached_of(going_of(self).self.get());
  return PyBool_FromLong(cached.settings.wait_limit != kNoLimit ? 1 : 0);
}

PyObject* get_at_once(PyObject* self, void*) {
  return PyBool_FromLong(cached_of(going_of(self).self.get()).live != nullptr ? 1 : 0);
}

PyObject* get_place(PyObject* self, void*) {
  const auto& place = going_of(self).place;
  return PyBytes_FromStringAndSize(place.data(), static_cast<Py_ssize_t>(place.size()));
}

PyObject* recall(PyObject* self, PyObject*) {
  return PyBool_FromLong(going_of(self).steps->recall(kSmall) ? 1 : 0);
}

PyObject* act(PyObject* self, PyObject*) {
  Going& going = going_of(self);
  going.acting = true;
  going.steps->act();
  going.acting = false;
  if (going.abandoned) {
    if (going.steps->holds_claim()) going.steps->give_back();
    forget(going);
  }
  tell_what_happened();
  return Py_NewRef(Py_None);
}

PyObject* get_adapter(PyObject* self, void*) {
  const Going& going = going_of(self);
  return going.client ? going.client->awaited().release() : Py_NewRef(Py_None);
}

/// Hands in what came of what was asked.
void settle(Going& going) {
  const auto talk = std::exchange(going.talk, nullptr);
  if (talk->is_look()) {
    going.steps->looked(talk->look());
  } else if (!going.gives_back) {
    going.steps->committed(talk->version());
  }
}

/// What the store is to be asked next, if anything.
std::optional<engine::Operation> next_operation(Going& going) {
  if (going.gives_back) return std::nullopt;
  auto operation = going.steps->begin();
  if (operation || !going.abandoned) return operation;
  going.gives_back = true;
  return going.steps->begin_give_back();
}

/// Goes on until there is something to ask of the adapter: gives that, or None.
PyObject* advance(Going& going) {
  going.acting = true;
  while (true) {
    if (!going.talk) {
      auto operation = next_operation(going);
      if (!operation) break;
      going.talk =
          ClientTalk::of(*going.client, going.id->get(), *std::move(operation));
    }
    if (Ref request = going.talk->next()) return request.release();
    settle(going);
  }
  going.acting = false;
  if (going.abandoned) forget(going);
  tell_what_happened();
  return Py_NewRef(Py_None);
}

PyObject* begin_asking(PyObject* self, PyObject*) { return advance(going_of(self)); }

PyObject* answered(PyObject* self, PyObject* answer) {
  Going& going = going_of(self);
  if (!going.talk) return Py_NewRef(Py_None);
  going.talk->answered(answer);
  return advance(going);
}

PyObject* failed(PyObject* self, PyObject* raised) {
  Going& going = going_of(self);
  if (!going.talk) return Py_NewRef(Py_None);
  Raised::of(Ref::borrow(raised)).restore();
  going.talk->failed();
  return advance(going);
}

/// Nobody will say what came of what was asked. Blocks while that is set right.
PyObject* cut_off(PyObject* self, PyObject*) {
  Going& going = going_of(self);
  going.abandoned = true;
  std::optional<Token> unknown;
  if (going.talk) {
    unknown = going.talk->cut_off();
    settle(going);
  }
  if (unknown) {
    Change release;
    release.kind = Change::Kind::release;
    release.token = *unknown;
    (void)going.client->commit(going.id->get(), release,
                               std::chrono::steady_clock::now() + kTimeout);
  }
  return act(self, nullptr);
}

PyObject* before_wait(PyObject* self, PyObject*) {
  const auto slice = going_of(self).steps->before_wait();
  if (!slice) return Py_NewRef(Py_None);
  return PyFloat_FromDouble(std::chrono::duration<double>(*slice).count());
}

PyObject* wait(PyObject* self, PyObject* seconds) {
  const double length = PyFloat_AsDouble(seconds);
  if (length == -1 && PyErr_Occurred() != nullptr) return nullptr;
  // Whoever waits may be gone before this returns; what it waits with must not.
  const std::shared_ptr<Watch> watch = going_of(self).steps->watch();
  const auto until =
      std::chrono::steady_clock::now() +
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(length));
  if (watch == nullptr) return Py_NewRef(Py_None);
  watch->wait(until);
  return PyBool_FromLong(std::chrono::steady_clock::now() < until ? 1 : 0);
}

PyObject* after_wait(PyObject* self, PyObject*) {
  going_of(self).steps->after_wait();
  return Py_NewRef(Py_None);
}

PyObject* enter(PyObject* self, PyObject*) {
  Going& going = going_of(self);
  going.frame = going.steps->before_compute();
  going.entered = enter_frame(going.frame);
  return Py_NewRef(Py_None);
}

void leave(Going& going) noexcept {
  leave_frame(going.entered);
  going.entered = Ref();
}

PyObject* returned(PyObject* self, PyObject* result) {
  Going& going = going_of(self);
  leave(going);
  going.work.returned(Ref::borrow(result), std::move(going.frame));
  going.steps->after_compute(engine::Work::Ran::returned);
  return Py_NewRef(Py_None);
}

PyObject* threw(PyObject* self, PyObject* raised) {
  Going& going = going_of(self);
  leave(going);
  going.frame = nullptr;
  auto ran = engine::Work::Ran::threw;
  // What is no `Exception` ends its caller alone.
  if (PyErr_GivenExceptionMatches(raised, PyExc_Exception) != 0) {
    ran = going.work.threw(Raised::of(Ref::borrow(raised)));
  }
  going.steps->after_compute(ran);
  return Py_NewRef(Py_None);
}

PyObject* finish(PyObject* self, PyObject*) { return finish_call(going_of(self)); }

PyObject* abandon(PyObject* self, PyObject*) {
  Going& going = going_of(self);
  going.abandoned = true;
  return PyBool_FromLong(!going.acting && going.steps->holds_claim() ? 1 : 0);
}

PyObject* give_back(PyObject* self, PyObject*) {
  going_of(self).steps->give_back();
  tell_what_happened();
  return Py_NewRef(Py_None);
}

PyObject* refresh(PyObject* self, PyObject*) {
  Going& going = going_of(self);
  auto ticket = going.work.take_ticket();
  if (ticket == nullptr) return Py_NewRef(Py_None);
  auto made = std::make_unique<Going>(going.self.get(), false, false);
  made->work.refreshes();
  made->steps = engine::Steps::of_refresh(std::move(ticket), made->work);
  made->place = going.place;
  made->id = going.id;
  made->client = going.client;
  return make_steps(std::move(made));
}

void deallocate(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  const ErrorsAside aside;
  auto* const object = reinterpret_cast<StepsObject*>(self);
  const std::unique_ptr<Going> going(std::exchange(object->going, nullptr));
  // Of a task that was cancelled before it began, say.
  if (going->steps->holds_claim()) going->steps->give_back();
  type->tp_free(self);
  Py_DECREF(type);
}

PyMethodDef methods[] = {{"recall", guarded<recall>, METH_NOARGS, nullptr},
                         {"act", guarded<act>, METH_NOARGS, nullptr},
                         {"begin", guarded<begin_asking>, METH_NOARGS, nullptr},
                         {"answered", guarded<answered>, METH_O, nullptr},
                         {"failed", guarded<failed>, METH_O, nullptr},
                         {"cut_off", guarded<cut_off>, METH_NOARGS, nullptr},
                         {"before_wait", guarded<before_wait>, METH_NOARGS, nullptr},
                         {"wait", guarded<wait>, METH_O, nullptr},
                         {"after_wait", guarded<after_wait>, METH_NOARGS, nullptr},
                         {"enter", guarded<enter>, METH_NOARGS, nullptr},
                         {"returned", guarded<returned>, METH_O, nullptr},
                         {"threw", guarded<threw>, METH_O, nullptr},
                         {"finish", guarded<finish>, METH_NOARGS, nullptr},
                         {"abandon", guarded<abandon>, METH_NOARGS, nullptr},
                         {"give_back", guarded<give_back>, METH_NOARGS, nullptr},
                         {"refresh", guarded<refresh>, METH_NOARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

PyGetSetDef properties[] = {
    {"next", get_next, nullptr, "What is to be done next.", nullptr},
    {"adapter", guarded<get_adapter>, nullptr,
     "What is awaited for its store; None: its store blocks.", nullptr},
    {"at_once", get_at_once, nullptr, "Whether its store never blocks.", nullptr},
    {"limited", get_limited, nullptr, "Whether it waits for so long only.", nullptr},
    {"function", get_function, nullptr, "What is to be run.", nullptr},
    {"place", guarded<get_place>, nullptr, "Which entry of which store.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("A call of a coroutine function on its way.")},
    {Py_tp_dealloc, as_slot(deallocate)},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {0, nullptr}};

PyType_Spec spec = {
    "cachier._core.Steps", sizeof(StepsObject), 0,
    static_cast<unsigned>(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
                          Py_TPFLAGS_DISALLOW_INSTANTIATION),
    slots};

/// begin(given, names): `given` is the cached function and the arguments of a call,
/// those by keyword last; `names` is a tuple of theirs, or None. Gives the result, or
/// raises `UndoneError`: so a hit needs not be told from anything else.
PyObject* begin_with(PyObject* const* values, Py_ssize_t count, bool open) {
  if (count != 2 || !PyTuple_Check(values[0]) || PyTuple_GET_SIZE(values[0]) < 1 ||
      Py_TYPE(PyTuple_GET_ITEM(values[0], 0)) != cached_function_type) {
    PyErr_SetString(PyExc_TypeError, "a cached function and its arguments are needed");
    return nullptr;
  }
  PyObject* const* const given = &PyTuple_GET_ITEM(values[0], 0);
  Arguments arguments{
      given + 1, static_cast<std::size_t>(PyTuple_GET_SIZE(values[0])) - 1, nullptr};
  if (PyTuple_Check(values[1])) {
    arguments.keywords = values[1];
    if (arguments.keyword_count() > arguments.positional) {
      PyErr_SetString(PyExc_TypeError, "more names than arguments");
      return nullptr;
    }
    arguments.positional -= arguments.keyword_count();
  }
  PyObject* const found = find_in_memory(given[0], arguments);
  if (found != nullptr) return found;
  Ref begun = Ref::steal(begin_call(given[0], arguments, open));
  if (!begun) return nullptr;
  const bool unopened = begun.get() == Py_NotImplemented && !open;
  if (unopened || Py_TYPE(begun.get()) == steps_type) {
    const Ref raised =
        Ref::steal(PyObject_CallOneArg(undone, unopened ? Py_None : begun.get()));
    if (raised) PyErr_SetObject(undone, raised.get());
    return nullptr;
  }
  return begun.release();
}

}  // namespace

bool add_steps_type(PyObject* module) {
  if (undone == nullptr) {
    undone = PyErr_NewExceptionWithDoc(
        "cachier._core.UndoneError",
        "A call that is not answered yet: its steps, or None while its store is to be "
        "opened first.",
        nullptr, nullptr);
  }
  return undone != nullptr &&
         PyModule_AddObjectRef(module, "UndoneError", undone) == 0 &&
         add_type(module, spec, steps_type) != nullptr;
}

PyObject* begin_steps(PyObject* self, const Id& id, const engine::Policy& policy,
                      bool verbose) {
  Cached& cached = cached_of(self);
  {
    const auto began = std::chrono::steady_clock::now();
    PythonWork work(self, {}, verbose);
    if (engine::recall(*cached.store, id, policy, work, cached.counters, kSmall)) {
      if (cached.metrics) {
        const auto took = std::chrono::steady_clock::now() - began;
        record_call(cached.metrics.get(), took, false);
      }
      Ref result = Ref::steal(work.finish({}));
      if (cached.held && result && work.stored_at()) {
        cached.held->keep(id, result.get(), *work.stored_at());
        drop_what_is_dead();
      }
      return result.release();
    }
  }
  auto going = std::make_unique<Going>(self, verbose, true);
  auto client = std::dynamic_pointer_cast<ClientStore>(cached.store);
  if (client && client->awaited()) going->client = std::move(client);
  if (cached.held || going->client) going->id.emplace(id);
  going->held_since = cached.held_epoch;
  going->steps =
      engine::Steps::of_call(cached.store, id, policy, going->work, cached.counters);
  const std::array<const void*, 2> of{cached.store.get(), id.function};
  char* const place = going->place.data();
  std::memcpy(place, of.data(), sizeof of);
  std::memcpy(place + sizeof of, &id.digest, sizeof id.digest);
  return make_steps(std::move(going));
}

PyObject* make_skipping_steps(PyObject* self) {
  Cached& cached = cached_of(self);
  auto going = std::make_unique<Going>(self, false, false);
  engine::Policy policy;
  policy.skip = true;
  going->steps = engine::Steps::of_call(cached.store, Id{cached.id, {}, {}, false},
                                        policy, going->work, cached.counters);
  return make_steps(std::move(going));
}

PyObject* begin(PyObject*, PyObject* const* values, Py_ssize_t count) {
  return begin_with(values, count, false);
}

PyObject* open_and_begin(PyObject*, PyObject* const* values, Py_ssize_t count) {
  return begin_with(values, count, true);
}

}  // namespace cachier::python

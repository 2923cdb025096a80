#include "client_store.hpp"

#include <cachier/envelope.hpp>

#include <algorithm>
#include <new>
#include <utility>

#include "backends/shared/wakes.hpp"
#include "client_talk.hpp"
#include "client_words.hpp"
#include "platform/fork.hpp"
#include "platform/random.hpp"

namespace cachier::python {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// A server that did not answer is left alone for this long, then for twice as long.
constexpr std::chrono::milliseconds kFirstPause(100);
constexpr std::chrono::milliseconds kLongestPause(5000);

/// The longest sleep before another look.
constexpr std::chrono::milliseconds kSlice(50);

/// Holds the GIL, whether or not the thread had it.
class WithGil {
 public:
  WithGil() noexcept : state_(interruptibly([] { return PyGILState_Ensure(); })) {}
  ~WithGil() { PyGILState_Release(state_); }
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;

 private:
  PyGILState_STATE state_;
};

/// wake(digest): whoever waits for such an entry is to look again.
PyObject* wake(PyObject*, PyObject* digest) {
  char* data = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(digest, &data, &size) < 0) return nullptr;
  if (size == 16) shared::wake({read_word(data), read_word(data + 8)});
  return Py_NewRef(Py_None);
}
PyMethodDef wake_method{"wake", wake, METH_O, nullptr};

/// Woken by what this process does and, where the adapter listens, by what it hears.
class Waiting final : public Watch {
 public:
  Waiting(std::unique_ptr<Watch> watch, std::shared_ptr<const void> adapter,
          const Id& id)
      : watch_(std::move(watch)),
        adapter_(std::move(adapter)),
        function_(id.function->id()),
        digest_(text_of(id.digest)) {
    if (!adapter_) return;
    const Ref call = Ref::steal(PyCFunction_New(&wake_method, nullptr));
    const Ref done = Ref::steal(interruptibly([&] {
      return call ? PyObject_CallMethod(object_of(adapter_), "listen", "s#y#O",
                                        function_.data(), length(function_),
                                        digest_.data(), length(digest_), call.get())
                  : nullptr;
    }));
    // It is polled all the same.
    if (!done) PyErr_Clear();
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ~Waiting() override {
    if (!adapter_) return;
    const WithGil gil;
    const ErrorsAside aside;
    const Ref done = Ref::steal(interruptibly([&] {
      return PyObject_CallMethod(object_of(adapter_), "forget", "s#y#",
                                 function_.data(), length(function_), digest_.data(),
                                 length(digest_));
    }));
    if (!done) PyErr_Clear();
  }

  void wait(Deadline deadline) noexcept override {
    // Others may change it, and nobody tell.
    const Deadline until = std::min(deadline, SteadyClock::now() + kSlice);
    if (PyGILState_Check() == 0) {
      watch_->wait(until);
      return;
    }
    const WithGilReleased released;
    watch_->wait(until);
  }

 private:
  std::unique_ptr<Watch> watch_;
  std::shared_ptr<const void> adapter_;
  std::string function_;
  std::string digest_;
};

}  // namespace

ClientStore::ClientStore(PyObject* adapter, std::string name)
    : adapter_(share_object(adapter)),
      name_(std::move(name)),
      is_awaited_(PyObject_HasAttrString(adapter, "talk") != 0),
      listens_(PyObject_HasAttrString(adapter, "listen") != 0) {}

Capabilities ClientStore::capabilities() const noexcept {
  return {.name = name_,
          .live_objects = false,
          .persistent = true,
          .shared = true,
          .many_hosts = true,
          .fenced = true,
          .leases = true,
          .sees_death = false,
          .wakes = listens_};
}

std::optional<Error> ClientStore::closed(Deadline deadline) {
  const auto now = SteadyClock::now();
  if (now < closed_until_) return outage_;
  // One finds out for all whether it answers again.
  if (pause_.count() != 0) closed_until_ = std::min(deadline, now + kLongestPause);
  return std::nullopt;
}

void ClientStore::open() noexcept {
  pause_ = std::chrono::milliseconds(0);
  closed_until_ = {};
}

template <class... Arguments>
Result<Ref> ClientStore::ask(const char* what, const char* verb, Deadline deadline,
                             const char* format, Arguments... arguments) {
  if (auto outage = closed(deadline)) return *std::move(outage);
  Ref answer = Ref::steal(interruptibly([&] {
    return PyObject_CallMethod(object_of(adapter_), "ask", format, verb,
                               seconds_until(deadline), arguments...);
  }));
  if (!answer) return failure(what);
  open();
  return answer;
}

Error ClientStore::failure(const char* what) {
  Raised raised = Raised::take();
  int kind = 0;
  std::string words;
  if (raised.is(PyExc_KeyboardInterrupt)) {
    // It is of whoever calls: raised as soon as Python runs on.
    PyErr_SetInterrupt();
    words = "interrupted";
    kind = 1;
  } else {
    const Ref judged = Ref::steal(interruptibly([&] {
      return PyObject_CallMethod(object_of(adapter_), "judge", "O", raised.get());
    }));
    const char* text = nullptr;
    if (judged && PyArg_ParseTuple(judged.get(), "is", &kind, &text)) words = text;
    PyErr_Clear();
  }
  // Its traceback holds frames, and what these hold.
  PyException_SetTraceback(raised.get(), Py_None);
  constexpr int kLasts = 2;
  Error error = Error(kind == kLasts ? ErrorCode::refused : ErrorCode::unavailable,
                      std::string(what) + " at " + location(), words)
                    .caused_by(share_object(raised.get()));
  if (kind == 0) {
    pause_ = std::clamp(2 * pause_, kFirstPause, kLongestPause);
    closed_until_ = SteadyClock::now() + pause_;
    outage_ = error;
  } else {
    open();  // it answers
  }
  return error;
}

void ClientStore::learn(std::int64_t now, SteadyTime asked_at) noexcept {
  if (now == 0) return;
  const std::int64_t latest = now - microseconds(asked_at);
  const std::int64_t earliest = now - microseconds(SteadyClock::now());
  // The truth is between the two. The largest of the earlier ones is the nearest to it,
  // unless the server's clock was set back.
  if (!offset_ || earliest > *offset_ || latest < *offset_) offset_ = earliest;
}

std::string ClientStore::claim_of(std::uint64_t serial) noexcept {
  // A child of a fork has another key: its parent's claims are not its own.
  if (claims_key_ == 0 || forks_ != platform::fork_count()) {
    forks_ = platform::fork_count();
    claims_key_ = platform::random_bits();
  }
  return text_of(serial, claims_key_);
}

void ClientStore::hold(ClientTalk& talk) {
  while (const Ref request = talk.next()) {
    const Ref ask = Ref::steal(PyObject_GetAttrString(object_of(adapter_), "ask"));
    const Ref answer = ask ? Ref::steal(interruptibly([&] {
      return PyObject_Call(ask.get(), request.get(), nullptr);
    }))
                           : Ref();
    if (answer) {
      talk.answered(answer.get());
    } else {
      talk.failed();
    }
  }
}

Result<Look> ClientStore::look(const Id& id, const Ask& ask,
                               Deadline deadline) noexcept {
  const WithGil gil;
  const ErrorsAside aside;
  try {
    const auto talk = ClientTalk::of(*this, id, {ask, deadline});
    hold(*talk);
    return talk->look();
  } catch (const std::bad_alloc&) {
    return out_of_memory(kCannotLook);
  }
}

Result<Version> ClientStore::commit(const Id& id, const Change& change,
                                    Deadline deadline) noexcept {
  const WithGil gil;
  const ErrorsAside aside;
  try {
    const auto talk = ClientTalk::of(*this, id, {change, deadline});
    hold(*talk);
    return talk->version();
  } catch (const std::bad_alloc&) {
    return out_of_memory(kCannotStore);
  }
}

Result<Page> ClientStore::scan(const Filter& filter, const Cursor& from,
                               Deadline deadline) noexcept {
  const WithGil gil;
  const ErrorsAside aside;
  try {
    const std::string function =
        filter.function != nullptr ? filter.function->id() : std::string();
    Ref before = Ref::borrow(Py_None);
    if (filter.stored_before) {
      before =
          Ref::steal(PyLong_FromLongLong(std::chrono::ceil<std::chrono::microseconds>(
                                             filter.stored_before->time_since_epoch())
                                             .count()));
      if (!before) return failure(kCannotList);
    }
    auto answer = ask(kCannotList, "scan", deadline, "sdz#Oy#",
                      filter.function != nullptr ? function.data() : nullptr,
                      length(function), before.get(), from.data(), length(from));
    if (!answer) return answer.error();
    PyObject* listed = nullptr;
    const char* next = nullptr;
    Py_ssize_t next_size = 0;
    if (!PyArg_ParseTuple(answer->get(), "O!y#", &PyList_Type, &listed, &next,
                          &next_size)) {
      return failure(kCannotList);
    }
    Page page;
    page.next.assign(next, static_cast<std::size_t>(next_size));
    for (Py_ssize_t n = 0; n < PyList_GET_SIZE(listed); ++n) {
      const char* of = nullptr;
      const char* digest = nullptr;
      const char* head = nullptr;
      Py_ssize_t of_size = 0;
      Py_ssize_t digest_size = 0;
      Py_ssize_t head_size = 0;
      long long stored_at = 0;
      unsigned long long size = 0;
      if (!PyArg_ParseTuple(PyList_GET_ITEM(listed, n), "s#y#Ly#K", &of, &of_size,
                            &digest, &digest_size, &stored_at, &head, &head_size,
                            &size)) {
        return failure(kCannotList);
      }
      const auto parts = envelope::inspect(
          as_bytes({head, static_cast<std::size_t>(head_size)}), size);
      if (!parts || digest_size != 16) continue;  // damaged: no entry
      Header& header = page.entries.emplace_back();
      header.function.assign(of, static_cast<std::size_t>(of_size));
      header.digest = {read_word(digest), read_word(digest + 8)};
      header.key = std::string(as_text(parts->key));
      header.hashed = parts->hashed;
      header.stored_at = time_of(stored_at);
      header.size = parts->value_size;
      header.codec = parts->codec;
    }
    return page;
  } catch (const std::bad_alloc&) {
    return out_of_memory(kCannotList);
  }
}

Result<std::uint64_t> ClientStore::clear(const Filter& filter, Clear what,
                                         Deadline deadline) noexcept {
  const WithGil gil;
  const ErrorsAside aside;
  try {
    const std::string function =
        filter.function != nullptr ? filter.function->id() : std::string();
    const char* const of = filter.function != nullptr ? function.data() : nullptr;
    if (what == Clear::claims) {
      auto answer =
          ask(kCannotClear, "free_claims", deadline, "sdz#", of, length(function));
      if (!answer) return answer.error();
      shared::wake_all();
      return std::uint64_t{0};
    }
    if (what == Clear::stale && !filter.stored_before) return std::uint64_t{0};
    Ref before = Ref::borrow(Py_None);
    if (what == Clear::stale) {
      before =
          Ref::steal(PyLong_FromLongLong(std::chrono::ceil<std::chrono::microseconds>(
                                             filter.stored_before->time_since_epoch())
                                             .count()));
      if (!before) return failure(kCannotClear);
    }
    auto answer = ask(kCannotClear, "clear", deadline, "sdz#O", of, length(function),
                      before.get());
    if (!answer) return answer.error();
    shared::wake_all();
    const unsigned long long count = PyLong_AsUnsignedLongLong(answer->get());
    if (PyErr_Occurred() != nullptr) return failure(kCannotClear);
    return std::uint64_t{count};
  } catch (const std::bad_alloc&) {
    return out_of_memory(kCannotClear);
  }
}

std::unique_ptr<Watch> ClientStore::watch(const Id& id) noexcept {
  auto woken = shared::watch(id.digest);
  if (!woken) return nullptr;
  const WithGil gil;
  const ErrorsAside aside;
  try {
    return std::make_unique<Waiting>(std::move(woken), listens_ ? adapter_ : nullptr,
                                     id);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

std::string ClientStore::location() const {
  const WithGil gil;
  const ErrorsAside aside;
  const Ref text = Ref::steal(interruptibly(
      [&] { return PyObject_CallMethod(object_of(adapter_), "location", nullptr); }));
  std::string where(text ? utf8_of(text.get()) : std::string_view());
  PyErr_Clear();
  return where.empty() ? name_ : where;
}

}  // namespace cachier::python

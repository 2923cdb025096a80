#include "questions.hpp"

#include <cachier/cbor.hpp>
#include <cachier/key.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

#include "cached.hpp"
#include "report.hpp"
#include "value_codec.hpp"
#include "work.hpp"

namespace cachier::python {
namespace {

/// One call that is asked about.
class Asked {
 public:
  /// `verb`: what cannot be done where the arguments do not fit. False: an exception is
  /// set.
  bool read(PyObject* self, PyObject* const* values, Py_ssize_t count,
            PyObject* keywords, const char* verb) {
    cached_ = &cached_of(self);
    if (!cached_->update_settings()) return false;
    arguments_ = {values, static_cast<std::size_t>(count), keywords};
    if (keywords != nullptr && !stripped_.take(arguments_, options_)) return false;
    switch (write_key(*cached_, arguments_, key_)) {
      case Keyed::made:
        break;
      case Keyed::refused:
        PyErr_Format(PyExc_TypeError,
                     "cannot %s a call of %s(): the arguments do not fit its "
                     "parameters\n  fix: give them as in a call",
                     verb, cached_->name.c_str());
        return false;
      case Keyed::failed:
        return false;
    }
    kept_.emplace(key_.view());
    id_ = {cached_->id, digest_of(*cached_->id, key_.view()), kept_->bytes(),
           kept_->hashed()};
    const Settings& settings = cached_->settings;
    ask_.max_age = options_.stale_after.value_or(settings.stale_after);
    if (options_.max_age) ask_.max_age = std::min(ask_.max_age, *options_.max_age);
    ask_.allow_none = options_.allow_none.value_or(settings.allow_none);
    ask_.claim = false;
    return true;
  }

  /// What the store has. Nothing: it fails, and with an exception set the caller is to
  /// know.
  std::optional<Look> look(const Ask& ask) {
    std::optional<Error> failure = cached_->open();
    if (!failure) {
      const std::shared_ptr<Store> store = cached_->store;
      Result<Look> look = store->look(id_, ask, deadline());
      report_engine_messages();
      if (look) return *std::move(look);
      failure = look.error();
    }
    (void)get_over(*cached_, *failure);
    return std::nullopt;
  }

  /// What the process holds of it, borrowed, or null.
  [[nodiscard]] PyObject* held() const noexcept {
    if (!cached_->held) return nullptr;
    return cached_->held->find(*id_.function, id_.digest, id_.key, id_.hashed,
                               ask_.max_age, ask_.allow_none);
  }

  /// Whether a call would take the entry.
  [[nodiscard]] bool is_usable(const Entry& entry) const noexcept {
    const Value& value = entry.value;
    if (value.codec() == Codec::live) return true;
    if (value.is_exception() && !cached_->exceptions) return false;
    return cached_->other_code != Cached::OtherCode::recompute ||
           value.code() == cached_->code;
  }

  [[nodiscard]] Cached& cached() const noexcept { return *cached_; }
  [[nodiscard]] const Arguments& arguments() const noexcept { return arguments_; }
  [[nodiscard]] const CallOptions& options() const noexcept { return options_; }
  [[nodiscard]] const Ask& ask() const noexcept { return ask_; }
  [[nodiscard]] const Id& id() const noexcept { return id_; }
  /// Of an operation that begins now.
  [[nodiscard]] Deadline deadline() const noexcept {
    return std::chrono::steady_clock::now() + cached_->settings.operation_timeout;
  }

 private:
  Cached* cached_ = nullptr;
  Arguments arguments_;
  CallOptions options_;
  Stripped stripped_;
  cbor::Writer key_;
  std::optional<KeptKey> kept_;
  Id id_;
  Ask ask_;
};

Ref text_of_digest(const Digest& digest) {
  const std::string text = to_string(digest);
  return Ref::steal(
      PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size())));
}

bool set(const Ref& dict, const char* name, const Ref& value) {
  return value && PyDict_SetItemString(dict.get(), name, value.get()) == 0;
}

bool set(const Ref& dict, const char* name, bool value) {
  return PyDict_SetItemString(dict.get(), name, value ? Py_True : Py_False) == 0;
}

Ref nanoseconds(Duration duration) {
  return duration == kNoLimit ? Ref::borrow(Py_None)
                              : Ref::steal(PyLong_FromLongLong(duration.count()));
}

bool describe_entry(const Ref& dict, const Asked& asked, const Look& look) {
  const Entry& entry = *look.entry;
  const Time now =
      std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  const bool raised = entry.value.codec() == Codec::live
                          ? stands_for_exception(object_of(entry.value.object()))
                          : entry.value.is_exception();
  const bool same = asked.cached().code == 0 || entry.value.code() == 0 ||
                    entry.value.code() == asked.cached().code;
  return set(dict, "stored_at", nanoseconds(entry.stored_at.time_since_epoch())) &&
         set(dict, "age", nanoseconds(now - entry.stored_at)) &&
         set(dict, "fresh", is_fresh(entry.stored_at, now, asked.ask().max_age)) &&
         set(dict, "counts", !entry.value.is_none() || asked.ask().allow_none) &&
         set(dict, "usable", asked.is_usable(entry)) &&
         set(dict, "exception", raised) && set(dict, "same_code", same);
}

}  // namespace

PyObject* key_of_call(PyObject* self, PyObject* const* values, Py_ssize_t count,
                      PyObject* keywords) {
  Asked asked;
  if (!asked.read(self, values, count, keywords, "give the key of")) return nullptr;
  return text_of_digest(asked.id().digest).release();
}

PyObject* is_cached(PyObject* self, PyObject* const* values, Py_ssize_t count,
                    PyObject* keywords) {
  Asked asked;
  if (!asked.read(self, values, count, keywords, "look up")) return nullptr;
  if (asked.held() != nullptr) return Py_NewRef(Py_True);
  const auto look = asked.look(asked.ask());
  if (PyErr_Occurred() != nullptr) return nullptr;
  return PyBool_FromLong(look && look->fresh && asked.is_usable(*look->entry) ? 1 : 0);
}

PyObject* peek(PyObject* self, PyObject* const* values, Py_ssize_t count,
               PyObject* keywords) {
  Asked asked;
  if (!asked.read(self, values, count, keywords, "look up")) return nullptr;
  if (PyObject* const held = asked.held()) return Py_NewRef(held);
  const auto look = asked.look(asked.ask());
  if (PyErr_Occurred() != nullptr) return nullptr;
  if (!look || !look->fresh) return Py_NewRef(Py_None);
  PythonWork work(self, asked.arguments(), false);
  if (!work.accept(*look->entry)) return Py_NewRef(Py_None);
  PyObject* const result = work.finish({});
  drop_what_is_dead();
  return result;
}

PyObject* invalidate(PyObject* self, PyObject* const* values, Py_ssize_t count,
                     PyObject* keywords) {
  Asked asked;
  if (!asked.read(self, values, count, keywords, "invalidate")) return nullptr;
  Cached& cached = asked.cached();
  if (const std::optional<Error> failure = cached.open()) return raise_error(*failure);
  Ask any;
  any.allow_none = true;
  any.claim = false;
  const std::shared_ptr<Store> store = cached.store;
  const Result<Look> look = store->look(asked.id(), any, asked.deadline());
  Change change;
  change.kind = Change::Kind::erase;
  const Result<Version> erased = store->commit(asked.id(), change, asked.deadline());
  cached.let_go(&asked.id());
  drop_what_is_dead();
  report_engine_messages();
  if (!erased) return raise_error(erased.error());
  return PyBool_FromLong(look && look->entry ? 1 : 0);
}

PyObject* examine(PyObject* self, PyObject* const* values, Py_ssize_t count,
                  PyObject* keywords) {
  Asked asked;
  if (!asked.read(self, values, count, keywords, "explain")) return nullptr;
  Cached& cached = asked.cached();
  const CallOptions& options = asked.options();
  const Ref dict = Ref::steal(PyDict_New());
  if (!dict || !set(dict, "key", text_of_digest(asked.id().digest)) ||
      !set(dict, "enabled", cached.settings.enabled) ||
      !set(dict, "skip", options.skip_cache) ||
      !set(dict, "overwrite", options.overwrite_cache) ||
      !set(dict, "next_time", options.next_time.value_or(cached.settings.next_time)) ||
      !set(dict, "limit", nanoseconds(asked.ask().max_age)) ||
      !set(dict, "wait_limit", nanoseconds(cached.settings.wait_limit)) ||
      !set(dict, "recomputes", cached.other_code == Cached::OtherCode::recompute) ||
      !set(dict, "held", asked.held() != nullptr)) {
    return nullptr;
  }
  Ask any;
  any.allow_none = true;
  any.claim = false;
  std::optional<Error> failure = cached.open();
  if (!failure) {
    const std::shared_ptr<Store> store = cached.store;
    const Result<Look> look = store->look(asked.id(), any, asked.deadline());
    report_engine_messages();
    if (look) {
      if (!set(dict, "damaged", look->damaged)) return nullptr;
      if (!set(dict, "untrusted", look->untrusted)) return nullptr;
      if (look->entry && !describe_entry(dict, asked, *look)) return nullptr;
    } else {
      failure = look.error();
    }
  }
  if (failure) {
    const std::string& text = failure->message();
    if (!set(dict, "failure",
             Ref::steal(PyUnicode_DecodeUTF8(
                 text.data(), static_cast<Py_ssize_t>(text.size()), "replace")))) {
      return nullptr;
    }
  }
  return Py_NewRef(dict.get());
}

PyObject* explain(PyObject* self, PyObject* const* values, Py_ssize_t count,
                  PyObject* keywords) {
  const Ref known = Ref::steal(examine(self, values, count, keywords));
  const Ref module = known ? import_module("cachier._explain") : Ref();
  if (!module) return nullptr;
  return PyObject_CallMethod(module.get(), "explain", "OO", self, known.get());
}

}  // namespace cachier::python

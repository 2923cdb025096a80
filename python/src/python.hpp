#pragma once

/// CPython's API, and the few C++ types that make its rules hard to break.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <unistd.h>

#include <cstddef>
#include <new>
#include <string_view>
#include <utility>

namespace cachier::python {

/// Where a thread of an interpreter that is gone ends up. Such threads must not unwind:
/// C++ frames that promise not to throw, and destructors that need the GIL, are below.
[[noreturn]] inline void hang() noexcept {
  for (;;) pause();
}

[[nodiscard]] inline bool is_finalizing() noexcept {
#if PY_VERSION_HEX >= 0x030d0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

/// Calls into the interpreter where it may run any code, for as long as it likes.
/// CPython ends daemon threads by unwinding them; they stop here instead.
template <class Call>
auto interruptibly(const Call& call) noexcept -> decltype(call()) {
  try {
    return call();
  } catch (...) {
    hang();
  }
}

/// One owned reference to an object, or none. Needs the GIL wherever it gives one up.
class Ref {
 public:
  Ref() noexcept = default;
  Ref(const Ref& other) noexcept : object_(Py_XNewRef(other.object_)) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  /// May run finalizers, and these may let others run. On a thread that the end of the
  /// interpreter has caught in a call below, and that is being unwound without the GIL,
  /// it gives up nothing and stops.
  ~Ref() {
    if (object_ == nullptr) return;
    if (is_finalizing() && PyGILState_Check() == 0) hang();
    interruptibly([this] { Py_DECREF(object_); });
  }

  /// Takes over a new reference; null stays null.
  [[nodiscard]] static Ref steal(PyObject* object) noexcept {
    Ref ref;
    ref.object_ = object;
    return ref;
  }
  /// A reference of its own to what somebody else holds; null stays null.
  [[nodiscard]] static Ref borrow(PyObject* object) noexcept {
    return steal(Py_XNewRef(object));
  }

  [[nodiscard]] PyObject* get() const noexcept { return object_; }
  [[nodiscard]] PyObject* release() noexcept { return std::exchange(object_, nullptr); }
  [[nodiscard]] explicit operator bool() const noexcept { return object_ != nullptr; }

  /// Null again, for `tp_clear`.
  void clear() noexcept {
    interruptibly([this] { Py_CLEAR(object_); });
  }

 private:
  PyObject* object_ = nullptr;
};

/// Gives the GIL up for as long as it lives.
class WithGilReleased {
 public:
  WithGilReleased() noexcept : state_(PyEval_SaveThread()) {}
  WithGilReleased(const WithGilReleased&) = delete;
  WithGilReleased& operator=(const WithGilReleased&) = delete;
  ~WithGilReleased() {
    interruptibly([this] { PyEval_RestoreThread(state_); });
  }

 private:
  PyThreadState* state_;
};

/// The pending exception, set aside. What is still here at the end is dropped.
class Raised {
 public:
  Raised() noexcept = default;

  /// Takes the pending exception, if there is one.
  [[nodiscard]] static Raised take() noexcept {
    Raised raised;
#if PY_VERSION_HEX >= 0x030c0000
    raised.exception_ = Ref::steal(PyErr_GetRaisedException());
#else
    PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == nullptr) return raised;
    interruptibly([&] { PyErr_NormalizeException(&type, &value, &traceback); });
    if (traceback != nullptr) PyException_SetTraceback(value, traceback);
    const Ref old_type = Ref::steal(type);
    const Ref old_traceback = Ref::steal(traceback);
    raised.exception_ = Ref::steal(value);
#endif
    return raised;
  }
  /// This exception object, as if it had been taken.
  [[nodiscard]] static Raised of(Ref exception) noexcept {
    Raised raised;
    raised.exception_ = std::move(exception);
    return raised;
  }

  /// Makes it the pending one. Precondition: there is one here.
  void restore() noexcept {
#if PY_VERSION_HEX >= 0x030c0000
    PyErr_SetRaisedException(exception_.release());
#else
    PyObject* const value = exception_.release();
    PyObject* const type = Py_NewRef(reinterpret_cast<PyObject*>(Py_TYPE(value)));
    PyErr_Restore(type, value, PyException_GetTraceback(value));
#endif
  }

  [[nodiscard]] PyObject* get() const noexcept { return exception_.get(); }
  [[nodiscard]] explicit operator bool() const noexcept { return bool(exception_); }
  [[nodiscard]] bool is(PyObject* type) const noexcept {
    return exception_ && PyErr_GivenExceptionMatches(exception_.get(), type) != 0;
  }

 private:
  Ref exception_;
};

/// Drops the pending exception, if it is one that programs mean to get over: an
/// `Exception`. False: another one stays pending, as Ctrl-C does.
[[nodiscard]] inline bool drop_exception() noexcept {
  if (PyErr_Occurred() == nullptr) return true;
  if (PyErr_ExceptionMatches(PyExc_Exception) == 0) return false;
  PyErr_Clear();
  return true;
}

/// Keeps a pending exception out of the way of code that must start without one.
class ErrorsAside {
 public:
  ErrorsAside() noexcept : raised_(Raised::take()) {}
  ErrorsAside(const ErrorsAside&) = delete;
  ErrorsAside& operator=(const ErrorsAside&) = delete;
  ~ErrorsAside() {
    if (raised_) raised_.restore();
  }

 private:
  Raised raised_;
};

/// The module of this name. Null: an exception is set.
[[nodiscard]] inline Ref import_module(const char* name) noexcept {
  return Ref::steal(interruptibly([name] { return PyImport_ImportModule(name); }));
}

/// The UTF-8 of a `str`, good for as long as the object is. Empty with an exception
/// set: it has none.
[[nodiscard]] inline std::string_view utf8_of(PyObject* text) noexcept {
  Py_ssize_t size = 0;
  const char* const data = PyUnicode_AsUTF8AndSize(text, &size);
  if (data == nullptr) return {};
  return {data, static_cast<std::size_t>(size)};
}

/// What a class itself defines.
[[nodiscard]] inline Ref type_dict(PyTypeObject* type) noexcept {
#if PY_VERSION_HEX >= 0x030c0000
  return Ref::steal(PyType_GetDict(type));
#else
  return Ref::borrow(type->tp_dict);
#endif
}

template <class Function>
struct Guard;
template <class... Parameters>
struct Guard<PyObject* (*)(Parameters...)> {
  template <PyObject* (*kFunction)(Parameters...)>
  static PyObject* call(Parameters... parameters) {
    try {
      return kFunction(parameters...);
    } catch (const std::bad_alloc&) {
      return PyErr_NoMemory();
    }
  }
};

/// A function that allocates, as CPython may call it: no C++ exception may go through
/// its frames.
template <auto kFunction>
inline constexpr auto guarded = &Guard<decltype(kFunction)>::template call<kFunction>;

template <class Function>
[[nodiscard]] PyCFunction as_cfunction(Function* function) noexcept {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

template <class Function>
[[nodiscard]] void* as_slot(Function* function) noexcept {
  return reinterpret_cast<void*>(function);
}

}  // namespace cachier::python

#include "work.hpp"

#include <algorithm>
#include <utility>

#include "refresh.hpp"
#include "report.hpp"
#include "value_codec.hpp"

namespace cachier::python {
namespace {

/// Where the innermost frame of a computation is kept: a context variable, so that it
/// follows the flow of the program into threads that copy their context.
PyObject* frame_variable = nullptr;
constexpr const char* kFrameName = "cachier.frame";

using FramePointer = std::shared_ptr<const engine::Frame>;

void destroy_frame(PyObject* capsule) noexcept {
  delete static_cast<FramePointer*>(PyCapsule_GetPointer(capsule, kFrameName));
}

/// The innermost frame, for as long as this lives.
class FrameSet {
 public:
  explicit FrameSet(FramePointer frame) : token_(enter_frame(std::move(frame))) {}
  FrameSet(const FrameSet&) = delete;
  FrameSet& operator=(const FrameSet&) = delete;
  ~FrameSet() { leave_frame(token_); }

 private:
  Ref token_;
};

/// An exception among results. No function can return the variable: it is known to this
/// file alone.
Ref wrap_raised(PyObject* exception) {
  return Ref::steal(PyTuple_Pack(2, frame_variable, exception));
}

Ref call_of_copy(const char* function, PyObject* object) {
  const Ref module = import_module("copy");
  return module ? Ref::steal(interruptibly([&] {
    return PyObject_CallMethod(module.get(), function, "O", object);
  }))
                : Ref();
}

/// A copy of an exception, which holds no frames; where it does not copy, itself.
/// Null: an exception is set that is no `Exception`.
Ref without_traceback(PyObject* exception) {
  Ref copy = call_of_copy("copy", exception);
  if (copy && Py_TYPE(copy.get()) == Py_TYPE(exception)) return copy;
  if (!drop_exception()) return {};
  return Ref::borrow(exception);
}

Ref deep_copy(PyObject* object) { return call_of_copy("deepcopy", object); }

}  // namespace

bool stands_for_exception(PyObject* object) noexcept {
  return PyTuple_CheckExact(object) && PyTuple_GET_SIZE(object) == 2 &&
         PyTuple_GET_ITEM(object, 0) == frame_variable;
}

Result<Value> encode_live(const Cached& cached, PyObject* object,
                          std::uint64_t size_limit, Ref& kept) {
  std::size_t size = 0;
  const std::uint64_t room = cached.bounds.bytes;
  if (room != Bounds::kNone) {
    // What is larger than all that may be kept would only drive the others out.
    size_limit = std::min(size_limit, room - std::min(room, Recency::kOverhead));
  }
  if (size_limit != std::numeric_limits<std::uint64_t>::max()) {
    Result<Value> sized = encode_value(object, size_limit, Pickles::taken);
    // What has no stored form has no size: it is kept.
    if (!drop_exception()) return sized;
    if (!sized && sized.error() == ErrorCode::too_large) return sized;
    if (sized) size = sized->bytes().size();
  }
  kept = cached.copies ? deep_copy(object) : Ref::borrow(object);
  if (!kept) {
    return Error(ErrorCode::unsupported, "cannot copy a result of " + cached.name);
  }
  Value value = Value::of_object(share_object(kept.get()), size);
  value.set_none(object == Py_None);
  return value;
}

PyObject* hand_out(const Cached& cached, PyObject* found) {
  if (stands_for_exception(found)) {
    const Ref kept = Ref::borrow(found);
    Ref exception = without_traceback(PyTuple_GET_ITEM(kept.get(), 1));
    if (exception) Raised::of(std::move(exception)).restore();
    return nullptr;
  }
  if (!cached.copies) return Py_NewRef(found);
  const Ref kept = Ref::borrow(found);
  return deep_copy(kept.get()).release();
}

Ref enter_frame(FramePointer frame) {
  if (!frame) return {};
  auto owned = std::make_unique<FramePointer>(std::move(frame));
  const Ref capsule = Ref::steal(PyCapsule_New(owned.get(), kFrameName, destroy_frame));
  Ref token;
  if (capsule) {
    (void)owned.release();
    token = Ref::steal(PyContextVar_Set(frame_variable, capsule.get()));
  }
  if (!token) PyErr_Clear();  // no memory: recursion is not seen, nothing else
  return token;
}

void leave_frame(const Ref& token) noexcept {
  if (!token) return;
  const ErrorsAside aside;
  // A coroutine that is closed by another task than it ran in has another's context.
  if (PyContextVar_Reset(frame_variable, token.get()) < 0) PyErr_Clear();
}

bool make_frame_variable() {
  if (frame_variable == nullptr) {
    frame_variable = PyContextVar_New(kFrameName, nullptr);
  }
  return frame_variable != nullptr;
}

bool PythonWork::is_usable(const Value& value) const noexcept {
  if (value.is_exception() && !cached_.exceptions) return false;
  if (cached_.other_code == Cached::OtherCode::ignore || value.code() == cached_.code) {
    return true;
  }
  if (cached_.other_code == Cached::OtherCode::recompute) return false;
  // Where nobody noted it, nobody knows.
  if (value.code() != 0) report_other_code(cached_.name);
  return true;
}

bool PythonWork::accept(const Entry& entry) noexcept {
  if (entry.value.codec() == Codec::live) {
    result_ = Ref::steal(hand_out(cached_, object_of(entry.value.object())));
    if (!result_) raised_ = Raised::take();
    return true;
  }
  if (!is_usable(entry.value)) return false;
  // The bytes outlive this: decoding runs code of whoever made the value.
  Ref decoded = decode_value(entry.value, cached_.buffers, cached_.pickles);
  if (decoded && entry.value.is_exception()) {
    if (PyErr_GivenExceptionMatches(decoded.get(), cached_.exceptions.get()) == 0) {
      return false;
    }
    raised_ = Raised::of(std::move(decoded));
    return true;
  }
  result_ = std::move(decoded);
  stored_at_ = entry.stored_at;
  if (result_) return true;
  Raised raised = Raised::take();
  // Ctrl-C is the caller's, and says nothing of the value.
  if (!raised.is(PyExc_Exception)) {
    raised_ = std::move(raised);
    return true;
  }
  report_unreadable(cached_.name, raised.get());
  return false;
}

engine::Work::Ran PythonWork::compute(
    std::shared_ptr<const engine::Frame> frame) noexcept {
  const FrameSet inner(frame);
  frame_ = std::move(frame);
  result_ = Ref::steal(interruptibly([this] {
    return PyObject_Vectorcall(cached_.function.get(), arguments_.values,
                               arguments_.positional, arguments_.keywords);
  }));
  if (result_) return Ran::returned;
  return threw(Raised::take());
}

engine::Work::Ran PythonWork::threw(Raised raised) noexcept {
  raised_ = std::move(raised);
  // To the engine, an exception that is stored is a result.
  const bool stored =
      keeps_exceptions_ && cached_.exceptions && raised_.is(cached_.exceptions.get());
  return stored ? Ran::returned : Ran::threw;
}

Result<Value> PythonWork::encode(std::uint64_t size_limit) noexcept {
  // Pickling runs code of the result's classes, which can ask for this very call.
  const FrameSet inner(std::move(frame_));
  try {
    if (raised_) return encode_exception(size_limit);
    if (cached_.live == nullptr) {
      Result<Value> value = encode_value(result_.get(), size_limit, cached_.pickles);
      if (PyErr_Occurred() != nullptr) {
        Raised raised = Raised::take();
        if (cached_.raise_unstorable || !raised.is(PyExc_Exception)) {
          unstorable_ = std::move(raised);
        } else {
          report_unstorable(cached_.name, raised.get());
        }
      }
      if (value) value->set_code(cached_.code);
      return value;
    }
    Result<Value> value = encode_live(cached_, result_.get(), size_limit, kept_);
    if (PyErr_Occurred() != nullptr) unstorable_ = Raised::take();
    return value;
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::unavailable, "cannot store a result of " + cached_.name,
                 "out of memory");
  }
}

Result<Value> PythonWork::encode_exception(std::uint64_t size_limit) {
  if (cached_.live != nullptr) {
    const Ref copy = without_traceback(raised_.get());
    const Ref wrapped = copy ? wrap_raised(copy.get()) : Ref();
    if (wrapped) return Value::of_object(share_object(wrapped.get()));
  } else {
    Result<Value> value = encode_value(raised_.get(), size_limit, cached_.pickles);
    if (value) {
      value->set_exception(true);
      value->set_code(cached_.code);
    }
    if (PyErr_Occurred() == nullptr) return value;
  }
  // It is the caller's, stored or not; Ctrl-C is more than it.
  if (!drop_exception()) raised_ = Raised::take();
  return Error(ErrorCode::unsupported, "cannot store an exception of " + cached_.name);
}

std::shared_ptr<const void> PythonWork::share() noexcept {
  try {
    const Raised& raised = raised_ ? raised_ : unstorable_;
    if (!raised) {
      const Ref& result = kept_ ? kept_ : result_;
      return result ? share_object(result.get()) : nullptr;
    }
    // An interrupt ends one caller; those who wait go on without it.
    if (!raised.is(PyExc_Exception)) return nullptr;
    const Ref wrapped = wrap_raised(raised.get());
    if (wrapped) return share_object(wrapped.get());
    PyErr_Clear();
    return nullptr;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

engine::Work::Ran PythonWork::adopt(
    const std::shared_ptr<const void>& shared) noexcept {
  PyObject* const object = object_of(shared);
  if (stands_for_exception(object)) {
    raised_ = Raised::of(Ref::borrow(PyTuple_GET_ITEM(object, 1)));
    return Ran::threw;
  }
  result_ = cached_.copies ? deep_copy(object) : Ref::borrow(object);
  if (result_) return Ran::returned;
  raised_ = Raised::take();
  return Ran::threw;
}

std::shared_ptr<const engine::Frame> PythonWork::enclosing() noexcept {
  return innermost_frame();
}

std::shared_ptr<const engine::Frame> innermost_frame() noexcept {
  PyObject* value = nullptr;
  if (PyContextVar_Get(frame_variable, nullptr, &value) < 0) {
    PyErr_Clear();
    return nullptr;
  }
  const Ref capsule = Ref::steal(value);
  if (!capsule) return nullptr;
  auto* const frame =
      static_cast<FramePointer*>(PyCapsule_GetPointer(capsule.get(), kFrameName));
  if (frame != nullptr) return *frame;
  PyErr_Clear();
  return nullptr;
}

bool PythonWork::interrupted() noexcept {
  if (interruptibly([] { return PyErr_CheckSignals(); }) == 0) return false;
  raised_ = Raised::take();
  return true;
}

bool PythonWork::start_refresh(std::unique_ptr<engine::Refresh> ticket) noexcept {
  return start_refresh_of(self_, arguments_, std::move(ticket));
}

void PythonWork::on(engine::Step step) noexcept {
  if (step == engine::Step::stored) {
    stored_at_ =
        std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  }
  if (cached_.metrics) record_step(cached_.metrics.get(), step, waited_);
  if (step == engine::Step::waiting) {
    waited_ = true;
    waits_since_ = std::chrono::steady_clock::now();
  }
  if (step == engine::Step::calling && waited_) {
    timed_out_ =
        std::chrono::steady_clock::now() - waits_since_ >= cached_.settings.wait_limit;
  }
  if (!verbose_) return;
  const ErrorsAside aside;
  interruptibly([&] { print(step); });
}

void PythonWork::print(engine::Step step) const {
  switch (step) {
    case engine::Step::entry_found:
      PySys_WriteStdout("Entry found.\nCached result of %s returned.\n",
                        cached_.name.c_str());
      break;
    case engine::Step::entry_stale:
      PySys_WriteStdout("Entry found, but it is stale.\n");
      break;
    case engine::Step::no_entry:
      PySys_WriteStdout("No entry found.\n");
      break;
    case engine::Step::waiting:
      PySys_WriteStdout("Waiting for a computation that is running.\n");
      break;
    case engine::Step::calling:
      PySys_WriteStdout("Calling %s.\n", cached_.name.c_str());
      break;
    case engine::Step::stored:
      break;
    case engine::Step::too_large:
      PySys_WriteStdout("The result is too large to be stored.\n");
      break;
  }
}

void PythonWork::store_failed(const Error& error) noexcept {
  report_failure(cached_, error);
}

void PythonWork::waits_for(std::uint32_t process) noexcept {
  report_long_wait(cached_.name, process);
}

PyObject* PythonWork::finish(const engine::Ended& ended) {
  switch (ended.how) {
    case engine::Ended::How::value:
    case engine::Ended::How::exception:
    case engine::Ended::How::interrupted:
      break;
    case engine::Ended::How::error:
      return raise_error(*ended.error);
  }
  if (!raised_ && unstorable_) raised_ = std::move(unstorable_);
  if (raised_) {
    raised_.restore();
    return nullptr;
  }
  return result_.release();
}

}  // namespace cachier::python

#include "refresh.hpp"

#include <chrono>
#include <utility>

#include "report.hpp"
#include "work.hpp"

namespace cachier::python {
namespace {

constexpr const char* kTaskName = "cachier.task";
constexpr auto kCleanupTimeout = std::chrono::seconds(60);

/// Something for the pool to run once.
class Task {
 public:
  explicit Task(PyObject* self) noexcept : self_(Ref::borrow(self)) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  virtual ~Task() = default;
  virtual void run() = 0;

 protected:
  [[nodiscard]] PyObject* self() const noexcept { return self_.get(); }

 private:
  Ref self_;
};

class RefreshTask final : public Task {
 public:
  RefreshTask(PyObject* self, const Arguments& arguments,
              std::unique_ptr<engine::Refresh> ticket)
      : Task(self), arguments_(arguments), ticket_(std::move(ticket)) {}

  void run() override {
    if (ticket_ == nullptr) return;
    PythonWork work(self(), arguments_.view(), false);
    work.refreshes();
    const engine::Ended ended = engine::run_refresh(std::move(ticket_), work);
    const Ref result = Ref::steal(work.finish(ended));
    if (work.stored_at()) cached_of(self()).let_go(nullptr);
    if (result) return;
    report_failed_refresh(cached_of(self()).name, Raised::take().get());
  }

 private:
  OwnedArguments arguments_;
  std::unique_ptr<engine::Refresh> ticket_;  ///< goes before what it counts in
};

class CleanupTask final : public Task {
 public:
  CleanupTask(PyObject* self, Duration stale_after) noexcept
      : Task(self), stale_after_(stale_after) {}

  void run() override {
    const Cached& cached = cached_of(self());
    Filter filter;
    filter.function = cached.id;
    const Time now =
        std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
    // A negative age may reach beyond the end of time.
    const bool ends = stale_after_ < now - Time::max();
    filter.stored_before = ends ? Time::max() : now - stale_after_;
    const std::shared_ptr<Store> store = cached.store;
    const auto removed = store->clear(
        filter, Clear::stale, std::chrono::steady_clock::now() + kCleanupTimeout);
    if (!removed) report_failure(cached, removed.error());
  }

 private:
  Duration stale_after_;
};

void destroy_task(PyObject* capsule) noexcept {
  delete static_cast<Task*>(PyCapsule_GetPointer(capsule, kTaskName));
}

PyObject* run_task(PyObject* capsule, PyObject*) {
  auto* const task = static_cast<Task*>(PyCapsule_GetPointer(capsule, kTaskName));
  if (task == nullptr) return nullptr;
  task->run();
  drop_what_is_dead();
  report_engine_messages();
  return Py_NewRef(Py_None);
}

PyMethodDef run_task_def = {"run_task", guarded<run_task>, METH_NOARGS, nullptr};

bool submit(std::unique_ptr<Task> task) noexcept {
  const ErrorsAside aside;
  const Ref capsule = Ref::steal(PyCapsule_New(task.get(), kTaskName, destroy_task));
  if (capsule) (void)task.release();
  const Ref callable =
      capsule ? Ref::steal(PyCFunction_New(&run_task_def, capsule.get())) : Ref();
  const Ref pool = callable ? import_module("cachier._background") : Ref();
  const Ref accepted = pool ? Ref::steal(interruptibly([&] {
    return PyObject_CallMethod(pool.get(), "submit", "O", callable.get());
  }))
                            : Ref();
  if (accepted) return accepted.get() == Py_True;
  // The interpreter is shutting down, or there is no memory for a thread.
  PyErr_Clear();
  return false;
}

}  // namespace

bool start_refresh_of(PyObject* self, const Arguments& arguments,
                      std::unique_ptr<engine::Refresh> ticket) noexcept {
  try {
    return submit(std::make_unique<RefreshTask>(self, arguments, std::move(ticket)));
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void start_cleanup_of(PyObject* self, Duration stale_after) noexcept {
  try {
    (void)submit(std::make_unique<CleanupTask>(self, stale_after));
  } catch (const std::bad_alloc&) {
    return;  // the next call that is due tries again
  }
}

}  // namespace cachier::python

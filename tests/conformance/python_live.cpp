/// The Python module's store of live objects, in an interpreter of the test's own.

#include "live_store.hpp"

#include "conformance/conformance.hpp"

#include <mutex>

/// An interpreter keeps what it has to the end: nothing of that is a leak of ours.
extern "C" [[gnu::visibility("default")]] const char* __asan_default_options() {
  return "detect_leaks=0";
}

namespace cachier::conformance {
namespace {

/// Holds the interpreter's lock, which serializes the store.
class WithGil {
 public:
  WithGil() noexcept : state_(PyGILState_Ensure()) {}
  ~WithGil() { PyGILState_Release(state_); }
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;

 private:
  PyGILState_STATE state_;
};

void start_python() {
  static std::once_flag started;
  std::call_once(started, [] {
    Py_InitializeEx(0);
    PyEval_SaveThread();
  });
}

/// The store as threads without the lock may use it.
class Bridge final : public Store {
 public:
  Bridge() {
    const WithGil gil;
    store_ = std::make_unique<python::LiveStore>();
  }
  ~Bridge() override {
    const WithGil gil;
    store_.reset();
    python::drop_what_is_dead();
  }

  Capabilities capabilities() const noexcept override { return store_->capabilities(); }
  Result<Look> look(const Id& id, const Ask& ask, Deadline deadline) noexcept override {
    const WithGil gil;
    return store_->look(id, ask, deadline);
  }
  Result<Version> commit(const Id& id, const Change& change,
                         Deadline deadline) noexcept override {
    const WithGil gil;
    return store_->commit(id, change, deadline);
  }
  Result<Page> scan(const Filter& filter, const Cursor& from,
                    Deadline deadline) noexcept override {
    const WithGil gil;
    return store_->scan(filter, from, deadline);
  }
  Result<std::uint64_t> clear(const Filter& filter, Clear what,
                              Deadline deadline) noexcept override {
    const WithGil gil;
    return store_->clear(filter, what, deadline);
  }
  std::unique_ptr<Watch> watch(const Id& id) noexcept override {
    const WithGil gil;
    return std::make_unique<Waiting>(store_->watch(id));
  }
  StoreMetrics metrics() const noexcept override {
    const WithGil gil;
    return store_->metrics();
  }
  std::string location() const override { return store_->location(); }

 private:
  class Waiting final : public Watch {
   public:
    explicit Waiting(std::unique_ptr<Watch> watch) : watch_(std::move(watch)) {}
    ~Waiting() override {
      const WithGil gil;
      watch_.reset();
    }
    void wait(Deadline deadline) noexcept override {
      const WithGil gil;
      watch_->wait(deadline);
    }

   private:
    std::unique_ptr<Watch> watch_;
  };

  std::unique_ptr<python::LiveStore> store_;
};

class PythonSubject final : public Subject {
 public:
  PythonSubject() { start_python(); }

  std::shared_ptr<Store> open() override { return std::make_shared<Bridge>(); }

  [[nodiscard]] Value value_of(std::string text) override {
    const WithGil gil;
    PyObject* const made =
        PyBytes_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
    Value value = Value::of_object(python::share_object(made));
    Py_DECREF(made);
    return value;
  }
  [[nodiscard]] std::string text_of(const Value& value) override {
    const WithGil gil;
    PyObject* const object = python::object_of(value.object());
    return {PyBytes_AsString(object), static_cast<std::size_t>(PyBytes_Size(object))};
  }
  [[nodiscard]] bool keeps_bytes() const override { return false; }
  // A fork has to go through the interpreter: `python/tests` has those.
  [[nodiscard]] bool survives_fork() const override { return false; }
};

INSTANTIATE_TEST_SUITE_P(Python, StoreConformance,
                         ::testing::Values(Candidate{
                             "live", [] { return std::make_unique<PythonSubject>(); }}),
                         name_of_candidate);

}  // namespace
}  // namespace cachier::conformance

/// The Python module's store on the clients that programs bring, in an interpreter of
/// the test's own. `python_clients.py` has the servers.

#include "client_store.hpp"

#include "conformance/conformance.hpp"

#include <cstdlib>
#include <mutex>

#include "live_store.hpp"

/// An interpreter keeps what it has to the end: nothing of that is a leak of ours.
extern "C" [[gnu::visibility("default")]] const char* __asan_default_options() {
  return "detect_leaks=0";
}

namespace cachier::conformance {
namespace {

class WithGil {
 public:
  WithGil() noexcept : state_(PyGILState_Ensure()) {}
  ~WithGil() { PyGILState_Release(state_); }
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;

 private:
  PyGILState_STATE state_;
};

/// `python_clients.py`, imported.
PyObject* clients = nullptr;

/// What a function of it gives for a candidate.
PyObject* call(const char* function, const std::string& candidate) {
  PyObject* const result =
      PyObject_CallMethod(clients, function, "s", candidate.c_str());
  if (result == nullptr) {
    PyErr_Print();
    std::abort();
  }
  return result;
}

constexpr char kSetUp[] = R"(
import site, sys
sys.path[:0] = [HERE, TESTS, PACKAGE]
site.addsitedir(LIBRARIES)
)";

void start_python() {
  static std::once_flag started;
  std::call_once(started, [] {
    Py_InitializeEx(0);
    PyObject* const names = PyDict_New();
    PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
    const auto set = [&](const char* name, const char* path) {
      PyDict_SetItemString(names, name, PyUnicode_FromString(path));
    };
    set("HERE", CACHIER_CONFORMANCE);
    set("TESTS", CACHIER_PYTHON_TESTS);
    set("PACKAGE", CACHIER_PYTHON_PACKAGE);
    set("LIBRARIES", CACHIER_PYTHON_LIBRARIES);
    if (PyRun_String(kSetUp, Py_file_input, names, names) == nullptr ||
        (clients = PyImport_ImportModule("python_clients")) == nullptr) {
      PyErr_Print();
      std::abort();
    }
    PyEval_SaveThread();
  });
}

class ClientSubject final : public Subject {
 public:
  explicit ClientSubject(std::string name) : name_(std::move(name)) {
    start_python();
    const WithGil gil;
    PyObject* const why = call("why_not", name_);
    why_not_ = PyUnicode_AsUTF8(why);
    Py_DECREF(why);
    if (why_not_.empty()) Py_DECREF(call("empty", name_));
  }

  std::shared_ptr<Store> open() override {
    if (!why_not_.empty()) return nullptr;
    const WithGil gil;
    PyObject* const adapter = call("adapter", name_);
    auto store = std::make_shared<python::ClientStore>(adapter, name_);
    Py_DECREF(adapter);
    return store;
  }
  [[nodiscard]] std::string why_not() const override { return why_not_; }
  // A fork has to go through the interpreter: `python/tests` has those.
  [[nodiscard]] bool survives_fork() const override { return false; }

 private:
  std::string name_;
  std::string why_not_;
};

Candidate client(const char* name) {
  return {name, [name] { return std::make_unique<ClientSubject>(name); }};
}

class StopsPython final : public ::testing::Environment {
 public:
  void TearDown() override {
    if (clients == nullptr) return;
    PyGILState_Ensure();
    (void)PyObject_CallMethod(clients, "stop", nullptr);
  }
};
[[maybe_unused]] const auto* const stops =
    ::testing::AddGlobalTestEnvironment(new StopsPython);

INSTANTIATE_TEST_SUITE_P(Python, StoreConformance,
                         ::testing::Values(client("redis"), client("redis_async"),
                                           client("sqlite"), client("postgresql"),
                                           client("mysql"), client("mongo"),
                                           client("mongo_async")),
                         name_of_candidate);

}  // namespace
}  // namespace cachier::conformance

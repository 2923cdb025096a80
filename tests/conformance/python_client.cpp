/// The Python module's store on the clients that programs bring, in an interpreter of
/// the test's own. `python_clients.py` has the servers.

#include "client_store.hpp"

#include "conformance/conformance.hpp"

#include <pthread.h>

#include <csignal>
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

/// The interpreter's library finds its modules where it was installed: a `python3` on
/// PATH, which it would look for, may be another's.
PyStatus start_interpreter() {
  PyConfig config;
  PyConfig_InitPythonConfig(&config);
  config.install_signal_handlers = 0;
  PyStatus status =
      PyConfig_SetBytesString(&config, &config.program_name, "/no/python3");
  if (PyStatus_Exception(status) == 0) status = Py_InitializeFromConfig(&config);
  PyConfig_Clear(&config);
  return status;
}

/// A child has one thread only: what the others held, the interpreter's lock for one,
/// is nobody's there. So forks wait for the lock, and the interpreter is told of them.
thread_local PyGILState_STATE forking_state;

void tell_python_of_forks() {
  (void)::pthread_atfork(
      [] {
        forking_state = PyGILState_Ensure();
        PyOS_BeforeFork();
      },
      [] {
        PyOS_AfterFork_Parent();
        PyGILState_Release(forking_state);
      },
      [] {
        PyOS_AfterFork_Child();
        PyGILState_Release(forking_state);
      });
}

void start_python() {
  static std::once_flag started;
  std::call_once(started, [] {
    // As `python3` does.
    (void)std::signal(SIGPIPE, SIG_IGN);
    if (const PyStatus status = start_interpreter(); PyStatus_Exception(status) != 0) {
      Py_ExitStatusException(status);
    }
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
    tell_python_of_forks();
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
  [[nodiscard]] bool is_slow() const override { return name_ == "s3"; }
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
                                           client("sqlite"), client("sqlite_async"),
                                           client("postgresql"),
                                           client("postgresql_async"), client("mysql"),
                                           client("mongo"), client("mongo_async"),
                                           client("s3")),
                         name_of_candidate);

}  // namespace
}  // namespace cachier::conformance

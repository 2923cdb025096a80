/// The Python module's store on a client, with redis-py and a Redis server, in an
/// interpreter of the test's own. The server is the test's own too.

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

/// Starts a server, and says why not; makes an adapter for it.
constexpr char kSetUp[] = R"(
import site, sys
sys.path[:0] = [TESTS, PACKAGE]
site.addsitedir(LIBRARIES)
why = ""
try:
    import redis
    from redis_server import RedisServer
    server = RedisServer()
    why = server.why_not
except ImportError as error:
    why = str(error)

def adapter():
    from cachier.adapters._redis_adapter import RedisAdapter
    return RedisAdapter(server.client())

def async_adapter():
    import redis.asyncio
    from cachier.adapters._redis_async_adapter import AsyncRedisAdapter
    return AsyncRedisAdapter(redis.asyncio.Redis(port=server.port))

def empty():
    server.client().flushall()
)";

PyObject* globals = nullptr;

PyObject* call(const char* function) {
  PyObject* const found = PyDict_GetItemString(globals, function);
  PyObject* const result = PyObject_CallNoArgs(found);
  if (result == nullptr) {
    PyErr_Print();
    std::abort();
  }
  return result;
}

/// Why there is no server; empty: there is one.
const std::string& start_python() {
  static std::string why;
  static std::once_flag started;
  std::call_once(started, [] {
    Py_InitializeEx(0);
    globals = PyDict_New();
    PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins());
    PyDict_SetItemString(globals, "TESTS", PyUnicode_FromString(CACHIER_PYTHON_TESTS));
    PyDict_SetItemString(globals, "PACKAGE",
                         PyUnicode_FromString(CACHIER_PYTHON_PACKAGE));
    PyDict_SetItemString(globals, "LIBRARIES",
                         PyUnicode_FromString(CACHIER_PYTHON_LIBRARIES));
    if (PyRun_String(kSetUp, Py_file_input, globals, globals) == nullptr) {
      PyErr_Print();
      std::abort();
    }
    why = PyUnicode_AsUTF8(PyDict_GetItemString(globals, "why"));
    PyEval_SaveThread();
  });
  return why;
}

void stop_python() {
  PyGILState_Ensure();
  (void)PyRun_String("server.stop()", Py_file_input, globals, globals);
}

class RedisSubject final : public Subject {
 public:
  /// `adapter`: the function that gives it.
  explicit RedisSubject(const char* adapter) : adapter_(adapter) {
    why_not_ = start_python();
    if (!why_not_.empty()) return;
    const WithGil gil;
    Py_DECREF(call("empty"));
  }

  std::shared_ptr<Store> open() override {
    if (!why_not_.empty()) return nullptr;
    const WithGil gil;
    PyObject* const adapter = call(adapter_);
    auto store = std::make_shared<python::ClientStore>(adapter, "redis");
    Py_DECREF(adapter);
    return store;
  }
  [[nodiscard]] std::string why_not() const override { return why_not_; }
  // A fork has to go through the interpreter: `python/tests` has those.
  [[nodiscard]] bool survives_fork() const override { return false; }

 private:
  const char* adapter_;
  std::string why_not_;
};

class StopsPython final : public ::testing::Environment {
 public:
  void TearDown() override {
    if (globals != nullptr) stop_python();
  }
};
[[maybe_unused]] const auto* const stops =
    ::testing::AddGlobalTestEnvironment(new StopsPython);

Candidate candidate(std::string name, const char* adapter) {
  return {std::move(name), [=] { return std::make_unique<RedisSubject>(adapter); }};
}

INSTANTIATE_TEST_SUITE_P(Python, StoreConformance,
                         ::testing::Values(candidate("redis", "adapter"),
                                           candidate("redis_async", "async_adapter")),
                         name_of_candidate);

}  // namespace
}  // namespace cachier::conformance

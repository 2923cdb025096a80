/// `cachier._core.Store`: a store that decorated functions share.

#include "python.hpp"

#include <structmember.h>

#include <cachier/backend.hpp>

#include <algorithm>
#include <vector>

#include "cached.hpp"
#include "client_store.hpp"
#include "objects.hpp"
#include "without_gil.hpp"

namespace cachier::python {

PyTypeObject* store_handle_type = nullptr;

namespace {

/// All that live, for what must be done to them after a fork. Under the GIL.
std::vector<LiveStore*>& live_stores() {
  static auto* const stores = new std::vector<LiveStore*>;
  return *stores;
}

StoreHandle& handle_of(PyObject* self) noexcept {
  return *reinterpret_cast<StoreHandle*>(self);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  StoreHandle& handle = handle_of(self);
  // Objects of a call that goes on are held by it as well, which the collector sees.
  return handle.live != nullptr ? handle.live->traverse(visit, arg) : 0;
}

int clear(PyObject* self) {
  StoreHandle& handle = handle_of(self);
  if (handle.live != nullptr) {
    handle.live->drop_all();
    drop_what_is_dead();
  }
  return 0;
}

void deallocate(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  StoreHandle& handle = handle_of(self);
  if (handle.live != nullptr) std::erase(live_stores(), handle.live);
  delete handle.store;
  delete handle.spec;
  type->tp_free(self);
  Py_DECREF(type);
  drop_what_is_dead();
}

PyObject* get_location(PyObject* self, void*) {
  const std::string location = location_of(self);
  return PyUnicode_DecodeFSDefaultAndSize(location.data(),
                                          static_cast<Py_ssize_t>(location.size()));
}

PyObject* get_adapter(PyObject* self, void*) {
  const StoreHandle& handle = handle_of(self);
  const auto* const client = dynamic_cast<const ClientStore*>(handle.store->get());
  Ref adapter = client != nullptr ? client->awaited() : Ref();
  return adapter ? adapter.release() : Py_NewRef(Py_None);
}

PyObject* get_metrics(PyObject* self, void*) {
  const StoreHandle& handle = handle_of(self);
  const StoreMetrics metrics =
      *handle.store != nullptr ? (*handle.store)->metrics() : StoreMetrics{};
  const auto number = [](std::uint64_t count) {
    return static_cast<unsigned long long>(count);
  };
  return Py_BuildValue(
      "{s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K}", "near_hits",
      number(metrics.near_hits), "store_hits", number(metrics.store_hits), "absent",
      number(metrics.absent), "stale", number(metrics.stale), "empty",
      number(metrics.empty), "unreadable", number(metrics.unreadable), "damaged",
      number(metrics.damaged), "untrusted", number(metrics.untrusted), "collisions",
      number(metrics.collisions), "failures", number(metrics.failures), "evictions",
      number(metrics.evictions), "set_aside", number(metrics.set_aside));
}

PyGetSetDef properties[] = {
    {"adapter", get_adapter, nullptr, "What is awaited for it; None: it blocks.",
     nullptr},
    {"metrics", guarded<get_metrics>, nullptr, "What it did for this process, by name.",
     nullptr},
    {"location", guarded<get_location>, nullptr,
     "Where the store lives, for people: a directory, or \"memory\".", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("A store of results.")},
                       {Py_tp_traverse, as_slot(traverse)},
                       {Py_tp_clear, as_slot(clear)},
                       {Py_tp_dealloc, as_slot(deallocate)},
                       {Py_tp_getset, properties},
                       {0, nullptr}};

PyType_Spec spec = {
    "cachier._core.Store", sizeof(StoreHandle), 0,
    static_cast<unsigned>(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                          Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    slots};

}  // namespace

PyTypeObject* add_type(PyObject* module, PyType_Spec& of, PyTypeObject*& kept) {
  if (kept == nullptr) {
    kept =
        reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &of, nullptr));
  }
  if (kept == nullptr || PyModule_AddType(module, kept) < 0) return nullptr;
  return kept;
}

bool add_store_handle_type(PyObject* module) {
  return add_type(module, spec, store_handle_type) != nullptr;
}

Result<std::shared_ptr<Store>> store_of(PyObject* handle) {
  StoreHandle& of = handle_of(handle);
  if (*of.store != nullptr) return *of.store;
  auto opened = [&] {
    const StoreSpec wanted = *of.spec;
    const WithGilReleased released;
    return open_store(wanted);
  }();
  if (!opened) return opened;
  // Another thread may have been faster; stores of one directory are one object.
  if (*of.store == nullptr) *of.store = without_gil(*opened);
  return *of.store;
}

std::string location_of(PyObject* handle) {
  const StoreHandle& of = handle_of(handle);
  return *of.store != nullptr ? (*of.store)->location() : of.spec->cache_dir;
}

PyObject* open_store_handle(PyObject*, PyObject* arguments) {
  const char* backend = nullptr;
  PyObject* directory = nullptr;
  int separate_files = 0;
  if (!PyArg_ParseTuple(arguments, "sO&|p", &backend, PyUnicode_FSConverter, &directory,
                        &separate_files)) {
    return nullptr;
  }
  const Ref path = Ref::steal(directory);
  auto store = std::make_unique<std::shared_ptr<Store>>();
  auto wanted = std::make_unique<StoreSpec>();
  LiveStore* live = nullptr;
  wanted->backend = backend;
  wanted->separate_files = separate_files != 0;
  wanted->cache_dir.assign(PyBytes_AS_STRING(path.get()),
                           static_cast<std::size_t>(PyBytes_GET_SIZE(path.get())));
  if (wanted->backend == "memory") {
    auto made = std::make_shared<LiveStore>();
    live = made.get();
    *store = std::move(made);
  }
  Ref self = Ref::steal(store_handle_type->tp_alloc(store_handle_type, 0));
  if (!self) return nullptr;
  StoreHandle& handle = handle_of(self.get());
  handle.store = store.release();
  handle.spec = wanted.release();
  handle.live = live;
  if (live != nullptr) live_stores().push_back(live);
  // A directory that cannot be used is told by the calls: programs must not fail on
  // being imported. A name that leads to no backend is told at once.
  const bool local =
      handle.spec->backend == "pickle" || handle.spec->backend == "local";
  if (live == nullptr && !local) {
    const auto opened = store_of(self.get());
    if (!opened) return raise_error(opened.error());
  }
  return self.release();
}

PyObject* open_client_store(PyObject*, PyObject* arguments) {
  PyObject* adapter = nullptr;
  const char* name = nullptr;
  if (!PyArg_ParseTuple(arguments, "Os", &adapter, &name)) return nullptr;
  auto store = std::make_unique<std::shared_ptr<Store>>(
      std::make_shared<ClientStore>(adapter, name));
  auto wanted = std::make_unique<StoreSpec>();
  wanted->backend = name;
  Ref self = Ref::steal(store_handle_type->tp_alloc(store_handle_type, 0));
  if (!self) return nullptr;
  StoreHandle& handle = handle_of(self.get());
  handle.store = store.release();
  handle.spec = wanted.release();
  return self.release();
}

void live_stores_after_fork() noexcept {
  for (LiveStore* const store : live_stores()) store->after_fork_in_child();
}

}  // namespace cachier::python

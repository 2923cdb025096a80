#include "file_buffer.hpp"

#include <new>
#include <utility>

#include "objects.hpp"

namespace cachier::python {
namespace {

PyTypeObject* file_buffer_type = nullptr;

struct FileBuffer {
  PyObject_HEAD std::shared_ptr<std::byte> owner;
  std::byte* start;
  std::size_t size;
};

FileBuffer& buffer_of(PyObject* self) noexcept {
  return *reinterpret_cast<FileBuffer*>(self);
}

void deallocate(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  buffer_of(self).owner.~shared_ptr();
  type->tp_free(self);
  Py_DECREF(type);
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  FileBuffer& buffer = buffer_of(self);
  return PyBuffer_FillInfo(view, self, buffer.start,
                           static_cast<Py_ssize_t>(buffer.size), 0, flags);
}

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("Bytes of a stored value, of the caller's own.")},
    {Py_tp_dealloc, as_slot(deallocate)},
    {Py_bf_getbuffer, as_slot(get_buffer)},
    {0, nullptr}};

PyType_Spec spec = {
    "cachier._core.FileBuffer", sizeof(FileBuffer), 0,
    static_cast<unsigned>(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
                          Py_TPFLAGS_DISALLOW_INSTANTIATION),
    slots};

}  // namespace

bool add_file_buffer_type(PyObject* module) {
  return add_type(module, spec, file_buffer_type) != nullptr;
}

Ref make_file_buffer(std::shared_ptr<std::byte> owner, std::byte* start,
                     std::size_t size) {
  Ref self = Ref::steal(file_buffer_type->tp_alloc(file_buffer_type, 0));
  if (!self) return self;
  FileBuffer& buffer = buffer_of(self.get());
  ::new (&buffer.owner) std::shared_ptr<std::byte>(std::move(owner));
  buffer.start = start;
  buffer.size = size;
  return self;
}

}  // namespace cachier::python

#include "value_codec.hpp"

#include <cachier/cbor.hpp>
#include <cachier/key.hpp>

#include <algorithm>
#include <string>
#include <unordered_set>
#include <vector>

#include "file_buffer.hpp"
#include "key_types.hpp"
#include "key_walk.hpp"

namespace cachier::python {
namespace {

/// Arrays of a mapped value begin where vector units like them.
constexpr std::size_t kAlignment = 64;
/// Buffers under this stay in the pickle stream.
constexpr Py_ssize_t kSmallBuffer = 512;

/// Writes exact builtin types. Runs no code of anybody's but finalizers: the collector
/// may begin where an iterator is made. They may change what is being written, and drop
/// what it holds.
class ValueWriter {
 public:
  explicit ValueWriter(cbor::Writer& writer) noexcept : writer_(writer) {}

  /// False: not of this codec; or an exception is set.
  bool write(PyObject* object) {
    PyTypeObject* const type = Py_TYPE(object);
    if (type == &PyFloat_Type) {
      writer_.real64(PyFloat_AS_DOUBLE(object));
      return true;
    }
    if (write_simple(writer_, object)) return true;
    const Ref kept = Ref::borrow(object);
    if (type == &PyLong_Type) return write_int(writer_, object);
    if (type == &PyUnicode_Type) return write_str(writer_, object);
    if (type == &PyComplex_Type) {
      write_tag(writer_, Tag::complex);
      writer_.array(2);
      writer_.real64(PyComplex_RealAsDouble(object));
      writer_.real64(PyComplex_ImagAsDouble(object));
      return true;
    }
    if (depth_ == kMaxNesting) return false;
    ++depth_;
    const bool written = write_container(object, type);
    --depth_;
    return written;
  }

 private:
  static constexpr std::size_t kMaxNesting = 100;

  bool write_container(PyObject* object, PyTypeObject* type) {
    if (type == &PyTuple_Type) {
      if (PyTuple_GET_SIZE(object) > 0 && !is_first_visit(object)) return false;
      write_tag(writer_, Tag::tuple);
      const Py_ssize_t size = PyTuple_GET_SIZE(object);
      writer_.array(static_cast<std::uint64_t>(size));
      for (Py_ssize_t at = 0; at < size; ++at) {
        if (!write(PyTuple_GET_ITEM(object, at))) return false;
      }
      return true;
    }
    if (type == &PyFrozenSet_Type) {
      if (PySet_GET_SIZE(object) > 0 && !is_first_visit(object)) return false;
      write_tag(writer_, Tag::frozenset);
      return write_set(object);
    }
    if (type == &PyList_Type) {
      if (!is_first_visit(object)) return false;
      const Py_ssize_t size = PyList_GET_SIZE(object);
      writer_.array(static_cast<std::uint64_t>(size));
      for (Py_ssize_t at = 0; at < size; ++at) {
        // It may be shorter by now.
        if (PyList_GET_SIZE(object) != size || !write(PyList_GET_ITEM(object, at))) {
          return false;
        }
      }
      return true;
    }
    if (type == &PyDict_Type) {
      if (!is_first_visit(object)) return false;
      return write_dict(object);
    }
    if (type == &PySet_Type) {
      if (!is_first_visit(object)) return false;
      write_tag(writer_, Tag::set);
      return write_set(object);
    }
    if (type == &PyByteArray_Type) {
      if (!is_first_visit(object)) return false;
      write_tag(writer_, Tag::bytearray);
      writer_.bytes(as_bytes({PyByteArray_AS_STRING(object),
                              static_cast<std::size_t>(PyByteArray_GET_SIZE(object))}));
      return true;
    }
    return false;
  }

  bool write_dict(PyObject* dict) {
    const Py_ssize_t size = PyDict_GET_SIZE(dict);
    writer_.map(static_cast<std::uint64_t>(size));
    Py_ssize_t position = 0;
    Py_ssize_t count = 0;
    PyObject *key = nullptr, *value = nullptr;
    while (PyDict_Next(dict, &position, &key, &value) != 0) {
      ++count;
      // Writing one of these runs nothing.
      const bool plain = PyLong_CheckExact(key) ||
                         (PyUnicode_CheckExact(key) && PyUnicode_IS_COMPACT_ASCII(key));
      const Ref kept = plain ? Ref() : Ref::borrow(value);
      if (!write(key) || !write(value)) return false;
      if (PyDict_GET_SIZE(dict) != size) return false;
    }
    return count == size;
  }

  bool write_set(PyObject* set) {
    const Py_ssize_t size = PySet_GET_SIZE(set);
    writer_.array(static_cast<std::uint64_t>(size));
    const Ref items = Ref::steal(PyObject_GetIter(set));
    if (!items) return false;
    Py_ssize_t count = 0;
    while (PySet_GET_SIZE(set) == size) {
      const Ref item = Ref::steal(PyIter_Next(items.get()));
      if (!item) return !PyErr_Occurred() && count == size;
      ++count;
      if (!write(item.get())) return false;
    }
    return false;
  }

  bool is_first_visit(PyObject* container) {
    // What has no reference but the one that led here, and ours, cannot be reached by
    // another way.
    return Py_REFCNT(container) == 2 || seen_.insert(container).second;
  }

  cbor::Writer& writer_;
  std::size_t depth_ = 0;
  std::unordered_set<PyObject*> seen_;
};

class ValueReader {
 public:
  explicit ValueReader(Bytes bytes) noexcept : reader_(bytes) {}

  /// The one item that is there. Null: an exception is set.
  Ref read_all() {
    Ref object = read();
    if (object && !reader_.finish()) object = Ref();
    if (!object && PyErr_Occurred() == nullptr) {
      if (reader_.failed()) {
        PyErr_SetString(PyExc_ValueError, reader_.error().message().c_str());
      } else {
        PyErr_SetString(PyExc_ValueError, "the stored value has an item of no type");
      }
    }
    return object;
  }

 private:
  Ref read() {
    cbor::Item item;
    if (!reader_.next(item)) return {};
    switch (item.kind) {
      case cbor::Kind::unsigned_int:
        return Ref::steal(PyLong_FromUnsignedLongLong(item.number));
      case cbor::Kind::negative:
        if (item.number <=
            static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
          return Ref::steal(
              PyLong_FromLongLong(static_cast<std::int64_t>(~item.number)));
        }
        return inverted(Ref::steal(PyLong_FromUnsignedLongLong(item.number)));
      case cbor::Kind::bytes:
        return Ref::steal(PyBytes_FromStringAndSize(chars(item), length(item)));
      case cbor::Kind::text:
        return Ref::steal(PyUnicode_DecodeUTF8(chars(item), length(item), nullptr));
      case cbor::Kind::array:
        return read_list(item.number);
      case cbor::Kind::map:
        return read_dict(item.number);
      case cbor::Kind::tag:
        return read_tagged(static_cast<Tag>(item.number));
      case cbor::Kind::real:
        return Ref::steal(PyFloat_FromDouble(item.real));
      case cbor::Kind::simple:
        if (item.number == cbor::kNull) return Ref::borrow(Py_None);
        if (item.number == cbor::kTrue) return Ref::borrow(Py_True);
        if (item.number == cbor::kFalse) return Ref::borrow(Py_False);
        return {};
    }
    return {};
  }

  static const char* chars(const cbor::Item& item) noexcept {
    return item.text().data();
  }
  static Py_ssize_t length(const cbor::Item& item) noexcept {
    return static_cast<Py_ssize_t>(item.view.size());
  }
  static Ref inverted(const Ref& number) {
    return number ? Ref::steal(PyNumber_Invert(number.get())) : Ref();
  }

  Ref read_list(std::uint64_t size) {
    Ref list = Ref::steal(PyList_New(static_cast<Py_ssize_t>(size)));
    for (std::uint64_t at = 0; list && at < size; ++at) {
      Ref item = read();
      if (!item) return {};
      PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(at), item.release());
    }
    return list;
  }

  Ref read_tuple() {
    std::uint64_t size = 0;
    if (!reader_.array(size)) return {};
    Ref tuple = Ref::steal(PyTuple_New(static_cast<Py_ssize_t>(size)));
    for (std::uint64_t at = 0; tuple && at < size; ++at) {
      Ref item = read();
      if (!item) return {};
      PyTuple_SET_ITEM(tuple.get(), static_cast<Py_ssize_t>(at), item.release());
    }
    return tuple;
  }

  Ref read_dict(std::uint64_t size) {
    Ref dict = Ref::steal(PyDict_New());
    for (std::uint64_t at = 0; dict && at < size; ++at) {
      const Ref key = read();
      const Ref value = key ? read() : Ref();
      if (!value || PyDict_SetItem(dict.get(), key.get(), value.get()) < 0) return {};
    }
    if (dict && PyDict_GET_SIZE(dict.get()) != static_cast<Py_ssize_t>(size)) {
      PyErr_SetString(PyExc_ValueError, "the stored value repeats a key");
      return {};
    }
    return dict;
  }

  Ref read_set(Ref set) {
    std::uint64_t size = 0;
    if (!set || !reader_.array(size)) return {};
    for (std::uint64_t at = 0; at < size; ++at) {
      const Ref item = read();
      if (!item || PySet_Add(set.get(), item.get()) < 0) return {};
    }
    if (PySet_GET_SIZE(set.get()) != static_cast<Py_ssize_t>(size)) {
      PyErr_SetString(PyExc_ValueError, "the stored value repeats an item of a set");
      return {};
    }
    return set;
  }

  Ref read_big(bool negative) {
    Bytes bytes;
    if (!reader_.bytes(bytes)) return {};
    const Ref digits = Ref::steal(PyBytes_FromStringAndSize(
        as_text(bytes).data(), static_cast<Py_ssize_t>(bytes.size())));
    Ref number =
        digits
            ? Ref::steal(PyObject_CallMethod(reinterpret_cast<PyObject*>(&PyLong_Type),
                                             "from_bytes", "Os", digits.get(), "big"))
            : Ref();
    return negative ? inverted(number) : number;
  }

  Ref read_tagged(Tag tag) {
    switch (tag) {
      case Tag::positive_bignum:
      case Tag::negative_bignum:
        return read_big(tag == Tag::negative_bignum);
      case Tag::tuple:
        return read_tuple();
      case Tag::set:
        return read_set(Ref::steal(PySet_New(nullptr)));
      case Tag::frozenset:
        return read_set(Ref::steal(PyFrozenSet_New(nullptr)));
      case Tag::other_text: {
        Bytes bytes;
        if (!reader_.bytes(bytes)) return {};
        return Ref::steal(PyUnicode_DecodeUTF8(as_text(bytes).data(),
                                               static_cast<Py_ssize_t>(bytes.size()),
                                               "surrogatepass"));
      }
      case Tag::bytearray: {
        Bytes bytes;
        if (!reader_.bytes(bytes)) return {};
        return Ref::steal(PyByteArray_FromStringAndSize(
            as_text(bytes).data(), static_cast<Py_ssize_t>(bytes.size())));
      }
      case Tag::complex: {
        std::uint64_t parts = 0;
        double real = 0;
        double imaginary = 0;
        if (!reader_.array(parts) || parts != 2 || !reader_.real(real) ||
            !reader_.real(imaginary)) {
          return {};
        }
        return Ref::steal(PyComplex_FromDoubles(real, imaginary));
      }
      case Tag::datetime:
      case Tag::date:
      case Tag::timedelta:
      case Tag::path:
        return read_of_library(tag);
      default:
        return {};
    }
  }

  /// What C++ writes as these, from an array of arguments.
  Ref read_of_library(Tag tag) {
    Ref parts;
    if (tag == Tag::path) {
      const Ref text = read();
      if (!text || !PyUnicode_Check(text.get())) return {};
      parts = Ref::steal(PyTuple_Pack(1, text.get()));
    } else {
      parts = read_numbers(tag == Tag::datetime);
    }
    const Ref reader = parts ? import_module("cachier._values") : Ref();
    if (!reader) return {};
    const char* const name = tag == Tag::path        ? "path"
                             : tag == Tag::timedelta ? "timedelta"
                             : tag == Tag::date      ? "date"
                                                     : "datetime";
    const Ref make = Ref::steal(PyObject_GetAttrString(reader.get(), name));
    return make ? Ref::steal(interruptibly(
                      [&] { return PyObject_CallObject(make.get(), parts.get()); }))
                : Ref();
  }

  /// The numbers of a date or a time, and as last the offset of its zone where it has
  /// one. A time that is finer than Python's is of no use here.
  Ref read_numbers(bool with_zone) {
    std::uint64_t size = 0;
    if (!reader_.array(size)) return {};
    const Ref list = Ref::steal(PyList_New(0));
    for (std::uint64_t at = 0; list && at < size; ++at) {
      if (with_zone && at == 7) {
        std::uint64_t parts = 0;
        if (!reader_.tag(static_cast<std::uint64_t>(Tag::timezone)) ||
            !reader_.array(parts) || parts != 1) {
          return {};
        }
      }
      std::int64_t number = 0;
      if (!reader_.integer(number)) return {};
      const Ref item = Ref::steal(PyLong_FromLongLong(number));
      if (!item || PyList_Append(list.get(), item.get()) < 0) return {};
    }
    return list ? Ref::steal(PyList_AsTuple(list.get())) : Ref();
  }

  cbor::Reader reader_;
};

/// `pickle.dumps` and `pickle.loads`, imported when first needed.
PyObject* pickle_function(const char* name, PyObject*& kept) {
  if (kept == nullptr) {
    const Ref module = import_module("pickle");
    if (module) kept = PyObject_GetAttrString(module.get(), name);
  }
  return kept;
}

/// Whether a buffer stays in the stream: the `buffer_callback` of `pickle.dumps`, bound
/// to the list that takes the others.
PyObject* take_buffer(PyObject* list, PyObject* buffer) {
  Py_buffer view;
  if (PyObject_GetBuffer(buffer, &view, PyBUF_FULL_RO) < 0) return nullptr;
  const bool contiguous = PyBuffer_IsContiguous(&view, 'A') != 0;
  const Py_ssize_t size = view.len;
  PyBuffer_Release(&view);
  if (size < kSmallBuffer || !contiguous) return Py_NewRef(Py_True);
  if (PyList_Append(list, buffer) < 0) return nullptr;
  return Py_NewRef(Py_False);
}

PyMethodDef take_buffer_def = {"take_buffer", take_buffer, METH_O, nullptr};

std::size_t head_size(std::size_t number) noexcept {
  if (number < 24) return 1;
  if (number <= 0xff) return 2;
  if (number <= 0xffff) return 3;
  return number <= 0xffffffff ? 5 : 9;
}

/// How much padding puts the content of a buffer of `size` bytes at the alignment, if
/// the padding's head comes at `at`.
std::size_t padding_before(std::size_t at, std::size_t size) noexcept {
  std::size_t padding = 0;
  while ((at + head_size(padding) + padding + head_size(size)) % kAlignment != 0) {
    ++padding;
  }
  return padding;
}

/// The C-contiguous bytes of a buffer for as long as this lives.
class RawBuffer {
 public:
  explicit RawBuffer(PyObject* buffer) {
    const Ref raw = Ref::steal(PyObject_CallMethod(buffer, "raw", nullptr));
    held_ = raw && PyObject_GetBuffer(raw.get(), &view_, PyBUF_SIMPLE) == 0;
  }
  RawBuffer(const RawBuffer&) = delete;
  RawBuffer& operator=(const RawBuffer&) = delete;
  ~RawBuffer() {
    if (held_) PyBuffer_Release(&view_);
  }
  explicit operator bool() const noexcept { return held_; }
  [[nodiscard]] Bytes bytes() const noexcept {
    return {static_cast<const std::byte*>(view_.buf),
            static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
  bool held_ = false;
};

Error does_not_pickle() { return Error(ErrorCode::unsupported); }

Error over_limit() { return Error(ErrorCode::too_large); }

Result<Value> pickle(PyObject* object, std::uint64_t size_limit) {
  static PyObject* dumps = nullptr;
  if (pickle_function("dumps", dumps) == nullptr) return does_not_pickle();
  const Ref buffers = Ref::steal(PyList_New(0));
  const Ref take =
      buffers ? Ref::steal(PyCFunction_New(&take_buffer_def, buffers.get())) : Ref();
  const Ref arguments = take ? Ref::steal(PyTuple_Pack(1, object)) : Ref();
  const Ref options = arguments
                          ? Ref::steal(Py_BuildValue("{s:i,s:O}", "protocol", 5,
                                                     "buffer_callback", take.get()))
                          : Ref();
  if (!options) return does_not_pickle();
  const Ref stream = interruptibly(
      [&] { return Ref::steal(PyObject_Call(dumps, arguments.get(), options.get())); });
  if (!stream) return does_not_pickle();

  cbor::Writer writer;
  const Py_ssize_t count = PyList_GET_SIZE(buffers.get());
  writer.array(1 + 2 * static_cast<std::uint64_t>(count));
  writer.bytes(as_bytes({PyBytes_AS_STRING(stream.get()),
                         static_cast<std::size_t>(PyBytes_GET_SIZE(stream.get()))}));
  for (Py_ssize_t at = 0; at < count; ++at) {
    const RawBuffer buffer(PyList_GET_ITEM(buffers.get(), at));
    if (!buffer) return does_not_pickle();
    static constexpr std::array<std::byte, 2 * kAlignment> kZeros{};
    const Bytes bytes = buffer.bytes();
    writer.bytes(Bytes(kZeros).first(padding_before(writer.size(), bytes.size())));
    writer.bytes(bytes);
    if (writer.size() > size_limit) return over_limit();
  }
  if (writer.size() > size_limit) return over_limit();
  return Value::of_bytes(Codec::pickle, writer.take());
}

/// Hands out the buffers of a pickled value, each of them the caller's own.
class OwnBuffers {
 public:
  OwnBuffers(const Value& value, Buffers how) : value_(value.bytes()) {
    const FileBytes* const file = value.file();
    if (file == nullptr || how == Buffers::copied) return;
    copy_ = file->private_copy();
    if (copy_) start_ = copy_.get() + (value_.data() - file->bytes().data());
  }

  Ref buffer_of(Bytes content) const {
    if (copy_ && !content.empty()) {
      return make_file_buffer(copy_, start_ + (content.data() - value_.data()),
                              content.size());
    }
    return Ref::steal(PyByteArray_FromStringAndSize(
        as_text(content).data(), static_cast<Py_ssize_t>(content.size())));
  }

 private:
  const Bytes value_;
  std::shared_ptr<std::byte> copy_;
  std::byte* start_ = nullptr;  ///< of the value in the copy
};

Ref unpickle(const Value& value, Buffers how) {
  const OwnBuffers own(value, how);
  static PyObject* loads = nullptr;
  if (pickle_function("loads", loads) == nullptr) return {};
  cbor::Reader reader(value.bytes());
  std::uint64_t items = 0;
  Bytes stream;
  if (!reader.array(items) || items % 2 == 0 || !reader.bytes(stream)) {
    PyErr_SetString(PyExc_ValueError, "the stored value is not a pickle");
    return {};
  }
  const Ref buffers = Ref::steal(PyList_New(0));
  for (std::uint64_t at = 1; buffers && at < items; at += 2) {
    Bytes padding;
    Bytes content;
    if (!reader.bytes(padding) || !reader.bytes(content)) {
      PyErr_SetString(PyExc_ValueError, "the stored value lacks a buffer");
      return {};
    }
    const Ref buffer = own.buffer_of(content);
    if (!buffer || PyList_Append(buffers.get(), buffer.get()) < 0) return {};
  }
  const Ref copy = Ref::steal(PyBytes_FromStringAndSize(
      as_text(stream).data(), static_cast<Py_ssize_t>(stream.size())));
  const Ref arguments = copy ? Ref::steal(PyTuple_Pack(1, copy.get())) : Ref();
  const Ref options = arguments && buffers
                          ? Ref::steal(Py_BuildValue("{s:O}", "buffers", buffers.get()))
                          : Ref();
  if (!options) return {};
  Ref object = interruptibly(
      [&] { return Ref::steal(PyObject_Call(loads, arguments.get(), options.get())); });
  if (object && value.file() != nullptr && !value.file()->is_unchanged()) {
    PyErr_SetString(PyExc_ValueError, "the value's file changed while it was read");
    return {};
  }
  return object;
}

}  // namespace

Result<Value> encode_value(PyObject* object, std::uint64_t size_limit,
                           Pickles pickles) {
  Result<Value> value = over_limit();
  cbor::Writer writer;
  if (ValueWriter(writer).write(object)) {
    if (writer.size() > size_limit) return over_limit();
    value = Value::of_bytes(Codec::cbor, writer.take());
  } else {
    if (PyErr_Occurred() != nullptr) return does_not_pickle();
    if (pickles == Pickles::refused) {
      PyErr_Format(PyExc_TypeError,
                   "codec='safe' stores plain data only: numbers, texts, bytes, "
                   "and lists, tuples, sets and dicts of them, each in one place; this "
                   "%s is or has something else\n  fix: return plain data, or store "
                   "pickles, with a signing_key where others can write to the store",
                   Py_TYPE(object)->tp_name);
      return does_not_pickle();
    }
    value = pickle(object, size_limit);
  }
  if (value) value->set_none(object == Py_None);
  return value;
}

Ref decode_value(const Value& value, Buffers buffers, Pickles pickles) {
  if (value.fingerprint() != 0) {
    PyErr_SetString(PyExc_ValueError,
                    "the stored value is of a C++ type that is described otherwise");
    return {};
  }
  switch (value.codec()) {
    case Codec::live:
      break;
    case Codec::cbor:
      return ValueReader(value.bytes()).read_all();
    case Codec::pickle:
      if (pickles == Pickles::taken) return unpickle(value, buffers);
      PyErr_SetString(PyExc_ValueError,
                      "the stored value is a pickle, which codec='safe' refuses");
      return {};
  }
  PyErr_SetString(PyExc_ValueError, "the stored value is of an unknown codec");
  return {};
}

}  // namespace cachier::python

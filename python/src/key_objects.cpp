/// Classes, functions, and objects that are written by their parts.

#include <algorithm>
#include <memory>

#include "key_types.hpp"
#include "key_walk.hpp"
#include "objects.hpp"

namespace cachier::python {
namespace {

/// Classes whose making one key may have in it.
constexpr std::size_t kMaxDescribed = 10'000;

using CodeDigest = std::array<std::byte, 16>;

CodeDigest first_half_of_hash(Bytes bytes) noexcept {
  const KeptKey hash(bytes, true);
  CodeDigest half;
  std::copy_n(hash.bytes().begin(), half.size(), half.begin());
  return half;
}

bool is_empty(PyObject* state) noexcept {
  return state == nullptr || state == Py_None ||
         (PyDict_CheckExact(state) && PyDict_GET_SIZE(state) == 0);
}

PyObject* as_object(PyTypeObject* type) noexcept {
  return reinterpret_cast<PyObject*>(type);
}

bool is_a(PyObject* object, PyObject* type) noexcept {
  return type != nullptr && PyType_Check(type) &&
         PyType_IsSubtype(Py_TYPE(object), reinterpret_cast<PyTypeObject*>(type)) != 0;
}

/// Of a module that may not have been imported; null without an exception then.
Ref imported_type(const char* module, const char* name) {
  const Ref found = imported(module);
  return found ? optional_attribute(found.get(), name) : Ref();
}

/// What a class has beside what its source says: where it was made, what was derived
/// from the rest, and what came of its use.
bool is_beside_the_source(std::string_view name) noexcept {
  constexpr std::array<std::string_view, 10> kNames{
      "__module__",      "__qualname__",
      "__dict__",        "__weakref__",
      "__firstlineno__", "__static_attributes__",
      "_abc_impl",       "__annotations_cache__",
      "__slotnames__",   "__pydantic_parent_namespace__"};
  constexpr std::array<std::string_view, 3> kPrefixes{
      "__pydantic_core_schema", "__pydantic_serializer", "__pydantic_validator"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() ||
         std::any_of(kPrefixes.begin(), kPrefixes.end(),
                     [name](auto prefix) { return name.starts_with(prefix); });
}

/// Of the names with one underscore on either side, an enum makes all but functions.
bool is_sunder(std::string_view name) noexcept {
  return name.size() > 2 && name.front() == '_' && name.back() == '_' && name[1] != '_';
}

}  // namespace

struct KeyWalk::Classes {
  /// The item that stands for a type in this key.
  struct Known {
    Ref type;
    std::vector<std::byte> item;
  };

  std::size_t depth = 0;  ///< how many objects are open in the walks around this one
  /// The classes and functions whose making is being written, outermost first.
  std::vector<PyObject*> described;
  std::vector<Known> known;
  /// How many classes have been described for this key, in all its walks.
  std::shared_ptr<std::size_t> count = std::make_shared<std::size_t>(0);
};

KeyWalk::KeyWalk(cbor::Writer& writer, const KeyWalk& outer) : KeyWalk(writer) {
  classes().depth = outer.depth_around() + outer.open_.size();
  if (outer.classes_ == nullptr) return;
  classes_->described = outer.classes_->described;
  classes_->count = outer.classes_->count;
}

KeyWalk::Classes& KeyWalk::classes() {
  if (classes_ == nullptr) classes_ = new Classes;
  return *classes_;
}

void KeyWalk::forget_classes() noexcept { delete classes_; }

std::size_t KeyWalk::depth_around() const noexcept {
  return classes_ == nullptr ? 0 : classes_->depth;
}

/// The making of this class or function is being written.
class KeyWalk::Describing {
 public:
  Describing(KeyWalk& walk, PyObject* object) : walk_(walk) {
    walk_.classes().described.push_back(object);
  }
  Describing(const Describing&) = delete;
  Describing& operator=(const Describing&) = delete;
  ~Describing() { walk_.classes_->described.pop_back(); }

 private:
  KeyWalk& walk_;
};

/// *T* of the page.
bool KeyWalk::write_type(PyTypeObject* type) {
  const auto& open = classes().described;
  const auto found = std::find(open.rbegin(), open.rend(), as_object(type));
  if (found != open.rend()) {
    writer_.unsigned_int(static_cast<std::uint64_t>(found - open.rbegin()));
    return true;
  }
  // Within a class or function, what is written depends on where.
  const bool kept = open.empty();
  if (kept) {
    for (const Classes::Known& known : classes_->known) {
      if (known.type.get() != as_object(type)) continue;
      writer_.raw(known.item);
      return true;
    }
  }
  const std::size_t start = writer_.size();
  Name name;
  if (!name_of(as_object(type), name)) return false;
  // A type of an extension may have no name that Python reaches; nobody makes another.
  if (name.leads_back || (type->tp_flags & Py_TPFLAGS_HEAPTYPE) == 0) {
    writer_.text(name.text);
  } else {
    CodeDigest digest;
    if (!digest_class(type, digest)) {
      if (kept && !reason_.empty() && !PyErr_Occurred()) {
        reason_ = "the class '" + name.text +
                  "' cannot be found by its name, and of what makes it: " + reason_;
      }
      return false;
    }
    writer_.array(2);
    writer_.text(name.text);
    writer_.bytes(digest);
  }
  if (kept) {
    const Bytes item = writer_.view().subspan(start);
    classes_->known.push_back(
        {Ref::borrow(as_object(type)), std::vector(item.begin(), item.end())});
  }
  return true;
}

bool KeyWalk::write_class(PyObject* object) {
  write_tag(writer_, Tag::class_);
  return write_type(reinterpret_cast<PyTypeObject*>(object));
}

/// A class or function within what makes it, by how far out it is.
bool KeyWalk::write_reference(PyObject* object, bool& written) {
  const auto& open = classes().described;
  const auto found = std::find(open.rbegin(), open.rend(), object);
  written = found != open.rend();
  if (!written) return true;
  write_tag(writer_, PyType_Check(object) ? Tag::class_ : Tag::function);
  writer_.unsigned_int(static_cast<std::uint64_t>(found - open.rbegin()));
  return true;
}

bool KeyWalk::digest_class(PyTypeObject* type, std::array<std::byte, 16>& digest) {
  cbor::Writer parts;
  KeyWalk walk(parts, *this);
  {
    const Describing describing(walk, as_object(type));
    if (++walk.classes_->depth >= kMaxNesting) {
      return fail("it nests more than " + std::to_string(kMaxNesting) +
                  " objects within each other");
    }
    // Classes that refer to each other are written once for each way that leads there.
    if (++*walk.classes_->count > kMaxDescribed) {
      return fail("it refers to too many classes that cannot be found by their names");
    }
    if (!walk.write_what_makes(type)) return fail(walk.reason());
  }
  digest = first_half_of_hash(parts.view());
  return true;
}

bool KeyWalk::write_what_makes(PyTypeObject* type) {
  const Ref own = type_dict(type);
  const Ref attributes = own ? Ref::steal(PyDict_Copy(own.get())) : Ref();
  const Ref bases = Ref::borrow(type->tp_bases);
  if (!attributes || !bases) return PyErr_Occurred() == nullptr && fail("no bases");
  PyObject* const members =
      is_a(as_object(type), imported_type("enum", "EnumMeta").get())
          ? PyDict_GetItemString(attributes.get(), "_member_map_")
          : nullptr;
  const bool is_enum = members != nullptr && PyDict_Check(members);
  const bool is_dataclass =
      PyDict_GetItemString(attributes.get(), "__dataclass_fields__") != nullptr;

  writer_.array(is_enum ? 4 : 3);
  if (Py_TYPE(type) == &PyType_Type) {
    writer_.null();
  } else if (!write_type(Py_TYPE(type))) {
    return false;
  }
  writer_.array(static_cast<std::uint64_t>(PyTuple_GET_SIZE(bases.get())));
  for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(bases.get()); ++at) {
    PyObject* const base = PyTuple_GET_ITEM(bases.get(), at);
    if (!write_type(reinterpret_cast<PyTypeObject*>(base))) return false;
  }
  std::vector<std::pair<PyObject*, PyObject*>> parts;
  Py_ssize_t position = 0;
  PyObject *key = nullptr, *value = nullptr;
  while (PyDict_Next(attributes.get(), &position, &key, &value) != 0) {
    if (PyUnicode_Check(key)) {
      const std::string_view name = utf8_of(key);
      if (PyErr_Occurred()) return false;
      if (is_beside_the_source(name)) continue;
      // A dataclass without one is given one, with the addresses of its defaults.
      if (is_dataclass && name == "__doc__") continue;
      if (is_enum) {
        const int is_member = PyDict_Contains(members, key);
        if (is_member < 0) return false;
        if (is_member != 0) continue;
        if (is_sunder(name) && !PyFunction_Check(value) &&
            !is_a(value, as_object(&PyStaticMethod_Type)) &&
            !is_a(value, as_object(&PyClassMethod_Type))) {
          continue;
        }
      }
    }
    parts.emplace_back(key, value);
  }
  writer_.map(parts.size());
  cbor::Sorter sorter(writer_);
  for (const auto& [name, attribute] : parts) {
    sorter.item();
    if (!write(name)) return false;
    if (!write_class_attribute(attribute)) {
      if (classes().described.size() == 1 && !reason_.empty() && !PyErr_Occurred() &&
          PyUnicode_Check(name)) {
        reason_ = std::string(utf8_of(name)) + ": " + reason_;
        PyErr_Clear();
      }
      return false;
    }
  }
  sorter.finish();
  if (!is_enum) return true;
  const Ref kept = Ref::steal(PyDict_Copy(members));
  if (!kept) return false;
  writer_.array(2 * static_cast<std::uint64_t>(PyDict_GET_SIZE(kept.get())));
  position = 0;
  while (PyDict_Next(kept.get(), &position, &key, &value) != 0) {
    const Ref content = Ref::steal(PyObject_GetAttrString(value, "_value_"));
    if (!content || !write(key)) return false;
    if (Py_TYPE(content.get()) == &PyBaseObject_Type) {
      writer_.simple(cbor::kUndefined);
    } else if (!write(content.get())) {
      return false;
    }
  }
  return true;
}

/// What pydantic was told with decorators: for each sort of them, how each is used. The
/// functions are attributes of the class; how it calls the class differs every time.
static Ref uses_of_decorators(PyObject* infos) {
  Ref uses = Ref::steal(PyDict_New());
  const Ref fields = Ref::steal(PyObject_GetAttrString(infos, "__dataclass_fields__"));
  const Ref sorts = fields ? Ref::steal(PySequence_Tuple(fields.get())) : Ref();
  if (!uses || !sorts) return {};
  for (Py_ssize_t n = 0; n < PyTuple_GET_SIZE(sorts.get()); ++n) {
    PyObject* const sort = PyTuple_GET_ITEM(sorts.get(), n);
    const Ref held = Ref::steal(PyObject_GetAttr(infos, sort));
    PyObject* const decorators = held.get();
    if (decorators == nullptr) return {};
    if (!PyDict_Check(decorators)) {
      if (PyDict_SetItem(uses.get(), sort, decorators) < 0) return {};
      continue;
    }
    const Ref used = Ref::steal(PyDict_New());
    if (!used || PyDict_SetItem(uses.get(), sort, used.get()) < 0) return {};
    Py_ssize_t at = 0;
    PyObject *name = nullptr, *decorator = nullptr;
    while (PyDict_Next(decorators, &at, &name, &decorator) != 0) {
      const Ref info = Ref::steal(PyObject_GetAttrString(decorator, "info"));
      if (!info || PyDict_SetItem(used.get(), name, info.get()) < 0) return {};
    }
  }
  return uses;
}

/// As any object, but what is at home in classes is taken apart, and a lock is a lock.
bool KeyWalk::write_class_attribute(PyObject* value) {
  if (std::string_view(Py_TYPE(value)->tp_name) == "DecoratorInfos" &&
      is_a(value,
           imported_type("pydantic._internal._decorators", "DecoratorInfos").get())) {
    const Ref uses = uses_of_decorators(value);
    return uses && write_dict(uses.get());
  }
  std::vector<const char*> names;
  if (is_a(value, as_object(&PyStaticMethod_Type)) ||
      is_a(value, as_object(&PyClassMethod_Type))) {
    names = {"__func__"};
  } else if (is_a(value, as_object(&PyProperty_Type)) ||
             is_a(value, imported_type("types", "DynamicClassAttribute").get())) {
    names = {"fget", "fset", "fdel", "__doc__"};
  } else if (is_a(value, imported_type("functools", "cached_property").get())) {
    names = {"func", "attrname"};
  } else if (Py_TYPE(value) == &PyGetSetDescr_Type ||
             Py_TYPE(value) == &PyMemberDescr_Type) {
    // Of a class that is written already; its name is beside it.
    writer_.simple(cbor::kUndefined);
    return true;
  } else if (!is_a(value, imported_type("_thread", "LockType").get()) &&
             !is_a(value, imported_type("_thread", "RLock").get())) {
    return write(value);
  }
  if (PyErr_Occurred()) return false;
  write_tag(writer_, Tag::reduced);
  writer_.array(names.empty() ? 1 : 3);
  if (!write_type(Py_TYPE(value))) return false;
  if (names.empty()) return true;
  writer_.null();
  return write_attributes(value, names);
}

bool KeyWalk::write_function(PyObject* object) {
  Name name;
  if (!name_of(object, name)) return false;
  write_tag(writer_, Tag::function);
  if (name.leads_back) {
    writer_.text(name.text);
    return true;
  }
  const Describing describing(*this, object);
  PyObject* const closure = PyFunction_GET_CLOSURE(object);
  const Ref defaults = Ref::borrow(PyFunction_GET_DEFAULTS(object));
  const Ref by_keyword = Ref::borrow(PyFunction_GET_KW_DEFAULTS(object));
  const Ref attributes =
      Ref::borrow(reinterpret_cast<PyFunctionObject*>(object)->func_dict);
  std::size_t parts = 2;
  if (closure != nullptr && PyTuple_GET_SIZE(closure) > 0) parts = 3;
  if (defaults && PyTuple_GET_SIZE(defaults.get()) > 0) parts = 4;
  if (by_keyword && PyDict_GET_SIZE(by_keyword.get()) > 0) parts = 5;
  if (attributes && PyDict_GET_SIZE(attributes.get()) > 0) parts = 6;
  writer_.array(parts);
  writer_.text(name.text);
  if (!write_code(PyFunction_GET_CODE(object))) return false;
  if (parts >= 3 && !write_cells(closure)) return false;
  if (parts >= 4) {
    if (!defaults) {
      writer_.array(0);
    } else if (!write_tuple(defaults.get())) {
      return false;
    }
  }
  if (parts >= 5) {
    if (!by_keyword) {
      writer_.map(0);
    } else if (!write_dict(by_keyword.get())) {
      return false;
    }
  }
  return parts < 6 || write_dict(attributes.get());
}

bool KeyWalk::write_builtin(PyObject* object, bool& known) {
  Name name;
  if (!name_of(object, name)) return false;
  known = name.leads_back;
  if (!known) return true;
  write_tag(writer_, Tag::function);
  writer_.text(name.text);
  return true;
}

/// By its name where it leads back, as the function that it stands for; else by that.
bool KeyWalk::write_cached_function(PyObject* object) {
  const Ref wrapped = Ref::steal(PyObject_GetAttrString(object, "__wrapped__"));
  const Ref called = optional_attribute(object, "__qualname__");
  if (!wrapped || PyErr_Occurred()) return false;
  if (called && PyUnicode_Check(called.get())) {
    Name name;
    if (!name_of(object, name)) return false;
    if (name.leads_back) {
      write_tag(writer_, Tag::function);
      writer_.text(name.text);
      return true;
    }
  }
  write_tag(writer_, Tag::reduced);
  writer_.array(3);
  if (!write_type(Py_TYPE(object))) return false;
  writer_.null();
  writer_.array(1);
  return write(wrapped.get());
}

bool KeyWalk::write_code(PyObject* code) {
  CodeDigest digest;
  if (!digest_code(code, digest)) return false;
  writer_.bytes(digest);
  return true;
}

bool KeyWalk::write_cells(PyObject* closure) {
  const Py_ssize_t size = closure == nullptr ? 0 : PyTuple_GET_SIZE(closure);
  writer_.array(static_cast<std::uint64_t>(size));
  for (Py_ssize_t at = 0; at < size; ++at) {
    const Ref value = Ref::steal(PyCell_Get(PyTuple_GET_ITEM(closure, at)));
    if (!value) {
      writer_.simple(cbor::kUndefined);
    } else if (!write(value.get())) {
      return false;
    }
  }
  return true;
}

bool KeyWalk::is_plain_immutable(PyObject* object) const {
  PyTypeObject* const type = Py_TYPE(object);
  if (object == Py_None || type == &PyBool_Type || type == &PyLong_Type ||
      type == &PyFloat_Type || type == &PyComplex_Type || type == &PyUnicode_Type ||
      type == &PyBytes_Type) {
    return true;
  }
  if (type != &PyTuple_Type && type != &PyFrozenSet_Type) return false;
  // No cycles: these were complete when the next one was made of them.
  const Ref items = Ref::steal(PySequence_Tuple(object));
  if (!items) {
    PyErr_Clear();
    return false;
  }
  for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(items.get()); ++at) {
    if (!is_plain_immutable(PyTuple_GET_ITEM(items.get(), at))) return false;
  }
  return true;
}

bool KeyWalk::digest_code(PyObject* code, std::array<std::byte, 16>& digest) {
  cbor::Writer parts;
  KeyWalk walk(parts);
  const auto attribute = [&](const char* name) {
    const Ref value = Ref::steal(PyObject_GetAttrString(code, name));
    if (!value) return false;
    if (PyTuple_CheckExact(value.get())) return walk.write_tuple(value.get());
    return walk.write(value.get());
  };
  // Where exceptions are caught is not in the code itself, since Python 3.11.
  const bool has_table = PyObject_HasAttrString(code, "co_exceptiontable") != 0;
  parts.array(has_table ? 11 : 10);
  if (!attribute("co_code")) return false;
  const Ref constants = Ref::steal(PyObject_GetAttrString(code, "co_consts"));
  if (!constants) return false;
  const Py_ssize_t size = PyTuple_GET_SIZE(constants.get());
  parts.array(static_cast<std::uint64_t>(size));
  for (Py_ssize_t at = 0; at < size; ++at) {
    PyObject* const constant = PyTuple_GET_ITEM(constants.get(), at);
    const bool written =
        PyCode_Check(constant) ? walk.write_code(constant) : walk.write(constant);
    if (!written) return fail(walk.reason());
  }
  for (const char* const name :
       {"co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount",
        "co_posonlyargcount", "co_kwonlyargcount", "co_flags"}) {
    if (!attribute(name)) return fail(walk.reason());
  }
  if (has_table && !attribute("co_exceptiontable")) return fail(walk.reason());
  digest = first_half_of_hash(parts.view());
  return true;
}

bool KeyWalk::write_enum(PyObject* object) {
  const bool is_flag = is_a(object, stdlib_type(StdlibType::flag));
  write_tag(writer_, Tag::enum_member);
  writer_.array(3);
  if (!write_type(Py_TYPE(object))) return false;
  if (is_flag) {
    if (!write_flag_names(object)) return false;
  } else {
    const Ref name = Ref::steal(PyObject_GetAttrString(object, "_name_"));
    if (!name || !write(name.get())) return false;
  }
  const Ref value = Ref::steal(PyObject_GetAttrString(object, "_value_"));
  if (!value) return false;
  if (Py_TYPE(value.get()) == &PyBaseObject_Type) {
    // A bare object() is a way to say that the name is all.
    writer_.simple(cbor::kUndefined);
    return true;
  }
  return write(value.get());
}

/// The names of the single bits that are set, as an array, sorted. What a combination
/// is called differs from one version of Python to the next.
bool KeyWalk::write_flag_names(PyObject* object) {
  const Ref members =
      Ref::steal(PyObject_GetAttrString(as_object(Py_TYPE(object)), "_member_map_"));
  const Ref value = Ref::steal(PyObject_GetAttrString(object, "_value_"));
  const Ref one = Ref::steal(PyLong_FromLong(1));
  if (!members || !value || !one) return false;
  const Ref names = Ref::steal(PyList_New(0));
  const Ref kept =
      PyDict_Check(members.get()) ? Ref::steal(PyDict_Copy(members.get())) : Ref();
  if (!names || !kept) return false;
  Py_ssize_t position = 0;
  PyObject *name = nullptr, *member = nullptr;
  while (PyDict_Next(kept.get(), &position, &name, &member) != 0) {
    const Ref bit = Ref::steal(PyObject_GetAttrString(member, "_value_"));
    if (!bit) return false;
    if (!PyLong_Check(bit.get()) || !PyLong_Check(value.get())) continue;
    const Ref below = Ref::steal(PyNumber_Subtract(bit.get(), one.get()));
    const Ref rest = below ? Ref::steal(PyNumber_And(bit.get(), below.get())) : Ref();
    const Ref common = rest ? Ref::steal(PyNumber_And(bit.get(), value.get())) : Ref();
    if (!common) return false;
    const int is_single = PyObject_Not(rest.get());
    const int is_set = PyObject_IsTrue(common.get());
    if (is_single < 0 || is_set < 0) return false;
    if (is_single != 0 && is_set != 0 && PyList_Append(names.get(), name) < 0) {
      return false;
    }
  }
  writer_.array(static_cast<std::uint64_t>(PyList_GET_SIZE(names.get())));
  cbor::Sorter sorter(writer_);
  for (Py_ssize_t at = 0; at < PyList_GET_SIZE(names.get()); ++at) {
    sorter.item();
    if (!write(PyList_GET_ITEM(names.get(), at))) return false;
  }
  sorter.finish();
  return true;
}

/// Not complete, and nothing written: it has more than its fields, or not all of them.
bool KeyWalk::write_dataclass(PyObject* object, PyObject* fields, bool& complete) {
  complete = false;
  PyTypeObject* const type = Py_TYPE(object);
  // `ClassVar` and `InitVar` are listed with the fields, told apart by a mark.
  std::vector<std::pair<Ref, Ref>> parts;
  static PyObject* const mark_of = PyUnicode_InternFromString("_field_type");
  static PyObject* const name_of_mark = PyUnicode_InternFromString("name");
  const Ref attributes = instance_dict(object);
  if (PyErr_Occurred()) return false;
  const Ref listed = Ref::steal(PyDict_Copy(fields));
  if (!listed) return false;
  Py_ssize_t in_dict = 0;
  Py_ssize_t in_slots = 0;
  Py_ssize_t position = 0;
  PyObject *name = nullptr, *field = nullptr;
  while (PyDict_Next(listed.get(), &position, &name, &field) != 0) {
    const Ref mark = Ref::steal(PyObject_GetAttr(field, mark_of));
    const Ref kind =
        mark ? Ref::steal(PyObject_GetAttr(mark.get(), name_of_mark)) : Ref();
    if (!kind) return false;
    if (!PyUnicode_Check(kind.get()) ||
        PyUnicode_CompareWithASCIIString(kind.get(), "_FIELD") != 0) {
      continue;
    }
    Ref value;
    if (attributes) {
      value = Ref::borrow(PyDict_GetItemWithError(attributes.get(), name));
      if (PyErr_Occurred()) return false;
    }
    if (value) {
      ++in_dict;
    } else {
      PyObject* const slot = _PyType_Lookup(type, name);
      if (slot == nullptr || Py_TYPE(slot) != &PyMemberDescr_Type) return true;
      value = Ref::steal(PyMemberDescr_Type.tp_descr_get(
          slot, object, reinterpret_cast<PyObject*>(type)));
      if (!value) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return false;
        PyErr_Clear();
        return true;
      }
      ++in_slots;
    }
    parts.emplace_back(Ref::borrow(name), std::move(value));
  }
  if (attributes && PyDict_GET_SIZE(attributes.get()) != in_dict) return true;
  // Room for a header, and for what Python keeps there; all else must be fields.
  constexpr auto kPointer = static_cast<Py_ssize_t>(sizeof(void*));
  Py_ssize_t room = static_cast<Py_ssize_t>(sizeof(PyObject)) + in_slots * kPointer;
  if (type->tp_dictoffset > 0) room += kPointer;
  if (type->tp_weaklistoffset > 0) room += kPointer;
  if (type->tp_basicsize != room || type->tp_itemsize != 0) return true;

  complete = true;
  write_tag(writer_, Tag::dataclass);
  writer_.array(2);
  if (!write_type(type)) return false;
  writer_.map(parts.size());
  cbor::Sorter sorter(writer_);
  for (const auto& [called, value] : parts) {
    sorter.item();
    if (!write(called.get()) || !write(value.get())) return false;
  }
  sorter.finish();
  return true;
}

bool KeyWalk::write_own_key(PyObject* object, PyObject*) {
  const Ref own = Ref::steal(PyObject_CallMethod(object, "__cachier_key__", nullptr));
  if (!own) return false;
  write_tag(writer_, Tag::own_key);
  writer_.array(2);
  return write_type(Py_TYPE(object)) && write(own.get());
}

/// What `__reduce_ex__` names. All owned by `whole`.
struct KeyWalk::Reduction {
  Ref whole;
  PyObject* callable = nullptr;
  PyObject* arguments = nullptr;
  PyObject* state = nullptr;
  PyObject* items = nullptr;
  PyObject* pairs = nullptr;
  bool registered = false;  ///< with `copyreg`, for this very type
  Ref left_out;  ///< attributes of the object that are in none of these, by name

  [[nodiscard]] bool is_text() const noexcept { return callable == nullptr; }
};

bool KeyWalk::reduce(PyObject* object, Reduction& reduction) {
  const Ref copyreg = Ref::steal(PyImport_ImportModule("copyreg"));
  if (!copyreg) return false;
  const Ref table = Ref::steal(PyObject_GetAttrString(copyreg.get(), "dispatch_table"));
  if (!table) return false;
  // As pickle does: what is registered for the type comes first.
  PyObject* const reducer =
      PyDict_Check(table.get())
          ? PyDict_GetItemWithError(table.get(),
                                    reinterpret_cast<PyObject*>(Py_TYPE(object)))
          : nullptr;
  if (PyErr_Occurred()) return false;
  const Ref kept = Ref::borrow(reducer);
  reduction.registered = reducer != nullptr;
  reduction.whole = Ref::steal(
      reducer != nullptr ? PyObject_CallOneArg(reducer, object)
                         : PyObject_CallMethod(object, "__reduce_ex__", "i", 4));
  PyObject* const whole = reduction.whole.get();
  if (whole == nullptr) return false;
  if (PyUnicode_Check(whole)) return true;
  if (!PyTuple_Check(whole) || PyTuple_GET_SIZE(whole) < 2 ||
      !PyTuple_Check(PyTuple_GET_ITEM(whole, 1))) {
    return fail("its __reduce_ex__ gives neither a text nor a tuple");
  }
  const auto part = [whole](Py_ssize_t at) -> PyObject* {
    if (at >= PyTuple_GET_SIZE(whole)) return nullptr;
    PyObject* const value = PyTuple_GET_ITEM(whole, at);
    return value == Py_None ? nullptr : value;
  };
  reduction.callable = PyTuple_GET_ITEM(whole, 0);
  reduction.arguments = PyTuple_GET_ITEM(whole, 1);
  reduction.state = part(2);
  reduction.items = part(3);
  reduction.pairs = part(4);
  return reducer != nullptr || add_what_is_left_out(object, reduction);
}

/// A base that says how it is reduced knows nothing of what classes below it have
/// added: `datetime` and NumPy's arrays, for two, forget that.
bool KeyWalk::add_what_is_left_out(PyObject* object, Reduction& reduction) {
  static const std::array<PyObject*, 3> ways{
      PyUnicode_InternFromString("__reduce_ex__"),
      PyUnicode_InternFromString("__reduce__"),
      PyUnicode_InternFromString("__getstate__")};
  PyTypeObject* const type = Py_TYPE(object);
  PyObject* const line = type->tp_mro;
  if (line == nullptr) return true;
  const Ref kept = Ref::borrow(line);
  // How many classes are below the one that says how.
  Py_ssize_t below = -1;
  for (PyObject* const way : ways) {
    PyObject* const found = _PyType_Lookup(type, way);
    if (found == nullptr || found == _PyType_Lookup(&PyBaseObject_Type, way)) continue;
    for (below = 0; below < PyTuple_GET_SIZE(line); ++below) {
      const Ref own =
          type_dict(reinterpret_cast<PyTypeObject*>(PyTuple_GET_ITEM(line, below)));
      if (own && PyDict_GetItemWithError(own.get(), way) != nullptr) break;
    }
    break;
  }
  if (PyErr_Occurred()) return false;
  if (below <= 0 || below >= PyTuple_GET_SIZE(line)) return true;
  auto* const knows = reinterpret_cast<PyTypeObject*>(PyTuple_GET_ITEM(line, below));
  Ref more = Ref::steal(PyDict_New());
  if (!more) return false;
  if (knows->tp_dictoffset == 0) {
    const Ref attributes = instance_dict(object);
    if (PyErr_Occurred()) return false;
    if (attributes && PyDict_Update(more.get(), attributes.get()) < 0) return false;
  }
  for (Py_ssize_t at = 0; at < below; ++at) {
    const Ref own =
        type_dict(reinterpret_cast<PyTypeObject*>(PyTuple_GET_ITEM(line, at)));
    Py_ssize_t position = 0;
    PyObject *name = nullptr, *slot = nullptr;
    while (own && PyDict_Next(own.get(), &position, &name, &slot) != 0) {
      if (Py_TYPE(slot) != &PyMemberDescr_Type) continue;
      const Ref value =
          Ref::steal(PyMemberDescr_Type.tp_descr_get(slot, object, as_object(type)));
      if (!value) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return false;
        PyErr_Clear();
      } else if (PyDict_SetItem(more.get(), name, value.get()) < 0) {
        return false;
      }
    }
  }
  // Of a mapped array, the content is there; the map itself is how it got there.
  if (is_a(object, imported_type("numpy", "memmap").get()) &&
      PyDict_GetItemString(more.get(), "_mmap") != nullptr &&
      PyDict_DelItemString(more.get(), "_mmap") < 0) {
    return false;
  }
  if (PyErr_Occurred()) return false;
  const auto forget = [&more](PyObject* named) {
    if (!PyDict_Check(named)) return true;
    const Ref names = Ref::steal(PyDict_Keys(named));
    if (!names) return false;
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(names.get()); ++at) {
      PyObject* const name = PyList_GET_ITEM(names.get(), at);
      const int there = PyDict_Contains(more.get(), name);
      if (there < 0 || (there != 0 && PyDict_DelItem(more.get(), name) < 0)) {
        return false;
      }
    }
    return true;
  };
  PyObject* const state = reduction.state;
  if (state != nullptr && !forget(state)) return false;
  if (state != nullptr && PyTuple_Check(state)) {
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(state); ++at) {
      if (!forget(PyTuple_GET_ITEM(state, at))) return false;
    }
  }
  if (PyDict_GET_SIZE(more.get()) > 0) reduction.left_out = std::move(more);
  return true;
}

/// Whether reductions of `type` say no more than those of the builtin type `base` do.
static bool reduced_as(PyTypeObject* type, PyTypeObject* base) {
  for (const char* const way : {"__reduce_ex__", "__reduce__", "__getnewargs__",
                                "__getnewargs_ex__", "__getstate__"}) {
    const Ref own = optional_attribute(as_object(type), way);
    if (!own && PyErr_Occurred()) return false;
    const Ref plain = optional_attribute(as_object(base), way);
    if (own.get() != plain.get()) return false;
  }
  return true;
}

bool KeyWalk::write_subclass(PyObject* object, PyTypeObject* base) {
  Reduction reduction;
  if (!reduce(object, reduction)) return false;
  const bool has_state = !is_empty(reduction.state);
  // Its plain part and its state are all there is, unless it says otherwise.
  const bool is_usual = !reduction.registered && !reduction.is_text() &&
                        !reduction.left_out && reduced_as(Py_TYPE(object), base);
  if (PyErr_Occurred()) return false;
  write_tag(writer_, Tag::subclass);
  writer_.array(!is_usual ? 4 : (has_state ? 3 : 2));
  if (!write_type(Py_TYPE(object))) return false;
  // The plain part, by the base's own constructor, whatever the subclass overrides.
  Ref plain;
  if (base == &PyLong_Type) {
    // `int(x)` would ask the subclass.
    const Ref zero = Ref::steal(PyLong_FromLong(0));
    plain =
        zero ? Ref::steal(PyLong_Type.tp_as_number->nb_add(object, zero.get())) : Ref();
  } else if (base == &PyFloat_Type) {
    plain = Ref::steal(PyFloat_FromDouble(PyFloat_AS_DOUBLE(object)));
  } else if (base == &PyComplex_Type) {
    plain = Ref::steal(
        PyComplex_FromCComplex(reinterpret_cast<PyComplexObject*>(object)->cval));
  } else if (base == &PyUnicode_Type) {
    plain = Ref::steal(PyUnicode_FromObject(object));
  } else if (base == &PyBytes_Type) {
    plain = Ref::steal(
        PyBytes_FromStringAndSize(PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object)));
  } else if (base == &PyByteArray_Type) {
    plain = Ref::steal(PyByteArray_FromStringAndSize(PyByteArray_AS_STRING(object),
                                                     PyByteArray_GET_SIZE(object)));
  } else if (base == &PyList_Type) {
    plain = Ref::steal(PyList_GetSlice(object, 0, PyList_GET_SIZE(object)));
  } else if (base == &PyTuple_Type) {
    write_tag(writer_, Tag::tuple);
    if (!write_tuple(object)) return false;
  } else {
    plain =
        Ref::steal(base == &PySet_Type ? PySet_New(object) : PyFrozenSet_New(object));
  }
  if (base != &PyTuple_Type && (!plain || !write(plain.get()))) return false;
  if (is_usual) return !has_state || write(reduction.state);
  writer_.null();
  return write_reduction(object, reduction);
}

bool KeyWalk::write_reduced(PyObject* object) {
  if (Py_TYPE(object) == &PyBaseObject_Type) {
    return fail("a bare object() has nothing that tells it from another");
  }
  if (std::string_view(Py_TYPE(object)->tp_name).ends_with("ForwardRef") &&
      is_a(object, imported_type("typing", "ForwardRef").get())) {
    // Its state has compiled code, and what came of looking it up.
    write_tag(writer_, Tag::reduced);
    writer_.array(3);
    if (!write_type(Py_TYPE(object))) return false;
    writer_.null();
    return write_attributes(object, {"__forward_arg__", "__forward_module__"});
  }
  if (PyErr_Occurred()) return false;
  Reduction reduction;
  return reduce(object, reduction) && write_reduction(object, reduction);
}

/// An object whose reduction is the text `called`.
bool KeyWalk::write_named(PyObject* object, PyObject* called) {
  Name name;
  if (!name_of_reduced(object, called, name)) return false;
  write_tag(writer_, Tag::reduced);
  if (name.leads_back) {
    writer_.array(2);
    if (!write_type(Py_TYPE(object))) return false;
    writer_.text(name.text);
    return true;
  }
  // What is known to be no more than some of its attributes.
  std::vector<const char*> names;
  if (is_a(object, imported_type("functools", "_lru_cache_wrapper").get())) {
    names = {"__wrapped__"};
  } else if (is_a(object, imported_type("typing", "TypeVar").get())) {
    names = {"__module__",      "__name__",      "__bound__",
             "__constraints__", "__covariant__", "__contravariant__"};
  } else if (is_a(object, imported_type("typing", "ParamSpec").get())) {
    names = {"__module__", "__name__", "__bound__", "__covariant__",
             "__contravariant__"};
  }
  if (is_a(object, imported_type("typing", "NewType").get())) {
    names = {"__module__", "__name__", "__supertype__"};
  }
  if (PyErr_Occurred()) return false;
  if (names.empty()) {
    return fail("no module has it as '" + std::string(utf8_of(called)) +
                "', the name that its __reduce_ex__ gives");
  }
  writer_.array(3);
  if (!write_type(Py_TYPE(object))) return false;
  writer_.null();
  return write_attributes(object, names);
}

/// Adds to a dict's items what it really holds, where its class says itself what its
/// items are.
static bool add_what_items_hides(PyObject* object, PyObject* pairs) {
  if (!PyDict_Check(object)) return true;
  const Ref items = optional_attribute(as_object(Py_TYPE(object)), "items");
  if (!items && PyErr_Occurred()) return false;
  for (PyTypeObject* const plain : {&PyDict_Type, &PyODict_Type}) {
    const Ref own = optional_attribute(as_object(plain), "items");
    if (!own && PyErr_Occurred()) return false;
    if (own.get() == items.get()) return true;
  }
  PyObject* key = nullptr;
  PyObject* value = nullptr;
  Py_ssize_t at = 0;
  while (PyDict_Next(object, &at, &key, &value) != 0) {
    const Ref pair = Ref::steal(PyTuple_Pack(2, key, value));
    if (!pair || PyList_Append(pairs, pair.get()) < 0) return false;
  }
  return true;
}

bool KeyWalk::write_reduction(PyObject* object, const Reduction& reduction) {
  if (reduction.is_text()) return write_named(object, reduction.whole.get());
  write_tag(writer_, Tag::reduced);
  std::size_t parts = 3;
  if (reduction.state != nullptr) parts = 4;
  if (reduction.items != nullptr) parts = 5;
  if (reduction.pairs != nullptr) parts = 6;
  if (reduction.left_out) parts = 7;
  writer_.array(parts);
  if (!write_type(Py_TYPE(object)) || !write_arguments(object, reduction)) {
    return false;
  }
  if (parts >= 4) {
    if (reduction.state == nullptr) {
      writer_.null();
    } else if (!write(reduction.state)) {
      return false;
    }
  }
  if (parts >= 5) {
    if (reduction.items == nullptr) {
      writer_.null();
    } else {
      const Ref items = Ref::steal(PySequence_List(reduction.items));
      if (!items || !write_list(items.get())) return false;
    }
  }
  if (parts >= 6) {
    if (reduction.pairs == nullptr) {
      writer_.null();
    } else {
      const Ref pairs = Ref::steal(PySequence_List(reduction.pairs));
      if (!pairs || !add_what_items_hides(object, pairs.get()) ||
          !write_pairs(pairs.get())) {
        return false;
      }
    }
  }
  return parts < 7 || write_dict(reduction.left_out.get());
}

bool KeyWalk::write_arguments(PyObject* object, const Reduction& reduction) {
  const Ref copyreg = Ref::steal(PyImport_ImportModule("copyreg"));
  const Ref usual = copyreg ? optional_attribute(copyreg.get(), "__newobj__") : Ref();
  const Ref usual_ex =
      usual ? optional_attribute(copyreg.get(), "__newobj_ex__") : Ref();
  if (!usual_ex) return false;
  const Py_ssize_t size = PyTuple_GET_SIZE(reduction.arguments);
  if (reduction.callable == usual.get() && size >= 1) {
    writer_.null();
    return write_items(reduction.arguments, 1);
  }
  if (reduction.callable == usual_ex.get() && size == 3) {
    PyObject* const positionals = PyTuple_GET_ITEM(reduction.arguments, 1);
    PyObject* const keywords = PyTuple_GET_ITEM(reduction.arguments, 2);
    if (!PyTuple_Check(positionals) || !PyDict_Check(keywords)) {
      return fail("its __reduce_ex__ gives no arguments");
    }
    writer_.null();
    writer_.array(2);
    return write_tuple(positionals) && write_dict(keywords);
  }
  if (reduction.callable == as_object(Py_TYPE(object))) {
    writer_.null();
  } else if (!write(reduction.callable)) {
    return false;
  }
  return write_tuple(reduction.arguments);
}

}  // namespace cachier::python

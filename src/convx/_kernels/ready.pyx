"""Calls that were made before: from arrays of known forms straight to the kernels.

A form is what a plan may depend on besides values: the shape, the strides, the dtype (a number in native byte order),
and that the array is aligned. A `Record` holds the forms and the options of a call that went the long way, and
what the call came down to: how its result is made, and functions with their arguments. `Front.ready` looks for the
record of a call and repeats it. Whatever is not known, or wrong, or overlaps, it leaves to the long way, which says so:
`ready` returns None and has done nothing.
"""

import numpy as np

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport copysign
from libc.stdint cimport uintptr_t
cimport numpy as cnp
from numpy cimport PyArray_DATA, PyArray_DIMS, PyArray_NDIM, PyArray_STRIDES, ndarray, npy_intp

cnp.import_array()

cdef extern from "Python.h":
    ctypedef struct PyObject
    ctypedef struct PyTypeObject:
        pass
    PyTypeObject* Py_TYPE(object)
    object PyObject_Vectorcall(PyObject*, PyObject* const*, size_t, PyObject*)
    Py_ssize_t PyTuple_GET_SIZE(object)
    PyObject* PyTuple_GET_ITEM(object, Py_ssize_t)
    int PyDict_Next(object, Py_ssize_t*, PyObject**, PyObject**)

cdef extern from "numpy/arrayobject.h":
    PyTypeObject PyArray_Type
    bint PyArray_ISALIGNED(ndarray)
    bint PyArray_ISWRITEABLE(ndarray)
    bint PyArray_ISNOTSWAPPED(ndarray)
    bint PyTypeNum_ISNUMBER(int)
    int PyArray_TYPE(ndarray)

cdef extern from "_memory.h":
    ctypedef struct PyDataMem_Handler:
        pass
    PyDataMem_Handler lines_handler
    uintptr_t beside
    object PyDataMem_SetHandler(object)

cdef object LINES = PyCapsule_New(&lines_handler, "mem_handler", NULL)

cdef enum:
    SMALL = 4096   # elements of a result below which NumPy's own memory, which it keeps at hand, is the faster
    AXES = 8       # arrays of more axes go the long way
    ARGUMENTS = 20  # of one function
    NOTHING = -1
    RECORDS = 1024  # as many as there are plans
    ALIKE = 8       # of the same shapes and strides
    X = 0
    W = 1
    BIAS = 2
    OUT = 3
    OPERANDS = 4


cdef class Slot:
    """Stands in the arguments of a step for what differs from call to call."""
    cdef int place

    def __init__(self, int place):
        self.place = place


SLOTS = tuple(Slot(place) for place in range(OPERANDS + 1))  # x, w, bias, y, the number of threads


ctypedef struct Form:
    int kind  # NumPy's number of the dtype; NOTHING: None was given
    int nd
    npy_intp dims[AXES]
    npy_intp strides[AXES]
    npy_intp low, high  # the bytes of the array: from its first element on


cdef inline bint is_array(object a) noexcept:
    return Py_TYPE(a) == &PyArray_Type


cdef bint take(Form* form, object a) except -1:
    """The form of None or an array; whether it has one that may be known again."""
    cdef ndarray array
    cdef npy_intp size, reach
    cdef int i
    form.kind, form.nd = NOTHING, 0
    if a is None:
        return True
    if not is_array(a):
        return False
    array = <ndarray>a
    if PyArray_NDIM(array) > AXES or not PyArray_ISALIGNED(array):
        return False
    if not PyTypeNum_ISNUMBER(PyArray_TYPE(array)) or not PyArray_ISNOTSWAPPED(array):
        return False
    form.kind, form.nd = PyArray_TYPE(array), PyArray_NDIM(array)
    form.low, form.high = 0, cnp.PyArray_ITEMSIZE(array)
    for i in range(form.nd):
        size = form.dims[i] = PyArray_DIMS(array)[i]
        form.strides[i] = PyArray_STRIDES(array)[i]
        if size == 0:
            return False
        reach = (size - 1)*form.strides[i]
        if reach < 0:
            form.low += reach
        else:
            form.high += reach
    return True


cdef inline bint fits(const Form* form, object a) noexcept:
    cdef ndarray array
    cdef int i
    if form.kind == NOTHING:
        return a is None
    if not is_array(a):
        return False
    array = <ndarray>a
    if PyArray_TYPE(array) != form.kind or PyArray_NDIM(array) != form.nd:
        return False
    if not PyArray_ISALIGNED(array) or not PyArray_ISNOTSWAPPED(array):
        return False
    for i in range(form.nd):
        if PyArray_DIMS(array)[i] != form.dims[i] or PyArray_STRIDES(array)[i] != form.strides[i]:
            return False
    return True


cdef inline bint apart(object a, const Form* form, const char* low, const char* high) noexcept:
    """Whether an array of this form, or None, lies outside the bytes from low to high."""
    cdef const char* start
    if form.kind == NOTHING:
        return True
    start = <const char*>PyArray_DATA(<ndarray>a)
    return start + form.high <= low or high <= start + form.low


cdef inline size_t mixed(size_t key, object a) noexcept:
    """key with the shape and strides of an array."""
    cdef int i
    if is_array(a):
        for i in range(PyArray_NDIM(<ndarray>a)):
            key = (key ^ <size_t>PyArray_DIMS(<ndarray>a)[i])*<size_t>1099511628211
            key = (key ^ <size_t>PyArray_STRIDES(<ndarray>a)[i])*<size_t>1099511628211
    return key*31


cdef bint simple(object value):
    """Whether the value can never change and is what it looks like: what `alike` may compare."""
    if type(value) is tuple:
        return all(simple(v) for v in value)
    if isinstance(value, type):
        return value in (bool, int, float, complex) or issubclass(value, np.generic)
    return value is None or type(value) in (bool, int, float, str) or isinstance(value, cnp.dtype)


cdef bint alike(object a, object b) except -1:
    """Whether a, which is simple, and b are one object, or equal values of one type; zeros: of one sign, too."""
    cdef Py_ssize_t i
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is int or type(a) is str:
        return a == b
    if type(a) is float:
        return a == b and copysign(1, a) == copysign(1, b)
    if isinstance(a, cnp.dtype):
        return a == b
    if type(a) is not tuple or len(<tuple>a) != len(<tuple>b):
        return False
    for i in range(len(<tuple>a)):
        if not alike((<tuple>a)[i], (<tuple>b)[i]):
            return False
    return True


cdef object on_lines(int nd, npy_intp* dims, int kind, bint fortran, ndarray x):
    """A new array that starts on a cache line, if it is not small, at a good distance from x."""
    global beside
    cdef npy_intp size = 1
    cdef object kept
    cdef int i
    for i in range(nd):
        size *= dims[i]
    if size < SMALL:
        return cnp.PyArray_EMPTY(nd, dims, kind, fortran)
    beside = <uintptr_t>PyArray_DATA(x)
    kept = PyDataMem_SetHandler(LINES)
    try:
        return cnp.PyArray_EMPTY(nd, dims, kind, fortran)
    finally:
        PyDataMem_SetHandler(kept)


def empty(tuple shape, dtype, bint fortran, ndarray x not None):
    """numpy.empty of one of NumPy's own dtypes for what is made of x: see _memory.h."""
    cdef npy_intp dims[64]
    cdef int i
    if not dtype.isnative or dtype.hasobject or len(shape) > 64:
        return np.empty(shape, dtype, order="F" if fortran else "C")
    for i in range(len(shape)):
        dims[i] = shape[i]
    return on_lines(len(shape), dims, dtype.num, fortran, x)


cdef class Record:
    """One call: its forms and options, and what it came down to."""
    cdef Form forms[OPERANDS]
    cdef tuple names, values, steps
    cdef object unless  # a function of the weights: whether another way may be faster with them; or None
    cdef bint swap      # the weights are x
    cdef npy_intp dims[AXES]
    cdef int nd, kind
    cdef bint fortran, team

    cdef bint matches(self, object x, object w, object bias, object out, object options) except -1:
        cdef Py_ssize_t at = 0, i = 0
        cdef PyObject* name
        cdef PyObject* value
        if not (fits(&self.forms[X], x) and fits(&self.forms[W], w) and fits(&self.forms[BIAS], bias)
                and fits(&self.forms[OUT], out)):
            return False
        if type(options) is tuple:
            return self.names is None and alike(self.values, options)
        if self.names is None or len(<dict>options) != len(self.names):
            return False
        while PyDict_Next(options, &at, &name, &value):
            if not alike(self.names[i], <object>name) or not alike(self.values[i], <object>value):
                return False
            i += 1
        return True

    cdef object run(self, object x, object w, object bias, object out, object workers, object team):
        """y; None where out is not simply another array that may be written to."""
        cdef PyObject* operands[OPERANDS + 1]
        cdef PyObject* arguments[ARGUMENTS]
        cdef PyObject* argument
        cdef Py_ssize_t i, count
        cdef const char* start
        cdef const char* low
        cdef const char* high
        cdef object y = out, threads = 1, step
        if out is not None:
            start = <const char*>PyArray_DATA(<ndarray>out)
            if not PyArray_ISWRITEABLE(<ndarray>out):
                return None
            low, high = start + self.forms[OUT].low, start + self.forms[OUT].high
            if not (apart(x, &self.forms[X], low, high) and apart(w, &self.forms[W], low, high)
                    and apart(bias, &self.forms[BIAS], low, high)):
                return None
        if self.team or workers is not None:
            threads = team(workers)
        if out is None:
            y = on_lines(self.nd, self.dims, self.kind, self.fortran, <ndarray>(w if self.swap else x))
        operands[X], operands[W], operands[BIAS] = <PyObject*>x, <PyObject*>w, <PyObject*>bias
        operands[OUT], operands[OPERANDS] = <PyObject*>y, <PyObject*>threads
        for step in self.steps:
            count = PyTuple_GET_SIZE(step)
            for i in range(1, count):
                argument = PyTuple_GET_ITEM(step, i)
                if Py_TYPE(<object>argument) == <PyTypeObject*>Slot:
                    argument = operands[(<Slot>argument).place]
                arguments[i - 1] = argument
            PyObject_Vectorcall(PyTuple_GET_ITEM(step, 0), arguments, count - 1, NULL)
        return y


cdef class Front:
    """The records of one function, or of one plan. team: what makes a number of threads of `workers`."""
    cdef dict records  # never replaced by another: threads may be reading it
    cdef object team

    def __init__(self, team):
        self.team, self.records = team, {}

    def __reduce__(self):
        return Front, (self.team,)

    def ready(self, x, w, bias, out, workers, options):
        """The result of a call like an earlier one, else None. options: a tuple, or a dictionary of keywords."""
        cdef object found
        cdef Record record
        if not is_array(x):
            return None
        found = self.records.get(mixed(mixed(len(options), x), w))
        if found is not None:
            for record in <tuple>found:
                if record.matches(x, w, bias, out, options):
                    if record.unless is not None and record.unless(x if record.swap else w):
                        return None
                    return record.run(x, w, bias, out, workers, self.team)
        return None

    def knows(self, x, w, bias, out, options):
        """Whether there is a record of such a call."""
        cdef Record record
        for record in self.records.get(mixed(mixed(len(options), x), w), ()):
            if record.matches(x, w, bias, out, options):
                return True
        return False

    def keep(self, x, w, bias, out, options, y, steps, unless=None, bint swap=False):
        """Remember a call that gave y, where its arguments can be known again. steps: tuples of a function and its
        arguments, `SLOTS` among them; unless: a function of w (of x if they are swapped), true where another way may
        be the better."""
        cdef Record record
        cdef Form made
        cdef int i
        record = Record()
        values = options if type(options) is tuple else tuple(options.values())
        if not simple(values) or any(len(step) > ARGUMENTS for step in steps):
            return
        for i, a in enumerate((x, w, bias, out)):
            if not take(&record.forms[i], a):
                return
        if not take(&made, y) or made.nd == 0:
            return
        record.names = None if type(options) is tuple else tuple(options)
        record.values, record.steps = values, tuple(map(tuple, steps))
        record.unless, record.swap = unless, swap
        record.nd, record.kind, record.dims = made.nd, PyArray_TYPE(y), made.dims
        record.fortran = y.flags.f_contiguous and not y.flags.c_contiguous
        record.team = any(SLOTS[OPERANDS] is argument for step in steps for argument in step)
        if len(self.records) >= RECORDS:
            self.records.clear()
        key = mixed(mixed(len(options), x), w)
        self.records[key] = (record, *self.records.get(key, ())[:ALIKE - 1])

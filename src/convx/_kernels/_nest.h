/* The nest as Nest.pack() writes it: Py_ssize_t throughout. */
#ifndef CONVX_NEST_H
#define CONVX_NEST_H
#include <Python.h>
typedef struct {
    Py_ssize_t out, taps, size, stride, dilation, offset, boundary;
    Py_ssize_t xs, ws, wo, ys;
} Window;
typedef struct {
    Py_ssize_t n, g, c, m;
    Py_ssize_t xn, xg, xc, wg, wm, wc, yn, yg, ym;
    Py_ssize_t x0, w0, y0;
    Window axis[3];
} Nest;
#endif

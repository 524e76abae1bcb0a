// Linear maps along a dimension: each result is a few weighted elements of x, told by a table. A thread a result; neighbours read
// neighbours, and what windows share comes from the cache. Floor: x and the result once through memory.
#include "common.cuh"

// x (outer, size, inner) -> y (outer, length, inner); index and weight (length, taps). What has no weight is not read: there may
// be a NaN. Without weights elements just move.
template <class T>
__device__ void along(const T* x, T* y, const int* index, const T* weight, int size, int length, int taps, int64 inner, int64 count) {
  int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  int64 line = i / inner;
  int row = line % length;
  x += line / length * size * inner + i % inner;
  index += row * taps;
  if (!weight) {
    y[i] = x[index[0] * inner];
    return;
  }
  weight += row * taps;
  Wide<T> sum = 0;
  for (int t = 0; t < taps; t++)
    if (read(weight[t]) != 0) sum += read(weight[t]) * read(x[index[t] * inner]);
  y[i] = write<T>(sum);
}

#define DEFINE(S, T)                                                                                                          \
  extern "C" __global__ void __launch_bounds__(256) along_##S(const T* x, T* y, const int* index, const T* weight, int size, \
                                                              int length, int taps, int64 inner, int64 count) {              \
    along<T>(x, y, index, weight, size, length, taps, inner, count);                                                         \
  }
FOR_FLOATS(DEFINE)

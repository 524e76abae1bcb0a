// Rotary positions. Floor: each number read and written once; angles are shared by all texts and heads and stay in the cache.
#include "held.cuh"

// K pairs: their first numbers a, their second ones b, and where they come from.
template <int K, class T>
__device__ __forceinline__ void turn(const T* a, const T* b, const T* cos, const T* sin, T* first, T* second) {
  typedef Wide<T> W;
  Some<W, K> x = read_some<K>(a), y = read_some<K>(b), c = read_some<K>(cos), s = read_some<K>(sin), u, v;
#pragma unroll
  for (int k = 0; k < K; k++) {
    u.at[k] = x.at[k] * c.at[k] - y.at[k] * s.at[k];
    v.at[k] = y.at[k] * c.at[k] + x.at[k] * s.at[k];
  }
  write_some(first, u);
  write_some(second, v);
}

// A row of `width` numbers of which 2 `pairs` are turned, by `size` threads.
template <class T>
__device__ void rotate_row(const T* x, const T* cos, const T* sin, T* y, int pairs, int width, int interleaved, int rank, int size) {
  typedef Wide<T> W;
  const int K = Pack<T>::COUNT;
  if (interleaved) {
    for (int i = rank; i < pairs; i += size) {
      W a = read(x[2 * i]), b = read(x[2 * i + 1]), c = read(cos[i]), s = read(sin[i]);
      y[2 * i] = write<T>(a * c - b * s);
      y[2 * i + 1] = write<T>(b * c + a * s);
    }
  } else if (packs(x, pairs) && packs(y, pairs) && packs(cos, pairs) && packs(sin, pairs)) {
    for (int i = rank * K; i < pairs; i += size * K) turn<K>(x + i, x + pairs + i, cos + i, sin + i, y + i, y + pairs + i);
  } else {
    for (int i = rank; i < pairs; i += size) turn<1>(x + i, x + pairs + i, cos + i, sin + i, y + i, y + pairs + i);
  }
  for (int i = 2 * pairs + rank; i < width; i += size) y[i] = x[i];
}

// x (texts, heads, steps, width) by its strides; y (texts, steps, heads, width). Blocks of 16 threads a row, 16 rows.
template <class T>
__device__ void rotate(const T* x, int64 by_text, int64 by_head, int64 by_step, const T* cos, const T* sin, T* y, int64 rows,
                       int heads, int steps, int pairs, int width, int interleaved) {
  int64 row = (int64)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  int64 text = row / heads / steps;
  int head = row % heads, step = row / heads % steps;
  rotate_row(x + text * by_text + head * by_head + step * by_step, cos + (int64)step * pairs, sin + (int64)step * pairs,
             y + row * width, pairs, width, interleaved, threadIdx.x, blockDim.x);
}

#define DEFINE(S, T)                                                                                                         \
  extern "C" __global__ void rotate_##S(const T* x, int64 by_text, int64 by_head, int64 by_step, const T* cos, const T* sin, \
                                        T* y, int64 rows, int heads, int steps, int pairs, int width, int interleaved) {     \
    rotate(x, by_text, by_head, by_step, cos, sin, y, rows, heads, steps, pairs, width, interleaved);                        \
  }
FOR_FLOATS(DEFINE)

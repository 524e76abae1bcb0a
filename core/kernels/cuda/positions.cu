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

template <class T> __device__ __forceinline__ void copy_row(const T* x, T* y, int width, int rank, int size) {
  const int K = Pack<T>::COUNT;
  bool packed = packs(x, width) && packs(y, width);
  for (int i = rank * K; packed && i < width; i += size * K) write_some(y + i, read_some<K>(x + i));
  for (int i = rank; !packed && i < width; i += size) y[i] = x[i];
}

// Queries turned, y (texts, steps, heads, width); keys turned and values as they are, where a cache has room for them. `at` tells
// where that is, and from where the angles are read; without it they begin there.
template <class T>
__device__ void rotate_append(const T* q, int64 q_text, int64 q_head, int64 q_step, const T* k, int64 k_text, int64 k_head,
                              int64 k_step, const T* v, int64 v_text, int64 v_head, int64 v_step, const T* cos, const T* sin, T* y,
                              T* keys, int64 keys_text, int64 keys_head, int64 keys_step, T* values, int64 values_text,
                              int64 values_head, int64 values_step, const double* at, int64 rows, int heads, int shared,
                              int steps, int pairs, int width, int deep, int interleaved) {
  int64 row = (int64)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  int all = heads + 2 * shared, head = row % all, step = row / all % steps, rank = threadIdx.x, size = blockDim.x;
  int64 text = row / all / steps, place = (at ? (int64)*at : 0) + step;
  cos += place * pairs, sin += place * pairs;
  if (head < heads) {
    q += text * q_text + head * q_head + step * q_step;
    rotate_row(q, cos, sin, y + ((text * steps + step) * heads + head) * width, pairs, width, interleaved, rank, size);
  } else if ((head -= heads) < shared) {
    k += text * k_text + head * k_head + step * k_step;
    keys += text * keys_text + head * keys_head + place * keys_step;
    rotate_row(k, cos, sin, keys, pairs, width, interleaved, rank, size);
  } else {
    head -= shared;
    v += text * v_text + head * v_head + step * v_step;
    copy_row(v, values + text * values_text + head * values_head + place * values_step, deep, rank, size);
  }
}

// Keys and values as they are, where a cache has room for them; `at` as above.
template <class T>
__device__ void append(const T* k, int64 k_text, int64 k_head, int64 k_step, const T* v, int64 v_text, int64 v_head, int64 v_step,
                       T* keys, int64 keys_text, int64 keys_head, int64 keys_step, T* values, int64 values_text, int64 values_head,
                       int64 values_step, const double* at, int64 rows, int shared, int steps, int width, int deep) {
  int64 row = (int64)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  int head = row % (2 * shared), step = row / (2 * shared) % steps, rank = threadIdx.x, size = blockDim.x;
  int64 text = row / (2 * shared) / steps, place = (at ? (int64)*at : 0) + step;
  if (head < shared) {
    k += text * k_text + head * k_head + step * k_step;
    copy_row(k, keys + text * keys_text + head * keys_head + place * keys_step, width, rank, size);
  } else {
    head -= shared;
    v += text * v_text + head * v_head + step * v_step;
    copy_row(v, values + text * values_text + head * values_head + place * values_step, deep, rank, size);
  }
}

#define DEFINE(S, T)                                                                                                         \
  extern "C" __global__ void rotate_##S(const T* x, int64 by_text, int64 by_head, int64 by_step, const T* cos, const T* sin, \
                                        T* y, int64 rows, int heads, int steps, int pairs, int width, int interleaved) {     \
    rotate(x, by_text, by_head, by_step, cos, sin, y, rows, heads, steps, pairs, width, interleaved);                        \
  }                                                                                                                          \
  extern "C" __global__ void rotate_append_##S(                                                                              \
      const T* q, int64 q_text, int64 q_head, int64 q_step, const T* k, int64 k_text, int64 k_head, int64 k_step,            \
      const T* v, int64 v_text, int64 v_head, int64 v_step, const T* cos, const T* sin, T* y, T* keys, int64 keys_text,      \
      int64 keys_head, int64 keys_step, T* values, int64 values_text, int64 values_head, int64 values_step,                  \
      const double* at, int64 rows, int heads, int shared, int steps, int pairs, int width, int deep, int interleaved) {     \
    rotate_append(q, q_text, q_head, q_step, k, k_text, k_head, k_step, v, v_text, v_head, v_step, cos, sin, y, keys,        \
                  keys_text, keys_head, keys_step, values, values_text, values_head, values_step, at, rows, heads, shared,   \
                  steps, pairs, width, deep, interleaved);                                                                   \
  }                                                                                                                          \
  extern "C" __global__ void append_##S(                                                                                     \
      const T* k, int64 k_text, int64 k_head, int64 k_step, const T* v, int64 v_text, int64 v_head, int64 v_step, T* keys,   \
      int64 keys_text, int64 keys_head, int64 keys_step, T* values, int64 values_text, int64 values_head,                    \
      int64 values_step, const double* at, int64 rows, int shared, int steps, int width, int deep) {                         \
    append(k, k_text, k_head, k_step, v, v_text, v_head, v_step, keys, keys_text, keys_head, keys_step, values, values_text, \
           values_head, values_step, at, rows, shared, steps, width, deep);                                                  \
  }
FOR_FLOATS(DEFINE)

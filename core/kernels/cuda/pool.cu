// Maxima over windows that tables describe, and their gradient by gathering: each place of the input asks the windows that
// cover it, so that no two threads add to one place. Space has three dimensions here; missing ones have size 1.
// Bytes: the input and the result once (2 E in and 2 out in half precision), windows that overlap come from the cache.
#include "common.cuh"

// rows[d][i * K + k]: the k-th position that window i covers along dimension d.
template <class T>
__device__ void max_pool(const T* x, T* y, int* index, const int* t0, const int* t1, const int* t2, int k0, int k1, int k2, int l0,
                         int l1, int l2, int s0, int s1, int s2, int64 n) {
  int64 at = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= n) return;
  int c = at % l2, b = at / l2 % l1, a = at / ((int64)l2 * l1) % l0;
  x += at / ((int64)l2 * l1 * l0) * ((int64)s0 * s1 * s2);
  Wide<T> best = 0;
  int found = -1;
  for (int i = 0; i < k0; i++)
    for (int j = 0; j < k1; j++) {
      int line = (t0[a * k0 + i] * s1 + t1[b * k1 + j]) * s2;
      for (int k = 0; k < k2; k++) {
        int place = line + t2[c * k2 + k];
        Wide<T> v = read(x[place]);
        if (found < 0 || v > best || v != v) best = v, found = place;
      }
    }
  y[at] = write<T>(best);
  if (index) index[at] = found;
}

// firsts[d][p] to firsts[d][p + 1]: where the windows that cover position p begin and end in windows[d].
template <class T>
__device__ void scatter(const T* g, const int* index, T* gx, const int* f0, const int* w0, const int* f1, const int* w1, const int* f2,
                        const int* w2, int l0, int l1, int l2, int s0, int s1, int s2, int64 n) {
  int64 at = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= n) return;
  int64 space = (int64)s0 * s1 * s2, plane = at / space;
  int place = at % space, c = place % s2, b = place / s2 % s1, a = place / (s2 * s1);
  g += plane * ((int64)l0 * l1 * l2);
  index += plane * ((int64)l0 * l1 * l2);
  Wide<T> sum = 0;
  for (int i = f0[a]; i < f0[a + 1]; i++)
    for (int j = f1[b]; j < f1[b + 1]; j++)
      for (int k = f2[c]; k < f2[c + 1]; k++) {
        int window = (w0[i] * l1 + w1[j]) * l2 + w2[k];
        if (index[window] == place) sum += read(g[window]);
      }
  gx[at] = write<T>(sum);
}

#define DEFINE(S, T)                                                                                                              \
  extern "C" __global__ void __launch_bounds__(256)                                                                               \
      max_pool_##S(const T* x, T* y, int* index, const int* t0, const int* t1, const int* t2, int k0, int k1, int k2, int l0,     \
                   int l1, int l2, int s0, int s1, int s2, int64 n) {                                                             \
    max_pool<T>(x, y, index, t0, t1, t2, k0, k1, k2, l0, l1, l2, s0, s1, s2, n);                                                  \
  }                                                                                                                               \
  extern "C" __global__ void __launch_bounds__(256)                                                                               \
      scatter_##S(const T* g, const int* index, T* gx, const int* f0, const int* w0, const int* f1, const int* w1, const int* f2, \
                  const int* w2, int l0, int l1, int l2, int s0, int s1, int s2, int64 n) {                                       \
    scatter<T>(g, index, gx, f0, w0, f1, w1, f2, w2, l0, l1, l2, s0, s1, s2, n);                                                  \
  }
FOR_FLOATS(DEFINE)

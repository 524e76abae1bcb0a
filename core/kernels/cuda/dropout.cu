// Dropout, alone or with a residual added: 4 bytes an element in half precision (6 with the residual).
#include "dropping.cuh"

template <class T>
__device__ void dropout(const T* x, const T* residual, T* y, int64 n, Drawn key, uint32 below, double factor) {
  typedef Wide<T> W;
  const int K = Pack<T>::COUNT, EACH = K < 4 ? 4 : K;
  Dropping<T> dropping(key, below, factor);
  int64 first = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * EACH;
  if (first >= n) return;
  Some<W, EACH> v, added;
  bool whole = first + EACH <= n && packs(x, K) && packs(y, K) && packs(residual, K);
  if (whole) {
#pragma unroll
    for (int e = 0; e < EACH; e += K) {
      Some<W, K> some = read_some<K>(x + first + e), other = residual ? read_some<K>(residual + first + e) : filled<K>((W)0);
#pragma unroll
      for (int k = 0; k < K; k++) v.at[e + k] = some.at[k], added.at[e + k] = other.at[k];
    }
  } else {
#pragma unroll
    for (int e = 0; e < EACH; e++) {
      bool there = first + e < n;
      v.at[e] = there ? read(x[first + e]) : 0;
      added.at[e] = there && residual ? read(residual[first + e]) : 0;
    }
  }
  dropping.template apply<EACH>(v, first);
  if (residual) {
#pragma unroll
    for (int e = 0; e < EACH; e++) v.at[e] += added.at[e];
  }
  if (whole) {
#pragma unroll
    for (int e = 0; e < EACH; e += K) {
      Some<W, K> some;
#pragma unroll
      for (int k = 0; k < K; k++) some.at[k] = v.at[e + k];
      write_some(y + first + e, some);
    }
  } else {
#pragma unroll
    for (int e = 0; e < EACH; e++)
      if (first + e < n) y[first + e] = write<T>(v.at[e]);
  }
}

#define DEFINE(S, T)                                                                                                      \
  extern "C" __global__ void dropout_##S(const T* x, const T* residual, T* y, int64 n, const uint32* held, uint32 k0, uint32 k1, \
                                         uint32 below, double factor) {                                                   \
    dropout<T>(x, residual, y, n, Drawn(held, k0, k1), below, factor);                                                    \
  }
FOR_FLOATS(DEFINE)

// Products of matrices where no library computes them. Floor: A, B and C once through memory; in float it is the multiplications
// that take the time, 64 or 128 squared sums a block from shared memory, so that each number read is used 64 or 128 times.
#include "few.cuh"
#include "product.cuh"

#define LAID(x) int64 x##_outer, int64 x##_inner, int64 x##_by_x, int64 x##_by_k
#define LIE(x) Lie{x##_outer, x##_inner, x##_by_x, x##_by_k}
#define PRODUCT(size, Size, S, T)                                                                                         \
  extern "C" __global__ void __launch_bounds__(Tiles<T>::Size::THREADS) product_##size##_##S(                             \
      const T* a, LAID(a), const T* b, LAID(b), T* c, int m, int n, int k, int inner, const T* bias, const T* scale,      \
      const T* shift, const T* residual, int activation) {                                                                \
    product<Tiles<T>::Size>(a, LIE(a), b, LIE(b), c, m, n, k, inner, After<T>{bias, scale, shift, residual, activation}); \
  }
#define FEW(rows, S, T)                                                                                                     \
  extern "C" __global__ void few_##rows##_##S(const T* x, const T* weight, int64 apart, T* y, int m, int n, int k,          \
                                              const T* bias, const T* scale, const T* shift, const T* residual, int activation) { \
    few_rows<rows>(x, Rows<T>{weight, apart}, y, m, n, k, After<T>{bias, scale, shift, residual, activation});              \
  }
#define DEFINE(S, T)            \
  PRODUCT(small, Small, S, T)   \
  PRODUCT(large, Large, S, T)   \
  FEW(1, S, T)                  \
  FEW(2, S, T)                  \
  FEW(4, S, T)                  \
  FEW(8, S, T)
FOR_FLOATS(DEFINE)

// Products of matrices where no library computes them. Floor: A, B and C once through memory; in float it is the multiplications
// that take the time, 64 or 128 squared sums a block from shared memory, so that each number read is used 64 or 128 times.
#include "few.cuh"
#include "product.cuh"

#define PRODUCT(size, Size, S, T)                                                                                         \
  extern "C" __global__ void __launch_bounds__(Tiles<T>::Size::THREADS) product_##size##_##S(                             \
      const T* a, LAID(a), const T* b, LAID(b), T* c, int m, int n, int k, int inner, END(T)) {                        \
    product<Tiles<T>::Size>(a, LIE(a), b, LIE(b), c, m, n, k, inner, 0, k, After<T>{bias, scale, shift, residual, activation}); \
  }
// A part of the terms, `length` of them, for each of blockIdx.y: parts (slices, batch, m, n).
#define SLICES(S, T)                                                                                                      \
  extern "C" __global__ void __launch_bounds__(Tiles<T>::Small::THREADS, 1) slices_##S(                                      \
      const T* a, LAID(a), const T* b, LAID(b), Wide<T>* parts, int m, int n, int k, int inner, int length, int64 count) {  \
    int begin = blockIdx.y * length;                                                                                      \
    product<Tiles<T>::Small>(a, LIE(a), b, LIE(b), parts + blockIdx.y * count, m, n, k, inner, begin, min(k - begin, length) + begin, \
                             After<Wide<T>>{});                                                                           \
  }
#define FEW(rows, S, T)                                                                                                     \
  extern "C" __global__ void few_##rows##_##S(const T* x, const T* weight, int64 apart, T* y, int m, int n, int k,          \
                                              END(T)) {                                                                      \
    few_rows<rows>(x, Rows<T>{weight, apart}, y, m, n, k, After<T>{bias, scale, shift, residual, activation});              \
  }
// What follows a product (or a convolution) that was computed without it, in place: 2 sizeof(T) bytes a number, and those of a
// residual. n columns (or channels), each of `inner` numbers that lie side by side.
template <class T> __device__ void finish(T* y, int64 count, int n, int64 inner, After<T> after) {
  const int COUNT = Pack<T>::COUNT;
  int64 threads = (int64)gridDim.x * blockDim.x, thread = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (!packs(y, count)) {
    for (int64 i = thread; i < count; i += threads) y[i] = write<T>(after(read(y[i]), i, i / inner % n));
    return;
  }
  for (int64 i = thread * COUNT; i < count; i += threads * COUNT) {
    Pack<T> some = load_pack(y + i);
    int64 among = i % inner;
    int column = i / inner % n;
#pragma unroll
    for (int j = 0; j < COUNT; j++) {
      some.at[j] = write<T>(after(read(some.at[j]), i + j, column));
      if (++among == inner) {
        among = 0;
        if (++column == n) column = 0;
      }
    }
    store_pack(y + i, some);
  }
}

// The sum of all slices of `count` numbers, one after another, and what follows. Floor: the parts and the result once.
template <class T> __device__ void join(const Wide<T>* parts, T* y, int64 count, int slices, int n, After<T> after) {
  int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Wide<T> sum = parts[i];
#pragma unroll 8
  for (int s = 1; s < slices; s++) sum += parts[s * count + i];
  y[i] = write<T>(after(sum, i, i % n));
}

#define DEFINE(S, T)            \
  PRODUCT(small, Small, S, T)   \
  PRODUCT(large, Large, S, T)   \
  SLICES(S, T)                  \
  FEW(1, S, T)                  \
  FEW(2, S, T)                  \
  FEW(4, S, T)                  \
  FEW(8, S, T)                  \
  extern "C" __global__ void join_##S(const Wide<T>* parts, T* y, int64 count, int slices, int n, END(T)) { \
    join(parts, y, count, slices, n, After<T>{bias, scale, shift, residual, activation}); \
  }                             \
  extern "C" __global__ void after_##S(T* y, int64 count, int n, int64 inner, END(T)) { \
    finish(y, count, n, inner, After<T>{bias, scale, shift, residual, activation}); \
  }
FOR_FLOATS(DEFINE)

// What every kernel stands on. One source runs on the GPU (NVRTC) and, in the tests, on the CPU (a shim under g++):
// no `extern __shared__` but DYN_SHARED, no inline PTX outside ptx.cuh, 64-bit offsets, sums in float (double for double).
#pragma once
#ifndef CUDA_ON_CPU
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#ifndef NAN
#define NAN __int_as_float(0x7fffffff)
#endif
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define DYN_SHARED(T, name)                                     \
  extern __shared__ __align__(16) unsigned char bytes_##name[]; \
  T* name = reinterpret_cast<T*>(bytes_##name)
#endif

typedef long long int64;
typedef unsigned long long uint64;
typedef unsigned int uint32;
typedef unsigned char uint8;
typedef signed char int8;

// How elements are read and written: each is computed with as its Wide type.
template <class T> struct Number;
template <> struct Number<float> {
  typedef float Wide;
  static __device__ __forceinline__ float read(float x) { return x; }
  static __device__ __forceinline__ float write(float x) { return x; }
};
template <> struct Number<double> {
  typedef double Wide;
  static __device__ __forceinline__ double read(double x) { return x; }
  static __device__ __forceinline__ double write(double x) { return x; }
};
template <> struct Number<__half> {
  typedef float Wide;
  static __device__ __forceinline__ float read(__half x) { return __half2float(x); }
  static __device__ __forceinline__ __half write(float x) { return __float2half_rn(x); }
};
template <> struct Number<__nv_bfloat16> {
  typedef float Wide;
  static __device__ __forceinline__ float read(__nv_bfloat16 x) { return __bfloat162float(x); }
  static __device__ __forceinline__ __nv_bfloat16 write(float x) { return __float2bfloat16_rn(x); }
};
template <class T> using Wide = typename Number<T>::Wide;
// the same by the dtype's suffix, for parameters of entry points
#define WIDE_f32 float
#define WIDE_f16 float
#define WIDE_bf16 float
#define WIDE_f64 double
template <class T> __device__ __forceinline__ Wide<T> read(T x) { return Number<T>::read(x); }
template <class T> __device__ __forceinline__ T write(Wide<T> x) { return Number<T>::write(x); }

// Functions under one name for float and double.
__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float logarithm(float x) { return logf(x); }
__device__ __forceinline__ double logarithm(double x) { return log(x); }
__device__ __forceinline__ float root(float x) { return sqrtf(x); }
__device__ __forceinline__ double root(double x) { return sqrt(x); }
// NaN wins, as NumPy has it.
__device__ __forceinline__ float greater(float a, float b) { return a > b || a != a ? a : b; }
__device__ __forceinline__ double greater(double a, double b) { return a > b || a != a ? a : b; }

// 16 bytes at once: COUNT elements from an address that is a multiple of 16.
template <class T> struct alignas(16) Pack {
  static const int COUNT = 16 / sizeof(T);
  T at[COUNT];
};
template <class T> __device__ __forceinline__ bool packs(const T* p, int64 n) {
  return (reinterpret_cast<uint64>(p) % 16 == 0) && (n % Pack<T>::COUNT == 0);
}
template <class T> __device__ __forceinline__ Pack<T> load_pack(const T* p) { return *reinterpret_cast<const Pack<T>*>(p); }
template <class T> __device__ __forceinline__ void store_pack(T* p, const Pack<T>& v) { *reinterpret_cast<Pack<T>*>(p) = v; }

// One line a dtype: M(f32, float) defines the entry points of a kernel for float, and so on. A source is compiled for the
// dtype that is asked for alone, which ONLY_f32 and its like name.
// FOR_WIDE and FOR_HALVES are for kernels that one half of the dtypes has.
#if defined(ONLY_f32)
#define FOR_WIDE(M) M(f32, float)
#define FOR_HALVES(M)
#elif defined(ONLY_f16)
#define FOR_WIDE(M)
#define FOR_HALVES(M) M(f16, __half)
#elif defined(ONLY_bf16)
#define FOR_WIDE(M)
#define FOR_HALVES(M) M(bf16, __nv_bfloat16)
#elif defined(ONLY_f64)
#define FOR_WIDE(M) M(f64, double)
#define FOR_HALVES(M)
#else
#define FOR_WIDE(M) M(f32, float) M(f64, double)
#define FOR_HALVES(M) M(f16, __half) M(bf16, __nv_bfloat16)
#endif
#define FOR_FLOATS(M) FOR_WIDE(M) FOR_HALVES(M)

// Functions under one name for float and double, beside those of common.cuh.
#pragma once
#include "common.cuh"

#define BOTH(name, single, twice)                                            \
  __device__ __forceinline__ float name(float x) { return single(x); }       \
  __device__ __forceinline__ double name(double x) { return twice(x); }
BOTH(error_function, erff, erf)
BOTH(hyperbolic_tangent, tanhf, tanh)
BOTH(exponential_less_one, expm1f, expm1)
BOTH(logarithm_of_one_more, log1pf, log1p)
BOTH(magnitude, fabsf, fabs)
#undef BOTH

// 1 / (1 + exp(-x)), exact in both tails
template <class W> __device__ __forceinline__ W logistic(W x) {
  W e = exponential(-magnitude(x));
  return (x < 0 ? e : (W)1) / (1 + e);
}
// tanh(log(1 + exp(x)))
template <class W> __device__ __forceinline__ W mish_tanh(W x) {
  return hyperbolic_tangent(greater(x, (W)0) + logarithm_of_one_more(exponential(-magnitude(x))));
}
// x, but not below low, and that not above high; NaN stays
template <class W> __device__ __forceinline__ W between(W x, W low, W high) {
  W v = x < low ? low : x;
  return v > high ? high : v;
}

// x as it is rounded: the compiler may not make one step of the product in it and a sum that follows.
__device__ __forceinline__ float rounded(float x) { return __fadd_rn(x, -0.0f); }
__device__ __forceinline__ double rounded(double x) { return __dadd_rn(x, -0.0); }
